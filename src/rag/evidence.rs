//! Evidence: the sentences that are likeliest to hold the answer.
//!
//! A weighted sum of what a sentence and its neighbours have of the question, of what it has beside
//! that (a sentence that only repeats the question does not answer it), and of signs of what is asked
//! for. With a small decoder the first of them holds the answer more often than what the decoder
//! writes (docs/benchmarks.md).

use super::comparison::{Comparison, shares};
use super::cues;
use super::passages::Passage;
use super::question::Asks;
use super::sources::{Asked, Part, Source};
use super::words::stems;
use crate::index::z_scores;
use std::ops::Range;

/// Figures that a sentence is ranked by.
pub(super) const FIGURES: usize = 35;

/// Fitted by `bench/answers.rs -- calibrate-evidence` on 8,548 questions about tales that are not among
/// those the figures are measured on; in the order of [`rows`].
const WEIGHTS: [f32; FIGURES] = [
    -0.600, -0.246, -0.217, 0.553, 0.687, 0.150, -0.688, 0.874, 0.141, -0.087, -0.113, -0.237,
    0.298, -0.452, -1.310, 0.100, 0.273, 0.098, 0.027, 0.189, -0.135, -0.038, -0.022, 0.790, 0.277,
    0.507, 2.652, 2.777, 0.959, 0.323, 0.545, 3.270, 3.206, 3.780, 3.418,
];

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
pub(super) fn rank(asked: &Asked, sources: &[Source<'_>], compared: &[Comparison]) -> Vec<Ranked> {
    let rows = rows(asked, sources, compared);
    let score = |row: &[f32; FIGURES]| row.iter().zip(WEIGHTS).map(|(x, weight)| x * weight).sum();
    let mut ranked: Vec<Ranked> = rows
        .iter()
        .zip(compared)
        .enumerate()
        .map(|(source, (row, own))| Ranked { source, score: score(row), figures: own.figures })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.source.cmp(&b.source)));
    ranked
}

