//! Searching a segment: the walk, comparing with all, and the exact answer.

use super::Sealed;
use crate::error::Result;
use crate::index::exact::Best;
use crate::index::frontier::{Frontier, Seen};
use crate::index::{Bitmap, Effort, Neighbour};
use crate::vector::code::QueryCode;
use crate::vector::fastscan::{Found, Table, estimate};
use crate::vector::{Rotation, prefetch};
use std::cell::RefCell;

/// How many candidates are compared once more by whole codes to get `limit`.
pub(super) fn with_spare(limit: usize) -> usize {
    limit.saturating_add(limit / 4 + 6)
}

/// Where a recall is wanted, no fewer candidates than this: queries that are less like the points than
/// the points are like each other need more than a small segment's own rows do.
const CANDIDATES: usize = 128;

/// Walks that come back short, each twice as wide, before all rows are compared.
const WALKS: usize = 5;

thread_local! {
    /// What a walk uses, kept between searches of this thread.
    static WALK: RefCell<(Seen, Frontier, Found)> = RefCell::default();
}

/// A query as segments read it.
pub(in crate::index) struct Prepared {
    code: QueryCode,
    table: Table,
}

impl Prepared {
    pub(in crate::index) fn new(query: &[f32], rotation: &Rotation) -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the same with wider registers")]
            // SAFETY: this processor has them.
            return unsafe { Self::wide(query, rotation) };
        }
        Self::plain(query, rotation)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn wide(query: &[f32], rotation: &Rotation) -> Self {
        Self::plain(query, rotation)
    }

    #[inline(always)]
    fn plain(query: &[f32], rotation: &Rotation) -> Self {
        Self::of_rotated(&rotation.apply(query))
    }

    #[inline(always)]
    pub(super) fn of_rotated(rotated: &[f32]) -> Self {
        Self { code: QueryCode::new(rotated), table: Table::new(rotated) }
    }
}

impl Sealed {
    /// Adds the best `limit` points that are found to `best`, at distances by their codes.
    pub(in crate::index) fn search(
        &self,
        query: &Prepared,
        best: &mut Best,
        limit: usize,
        effort: Effort,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) -> Result<()> {
        let rough = match self.walked(query, limit, effort, dead, allowed)? {
            Some(walked) => walked,
            None => self.scan(query, limit, dead, allowed)?,
        };
        best.extend(self.closest(query, limit, rough)?.into_iter().map(|n| self.named(n)));
        Ok(())
    }

