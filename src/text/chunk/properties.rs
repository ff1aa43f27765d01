//! What holds for every text and every measure, for tests and fuzz targets.

use super::{ChunkOptions, chunk};
use crate::error::Result;
use crate::text::Document;
use crate::text::tokenizer::TokenSpans;
use std::ops::Range;

/// A hostile measure: every three characters are a token, white space included, counted from the
/// start of whatever is measured, so that counts do not add up across cuts.
pub(crate) struct Threes;

impl TokenSpans for Threes {
    fn token_spans(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let starts: Vec<usize> = text.char_indices().map(|(i, _)| i).step_by(3).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        Ok(starts.iter().copied().zip(ends).map(|(a, b)| a..b).collect())
    }
}

/// What holds for the chunks of every text, by a measure that does not fail.
pub(crate) fn check(
    document: &Document,
    measure: &dyn TokenSpans,
    overhead: usize,
    options: &ChunkOptions,
) {
    let chunks = chunk(document, measure, overhead, options);
    assert!(chunks.is_ok(), "{chunks:?}");
    let text = &document.text;
    let mut covered = 0;
    let mut starts = 0;
    for chunk in chunks.iter().flatten() {
        let body = &text[chunk.span.clone()];
        assert_eq!(body.trim(), body);
        assert!(!body.is_empty());
        assert!(chunk.span.start >= starts, "out of order");
        starts = chunk.span.start;
        if chunk.span.start > covered {
            let gap = &text[covered..chunk.span.start];
            assert!(gap.trim().is_empty(), "lost {gap:?}");
        } else if options.overlap_tokens == 0 {
            assert_eq!(chunk.span.start, covered, "overlap where none was asked for");
        }
        assert!(chunk.span.end > covered);
        covered = chunk.span.end;
        let embedded = format!("{}{body}", chunk.context);
        let tokens = measure.token_spans(&embedded).map_or(0, |spans| spans.len());
        // A single character may be more than there is room for; nothing can be done then.
        let one = body.chars().count() == 1;
        assert!(
            tokens + overhead <= options.max_tokens || one,
            "{tokens} + {overhead} tokens in {embedded:?}"
        );
    }
    assert!(text[covered..].trim().is_empty(), "lost the end");
}
