//! Whether the passages hold an answer at all.
//!
//! Ranks and z-scores always have a first; these figures do not: how near the question's meaning and
//! words come to anything in the passages. A logistic regression makes a probability of them.

use super::comparison::{Comparison, covered, phrases, shares};
use super::logistic::Logistic;
use super::rarity::Rarity;
use super::sources::{Asked, Source};

/// Below this probability the documents are said not to hold the answer.
pub const ANSWERABLE: f32 = 0.5;

/// Figures that the confidence is made of.
pub(super) const FIGURES: usize = 13;

/// Fitted by `bench/answers.rs -- calibrate` on 800 questions about tales that are not among those the
/// figures are measured on, asked of collections with their passages and without. The bias refuses 8 %
/// of the answerable.
const WEIGHTS: Logistic<FIGURES> = Logistic {
    bias: -5.207,
    weights: [
        1.187, 3.560, 1.362, 1.798, -5.577, -1.466, -1.495, 9.461, -1.840, -1.300, 2.594, 0.280,
        -2.703,
    ],
};

/// The same without vectors, where a collection has no encoder.
const WORDS_ALONE: Logistic<FIGURES> = Logistic {
    bias: -1.8,
    weights: [0.0, 0.0, 3.0, 2.0, 0.0, -0.5, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
};

/// What the passages have of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Signs {
    /// The largest cosine of a sentence with the question.
    pub(super) dense: f32,
    /// The largest max-sim of a sentence.
    pub(super) max_sim: f32,
    /// The part of what the question's words are worth that one passage has, and two sentences in a
    /// row, and all passages together.
    pub(super) covered: f32,
    pub(super) together: f32,
    pub(super) anywhere: f32,
    /// Worth of the rarest word that the best passage lacks, and that all lack.
    pub(super) missing: f32,
    pub(super) unknown: f32,
    /// The best matches of the question's words in one passage, by what they are worth, and in two
    /// sentences in a row.
    pub(super) alike: f32,
    pub(super) alike_together: f32,
    /// The word that is matched least in the passage that matches it best.
    pub(super) weakest: f32,
    /// The part of the question's pairs of words that a passage has.
    pub(super) phrases: f32,
    /// Words of the question that count.
    pub(super) words: f32,
    /// By how much the passage that matches best does better than the next one.
    pub(super) lead: f32,
}

/// The question's words as a stretch of text has them.
#[derive(Debug, Clone)]
struct Stretch {
    has: Vec<bool>,
    alike: Vec<f32>,
}

impl Stretch {
    fn of(sentences: &[Comparison], words: usize) -> Self {
        let mut stretch = Self { has: vec![false; words], alike: vec![0.0; words] };
        for own in sentences {
            stretch.has.iter_mut().zip(&own.has).for_each(|(any, has)| *any |= has);
            stretch.alike.iter_mut().zip(&own.alike).for_each(|(most, own)| *most = most.max(*own));
        }
        stretch
    }

    fn alike(&self, worth: &[f32]) -> f32 {
        self.alike.iter().zip(worth).map(|(alike, worth)| alike * worth).sum()
    }

    fn weakest(&self) -> f32 {
        self.alike.iter().copied().reduce(f32::min).unwrap_or(0.0)
    }

    /// What the rarest word that it lacks is worth.
    fn missing(&self, rarity: &[f32]) -> f32 {
        let lacking = self.has.iter().zip(rarity).filter(|(has, _)| !**has);
        lacking.map(|(_, rarity)| *rarity).fold(0.0, f32::max)
    }
}

impl Signs {
    /// None without a sentence.
    pub(super) fn of(
        asked: &Asked,
        sources: &[Source<'_>],
        compared: &[Comparison],
        rarity: &Rarity,
    ) -> Option<Self> {
        let words = asked.wanted.len();
        let rare: Vec<f32> = asked.wanted.iter().map(|wanted| rarity.of(&wanted.stem)).collect();
        let worth = shares(rare.clone());
        let largest = |figures: &mut dyn Iterator<Item = f32>| figures.fold(0.0, f32::max);
        let all = Stretch::of(compared, words);
        let mut passages: Vec<Stretch> = Vec::new();
        let (mut together, mut alike_together, mut pairs_of_words) = (0.0_f32, 0.0_f32, 0.0_f32);
        let mut start = 0;
        for group in sources.chunk_by(|a, b| a.passage.number == b.passage.number) {
            let own = compared.get(start..start + group.len()).unwrap_or_default();
            start += group.len();
            // A passage of one sentence counts as a pair.
            for near in own.windows(2.min(own.len()).max(1)) {
                let pair = Stretch::of(near, words);
                together = together.max(covered(&pair.has, &worth));
                alike_together = alike_together.max(pair.alike(&worth));
            }
            let texts = group.iter().map(|source| source.words.as_slice());
            pairs_of_words = pairs_of_words.max(phrases(&asked.words, texts));
            passages.push(Stretch::of(own, words));
        }
        let score = |one: &Stretch| covered(&one.has, &worth) + one.alike(&worth);
        let best = passages.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
        let mut alike: Vec<f32> = passages.iter().map(|one| one.alike(&worth)).collect();
        alike.sort_by(|a, b| b.total_cmp(a));
        let first = alike.first().copied().unwrap_or(0.0);
        Some(Self {
            dense: largest(&mut compared.iter().map(|own| own.figures.dense)),
            max_sim: largest(&mut compared.iter().map(|own| own.figures.max_sim)),
            covered: largest(&mut passages.iter().map(|one| covered(&one.has, &worth))),
            together,
            anywhere: covered(&all.has, &worth),
            missing: best.missing(&rare),
            unknown: all.missing(&rare),
            alike: first,
            alike_together,
            weakest: largest(&mut passages.iter().map(Stretch::weakest)),
            phrases: pairs_of_words,
            words: words as f32,
            lead: first - alike.get(1).copied().unwrap_or(first),
        })
    }

    pub(super) fn row(&self) -> [f32; FIGURES] {
        [
            self.dense,
            self.max_sim,
            self.covered,
            self.together,
            self.anywhere,
            self.missing,
            self.unknown,
            self.alike,
            self.alike_together,
            self.weakest,
            self.phrases,
            self.words,
            self.lead,
        ]
    }

    /// The probability that the passages hold an answer.
    pub(super) fn confidence(&self) -> f32 {
        // Without an encoder nothing is like anything.
        let words_alone = self.dense == 0.0 && self.max_sim == 0.0;
        let weights = if words_alone { &WORDS_ALONE } else { &WEIGHTS };
        weights.probability(&self.row())
    }
}