    /// The best rows by rough distance, more than `limit`, of all that are allowed.
    pub(super) fn scan(
        &self,
        query: &Prepared,
        limit: usize,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<Neighbour>> {
        let mut near = Best::new(with_spare(limit));
        self.each(query, dead, allowed, |rough| near.push(rough))?;
        Ok(near.into_sorted())
    }

    /// The best `limit` of these rows, by whole codes.
    pub(super) fn closest(
        &self,
        query: &Prepared,
        limit: usize,
        rough: Vec<Neighbour>,
    ) -> Result<Vec<Neighbour>> {
        let mut close = Best::new(limit);
        let mut scratch = vec![0; self.shape.padded];
        for Neighbour { id: row, .. } in rough {
            close.push(self.closely(query, row, &mut scratch)?);
        }
        Ok(close.into_sorted())
    }

    /// What walks of the graph find of `limit` points; none where comparing with all is better, or
    /// they come back short, or find less than is wanted.
    pub(in crate::index) fn walked(
        &self,
        query: &Prepared,
        limit: usize,
        effort: Effort,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) -> Result<Option<Vec<Neighbour>>> {
        let selected = self.selected(dead, allowed);
        if !self.shape.graph || crate::index::segments::scan_is_better(selected, self.len()) {
            return Ok(None);
        }
        let ef = match effort {
            Effort::Candidates(ef) => Some(ef),
            Effort::Recall(wanted) => {
                self.recall.candidates(wanted, limit).map(|ef| ef.max(CANDIDATES))
            }
        };
        let Some(ef) = ef else { return Ok(None) };
        let keep = with_spare(limit);
        // A row that several neighbours lead to is one of the `ef` each time. To count it once costs
        // a tenth of the speed at the same recall.
        let mut ef = ef.max(keep.saturating_add(keep / 2));
        for _ in 0..WALKS {
            let found = if selected == self.len() {
                self.walk(query, keep, ef, None, |_| true)?
            } else {
                let ids = self.ids();
                let may = |row: u32| {
                    let id = ids[row as usize];
                    !dead.contains(id) && allowed.is_none_or(|a| a.contains(id))
                };
                self.walk(query, keep, ef, None, may)?
            };
            if found.len() >= limit.min(selected) {
                return Ok(Some(found));
            }
            ef = ef.saturating_mul(2);
        }
        Ok(None)
    }

    /// The points that may be among the best `limit`; no other is as near as the farthest of these.
    pub(in crate::index) fn search_exact(
        &self,
        query: &Prepared,
        limit: usize,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<u32>> {
        // In halves of squared distances, as `Neighbour` has them; the last term is for rounding.
        let slack = self.error.first + 1.01 * query.code.error() + 1e-4;
        let mut all = Vec::new();
        self.each(query, dead, allowed, |rough| all.push(rough))?;
        let near = within(all, limit, 2.0 * slack);
        let mut scratch = vec![0; self.shape.padded];
        let close: Vec<Neighbour> = near
            .into_iter()
            .map(|n| self.closely(query, n.id, &mut scratch))
            .collect::<Result<_>>()?;
        let ids = self.ids();
        let slack = self.error.both + query.code.error() * (self.error.first + 0.01) + 1e-5;
        let near = within(close, limit, 2.0 * slack);
        Ok(near.into_iter().map(|n| ids[n.id as usize]).collect())
    }

    fn named(&self, neighbour: Neighbour) -> Neighbour {
        Neighbour { id: self.ids()[neighbour.id as usize], ..neighbour }
    }

    /// Half the squared distance by first levels: for unit vectors the cosine distance.
    #[inline]
    fn roughly(&self, query: &Prepared, bytes: &[u8]) -> f32 {
        let code = self.code(bytes);
        (0.5 * query.code.roughly(code.scale, code.square, code.first)).max(0.0)
    }

    /// The same by whole codes.
    fn closely(&self, query: &Prepared, row: u32, scratch: &mut [i8]) -> Result<Neighbour> {
        let code = self.code(self.row(row)?);
        let parts = (code.first, code.rest);
        let squared = query.code.closely(code.scale, code.square, parts, scratch);
        Ok(Neighbour { id: row, distance: (0.5 * squared).max(0.0) })
    }

    /// Gives every allowed row, with its rough distance, to `see`.
    fn each(
        &self,
        query: &Prepared,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
        mut see: impl FnMut(Neighbour),
    ) -> Result<()> {
        let ids = self.ids();
        let mut at = |row: usize| -> Result<()> {
            #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
            let row = row as u32;
            see(Neighbour { id: row, distance: self.roughly(query, self.row(row)?) });
            Ok(())
        };
        if let Some(allowed) = allowed.filter(|a| a.len() < ids.len() as u64 / 4) {
            let picked = allowed.iter().filter(|id| !dead.contains(*id));
            return picked.filter_map(|id| ids.binary_search(&id).ok()).try_for_each(at);
        }
        for (row, id) in ids.iter().enumerate() {
            if !dead.contains(*id) && allowed.is_none_or(|a| a.contains(*id)) {
                at(row)?;
            }
        }
        Ok(())
    }

    fn selected(&self, dead: &Bitmap, allowed: Option<&Bitmap>) -> usize {
        if dead.is_empty() && allowed.is_none() {
            return self.len();
        }
        let may = |id: &&u32| !dead.contains(**id) && allowed.is_none_or(|a| a.contains(**id));
        self.ids().iter().filter(may).count()
    }

    /// Best-first search of the graph until `ef` rows that `may` be returned are nearer than all that
    /// is open; the others are walked through. The best `keep` rows by rough distance, best first.
    ///
    /// A visited row gives its own distance and estimates for its neighbours. The next row is chosen,
    /// and asked for, before the present one is worked on: the walk waits on memory more than it
    /// computes. `without` is a row that is not even walked through.
    pub(in crate::index) fn walk(
        &self,
        query: &Prepared,
        keep: usize,
        ef: usize,
        without: Option<u32>,
        may: impl Fn(u32) -> bool,
    ) -> Result<Vec<Neighbour>> {
        WALK.with_borrow_mut(|(seen, frontier, found)| {
            seen.clear(self.len());
            let mut best = Best::new(keep);
            let start = self.roughly(query, self.row(self.entry)?);
            frontier.clear(2.0 * start, ef);
            for &lost in self.unreached() {
                let distance = self.roughly(query, self.row(lost)?);
                frontier.offer(lost, 2.0 * distance, may(lost));
            }
            if let Some(row) = without {
                seen.insert(row);
            }
            let mut present = Some(self.entry);
            seen.insert(self.entry);
            while let Some(row) = present {
                let mut following =
                    std::iter::from_fn(|| frontier.next()).find(|r| seen.insert(*r));
                if let Some(next) = following {
                    prefetch(&self.bytes(next)[..self.shape.hot()]);
                }
                let bytes = self.row(row)?;
                let distance = self.roughly(query, bytes);
                if may(row) {
                    best.push(Neighbour { id: row, distance });
                }
                estimate(
                    &query.table,
                    self.neighbours(bytes),
                    2.0 * distance,
                    frontier.bound(),
                    found,
                );
                for (row, estimate) in found.iter() {
                    if !seen.contains(row) {
                        frontier.offer(row, estimate, may(row));
                    }
                }
                if following.is_none() {
                    following = std::iter::from_fn(|| frontier.next()).find(|r| seen.insert(*r));
                }
                present = following;
            }
            Ok(best.into_sorted())
        })
    }
}

/// Those that are no farther than `slack` beyond the `limit`-th nearest.
fn within(mut all: Vec<Neighbour>, limit: usize, slack: f32) -> Vec<Neighbour> {
    if limit == 0 {
        return Vec::new();
    }
    if limit < all.len() {
        let (_, worst, _) = all.select_nth_unstable(limit - 1);
        let bound = worst.distance + slack;
        all.retain(|n| n.distance <= bound);
    }
    all
}
