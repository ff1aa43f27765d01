//! Distances to 32 neighbours in one pass over their one-bit codes.
//!
//! After RaBitQ (Gao and Long, SIGMOD 2024) and SymphonyQG (Gou, SIGMOD 2025): a neighbour is known
//! by the signs of its difference to the vertex, after a random rotation. For a query q, a vertex u
//! and a neighbour v with r = v − u and signs o of r,
//!
//! ```text
//! |q − v|² ≈ |q − u|² + |r|² − 2·(|r|²/|r|₁)·⟨o, q − u⟩
//! ```
//!
//! where |r|₁ is the sum of absolute values. What depends on u and v alone is stored as `add` and
//! `mul`; ⟨o, q⟩ is looked up, four signs at a time, in a table of the query (André 2015).
//!
//! Largest products are found as nearest neighbours on a sphere: with one more coordinate, h_x with
//! |x|² + h_x² = M², every row has length M, and |q − x|² = |q|² + M² − 2⟨q, x⟩ for a query whose own
//! is 0 (Bachrach 2014; Neyshabur and Srebro 2015). Of that only ⟨q, r⟩ differs between u and v:
//!
//! ```text
//! |q' − v'|² ≈ |q' − u'|² − 2⟨u, r⟩ − 2·(|r|²/|r|₁)·⟨o, q − u⟩
//! ```
//!
//! so that nothing more is stored, and what is stored is of the size of r: h_v² beside it would take
//! the few bits that a factor has.
//!
//! ```text
//! size          field of a block, for d padded dimensions
//! 4·d           signs: for each 4 dimensions 16 bytes; byte j has the signs of neighbour j in its
//!               low half and those of neighbour j + 16 in its high half, 1 for positive
//! 64            add: bfloat16 for each neighbour
//! 64            mul: bfloat16 for each neighbour
//! 96            rows of the neighbours, 24 bits each
//! ```

#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::Metric;
use std::sync::LazyLock;

/// Neighbours in a block. One that is missing has the row of the vertex and an infinite `add`.
pub(crate) const DEGREE: usize = 32;
/// Rows fit 24 bits.
pub(crate) const MAX_ROWS: usize = 1 << 24;
/// Dimensions that are worked on together.
const LANES: usize = 16;
/// Steps of the table: four of them still fit a byte.
const STEPS: f32 = 63.0;
const FACTOR_BYTES: usize = 2 * DEGREE;
const ROW_BYTES: usize = 3 * DEGREE;

/// Bytes of a block.
pub(crate) fn block_bytes(padded: usize) -> usize {
    4 * padded + 2 * FACTOR_BYTES + ROW_BYTES
}

/// A block in its parts.
#[derive(Clone, Copy)]
struct Block<'a> {
    signs: &'a [u8],
    add: &'a [u8; FACTOR_BYTES],
    mul: &'a [u8; FACTOR_BYTES],
    rows: &'a [u8; ROW_BYTES],
}

impl<'a> Block<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (rest, rows) = bytes.split_last_chunk()?;
        let (rest, mul) = rest.split_last_chunk()?;
        let (signs, add) = rest.split_last_chunk()?;
        Some(Self { signs, add, mul, rows })
    }

    fn row(&self, neighbour: usize) -> u32 {
        let at = 3 * neighbour;
        u32::from_le_bytes([self.rows[at], self.rows[at + 1], self.rows[at + 2], 0])
    }

    fn factor(factors: &[u8; FACTOR_BYTES], neighbour: usize) -> f32 {
        let at = 2 * neighbour;
        f32::from_bits(u32::from(u16::from_le_bytes([factors[at], factors[at + 1]])) << 16)
    }
}

