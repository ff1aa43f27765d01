//! The ranges of a model's activations, seen on a fixed set of varied texts.
//!
//! Smallest and largest value over all texts: clipping at quantiles loses the few large values that
//! carry these models' meaning, and was measured to be ruinous.

use super::import::{BertConfig, Form, WeightFile, build};
use super::quantize::Range;
use super::runtime::{Runtime, SessionOptions};
use super::{Device, graph};
use crate::error::{Error, Result};
use crate::threads;

/// One text a line, written for this purpose: prose, science, law, code, lists, dialogue, several
/// languages, short and long.
const TEXTS: &str = include_str!("calibration.txt");

/// Lines that are also read together, as long texts.
const JOINED: usize = 12;

/// Runs the model in 32 bits over the calibration texts and returns, for every value that 8 bits will
/// quantise, in the graph's order, the range of each of its channels.
pub(crate) fn calibrate(
    runtime: &Runtime,
    config: &BertConfig,
    weights: &WeightFile,
    tokenize: &dyn Fn(&str) -> Result<Vec<u32>>,
) -> Result<Vec<Vec<Range>>> {
    let folder = tempfile::tempdir().map_err(Error::io("create", std::env::temp_dir()))?;
    let path = folder.path().join("watched.onnx");
    let names =
        graph::write(&path, |name, file| build(config, weights, &Form::Watched, name, file))?;
    let threads = threads::all();
    let mut session = runtime.session(
        &path,
        &SessionOptions { device: Device::Cpu, threads, spinning: false, optimise: true },
    )?;
    let mut ranges: Vec<Vec<Range>> = vec![Vec::new(); names.len()];
    for text in texts() {
        let ids: Vec<i64> = tokenize(&text)?.into_iter().map(i64::from).collect();
        let length = ids.len();
        let inputs = vec![("input_ids", ids), ("attention_mask", vec![1; length])];
        session
            .run_watched(inputs, length, &names, |i, dims, data| {
                let width = dims.last().copied().unwrap_or(1).max(1);
                ranges[i].resize(width, Range::EMPTY);
                for row in data.chunks_exact(width) {
                    ranges[i].iter_mut().zip(row).for_each(|(range, x)| range.include(*x));
                }
            })
            .map_err(|reason| Error::Model { name: "calibration".to_owned(), reason })?;
    }
    Ok(ranges)
}

fn texts() -> impl Iterator<Item = String> {
    let lines: Vec<&str> = TEXTS.lines().filter(|line| !line.trim().is_empty()).collect();
    let joined: Vec<String> = lines.chunks(JOINED).map(|lines| lines.join(" ")).collect();
    lines.into_iter().map(str::to_owned).chain(joined)
}
