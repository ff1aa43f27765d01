//! One bit an element: a distance to within some percent from a single cache line, to tell which
//! distances are worth knowing better.
//!
//! The estimate of RaBitQ (Gao and Long, SIGMOD 2024) as in `fastscan`, of vectors instead of
//! differences, with the error that the paper promises for it. Graphs are built with it.

use std::sync::LazyLock;

const WORD: usize = 64;
const LINE: usize = 8;
/// Bits of an element of the query.
const PLANES: usize = 4;

/// A cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; LINE]);

/// Sketches of rows: their signs, two factors, the squared length, and the lift.
///
/// A lift is one more coordinate, which codes do not have: graphs for products stand rows on a sphere
/// by it. Elsewhere it is 0.
#[derive(Debug)]
pub(crate) struct Sketches {
    words: usize,
    /// Lines of a row.
    stride: usize,
    lines: Vec<Line>,
}

/// A row that is compared with others.
#[derive(Debug, Default)]
pub(crate) struct SketchQuery {
    /// For each word of signs the bits of the elements there, by value.
    planes: Vec<[u64; PLANES]>,
    scale: f32,
    sum: f32,
    square: f32,
    length: f32,
    lift: f32,
}

impl Sketches {
    /// For rows of `padded` elements.
    pub(crate) fn new(padded: usize) -> Self {
        let words = padded / WORD;
        Self { words, stride: (words + 2).div_ceil(LINE), lines: Vec::new() }
    }

    /// Adds a row: the first level of its code, the scale, the squared length without the lift, and
    /// the lift.
    pub(crate) fn push(&mut self, first: &[i8], scale: f32, square: f32, lift: f32) {
        let start = self.lines.len();
        self.lines.resize(start + self.stride, Line::default());
        let row = &mut self.lines[start..];
        let mut sum = 0u32;
        for (at, elements) in first.as_chunks::<WORD>().0.iter().enumerate() {
            let mut word = 0;
            for (i, element) in elements.iter().enumerate() {
                word |= u64::from(*element > 0) << i;
                sum += u32::from(element.unsigned_abs());
            }
            row[at / LINE].0[at % LINE] = word;
        }
        // |x|² / |x|₁, and the error of a product with a unit vector.
        let absolute = (sum as f32 * scale).max(f32::MIN_POSITIVE);
        let dimensions = first.len() as f32;
        let straight = (dimensions * square / (absolute * absolute) - 1.0).max(0.0);
        let error = (square * straight / (dimensions - 1.0)).sqrt();
        let factors = [(square / absolute).to_bits(), error.to_bits()].map(u64::from);
        row[self.words / LINE].0[self.words % LINE] = factors[0] << 32 | factors[1];
        let last = self.words + 1;
        let [square, lift] = [square, lift].map(|x| u64::from(x.to_bits()));
        row[last / LINE].0[last % LINE] = lift << 32 | square;
    }

    /// The lines of a row.
    #[inline]
    fn row(&self, row: u32) -> &[Line] {
        &self.lines[row as usize * self.stride..][..self.stride]
    }

    /// Asks for a row before it is needed.
    #[inline]
    pub(crate) fn prefetch(&self, row: u32) {
        super::prefetch(self.row(row));
    }

    /// The least that the squared distance to `row` is likely to be.
    #[inline]
    pub(crate) fn at_least(&self, query: &SketchQuery, row: u32) -> f32 {
        let row = self.row(row);
        let (set, ones) = COUNT(row, &query.planes);
        let factors = row[self.words / LINE].0[self.words % LINE];
        let square = row[(self.words + 1) / LINE].0[(self.words + 1) % LINE];
        // An element is `scale` times (16·n − 120), n from 0 to 15.
        let positive = 16.0 * set as f32 - 120.0 * ones as f32;
        let product = query.scale * (2.0 * positive - query.sum);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let (factor, error) =
            (f32::from_bits((factors >> 32) as u32), f32::from_bits(factors as u32));
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let (lift, square) = (f32::from_bits((square >> 32) as u32), f32::from_bits(square as u32));
        let lift = query.lift - lift;
        query.square + square - 2.0 * (factor * product + error * query.length) + lift * lift
    }
}

