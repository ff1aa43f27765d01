//! Scalar codes: eight bits an element with one scale for the vector, and three more bits kept apart
//! for the last few comparisons.
//!
//! An element is `scale · (first + rest / 8)`, `first` from -127 to 127 and `rest` from -4 to 3.
//! LVQ (Aguerrebere 2023) has the same two levels.

use super::kernel::{dot, dot_i8};

/// Bits of an element in the second level.
pub(crate) const REST_BITS: usize = 3;
const STEPS: f32 = 8.0;

/// What is left out of a code, as lengths: a product with a unit vector is off by no more.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct CodeError {
    /// With the first level alone.
    pub(crate) first: f32,
    /// With both.
    pub(crate) both: f32,
}

impl CodeError {
    /// What codes of two kinds leave out together.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { first: self.first.max(other.first), both: self.both.max(other.both) }
    }
}

/// Bytes of the second level of `padded` elements.
pub(crate) fn rest_bytes(padded: usize) -> usize {
    padded / 8 * REST_BITS
}

/// Writes the code of `vector` (rotated, its length a multiple of 64) and returns its scale and what
/// the code leaves out.
pub(crate) fn encode(vector: &[f32], first: &mut [i8], rest: &mut [u8]) -> (f32, CodeError) {
    let largest = vector.iter().fold(0f32, |m, x| m.max(x.abs()));
    // A scale of zero would make every later division a NaN.
    let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
    rest.fill(0);
    let plane = vector.len() / 8;
    let (mut off_first, mut off_both) = (0f64, 0f64);
    for (i, (x, first)) in vector.iter().zip(first).enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "at most 127 eighths of the scale")]
        let eighths = (x / scale * STEPS).round() as i32;
        let whole = (eighths + 4).div_euclid(8).clamp(-127, 127);
        let left = (eighths - 8 * whole).clamp(-4, 3);
        #[expect(clippy::cast_possible_truncation, reason = "clamped above")]
        {
            *first = whole as i8;
        }
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "from 0 to 7")]
        let bits = (left + 4) as u8;
        for bit in 0..REST_BITS {
            rest[bit * plane + i / 8] |= (bits >> bit & 1) << (i % 8);
        }
        let first_value = f64::from(scale) * f64::from(whole);
        let value = first_value + f64::from(scale) * f64::from(left) / f64::from(STEPS);
        off_first += (f64::from(*x) - first_value).powi(2);
        off_both += (f64::from(*x) - value).powi(2);
    }
    // Rounded up, so that the bound holds in f32 as well.
    #[expect(clippy::cast_possible_truncation, reason = "small lengths")]
    let length = |squares: f64| (squares.sqrt() * 1.0001) as f32 + 1e-7;
    (scale, CodeError { first: length(off_first), both: length(off_both) })
}

/// The bits of a byte as bytes of 0 or 1, the lowest first.
const SPREAD: [u64; 256] = {
    let mut spread = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            spread[byte] |= ((byte >> bit & 1) as u64) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    spread
};

/// The vector that a code stands for.
pub(crate) fn decode(scale: f32, first: &[i8], rest: &[u8], out: &mut [f32]) {
    let plane = first.len() / 8;
    let (low, rest) = rest.split_at(plane);
    let (middle, high) = rest.split_at(plane);
    let eighth = scale / STEPS;
    let eights = out.as_chunks_mut::<8>().0.iter_mut().zip(first.as_chunks::<8>().0);
    for ((out, first), ((low, middle), high)) in eights.zip(low.iter().zip(middle).zip(high)) {
        let spread = |byte: &u8| SPREAD[usize::from(*byte)];
        let left = (spread(low) | spread(middle) << 1 | spread(high) << 2).to_le_bytes();
        for ((out, first), left) in out.iter_mut().zip(first).zip(left) {
            let eighths = 8 * i16::from(*first) + i16::from(left) - 4;
            *out = eighth * f32::from(eighths);
        }
    }
}

/// The second level alone, from 0 to 7.
fn spread_rest(rest: &[u8], out: &mut [i8]) {
    let plane = out.len() / 8;
    let (low, rest) = rest.split_at(plane);
    let (middle, high) = rest.split_at(plane);
    let eights = out.as_chunks_mut::<8>().0.iter_mut();
    for (out, ((low, middle), high)) in eights.zip(low.iter().zip(middle).zip(high)) {
        let spread = |byte: &u8| SPREAD[usize::from(*byte)];
        let left = spread(low) | spread(middle) << 1 | spread(high) << 2;
        *out = left.to_le_bytes().map(u8::cast_signed);
    }
}

