//! CSV and TSV with a header. The one place that names the csv crate.

use super::record::document;
use super::{ParseOptions, Source};
use crate::error::Result;
use crate::text::Document;
use ::csv::{ErrorKind, ReaderBuilder, StringRecord};
use serde_json::{Map, Value};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One document per row.
pub(super) fn records(
    reader: impl Read + Send,
    source: Source,
    tab: bool,
    options: ParseOptions,
) -> impl Iterator<Item = Result<Document>> + Send {
    let since_record = Arc::new(AtomicUsize::new(0));
    let limited = RecordLimit {
        inner: reader,
        since_record: Arc::clone(&since_record),
        limit: options.max_line_bytes,
    };
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
        since_record.store(0, Ordering::Relaxed);
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

/// The line of a row that cannot be read, where it is known, and the reason.
#[cfg(feature = "files")]
pub(crate) type BadRow = (Option<u64>, String);

/// The rows of a table with a header as they are, each with its line.
#[cfg(feature = "files")]
pub(crate) fn rows(
    reader: impl Read,
    tab: bool,
) -> impl Iterator<Item = Result<(u64, Map<String, Value>), BadRow>> {
    let limited = RecordLimit {
        inner: reader,
        since_record: Arc::default(),
        limit: ParseOptions::default().max_line_bytes,
    };
    let since_record = Arc::clone(&limited.since_record);
    let delimiter = if tab { b'\t' } else { b',' };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(limited);
    let header = reader.headers().cloned().map_err(|e| (Some(1), format!("no header: {e}")));
    let mut ended = false;
    std::iter::from_fn(move || {
        since_record.store(0, Ordering::Relaxed);
        let mut row = StringRecord::new();
        let header = match &header {
            _ if ended => return None,
            Ok(header) => header,
            Err(e) => {
                ended = true;
                return Some(Err(e.clone()));
            }
        };
        match reader.read_record(&mut row) {
            Ok(true) => {
                let line = row.position().map_or(0, ::csv::Position::line);
                let cells = header.iter().zip(&row);
                Some(Ok((line, cells.map(|(n, v)| (n.trim().to_owned(), v.into())).collect())))
            }
            Ok(false) => None,
            Err(e) => {
                ended = true;
                Some(Err((e.position().map(::csv::Position::line), e.to_string())))
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

/// Fails where more bytes than the limit were read since the last record ended: the reader holds a
/// record in memory, and one quote that is never closed makes the rest of the file one record.
struct RecordLimit<R> {
    inner: R,
    since_record: Arc<AtomicUsize>,
    limit: usize,
}

impl<R: Read> Read for RecordLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.since_record.load(Ordering::Relaxed) > self.limit {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("a record is longer than {} bytes; is a quote left open?", self.limit),
            ));
        }
        let read = self.inner.read(buffer)?;
        self.since_record.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}
