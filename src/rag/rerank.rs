//! Hits in the order in which they are likely to answer a question, by their words alone: no text is
//! encoded for it.
//!
//! BM25 does not see whether the question's words stand together, and a vector of a whole chunk hardly
//! tells a chunk from its neighbours in the same document.

use super::comparison::{covered, phrases, shares};
use super::rarity::Rarity;
use super::words::{Vocabulary, Word, stems};
use crate::db::Hit;
use crate::index::z_scores;
use crate::text::sentences;

/// Hits that are read for each passage that is wanted.
pub(super) const READ: usize = 4;

const FIGURES: usize = 6;

/// Fitted on tales that are not among those the figures are measured on (docs/benchmarks.md), as one
/// choice among 20 hits: the fused score, BM25, the rare
/// words that the chunk has, its best sentence, its best two in a row, and the pairs of words.
const WEIGHTS: [f32; FIGURES] = [0.53, 0.06, 0.59, 0.30, 0.33, 0.50];

/// The best `count` of these hits, with the score that puts them in order.
pub(super) fn best(
    hits: Vec<Hit>,
    asked: &[Word],
    vocabulary: &Vocabulary,
    rarity: &Rarity,
    count: usize,
) -> Vec<Hit> {
    let mut wanted: Vec<&str> = stems(asked).into_iter().collect();
    wanted.sort_unstable();
    let worth = shares(wanted.iter().map(|stem| rarity.of(stem)).collect());
    let rows: Vec<[f32; FIGURES]> =
        hits.iter().map(|hit| row(hit, asked, &wanted, &worth, vocabulary)).collect();
    let mut scores = vec![0.0; hits.len()];
    for (i, weight) in WEIGHTS.iter().enumerate() {
        let column = rows.iter().filter_map(|row| row.get(i)).copied().collect();
        let column = z_scores(column);
        scores.iter_mut().zip(column).for_each(|(score, x)| *score += weight * x);
    }
    let mut scored: Vec<(f32, Hit)> = scores.into_iter().zip(hits).collect();
    // Equal ones stay in their order.
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(count);
    scored.into_iter().map(|(score, hit)| Hit { score, ..hit }).collect()
}

fn row(
    hit: &Hit,
    asked: &[Word],
    wanted: &[&str],
    worth: &[f32],
    vocabulary: &Vocabulary,
) -> [f32; FIGURES] {
    let texts: Vec<Vec<Word>> = sentences(&hit.text)
        .into_iter()
        .map(|span| vocabulary.words(hit.text.get(span).unwrap_or_default()))
        .collect();
    let has = |texts: &[Vec<Word>]| {
        let own: Vec<_> = texts.iter().map(|words| stems(words)).collect();
        let has: Vec<bool> =
            wanted.iter().map(|stem| own.iter().any(|own| own.contains(stem))).collect();
        covered(&has, worth)
    };
    let most = |together: usize| {
        let together = together.min(texts.len()).max(1);
        texts.windows(together).map(has).fold(0.0, f32::max)
    };
    [
        hit.score,
        hit.explanation.keyword_score.unwrap_or(0.0),
        has(&texts),
        most(1),
        most(2),
        phrases(asked, texts.iter().map(Vec::as_slice)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Explanation;
    use crate::text::{Metadata, Origin};

    fn hit(text: &str) -> Hit {
        Hit {
            document: text.to_owned(),
            title: None,
            chunk: 0,
            lines: (1, 1),
            text: text.to_owned(),
            span: 0..text.len(),
            heading: Vec::new(),
            origin: Origin::default(),
            metadata: Metadata::new(),
            score: 1.0,
            explanation: Explanation::default(),
        }
    }

    #[test]
    fn words_that_stand_together_go_first() {
        let english = Vocabulary::new("english").unwrap();
        let hits = [
            "The king slept. A fox came. He ate the goose.",
            "No word of it.",
            "The fox ate the goose.",
        ];
        let asked = english.words("Who ate the goose of the fox?");
        let rarity = Rarity::new([("fox", 1), ("eat", 1), ("goos", 1)], 9);
        let found = best(hits.map(hit).to_vec(), &asked, &english, &rarity, 2);
        let found: Vec<&str> = found.iter().map(|hit| hit.text.as_str()).collect();
        assert_eq!(found, [hits[2], hits[0]]);
    }
}
