//! The one place that names sled, held to the rules that keep it trustworthy.
//!
//! One prefixed-key tree, one batch per commit, no transactions, no background flusher (`flush_async`
//! and flushing beside transactions can deadlock), a small cache (sled uses a multiple of what it is
//! told), and our own fsync after `flush`, which on Linux only asks for write-back.

use crate::error::{Error, Result};
use crate::panics;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

const CACHE_BYTES: u64 = 32 << 20;
const TREE: &str = "records";

/// Damaged files can make sled loop at open; a healthy database of any size opens far sooner.
const OPEN_LIMIT: Duration = Duration::from_mins(2);

/// Closing writes at most what one commit does.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// What one commit changes: frames to put, keys to delete.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

pub(super) struct Tree {
    /// Dropped with care.
    sled: ManuallyDrop<(sled::Db, sled::Tree)>,
    folder: PathBuf,
    data: File,
    synced_blobs: Mutex<BTreeSet<OsString>>,
}

impl Tree {
    /// Opens or creates the sled database in `folder`, turning its panics and hangs into errors.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.to_path_buf();
        let sled = guarded(folder, move || {
            let config =
                sled::Config::new().path(&path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
            // sled takes a snapshot that a crash left unfinished for the newest one.
            remove_files(&path, |name| name.ends_with(".generating"))?;
            let db = match open_when_let_go(&config) {
                // Both only save time: without a snapshot sled reads its whole log, and what `conf`
                // holds is what we ask for. The ledger tells whether anything is missing then.
                Err(e) if !matches!(e, sled::Error::Io(_)) => {
                    remove_files(&path, |name| name.starts_with("snap.") || name == "conf")?;
                    open_when_let_go(&config)?
                }
                opened => opened?,
            };
            let tree = db.open_tree(TREE)?;
            Ok((db, tree))
        })?;
        let path = folder.join("db");
        let data =
            File::options().read(true).write(true).open(&path).map_err(Error::io("open", &path))?;
        Ok(Self {
            sled: ManuallyDrop::new(sled),
            folder: folder.to_path_buf(),
            data,
            synced_blobs: Mutex::default(),
        })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self.calm(|| self.tree().get(key))?;
        Ok(value.map(|v| v.to_vec()))
    }

    pub(super) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.calm(|| self.tree().contains_key(key))
    }

    /// Keys and values under `prefix`, in key order; ends with the first error.
    pub(super) fn scan(
        self: &Arc<Self>,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + use<> {
        let tree = Arc::clone(self);
        let mut items = tree.tree().scan_prefix(prefix);
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed {
                return None;
            }
            let item = tree.calm(|| items.next().transpose()).transpose()?;
            failed = item.is_err();
            Some(item.map(|(k, v)| (k.to_vec(), v.to_vec())))
        })
    }

    /// Applies all changes as one batch; [`Tree::sync`] makes it durable.
    pub(super) fn apply(&self, changes: Changes) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.calm(|| self.tree().apply_batch(batch))
    }

    /// sled's flush, then the fsync that it leaves out: data file, blobs, folders.
    pub(super) fn sync(&self) -> Result<()> {
        self.calm(|| self.sled.0.flush())?;
        self.data.sync_all().map_err(Error::io("sync", self.folder.join("db")))?;
        self.sync_blobs()?;
        sync_folder(&self.folder)
    }

    /// Values are kept small enough to stay inside pages, yet a page of many can become a blob.
    fn sync_blobs(&self) -> Result<()> {
        let folder = self.folder.join("blobs");
        let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(()) };
        let present: BTreeSet<OsString> = entries.flatten().map(|e| e.file_name()).collect();
        let mut synced =
            self.synced_blobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *synced != present {
            for name in present.difference(&synced) {
                let path = folder.join(name);
                match File::open(&path).and_then(|f| f.sync_all()) {
                    // sled may have collected it since the listing.
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::io("sync", path)(e));
                    }
                    _ => {}
                }
            }
            sync_folder(&folder)?;
            *synced = present;
        }
        Ok(())
    }

    fn tree(&self) -> &sled::Tree {
        &self.sled.1
    }

    /// Runs one of sled's operations. Damage can make it panic; that, too, is an error.
    fn calm<T>(&self, run: impl FnOnce() -> std::result::Result<T, sled::Error>) -> Result<T> {
        match panics::catch(run) {
            Ok(done) => done.map_err(|e| translate(&self.folder, e)),
            Err(panic) => Err(gave_up(&self.folder, &*panic)),
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "sled's drop can panic where the disk is full")]
        // SAFETY: nothing uses it after this.
        let sled = unsafe { ManuallyDrop::take(&mut self.sled) };
        // What sled could not write now was not acknowledged.
        let _ = panics::catch(|| drop(sled));
    }
}

