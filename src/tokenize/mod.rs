//! Text to tokens and back. Nothing outside this module names the tokenizers crate.
//!
//! An encoder brings a whole pipeline (`tokenizer.json`) and is given texts. A decoder is given a
//! [`Prompt`]: text of a chat template, in which special tokens are special, and text of people and
//! documents, in which nothing is. [`DecoderTokenizer`] is byte-level byte-pair encoding, from the
//! metadata of a GGUF file ([`Parts`]) or from `tokenizer.json`.

mod alphabet;
mod bpe;
mod decoder;
mod encoder;
mod gguf;
mod json;
mod merge;
mod packed;
mod prompt;
mod rules;
mod special;
#[cfg(test)]
mod toy;

pub use decoder::{DecoderTokenizer, SpecialTokens};
pub(crate) use encoder::EncoderTokenizer;
pub use gguf::Parts;
pub use json::Marks;
pub use prompt::{Piece, Prompt};
