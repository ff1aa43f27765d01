//! Searching a segment: the walk, comparing with all, and the exact answer.

use super::Sealed;
use crate::error::Result;
use crate::index::codes::Code;
use crate::index::exact::Best;
use crate::index::frontier::{Frontier, Seen};
use crate::index::{Among, Bitmap, Effort, Neighbour, with_spare};
use crate::vector::code::{CodeError, QueryCode};
use crate::vector::fastscan::{Found, Table, estimate};
use crate::vector::sketch::SketchQuery;
use crate::vector::{Memory, Metric, Rotation, prefetch};
use std::cell::RefCell;
use std::ops::Range;

/// The recall that is wanted where nobody says, and the fewest candidates for it: the rows of a small
/// segment are found with few, queries that are less like them are not.
const RECALL: f32 = 0.98;
const CANDIDATES: usize = 256;

/// Walks that come back short, each twice as wide, before all rows are compared.
const WALKS: usize = 5;

/// As many candidates as it takes to keep `keep` rows, or `ef` where that is more.
pub(super) fn wide_enough(ef: usize, keep: usize) -> usize {
    ef.max(keep.saturating_add(keep / 2))
}

/// Rows that were visited, rows that were counted, what is open, and what a block gave.
type Walk = (Seen, Seen, Frontier, Found);

thread_local! {
    /// What a walk uses, kept between searches of this thread.
    static WALK: RefCell<Walk> = RefCell::default();
    static PREPARED: RefCell<Prepared> = RefCell::default();
    /// Whole codes of a row.
    static WHOLE: RefCell<Vec<i8>> = RefCell::default();
}

/// A query as segments read it.
#[derive(Default)]
pub(in crate::index) struct Prepared {
    rotated: Vec<f32>,
    pub(super) code: QueryCode,
    table: Table,
}

impl Prepared {
    #[cfg(any(test, fuzzing))]
    pub(in crate::index) fn new(query: &[f32], rotation: &Rotation) -> Self {
        let mut prepared = Self::default();
        prepared.set(query, rotation);
        prepared
    }

    /// Gives `search` the query in what the last one of this thread left: between other threads'
    /// work, the allocator may take longer for a kilobyte than the search does.
    pub(in crate::index) fn with<R>(
        query: &[f32],
        rotation: &Rotation,
        search: impl FnOnce(&Self) -> R,
    ) -> R {
        PREPARED.with_borrow_mut(|prepared| {
            prepared.set(query, rotation);
            search(prepared)
        })
    }

