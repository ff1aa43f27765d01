//! Built graphs on the disk: made once, found again by what went into them.

use super::calibrate::calibrate;
use super::import::{BertConfig, Form, WeightFile, build};
use super::onnx::Serialized;
use super::quantize::weight_limit;
use super::{Precision, Runtime};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Goes up whenever the same weights would give another graph.
pub(crate) const IMPORTER: u32 = 1;

/// The graph of the model with these weights, built into `cache` if it is not there yet.
#[expect(clippy::too_many_arguments, reason = "one call, and each is something else")]
pub(crate) fn graph(
    runtime: &Runtime,
    name: &str,
    weights: &Path,
    config: &BertConfig,
    precision: Precision,
    weights_sha256: &str,
    cache: &Path,
    tokenize: &dyn Fn(&str) -> Result<Vec<u32>>,
) -> Result<PathBuf> {
    let limit = weight_limit();
    let bits = match precision {
        Precision::Int8 if limit < 127 => "int7".to_owned(),
        other => other.to_string(),
    };
    let key = weights_sha256.get(..16).unwrap_or(weights_sha256);
    let path = cache.join(format!("{key}-{bits}-v{IMPORTER}.onnx"));
    if path.is_file() && path.with_file_name(weights_name(&path)).is_file() {
        return Ok(path);
    }
    let file = WeightFile::read(name, weights)?;
    let ranges = match precision {
        Precision::Int8 => calibrate(runtime, config, &file, tokenize)?,
        Precision::Fp32 => Vec::new(),
    };
    let form = match precision {
        Precision::Int8 => Form::Int8(&ranges, limit),
        Precision::Fp32 => Form::Fp32,
    };
    let (serialized, _) = build(config, &file, &form, &weights_name(&path))?;
    std::fs::create_dir_all(cache).map_err(Error::io("create", cache))?;
    write(&path, &serialized)?;
    Ok(path)
}

/// The name of the weights file beside a model file.
pub(crate) fn weights_name(model: &Path) -> String {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    format!("{stem}.weights")
}

/// Writes model and weights whole or not at all; the model, which is looked for, comes last.
pub(crate) fn write(path: &Path, serialized: &Serialized) -> Result<()> {
    let weights = path.with_file_name(weights_name(path));
    write_atomically(&weights, &serialized.weights)?;
    write_atomically(path, &serialized.model)
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    // Two processes may build the same graph at once: each writes its own file, and either result
    // is the same bytes.
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        Error::io("write", path)(error)
    })
}