/// sled unwraps some of the system's errors; their words are in the panic.
fn gave_up(folder: &Path, panic: &(dyn std::any::Any + Send)) -> Error {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given");
    if words.contains("kind: StorageFull") {
        let source = std::io::ErrorKind::StorageFull.into();
        return Error::Io { action: "use", path: folder.to_path_buf(), source };
    }
    Error::corrupted(
        folder.display().to_string(),
        format!("the storage engine gave up: {}", words.lines().next().unwrap_or_default()),
    )
}

fn translate(folder: &Path, error: sled::Error) -> Error {
    let path = folder.to_path_buf();
    match error {
        sled::Error::Io(source) => Error::Io { action: "use", path, source },
        other => Error::corrupted(path.display().to_string(), other.to_string()),
    }
}

/// Removes the files in `folder` whose names are `unwanted`.
fn remove_files(folder: &Path, unwanted: impl Fn(&str) -> bool) -> std::io::Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        if unwanted(&entry.file_name().to_string_lossy()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// sled's own lock outlives its drop for as long as one of its threads still has work. We hold the
/// lock of the database, so whoever has sled's is one of ours that is closing, and is waited for.
fn open_when_let_go(config: &sled::Config) -> std::result::Result<sled::Db, sled::Error> {
    let deadline = Instant::now() + CLOSE_LIMIT;
    loop {
        match config.open() {
            Err(sled::Error::Io(e)) if is_lock(&e) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}

/// sled wraps the system's error in one of its own, so only the words tell.
fn is_lock(error: &std::io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}

/// Makes the names in `folder` durable. Folders cannot be synced on every system; where they can
/// (all Unix systems), a failure is a failure.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))?;
    }
    Ok(())
}

/// Makes `folder` and what is missing above it, durably.
pub(super) fn create_folder(folder: &Path) -> Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|f| !f.exists()).collect();
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    for made in missing {
        match made.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new("."))?,
            Some(parent) => sync_folder(parent)?,
            None => {}
        }
    }
    Ok(())
}

/// Removes `folder` and all in it; that it is not there is as well.
pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder)(e)),
        _ => Ok(()),
    }
}

/// Runs sled's open on a thread of its own: damage that makes it panic or hang becomes an error.
fn guarded<T: Send + 'static>(
    folder: &Path,
    open: impl FnOnce() -> std::result::Result<T, sled::Error> + Send + 'static,
) -> Result<T> {
    let damaged = |detail: String| Error::corrupted(folder.display().to_string(), detail);
    let (send, receive) = mpsc::sync_channel(1);
    let worker = std::thread::Builder::new()
        .name("vdb-open".to_owned())
        .spawn(move || {
            let _ = send.send(panics::catch(open));
        })
        .map_err(Error::io("start a thread to open", folder))?;
    match receive.recv_timeout(OPEN_LIMIT) {
        Ok(opened) => {
            let _ = worker.join();
            match opened {
                Ok(opened) => opened.map_err(|e| translate(folder, e)),
                Err(panic) => Err(gave_up(folder, &*panic)),
            }
        }
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(damaged(format!("opening it did not end within {OPEN_LIMIT:?}")))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(damaged("the storage engine gave up while reading it".to_owned()))
        }
    }
}
