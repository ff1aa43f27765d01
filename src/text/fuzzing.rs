//! What the fuzz targets see of text: parsers, and the chunker behind them.

use super::chunk::ChunkOptions;
use super::chunk::properties::{Threes, check};
use super::parse::{Format, MAX_NAMES, ParseOptions, parse_reader};
use super::tokenizer::Words;
use super::{Document, Value};
use crate::error::Result;
use std::io::Cursor;

/// Records: JSON, JSONL, CSV, TSV. `short` sets the limit of a line low enough to be met.
pub(crate) fn records(bytes: &[u8], format: Format, short: bool) {
    let max_line_bytes = if short { 64 } else { 1 << 20 };
    let options = ParseOptions { max_line_bytes, ..ParseOptions::default() };
    let Some(documents) = parse(bytes, Some(format), &options) else { return };
    let mut count = 0;
    for document in documents {
        count += 1;
        // A record has at least a byte and its line break.
        assert!(count <= bytes.len() + 1, "records without end");
        if let Ok(document) = document {
            assert!(!document.id.is_empty());
            let names: usize = document.metadata.keys().map(String::len).sum();
            assert!(names <= MAX_NAMES, "{names} bytes of field names");
            document.metadata.values().for_each(check_value);
        }
    }
}

fn check_value(value: &Value) {
    match value {
        Value::Float(x) => assert!(x.is_finite()),
        Value::List(items) => items.iter().for_each(check_value),
        _ => {}
    }
}

/// Whole texts, and their chunks where `overhead` tokens of each are taken.
pub(crate) fn whole(bytes: &[u8], format: Option<Format>, overhead: usize, cut: &ChunkOptions) {
    let Some(documents) = parse(bytes, format, &ParseOptions::default()) else { return };
    for document in documents.flatten() {
        for heading in &document.headings {
            assert!(document.text.get(heading.span.clone()).is_some(), "{heading:?}");
        }
        check(&document, &Words, overhead, cut);
        check(&document, &Threes, overhead, cut);
    }
}

fn parse(
    bytes: &[u8],
    format: Option<Format>,
    options: &ParseOptions,
) -> Option<Box<dyn Iterator<Item = Result<Document>> + Send>> {
    let reader = Cursor::new(bytes.to_vec());
    parse_reader(reader, "fuzz", "fuzz", format, options).ok().map(|p| p.documents)
}
