//! Citations: for each sentence of an answer, the span of a passage that supports it, or none.
//!
//! A model writes markers as it writes words, and a small one writes what stands nowhere. So support
//! is found afterwards, by what the sentence and the span have in common: words, numbers and names
//! must be there, none may be denied or stand in the place of its opposite, and the vectors must
//! agree. A marker that the model wrote is kept where its passage supports the sentence.

mod contrast;
mod markers;
mod polarity;
mod support;

pub(super) use contrast::Contrasts;
pub(super) use markers::without_markers;
use support::{Features, Read, compare};

use super::logistic::Logistic;
use super::sources::{Asked, Source};
use super::words::Word;
use crate::encode::TokenEmbedding;
use std::collections::HashSet;
use std::ops::Range;

/// Figures that a span is judged by.
const FIGURES: usize = 13;

/// Sentences that follow each other and may support a sentence together.
const MOST_TOGETHER: usize = 2;

/// From this probability on, a sentence counts as supported.
pub const SUPPORTED: f32 = 0.5;

/// A span that supports a sentence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Citation {
    /// Number of the passage, from 1.
    pub passage: usize,
    /// The document's id.
    pub document: String,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// The text of the span.
    pub text: String,
    /// Probability that the span supports the sentence, as calibrated: 0 to 1.
    pub score: f32,
}

/// A sentence of an answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct AnswerSentence {
    /// Bytes of the answer's text.
    pub span: Range<usize>,
    /// The sentence, without markers.
    pub text: String,
    /// What supports it; none where nothing does.
    pub citation: Option<Citation>,
    /// How well the best span supports it, also where that is not enough: 0 to 1.
    pub support: f32,
    /// Markers that the model wrote and that name a passage which does not support the sentence, or
    /// none at all.
    pub rejected: Vec<usize>,
}

/// A sentence of an answer, read.
pub(super) struct Claim<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [Word],
    pub(super) embedding: &'a TokenEmbedding,
    /// Passages that the model named.
    pub(super) named: &'a [usize],
}

/// The best support for a claim: places in `sources`, and the probability.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Support {
    pub(super) sources: Range<usize>,
    pub(super) score: f32,
}

/// The span among `sources` that supports `claim` best; none where there are no sources. A passage
/// that the model named goes before one that supports the claim as well.
pub(super) fn best_support(
    claim: &Claim<'_>,
    asked: &Asked,
    sources: &[Source<'_>],
    contrasts: &Contrasts,
) -> Option<Support> {
    best(claim, asked, sources, contrasts).map(|(support, _)| support)
}

/// The figures of that span.
pub(super) fn compared(
    claim: &Claim<'_>,
    asked: &Asked,
    sources: &[Source<'_>],
    contrasts: &Contrasts,
) -> Option<[f32; FIGURES]> {
    best(claim, asked, sources, contrasts).map(|(_, features)| features.row())
}

fn best(
    claim: &Claim<'_>,
    asked: &Asked,
    sources: &[Source<'_>],
    contrasts: &Contrasts,
) -> Option<(Support, Features)> {
    let asked: HashSet<&str> = super::words::stems(&asked.words);
    let read = Read { text: claim.text, words: claim.words, embedding: claim.embedding };
    let mut best: Option<(f32, Support, Features)> = None;
    for first in 0..sources.len() {
        for together in 1..=MOST_TOGETHER {
            let Some(span) = sources.get(first..first + together) else { break };
            let Some(passage) = span.first().map(|source| source.passage.number) else { break };
            if span.iter().any(|source| source.passage.number != passage) {
                break;
            }
            let reads: Vec<Read<'_>> = span.iter().map(Source::read).collect();
            let features = compare(read, &asked, &reads, contrasts);
            let score = probability(&features, !claim.embedding.vectors.is_empty());
            // Of two that are as good: the one that has all of the words, the shorter one, the one
            // that the model named.
            let named = claim.named.contains(&passage) && score >= SUPPORTED;
            let order = score + 0.1 * features.covered_all - 0.02 * together as f32
                + if named { 0.05 } else { 0.0 };
            if best.as_ref().is_none_or(|(known, ..)| order > *known) {
                let support = Support { sources: first..first + together, score };
                best = Some((order, support, features));
            }
        }
    }
    best.map(|(_, support, features)| (support, features))
}

/// Whether a span of passage `number` supports the claim.
pub(super) fn is_supported_by(
    number: usize,
    claim: &Claim<'_>,
    asked: &Asked,
    sources: &[Source<'_>],
    contrasts: &Contrasts,
) -> bool {
    let start = sources.partition_point(|source| source.passage.number < number);
    let end = sources.partition_point(|source| source.passage.number <= number);
    let own = sources.get(start..end).unwrap_or_default();
    best_support(claim, asked, own, contrasts).is_some_and(|support| support.score >= SUPPORTED)
}

/// Fitted by `bench/answers.rs --calibrate` on sentences of tales that are not among those the figures
/// are measured on.
const WEIGHTS: Logistic<FIGURES> = Logistic {
    bias: -8.951,
    weights: [
        -5.781, -11.800, -9.652, -2.423, -2.418, 6.363, -5.876, 2.373, 69.228, -44.175, -5.493,
        -6.590, -2.620,
    ],
};

/// The same without vectors, where a collection has no encoder.
const WORDS_ALONE: Logistic<FIGURES> = Logistic {
    bias: -3.0,
    weights: [4.0, 1.0, -1.0, -2.0, -3.0, 0.0, -1.0, 0.0, 0.0, 0.0, -4.0, -4.0, -3.0],
};

/// A claim that says nothing, and one of which the span has no word, is supported by nothing, however
/// near the vectors are.
fn probability(features: &Features, has_vectors: bool) -> f32 {
    if features.covered_all == 0.0 {
        return 0.0;
    }
    let weights = if has_vectors { &WEIGHTS } else { &WORDS_ALONE };
    weights.probability(&features.row())
}

impl Features {
    pub(super) fn row(&self) -> [f32; FIGURES] {
        [
            self.covered,
            self.covered_all,
            self.missing,
            self.names,
            self.numbers,
            self.asked,
            self.asked_names,
            self.weakest,
            self.max_sim,
            self.dense,
            self.denied,
            self.excluded,
            self.turned,
        ]
    }
}

impl Source<'_> {
    fn read(&self) -> Read<'_> {
        Read { text: self.text(), words: &self.words, embedding: &self.embedding }
    }
}
