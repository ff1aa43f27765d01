//! How well a span of the sources supports one sentence of an answer.

use super::contrast::Contrasts;
use super::polarity::{Clauses, opposed};
use crate::encode::TokenEmbedding;
use crate::encode::similarity::{best_matches, dot, rows};
use crate::rag::words::{Kind, Word};
use std::collections::HashSet;

/// A text that is read: its words and its vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) text: &'a str,
    pub(super) words: &'a [Word],
    pub(super) embedding: &'a TokenEmbedding,
}

/// What of a claim a span has, and what it lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Features {
    /// Part of the claim's words that the span has, of those that the question has not.
    pub(super) covered: f32,
    /// Part of all of the claim's words that the span has.
    pub(super) covered_all: f32,
    /// Words of the claim that neither the span nor the question has.
    pub(super) missing: f32,
    /// Those of them that are names.
    pub(super) names: f32,
    /// Those of them that are numbers.
    pub(super) numbers: f32,
    /// Words of the claim that the question has and the span has not.
    pub(super) asked: f32,
    /// Those of them that are names.
    pub(super) asked_names: f32,
    /// Of these words, the cosine of the one that the span has least of; 1 where none is missing.
    pub(super) weakest: f32,
    /// The mean over all words of the claim of the best match in the span.
    pub(super) max_sim: f32,
    /// Cosine of the two.
    pub(super) dense: f32,
    /// 1 where one denies what the other says.
    pub(super) denied: f32,
    /// 1 where a word stands in the place of one that excludes it.
    pub(super) excluded: f32,
    /// 1 where the names of both stand in another order.
    pub(super) turned: f32,
}

/// Compares a claim, the answer to a question with the words `asked`, with a span of one or more
/// sentences that follow each other.
pub(super) fn compare(
    claim: Read<'_>,
    asked: &HashSet<&str>,
    span: &[Read<'_>],
    contrasts: &Contrasts,
) -> Features {
    let has: HashSet<&str> =
        span.iter().flat_map(|read| read.words).map(|word| word.stem.as_str()).collect();
    let mut words: Vec<&Word> = claim.words.iter().filter(|word| word.counts()).collect();
    let total = words.len() as f32;
    let only_asked =
        |word: &&&Word| asked.contains(word.stem.as_str()) && !has.contains(word.stem.as_str());
    let asked_words = words.iter().filter(only_asked).count() as f32;
    let asked_names =
        words.iter().filter(only_asked).filter(|word| word.kind == Kind::Name).count() as f32;
    let covered_all = words.iter().filter(|word| has.contains(word.stem.as_str())).count() as f32;
    // What the question says is no claim of the answer, unless the answer says nothing else.
    let own: Vec<&Word> =
        words.iter().filter(|word| !asked.contains(word.stem.as_str())).copied().collect();
    if !own.is_empty() {
        words = own;
    }
    let missing: Vec<&Word> =
        words.iter().filter(|word| !has.contains(word.stem.as_str())).copied().collect();
    let of_kind = |kind: Kind| missing.iter().filter(|word| word.kind == kind).count() as f32;
    let best = best_of_span(claim.embedding, span);
    let weakest =
        missing.iter().map(|word| mean_over(word, claim.embedding, &best)).fold(1.0, f32::min);
    let dense = span
        .iter()
        .map(|read| dot(&claim.embedding.embedding.vector, &read.embedding.embedding.vector))
        .fold(0.0, f32::max);
    let denied = span.iter().all(|read| {
        opposed(Clauses::new(claim.text, claim.words), Clauses::new(read.text, read.words))
    });
    let all: Vec<Word> = span.iter().flat_map(|read| read.words).cloned().collect();
    Features {
        covered: 1.0 - missing.len() as f32 / (words.len() as f32).max(1.0),
        covered_all: covered_all / total.max(1.0),
        missing: missing.len() as f32,
        names: of_kind(Kind::Name),
        numbers: of_kind(Kind::Number),
        asked: asked_words,
        asked_names,
        weakest,
        max_sim: best.iter().sum::<f32>() / (best.len() as f32).max(1.0),
        dense,
        denied: f32::from(u8::from(denied)),
        excluded: f32::from(u8::from(contrasts.opposed(claim.words, &all))),
        turned: f32::from(u8::from(turned(claim.words, &all))),
    }
}

/// Of each token of the claim, the best match in any sentence of the span.
fn best_of_span(claim: &TokenEmbedding, span: &[Read<'_>]) -> Vec<f32> {
    let mut best = vec![0.0_f32; rows(claim).count()];
    for read in span {
        for (best, found) in best.iter_mut().zip(best_matches(claim, read.embedding)) {
            *best = best.max(found);
        }
    }
    best
}

/// The mean of `best` over the tokens of a word; 0 where it has none.
fn mean_over(word: &Word, claim: &TokenEmbedding, best: &[f32]) -> f32 {
    let own = claim
        .spans
        .iter()
        .zip(best)
        .filter(|(span, _)| span.start < word.span.end && word.span.start < span.end);
    let (sum, count) =
        own.fold((0.0, 0.0_f32), |(sum, count), (_, best)| (sum + best, count + 1.0));
    sum / count.max(1.0)
}

/// Whether two names stand in one order in the claim and only in the other in the source, as in
/// "Arthur killed Mordred" and "Mordred killed Arthur". With "by", who does and who suffers may
/// change places.
fn turned(claim: &[Word], source: &[Word]) -> bool {
    if claim.iter().chain(source).any(|word| word.stem == "by") {
        return false;
    }
    let names = |words: &[Word]| -> Vec<String> {
        let names =
            words.iter().filter(|word| word.kind == Kind::Name || word.kind == Kind::Content);
        names.map(|word| word.stem.clone()).collect()
    };
    let places = |words: &[String], stem: &str| -> Vec<usize> {
        words.iter().enumerate().filter(|(_, word)| *word == stem).map(|(at, _)| at).collect()
    };
    let named: HashSet<&str> = claim
        .iter()
        .chain(source)
        .filter(|word| word.kind == Kind::Name)
        .map(|word| word.stem.as_str())
        .collect();
    let (claim, source) = (names(claim), names(source));
    claim.iter().enumerate().any(|(at, first)| {
        claim.iter().skip(at + 1).any(|second| {
            if first == second
                || !named.contains(first.as_str())
                || !named.contains(second.as_str())
            {
                return false;
            }
            let (firsts, seconds) = (places(&source, first), places(&source, second));
            !firsts.is_empty()
                && !seconds.is_empty()
                && !firsts.iter().any(|a| seconds.iter().any(|b| a < b))
        })
    })
}
