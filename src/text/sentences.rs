//! The sentences of a passage.
//!
//! UAX #29 finds where sentences may end. It knows no abbreviations, ends a sentence at every line
//! break, and takes what a speaker shouts for a sentence of its own; so lines of one paragraph are
//! read as one, and a piece that cannot stand alone goes to the one before it.

use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation as _;

/// A longer sentence is cut between words: finding the end of one looks ahead without bound.
const MOST_BYTES: usize = 1024;

/// A line this long that ends without a mark was broken by an editor and goes on in the next one.
const WRAPPED_BYTES: usize = 40;

/// English abbreviations that a name may follow.
const BEFORE_NAMES: [&str; 21] = [
    "mr", "mrs", "ms", "dr", "st", "prof", "rev", "hon", "capt", "col", "gen", "lt", "sgt", "mt",
    "vs", "cf", "e.g", "i.e", "viz", "approx", "ca",
];

/// Those that a number may follow.
const BEFORE_NUMBERS: [&str; 14] =
    ["no", "nos", "fig", "figs", "vol", "pp", "p", "eq", "sec", "ch", "art", "approx", "ca", "c"];

/// The bytes of each sentence of `text`, in order and without white space at either end. Together
/// they cover everything but white space. A line of a table or of code, a heading and an item of a
/// list count as sentences.
#[must_use]
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for block in blocks(text) {
        // Of the same length, so that places are the same.
        let flat: String = text[block.clone()]
            .chars()
            .map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c })
            .collect();
        let mut start = 0;
        while start < flat.len() {
            let end = next_end(&flat, start);
            let piece = &flat[start..end];
            let from = block.start + start + (piece.len() - piece.trim_start().len());
            let to = block.start + start + piece.trim_end().len();
            start = end;
            if from >= to {
                continue;
            }
            match spans.last_mut() {
                Some(before)
                    if belongs_to(&text[before.clone()], &text[from..to])
                        && to - before.start <= MOST_BYTES
                        && before.start >= block.start =>
                {
                    before.end = to;
                }
                _ => spans.push(from..to),
            }
        }
    }
    spans
}

/// Where the sentence that begins at `start` ends.
fn next_end(text: &str, start: usize) -> usize {
    let rest = &text[start..];
    let window = &rest[..rest.floor_char_boundary(MOST_BYTES)];
    let whole = window.len() == rest.len();
    let mut bounds = window.split_sentence_bound_indices().skip(1).map(|(at, _)| at);
    match bounds.next() {
        Some(at) => start + at,
        None if whole => text.len(),
        None => {
            let word = window.rfind(char::is_whitespace).filter(|at| *at > 0);
            start + word.unwrap_or(window.len())
        }
    }
}

/// Whether `next` cannot stand without what stands before it.
fn belongs_to(before: &str, next: &str) -> bool {
    let Some(first) = next.chars().find(|c| c.is_alphanumeric()) else { return true };
    if first.is_lowercase() {
        return true;
    }
    let Some(stem) = before.strip_suffix('.') else { return false };
    let word = stem.rsplit(char::is_whitespace).next().unwrap_or(stem);
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    // An initial; but "I" is a word.
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    let known: &[&str] = if first.is_numeric() { &BEFORE_NUMBERS } else { &BEFORE_NAMES };
    initial || known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Stretches of lines that are read as one paragraph.
fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    let mut open = false;
    let mut fence = false;
    for line in text.split_inclusive('\n') {
        let span = at..at + line.len();
        at = span.end;
        let trimmed = line.trim();
        let marker = trimmed.starts_with("```") || trimmed.starts_with("~~~");
        if trimmed.is_empty() {
            open = false;
            continue;
        }
        let alone = fence || marker || trimmed.starts_with(['|', '#']);
        fence ^= marker;
        match blocks.last_mut() {
            Some(block) if open && !alone && !begins_item(trimmed) => block.end = span.end,
            _ => blocks.push(span),
        }
        open = !alone && trimmed.len() >= WRAPPED_BYTES;
    }
    blocks
}

/// Whether a line begins an item of a list or a quotation: `-`, `*`, `+`, `>`, `3.` or `3)`.
fn begins_item(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let mark = if rest.len() < line.len() {
        rest.strip_prefix(['.', ')'])
    } else {
        line.strip_prefix(['-', '*', '+', '>', '•', '–', '—'])
    };
    mark.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|span| &text[span]).collect()
    }

    #[test]
    fn what_cannot_stand_alone_is_joined() {
        assert_eq!(
            cut("\"Stop!\" cried the king. Mr. Fox and J. R. Hare ran. \"Why?\" They did not say."),
            [
                "\"Stop!\" cried the king.",
                "Mr. Fox and J. R. Hare ran.",
                "\"Why?\"",
                "They did not say."
            ]
        );
        assert_eq!(cut("It was I. He knew. ... Yes."), ["It was I.", "He knew. ...", "Yes."]);
        assert_eq!(
            cut("She said no. It cost 3.50. See fig. 3 and no. 4 for it."),
            ["She said no.", "It cost 3.50.", "See fig. 3 and no. 4 for it."]
        );
    }

    #[test]
    fn lines_of_a_paragraph_are_read_as_one() {
        let text = "The harbour was closed for the whole of the winter\nbecause of the ice. It \
                    opened again on the third of\r\nApril.\n\n# Ships\nshort line\n- one item of a \
                    list that is rather long\n- another\n\n| a | b |\n| c | d |\n";
        assert_eq!(
            cut(text),
            [
                "The harbour was closed for the whole of the winter\nbecause of the ice.",
                "It opened again on the third of\r\nApril.",
                "# Ships",
                "short line",
                "- one item of a list that is rather long",
                "- another",
                "| a | b |",
                "| c | d |"
            ]
        );
    }

    #[test]
    fn sentences_of_other_scripts_end_by_their_own_marks() {
        assert_eq!(cut("これは本です。それは木です。"), ["これは本です。", "それは木です。"]);
        assert_eq!(cut("यह घर है। वह पेड़ है।").len(), 2);
    }

    #[test]
    fn a_line_of_nothing_but_stops_takes_no_time() {
        let text = ".".repeat(1 << 18);
        assert!(sentences(&text).len() > 100);
    }

    proptest! {
        #[test]
        fn sentences_cover_all_but_white_space(text in "([a-zA-Z .!?\n\r|#\"é日-]|Mr\\. ){0,300}") {
            let mut at = 0;
            for span in sentences(&text) {
                prop_assert!(at <= span.start && span.start < span.end);
                prop_assert!(text[at..span.start].trim().is_empty());
                prop_assert_eq!(text[span.clone()].trim(), &text[span.clone()]);
                at = span.end;
            }
            prop_assert!(text[at..].trim().is_empty());
        }
    }
}
