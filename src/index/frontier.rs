//! What a best-first walk of a graph has seen and where it goes next.
//!
//! The classical form keeps the `ef` best candidates in order, and most of the time goes into moving
//! them. Here what is open stands in a heap, and how far the `ef`-th best is away is known from counts
//! of distances by size: two or three steps for an insertion. The counts are fine enough (a
//! hundredth of the distance) that `ef` means what it means elsewhere.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Distances whose sign, exponent and upper seven bits agree are counted together.
const SHIFT: u32 = 16;
const SLOTS: usize = 2048;
/// Slots for what is farther than the place where the walk begins.
const BEYOND: u32 = 64;
/// So many, besides `ef`, may be farther than all slots; then the slots move.
const TOO_FAR: usize = 256;
/// Marks a row that is one of the `ef`; rows fit 24 bits.
const COUNTED: u32 = 1 << 31;

/// Which rows were met.
#[derive(Debug, Default)]
pub(super) struct Seen {
    words: Vec<u64>,
}

impl Seen {
    pub(super) fn clear(&mut self, rows: usize) {
        self.words.clear();
        self.words.resize(rows.div_ceil(64), 0);
    }

    /// Whether `row` is met for the first time.
    #[inline]
    pub(super) fn insert(&mut self, row: u32) -> bool {
        let bit = 1u64 << (row % 64);
        match self.words.get_mut(row as usize / 64) {
            Some(word) => {
                let first = *word & bit == 0;
                *word |= bit;
                first
            }
            None => false,
        }
    }

    #[inline]
    pub(super) fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_none_or(|word| word >> (row % 64) & 1 == 1)
    }
}

/// Rows to be visited, nearest first, until `ef` nearer ones are known.
#[derive(Debug)]
pub(super) struct Frontier {
    /// The bits of a distance, then the row: not negative, so they are in order as they are.
    open: BinaryHeap<Reverse<u64>>,
    counts: [u32; SLOTS],
    /// The bits that the first slot stands for.
    first: u32,
    /// The slot of the `ef`-th best; the last while there are fewer.
    last: usize,
    /// How many are counted up to and in that slot.
    within: usize,
    ef: usize,
}

impl Default for Frontier {
    fn default() -> Self {
        let last = SLOTS - 1;
        Self { open: BinaryHeap::new(), counts: [0; SLOTS], first: 0, last, within: 0, ef: 1 }
    }
}

impl Frontier {
    /// Starts anew for a walk that begins at `distance`.
    pub(super) fn clear(&mut self, distance: f32, ef: usize) {
        self.open.clear();
        self.counts.fill(0);
        let beginning = distance.max(f32::MIN_POSITIVE).to_bits() >> SHIFT;
        #[expect(clippy::cast_possible_truncation, reason = "2048")]
        let below = SLOTS as u32 - BEYOND;
        self.first = beginning.saturating_sub(below);
        self.last = SLOTS - 1;
        self.within = 0;
        self.ef = ef.max(1);
    }

