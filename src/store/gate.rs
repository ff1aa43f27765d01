//! Whoever changes the files of a database and whoever copies them take turns.
//!
//! The lock says who owns a database for as long as it is open; the gate is held for one commit, or
//! for one copy, which can be another process's: a reader beside a writer, or a backup. So a copy is
//! of one generation, store and indexes alike.

use crate::error::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Gate {
    path: PathBuf,
    /// One descriptor shares its lock among all threads, so they take turns here first.
    file: Mutex<File>,
}

/// Holds the gate; lets go of it when dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(MutexGuard<'a, File>);

impl Gate {
    /// Opens the gate of the database in `folder`. On a read-only disk it must be there already.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("GATE");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .or_else(|_| File::open(&path))
            .map_err(Error::io("open", &path))?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Waits for the turn.
    pub(crate) fn enter(&self) -> Result<Turn<'_>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock().map_err(Error::io("lock", &self.path))?;
        Ok(Turn(file))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The system lets go of it with the descriptor at the latest.
        let _ = self.0.unlock();
    }
}