    fn set(&mut self, query: &[f32], rotation: &Rotation) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the same with wider registers")]
            // SAFETY: this processor has them.
            unsafe {
                self.set_wide(query, rotation);
            }
            return;
        }
        self.set_plain(query, rotation);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn set_wide(&mut self, query: &[f32], rotation: &Rotation) {
        self.set_plain(query, rotation);
    }

    #[inline(always)]
    fn set_plain(&mut self, query: &[f32], rotation: &Rotation) {
        rotation.apply_to(query, &mut self.rotated);
        self.read_rotated();
    }

    #[inline(always)]
    fn read_rotated(&mut self) {
        self.code.set(&self.rotated);
        self.table.set(&self.rotated);
    }

    pub(super) fn of_rotated(rotated: Vec<f32>) -> Self {
        let mut prepared = Self { rotated, ..Self::default() };
        prepared.read_rotated();
        prepared
    }

    /// Between which ranks a row is, by the first level of its code, which leaves out `left_out`.
    #[inline]
    pub(in crate::index) fn between(
        &self,
        metric: Metric,
        code: Code<'_>,
        left_out: CodeError,
    ) -> Range<f32> {
        let product = self.code.roughly(code.scale, code.first);
        self.around(metric, code, product, |query, length| query.rough_error(left_out, length))
    }

    /// Its squared length.
    pub(in crate::index) fn square(&self) -> f32 {
        self.code.square()
    }

    /// The sketch of this query, `times` as long.
    pub(in crate::index) fn sketch(&self, times: f32, sketch: &mut SketchQuery) {
        let (first, scale) = self.code.first();
        sketch.set(first, scale * times, self.square() * times * times, 0.0);
    }

    /// Between which ranks by a `product` with the query that may be off by `error` for a row of some length.
    fn around(
        &self,
        metric: Metric,
        code: Code<'_>,
        product: f32,
        error: impl Fn(&QueryCode, f32) -> f32,
    ) -> Range<f32> {
        let squares = [self.code.square(), code.square];
        let lengths = squares.map(f32::sqrt);
        let off = metric.rank_error(error(&self.code, lengths[1]), lengths);
        let rank = metric.rank_of(product, squares);
        rank - off..rank + off
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
        among: Among<'_>,
    ) -> Result<()> {
        let rough = match self.walked(query, limit, effort, among)? {
            Some(walked) => walked,
            None => self.scan(query, limit, among)?,
        };
        best.extend(self.closest(query, limit, rough)?.into_iter().map(|n| self.named(n)));
        Ok(())
    }

    /// The best rows by rough distance, more than `limit`, of all that are allowed.
    pub(super) fn scan(
        &self,
        query: &Prepared,
        limit: usize,
        among: Among<'_>,
    ) -> Result<Vec<Neighbour>> {
        let mut near = Best::new(with_spare(limit));
        self.each(among, |row, bytes| {
            near.push(Neighbour { id: row, distance: self.roughly(query, bytes) });
        })?;
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
        WHOLE.with_borrow_mut(|scratch| {
            scratch.resize(self.shape.padded, 0);
            for Neighbour { id: row, .. } in rough {
                close.push(self.closely(query, row, scratch)?);
            }
            Ok(close.into_sorted())
        })
    }

    /// What walks of the graph find of `limit` points; none where comparing with all is better, or
    /// they come back short, or find less than is wanted.
    pub(in crate::index) fn walked(
        &self,
        query: &Prepared,
        limit: usize,
        effort: Effort,
        among: Among<'_>,
    ) -> Result<Option<Vec<Neighbour>>> {
        let selected = self.selected(among);
        if !self.shape.graph || crate::index::segments::scan_is_better(selected, self.len()) {
            return Ok(None);
        }
        let ef = match effort {
            Effort::Candidates(ef) => Some(ef),
            Effort::Recall(wanted) => self.recall.candidates(wanted, limit),
            Effort::Usual => self.recall.candidates(RECALL, limit).map(|ef| ef.max(CANDIDATES)),
        };
        let Some(ef) = ef else { return Ok(None) };
        let keep = with_spare(limit);
        // A row that several neighbours lead to is one of the `ef` each time, but for products. To
        // count it once costs a tenth of the speed at the same recall.
        let mut ef = wide_enough(ef, keep);
        // Where allowed rows are far from the query, a walk visits all that are between.
        let all = selected == self.len();
        let mut visits = if all { usize::MAX } else { selected / self.visit_in_rows() };
        for _ in 0..WALKS {
            let found = if all {
                self.walk(query, keep, ef, None, &mut visits, |_| true)?
            } else {
                let ids = self.ids();
                let may = |row: u32| among.holds(ids[row as usize]);
                self.walk(query, keep, ef, None, &mut visits, may)?
            };
            if visits == 0 {
                break;
            }
            if found.len() >= limit.min(selected) {
                return Ok(Some(found));
            }
            ef = ef.saturating_mul(2);
        }
        Ok(None)
    }

    /// Rows that a scan compares in the time of one visit of a walk.
    fn visit_in_rows(&self) -> usize {
        if self.shape.memory == Memory::Speed { 8 } else { 16 }
    }

    /// The points that may be among the best `limit`; no other is as near as the farthest of these.
    pub(in crate::index) fn search_exact(
        &self,
        query: &Prepared,
        limit: usize,
        among: Among<'_>,
    ) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        self.each(among, |row, bytes| {
            let code = self.code(bytes);
            let range = query.between(self.metric, code, self.left_out(code));
            all.push(Between { row, range });
        })?;
        let mut scratch = vec![0; self.shape.padded];
        let close = within(all, limit).into_iter().map(|Between { row, .. }| {
            let code = self.code(self.row(row)?);
            let parts = (code.first, code.rest);
            let product = query.code.closely(code.scale, parts, &mut scratch);
            let left_out = self.left_out(code);
            let error = |query: &QueryCode, length| query.close_error(left_out, length);
            Ok(Between { row, range: query.around(self.metric, code, product, error) })
        });
        let near = within(close.collect::<Result<_>>()?, limit);
        let ids = self.ids();
        Ok(near.into_iter().map(|n| ids[n.row as usize]).collect())
    }

    /// What a code of this segment leaves out at most.
    fn left_out(&self, code: Code<'_>) -> CodeError {
        self.error.at_scale(code.scale, self.shape.padded, !code.rest.is_empty())
    }

    fn named(&self, neighbour: Neighbour) -> Neighbour {
        Neighbour { id: self.ids()[neighbour.id as usize], ..neighbour }
    }

    /// The rank by first levels.
    #[inline]
    pub(super) fn roughly(&self, query: &Prepared, bytes: &[u8]) -> f32 {
        let code = self.code(bytes);
        let product = query.code.roughly(code.scale, code.first);
        self.metric.rank_of(product, [query.code.square(), code.square])
    }

    /// The same by whole codes.
    fn closely(&self, query: &Prepared, row: u32, scratch: &mut [i8]) -> Result<Neighbour> {
        let code = self.code(self.row(row)?);
        let product = query.code.closely(code.scale, (code.first, code.rest), scratch);
        let distance = self.metric.rank_of(product, [query.code.square(), code.square]);
        Ok(Neighbour { id: row, distance })
    }

    /// Gives every allowed row with its bytes to `see`.
    fn each(&self, among: Among<'_>, mut see: impl FnMut(u32, &[u8])) -> Result<()> {
        let ids = self.ids();
        let mut at = |row: usize| -> Result<()> {
            #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
            let row = row as u32;
            see(row, self.row(row)?);
            Ok(())
        };
        if let Some(picked) = among.few_of(ids.len()) {
            let mut from = 0;
            let mut rows = picked.filter_map(|id| {
                from += ahead(&ids[from..], id);
                (ids.get(from) == Some(&id)).then_some(from)
            });
            return rows.try_for_each(at);
        }
        for (row, id) in ids.iter().enumerate() {
            if among.holds(*id) {
                at(row)?;
            }
        }
        Ok(())
    }

    /// How many points a search may return.
    fn selected(&self, among: Among<'_>) -> usize {
        if among.is_all() {
            return self.len();
        }
        let members = self.members.get_or_init(|| {
            Bitmap::from_sorted_iter(self.ids().iter().copied()).unwrap_or_default()
        });
        let Among { dead, allowed } = among;
        let gone = members.intersection_len(dead);
        let selected = match allowed {
            None => members.len() - gone,
            Some(allowed) if gone == 0 => members.intersection_len(allowed),
            Some(allowed) => (members & allowed).difference_len(dead),
        };
        usize::try_from(selected).unwrap_or(usize::MAX)
    }

    /// Best-first search of the graph until `ef` rows that `may` be returned are nearer than all that
    /// is open; the others are walked through. The best `keep` rows by rough distance, best first.
    ///
    /// A visited row gives its own distance and estimates for its neighbours. The next row is chosen,
    /// and asked for, before the present one is worked on: the walk waits on memory more than it
    /// computes. `without` is a row that is not even walked through. Each visit takes one from
    /// `visits`; with none left the walk ends where it is.
    pub(in crate::index) fn walk(
        &self,
        query: &Prepared,
        keep: usize,
        ef: usize,
        without: Option<u32>,
        visits: &mut usize,
        may: impl Fn(u32) -> bool,
    ) -> Result<Vec<Neighbour>> {
        if self.shape.memory != Memory::Speed {
            return self.walk_links(query, keep, ef, without, visits, may);
        }
        let sphere = Sphere::new(self.metric, self.largest, query.code.square());
        let table = query.table.scaled(sphere.stretch);
        // The longest rows are neighbours of many, and would soon be all of the `ef`.
        let once = self.metric == Metric::Dot;
        WALK.with_borrow_mut(|(seen, counted, frontier, found)| {
            seen.clear(self.len());
            counted.clear(if once { self.len() } else { 0 });
            let mut best = Best::new(keep);
            let start = self.roughly(query, self.row(self.entry)?);
            frontier.clear(sphere.squared(start), ef);
            for &lost in self.unreached() {
                let distance = self.roughly(query, self.row(lost)?);
                frontier.offer(lost, sphere.squared(distance), may(lost));
            }
            if let Some(row) = without {
                seen.insert(row);
            }
            let mut present = Some(self.entry);
            seen.insert(self.entry);
            while let Some(row) = present.filter(|_| *visits > 0) {
                *visits -= 1;
                let mut following =
                    std::iter::from_fn(|| frontier.next()).find(|r| seen.insert(*r));
                if let Some(next) = following {
                    prefetch(&self.bytes(next)[self.shape.hot()]);
                }
                let bytes = self.row(row)?;
                let distance = self.roughly(query, bytes);
                if may(row) {
                    best.push(Neighbour { id: row, distance });
                }
                let squared = sphere.squared(distance);
                estimate(table, self.links(bytes), squared, frontier.bound(), found);
                for (row, estimate) in found.iter() {
                    if !seen.contains(row) {
                        let counts = may(row) && (!once || counted.insert(row));
                        frontier.offer(row, estimate, counts);
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

/// What a walk goes by: squared distances, which are never negative, as a linear function of ranks.
///
/// Largest products are nearest neighbours on a sphere as large as the longest row (see
/// `vector::fastscan`). The length of a query does not change their order, so it is taken to be as
/// long: then distances differ most, and a frontier that counts them by their size tells them apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sphere {
    base: f32,
    factor: f32,
    /// How many times as long the query is taken to be.
    pub(super) stretch: f32,
}

impl Sphere {
    pub(super) fn new(metric: Metric, largest: f32, square: f32) -> Self {
        match metric {
            Metric::Cosine => Self { base: 0.0, factor: 2.0, stretch: 1.0 },
            Metric::Euclidean => Self { base: 0.0, factor: 1.0, stretch: 1.0 },
            Metric::Dot => {
                // All products with a query of zeros are the same.
                let stretch = if square > 0.0 { largest.sqrt() / square.sqrt() } else { 0.0 };
                Self { base: 2.0 * largest, factor: 2.0 * stretch, stretch }
            }
        }
    }

    #[inline]
    pub(super) fn squared(self, rank: f32) -> f32 {
        (self.base + self.factor * rank).max(0.0)
    }
}

/// How many of these ascending numbers are below `id`, in steps that double: most are not far.
fn ahead(ids: &[u32], id: u32) -> usize {
    let mut end = 1;
    while ids.get(end).is_some_and(|other| *other < id) {
        end *= 2;
    }
    let start = end / 2;
    start + ids[start..ids.len().min(end + 1)].partition_point(|other| *other < id)
}

/// A row, and what its rank is at least and at most.
struct Between {
    row: u32,
    range: Range<f32>,
}

/// Those that may be among the nearest `limit`.
fn within(mut all: Vec<Between>, limit: usize) -> Vec<Between> {
    if limit == 0 {
        return Vec::new();
    }
    if limit < all.len() {
        let most = |n: &Between| n.range.end;
        let (_, worst, _) =
            all.select_nth_unstable_by(limit - 1, |a, b| most(a).total_cmp(&most(b)));
        let bound = most(worst);
        all.retain(|n| n.range.start <= bound);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn steps_that_double_find_the_place(
            numbers in proptest::collection::btree_set(0u32..300, 0..80),
            id in 0u32..320,
        ) {
            let numbers: Vec<u32> = numbers.into_iter().collect();
            let right = numbers.iter().filter(|number| **number < id).count();
            prop_assert_eq!(ahead(&numbers, id), right);
        }
    }
}
