//! Numbers by chance that are the same for the same seed, on every machine.

use crate::random;
pub(super) use crate::random::mix;

/// A sequence of numbers by chance. Its state is one number, which a checkpoint keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// The sequence of a seed and a purpose.
    pub(super) fn of(seed: u64, purpose: u64) -> Self {
        Self(mix(mix(seed).wrapping_add(purpose)))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// From 0 to below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        // The bias of one in 2^64 / n does not matter here.
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }

    /// From 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        random::unit(self.next())
    }

    /// Around 0 with deviation 1 (Box and Muller 1958).
    #[expect(clippy::cast_possible_truncation, reason = "a weight has 32 bits")]
    pub(super) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    /// Puts `items` in an order by chance (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
