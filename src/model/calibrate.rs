//! The ranges of a model's activations, seen on a fixed set of varied texts.
//!
//! Smallest and largest value over all texts: clipping at quantiles loses the few large values that
//! carry these models' meaning, and was measured to be ruinous.

use super::import::{
    BertConfig, DecoderShape, DecoderWeights, Form, Head, WeightFile, build, watched_decoder,
};
use super::quantize::Range;
use super::runtime::{Runtime, SessionOptions};
use super::{Device, graph};
use crate::error::{Error, Result};
use crate::threads;
use std::io::Write;
use std::path::Path;

/// One text a line, written for this purpose: prose, science, law, code, lists, dialogue, several
/// languages, short and long.
const TEXTS: &str = include_str!("calibration.txt");

/// Lines that are also read together, as long texts.
const JOINED: usize = 12;

/// Tokens that a decoder reads together.
const WINDOW: usize = 256;
/// The most windows; more change nothing (docs/benchmarks.md).
const WINDOWS: usize = 2;
/// Products of numbers that calibrating a decoder may take: a large one sees one window alone.
const WORK: usize = 1 << 37;

/// Words of the question that a cross-encoder is asked of each text: its first ones.
const QUESTION: usize = 8;

/// What a model reads at once, by the names of its inputs.
pub(crate) type Inputs = Vec<(&'static str, Vec<i64>)>;

/// The inputs of one text: its ids, and of two texts the type of each.
pub(crate) fn inputs(ids: &[u32], types: Option<&[u32]>) -> Inputs {
    let wide = |values: &[u32]| values.iter().map(|x| i64::from(*x)).collect();
    let mut inputs = vec![("input_ids", wide(ids)), ("attention_mask", vec![1; ids.len()])];
    inputs.extend(types.map(|types| ("token_type_ids", wide(types))));
    inputs
}

/// Questions and passages for a cross-encoder: the beginning of each text, with the text itself, which
/// answers it, and with the next one, which does not.
pub(crate) fn pairs(texts: &[String]) -> Vec<(String, &str)> {
    let question =
        |text: &String| text.split_whitespace().take(QUESTION).collect::<Vec<_>>().join(" ");
    let next = texts.iter().cycle().skip(1);
    let both = texts
        .iter()
        .zip(next)
        .map(|(own, next)| [(question(own), own.as_str()), (question(own), next.as_str())]);
    both.flatten().collect()
}

/// Runs the model in 32 bits over the calibration texts, of which `read` makes inputs, and returns, for
/// every value that 8 bits will quantise, in the graph's order, the range of each of its channels.
pub(crate) fn calibrate(
    runtime: &Runtime,
    config: &BertConfig,
    weights: &WeightFile,
    head: Head,
    read: &dyn Fn(&[String]) -> Result<Vec<Inputs>>,
) -> Result<Vec<Vec<Range>>> {
    let texts: Vec<String> = texts().collect();
    let inputs = read(&texts)?;
    let folder = tempfile::tempdir().map_err(Error::io("create", std::env::temp_dir()))?;
    watch(runtime, folder.path(), inputs, |name, file| {
        build(config, weights, head, &Form::Watched, name, file)
    })
}

/// The same for a decoder, whose weights are in 8 bits for it: in 32 bits, a large one would not fit
/// where it will run. `None` where the texts have no tokens. `place` is where there is room for it.
pub(crate) fn calibrate_decoder(
    runtime: &Runtime,
    weights: &DecoderWeights,
    place: &Path,
    tokenize: &dyn Fn(&str) -> Result<Vec<u32>>,
) -> Result<Option<Vec<Vec<Range>>>> {
    let lines: Vec<String> = texts().collect();
    let ids: Vec<i64> = tokenize(&lines.join("\n"))?.into_iter().map(i64::from).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    let window = WINDOW.min(DecoderShape::of(weights.config()).context);
    let windows = (WORK / weights.config().products().max(1) / window).clamp(1, WINDOWS);
    let mut stream = ids.iter().copied().cycle();
    let inputs =
        (0..windows).map(|_| vec![("input_ids", stream.by_ref().take(window).collect())]).collect();
    std::fs::create_dir_all(place).map_err(Error::io("create", place))?;
    let folder = tempfile::tempdir_in(place).map_err(Error::io("create", place))?;
    let build = |name: &str, file: &mut dyn Write| watched_decoder(weights, window, name, file);
    watch(runtime, folder.path(), inputs, build).map(Some)
}

/// Builds a model whose outputs are to be watched in `folder`, runs it on each of `inputs`, and returns the range
/// of each channel of each output.
fn watch(
    runtime: &Runtime,
    folder: &Path,
    inputs: Vec<Inputs>,
    build: impl FnOnce(&str, &mut dyn Write) -> Result<(Vec<u8>, Vec<String>)>,
) -> Result<Vec<Vec<Range>>> {
    let path = folder.join("watched.onnx");
    let names = graph::write(&path, build)?;
    let threads = threads::all();
    let mut session = runtime.session(
        &path,
        &SessionOptions { device: Device::Cpu, threads, spinning: false, optimise: true },
    )?;
    let mut ranges: Vec<Vec<Range>> = vec![Vec::new(); names.len()];
    for inputs in inputs {
        let length = inputs.first().map_or(0, |(_, ids)| ids.len());
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
