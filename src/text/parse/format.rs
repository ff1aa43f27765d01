//! Which format an input has.

use crate::error::{Error, Result};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Plain text.
    Text,
    /// Markdown (CommonMark).
    Markdown,
    /// HTML.
    Html,
    /// One JSON value: a document, or a list of records.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// Source code.
    Source,
}

const NAMES: [(&str, Format); 8] = [
    ("text", Format::Text),
    ("markdown", Format::Markdown),
    ("html", Format::Html),
    ("json", Format::Json),
    ("jsonl", Format::Jsonl),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("source", Format::Source),
];

const EXTENSIONS: [(&str, Format); 15] = [
    ("txt", Format::Text),
    ("text", Format::Text),
    ("log", Format::Text),
    ("rst", Format::Text),
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("xhtml", Format::Html),
    ("json", Format::Json),
    ("jsonl", Format::Jsonl),
    ("ndjson", Format::Jsonl),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("tab", Format::Tsv),
];

const LANGUAGES: [(&str, &str); 40] = [
    ("rs", "rust"),
    ("py", "python"),
    ("js", "javascript"),
    ("mjs", "javascript"),
    ("jsx", "javascript"),
    ("ts", "typescript"),
    ("tsx", "typescript"),
    ("c", "c"),
    ("h", "c"),
    ("cc", "c++"),
    ("cpp", "c++"),
    ("hpp", "c++"),
    ("cs", "c#"),
    ("go", "go"),
    ("java", "java"),
    ("kt", "kotlin"),
    ("scala", "scala"),
    ("swift", "swift"),
    ("rb", "ruby"),
    ("php", "php"),
    ("pl", "perl"),
    ("lua", "lua"),
    ("r", "r"),
    ("jl", "julia"),
    ("hs", "haskell"),
    ("ml", "ocaml"),
    ("ex", "elixir"),
    ("erl", "erlang"),
    ("clj", "clojure"),
    ("sh", "shell"),
    ("bash", "shell"),
    ("sql", "sql"),
    ("css", "css"),
    ("scss", "css"),
    ("toml", "toml"),
    ("yaml", "yaml"),
    ("yml", "yaml"),
    ("xml", "xml"),
    ("proto", "protobuf"),
    ("zig", "zig"),
];

impl Format {
    /// By the file's extension; none where that says nothing.
    pub(super) fn of_name(path: &Path) -> Option<Self> {
        let extension = extension(path)?;
        let known = EXTENSIONS.iter().find(|(known, _)| *known == extension);
        known.map(|(_, format)| *format).or_else(|| language_of(path).map(|_| Self::Source))
    }

    /// By the first bytes.
    pub(super) fn of_content(head: &[u8]) -> Self {
        let start = String::from_utf8_lossy(&head[..head.len().min(512)]).to_ascii_lowercase();
        let start = start.trim_start_matches('\u{feff}').trim_start();
        if start.starts_with("<!doctype html") || start.starts_with("<html") {
            Self::Html
        } else {
            Self::Text
        }
    }
}

/// The programming language that a file's extension stands for.
pub(super) fn language_of(path: &Path) -> Option<&'static str> {
    let extension = extension(path)?;
    LANGUAGES.iter().find(|(known, _)| *known == extension).map(|(_, language)| *language)
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase())
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format).ok_or_else(|| {
            let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            Error::parameter("format", format!("{name:?}; there are {}", known.join(", ")))
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, format)| format == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}