/// The sum of the query's elements where signs are positive, and how many these are.
type Count = fn(&[Line], &[[u64; PLANES]]) -> (u32, u32);

static COUNT: LazyLock<Count> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("popcnt") {
        return |row, planes| {
            #[expect(unsafe_code, reason = "a kernel for processors that count bits")]
            // SAFETY: this one does.
            unsafe {
                count_fast(row, planes)
            }
        };
    }
    count
});

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "popcnt")]
fn count_fast(row: &[Line], planes: &[[u64; PLANES]]) -> (u32, u32) {
    count(row, planes)
}

#[inline(always)]
fn count(row: &[Line], planes: &[[u64; PLANES]]) -> (u32, u32) {
    let (mut set, mut ones) = (0, 0);
    // After the signs come words that are none; there are no planes for them.
    for (signs, planes) in row.iter().flat_map(|line| line.0).zip(planes) {
        ones += signs.count_ones();
        for (plane, bits) in planes.iter().enumerate() {
            set += (signs & bits).count_ones() << plane;
        }
    }
    (set, ones)
}

impl SketchQuery {
    /// Takes the first level of a code, its scale, squared length and lift.
    pub(crate) fn set(&mut self, first: &[i8], scale: f32, square: f32, lift: f32) {
        let mut sum = 0;
        self.planes.clear();
        for elements in first.as_chunks::<WORD>().0 {
            let mut planes = [0u64; PLANES];
            for (i, element) in elements.iter().enumerate() {
                let step = (i16::from(*element) + 128) / 16;
                sum += 16 * i32::from(step) - 120;
                for (bit, plane) in planes.iter_mut().enumerate() {
                    *plane |= u64::from(step >> bit & 1 == 1) << i;
                }
            }
            self.planes.push(planes);
        }
        (self.scale, self.sum, self.square) = (scale, sum as f32, square);
        (self.length, self.lift) = (square.sqrt(), lift);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::code::{encode, rest_bytes};
    use crate::vector::{Rotation, normalise};

    /// Most distances are no less than was said, and few are much more.
    #[test]
    fn the_least_is_near_the_distance() {
        for dimensions in [64, 384, 1000] {
            let mut state = 11u64;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 40) as f32 / 16_777_216.0 - 0.5
            };
            let rotation = Rotation::new(dimensions);
            let padded = rotation.padded();
            let mut sketches = Sketches::new(padded);
            let mut codes = Vec::new();
            for _ in 0..200 {
                let v: Vec<f32> = (0..dimensions).map(|_| next()).collect();
                let v = rotation.apply(&normalise(&v, dimensions).unwrap());
                let (mut first, mut rest) = (vec![0; padded], vec![0; rest_bytes(padded)]);
                let (scale, _) = encode(&v, &mut first, &mut rest);
                sketches.push(&first, scale, 1.0, 0.0);
                codes.push((v, first, scale));
            }
            let mut query = SketchQuery::default();
            query.set(&codes[0].1, codes[0].2, 1.0, 0.0);
            let (mut below, mut gap) = (0, 0.0);
            for (row, (v, ..)) in (1u32..).zip(&codes[1..]) {
                let right: f32 = v.iter().zip(&codes[0].0).map(|(a, b)| (a - b).powi(2)).sum();
                let least = sketches.at_least(&query, row);
                below += i32::from(least <= right);
                gap += right - least;
            }
            // One standard deviation: 84 of 100 are on its right side.
            assert!((150..195).contains(&below), "{dimensions}: {below} of 199");
            let deviation = 2.0 * 0.76 / (dimensions as f32).sqrt();
            assert!((gap / 199.0) < 1.5 * deviation, "{dimensions}: {gap}");
        }
    }

    #[test]
    fn a_lift_is_one_more_coordinate() {
        let mut sketches = Sketches::new(64);
        let mut query = SketchQuery::default();
        sketches.push(&[1; 64], 0.125, 1.0, 3.0);
        query.set(&[1; 64], 0.125, 1.0, 1.0);
        let lifted = sketches.at_least(&query, 0);
        query.set(&[1; 64], 0.125, 1.0, 3.0);
        assert!((lifted - sketches.at_least(&query, 0) - 4.0).abs() < 1e-5);
    }
}
