//! One bit an element: a distance to within some percent from a single cache line, to tell which
//! distances are worth knowing better.
//!
//! The estimate of RaBitQ (Gao and Long, SIGMOD 2024) as in `fastscan`, of vectors instead of
//! differences, with the error that the paper promises for it. Graphs are built with it.

use std::sync::LazyLock;

const WORD: usize = 64;
/// Words of a cache line.
const LINE: usize = 8;
/// Bits of an element of the query, and one for every sign that is there.
const PLANES: usize = 5;
/// What a sign counts in each plane: an element is `scale` times (16·n − 120), n from 0 to 15.
const WEIGHTS: [i64; PLANES] = [16, 32, 64, 128, -120];

/// A cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; LINE]);

impl Line {
    /// Lines that stand in `bytes` at a multiple of 64.
    #[inline]
    pub(crate) fn from_bytes(bytes: &[u8]) -> &[Self] {
        #[expect(unsafe_code, reason = "there is no safe cast")]
        // SAFETY: a line is eight words, which any bits may be.
        let (_, lines, _) = unsafe { bytes.align_to() };
        lines
    }

    pub(crate) fn to_bytes(self) -> impl Iterator<Item = [u8; 8]> {
        self.0.into_iter().map(u64::to_le_bytes)
    }
}

/// Lines of a sketch of `padded` elements: their signs, then the two words of the factors.
pub(crate) fn lines(padded: usize) -> usize {
    (padded / WORD + 2).div_ceil(LINE)
}

/// Bytes of the same.
pub(crate) fn bytes(padded: usize) -> usize {
    lines(padded) * size_of::<Line>()
}

/// Writes the sketch of a row, given the first level of its code, the scale, the squared length
/// without the lift, and the lift.
///
/// A lift is one more coordinate, which codes do not have: graphs for products stand rows on a sphere
/// by it. Elsewhere it is 0.
pub(crate) fn write(first: &[i8], scale: f32, square: f32, lift: f32, out: &mut [Line]) {
    let mut sum = 0u32;
    for (at, elements) in first.as_chunks::<WORD>().0.iter().enumerate() {
        let mut word = 0;
        for (i, element) in elements.iter().enumerate() {
            word |= u64::from(*element > 0) << i;
            sum += u32::from(element.unsigned_abs());
        }
        out[at / LINE].0[at % LINE] = word;
    }
    // |x|² / |x|₁, and the error of a product with a unit vector.
    let absolute = (sum as f32 * scale).max(f32::MIN_POSITIVE);
    let dimensions = first.len() as f32;
    let straight = (dimensions * square / (absolute * absolute) - 1.0).max(0.0);
    let error = (square * straight / (dimensions - 1.0)).sqrt();
    let words = first.len() / WORD;
    for (at, [high, low]) in [(words, [square / absolute, error]), (words + 1, [lift, square])] {
        out[at / LINE].0[at % LINE] = u64::from(high.to_bits()) << 32 | u64::from(low.to_bits());
    }
}

/// A row that is compared with others.
#[derive(Debug, Default)]
pub(crate) struct SketchQuery {
    /// For each line of signs the bits of the elements there, by value, and where signs are.
    planes: Vec<[Line; PLANES]>,
    words: usize,
    scale: f32,
    sum: f32,
    square: f32,
    /// What an error of 1 comes to.
    slack: f32,
    lift: f32,
}

impl SketchQuery {
    /// Takes the first level of a code, its scale, squared length and lift.
    pub(crate) fn set(&mut self, first: &[i8], scale: f32, square: f32, lift: f32) {
        let mut sum = 0;
        self.planes.clear();
        self.planes.resize(lines(first.len()), [Line::default(); PLANES]);
        for (at, elements) in first.as_chunks::<WORD>().0.iter().enumerate() {
            let planes = &mut self.planes[at / LINE];
            for (i, element) in elements.iter().enumerate() {
                let step = (i16::from(*element) + 128) / 16;
                sum += 16 * i32::from(step) - 120;
                for (bit, plane) in planes[..PLANES - 1].iter_mut().enumerate() {
                    plane.0[at % LINE] |= u64::from(step >> bit & 1 == 1) << i;
                }
            }
            planes[PLANES - 1].0[at % LINE] = u64::MAX;
        }
        self.words = first.len() / WORD;
        (self.scale, self.sum, self.square) = (scale, sum as f32, square);
        (self.slack, self.lift) = (square.sqrt(), lift);
    }

    /// Lets what is said be wrong by so many standard deviations instead of one.
    pub(crate) fn allow(&mut self, deviations: f32) {
        self.slack *= deviations;
    }

    /// The least that the squared distance to the row of this sketch is likely to be.
    #[inline]
    pub(crate) fn at_least(&self, sketch: &[Line]) -> f32 {
        let [lift, square] = halves(sketch, self.words + 1);
        let lift = self.lift - lift;
        self.square + square - 2.0 * self.product_at_most(sketch) + lift * lift
    }

    /// The most that the product with that row is likely to be, without lifts.
    #[inline]
    pub(crate) fn product_at_most(&self, sketch: &[Line]) -> f32 {
        let positive = COUNT(sketch, &self.planes) as f32;
        let product = self.scale * (2.0 * positive - self.sum);
        let [factor, error] = halves(sketch, self.words);
        factor * product + error * self.slack
    }
}

