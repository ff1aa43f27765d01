//! tantivy's files with a checksum on the small ones, which it writes without.
//!
//! Segment files carry a checksum of tantivy's own. The list of segments does not, and a list with
//! one changed digit can still be one: of fewer documents.

use crate::hash::checksum;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, MmapDirectory, WatchCallback, WatchHandle, WritePtr,
};

/// Bytes of the checksum at the end: xxh3-64, little-endian.
const SUM: usize = 8;

/// A folder of memory-mapped files.
#[derive(Debug, Clone)]
pub(super) struct SummedFiles(pub(super) MmapDirectory);

pub(super) fn with_sum(data: &[u8]) -> Vec<u8> {
    [data, &checksum([data]).to_le_bytes()].concat()
}

/// None where the checksum is not that of what is before it.
pub(super) fn without_sum(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let sum = bytes.split_off(bytes.len().saturating_sub(SUM));
    (sum == checksum([bytes.as_slice()]).to_le_bytes()).then_some(bytes)
}

impl Directory for SummedFiles {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.0.get_file_handle(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.0.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.0.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        match self.0.open_write(path) {
            // A file of entries that are gone is named after the clock of operations, which a crash
            // sets back to the last commit. So one that is there was never part of a commit.
            Err(OpenWriteError::FileAlreadyExists(_)) => {
                self.0.delete(path).map_err(|error| {
                    let error = io::Error::other(error);
                    OpenWriteError::wrap_io_error(error, path.to_path_buf())
                })?;
                self.0.open_write(path)
            }
            opened => opened,
        }
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if let Some(bytes) = without_sum(self.0.atomic_read(path)?) {
            return Ok(bytes);
        }
        let reason = io::Error::new(io::ErrorKind::InvalidData, "the checksum does not match");
        Err(OpenReadError::wrap_io_error(reason, path.to_path_buf()))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.0.atomic_write(path, &with_sum(data))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.0.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.0.watch(callback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_list_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let files = SummedFiles(MmapDirectory::open(folder.path()).unwrap());
        let path = Path::new("meta.json");
        files.atomic_write(path, b"{\"max_doc\":12}").unwrap();
        assert_eq!(files.atomic_read(path).unwrap(), b"{\"max_doc\":12}");
        let whole = std::fs::read(folder.path().join(path)).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            std::fs::write(folder.path().join(path), &bad).unwrap();
            assert!(files.atomic_read(path).is_err(), "byte {at}");
            std::fs::write(folder.path().join(path), &whole[..at]).unwrap();
            assert!(files.atomic_read(path).is_err(), "cut at {at}");
        }
    }
}
