//! Built graphs on the disk: made once, found again by what went into them.

use super::calibrate::{Inputs, calibrate};
use super::import::{BertConfig, Form, Head, WeightFile, build};
use super::quantize::weight_limit;
use super::{Precision, Runtime};
use crate::error::{Error, Result};
use crate::hash::Sha256;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Goes up whenever the same weights would give another graph.
pub(crate) const IMPORTER: u32 = 1;

/// Everything that a graph is built from, and found again by.
pub(crate) struct Recipe<'a> {
    /// The model's name, for people.
    pub(crate) name: &'a str,
    pub(crate) weights: &'a Path,
    pub(crate) weights_sha256: &'a str,
    pub(crate) config: &'a BertConfig,
    pub(crate) head: Head,
    pub(crate) precision: Precision,
    /// It and the window decide what calibration sees.
    pub(crate) tokenizer_sha256: &'a str,
    pub(crate) window: usize,
}

impl Recipe<'_> {
    /// The file of the graph. The same weights can be published with another configuration, which
    /// gives another graph.
    fn file_name(&self, weight_limit: i8) -> String {
        let mut rest = Sha256::default();
        rest.update(format!("{:?}", self.config));
        let precision = match self.precision {
            Precision::Int8 => {
                rest.update(format!("{} {}", self.tokenizer_sha256, self.window));
                if weight_limit < 127 { "int7".to_owned() } else { self.precision.to_string() }
            }
            Precision::Fp32 => self.precision.to_string(),
        };
        let weights = self.weights_sha256.get(..16).unwrap_or(self.weights_sha256);
        let rest = rest.hex();
        let rest = rest.get(..8).unwrap_or(&rest);
        let head = if self.head == Head::Score { "-score" } else { "" };
        format!("{weights}-{rest}{head}-{precision}-v{IMPORTER}.onnx")
    }
}

/// The graph of `recipe`, built into `cache` if it is not there yet. `read` makes inputs of texts, for
/// calibration.
pub(crate) fn graph(
    runtime: &Runtime,
    recipe: &Recipe<'_>,
    cache: &Path,
    read: &dyn Fn(&[String]) -> Result<Vec<Inputs>>,
) -> Result<PathBuf> {
    let limit = weight_limit();
    let path = cache.join(recipe.file_name(limit));
    if path.is_file() && path.with_file_name(weights_name(&path)).is_file() {
        return Ok(path);
    }
    make(runtime, recipe, &path, limit, read)?;
    Ok(path)
}

/// Builds the graph of `recipe` at `path`, with weights of 8 bits within `limit`.
pub(crate) fn make(
    runtime: &Runtime,
    recipe: &Recipe<'_>,
    path: &Path,
    limit: i8,
    read: &dyn Fn(&[String]) -> Result<Vec<Inputs>>,
) -> Result<()> {
    let config = recipe.config;
    let file = WeightFile::read(recipe.name, recipe.weights)?;
    let ranges = match recipe.precision {
        Precision::Int8 => calibrate(runtime, config, &file, recipe.head, read)?,
        Precision::Fp32 => Vec::new(),
    };
    let form = match recipe.precision {
        Precision::Int8 => Form::Int8(&ranges, limit),
        Precision::Fp32 => Form::Fp32,
    };
    write(path, |name, weights| build(config, &file, recipe.head, &form, name, weights))?;
    Ok(())
}

/// The name of the weights file beside a model file.
pub(crate) fn weights_name(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}.weights")
}

/// Writes model and weights whole or not at all; the model, which is looked for, comes last. `build`
/// is given the name of the weights file and the file, and returns the model; what else it returns is
/// handed on.
pub(crate) fn write<T>(
    path: &Path,
    build: impl FnOnce(&str, &mut dyn Write) -> Result<(Vec<u8>, T)>,
) -> Result<T> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let name = weights_name(path);
    let (model, rest) = atomically(&path.with_file_name(&name), |weights| build(&name, weights))?;
    atomically(path, |file| file.write_all(&model).map_err(Error::io("write", path)))?;
    Ok(rest)
}

fn atomically<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    // Two processes, or two threads of one, may build the same graph at once: each writes its own
    // file, and either result is the same bytes.
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let nth = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{}-{nth}.tmp", std::process::id()));
    let filled = File::create(&temporary).map_err(Error::io("create", path)).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let filled = fill(&mut out)?;
        out.into_inner()
            .map_err(std::io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(Error::io("write", path))?;
        Ok(filled)
    });
    if filled.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    filled
}
