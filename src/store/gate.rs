//! Whoever changes the files of a database and whoever copies them take turns.
//!
//! The lock says who owns a database for as long as it is open; the gate is held for one commit, or
//! for one copy, which can be another process's: a reader beside a writer, or a backup. So a copy is
//! of one generation, store and indexes alike.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, ErrorKind};
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
    /// Opens the gate of the database in `folder`. Where nothing may be written it must be there
    /// already.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("GATE");
        let opened =
            File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened
            .or_else(|refused| {
                if is_unwritable(&refused) {
                    File::open(&path).map_err(|_| refused)
                } else {
                    Err(refused)
                }
            })
            .map_err(Error::io("open", &path))?;
        Ok(Self { path, file: Mutex::new(file) })
    }

    /// Runs `copy` while nobody changes the files of the database in `folder`. Where no gate can be
    /// made because nothing may be written, nobody does.
    pub(super) fn hold<T>(folder: &Path, copy: impl FnOnce() -> Result<T>) -> Result<T> {
        match Self::open(folder) {
            Ok(gate) => {
                let _turn = gate.enter()?;
                copy()
            }
            Err(Error::Io { source, .. }) if is_unwritable(&source) => copy(),
            Err(error) => Err(error),
        }
    }

    /// Waits for the turn.
    pub(crate) fn enter(&self) -> Result<Turn<'_>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock().map_err(Error::io("lock", &self.path))?;
        Ok(Turn(file))
    }
}

/// Whether the disk, or the rights of this user, are for reading only. Any other failure says
/// nothing about what others do.
fn is_unwritable(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // The system lets go of it with the descriptor at the latest.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Too many open files, for one, do not mean that nobody writes.
    #[test]
    fn a_gate_that_cannot_be_opened_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Gate::hold(folder.path(), || Ok(7)).unwrap(), 7);
        std::fs::remove_file(folder.path().join("GATE")).unwrap();
        std::fs::create_dir(folder.path().join("GATE")).unwrap();
        let copied = Gate::hold(folder.path(), || Ok(7));
        assert!(matches!(copied, Err(Error::Io { action: "open", .. })), "{copied:?}");
        for (kind, unwritable) in [
            (ErrorKind::ReadOnlyFilesystem, true),
            (ErrorKind::PermissionDenied, true),
            (ErrorKind::NotFound, false),
            (ErrorKind::Other, false),
        ] {
            assert_eq!(is_unwritable(&kind.into()), unwritable, "{kind}");
        }
    }
}
