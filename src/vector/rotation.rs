//! A fixed random rotation, after which no dimension matters more than another: what the codes of
//! RaBitQ (Gao and Long, SIGMOD 2024) and 8-bit codes with one scale rest on.
//!
//! Random signs and Walsh–Hadamard transforms of overlapping parts in turn, so that a rotation costs
//! d·log d additions instead of d² products. Lengths and angles stay as they were.

use crate::random::SplitMix64;
use std::f32::consts::FRAC_1_SQRT_2;

/// Dimensions are filled up to a multiple of this, so that kernels read whole registers.
const LANES: usize = 64;
const ROUNDS: usize = 4;
/// Part of the file format: codes of two segments are of one rotation.
const SEED: u64 = 0x7664_6220_726f_7461;

/// The rotation of all vectors of some dimensions.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    dimensions: usize,
    padded: usize,
    /// 1 or -1 for each dimension of each round.
    signs: Vec<f32>,
}

impl Rotation {
    pub(crate) fn new(dimensions: usize) -> Self {
        let padded = Self::padded_to(dimensions);
        let mut random = SplitMix64(SEED);
        let mut sign = || if random.next() >> 63 == 1 { -1.0 } else { 1.0 };
        let signs = (0..ROUNDS * padded).map(|_| sign()).collect();
        Self { dimensions, padded, signs }
    }

    /// Elements of a rotated vector of so many dimensions.
    pub(crate) fn padded_to(dimensions: usize) -> usize {
        dimensions.next_multiple_of(LANES).max(LANES)
    }

    /// Elements of a rotated vector.
    pub(crate) fn padded(&self) -> usize {
        self.padded
    }

    /// Rotates `vector`, filled up with zeros.
    pub(crate) fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut rotated = Vec::new();
        self.apply_to(vector, &mut rotated);
        rotated
    }

    /// The same into `x`.
    #[inline(always)]
    pub(crate) fn apply_to(&self, vector: &[f32], x: &mut Vec<f32>) {
        debug_assert_eq!(vector.len(), self.dimensions);
        x.clear();
        x.extend_from_slice(vector);
        x.resize(self.padded, 0.0);
        let part = 1 << self.padded.ilog2();
        for (round, signs) in self.signs.chunks_exact(self.padded).enumerate() {
            for (x, sign) in x.iter_mut().zip(signs) {
                *x *= sign;
            }
            let start = if round % 2 == 0 { 0 } else { self.padded - part };
            hadamard(&mut x[start..start + part]);
            if part < self.padded {
                // The two halves meet, or what stands outside both parts' overlap never mixes.
                let (low, high) = x.split_at_mut(self.padded / 2);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = ((*a + *b) * FRAC_1_SQRT_2, (*a - *b) * FRAC_1_SQRT_2);
                }
            }
        }
    }
}

/// The orthonormal Walsh–Hadamard transform of a power of two of numbers.
#[inline(always)]
fn hadamard(x: &mut [f32]) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (x.len() as f32).sqrt();
    for x in x {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::dot;
    use proptest::prelude::*;

    proptest! {
        /// What a rotation is: products stay, whatever the dimensions.
        #[test]
        fn products_stay(pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 2..1600)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let rotation = Rotation::new(a.len());
            let (ra, rb) = (rotation.apply(&a), rotation.apply(&b));
            prop_assert_eq!(ra.len() % LANES, 0);
            let tolerance = 1e-5 * a.len() as f32;
            prop_assert!((dot(&a, &b) - dot(&ra, &rb)).abs() < tolerance);
        }
    }

    /// A single element is spread over all: none keeps more than a few times its share.
    #[test]
    fn a_unit_vector_is_spread() {
        for dimensions in [2, 64, 96, 384, 768, 1536, 4096] {
            let rotation = Rotation::new(dimensions);
            for at in [0, dimensions / 2, dimensions - 1] {
                let mut unit = vec![0.0; dimensions];
                unit[at] = 1.0;
                let rotated = rotation.apply(&unit);
                let largest = rotated.iter().fold(0f32, |m, x| m.max(x.abs()));
                let share = (1.0 / rotated.len() as f32).sqrt();
                assert!(largest < 6.0 * share, "{dimensions} at {at}: {largest} of {share}");
            }
        }
    }
}
