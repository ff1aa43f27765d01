//! What the decoder reads: the best sentences with their neighbours, numbered by passage, and the
//! question.
//!
//! Passages and question are contents of messages. The template puts special tokens around them and
//! never reads any in them, so that what a passage says cannot become part of the prompt's form.

use super::evidence::Ranked;
use super::passages::Passage;
use super::sources::Source;
use crate::generate::{Message, Role};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

/// What the decoder is told.
const INSTRUCTION: &str = "You answer questions about the numbered passages that you are given. Use \
                           only what the passages say, in their own words. Answer in one short \
                           sentence, and write the number of its passage after it, as in [1].";

/// Sentences on either side of one that is chosen.
const NEIGHBOURS: usize = 1;

/// A part of a passage that the decoder reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Excerpt {
    /// Number of the passage.
    pub(super) passage: usize,
    /// Bytes of the passage's text, in order and apart.
    pub(super) parts: Vec<Range<usize>>,
}

/// The best `count` sentences with their neighbours, the most relevant passage first.
pub(super) fn from_evidence(
    ranked: &[Ranked],
    sources: &[Source<'_>],
    count: usize,
) -> Vec<Excerpt> {
    let mut order: Vec<usize> = Vec::new();
    let mut chosen: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for best in ranked.iter().take(count) {
        let Some(source) = sources.get(best.source) else { continue };
        let number = source.passage.number;
        if !order.contains(&number) {
            order.push(number);
        }
        let first = best.source.saturating_sub(NEIGHBOURS);
        let near = (first..=best.source + NEIGHBOURS)
            .filter(|at| sources.get(*at).is_some_and(|other| other.passage.number == number));
        chosen.entry(number).or_default().extend(near);
    }
    let excerpt = |number: usize| {
        let mut places = chosen.remove(&number)?;
        places.sort_unstable();
        places.dedup();
        let mut parts: Vec<Range<usize>> = Vec::new();
        let mut last = None;
        for at in places {
            let Some(source) = sources.get(at) else { continue };
            match parts.last_mut() {
                Some(part) if last == at.checked_sub(1) => part.end = source.within.end,
                _ => parts.push(source.within.clone()),
            }
            last = Some(at);
        }
        Some(Excerpt { passage: number, parts })
    };
    order.into_iter().filter_map(excerpt).collect()
}

/// The passages whole, the most relevant first.
pub(super) fn from_passages(passages: &[Passage]) -> Vec<Excerpt> {
    let whole = |p: &Passage| {
        let all = 0..p.text.len();
        Excerpt { passage: p.number, parts: vec![all] }
    };
    passages.iter().map(whole).collect()
}

/// The messages of a question. Excerpts stand in the order of their numbers, so that the prompts of
/// two questions on the same passages begin alike.
pub(super) fn messages(question: &str, excerpts: &[Excerpt], passages: &[Passage]) -> Vec<Message> {
    let mut content = String::new();
    for (number, text) in texts(excerpts, passages) {
        // Writing to a string cannot fail.
        let _ = write!(content, "[{number}] {text}\n\n");
    }
    content.push_str("Question: ");
    content.push_str(question.trim());
    vec![
        Message { role: Role::System, content: INSTRUCTION.to_owned() },
        Message { role: Role::User, content },
    ]
}

/// The texts of the excerpts with the numbers of their passages.
pub(super) fn texts(excerpts: &[Excerpt], passages: &[Passage]) -> Vec<(usize, String)> {
    let mut ordered: Vec<&Excerpt> = excerpts.iter().collect();
    ordered.sort_by_key(|excerpt| excerpt.passage);
    let text = |excerpt: &Excerpt| {
        let passage = passages.iter().find(|p| p.number == excerpt.passage)?;
        let parts = excerpt.parts.iter().filter_map(|part| passage.text.get(part.clone()));
        // One line each: an empty line ends a passage.
        let lines = parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        Some((excerpt.passage, lines.collect::<Vec<_>>().join(" … ")))
    };
    ordered.into_iter().filter_map(text).collect()
}

impl Excerpt {
    /// Cuts the end off, so that of `tokens` tokens about `room` are left; whether anything is left
    /// and less than before.
    pub(super) fn shorten(&mut self, passages: &[Passage], (tokens, room): (usize, usize)) -> bool {
        let Some(passage) = passages.iter().find(|p| p.number == self.passage) else {
            return false;
        };
        let bytes: usize = self.parts.iter().map(Range::len).sum();
        // A little less than the share, since tokens are not spread evenly.
        let keep = bytes.saturating_mul(room) / tokens.max(1) * 9 / 10;
        let mut left = keep;
        for part in &mut self.parts {
            let end = part.start + part.len().min(left);
            left = left.saturating_sub(part.len());
            part.end = passage.text.floor_char_boundary(end).max(part.start);
        }
        self.parts.retain(|part| !part.is_empty());
        !self.parts.is_empty() && keep < bytes
    }
}
