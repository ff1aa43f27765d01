//! Which segments become one when an index is saved.
//!
//! Segments stand in tiers, each of four times the size of the one before. As many as [`FANOUT`] of
//! a tier become one of the next, so that a point is built into a graph once for every tier and a
//! search meets a few segments of each.

use super::Bitmap;
use super::sealed::Sealed;
use crate::vector::fastscan::MAX_ROWS;
use std::sync::Arc;

/// Segments of a tier that become one; a tier's segments are so many times as large as those before.
const FANOUT: usize = 4;
/// Up to so many points are in the first tier.
const FIRST: usize = 8192;
/// A segment of which a larger part is gone is written anew.
const MAX_DEAD: f64 = 0.3;

/// Up to so many points become one while somebody waits to leave.
const BRIEF: usize = 2 * FIRST;

/// What is to be merged.
pub(super) struct Plan {
    /// Points that are written in any case.
    new: usize,
    /// Of each segment that is there: points, those that are alive, and whether it is taken.
    segments: Vec<(usize, usize, bool)>,
}

impl Plan {
    pub(super) fn new(sealed: &[Arc<Sealed>], dead: &Bitmap, new: usize) -> Self {
        let alive = |s: &Sealed| s.ids().iter().filter(|id| !dead.contains(**id)).count();
        let segments = sealed.iter().map(|s| (s.len(), alive(s), false)).collect();
        Self { new, segments }
    }

    /// Takes everything, unless it is one segment as it should be. What one file cannot hold: only
    /// what has points that are gone, which then must fit together.
    pub(super) fn all(&mut self) {
        let whole = self.segments.iter().all(|(points, alive, _)| points == alive);
        let one = self.segments.len() + usize::from(self.new > 0) < 2;
        let fits = self.new + self.segments.iter().map(|s| s.1).sum::<usize>() <= MAX_ROWS;
        if !fits {
            // Each for itself, then.
            self.segments.iter_mut().for_each(|(points, alive, taken)| *taken = alive < points);
        } else if !(whole && one) {
            self.segments.iter_mut().for_each(|segment| segment.2 = true);
        }
    }

    /// Takes what is mostly gone, and tiers that are full.
    pub(super) fn usual(&mut self) {
        self.up_to(MAX_ROWS);
    }

    /// The same where it does not take long.
    pub(super) fn brief(&mut self) {
        self.up_to(BRIEF);
    }

    fn up_to(&mut self, limit: usize) {
        let mut size = self.new;
        for (points, alive, taken) in &mut self.segments {
            let sparse = (*alive as f64) < (1.0 - MAX_DEAD) * *points as f64;
            if sparse && size + *alive <= limit {
                *taken = true;
                size += *alive;
            }
        }
        let highest = self.segments.iter().map(|s| tier(s.0)).max().unwrap_or(0).max(tier(size));
        for tier in 0..=highest {
            let mut count = usize::from(size > 0 && self::tier(size) == tier);
            let mut sum = size;
            let fellows = |s: &&mut (usize, usize, bool)| !s.2 && self::tier(s.0) <= tier;
            for segment in self.segments.iter_mut().filter(fellows) {
                count += usize::from(self::tier(segment.0) == tier);
                sum += segment.1;
            }
            if count >= FANOUT && sum <= limit {
                for segment in self.segments.iter_mut().filter(fellows) {
                    segment.2 = true;
                }
                size = sum;
            }
        }
    }

    /// What is taken of `sealed`.
    pub(super) fn taken(&self, sealed: &[Arc<Sealed>]) -> Vec<Arc<Sealed>> {
        let taken = sealed.iter().zip(&self.segments).filter(|(_, (_, _, taken))| *taken);
        taken.map(|(sealed, _)| Arc::clone(sealed)).collect()
    }
}

fn tier(points: usize) -> u32 {
    (points / FIRST).checked_ilog(FANOUT).map_or(0, |tier| tier + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(new: usize, sizes: &[(usize, usize)]) -> (usize, Vec<bool>) {
        let segments = sizes.iter().map(|(points, alive)| (*points, *alive, false)).collect();
        let mut plan = Plan { new, segments };
        plan.usual();
        let taken: Vec<bool> = plan.segments.iter().map(|s| s.2).collect();
        let size = plan.segments.iter().filter(|s| s.2).map(|s| s.1).sum::<usize>() + new;
        (size, taken)
    }

    #[test]
    fn full_tiers_become_one_segment() {
        let k = |n: usize| (n * 1024, n * 1024);
        assert_eq!(usual(8192, &[k(8), k(8)]).1, [false, false]);
        assert_eq!(usual(8192, &[k(8), k(8), k(8)]), (32 << 10, vec![true; 3]));
        // What the merge fills is merged in the same step.
        let sizes = [k(40), k(33), k(50), k(8), k(8), k(8)];
        assert_eq!(usual(8192, &sizes), (155 << 10, vec![true; 6]));
        // Nothing new is needed for that.
        assert_eq!(usual(0, &[k(8), k(8), k(8), k(8)]), (32 << 10, vec![true; 4]));
        assert_eq!(usual(0, &[(1000, 699), k(400)]), (699, vec![true, false]));
        assert_eq!(usual(100, &[(1000, 701)]).1, [false]);
        // More than a file can hold.
        let half = (MAX_ROWS / 2, MAX_ROWS / 2);
        assert_eq!(usual(MAX_ROWS / 2, &[half, half, half]).1, [false; 3]);
        assert_eq!(usual(MAX_ROWS, &[(1000, 1)]).1, [false]);
    }

    /// Ingesting for long: few segments at any time, few builds of a point.
    #[test]
    fn segments_and_builds_are_few() {
        let mut sizes: Vec<(usize, usize)> = Vec::new();
        let mut built = 0;
        for _ in 0..512 {
            let (size, taken) = usual(8192, &sizes);
            let mut taken = taken.into_iter();
            sizes.retain(|_| !taken.next().unwrap());
            sizes.push((size, size));
            built += size;
            assert!(sizes.len() <= 3 * 6, "{sizes:?}");
        }
        assert!(built <= 6 * 512 * 8192);
    }
}
