//! How text is measured: in an encoder's own tokens, or in words where there is no encoder.

use crate::error::Result;
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Splits text into the units by which chunks are measured.
pub trait TokenSpans: Send + Sync {
    /// The byte span of every token of `text`, in order, special tokens left out.
    ///
    /// # Errors
    /// Where the tokenizer fails on this text.
    fn token_spans(&self, text: &str) -> Result<Vec<Range<usize>>>;
}

/// Unicode words (UAX #29), for collections whose vectors come from the caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct Words;

impl TokenSpans for Words {
    fn token_spans(&self, text: &str) -> Result<Vec<Range<usize>>> {
        Ok(text.unicode_word_indices().map(|(at, word)| at..at + word.len()).collect())
    }
}
