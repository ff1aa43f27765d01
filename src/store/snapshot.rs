//! Copies of a database as of its last commit, for readers beside a writer and for backups.
//!
//! sled cannot be opened twice, so a reader gets files of its own: taken while the gate is held, so
//! between two commits. Index files never change once they are written and are linked; of the store
//! the files are copied (on file systems that can share blocks, that copies nothing either).

use super::gate::Gate;
use super::lock::Lock;
use super::{INDEX, MANIFEST, RECORDS, tree};
use crate::error::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const READERS: &str = "readers";

/// How often a copy of indexes that change meanwhile is begun again.
const ATTEMPTS: usize = 20;

/// What is no part of the data: locks, other readers' copies, files that were being written.
fn is_passing(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    [b"LOCK".as_slice(), b"GATE", READERS.as_bytes()].contains(&name)
        || name.starts_with(b".tmp")
        || path.extension().is_some_and(|e| e == "tmp" || e == "lock")
}

/// The files under `top` of the database in `folder`, as paths relative to it, in order.
fn files(folder: &Path, top: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from(top)];
    while let Some(relative) = pending.pop() {
        let here = folder.join(&relative);
        let entries = match fs::read_dir(&here) {
            Err(e) if e.kind() == ErrorKind::NotFound && relative == Path::new(INDEX) => continue,
            entries => entries.map_err(Error::io("read", &here))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &here))?;
            let path = relative.join(entry.file_name());
            if is_passing(&path) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                Ok(_) => {}
                Err(e) => return Err(Error::io("read", folder.join(path))(e)),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Copies the manifest, the store and the indexes of `folder` into the folder `to`, and returns the
/// paths of the files. The gate is held. With `link`, index files are linked where that is possible.
pub(super) fn copy(folder: &Path, to: &Path, link: bool) -> Result<Vec<PathBuf>> {
    let mut copied = files(folder, RECORDS)?;
    if folder.join(MANIFEST).exists() {
        copied.push(PathBuf::from(MANIFEST));
    }
    for file in &copied {
        copy_file(folder, to, file, false)?;
    }
    // Indexes merge in the background, gate or no gate, and then remove what they merged. A copy is
    // whole where the same files were there before and after it.
    for _ in 0..ATTEMPTS {
        let index = files(folder, INDEX)?;
        let done = index.iter().try_for_each(|file| copy_file(folder, to, file, link));
        match done {
            Ok(()) if files(folder, INDEX)? == index => {
                copied.extend(index);
                return Ok(copied);
            }
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        tree::remove_folder(&to.join(INDEX))?;
    }
    // Indexes are caches; without them they are made anew.
    Ok(copied)
}

/// Copies or links one file, making its folder.
pub(super) fn copy_file(from: &Path, to: &Path, file: &Path, link: bool) -> Result<()> {
    let (from, to) = (from.join(file), to.join(file));
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    if link && fs::hard_link(&from, &to).is_ok() {
        return Ok(());
    }
    fs::copy(&from, &to).map_err(Error::io("copy", from))?;
    Ok(())
}

/// A locked copy of the database in `folder`; it lies inside it, where that can be written to.
pub(super) fn for_a_reader(folder: &Path) -> Result<(TempDir, Lock)> {
    Gate::hold(folder, || {
        let readers = folder.join(READERS);
        let copy = fs::create_dir_all(&readers)
            .and_then(|()| TempDir::with_prefix_in("reader-", &readers))
            .or_else(|_| TempDir::with_prefix("vdb-reader-"))
            .map_err(Error::io("make room for a copy of", folder))?;
        let lock = Lock::take(copy.path(), Duration::ZERO)?;
        self::copy(folder, copy.path(), true)?;
        Ok((copy, lock))
    })
}

/// Removes copies whose readers are gone. The gate is held, so none is just being made.
pub(super) fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder.join(READERS)).into_iter().flatten().flatten() {
        if let Ok(lock) = Lock::take(&entry.path(), Duration::ZERO) {
            // What stays is removed the next time.
            let _ = fs::remove_dir_all(entry.path());
            drop(lock);
        }
    }
}
