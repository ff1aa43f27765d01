//! A question and each sentence side by side: what ranks the sentences and what tells whether any of
//! them answers.

use super::evidence::Figures;
use super::sources::{Asked, Part, Source};
use super::words::{Word, stems};
use crate::encode::similarity::{best_matches, dot, max_sim};
use std::collections::HashSet;

/// A sentence compared with a question.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) figures: Figures,
    /// Of each token of the question: the cosine of the sentence's token that is most like it. Empty
    /// without an encoder.
    pub(super) matches: Vec<f32>,
    /// Of each word that is wanted: whether the sentence has it.
    pub(super) has: Vec<bool>,
    /// Of each word that is wanted: the best match of its tokens; 0 without an encoder.
    pub(super) alike: Vec<f32>,
    /// Words that count and are not the question's.
    pub(super) new: usize,
}

pub(super) fn compare(asked: &Asked, sources: &[Source<'_>]) -> Vec<Comparison> {
    sources.iter().map(|source| compare_one(asked, source)).collect()
}

fn compare_one(asked: &Asked, source: &Source<'_>) -> Comparison {
    let own = stems(&source.words);
    let has: Vec<bool> =
        asked.wanted.iter().map(|wanted| own.contains(wanted.stem.as_str())).collect();
    let common = has.iter().filter(|has| **has).count();
    let matches = best_matches(&asked.embedding, &source.embedding);
    let alike: Vec<f32> = asked
        .wanted
        .iter()
        .map(|wanted| {
            let own = wanted.tokens.iter().filter_map(|token| matches.get(*token).copied());
            own.reduce(f32::max).unwrap_or(0.0)
        })
        .collect();
    let figures = Figures {
        dense: dot(&asked.embedding.embedding.vector, &source.embedding.embedding.vector),
        max_sim: max_sim(&matches, &[]).unwrap_or(0.0),
        overlap: common as f32 / (has.len() as f32).max(1.0),
        weakest: alike.iter().copied().reduce(f32::min).unwrap_or(0.0),
    };
    Comparison { figures, matches, has, alike, new: own.len() - common }
}

impl Comparison {
    /// The mean match of the tokens of these parts; 0 where there are none.
    pub(super) fn mean(&self, asked: &Asked, parts: &[Part]) -> f32 {
        let own = self.matches.iter().zip(&asked.parts).filter(|(_, part)| parts.contains(part));
        let own: Vec<f32> = own.map(|(best, _)| *best).collect();
        max_sim(&own, &[]).unwrap_or(0.0)
    }

    /// The part of what the wanted words are worth, together 1, that the sentence has.
    pub(super) fn covered(&self, worth: &[f32]) -> f32 {
        covered(&self.has, worth)
    }
}

/// Sum of `worth` where `has`.
pub(super) fn covered(has: &[bool], worth: &[f32]) -> f32 {
    has.iter().zip(worth).filter(|(has, _)| **has).map(|(_, worth)| worth).sum()
}

/// Brought to the sum 1.
pub(super) fn shares(worth: Vec<f32>) -> Vec<f32> {
    let sum: f32 = worth.iter().sum();
    if sum > 0.0 { worth.into_iter().map(|one| one / sum).collect() } else { worth }
}

/// Part of the question's pairs of words that stand together in these words too.
pub(super) fn phrases<'w>(asked: &[Word], texts: impl IntoIterator<Item = &'w [Word]>) -> f32 {
    let wanted: HashSet<[&str; 2]> = pairs(asked).collect();
    let has: HashSet<[&str; 2]> = texts.into_iter().flat_map(pairs).collect();
    wanted.intersection(&has).count() as f32 / (wanted.len() as f32).max(1.0)
}

fn pairs(words: &[Word]) -> impl Iterator<Item = [&str; 2]> {
    words.iter().zip(words.iter().skip(1)).map(|(a, b)| [a.stem.as_str(), b.stem.as_str()])
}