/// What each sentence is ranked by.
pub(super) fn rows(
    asked: &Asked,
    sources: &[Source<'_>],
    compared: &[Comparison],
) -> Vec<[f32; FIGURES]> {
    let near = Near { sources };
    let known = stems(&asked.words);
    let worth = rarity_within(asked, compared);
    let raw =
        |read: &dyn Fn(&Comparison) -> f32| -> Vec<f32> { compared.iter().map(read).collect() };
    let mean = |parts: &[Part]| raw(&|own| own.mean(asked, parts));
    let signs = |read: &dyn Fn(&Source<'_>) -> bool| -> Vec<f32> {
        sources.iter().map(|source| f32::from(u8::from(read(source)))).collect()
    };
    let dense = z_scores(raw(&|own| own.figures.dense));
    let max_sim = z_scores(raw(&|own| own.figures.max_sim));
    let overlap = z_scores(raw(&|own| own.figures.overlap));
    let covered = raw(&|own| own.covered(&worth));
    // Of three new words, half is news.
    let news = raw(&|own| own.new as f32 / (own.new as f32 + 3.0));
    let repeats = product(&covered, &news.iter().map(|news| 1.0 - news).collect::<Vec<_>>());
    let plain: Vec<f32> = dense
        .iter()
        .zip(&max_sim)
        .zip(&overlap)
        .map(|((dense, max_sim), overlap)| dense + max_sim + 0.5 * overlap)
        .collect();
    let clause = z_scores(mean(&[Part::Clause]));
    let main = z_scores(mean(&[Part::Main]));
    let words: Vec<f32> =
        sources.iter().map(|source| (source.words.len() as f32).ln_1p()).collect();
    let cue: Vec<f32> = sources
        .iter()
        .map(|source| cues::count(asked.asks, source.text(), &source.words, &known))
        .collect();
    let cue_of = |asks: Asks| if asked.asks == asks { cue.clone() } else { vec![0.0; cue.len()] };
    let repeated = near.before(&repeats);
    let columns: [Vec<f32>; FIGURES] = [
        dense,
        max_sim,
        z_scores(mean(&[Part::Main, Part::Clause])),
        z_scores(mean(&[Part::QuestionWord])),
        z_scores(mean(&[Part::Function])),
        z_scores(raw(&|own| own.figures.weakest)),
        overlap,
        z_scores(covered.clone()),
        z_scores(above_the_mean(asked, compared)),
        z_scores(words),
        z_scores(raw(&|own| (own.new as f32).ln_1p())),
        near.missing(|at| at.checked_sub(1)),
        near.missing(|at| Some(at + 1)),
        signs(&|source| cues::quotes(source.text())),
        signs(&|source| source.text().contains('?')),
        clause.clone(),
        main.clone(),
        near.before(&plain),
        near.after(&plain),
        near.before(&clause),
        near.after(&clause),
        near.before(&main),
        near.after(&main),
        cue_of(Asks::Person),
        cue_of(Asks::Place),
        cue_of(Asks::Reason),
        cue_of(Asks::Feeling),
        cue_of(Asks::Number),
        cue_of(Asks::Speech),
        cue_of(Asks::Deed),
        repeats.clone(),
        repeated.clone(),
        near.after(&repeats),
        product(&covered, &news),
        if asked.asks.goes_on() { repeated } else { vec![0.0; cue.len()] },
    ];
    let mut rows = vec![[0.0; FIGURES]; sources.len()];
    for (i, column) in columns.iter().enumerate() {
        for (row, value) in rows.iter_mut().zip(column) {
            if let Some(cell) = row.get_mut(i) {
                *cell = *value;
            }
        }
    }
    rows
}

/// What the wanted words are worth, together 1: more the fewer of these sentences have them.
fn rarity_within(asked: &Asked, compared: &[Comparison]) -> Vec<f32> {
    let count = |i: usize| compared.iter().filter(|own| own.has.get(i) == Some(&true)).count();
    let all = compared.len() as f32 + 1.0;
    shares((0..asked.wanted.len()).map(|i| (all / (count(i) as f32 + 0.5)).ln().max(0.0)).collect())
}

/// By how much the tokens of words that count are matched better than in the mean of the sentences.
fn above_the_mean(asked: &Asked, compared: &[Comparison]) -> Vec<f32> {
    let mut sums = vec![0.0; compared.len()];
    let mut tokens = 0.0_f32;
    for (i, part) in asked.parts.iter().enumerate() {
        if !matches!(part, Part::Main | Part::Clause) {
            continue;
        }
        let best = |own: &Comparison| own.matches.get(i).copied().unwrap_or(0.0);
        let mean = compared.iter().map(best).sum::<f32>() / (compared.len() as f32).max(1.0);
        sums.iter_mut().zip(compared).for_each(|(sum, own)| *sum += (best(own) - mean).max(0.0));
        tokens += 1.0;
    }
    sums.iter_mut().for_each(|sum| *sum /= tokens.max(1.0).sqrt());
    sums
}

fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

/// Neighbours within a passage.
struct Near<'a> {
    sources: &'a [Source<'a>],
}

impl Near<'_> {
    fn number(&self, at: usize) -> Option<usize> {
        self.sources.get(at).map(|source| source.passage.number)
    }

    fn neighbour(&self, at: usize, other: Option<usize>) -> Option<usize> {
        other
            .filter(|other| self.number(*other).is_some() && self.number(*other) == self.number(at))
    }

    fn moved(&self, column: &[f32], place: impl Fn(usize) -> Option<usize>) -> Vec<f32> {
        let value = |at| {
            let other = self.neighbour(at, place(at))?;
            column.get(other).copied()
        };
        (0..column.len()).map(|at| value(at).unwrap_or(0.0)).collect()
    }

    fn before(&self, column: &[f32]) -> Vec<f32> {
        self.moved(column, |at| at.checked_sub(1))
    }

    fn after(&self, column: &[f32]) -> Vec<f32> {
        self.moved(column, |at| Some(at + 1))
    }

    /// 1 where there is no such neighbour.
    fn missing(&self, place: impl Fn(usize) -> Option<usize>) -> Vec<f32> {
        let is_missing = |at: usize| self.neighbour(at, place(at)).is_none();
        (0..self.sources.len()).map(|at| f32::from(u8::from(is_missing(at)))).collect()
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
