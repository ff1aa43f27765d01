//! Built graphs of decoders on the disk: made once, found again by what went into them.

use super::graph::{weights_name, write};
use super::import::{DecoderForm, DecoderWeights, build_decoder};
use crate::error::{Error, Result};
use crate::hash::Sha256;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Goes up whenever the same weights would give another graph.
const IMPORTER: u32 = 1;

/// The graph of `weights`, built into `cache` if it is not there yet. `identity` stands for their
/// content.
///
/// # Errors
/// Those of building and of writing it.
pub(crate) fn graph(
    weights: &DecoderWeights,
    identity: &str,
    form: DecoderForm,
    cache: &Path,
) -> Result<PathBuf> {
    let path = cache.join(file_name(identity, form));
    if path.is_file() && path.with_file_name(weights_name(&path)).is_file() {
        return Ok(path);
    }
    write(&path, |name, file| Ok((build_decoder(weights, form, name, file)?, ())))?;
    Ok(path)
}

fn file_name(identity: &str, form: DecoderForm) -> String {
    let identity = identity.get(..16).unwrap_or(identity);
    let form = match form {
        DecoderForm::Fp32 => "fp32",
        DecoderForm::Int8 => "int8",
    };
    format!("{identity}-decoder-{form}-v{IMPORTER}.onnx")
}

/// What stands for the content of a user's own file, or of the files of a folder: their paths, sizes
/// and times. To read gigabytes at every start would take longer than to load them.
///
/// # Errors
/// [`Error::Io`] where it cannot be looked at.
pub(crate) fn identity(path: &Path) -> Result<String> {
    let path = path.canonicalize().map_err(Error::io("open", path))?;
    let mut files = vec![path.clone()];
    if path.is_dir() {
        let entries = std::fs::read_dir(&path).map_err(Error::io("read", &path))?;
        files = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|e| e == "json" || e == "safetensors"));
        files.sort();
    }
    let mut sum = Sha256::default();
    sum.update(format!("{}\n", path.display()));
    for file in files {
        let data = file.metadata().map_err(Error::io("read", &file))?;
        let modified = data.modified().map_err(Error::io("read", &file))?;
        let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        sum.update(format!("{} {} {modified}\n", file.display(), data.len()));
    }
    Ok(sum.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_content_is_another_identity() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, "{}").unwrap();
        let before = identity(folder.path()).unwrap();
        assert_eq!(before, identity(folder.path()).unwrap());
        assert_ne!(before, identity(&file).unwrap(), "a file is not its folder");
        std::fs::write(&file, "{ }").unwrap();
        assert_ne!(before, identity(folder.path()).unwrap());
        // What has nothing to do with the model changes nothing.
        let before = identity(folder.path()).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert_eq!(before, identity(folder.path()).unwrap());
        assert!(identity(&folder.path().join("none")).is_err());
    }
}