    /// What is at this distance or farther is not worth a visit.
    #[inline]
    pub(super) fn bound(&self) -> f32 {
        if self.last == SLOTS - 1 {
            return f32::INFINITY;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 2048")]
        let slot = self.last as u32;
        f32::from_bits((self.first + slot + 1) << SHIFT)
    }

    /// Adds a row at a distance that is not negative; `counts` says whether it is one of the `ef`.
    #[inline]
    pub(super) fn offer(&mut self, row: u32, distance: f32, counts: bool) {
        let bits = distance.to_bits();
        let marked = if counts { row | COUNTED } else { row };
        self.open.push(Reverse(u64::from(bits) << 32 | u64::from(marked)));
        let slot = self.slot(bits);
        if !counts || slot > self.last {
            return;
        }
        self.counts[slot] += 1;
        self.within += 1;
        if slot == SLOTS - 1 && self.counts[slot] as usize > self.ef + TOO_FAR {
            self.move_slots();
        }
        self.find_last();
    }

    #[inline]
    fn slot(&self, bits: u32) -> usize {
        ((bits >> SHIFT).saturating_sub(self.first) as usize).min(SLOTS - 1)
    }

    #[inline]
    fn find_last(&mut self) {
        while self.last > 0 && self.within - self.counts[self.last] as usize >= self.ef {
            self.within -= self.counts[self.last] as usize;
            self.last -= 1;
        }
    }

    /// Moves the slots to where the open rows are: the walk began so near the query that everything
    /// else is far, and without a bound it would visit all there is.
    #[cold]
    fn move_slots(&mut self) {
        let open = || self.open.iter().map(|Reverse(row)| *row);
        #[expect(clippy::cast_possible_truncation, reason = "the upper half; 2048")]
        let first = {
            let farthest = open().max().map_or(0, |row| (row >> 32) as u32 >> SHIFT);
            (farthest + 2).saturating_sub(SLOTS as u32)
        };
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let counted: Vec<u32> =
            open().filter(|row| *row as u32 & COUNTED != 0).map(|row| (row >> 32) as u32).collect();
        self.first = self.first.max(first);
        self.counts.fill(0);
        // The others were visited, as the nearest of their time.
        #[expect(clippy::cast_possible_truncation, reason = "fewer than rows")]
        {
            self.counts[0] = self.within.saturating_sub(counted.len()) as u32;
        }
        for bits in counted {
            self.counts[self.slot(bits)] += 1;
        }
    }

    /// The nearest open row, if it is worth a visit.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u32> {
        let Reverse(nearest) = self.open.pop()?;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let (bits, row) = ((nearest >> 32) as u32, nearest as u32 & !COUNTED);
        if f32::from_bits(bits) >= self.bound() {
            self.open.clear();
            return None;
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a sorted list: nearest first, and the bound is that of the `ef`-th best within
        /// the width of a slot.
        #[test]
        fn goes_by_distance_up_to_the_bound(
            distances in proptest::collection::vec(0.01f32..4.0, 1..400),
            ef in 1usize..50,
            start in 0.1f32..4.0,
        ) {
            let mut frontier = Frontier::default();
            frontier.clear(start, ef);
            for (row, distance) in (0u32..).zip(&distances) {
                frontier.offer(row, *distance, true);
            }
            let mut sorted = distances.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            let bound = frontier.bound();
            if let Some(worst) = sorted.get(ef - 1) {
                prop_assert!(bound > *worst);
                // Much nearer or farther than the beginning there is one slot for all.
                let fine = start / 150.0..start * 1.3;
                prop_assert!(bound <= *worst * 1.02 || !fine.contains(worst), "{bound} {worst}");
            } else {
                prop_assert!(bound.is_infinite());
            }
            let visited: Vec<f32> =
                std::iter::from_fn(|| frontier.next()).map(|row| distances[row as usize]).collect();
            let expected: Vec<f32> = sorted.into_iter().filter(|d| *d < bound).collect();
            prop_assert_eq!(visited, expected);
        }
    }

    /// Whatever the walk begins at, a few hundred rows later it knows how far is too far.
    #[test]
    fn a_walk_that_begins_beside_the_query_has_a_bound() {
        for start in [0.0, f32::MIN_POSITIVE, 1e-20, 1e-4, 0.1] {
            let mut frontier = Frontier::default();
            frontier.clear(start, 50);
            frontier.offer(0, start, true);
            assert_eq!(frontier.next(), Some(0));
            // Every other row is not counted.
            for row in 1..2000u32 {
                frontier.offer(row, 1.0 + (row * 7919 % 2000) as f32 / 2000.0, row % 2 == 0);
            }
            // With the one that was visited, 49 of the 2000 distances that count.
            let bound = frontier.bound();
            assert!((1.045..1.07).contains(&bound), "{start}: {bound}");
            let visited = std::iter::from_fn(|| frontier.next()).count();
            assert!((90..140).contains(&visited), "{start}: {visited}");
        }
    }

    #[test]
    fn rows_are_met_once() {
        let mut seen = Seen::default();
        seen.clear(70);
        assert!(seen.insert(69) && !seen.insert(69) && seen.contains(69) && !seen.contains(5));
        // Beyond the rows there is nothing to meet.
        assert!(!seen.insert(1000) && seen.contains(1000));
        seen.clear(70);
        assert!(!seen.contains(69));
    }
}
