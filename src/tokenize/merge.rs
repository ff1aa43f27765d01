//! Merging pairs of neighbours: how letters become tokens.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Stands for a letter that has no token. Beyond every id.
const MISSING: u32 = u32::MAX;
/// Stands for what went into the symbol before it.
const GONE: u32 = u32::MAX - 1;
/// No symbol.
const END: usize = usize::MAX;

/// Two tokens that become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merge {
    /// The lower, the earlier.
    pub(super) rank: u32,
    /// What they become.
    pub(super) id: u32,
}

/// What is merged, and in which order.
#[derive(Debug, Default)]
pub(super) struct Merges {
    /// Tokens of one letter.
    pub(super) letters: HashMap<char, u32>,
    pub(super) pairs: HashMap<(u32, u32), Merge>,
    /// Words that are tokens whether or not merges lead to them.
    pub(super) words: HashMap<Box<str>, u32>,
}

/// A part of a word, and those beside it.
struct Symbol {
    id: u32,
    before: usize,
    after: usize,
}

/// A merge that may come next: of equal ranks the first in the word.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    at: usize,
    id: u32,
}

impl Merges {
    /// Puts the tokens of a word at the end of `ids`. A letter without a token is left out, and keeps
    /// those beside it apart.
    pub(super) fn encode(&self, word: &str, ids: &mut Vec<u32>) {
        if let Some(id) = self.words.get(word) {
            ids.push(*id);
            return;
        }
        let letters = word.chars().map(|c| self.letters.get(&c).copied().unwrap_or(MISSING));
        let mut symbols: Vec<Symbol> = letters
            .enumerate()
            .map(|(at, id)| Symbol { id, before: at.checked_sub(1).unwrap_or(END), after: at + 1 })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.after = END;
        }
        self.merge(&mut symbols);
        ids.extend(symbols.iter().map(|s| s.id).filter(|id| ![MISSING, GONE].contains(id)));
    }

    fn merge(&self, symbols: &mut [Symbol]) {
        let mut queue = BinaryHeap::with_capacity(symbols.len());
        for at in 0..symbols.len() {
            queue.extend(self.candidate(symbols, at));
        }
        while let Some(Reverse(next)) = queue.pop() {
            // What stood there may have been merged meanwhile, even to another way to the same token.
            if self.candidate(symbols, next.at).is_none_or(|now| now.0.id != next.id) {
                continue;
            }
            let Some(&Symbol { before, after, .. }) = symbols.get(next.at) else { continue };
            let Some(right) = symbols.get_mut(after) else { continue };
            right.id = GONE;
            let beyond = right.after;
            if let Some(left) = symbols.get_mut(next.at) {
                left.id = next.id;
                left.after = beyond;
            }
            if let Some(symbol) = symbols.get_mut(beyond) {
                symbol.before = next.at;
            }
            queue.extend(self.candidate(symbols, before));
            queue.extend(self.candidate(symbols, next.at));
        }
    }

    /// The merge of the symbol at `at` and the one after it.
    fn candidate(&self, symbols: &[Symbol], at: usize) -> Option<Reverse<Candidate>> {
        let left = symbols.get(at)?;
        let right = symbols.get(left.after)?;
        let merge = self.pairs.get(&(left.id, right.id))?;
        Some(Reverse(Candidate { rank: merge.rank, at, id: merge.id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Letters a to d, and merges in this order.
    fn merges(pairs: &[(u32, u32, u32)]) -> Merges {
        let merge =
            |(rank, pair): (u32, &(u32, u32, u32))| ((pair.0, pair.1), Merge { rank, id: pair.2 });
        Merges {
            letters: ('a'..='d').zip(0..).collect(),
            pairs: (0..).zip(pairs).map(merge).collect(),
            words: HashMap::new(),
        }
    }

    fn encode(merges: &Merges, word: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        merges.encode(word, &mut ids);
        ids
    }

    #[test]
    fn the_lowest_rank_goes_first_and_then_the_first_place() {
        let merges = merges(&[(1, 2, 10), (0, 1, 11), (11, 2, 12), (0, 0, 13)]);
        assert_eq!(encode(&merges, "abc"), [0, 10]);
        assert_eq!(encode(&merges, "abab"), [11, 11]);
        assert_eq!(encode(&merges, "aaa"), [13, 0]);
        assert_eq!(encode(&merges, "aaaaa"), [13, 13, 0]);
        assert!(encode(&merges, "").is_empty());
        assert_eq!(encode(&merges, "d"), [3]);
    }

    #[test]
    fn a_letter_without_a_token_keeps_its_neighbours_apart() {
        let merges = merges(&[(0, 1, 11)]);
        assert_eq!(encode(&merges, "a-b-ab"), [0, 1, 11]);
    }

    #[test]
    fn a_whole_word_needs_no_merge() {
        let mut merges = merges(&[(0, 1, 11)]);
        merges.words.insert("abd".into(), 20);
        assert_eq!(encode(&merges, "abd"), [20]);
        assert_eq!(encode(&merges, "abda"), [11, 3, 0]);
    }

    /// Looks for the lowest rank again after each merge.
    fn slow(merges: &Merges, word: &str) -> Vec<u32> {
        let mut ids: Vec<u32> = word.chars().map(|c| merges.letters[&c]).collect();
        loop {
            let found = ids
                .windows(2)
                .enumerate()
                .filter_map(|(at, two)| Some((merges.pairs.get(&(two[0], two[1]))?, at)))
                .min_by_key(|(merge, at)| (merge.rank, *at));
            let Some((merge, at)) = found else { return ids };
            ids.splice(at..at + 2, [merge.id]);
        }
    }

    proptest! {
        /// Each token is made in one way here.
        #[test]
        fn merging_by_a_queue_equals_looking_again(
            pairs in proptest::collection::vec((0u32..12, 0u32..12), 0..20), word in "[a-d]{0,40}") {
            let numbered: Vec<_> = (4..).zip(&pairs).map(|(id, (a, b))| (*a, *b, id)).collect();
            let merges = merges(&numbered);
            prop_assert_eq!(encode(&merges, &word), slow(&merges, &word));
        }
    }
}
