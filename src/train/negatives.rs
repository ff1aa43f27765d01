//! Documents that do not answer a query, for pairs that bring none.

use super::random::Random;
use crate::pairs::{Pair, Pairs};
use std::collections::{HashMap, HashSet};

/// Draws by chance for one negative before the documents are gone through in their order.
const TRIES: usize = 32;

/// The pairs, each with negatives: its own where it has any, else up to `k` documents of the data by
/// chance that are not a positive of its query. The same for the same seed. Also for how many pairs
/// there was none.
pub(super) fn with_negatives(pairs: &Pairs, k: usize, seed: u64) -> (Vec<Pair>, usize) {
    let mut positives: HashMap<u32, HashSet<u32>> = HashMap::new();
    for pair in &pairs.pairs {
        positives.entry(pair.query).or_default().insert(pair.positive);
    }
    let mut random = Random::of(seed, 3);
    let mut without = 0;
    let all = pairs.pairs.iter().map(|pair| {
        let mut pair = pair.clone();
        if pair.negatives.is_empty() {
            let mut taken = positives.get(&pair.query).cloned().unwrap_or_default();
            pair.negatives = drawn(pairs.documents.all.len(), k, &mut taken, &mut random);
        }
        without += usize::from(pair.negatives.is_empty());
        pair
    });
    (all.collect(), without)
}

/// Up to `k` numbers below `documents` that are not taken.
fn drawn(documents: usize, k: usize, taken: &mut HashSet<u32>, random: &mut Random) -> Vec<u32> {
    let mut found = Vec::new();
    let mut take = |number: usize, found: &mut Vec<u32>| {
        if let Ok(number) = u32::try_from(number)
            && found.len() < k
            && taken.insert(number)
        {
            found.push(number);
        }
    };
    for _ in 0..k.saturating_mul(TRIES) {
        if found.len() == k {
            return found;
        }
        take(random.below(documents), &mut found);
    }
    // Few are left: whichever comes next.
    let start = random.below(documents);
    (start..documents).chain(0..start).for_each(|number| take(number, &mut found));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Pairs {
        let mut pairs = Pairs::default();
        for i in 0..40 {
            pairs.push(&format!("q{}", i / 2), &format!("d{i}"), &[], None);
        }
        pairs.push("q0", "d40", &["d7"], None);
        pairs
    }

    #[test]
    fn negatives_are_drawn_from_what_does_not_answer() {
        let pairs = pairs();
        let (found, without) = with_negatives(&pairs, 4, 9);
        assert_eq!(without, 0);
        for (pair, own) in found.iter().zip(&pairs.pairs) {
            assert_eq!((pair.query, pair.positive), (own.query, own.positive));
            let distinct: HashSet<u32> = pair.negatives.iter().copied().collect();
            assert_eq!(distinct.len(), pair.negatives.len());
            let answers = pairs.pairs.iter().filter(|p| p.query == pair.query);
            for answer in answers {
                assert!(!distinct.contains(&answer.positive) || !own.negatives.is_empty());
            }
        }
        assert!(found[..40].iter().all(|pair| pair.negatives.len() == 4));
        assert_eq!(found[40].negatives, pairs.pairs[40].negatives);
        assert_eq!(found.len(), 41);
        let negatives = |pairs: Vec<Pair>| -> Vec<Vec<u32>> {
            pairs.into_iter().map(|pair| pair.negatives).collect()
        };
        let found = negatives(found);
        assert_eq!(found, negatives(with_negatives(&pairs, 4, 9).0));
        assert_ne!(found, negatives(with_negatives(&pairs, 4, 8).0));
        assert!(with_negatives(&pairs, 0, 9).0[..40].iter().all(|pair| pair.negatives.is_empty()));
    }

    #[test]
    fn few_documents_are_all_found_and_none_is_told() {
        let pairs = pairs();
        // d0, d1 and d40 answer q0; the other 38 do not.
        let (found, _) = with_negatives(&pairs, 1000, 1);
        assert_eq!(found[0].negatives.len(), 38);
        let mut one = Pairs::default();
        one.push("q", "d", &[], None);
        one.push("q", "e", &[], None);
        assert_eq!(with_negatives(&one, 4, 0).1, 2);
    }
}
