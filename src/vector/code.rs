//! Scalar codes: eight bits an element with one scale for the vector, and three more bits kept apart
//! for the last few comparisons.
//!
//! An element is `scale · (first + rest / 8)`, `first` from -127 to 127 and `rest` from -4 to 3.
//! LVQ (Aguerrebere 2023) has the same two levels.

use super::kernel::{dot, dot_i8};

/// Bits of an element in the second level.
pub(crate) const REST_BITS: usize = 3;
const STEPS: f32 = 8.0;

/// What is left out of a code, as lengths: a product with a vector of length l is off by no more than l
/// times as much.
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

    /// What a code of this scale leaves out, where any of its kind leaves out no more than `self`. A
    /// short vector has a small scale, and its steps leave out little.
    #[inline]
    pub(crate) fn at_scale(self, scale: f32, padded: usize, two_levels: bool) -> Self {
        // Half a step of each level; rounding to the second may be in the way of the first.
        let step = scale * (padded as f32).sqrt() * 1.001;
        let half = 0.5 / STEPS;
        let first = self.first.min((0.5 + half) * step);
        Self { first, both: if two_levels { self.both.min(half * step) } else { first } }
    }
}

/// Bytes of the second level of `padded` elements.
pub(crate) fn rest_bytes(padded: usize) -> usize {
    padded / 8 * REST_BITS
}

/// Writes the code of `vector` (rotated, its length a multiple of 64) and returns its scale and what
/// the code leaves out. `rest` may be empty: then there is no second level.
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
        let first_value = f64::from(scale) * f64::from(whole);
        let mut value = first_value;
        if !rest.is_empty() {
            for bit in 0..REST_BITS {
                rest[bit * plane + i / 8] |= (bits >> bit & 1) << (i % 8);
            }
            value += f64::from(scale) * f64::from(left) / f64::from(STEPS);
        }
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
    if rest.is_empty() {
        for (out, first) in out.iter_mut().zip(first) {
            *out = scale * f32::from(*first);
        }
        return;
    }
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
#[derive(Debug, Clone, Default)]
pub(crate) struct QueryCode {
    first: Vec<i8>,
    second: Vec<i8>,
    scale: f32,
    /// The sum of the first level.
    sum: f32,
    /// Squared length.
    square: f32,
    error: f32,
    rest_error: f32,
}

/// Steps of the second level in one of the first.
const FINE: f32 = 254.0;

impl QueryCode {
    #[cfg(test)]
    pub(crate) fn new(rotated: &[f32]) -> Self {
        let mut code = Self::default();
        code.set(rotated);
        code
    }

    /// Takes another query.
    #[inline(always)]
    pub(crate) fn set(&mut self, rotated: &[f32]) {
        let largest = rotated.iter().fold(0f32, |m, x| m.max(x.abs()));
        let scale = (largest / 127.0).max(f32::MIN_POSITIVE);
        let inverse = 1.0 / scale;
        let Self { first, second, .. } = self;
        first.clear();
        second.clear();
        let (mut sum, mut off, mut rest_off) = (0, 0f32, 0f32);
        for x in rotated {
            let steps = x * inverse;
            // Rounds as well as `round`, in one instruction; a NaN becomes 0.
            #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
            let whole = (steps + if steps < 0.0 { -0.5 } else { 0.5 }) as i8;
            let left = steps - f32::from(whole);
            #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
            let fine = (left * FINE) as i8;
            second.push(fine);
            first.push(whole);
            sum += i32::from(whole);
            off += left * left;
            let rest = left - f32::from(fine) * (1.0 / FINE);
            rest_off += rest * rest;
        }
        let [error, rest_error] = [off, rest_off].map(|off| off.sqrt() * scale * 1.001);
        (self.scale, self.sum, self.square) = (scale, sum as f32, dot(rotated, rotated));
        (self.error, self.rest_error) = (error, rest_error);
    }

    /// Its squared length.
    #[inline]
    pub(crate) fn square(&self) -> f32 {
        self.square
    }

    /// Its first level and the scale of that.
    pub(crate) fn first(&self) -> (&[i8], f32) {
        (&self.first, self.scale)
    }