/// The two numbers in a word.
#[inline]
fn halves(sketch: &[Line], at: usize) -> [f32; 2] {
    let word = sketch[at / LINE].0[at % LINE];
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    [(word >> 32) as u32, word as u32].map(f32::from_bits)
}

/// Sketches in memory, by row.
#[derive(Debug)]
pub(crate) struct Sketches {
    /// Of a row.
    stride: usize,
    lines: Vec<Line>,
}

impl Sketches {
    /// For rows of `padded` elements.
    pub(crate) fn new(padded: usize) -> Self {
        Self { stride: lines(padded), lines: Vec::new() }
    }

    /// Adds a row, as [`write`] does.
    pub(crate) fn push(&mut self, first: &[i8], scale: f32, square: f32, lift: f32) {
        let start = self.lines.len();
        self.lines.resize(start + self.stride, Line::default());
        write(first, scale, square, lift, &mut self.lines[start..]);
    }

    #[inline]
    pub(crate) fn get(&self, row: u32) -> &[Line] {
        &self.lines[row as usize * self.stride..][..self.stride]
    }

    /// Asks for a row before it is needed.
    #[inline]
    pub(crate) fn prefetch(&self, row: u32) {
        super::prefetch(self.get(row));
    }
}

/// The signs that are positive in each plane, by their weights.
type Count = fn(&[Line], &[[Line; PLANES]]) -> i64;

static COUNT: LazyLock<Count> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    if let Some(count) = x86::all().into_iter().next() {
        return count;
    }
    count
});

#[inline(always)]
fn count(signs: &[Line], planes: &[[Line; PLANES]]) -> i64 {
    let mut sum = 0;
    for (signs, planes) in signs.iter().zip(planes) {
        for (plane, weight) in planes.iter().zip(WEIGHTS) {
            let ones: u32 = signs.0.iter().zip(plane.0).map(|(a, b)| (a & b).count_ones()).sum();
            sum += weight * i64::from(ones);
        }
    }
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Count, LINE, Line, PLANES, WEIGHTS};
    use std::arch::x86_64::{
        __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512, _mm512_mullo_epi64,
        _mm512_popcnt_epi64, _mm512_reduce_add_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    };

    /// Every kernel that this processor can run, the fastest first.
    pub(super) fn all() -> Vec<Count> {
        let mut kernels: Vec<Count> = Vec::new();
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vpopcntdq")
        {
            kernels.push(|signs, planes| {
                #[expect(unsafe_code, reason = "a kernel for processors that count wide words")]
                // SAFETY: this one does.
                unsafe {
                    wide(signs, planes)
                }
            });
        }
        if is_x86_feature_detected!("popcnt") {
            kernels.push(|signs, planes| {
                #[expect(unsafe_code, reason = "a kernel for processors that count bits")]
                // SAFETY: this one does.
                unsafe {
                    narrow(signs, planes)
                }
            });
        }
        kernels
    }

    #[target_feature(enable = "popcnt")]
    fn narrow(signs: &[Line], planes: &[[Line; PLANES]]) -> i64 {
        super::count(signs, planes)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(words: &[u64; LINE]) -> __m512i {
        #[expect(unsafe_code, reason = "there is no safe load")]
        // SAFETY: 64 bytes are there, and the load asks for no alignment.
        unsafe {
            _mm512_loadu_si512(words.as_ptr().cast())
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512vpopcntdq")]
    fn wide(signs: &[Line], planes: &[[Line; PLANES]]) -> i64 {
        let mut sum = _mm512_setzero_si512();
        for (signs, planes) in signs.iter().zip(planes) {
            let signs = load(&signs.0);
            for (plane, weight) in planes.iter().zip(WEIGHTS) {
                let ones = _mm512_popcnt_epi64(_mm512_and_si512(signs, load(&plane.0)));
                let weight = _mm512_set1_epi64(weight);
                sum = _mm512_add_epi64(sum, _mm512_mullo_epi64(ones, weight));
            }
        }
        _mm512_reduce_add_epi64(sum)
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
                let least = query.at_least(sketches.get(row));
                below += i32::from(least <= right);
                gap += right - least;
            }
            // One standard deviation: 84 of 100 are on its right side.
            assert!((150..195).contains(&below), "{dimensions}: {below} of 199");
            let deviation = 2.0 * 0.76 / (dimensions as f32).sqrt();
            assert!((gap / 199.0) < 1.5 * deviation, "{dimensions}: {gap}");
        }
    }

    /// Every kernel against the plain one, bit for bit.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn kernels_agree() {
        let mut state = 5u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Line([0, 7, 14, 21, 28, 35, 42, 49].map(|by| state.rotate_left(by)))
        };
        for lines in 1..10 {
            let signs: Vec<Line> = (0..lines).map(|_| next()).collect();
            let planes: Vec<[Line; PLANES]> =
                (0..lines).map(|_| std::array::from_fn(|_| next())).collect();
            for kernel in x86::all() {
                assert_eq!(kernel(&signs, &planes), count(&signs, &planes));
            }
        }
    }

    #[test]
    fn a_lift_is_one_more_coordinate() {
        let mut sketches = Sketches::new(64);
        let mut query = SketchQuery::default();
        sketches.push(&[1; 64], 0.125, 1.0, 3.0);
        query.set(&[1; 64], 0.125, 1.0, 1.0);
        let lifted = query.at_least(sketches.get(0));
        query.set(&[1; 64], 0.125, 1.0, 3.0);
        assert!((lifted - query.at_least(sketches.get(0)) - 4.0).abs() < 1e-5);
    }
}
