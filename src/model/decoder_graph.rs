//! Built graphs of decoders on the disk: made once, found again by what went into them.

use super::Runtime;
use super::calibrate::calibrate_decoder;
use super::graph::{weights_name, write};
use super::import::{DecoderForm, DecoderWeights, Smoothing, build_decoder};
use crate::error::{Error, Result};
use crate::hash::Sha256;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Goes up whenever the same weights would give another graph.
const IMPORTER: u32 = 3;

/// Which graph of a decoder is wanted, and where it is kept.
#[derive(Clone, Copy)]
pub(crate) struct Recipe<'a> {
    /// What stands for the content of the weights and of their tokenizer.
    pub(crate) identity: &'a str,
    pub(crate) form: DecoderForm,
    /// Whether outliers are smoothed out.
    pub(crate) smooth: bool,
    pub(crate) cache: &'a Path,
}

impl Recipe<'_> {
    /// The graph, if it was built.
    pub(crate) fn find(&self) -> Option<PathBuf> {
        let path = self.path();
        let both = path.is_file() && path.with_file_name(weights_name(&path)).is_file();
        both.then_some(path)
    }

    /// Builds the graph of `weights`; `tokenize` is for calibrating it.
    ///
    /// # Errors
    /// Those of calibrating, of building and of writing it.
    pub(crate) fn build(
        &self,
        runtime: &Runtime,
        weights: &DecoderWeights,
        tokenize: &dyn Fn(&str) -> Result<Vec<u32>>,
    ) -> Result<PathBuf> {
        let ranges = if self.smooth {
            calibrate_decoder(runtime, weights, self.cache, tokenize)?
        } else {
            None
        };
        let smoothing = ranges.map(|ranges| Smoothing::of(weights, &ranges)).transpose()?;
        let path = self.path();
        write(&path, |name, file| {
            Ok((build_decoder(weights, self.form, smoothing.as_ref(), name, file)?, ()))
        })?;
        Ok(path)
    }

    fn path(&self) -> PathBuf {
        let identity = self.identity.get(..16).unwrap_or(self.identity);
        let form = match (self.form, self.smooth) {
            (DecoderForm::Fp32, false) => "fp32",
            (DecoderForm::Fp32, true) => "fp32-smooth",
            (DecoderForm::Int8, false) => "int8-rough",
            (DecoderForm::Int8, true) => "int8",
        };
        self.cache.join(format!("{identity}-decoder-{form}-v{IMPORTER}.onnx"))
    }
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