/// A rotated query, ready to be compared with codes: two levels of eight bits.
#[derive(Debug, Clone)]
pub(crate) struct QueryCode {
    first: Vec<i8>,
    second: Vec<i8>,
    scale: f32,
    /// The sum of the first level.
    sum: f32,
    /// Squared length.
    square: f32,
    error: f32,
}

/// Steps of the second level in one of the first.
const FINE: f32 = 254.0;

impl QueryCode {
    #[inline(always)]
    pub(crate) fn new(rotated: &[f32]) -> Self {
        let largest = rotated.iter().fold(0f32, |m, x| m.max(x.abs()));
        let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
        let inverse = 1.0 / scale;
        let mut first = Vec::with_capacity(rotated.len());
        let mut second = Vec::with_capacity(rotated.len());
        let (mut sum, mut off) = (0, 0f32);
        for x in rotated {
            let steps = x * inverse;
            // Rounds as well as `round`, in one instruction; a NaN becomes 0.
            #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
            let whole = (steps + if steps < 0.0 { -0.5 } else { 0.5 }) as i8;
            let left = steps - f32::from(whole);
            #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
            second.push((left * FINE) as i8);
            first.push(whole);
            sum += i32::from(whole);
            off += left * left;
        }
        let error = off.sqrt() * scale * 1.001;
        Self { first, second, scale, sum: sum as f32, square: dot(rotated, rotated), error }
    }

    /// How far the first level is from the query.
    pub(crate) fn error(&self) -> f32 {
        self.error
    }

    /// Squared Euclidean distance to a vector of squared length `square`, by the first levels.
    #[inline]
    pub(crate) fn roughly(&self, scale: f32, square: f32, first: &[i8]) -> f32 {
        self.square + square - 2.0 * self.scale * scale * dot_i8(&self.first, first)
    }

    /// The same by both levels of both, but for what is smaller than a hundredth of
    /// [`QueryCode::error`]; `scratch` is as long as a vector.
    pub(crate) fn closely(
        &self,
        scale: f32,
        square: f32,
        (first, rest): (&[i8], &[u8]),
        scratch: &mut [i8],
    ) -> f32 {
        spread_rest(rest, scratch);
        let whole = dot_i8(&self.first, first) + dot_i8(&self.second, first) / FINE;
        let left = dot_i8(&self.first, scratch) - 4.0 * self.sum;
        let product = self.scale * scale * (whole + left / STEPS);
        self.square + square - 2.0 * product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Rotation, normalise};
    use proptest::prelude::*;

    fn unit(v: &[f32]) -> Vec<f32> {
        Rotation::new(v.len()).apply(&normalise(v, v.len()).unwrap())
    }

    proptest! {
        /// The bounds that exact search relies on hold, and decoding gives what was bounded.
        #[test]
        fn what_is_left_out_is_bounded(
            pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 2..500),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assume!(a.iter().any(|x| *x != 0.0) && b.iter().any(|x| *x != 0.0));
            let (a, b) = (unit(&a), unit(&b));
            let mut first = vec![0; a.len()];
            let mut rest = vec![0; rest_bytes(a.len())];
            let (scale, error) = encode(&a, &mut first, &mut rest);
            let mut back = vec![0.0; a.len()];
            decode(scale, &first, &rest, &mut back);
            let off = a.iter().zip(&back).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt();
            prop_assert!(off <= f64::from(error.both) + 1e-6, "{off} {error:?}");
            prop_assert!(error.both <= error.first + 1e-6);
            let right = dot(&a, &a) + dot(&b, &b) - 2.0 * dot(&a, &b);
            let query = QueryCode::new(&b);
            let square = dot(&a, &a);
            let mut scratch = vec![0; a.len()];
            let close = query.closely(scale, square, (&first, &rest), &mut scratch);
            let bound = 2.0 * (error.both + query.error() * (error.first + 0.01));
            prop_assert!((close - right).abs() <= bound + 1e-5, "{close} {right} {bound}");
            let rough = query.roughly(scale, square, &first);
            let bound = 2.0 * (error.first + 1.01 * query.error());
            prop_assert!((rough - right).abs() <= bound + 1e-5, "{rough} {right} {bound}");
        }
    }

    #[test]
    fn a_vector_of_zeros_has_a_code() {
        let mut first = [1i8; 64];
        let mut rest = [1u8; 24];
        let (scale, _) = encode(&[0.0; 64], &mut first, &mut rest);
        let mut back = [1.0; 64];
        decode(scale, &first, &rest, &mut back);
        assert!(scale > 0.0 && back.iter().all(|x| x.abs() < 1e-30));
    }
}
