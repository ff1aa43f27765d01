//! CSV and TSV with a header. The one place that names the csv crate.

use super::record::document;
use super::{ParseOptions, Source};
use crate::error::Result;
use crate::text::Document;
use ::csv::{ErrorKind, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};
use std::io::Read;

/// One document per row.
pub(super) fn records(
    reader: impl Read + Send,
    source: Source,
    tab: bool,
    options: ParseOptions,
) -> impl Iterator<Item = Result<Document>> + Send {
    let limited = LineLimit { inner: reader, since_line: 0, limit: options.max_line_bytes };
    let mut reader = ReaderBuilder::new()
        .delimiter(if tab { b'\t' } else { b',' })
        .flexible(false)
        .from_reader(limited);
    let mut header: Option<StringRecord> = None;
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        if header.is_none() {
            match reader.headers() {
                Ok(found) => header = Some(found.clone()),
                Err(e) => {
                    ended = true;
                    return Some(Err(source.error(Some(1), format!("no header: {e}"))));
                }
            }
        }
        let mut row = StringRecord::new();
        match reader.read_record(&mut row) {
            Ok(true) => {
                let line = row.position().map_or(0, ::csv::Position::line);
                let fields: Map<String, Value> = header
                    .iter()
                    .flatten()
                    .zip(&row)
                    .map(|(name, value)| (name.trim().to_owned(), typed(value)))
                    .collect();
                Some(document(fields, line, &source, &options))
            }
            Ok(false) => None,
            Err(e) => {
                let line = e.position().map(::csv::Position::line);
                let reason = match e.kind() {
                    ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("{len} fields where the header has {expected_len}; row skipped")
                    }
                    ErrorKind::Utf8 { err, .. } => {
                        format!("field {} is not UTF-8; row skipped", err.field() + 1)
                    }
                    // The reader cannot go on after these.
                    _ => {
                        ended = true;
                        e.to_string()
                    }
                };
                Some(Err(source.error(line, reason)))
            }
        }
    })
}

/// A cell as the value that it looks like. Numbers with leading zeros are names.
fn typed(cell: &str) -> Value {
    let trimmed = cell.trim();
    let digits = trimmed.trim_start_matches('-');
    let zero_led = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    match trimmed {
        "" => Value::Null,
        "true" | "TRUE" | "True" => Value::Bool(true),
        "false" | "FALSE" | "False" => Value::Bool(false),
        number if !zero_led && digits.starts_with(|c: char| c.is_ascii_digit()) => {
            if let Ok(integer) = number.parse::<i64>() {
                integer.into()
            } else if let Ok(float) = number.parse::<f64>()
                && float.is_finite()
            {
                float.into()
            } else {
                cell.into()
            }
        }
        _ => cell.into(),
    }
}

/// Fails on a line beyond the limit, since the reader holds a record in memory, however long.
struct LineLimit<R> {
    inner: R,
    since_line: usize,
    limit: usize,
}

impl<R: Read> Read for LineLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let new = &buffer[..read];
        self.since_line = match new.iter().rposition(|b| *b == b'\n') {
            Some(at) => read - at - 1,
            None => self.since_line + read,
        };
        if self.since_line > self.limit {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("a line is longer than {} bytes", self.limit),
            ));
        }
        Ok(read)
    }
}
