//! From files to documents.
//!
//! JSONL and CSV are read record by record, whatever their size; a bad record is an error of its own
//! and the rest is read. Everything else is read whole, up to a limit.

mod csv;
mod encoding;
mod format;
mod html;
mod json;
mod markdown;
mod record;
mod walk;

pub(crate) use csv::rows;
pub use format::Format;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) use record::MAX_NAMES;
pub use walk::{WalkOptions, walk};

use crate::error::{Error, Result};
use crate::text::{Document, Origin};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// How inputs are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseOptions {
    /// Field of a record that holds its text. Default: `text`, `content` or `body`.
    pub text_field: Option<String>,
    /// Field of a record that holds its id. Default: `_id` or `id`, else its line.
    pub id_field: Option<String>,
    /// Field of a record that holds its title. Default: `title`.
    pub title_field: Option<String>,
    /// Bytes of an input that is read whole. Default: 64 MiB.
    pub max_file_bytes: u64,
    /// Bytes of one line of JSONL or one record of CSV. Default: 16 MiB.
    pub max_line_bytes: usize,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self {
            text_field: None,
            id_field: None,
            title_field: None,
            max_file_bytes: 64 << 20,
            max_line_bytes: 16 << 20,
        }
    }
}

/// Documents of one input, and what to know about how it was read.
pub struct Parsed {
    /// The documents, read as they are asked for.
    pub documents: Box<dyn Iterator<Item = Result<Document>> + Send>,
    /// Reservations: a guessed encoding, characters that were replaced.
    pub warnings: Vec<String>,
}

/// Where an input's documents come from and how they are called.
#[derive(Debug, Clone)]
struct Source {
    /// For people, in messages.
    name: String,
    /// The id of its document, or the beginning of its records' ids.
    id: String,
}

impl Source {
    fn error(&self, line: Option<u64>, reason: impl Into<String>) -> Error {
        Error::Parse { origin: self.name.clone(), line, reason: reason.into() }
    }

    fn skipped(&self, reason: impl Into<String>) -> Error {
        Error::Skipped { origin: self.name.clone(), reason: reason.into() }
    }

    fn origin(&self, line: u64, verbatim: bool) -> Origin {
        Origin { path: Some(self.id.clone()), line: Some(line), verbatim }
    }
}

/// Reads the file at `path` as documents called after `id`. The format is taken from name and
/// content where it is not given.
///
/// # Errors
/// [`Error::Io`]; [`Error::Skipped`] for a file with no text to read; [`Error::Parse`] for one that
/// is larger than allowed or not what its format says.
pub fn parse_file(
    path: &Path,
    id: &str,
    format: Option<Format>,
    options: &ParseOptions,
) -> Result<Parsed> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let source = Source { name: path.display().to_string(), id: id.to_owned() };
    let format = format.or_else(|| Format::of_name(path));
    let language = format::language_of(path);
    parse(BufReader::with_capacity(1 << 16, file), source, format, language, options)
}

/// Reads documents from a stream, such as standard input, which is called `name` in messages and
/// whose documents are called after `id`.
///
/// # Errors
/// Those of [`parse_file`].
pub fn parse_reader(
    reader: impl Read + Send + 'static,
    name: &str,
    id: &str,
    format: Option<Format>,
    options: &ParseOptions,
) -> Result<Parsed> {
    let source = Source { name: name.to_owned(), id: id.to_owned() };
    parse(BufReader::with_capacity(1 << 16, reader), source, format, None, options)
}

/// Enough of an input to tell what it is.
const HEAD_BYTES: u64 = 8192;

fn parse<R: Read + Send + 'static>(
    mut reader: BufReader<R>,
    source: Source,
    format: Option<Format>,
    language: Option<&'static str>,
    options: &ParseOptions,
) -> Result<Parsed> {
    let failed = |e: std::io::Error| source.error(None, format!("cannot read: {e}"));
    // A pipe may give a few bytes at a time; the checks below want more.
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    let reader = BufReader::new(std::io::Cursor::new(head.clone()).chain(reader));
    let head = head.as_slice();
    if let Some(kind) = encoding::binary(head) {
        return Err(source.skipped(kind));
    }
    if head.is_empty() {
        return Err(source.skipped("it is empty"));
    }
    let utf16 = encoding::is_utf16(head);
    let format = format.unwrap_or_else(|| Format::of_content(head));
    match format {
        Format::Jsonl if !utf16 => {
            let documents = json::lines(encoding::without_mark(reader), source, options.clone());
            return Ok(Parsed { documents: Box::new(documents), warnings: Vec::new() });
        }
        Format::Csv | Format::Tsv if !utf16 => {
            let tab = format == Format::Tsv;
            let reader = encoding::without_mark(reader);
            let documents = csv::records(reader, source, tab, options.clone());
            return Ok(Parsed { documents: Box::new(documents), warnings: Vec::new() });
        }
        _ => {}
    }
    let mut bytes = Vec::new();
    reader
        .take(options.max_file_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| source.error(None, format!("cannot read: {e}")))?;
    if bytes.len() as u64 > options.max_file_bytes {
        return Err(source.error(
            None,
            format!(
                "larger than {} bytes, the limit for a file that is read whole; split it, or raise \
                 the limit (--max-file-size)",
                options.max_file_bytes
            ),
        ));
    }
    let (text, warnings) = encoding::decode(&bytes);
    if text.trim().is_empty() {
        return Err(source.skipped("it holds nothing but white space"));
    }
    let documents: Box<dyn Iterator<Item = Result<Document>> + Send> = match format {
        Format::Jsonl => Box::new(json::lines(
            BufReader::new(std::io::Cursor::new(text.into_bytes())),
            source,
            options.clone(),
        )),
        Format::Csv | Format::Tsv => Box::new(csv::records(
            BufReader::new(std::io::Cursor::new(text.into_bytes())),
            source,
            format == Format::Tsv,
            options.clone(),
        )),
        Format::Json => Box::new(json::whole(&text, &source, options)?.into_iter()),
        Format::Markdown => once(markdown::parse(text, &source)),
        Format::Html => once(html::parse(&text, &source)?),
        Format::Source | Format::Text => {
            let mut document = Document::new(source.id.clone(), text);
            document.origin = source.origin(1, true);
            document.source_code = format == Format::Source;
            if let Some(language) = language {
                document = document.field("language", language);
            }
            once(document)
        }
    };
    Ok(Parsed { documents, warnings })
}

fn once(document: Document) -> Box<dyn Iterator<Item = Result<Document>> + Send> {
    Box::new(std::iter::once(Ok(document)))
}

#[cfg(test)]
mod tests;
