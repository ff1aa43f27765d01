//! What was made for a run and how, in a file beside it.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;

/// The record at `path`; none where there is no file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupted`] for a file that is none.
pub(crate) fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|e| Error::corrupted(path.display().to_string(), e.to_string()))
}

/// Writes a record, whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write_record(path: &Path, record: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(record)
        .map_err(|e| Error::corrupted(path.display().to_string(), e.to_string()))?;
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, bytes).map_err(Error::io("write", &unfinished))?;
    fs::rename(&unfinished, path).map_err(Error::io("create", path))
}
