//! Copies of a database as of its last commit, for readers beside a writer and for backups.
//!
//! sled cannot be opened twice, so a reader gets files of its own: taken while the gate is held, so
//! between two commits. Index files never change once they are written and are linked; of the store
//! the files are copied (on file systems that can share blocks, that copies nothing either).

use super::MANIFEST;
use super::gate::Gate;
use super::lock::Lock;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const READERS: &str = "readers";

/// What is no part of the data: locks, other readers' copies, files that were being written.
fn is_passing(path: &Path) -> bool {
    let named = |names: &[&str]| names.iter().any(|n| path.file_name().is_some_and(|f| f == *n));
    named(&["LOCK", "GATE", READERS]) || path.extension().is_some_and(|e| e == "tmp" || e == "lock")
}

/// The files of the database in `folder`, as paths relative to it, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let here = folder.join(&relative);
        for entry in fs::read_dir(&here).map_err(Error::io("read", &here))? {
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

/// Copies one file of `files`, making its folder.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    fs::copy(from, to).map_err(Error::io("copy", from))?;
    Ok(())
}

/// A locked copy of the database in `folder`; it lies inside it, where that can be written to.
pub(super) fn for_a_reader(folder: &Path) -> Result<(TempDir, Lock)> {
    // Without a gate, on a read-only disk, nobody changes anything.
    let gate = Gate::open(folder);
    let _turn = gate.as_ref().ok().map(Gate::enter).transpose()?;
    let readers = folder.join(READERS);
    let copy = fs::create_dir_all(&readers)
        .and_then(|()| TempDir::with_prefix_in("reader-", &readers))
        .or_else(|_| TempDir::with_prefix("vdb-reader-"))
        .map_err(Error::io("make room for a copy of", folder))?;
    let lock = Lock::take(copy.path(), Duration::ZERO)?;
    for file in files(folder)? {
        let (from, to) = (folder.join(&file), copy.path().join(&file));
        let linked = file.starts_with("index") && {
            let parent = to.parent().map_or(Ok(()), fs::create_dir_all);
            parent.and_then(|()| fs::hard_link(&from, &to)).is_ok()
        };
        if !linked {
            copy_file(&from, &to)?;
        }
    }
    if !copy.path().join(MANIFEST).exists() {
        return Err(Error::NotFound {
            what: "database",
            name: folder.display().to_string(),
            hint: "it is just being made; try again".to_owned(),
        });
    }
    Ok((copy, lock))
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
