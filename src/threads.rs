//! Threads that let others go first.

use std::num::NonZero;
use std::panic::resume_unwind;

/// How much a commit steps back behind searches: on a processor that both want, it gets a quarter.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// As many as there are processors for.
pub(crate) fn all() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does `work` on a thread that goes behind those that search, and waits for it. Where two threads
/// want one processor, each holds it until the clock's next tick, some milliseconds: that is long for
/// a search and nothing for a commit.
pub(crate) fn behind<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let mut work = Some(work);
    let mut done = None;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("vdb-writer".to_owned());
        let started = thread.spawn_scoped(scope, || {
            step_behind();
            done = work.take().map(|work| work());
        });
        // Without a thread to be had, the work is still there.
        if let Ok(Err(panic)) = started.map(std::thread::ScopedJoinHandle::join) {
            resume_unwind(panic);
        }
    });
    match (done, work) {
        (Some(done), _) => done,
        (None, Some(work)) => work(),
        (None, None) => unreachable!("work that was taken is done, or its panic went on"),
    }
}

#[cfg(target_os = "linux")]
fn step_behind() {
    #[expect(unsafe_code, reason = "the priority of a thread has no safe form")]
    // SAFETY: it takes numbers alone; 0 is this thread. Without it all goes on.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

#[cfg(not(target_os = "linux"))]
fn step_behind() {}

/// Lets searches and commits go before this thread and those that it starts, where the system can do
/// that for one thread.
///
/// A tenth of a processor that others want is enough for it, a tenth of a millisecond at a time; less,
/// and a commit that has to wait for it would wait for long. Kernels before 6.12 keep their own slices.
#[cfg(target_os = "linux")]
pub(crate) fn step_aside() {
    const NICE: i32 = 10;
    const _: () = assert!(size_of::<libc::sched_attr>() == 48);
    let attributes = libc::sched_attr {
        size: 48,
        sched_policy: 0, // SCHED_OTHER
        sched_flags: 0,
        sched_nice: NICE,
        sched_priority: 0,
        sched_runtime: 100_000,
        sched_deadline: 0,
        sched_period: 0,
    };
    #[expect(unsafe_code, reason = "the priority of a thread has no safe form")]
    // SAFETY: this thread, and a structure of the size that it says. What is returned does not
    // matter: without it all goes on.
    unsafe {
        if libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) != 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
        }
    }
}

/// The same where the system cannot.
#[cfg(not(target_os = "linux"))]
pub(crate) fn step_aside() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_once_and_its_panic_comes_through() {
        let mut count = 0;
        assert_eq!(
            behind(|| {
                count += 1;
                count
            }),
            1
        );
        let panic = std::panic::catch_unwind(|| behind(|| -> u8 { panic!("here") }));
        assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"here"));
    }
}
