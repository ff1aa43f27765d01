/* Stands between a process and the C library: counts what it does to files under SHIM_DIR, makes the
 * SHIM_FAIL-th of these calls fail (from then on, where SHIM_STICKY is set), and records all of them,
 * in order, into the file SHIM_LOG.
 *
 * A record: kind (1 byte), descriptor (4), offset (8), length (4), then that many bytes; numbers in
 * the machine's order. Kinds: o open, w write, t truncate, s fsync, r rename, l link (two paths with a
 * zero byte between), u unlink, m mkdir, d rmdir, p duplicate (old descriptor as the offset). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
static char *paths[FDS];
static const char *folder;
static size_t folder_length;
static long fail_at, count;
static int sticky, error = EIO, log_fd = -1;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;


__attribute__((constructor)) static void begin(void) {
    const char *value = getenv("SHIM_FAIL");
    fail_at = value ? atol(value) : 0;
    sticky = getenv("SHIM_STICKY") != NULL;
    if ((value = getenv("SHIM_ERROR"))) error = atoi(value);
    if ((value = getenv("SHIM_LOG")))
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, value, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    folder = getenv("SHIM_DIR");
    folder_length = folder ? strlen(folder) : 0;
}

__attribute__((destructor)) static void end(void) {
    const char *name = getenv("SHIM_COUNT");
    char text[32];
    if (!name) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int length = snprintf(text, sizeof text, "%ld", count);
    if (syscall(SYS_write, fd, text, length) < 0) return;
}

static int ours(const char *path) { return folder && path && !strncmp(path, folder, folder_length); }
static int known(int fd) { return fd >= 0 && fd < FDS && paths[fd]; }

/* Whether this call is to fail. */
static int fails(void) {
    long n = __sync_add_and_fetch(&count, 1);
    if (!fail_at || n < fail_at || (n > fail_at && !sticky)) return 0;
    errno = error;
    return 1;
}

static void put(const void *bytes, size_t length) {
    const char *at = bytes;
    while (length) {
        long done = syscall(SYS_write, log_fd, at, length);
        if (done <= 0) _exit(97);
        at += done;
        length -= (size_t)done;
    }
}

static void note(char kind, int fd, int64_t offset, const void *bytes, size_t length) {
    if (log_fd < 0) return;
    char head[17];
    uint32_t size = (uint32_t)length;
    head[0] = kind;
    memcpy(head + 1, &fd, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &size, 4);
    put(head, sizeof head);
    put(bytes, length);
}

static void note_two(char kind, const char *a, const char *b) {
    char both[2 * PATH_MAX];
    size_t first = strlen(a) + 1, second = strlen(b);
    if (first + second > sizeof both) return;
    memcpy(both, a, first);
    memcpy(both + first, b, second);
    note(kind, -1, 0, both, first + second);
}

static int opened(int fd, const char *path, int flags) {
    if (fd >= 0 && fd < FDS) {
        free(paths[fd]);
        paths[fd] = strdup(path);
        note('o', fd, flags, path, strlen(path));
    }
    return fd;
}