/// Writes the block of `vertex` and its at most 32 neighbours; `row` is the vertex's own. Estimates
/// are of products on a sphere where `metric` is [`Metric::Dot`], else of squared distances.
pub(crate) fn write_block<'v>(
    row: u32,
    vertex: &[f32],
    neighbours: impl IntoIterator<Item = (u32, &'v [f32])>,
    metric: Metric,
    out: &mut [u8],
) {
    let (signs, rest) = out.split_at_mut(4 * vertex.len());
    let (add, rest) = rest.split_at_mut(FACTOR_BYTES);
    let (mul, rows) = rest.split_at_mut(FACTOR_BYTES);
    signs.fill(0);
    let mut put = |j: usize, to: u32, a: f32, m: f32| {
        add[2 * j..2 * j + 2].copy_from_slice(&bfloat(a).to_le_bytes());
        mul[2 * j..2 * j + 2].copy_from_slice(&bfloat(m).to_le_bytes());
        rows[3 * j..3 * j + 3].copy_from_slice(&to.to_le_bytes()[..3]);
    };
    let mut used = 0;
    for (j, (to, neighbour)) in neighbours.into_iter().take(DEGREE).enumerate() {
        let shift = if j < 16 { 0 } else { 4 };
        // Sums in lanes, so that the compiler can use registers as wide as there are.
        let (mut square, mut sum, mut along) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let mut product = [0f32; LANES];
        let mut positive = [0u8; LANES];
        let parts = vertex.as_chunks::<LANES>().0.iter().zip(neighbour.as_chunks::<LANES>().0);
        for ((u, v), bytes) in parts.zip(signs.chunks_exact_mut(4 * LANES)) {
            for i in 0..LANES {
                let r = v[i] - u[i];
                square[i] += r * r;
                product[i] += u[i] * r;
                sum[i] += r.abs();
                along[i] += if r > 0.0 { u[i] } else { -u[i] };
                positive[i] = u8::from(r > 0.0);
            }
            let quads = positive.as_chunks::<4>().0.iter().zip(bytes.as_chunks_mut::<16>().0);
            for ([a, b, c, d], bytes) in quads {
                bytes[j % 16] |= (a | b << 1 | c << 2 | d << 3) << shift;
            }
        }
        let [square, sum, along, product] =
            [square, sum, along, product].map(|lanes| lanes.iter().sum::<f32>());
        let m = if sum > 0.0 { 2.0 * square / sum } else { 0.0 };
        let own = if metric == Metric::Dot { -2.0 * product } else { square };
        put(j, to, own + m * along, m);
        used = j + 1;
    }
    for j in used..DEGREE {
        put(j, row, f32::INFINITY, 0.0);
    }
}

/// The nearest bfloat16.
fn bfloat(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_finite() {
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    } else {
        (bits >> 16) as u16
    }
}

/// What a query has to do with every combination of four signs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// For each 4 dimensions 16 sums in steps of `step`, above the least of them.
    sums: Vec<u8>,
    /// ⟨o, q⟩ is `step` times what was looked up, plus `least`.
    step: f32,
    least: f32,
}

impl Table {
    #[cfg(test)]
    fn new(query: &[f32]) -> Self {
        let mut table = Self::default();
        table.set(query);
        table
    }

    /// Takes another query, rotated.
    #[inline(always)]
    pub(crate) fn set(&mut self, query: &[f32]) {
        let quads = query.as_chunks::<4>().0;
        // Between all signs negative and all signs those of the query lies twice the sum.
        let widest = quads
            .iter()
            .map(|quad| 2.0 * quad.iter().map(|x| x.abs()).sum::<f32>())
            .fold(f32::MIN_POSITIVE, f32::max);
        let step = widest / STEPS;
        self.sums.clear();
        for quad in quads {
            let negative: f32 = quad.iter().map(|x| 2.0 * x.min(0.0)).sum();
            // Each combination adds one positive sign to one that is there already.
            let mut all = [-negative; 16];
            for i in 1..16usize {
                let last = i.trailing_zeros() as usize;
                all[i] = all[i & (i - 1)] + 2.0 * quad[last];
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to 63"
            )]
            self.sums.extend(all.map(|sum| (sum / step + 0.5) as u8));
        }
        // A sum is twice the positive signs' elements minus all; the least has only negative ones.
        self.least = quads.iter().flatten().map(|x| 2.0 * x.min(0.0) - x).sum();
        self.step = step;
    }

    /// The table of the same query, `times` as long.
    #[inline]
    pub(crate) fn scaled(&self, times: f32) -> Lookup<'_> {
        Lookup { sums: &self.sums, step: self.step * times, least: self.least * times }
    }
}

