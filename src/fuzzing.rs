//! Fuzz targets: what reads bytes from disk, and what must hold for whatever those bytes are.
//!
//! Each takes any bytes; nothing may panic, hang, or allocate by a number that was not checked. The
//! first bytes choose among the decoders of a target and among their forms. Of a format with a
//! checksum there is one form in which the checksum is made right first, so that what lies behind it
//! is reached. `tests/fuzz` has the programs, and the inputs that were found to matter, which a test
//! here runs through their targets.

use crate::Filter;
use crate::text::chunk::ChunkOptions;
use crate::text::parse::Format;
use crate::text::{Metadata, Value};
use crate::vector::Metric;
use crate::{db, index, model, store, text};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 8] = [
    ("records", records),
    ("manifest", manifest),
    ("segment", segment),
    ("filter", filter),
    ("jsonl", jsonl),
    ("text", text),
    ("models", models),
    ("decoders", decoders),
];

/// Frames of every kind under any key, and the records, keys and sums in them.
pub fn records(data: &[u8]) {
    store::fuzzing::records(data);
}

/// The small files: `MANIFEST`, `BACKUP`, `SEGMENTS`, and the ends of tantivy's lists.
pub fn manifest(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let make_sum_right = choice % 2 == 1;
    match (choice / 2 % 4, std::str::from_utf8(bytes)) {
        (0, _) => store::fuzzing::manifest(bytes, make_sum_right),
        (1, Ok(text)) => store::fuzzing::backup_list(text),
        (2, Ok(text)) => index::fuzzing::segment_list(text, make_sum_right),
        (3, _) => index::fuzzing::summed_file(bytes, make_sum_right),
        _ => {}
    }
}

/// Sealed segments of the vector index.
pub fn segment(data: &[u8]) {
    let Some((choice, file)) = data.split_first() else { return };
    let metric = Metric::ALL.get(usize::from(choice / 2 % 3)).copied().unwrap_or_default();
    index::fuzzing::segment(file, metric, choice % 2 == 1);
}

/// Filters as text: what parses prints as text that parses to the same, and holds or does not.
pub fn filter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            let crate::Error::FilterSyntax { position, .. } = error else { return };
            assert!(position <= text.chars().count() + 1, "an error behind the end");
            return;
        }
    };
    let printed = filter.to_string();
    // Escapes can take more room than what they stand for.
    if printed.len() <= text.len() {
        assert_eq!(Filter::parse(&printed).ok().as_ref(), Some(&filter), "{printed}");
    }
    let opposite = filter.clone().not();
    let list = Value::List(vec![Value::Null, Value::Float(0.5), Value::from("a")]);
    let values = [Value::Null, Value::Bool(true), Value::Integer(7), "text".into(), list];
    for (turn, _) in values.iter().enumerate() {
        let field = |(i, name): (usize, &str)| {
            values.get((i + turn) % values.len()).map(|value| (name.to_owned(), value.clone()))
        };
        let metadata: Metadata =
            filter.fields().into_iter().enumerate().filter_map(field).collect();
        assert_ne!(filter.matches(&metadata), opposite.matches(&metadata));
    }
    let _ = filter.matches(&Metadata::new());
}

/// Records: JSONL, JSON, CSV and TSV as documents, and the lines of an export.
pub fn jsonl(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let short = choice % 2 == 1;
    match choice / 2 % 5 {
        0 => text::fuzzing::records(bytes, Format::Jsonl, short),
        1 => text::fuzzing::records(bytes, Format::Json, short),
        2 => text::fuzzing::records(bytes, Format::Csv, short),
        3 => text::fuzzing::records(bytes, Format::Tsv, short),
        _ => db::fuzzing::import(bytes),
    }
}

/// Texts in any encoding as Markdown, HTML, prose, source code and whatever they look like, and their
/// chunks by any setting.
pub fn text(data: &[u8]) {
    let [choice, size, overlap, bytes @ ..] = data else { return };
    let formats = [Format::Text, Format::Markdown, Format::Html, Format::Source];
    let format = formats.get(usize::from(choice % 5)).copied();
    let options = ChunkOptions {
        max_tokens: usize::from(*size).max(16),
        overlap_tokens: usize::from(*overlap) / 2,
        min_tokens: usize::from(*size) / 8,
    };
    text::fuzzing::whole(bytes, format, usize::from(choice / 32), &options);
}

/// Models: manifests, `config.json`, safetensors, ONNX.
pub fn models(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    match choice % 3 {
        0 => model::fuzzing::manifest(bytes),
        1 => model::fuzzing::onnx(bytes),
        _ => {
            let (config, weights) = first_line(bytes);
            model::fuzzing::weights(config, weights);
        }
    }
}

/// Decoders: GGUF, and a line of `config.json` with safetensors behind it.
pub fn decoders(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    if choice % 2 == 0 {
        model::fuzzing::gguf(bytes);
    } else {
        let (config, weights) = first_line(bytes);
        model::fuzzing::decoder_folder(config, weights);
    }
}

/// A line of configuration, then the weights.
fn first_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (config, weights) = bytes.split_at(line);
    (config, weights.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
