//! How rare words are: a rare one that a text has, or lacks, says more than a common one.

use std::collections::HashMap;

/// What words are worth, 0 to 1: of one that no text has, 1.
#[derive(Debug, Clone, Default)]
pub(super) struct Rarity {
    worth: HashMap<String, f32>,
}

impl Rarity {
    /// By how many of `texts` have each word: BM25's idf, as a part of that of an unknown word.
    pub(super) fn new<'w>(words: impl IntoIterator<Item = (&'w str, u64)>, texts: u64) -> Self {
        let texts = texts as f32;
        let idf = |found: f32| (1.0 + (texts - found + 0.5).max(0.0) / (found + 0.5)).ln();
        let most = idf(0.0);
        let worth = |found: u64| idf(found as f32) / most;
        let words = words.into_iter();
        Self { worth: words.map(|(word, found)| (word.to_owned(), worth(found))).collect() }
    }

    pub(super) fn of(&self, word: &str) -> f32 {
        self.worth.get(word).copied().unwrap_or(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln(1 + (9 - 1 + 0.5) / 1.5) / ln(1 + 9.5 / 0.5).
    #[test]
    fn what_fewer_texts_have_is_worth_more() {
        let rarity = Rarity::new([("fox", 1), ("king", 9), ("orc", 0)], 9);
        assert!((rarity.of("fox") - (1.0_f32 + 8.5 / 1.5).ln() / 20.0_f32.ln()).abs() < 1e-6);
        assert!(rarity.of("king") < 0.05);
        assert!((rarity.of("orc") - 1.0).abs() < 1e-6);
        assert!((rarity.of("never asked for") - 1.0).abs() < 1e-6);
    }
}