/// A table as kernels read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup<'a> {
    sums: &'a [u8],
    step: f32,
    least: f32,
}

/// Neighbours whose estimate is below a bound.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    rows: [u32; DEGREE],
    estimates: [f32; DEGREE],
    len: usize,
}

impl Default for Found {
    fn default() -> Self {
        Self { rows: [0; DEGREE], estimates: [0.0; DEGREE], len: 0 }
    }
}

impl Found {
    /// Rows and estimates, in the order of the block.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        self.rows.iter().copied().zip(self.estimates).take(self.len)
    }
}

type Estimate = fn(Lookup<'_>, Block<'_>, f32, f32, &mut Found);

/// The kernels that this processor can run, the fastest first.
fn kernels() -> Vec<Estimate> {
    let mut kernels: Vec<Estimate> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    kernels.extend(x86::all());
    #[cfg(target_arch = "aarch64")]
    kernels.extend(neon::all());
    kernels.push(plain::estimate);
    kernels
}

static ESTIMATE: LazyLock<Estimate> =
    LazyLock::new(|| kernels().into_iter().next().unwrap_or(plain::estimate));

/// Estimates the squared distances of a query to the neighbours in `block`, a whole one, of a vertex
/// that is at squared `distance`, and puts those below `bound` into `found`.
#[inline]
pub(crate) fn estimate(
    table: Lookup<'_>,
    block: &[u8],
    distance: f32,
    bound: f32,
    found: &mut Found,
) {
    found.len = 0;
    if let Some(block) = Block::new(block) {
        ESTIMATE(table, block, distance, bound, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Rotation, normalise};
    use proptest::prelude::*;

    fn vectors(count: usize, dimensions: usize, seed: u64) -> Vec<Vec<f32>> {
        let mut state = seed | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        let rotation = Rotation::new(dimensions);
        (0..count)
            .map(|_| {
                let v: Vec<f32> = (0..dimensions).map(|_| next()).collect();
                rotation.apply(&normalise(&v, dimensions).unwrap())
            })
            .collect()
    }

    fn block(points: &[Vec<f32>], neighbours: usize, metric: Metric) -> Vec<u8> {
        let mut block = vec![0xaa; block_bytes(points[0].len())];
        let others = (1u32..).zip(&points[1..=neighbours]).map(|(row, v)| (row, v.as_slice()));
        write_block(0, &points[0], others, metric, &mut block);
        block
    }

    /// The formulas at the top, in f64, from the vectors themselves; `from_vertex` is what the vertex
    /// itself is at.
    fn by_formula(
        query: &[f32],
        vertex: &[f32],
        neighbour: &[f32],
        from_vertex: f64,
        metric: Metric,
    ) -> f64 {
        let sum = |f: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
            let each = query.iter().zip(vertex).zip(neighbour);
            each.map(|((q, u), v)| f(f64::from(*q), f64::from(*u), f64::from(*v))).sum()
        };
        let square = sum(&|_, u, v| (v - u).powi(2));
        let absolute = sum(&|_, u, v| (v - u).abs());
        let along = sum(&|q, u, v| if v > u { q - u } else { u - q });
        let product = sum(&|_, u, v| u * (v - u));
        let own = if metric == Metric::Dot { -2.0 * product } else { square };
        from_vertex + own - 2.0 * square / absolute * along
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_kernel_gives_the_formula(
            dimensions in 2usize..1100,
            seed in any::<u64>(),
            used in 1usize..=32,
            metric in proptest::sample::select(Metric::ALL.as_slice()),
        ) {
            let points = vectors(34, dimensions, seed);
            let query = &points[33];
            let block = block(&points, used, metric);
            let rows: Vec<u32> = (0..used).map(|j| Block::new(&block).unwrap().row(j)).collect();
            prop_assert_eq!(rows, (1..).take(used).collect::<Vec<u32>>());
            let table = Table::new(query);
            let table = table.scaled(1.0);
            let distance: f32 = query.iter().zip(&points[0]).map(|(a, b)| (a - b).powi(2)).sum();
            let parts = Block::new(&block).unwrap();
            let mut found = Found::default();
            plain::estimate(table, parts, distance, f32::INFINITY, &mut found);
            let all: Vec<(u32, f32)> = found.iter().collect();
            prop_assert_eq!(all.len(), used);
            for (row, estimate) in &all {
                let neighbour = &points[*row as usize];
                let right = by_formula(query, &points[0], neighbour, distance.into(), metric).max(0.0);
                // Steps of the table and of bfloat16.
                prop_assert!((f64::from(*estimate) - right).abs() < 0.06, "{estimate} {right}");
            }
            for kernel in kernels() {
                for bound in [f32::INFINITY, all[0].1, 0.0] {
                    let mut found = Found::default();
                    kernel(table, parts, distance, bound, &mut found);
                    // The same sums; fused multiplications may round once less.
                    let near: Vec<(u32, f32)> = found.iter().collect();
                    for (row, estimate) in &near {
                        let (_, plain) = all.iter().find(|(r, _)| r == row).unwrap();
                        prop_assert!((plain - estimate).abs() < 1e-4, "{plain} {estimate}");
                    }
                    let sure = all.iter().filter(|(_, e)| *e < bound - 1e-4);
                    for (row, _) in sure {
                        prop_assert!(near.iter().any(|(r, _)| r == row));
                    }
                    prop_assert!(near.iter().all(|(_, e)| *e < bound));
                }
            }
        }
    }

    /// What the paper promises: the error of an estimate shrinks with the root of the dimensions.
    #[test]
    fn estimates_are_close_to_distances() {
        let metrics = [Metric::Euclidean, Metric::Dot];
        for (dimensions, metric) in
            [64, 384, 1024].into_iter().flat_map(|d| metrics.map(|m| (d, m)))
        {
            let points = vectors(34, dimensions, 5);
            let block = block(&points, 32, metric);
            let mut squares = 0.0;
            for query in &vectors(50, dimensions, 9) {
                let of = |v: &[f32]| query.iter().zip(v).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
                let mut found = Found::default();
                let table = Table::new(query);
                estimate(table.scaled(1.0), &block, of(&points[0]), f32::INFINITY, &mut found);
                squares +=
                    found.iter().map(|(r, e)| (e - of(&points[r as usize])).powi(2)).sum::<f32>();
            }
            let error = (squares / (50.0 * 32.0)).sqrt();
            // Lengths of r and of q − u are √2; 0.76 is √(π/2 − 1) of RaBitQ's error.
            let promised = 2.0 * 2.0 * 0.76 / (dimensions as f32).sqrt();
            assert!(error < 1.15 * promised, "{dimensions}: {error} of {promised}");
        }
    }

    #[test]
    fn odd_input_gives_odd_answers_but_no_panic() {
        let mut found = Found::default();
        estimate(Table::new(&[0.0; 64]).scaled(1.0), &[], 0.0, f32::INFINITY, &mut found);
        assert_eq!(found.iter().count(), 0);
        let points = vec![vec![0.5; 64]; 3];
        let block = block(&points, 2, Metric::Cosine);
        estimate(Table::new(&points[0]).scaled(1.0), &block, 0.0, f32::INFINITY, &mut found);
        assert!(found.iter().all(|(_, e)| e.abs() < 1e-3));
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            estimate(Table::new(&[odd; 64]).scaled(1.0), &block, odd, f32::INFINITY, &mut found);
        }
    }

    /// A query twice as long, by its own table and by that of the query.
    #[test]
    fn a_table_can_be_of_a_longer_query() {
        let points = vectors(34, 96, 7);
        let block = block(&points, 32, Metric::Dot);
        let long: Vec<f32> = points[33].iter().map(|x| 2.0 * x).collect();
        let (mut one, mut other) = (Found::default(), Found::default());
        estimate(Table::new(&points[33]).scaled(2.0), &block, 9.0, f32::INFINITY, &mut one);
        estimate(Table::new(&long).scaled(1.0), &block, 9.0, f32::INFINITY, &mut other);
        assert!(one.iter().zip(other.iter()).all(|(a, b)| (a.1 - b.1).abs() < 1e-4));
    }
}
