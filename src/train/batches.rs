//! Which pairs come together, and in what order.

use super::random::Random;
use crate::pairs::Pair;
use std::collections::{HashSet, VecDeque};

/// The batches of one epoch, as numbers of pairs, by the seed and the epoch alone: a run that was
/// broken off finds the same ones again. No batch has a query, a positive or a group twice where the
/// data allows that; batches of fewer than `least` pairs are left out.
pub(super) fn batches(
    pairs: &[Pair],
    size: usize,
    least: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    Random::of(seed, 1000 + epoch).shuffle(&mut order);
    let mut fresh: VecDeque<usize> = order.into();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    let mut batches = Vec::new();
    while !fresh.is_empty() || !waiting.is_empty() {
        let mut batch = Vec::with_capacity(size);
        let mut texts = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut again = VecDeque::new();
        while batch.len() < size {
            let Some(nth) = waiting.pop_front().or_else(|| fresh.pop_front()) else { break };
            let Some(pair) = pairs.get(nth) else { continue };
            let met = pair.group.is_some_and(|group| texts.2.contains(&group));
            if met || texts.0.contains(&pair.query) || texts.1.contains(&pair.positive) {
                again.push_back(nth);
            } else {
                texts.0.insert(pair.query);
                texts.1.insert(pair.positive);
                texts.2.extend(pair.group);
                batch.push(nth);
            }
        }
        again.append(&mut waiting);
        waiting = again;
        if batch.len() >= least {
            batches.push(batch);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_batch_holds_a_positive_twice_and_no_pair_is_lost() {
        let pair =
            |i: u32| Pair { query: i, positive: i / 3, negatives: vec![], score: 0.0, group: None };
        let pairs: Vec<Pair> = (0..99).map(pair).collect();
        let found = batches(&pairs, 16, 1, 7, 0);
        let mut seen: Vec<usize> = found.iter().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..99).collect::<Vec<_>>());
        for batch in &found {
            let positives: HashSet<u32> = batch.iter().map(|i| pairs[*i].positive).collect();
            assert_eq!(positives.len(), batch.len());
        }
        assert_eq!(found, batches(&pairs, 16, 1, 7, 0));
        assert_ne!(found, batches(&pairs, 16, 1, 7, 1));
        assert_ne!(found, batches(&pairs, 16, 1, 8, 0));
        // Nor a group.
        let grouped: Vec<Pair> =
            (0..60).map(|i| Pair { positive: i, group: Some(i % 20), ..pair(i) }).collect();
        let found = batches(&grouped, 16, 1, 7, 0);
        assert_eq!(found.iter().map(Vec::len).sum::<usize>(), 60);
        for batch in &found {
            let groups: HashSet<Option<u32>> = batch.iter().map(|i| grouped[*i].group).collect();
            assert_eq!(groups.len(), batch.len());
        }
        // Copies of one pair can only come alone.
        let same = vec![pair(0); 4];
        assert_eq!(batches(&same, 2, 1, 0, 0).len(), 4);
        assert!(batches(&same, 2, 2, 0, 0).is_empty());
    }
}
