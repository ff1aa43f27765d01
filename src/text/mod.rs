//! Text in: documents, the parsers that make them from files, and the chunker.

mod breaks;
pub mod chunk;
mod document;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzzing;
mod lines;
mod nesting;
#[cfg(feature = "files")]
pub mod parse;
mod sentences;
pub mod tokenizer;

#[cfg(feature = "files")]
pub(crate) use document::sorted;
pub use document::{Document, Heading, Metadata, Origin, Value, flatten_json};
pub use lines::LineIndex;
pub use sentences::sentences;
