//! Batches: texts of like length together, bounded by tokens, so that little is padding and memory
//! does not grow with what the caller passes.

use std::ops::Range;

/// Tokens of one batch, padding included: measured best on two cores (docs/benchmarks.md).
const TOKEN_BUDGET: usize = 4096;

/// The order in which to encode texts of these lengths, and where each batch lies in that order.
pub(super) fn plan(lengths: &[usize]) -> (Vec<usize>, Vec<Range<usize>>) {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    // Longest first: the largest batch comes when memory is freshest. Ties keep the caller's order.
    order.sort_by_key(|i| std::cmp::Reverse(lengths[*i]));
    let mut batches = Vec::new();
    let mut start = 0;
    while start < order.len() {
        let longest = lengths[order[start]].max(1);
        let size = (TOKEN_BUDGET / longest).clamp(1, order.len() - start);
        batches.push(start..start + size);
        start += size;
    }
    (order, batches)
}

/// The same for a few texts that somebody waits for: a batch also ends where padding would be more
/// than a third of it, once it is large enough to keep the processors busy.
pub(super) fn plan_close(lengths: &[usize]) -> (Vec<usize>, Vec<Range<usize>>) {
    /// Tokens from which a batch of its own is worth a call.
    const ENOUGH: usize = 192;
    let (order, wide) = plan(lengths);
    let mut batches = Vec::new();
    for batch in wide {
        let mut start = batch.start;
        let mut tokens = 0;
        for i in batch.clone() {
            let length = |at: usize| order.get(at).and_then(|i| lengths.get(*i)).copied();
            let (longest, own) = (length(start).unwrap_or(0), length(i).unwrap_or(0));
            // The rest of the batch is no longer than this text.
            let rest = own * (batch.end - i);
            if tokens >= ENOUGH && rest >= ENOUGH && own * 3 < longest * 2 {
                batches.push(start..i);
                (start, tokens) = (i, 0);
            }
            tokens += own;
        }
        batches.push(start..batch.end);
    }
    (order, batches)
}

/// The rows side by side, each filled up with zeros to the longest, which has `longest` elements. What
/// stands in masked places does not matter; every vocabulary has an id 0, and so have token types.
pub(super) fn padded<'r>(rows: impl Iterator<Item = &'r [u32]>, longest: usize) -> Vec<i64> {
    let mut all = Vec::new();
    for (nth, row) in rows.enumerate() {
        all.extend(row.iter().map(|id| i64::from(*id)));
        all.resize((nth + 1) * longest, 0);
    }
    all
}

/// The mask of rows of these lengths: 1 where a token is.
pub(super) fn mask(lengths: impl Iterator<Item = usize>, longest: usize) -> Vec<i64> {
    let mut all = Vec::new();
    for (nth, length) in lengths.enumerate() {
        all.resize(nth * longest + length, 1);
        all.resize((nth + 1) * longest, 0);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_are_filled_up_to_the_longest() {
        let rows: [&[u32]; 3] = [&[7, 8], &[], &[9, 9, 9]];
        assert_eq!(padded(rows.into_iter(), 3), [7, 8, 0, 0, 0, 0, 9, 9, 9]);
        assert_eq!(mask([2, 0, 3].into_iter(), 3), [1, 1, 0, 0, 0, 0, 1, 1, 1]);
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_batch_within_the_budget(
            lengths in proptest::collection::vec(1usize..600, 0..300)) {
            let (order, batches) = plan(&lengths);
            let mut seen = order.clone();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            let mut next = 0;
            for batch in batches {
                prop_assert_eq!(batch.start, next);
                next = batch.end;
                let longest = order[batch.clone()].iter().map(|i| lengths[*i]).max().unwrap();
                prop_assert!(batch.len() == 1 || longest * batch.len() <= TOKEN_BUDGET);
            }
            prop_assert_eq!(next, lengths.len());
            let (same, close) = plan_close(&lengths);
            prop_assert_eq!(same, order);
            let members: Vec<usize> = close.into_iter().flatten().collect();
            prop_assert_eq!(members, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
