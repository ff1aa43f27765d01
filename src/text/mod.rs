//! Text in: documents, the parsers that make them from files, and the chunker.

pub mod chunk;
mod document;
#[cfg(feature = "files")]
pub mod parse;
pub mod tokenizer;

pub use document::{Document, Heading, Metadata, Origin, Value, flatten_json};
