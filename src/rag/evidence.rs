//! Evidence: the sentences that are likeliest to hold the answer.
//!
//! z(dense) + z(max-sim) + 0.5 z(words in common), each over all sentences of the passages, and a
//! tenth of what the sentence before has: what a question names often stands there, and the answer
//! after it. With a small decoder the first of them holds the answer more often than what the decoder
//! writes (docs/benchmarks.md).

use super::passages::Passage;
use super::sources::{Asked, Source};
use super::words::stems;
use crate::encode::similarity::{best_matches, dot, max_sim};
use crate::index::z_scores;
use std::ops::Range;

/// What the sentence before adds.
const BEFORE: f32 = 0.1;

/// A sentence that may hold the answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Evidence {
    /// Number of the passage, from 1.
    pub passage: usize,
    /// The document's id.
    pub document: String,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// Lines, as [`Passage::lines`] tells them.
    pub lines: (u64, u64),
    /// The sentence.
    pub text: String,
    /// By which sentences of one question are ranked; higher is better. Says nothing across
    /// questions.
    pub score: f32,
    /// The figures that it is made of.
    pub figures: Figures,
}

/// What a sentence has of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Cosine of the two, -1 to 1.
    pub dense: f32,
    /// Mean over the question's tokens of the cosine with the sentence's token that is most like
    /// it, -1 to 1.
    pub max_sim: f32,
    /// Part of the question's words that the sentence has, 0 to 1.
    pub overlap: f32,
    /// The question's word that the sentence has least of: the best cosine of its tokens, -1 to 1.
    pub weakest: f32,
}

/// A sentence and its place in the ranking.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked {
    /// Its place among the sources.
    pub(super) source: usize,
    pub(super) score: f32,
    pub(super) figures: Figures,
}

/// All sentences, best first; equal ones in their order.
pub(super) fn rank(asked: &Asked, sources: &[Source<'_>]) -> Vec<Ranked> {
    let figures: Vec<Figures> = sources.iter().map(|source| compare(asked, source)).collect();
    let column = |read: fn(&Figures) -> f32| z_scores(figures.iter().map(read).collect());
    let dense = column(|f| f.dense);
    let max_sim = column(|f| f.max_sim);
    let overlap = column(|f| f.overlap);
    let own: Vec<f32> = dense
        .iter()
        .zip(max_sim)
        .zip(overlap)
        .map(|((dense, max_sim), overlap)| dense + max_sim + 0.5 * overlap)
        .collect();
    let mut before: Option<(usize, f32)> = None;
    let mut ranked = Vec::with_capacity(sources.len());
    for (at, ((source, figures), own)) in sources.iter().zip(&figures).zip(&own).enumerate() {
        let passage = source.passage.number;
        let near = before.filter(|(number, _)| *number == passage).map_or(0.0, |(_, score)| score);
        ranked.push(Ranked { source: at, score: own + BEFORE * near, figures: *figures });
        before = Some((passage, *own));
    }
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.source.cmp(&b.source)));
    ranked
}

fn compare(asked: &Asked, source: &Source<'_>) -> Figures {
    let wanted = stems(&asked.words);
    let has = stems(&source.words);
    let common = wanted.iter().filter(|stem| has.contains(*stem)).count();
    let matches = best_matches(&asked.embedding, &source.embedding);
    let weakest =
        asked
            .words
            .iter()
            .filter(|word| word.counts())
            .filter_map(|word| {
                let own =
                    asked.embedding.spans.iter().zip(&matches).filter(|(span, _)| {
                        span.start < word.span.end && word.span.start < span.end
                    });
                own.map(|(_, best)| *best).reduce(f32::max)
            })
            .reduce(f32::min);
    Figures {
        dense: dot(&asked.embedding.embedding.vector, &source.embedding.embedding.vector),
        max_sim: max_sim(&matches, &[]).unwrap_or(0.0),
        overlap: common as f32 / (wanted.len() as f32).max(1.0),
        weakest: weakest.unwrap_or(0.0),
    }
}

impl Evidence {
    pub(super) fn new(source: &Source<'_>, ranked: &Ranked) -> Self {
        let passage: &Passage = source.passage;
        let start = passage.span.start;
        Self {
            passage: passage.number,
            document: passage.document.clone(),
            span: start + source.within.start..start + source.within.end,
            lines: passage.lines(&source.within),
            text: source.text().to_owned(),
            score: ranked.score,
            figures: ranked.figures,
        }
    }
}
