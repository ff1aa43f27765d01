//! JSON and JSONL.

use super::record::{document, metadata};
use super::{ParseOptions, Source};
use crate::error::{Error, Result};
use crate::text::{Document, sorted};
use serde_json::Value;
use std::io::{BufRead, Read as _};

/// One document per line.
pub(super) fn lines(
    mut reader: impl BufRead + Send,
    source: Source,
    options: ParseOptions,
) -> impl Iterator<Item = Result<Document>> + Send {
    let mut number = 0;
    let mut ended = false;
    std::iter::from_fn(move || {
        while !ended {
            number += 1;
            match next_line(&mut reader, options.max_line_bytes) {
                Ok(Line::Whole(line)) if line.trim_ascii().is_empty() => {}
                Ok(Line::Whole(line)) => {
                    return Some(parse_line(&line, number, &source, &options));
                }
                Ok(Line::TooLong) => {
                    let reason = format!(
                        "longer than {} bytes, the limit for one line; skipped",
                        options.max_line_bytes
                    );
                    return Some(Err(source.error(Some(number), reason)));
                }
                Ok(Line::End) => ended = true,
                Err(e) => {
                    ended = true;
                    return Some(Err(source.error(Some(number), format!("cannot read: {e}"))));
                }
            }
        }
        None
    })
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// The next line, of which no more than `limit` bytes are ever held.
fn next_line(reader: &mut impl BufRead, limit: usize) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(limit as u64 + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if line.len() <= limit || line.ends_with(b"\n") {
        return Ok(Line::Whole(line));
    }
    loop {
        let rest = reader.fill_buf()?;
        if rest.is_empty() {
            return Ok(Line::TooLong);
        }
        let end = rest.iter().position(|b| *b == b'\n');
        let used = end.map_or(rest.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(Line::TooLong);
        }
    }
}

fn parse_line(
    line: &[u8],
    number: u64,
    source: &Source,
    options: &ParseOptions,
) -> Result<Document> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => document(fields, number, source, options),
        Ok(_) => {
            Err(source.error(Some(number), "not an object; one JSON object a line is expected"))
        }
        Err(e) => Err(source.error(Some(number), format!("not JSON: {}", reason(&e)))),
    }
}

/// The parser's message with the column alone: it counts lines from the start of what it was given.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or_default();
    format!("{message}, at column {}", error.column())
}

/// One value: a list of records, a record, or an object that is one document as it stands.
pub(super) fn whole(
    text: &str,
    source: &Source,
    options: &ParseOptions,
) -> Result<Vec<Result<Document>>> {
    let value: Value = serde_json::from_str(text)
        .map_err(|e| source.error(Some(e.line() as u64), format!("not JSON: {}", reason(&e))))?;
    let records = match value {
        Value::Array(items) => items,
        single @ Value::Object(_) => vec![single],
        _ => return Err(source.error(None, "a list or an object is expected at the top")),
    };
    let many = records.len() > 1;
    let parse = |(i, record): (u64, Value)| match record {
        Value::Object(fields) => {
            let mut parsed = match document(fields.clone(), i, source, options) {
                // An object that holds no text field is a document as a whole.
                Err(Error::Parse { .. }) if !many && options.text_field.is_none() => {
                    as_it_stands(fields, source)?
                }
                other => other?,
            };
            // Records of a list have numbers, not lines.
            parsed.origin.line = None;
            Ok(parsed)
        }
        _ => Err(source.error(None, format!("element {i} is no object"))),
    };
    Ok((1..).zip(records).map(parse).collect())
}

fn as_it_stands(fields: serde_json::Map<String, Value>, source: &Source) -> Result<Document> {
    let value = Value::Object(fields);
    let text = serde_json::to_string_pretty(&sorted(&value)).unwrap_or_default();
    let mut document = Document::new(source.id.clone(), text);
    document.metadata = metadata(&value, None, source)?;
    document.origin = source.origin(1, false);
    Ok(document)
}