    /// The product with a vector by the first levels of both.
    #[inline]
    pub(crate) fn roughly(&self, scale: f32, first: &[i8]) -> f32 {
        self.scale * scale * dot_i8(&self.first, first)
    }

    /// The same by both levels of both, but for the product of the second levels; `scratch` is as
    /// long as a vector.
    pub(crate) fn closely(
        &self,
        scale: f32,
        (first, rest): (&[i8], &[u8]),
        scratch: &mut [i8],
    ) -> f32 {
        let whole = dot_i8(&self.first, first) + dot_i8(&self.second, first) / FINE;
        if rest.is_empty() {
            return self.scale * scale * whole;
        }
        spread_rest(rest, scratch);
        let left = dot_i8(&self.first, scratch) - 4.0 * self.sum;
        self.scale * scale * (whole + left / STEPS)
    }

    /// How far [`QueryCode::roughly`] may be off for a vector of this length.
    ///
    /// With q = q₁ + ε and x = x₁ + δ: q·x − q₁·x₁ = q·δ + ε·x₁.
    pub(crate) fn rough_error(&self, code: CodeError, length: f32) -> f32 {
        self.square.sqrt() * code.first + self.error * (length + code.first)
    }

    /// The same for [`QueryCode::closely`].
    ///
    /// With q = q₁ + q₂ + ε, and x less both levels η: q·x − q₁·(x − η) − q₂·x₁ = q₁·η + q₂·δ + ε·x.
    pub(crate) fn close_error(&self, code: CodeError, length: f32) -> f32 {
        (self.square.sqrt() + self.error) * code.both
            + (self.error + self.rest_error) * code.first
            + self.rest_error * length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Rotation, normalise};
    use proptest::prelude::*;

    /// Rotated, and of this length.
    fn rotated(v: &[f32], length: f32) -> Vec<f32> {
        let unit = normalise(v, v.len()).unwrap();
        let long: Vec<f32> = unit.into_iter().map(|x| x * length).collect();
        Rotation::new(v.len()).apply(&long)
    }

    fn product(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    proptest! {
        /// The bounds that exact search relies on hold, and decoding gives what was bounded.
        #[test]
        fn what_is_left_out_is_bounded(
            pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 2..500),
            lengths in (-14f32..14.0, -14f32..14.0),
            two_levels: bool,
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            prop_assume!(a.iter().any(|x| *x != 0.0) && b.iter().any(|x| *x != 0.0));
            let (length_a, length_b) = (10f32.powf(lengths.0), 10f32.powf(lengths.1));
            let (a, b) = (rotated(&a, length_a), rotated(&b, length_b));
            let mut first = vec![0; a.len()];
            let mut rest = vec![0; if two_levels { rest_bytes(a.len()) } else { 0 }];
            let (scale, error) = encode(&a, &mut first, &mut rest);
            // As where a vector is the longest of its segment, and where another is.
            for error in [error, CodeError { first: 1e14, both: 1e14 }] {
                let error = error.at_scale(scale, a.len(), !rest.is_empty());
                let mut back = vec![0.0; a.len()];
                decode(scale, &first, &rest, &mut back);
                let off = a.iter().zip(&back).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
                prop_assert!(off.sqrt() <= f64::from(error.both) * (1.0 + 1e-6), "{off} {error:?}");
                prop_assert!(error.both <= error.first * 1.000_001);
                let right = product(&a, &b);
                let query = QueryCode::new(&b);
                let mut scratch = vec![0; a.len()];
                let rounding = 1e-6 * f64::from(length_a * length_b);
                let close = f64::from(query.closely(scale, (&first, &rest), &mut scratch));
                let bound = f64::from(query.close_error(error, length_a));
                prop_assert!((close - right).abs() <= bound + rounding, "{close} {right} {bound}");
                let rough = f64::from(query.roughly(scale, &first));
                let bound = f64::from(query.rough_error(error, length_a));
                prop_assert!((rough - right).abs() <= bound + rounding, "{rough} {right} {bound}");
            }
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
