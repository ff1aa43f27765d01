//! `model.safetensors.index.json`: in which file of several each tensor lies.

use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(super) const NAME: &str = "model.safetensors.index.json";
/// A list of a hundred thousand tensors has a tenth of this.
const MAX_BYTES: u64 = 64 << 20;
const MAX_FILES: usize = 1_000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Tensors and their files, where `folder` has such a list.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for anything but such a list.
pub(super) fn read(folder: &Path) -> Result<Option<BTreeMap<String, String>>> {
    let path = folder.join(NAME);
    if !path.is_file() {
        return Ok(None);
    }
    let size = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
    let refuse =
        |reason: String| Error::Parse { origin: path.display().to_string(), line: None, reason };
    if size > MAX_BYTES {
        return Err(refuse(format!("it has {size} bytes; at most {MAX_BYTES} are read")));
    }
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|e| refuse(format!("expected a weight_map of tensors and their files: {e}")))?;
    Ok(Some(index.weight_map))
}

/// The files of a list, which must lie beside it.
///
/// # Errors
/// Which file does not, or that there are too many.
pub(super) fn files(index: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let files: BTreeSet<&String> = index.values().collect();
    if files.len() > MAX_FILES {
        return Err(format!("{NAME} lists {} files; at most {MAX_FILES} are read", files.len()));
    }
    let strange = files.iter().find(|file| !is_plain(file));
    match strange {
        Some(file) => Err(format!(
            "{NAME} names the file {file:?}; names of safetensors files beside it are read"
        )),
        None => Ok(files.into_iter().cloned().collect()),
    }
}

/// Whether a name cannot lead out of its folder.
fn is_plain(file: &str) -> bool {
    file.ends_with(".safetensors") && !file.contains(['/', '\\', ':', '\0'])
}
