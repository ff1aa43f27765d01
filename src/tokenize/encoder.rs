//! An encoder's tokenizer: Hugging Face's tokenizer.json, with its own special tokens around a text.

use crate::error::{Error, Result};
use crate::text::tokenizer::TokenSpans;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tokenizers::{Tokenizer as HfTokenizer, TruncationParams, TruncationStrategy};

/// The largest known ones, of multilingual models, have 20 MB; a hostile one can have any size.
const MAX_BYTES: u64 = 64 << 20;

/// Longer texts are measured piece by piece, so that a whole book does not become one list of
/// tokens with all that goes with them.
const PIECE_BYTES: usize = 64 << 10;

/// A model's own tokenizer.
pub(crate) struct EncoderTokenizer {
    name: String,
    inner: HfTokenizer,
    /// Tokens that it puts around every text.
    specials: usize,
}

impl EncoderTokenizer {
    pub(crate) fn open(name: &str, path: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        if size > MAX_BYTES {
            return Err(refuse(format!(
                "{} has {size} bytes; a tokenizer has at most {MAX_BYTES}",
                path.display()
            )));
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        // The loader is known to panic on some malformed files.
        let loaded = catch_unwind(|| HfTokenizer::from_bytes(&bytes));
        let mut inner = match loaded {
            Ok(Ok(tokenizer)) => tokenizer,
            Ok(Err(e)) => return Err(refuse(format!("{} does not load: {e}", path.display()))),
            Err(_) => return Err(refuse(format!("{} is malformed", path.display()))),
        };
        // Published files bake in truncation (MiniLM: at 128) and padding; both are our business.
        inner
            .with_truncation(None)
            .map_err(|e| refuse(format!("{}: {e}", path.display())))?
            .with_padding(None);
        let mut tokenizer = Self { name: name.to_owned(), inner, specials: 0 };
        tokenizer.specials = tokenizer.ids("")?.len();
        Ok(tokenizer)
    }

    /// Token ids with special tokens around them.
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.guarded(|| self.inner.encode_fast(text, true))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Token ids with special tokens around them, and the bytes of `text` that each stands for: none
    /// for a special token.
    pub(crate) fn ids_and_spans(&self, text: &str) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        let encoding = self.guarded(|| self.inner.encode(text, true))?;
        let spans = encoding.get_offsets().iter().zip(encoding.get_special_tokens_mask());
        let spans =
            spans.map(|((from, to), special)| if *special == 1 { 0..0 } else { *from..*to });
        Ok((encoding.get_ids().to_vec(), spans.collect()))
    }

    /// The same tokenizer, which cuts what it reads to `window` tokens: of two texts, the longer one
    /// first.
    pub(crate) fn cut_at(mut self, window: usize) -> Result<Self> {
        let cut = TruncationParams {
            max_length: window,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        if let Err(e) = self.inner.with_truncation(Some(cut)) {
            let reason = format!("a window of {window} tokens is too small for it: {e}");
            return Err(Error::Model { name: self.name, reason });
        }
        Ok(self)
    }

    /// Token ids of two texts that are read together, with special tokens around them, and for each
    /// which text it belongs to, by the tokenizer's own numbers.
    pub(crate) fn pair(&self, first: &str, second: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        let encoding = self.guarded(|| self.inner.encode_fast((first, second), true))?;
        Ok((encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec()))
    }

    pub(crate) fn specials(&self) -> usize {
        self.specials
    }

    fn guarded<T>(&self, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
        let refuse = |reason| Error::Model { name: self.name.clone(), reason };
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => done.map_err(|e| refuse(format!("the tokenizer fails on a text: {e}"))),
            Err(_) => Err(refuse("the tokenizer gives up on a text".to_owned())),
        }
    }
}

impl TokenSpans for EncoderTokenizer {
    fn token_spans(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = piece_end(text, start);
            let piece = &text[start..end];
            let encoding = self.guarded(|| self.inner.encode(piece, false))?;
            spans.extend(
                encoding
                    .get_offsets()
                    .iter()
                    .filter(|(from, to)| from < to)
                    .map(|(from, to)| start + from..start + to),
            );
            start = end;
        }
        Ok(spans)
    }
}

/// Where a piece that begins at `start` ends: at white space, which no token spans, if there is any
/// in the second half of the piece; else at a character.
fn piece_end(text: &str, start: usize) -> usize {
    if text.len() - start <= PIECE_BYTES {
        return text.len();
    }
    let limit = text.floor_char_boundary(start + PIECE_BYTES);
    let half = text.floor_char_boundary(start + PIECE_BYTES / 2);
    text[half..limit].rfind(char::is_whitespace).map_or(limit, |at| half + at)
}