static int open_any(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    if (path[0] != '/' && known(at)) {
        snprintf(whole, sizeof whole, "%s/%s", paths[at], path);
    } else {
        snprintf(whole, sizeof whole, "%s", path);
    }
    if (!ours(whole)) return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = -1;
    if (!((flags & (O_CREAT | O_TRUNC)) && fails())) {
        fd = (int)syscall(SYS_openat, at, path, flags, mode);
        opened(fd, whole, flags);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list list; \
        va_start(list, flags); \
        mode = (mode_t)va_arg(list, int); \
        va_end(list); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_any(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_any(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_any(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_any(at, path, flags, mode); }

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (known(fd)) {
        free(paths[fd]);
        paths[fd] = NULL;
    }
    int result = (int)syscall(SYS_close, fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static int duplicate(int fd, int command, long argument) {
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_fcntl, fd, command, argument);
    if (result >= 0 && result < FDS && known(fd) && (command == F_DUPFD || command == F_DUPFD_CLOEXEC)) {
        free(paths[result]);
        paths[result] = strdup(paths[fd]);
        note('p', result, fd, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return duplicate(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    long argument = va_arg(list, long);
    va_end(list);
    return duplicate(fd, command, argument);
}

static ssize_t write_any(int fd, const void *bytes, size_t length, int64_t offset) {
    pthread_mutex_lock(&lock);
    ssize_t done = -1;
    if (!fails()) {
        int64_t at = offset;
        if (offset < 0) {
            int append = (int)syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
            at = syscall(SYS_lseek, fd, 0, append ? SEEK_END : SEEK_CUR);
            done = syscall(SYS_write, fd, bytes, length);
        } else {
            done = syscall(SYS_pwrite64, fd, bytes, length, offset);
        }
        if (done > 0) note('w', fd, at, bytes, (size_t)done);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    return known(fd) ? write_any(fd, bytes, length, -1) : syscall(SYS_write, fd, bytes, length);
}
ssize_t writev(int fd, const struct iovec *parts, int number) {
    if (!known(fd)) return syscall(SYS_writev, fd, parts, number);
    for (int i = 0; i < number; i++)
        if (parts[i].iov_len) return write_any(fd, parts[i].iov_base, parts[i].iov_len, -1);
    return 0;
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return known(fd) ? write_any(fd, bytes, length, offset)
                     : syscall(SYS_pwrite64, fd, bytes, length, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

/* So that copies are made by reading and writing. */
ssize_t copy_file_range(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile64(int a, int b, off64_t *c, size_t d) {
    (void)a, (void)b, (void)c, (void)d;
    errno = ENOSYS;
    return -1;
}
ssize_t sendfile(int a, int b, off_t *c, size_t d) {
    (void)a, (void)b, (void)c, (void)d;
    errno = ENOSYS;
    return -1;
}
ssize_t splice(int a, off64_t *b, int c, off64_t *d, size_t e, unsigned f) {
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    errno = EINVAL;
    return -1;
}

static int on_file(char kind, int fd, int64_t length, long call, long argument) {
    if (!known(fd)) return (int)syscall(call, fd, argument);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails()) {
        result = (int)syscall(call, fd, argument);
        if (!result) note(kind, fd, length, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off64_t length) { return on_file('t', fd, length, SYS_ftruncate, length); }
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
int fsync(int fd) { return on_file('s', fd, 0, SYS_fsync, 0); }
int fdatasync(int fd) { return on_file('s', fd, 0, SYS_fdatasync, 0); }

static int on_paths(char kind, const char *a, const char *b, int (*run)(const char *, const char *)) {
    if (!ours(a)) return run(a, b);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails()) {
        result = run(a, b);
        if (!result && b) note_two(kind, a, b);
        if (!result && !b) note(kind, -1, 0, a, strlen(a));
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static int run_rename(const char *a, const char *b) { return (int)syscall(SYS_rename, a, b); }
static int run_link(const char *a, const char *b) { return (int)syscall(SYS_link, a, b); }
static int run_unlink(const char *a, const char *b) { (void)b; return (int)syscall(SYS_unlink, a); }
static int run_rmdir(const char *a, const char *b) { (void)b; return (int)syscall(SYS_rmdir, a); }

int rename(const char *a, const char *b) { return on_paths('r', a, b, run_rename); }
int link(const char *a, const char *b) { return on_paths('l', a, b, run_link); }
int linkat(int x, const char *a, int y, const char *b, int flags) {
    (void)x, (void)y, (void)flags;
    return on_paths('l', a, b, run_link);
}
int unlink(const char *a) { return on_paths('u', a, NULL, run_unlink); }
int rmdir(const char *a) { return on_paths('d', a, NULL, run_rmdir); }
int unlinkat(int at, const char *path, int flags) {
    char whole[PATH_MAX];
    if (path[0] == '/' || !known(at)) return (int)syscall(SYS_unlinkat, at, path, flags);
    snprintf(whole, sizeof whole, "%s/%s", paths[at], path);
    int folders = (flags & AT_REMOVEDIR) != 0;
    return on_paths(folders ? 'd' : 'u', whole, NULL, folders ? run_rmdir : run_unlink);
}
int mkdir(const char *path, mode_t mode) {
    if (!ours(path)) return (int)syscall(SYS_mkdir, path, mode);
    pthread_mutex_lock(&lock);
    int result = -1;
    if (!fails()) {
        result = (int)syscall(SYS_mkdir, path, mode);
        if (!result) note('m', -1, 0, path, strlen(path));
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
    if (known(fd) && fails()) return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
