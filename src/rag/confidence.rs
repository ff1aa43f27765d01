//! Whether the passages hold an answer at all.
//!
//! Ranks and z-scores always have a first; these figures do not: how near the question's meaning and
//! words come to anything in the passages. A logistic regression makes a probability of them.

use super::evidence::{Figures, Ranked};
use super::logistic::Logistic;
use super::sources::{Asked, Source};
use super::words::{Kind, stems};
use std::collections::HashSet;

/// Below this probability the documents are said not to hold the answer.
pub const ANSWERABLE: f32 = 0.5;

/// Fitted by `bench/answers.rs --calibrate` on questions about tales that are not among those the
/// figures are measured on, half of them asked without their passages.
///
/// The bias is not the fit's (-3.94, which refuses more than a third of the questions that have an
/// answer), but set so that about one in ten of those is refused.
const WEIGHTS: Logistic<9> = Logistic {
    bias: -3.05,
    weights: [0.421, -0.410, -0.230, -0.392, 0.371, 3.575, 1.303, 1.250, -0.589],
};

/// The same without vectors, where a collection has no encoder.
const WORDS_ALONE: Logistic<9> =
    Logistic { bias: -2.0, weights: [0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 2.0, -0.5] };

/// What the passages have of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Signs {
    /// Of the first sentence.
    pub(super) first: Figures,
    /// The largest of each figure, wherever it stands.
    pub(super) best: Figures,
    /// Part of the question's words that the passage of the first sentence has.
    pub(super) covered: f32,
    /// Names and numbers of the question that no passage has.
    pub(super) unknown: f32,
}

impl Signs {
    pub(super) fn of(asked: &Asked, sources: &[Source<'_>], ranked: &[Ranked]) -> Option<Self> {
        let first = ranked.first()?;
        let number = sources.get(first.source)?.passage.number;
        let largest = |read: fn(&Figures) -> f32| {
            ranked.iter().map(|r| read(&r.figures)).fold(f32::NEG_INFINITY, f32::max)
        };
        let has = |near: bool| -> HashSet<&str> {
            let near = sources.iter().filter(|s| !near || s.passage.number == number);
            near.flat_map(|source| stems(&source.words)).collect()
        };
        let (near, anywhere) = (has(true), has(false));
        let wanted = stems(&asked.words);
        let covered = wanted.iter().filter(|stem| near.contains(*stem)).count() as f32;
        let unknown = asked.words.iter().filter(|word| {
            matches!(word.kind, Kind::Name | Kind::Number) && !anywhere.contains(word.stem.as_str())
        });
        Some(Self {
            first: first.figures,
            best: Figures {
                dense: largest(|f| f.dense),
                max_sim: largest(|f| f.max_sim),
                overlap: largest(|f| f.overlap),
                weakest: largest(|f| f.weakest),
            },
            covered: covered / (wanted.len() as f32).max(1.0),
            unknown: unknown.count() as f32,
        })
    }

    pub(super) fn row(&self) -> [f32; 9] {
        [
            self.first.dense,
            self.first.max_sim,
            self.first.overlap,
            self.first.weakest,
            self.best.dense,
            self.best.max_sim,
            self.best.overlap,
            self.covered,
            self.unknown,
        ]
    }

    /// The probability that the passages hold an answer.
    pub(super) fn confidence(&self) -> f32 {
        // Without an encoder nothing is like anything.
        let words_alone = self.best.dense == 0.0 && self.best.max_sim == 0.0;
        let weights = if words_alone { &WORDS_ALONE } else { &WEIGHTS };
        weights.probability(&self.row())
    }
}
