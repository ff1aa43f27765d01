//! Where a text may be cut.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation as _;

/// How good a place is for a cut, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// After a blank line.
    Paragraph,
    /// Between sentences (UAX #29); never inside a line of code or of a table.
    Sentence,
    /// At the end of a line.
    Line,
}

/// Byte offsets of possible cuts, ascending.
pub(super) struct Breaks {
    paragraphs: Vec<usize>,
    sentences: Vec<usize>,
    lines: Vec<usize>,
}

impl Breaks {
    /// In source code, every line counts as a sentence.
    pub(super) fn new(text: &str, source_code: bool) -> Self {
        let mut breaks = Self { paragraphs: Vec::new(), sentences: Vec::new(), lines: Vec::new() };
        let mut whole_lines = Vec::new();
        let mut fence: Option<&str> = None;
        let mut at = 0;
        let mut blank_before = false;
        for line in text.split_inclusive('\n') {
            let trimmed = line.trim();
            if trimmed.is_empty() {
                blank_before = true;
            } else {
                if blank_before && fence.is_none() {
                    breaks.paragraphs.push(at);
                }
                blank_before = false;
                let marker = ["```", "~~~"].into_iter().find(|m| trimmed.starts_with(m));
                let whole = fence.is_some() || marker.is_some() || trimmed.starts_with('|');
                match (fence, marker) {
                    (None, Some(opened)) => fence = Some(opened),
                    (Some(open), Some(closed)) if open == closed => fence = None,
                    _ => {}
                }
                if whole {
                    whole_lines.push(at..at + line.len());
                }
            }
            at += line.len();
            breaks.lines.push(at);
        }
        if source_code {
            breaks.sentences.clone_from(&breaks.lines);
            return breaks;
        }
        for piece in pieces(text) {
            for (within, _) in text[piece.clone()].split_sentence_bound_indices().skip(1) {
                let at = piece.start + within;
                let inside = whole_lines.partition_point(|line| line.end <= at);
                if whole_lines.get(inside).is_none_or(|line| line.start >= at) {
                    breaks.sentences.push(at);
                }
            }
            if text[..piece.end].ends_with('\n') {
                breaks.sentences.push(piece.end);
            }
        }
        breaks
    }

    /// The cut of this level in `earliest..=last` that is nearest to `wanted`.
    pub(super) fn nearest(
        &self,
        level: Level,
        earliest: usize,
        last: usize,
        wanted: usize,
    ) -> Option<usize> {
        let cuts = match level {
            Level::Paragraph => &self.paragraphs,
            Level::Sentence => &self.sentences,
            Level::Line => &self.lines,
        };
        let after = cuts.partition_point(|cut| *cut < wanted);
        let next = cuts.get(after).copied().filter(|cut| *cut <= last);
        let before = after.checked_sub(1).and_then(|i| cuts.get(i)).copied();
        let before = before.filter(|cut| *cut >= earliest);
        match (before, next) {
            (Some(b), Some(n)) => Some(if wanted - b <= n - wanted { b } else { n }),
            (b, n) => b.or(n),
        }
    }
}

/// Lines, cut further at this length: finding the end of a sentence looks ahead without bound, which
/// makes a long line of nothing but full stops quadratic. A line always ends a sentence (rule SB4).
const PIECE_BYTES: usize = 1024;

fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &text[start..];
        if rest.is_empty() {
            return None;
        }
        let window = &rest[..rest.floor_char_boundary(PIECE_BYTES)];
        let line = window.find('\n').map(|at| at + 1);
        let word = || window.rfind(char::is_whitespace).filter(|at| *at > 0);
        let length = match line {
            Some(length) => length,
            None if window.len() == rest.len() => rest.len(),
            None => word().unwrap_or(window.len()),
        };
        start += length;
        Some(start - length..start)
    })
}
