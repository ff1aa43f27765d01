//! How well walks of a segment find what is near: measured when it is written, and asked by searches
//! that want a recall instead of a number of candidates.
//!
//! Some rows of the segment stand in for queries. Each is left out of its own search, as a result and
//! as a step on the way, so that the graph helps it no more than it helps a query that is new to it.
//! What is right is the order of all rows by their codes; a row as near as the last right one counts,
//! so that duplicates are no mistakes.

use super::Sealed;
use super::search::{Prepared, wide_enough};
use crate::error::Result;
use crate::index::graph::parallel;
use crate::index::{Among, Bitmap, Neighbour, with_spare};
use crate::vector::code::decode;

/// Numbers of candidates at which recall is known.
const LADDER: [usize; STEPS] = [32, 64, 128, 256, 512, 1024, 2048];
const STEPS: usize = 7;
/// Numbers of neighbours for which it is.
const TOP_K: [usize; 2] = [10, 100];
/// Bytes in the header: 16 bits each.
pub(super) const BYTES: usize = 2 * STEPS * TOP_K.len();
/// What 1 is stored as.
const WHOLE: f32 = 65_535.0;
/// From here on more candidates are not tried.
const ENOUGH: f32 = 0.9995;
/// Rows that stand in for queries, as a part of all and at the least and most.
const SAMPLE: (usize, usize, usize) = (512, 32, 128);
/// A graph that finds less than this with the most candidates is not worth walking.
const WORTH_WALKING: f32 = 0.9;

/// Recall by number of candidates, for 10 and for 100 neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recall([[f32; STEPS]; TOP_K.len()]);

impl Recall {
    pub(super) fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        let mut recall = Self([[0.0; STEPS]; TOP_K.len()]);
        let (numbers, _) = bytes.as_chunks::<2>();
        for (to, from) in recall.0.as_flattened_mut().iter_mut().zip(numbers) {
            *to = f32::from(u16::from_le_bytes(*from)) / WHOLE;
        }
        recall
    }

    pub(super) fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        for (to, from) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.0.as_flattened()) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "from 0 to 1"
            )]
            let number = (from * WHOLE).floor() as u16;
            *to = number.to_le_bytes();
        }
        bytes
    }

    pub(super) fn is_worth_walking(&self) -> bool {
        self.0[0][STEPS - 1] >= WORTH_WALKING
    }

    /// The number of candidates with which about `wanted` of the nearest `top_k` are found; none where
    /// no walk does that.
    pub(super) fn candidates(&self, wanted: f32, top_k: usize) -> Option<usize> {
        let [few, many] = [self.of(0, wanted)?, self.of(1, wanted)?];
        let top_k = top_k as f32;
        let [low, high] = TOP_K.map(|k| k as f32);
        let wide = if top_k <= low {
            few
        } else if top_k >= high {
            many * top_k / high
        } else {
            few + (many - few).max(0.0) * (top_k - low) / (high - low)
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small, positive"
        )]
        Some(wide.ceil() as usize)
    }

    /// Between two steps what is missed falls by the same part with every doubling.
    fn of(&self, kind: usize, wanted: f32) -> Option<f32> {
        let known = &self.0[kind];
        let at = known.iter().position(|recall| *recall >= wanted)?;
        if at == 0 {
            return Some(LADDER[0] as f32);
        }
        let missed = |recall: f32| (1.0 - recall).max(1.0 - ENOUGH).ln();
        let [above, below] = [missed(known[at - 1]), missed(known[at])];
        let part = if above > below { (above - missed(wanted)) / (above - below) } else { 1.0 };
        Some(LADDER[at - 1] as f32 * part.clamp(0.0, 1.0).exp2())
    }
}

impl Sealed {
    /// Searches for some of its own rows. It has a graph.
    pub(super) fn measure(&self, threads: usize) -> Result<Recall> {
        let rows = self.len();
        let (part, least, most) = SAMPLE;
        let count = (rows / part).clamp(least, most).min(rows);
        #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
        let sample: Vec<u32> = (0..count).map(|i| (i * rows / count) as u32).collect();
        let right: Vec<(u32, Prepared, Vec<Neighbour>)> =
            parallel(&sample, threads, |row, (): &mut ()| {
                let query = self.as_query(*row)?;
                let own = Bitmap::from_iter([self.ids()[*row as usize]]);
                let others = Among { dead: &own, allowed: None };
                let right = self.scan(&query, TOP_K[1], others)?;
                let right = self.closest(&query, TOP_K[1], right)?;
                Ok((*row, query, right))
            })
            .into_iter()
            .collect::<Result<_>>()?;
        let mut recall = Recall([[1.0; STEPS]; TOP_K.len()]);
        for (known, top_k) in recall.0.iter_mut().zip(TOP_K) {
            for (step, ef) in known.iter_mut().zip(LADDER) {
                let found = parallel(&right, threads, |(row, query, right), (): &mut ()| {
                    self.found_again(*row, query, &right[..top_k.min(right.len())], ef)
                });
                let found = found.into_iter().sum::<Result<f32>>()?;
                *step = found / count as f32;
                if *step >= ENOUGH {
                    break;
                }
            }
        }
        Ok(recall)
    }

    /// A row as a query.
    fn as_query(&self, row: u32) -> Result<Prepared> {
        let mut rotated = vec![0.0; self.shape.padded];
        let code = self.code(self.row(row)?);
        decode(code.scale, code.first, code.rest, &mut rotated);
        Ok(Prepared::of_rotated(rotated))
    }

    /// The part of `right` that a walk finds without `row`.
    fn found_again(
        &self,
        row: u32,
        query: &Prepared,
        right: &[Neighbour],
        ef: usize,
    ) -> Result<f32> {
        let Some(last) = right.last() else { return Ok(1.0) };
        let keep = with_spare(right.len());
        let (ef, mut visits) = (wide_enough(ef, keep), usize::MAX);
        let rough = self.walk(query, keep, ef, Some(row), &mut visits, |r| r != row)?;
        let close = self.closest(query, right.len(), rough)?;
        let hits = close.iter().filter(|n| n.distance <= last.distance).count();
        Ok(hits as f32 / right.len() as f32)
    }
}
