//! The live segment: points that were added since the last save, found from the moment of their
//! insertion. The one place that names hnsw_rs.
//!
//! The points of an insertion stand together, in an append-only arena that searches read without
//! locks: vectors, codes and sketches. What hnsw_rs holds as a point's data is only its row in that
//! arena; its distance looks the vectors up. A small segment has no graph: comparing with all of it is
//! as fast. Sketches tell for most points that they are hardly among the nearest, codes for most others
//! that they cannot be. Nor is there a graph for largest products, which are no distances that a graph
//! of hnsw_rs could go by; a segment that large is sealed by the commit that made it.

use super::codes::Codes;
use super::exact::Best;
use super::sealed::Prepared;
use super::{Among, IndexParams, Neighbour};
use crate::vector::sketch::{SketchQuery, Sketches};
use crate::vector::{Metric, Rotation};
use hnsw_rs::prelude::{Distance, FilterT, Hnsw};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// hnsw_rs's own maximum.
const LAYERS: usize = 16;

/// Where parallel insertion pays for its threads.
const PARALLEL_AT: usize = 2048;

/// The row that stands for the query in a distance.
const QUERY: u32 = u32::MAX;

/// Points of a batch at most, as a power of two: a row is a batch and a place in it.
const BATCH_BITS: u32 = 10;

/// Standard deviations that a sketch may be wrong by: one neighbour in a thousand is not seen.
const DEVIATIONS: f32 = 3.0;

thread_local! {
    /// The query of the search that runs on this thread; hnsw_rs searches on the calling thread.
    static CURRENT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// The sketch of a query, kept between searches of this thread.
    static SKETCH: RefCell<SketchQuery> = RefCell::default();
}

type Arena = boxcar::Vec<Batch>;
type Graph = Hnsw<'static, u32, RowDistance>;

/// Points of one insertion.
struct Batch {
    codes: Codes,
    sketches: Sketches,
    vectors: Vec<f32>,
}

impl Batch {
    fn vector(&self, at: u32) -> &[f32] {
        let dimensions = self.vectors.len() / self.codes.len().max(1);
        &self.vectors[at as usize * dimensions..][..dimensions]
    }
}

/// The batch of a row and the place in it.
fn at(arena: &Arena, row: u32) -> Option<(&Batch, u32)> {
    Some((arena.get((row >> BATCH_BITS) as usize)?, row % (1 << BATCH_BITS)))
}

fn id(arena: &Arena, row: usize) -> Option<u32> {
    let (batch, at) = at(arena, u32::try_from(row).ok()?)?;
    batch.codes.ids().get(at as usize).copied()
}

struct RowDistance {
    arena: Arc<Arena>,
    metric: Metric,
}

impl RowDistance {
    fn vector(&self, row: u32) -> &[f32] {
        at(&self.arena, row).map_or(&[], |(batch, at)| batch.vector(at))
    }
}

impl Distance<u32> for RowDistance {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        match (a, b) {
            (&[QUERY], &[row]) | (&[row], &[QUERY]) => {
                CURRENT.with_borrow(|query| self.metric.rank(query, self.vector(row)))
            }
            (&[a], &[b]) => self.metric.rank(self.vector(a), self.vector(b)),
            // Never: every point has one row.
            _ => f32::MAX,
        }
    }
}

/// What a search may return.
struct Allowed<'a> {
    arena: &'a Arena,
    among: Among<'a>,
}

impl FilterT for Allowed<'_> {
    fn hnsw_filter(&self, row: &usize) -> bool {
        id(self.arena, *row).is_some_and(|id| self.among.holds(id))
    }
}

/// Points in memory. One thread inserts at a time; any number search.
pub(super) struct Live {
    params: IndexParams,
    metric: Metric,
    arena: Arc<Arena>,
    count: AtomicUsize,
    rows: RwLock<HashMap<u32, u32>>,
    graph: OnceLock<Graph>,
}

impl Live {
    pub(super) fn new(params: IndexParams, metric: Metric) -> Self {
        Self {
            params,
            metric,
            arena: Arc::new(Arena::new()),
            count: AtomicUsize::new(0),
            rows: RwLock::default(),
            graph: OnceLock::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Inserts points that are not there yet; the caller sees to that, and that no other thread
    /// inserts.
    pub(super) fn insert(&self, items: &[(u32, &[f32])], rotation: &Rotation) {
        let first = self.arena.count();
        for items in items.chunks(1 << BATCH_BITS) {
            self.push(items, rotation);
        }
        match self.graph.get() {
            Some(graph) => link(graph, &self.rows_from(first)),
            None if self.len() >= self.params.graph_at && self.metric != Metric::Dot => {
                // Searches compare with all points until the graph is whole.
                let graph = self.new_graph(self.len());
                link(&graph, &self.rows_from(0));
                let _ = self.graph.set(graph);
            }
            None => {}
        }
    }

    fn push(&self, items: &[(u32, &[f32])], rotation: &Rotation) {
        let mut codes = Codes::new(rotation.padded(), self.params.memory);
        let mut sketches = Sketches::new(rotation.padded());
        for (row, (id, vector)) in (0..).zip(items) {
            codes.push(*id, vector, rotation);
            let code = codes.get(row);
            sketches.push(code.first, code.scale, code.square, 0.0);
        }
        let vectors = items.iter().flat_map(|(_, vector)| *vector).copied().collect();
        let batch = self.arena.push(Batch { codes, sketches, vectors });
        self.count.fetch_add(items.len(), Ordering::Release);
        #[expect(clippy::cast_possible_truncation, reason = "numbers are u32 and distinct")]
        let first = (batch << BATCH_BITS) as u32;
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.extend(items.iter().zip(first..).map(|((id, _), row)| (*id, row)));
    }

    /// The rows of a batch and those after it.
    fn rows_from(&self, first: usize) -> Vec<u32> {
        let batches = self.arena.iter().skip(first);
        #[expect(clippy::cast_possible_truncation, reason = "numbers are u32 and distinct")]
        let rows = batches.flat_map(|(batch, points)| {
            (0..points.codes.len()).map(move |at| (batch << BATCH_BITS | at) as u32)
        });
        rows.collect()
    }

    fn new_graph(&self, count: usize) -> Graph {
        Hnsw::new(
            self.params.m,
            count.max(super::GRAPH_AT),
            LAYERS,
            self.params.ef_construction,
            RowDistance { arena: Arc::clone(&self.arena), metric: self.metric },
        )
    }

    /// Adds the best `limit` points to `best`; `count` of them are allowed and alive.
    pub(super) fn search(
        &self,
        query: &[f32],
        prepared: &Prepared,
        best: &mut Best,
        limit: usize,
        ef: usize,
        among: Among<'_>,
    ) {
        let Some(graph) = self.graph.get() else {
            return self.look_through(query, prepared, best, among);
        };
        let selected = self.selected(among);
        if super::segments::scan_is_better(selected, self.len()) {
            return self.look_through(query, prepared, best, among);
        }
        CURRENT.with_borrow_mut(|current| {
            current.clear();
            current.extend_from_slice(query);
        });
        let allowed = Allowed { arena: &self.arena, among };
        let filter: Option<&dyn FilterT> = if among.is_all() { None } else { Some(&allowed) };
        let found = graph.search_filter(&[QUERY], limit, ef.max(limit), filter);
        if found.len() < limit.min(selected) {
            return self.look_through(query, prepared, best, among);
        }
        best.extend(found.into_iter().filter_map(|neighbour| {
            let id = id(&self.arena, neighbour.d_id)?;
            Some(Neighbour { id, distance: neighbour.distance })
        }));
    }

    /// Compares with every allowed point that its sketch does not rule out.
    fn look_through(&self, query: &[f32], prepared: &Prepared, best: &mut Best, among: Among<'_>) {
        SKETCH.with_borrow_mut(|sketch| {
            prepared.sketch(1.0, sketch);
            sketch.allow(DEVIATIONS);
            let metric = self.metric;
            self.each(among, |batch, at| {
                let squares = [prepared.square(), batch.codes.get(at).square];
                let product = sketch.product_at_most(batch.sketches.get(at));
                if best.takes(metric.rank_of(product, squares)) {
                    self.compare(query, prepared, best, among, (batch, at));
                }
            });
        });
    }

    /// Compares with every allowed point.
    pub(super) fn scan(
        &self,
        query: &[f32],
        prepared: &Prepared,
        best: &mut Best,
        among: Among<'_>,
    ) {
        self.each(among, |batch, at| self.compare(query, prepared, best, among, (batch, at)));
    }

    /// Gives every point that may be allowed to `see`.
    fn each(&self, among: Among<'_>, mut see: impl FnMut(&Batch, u32)) {
        if let Some(picked) = among.few_of(self.len()) {
            let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
            let picked = picked.filter_map(|id| at(&self.arena, *rows.get(&id)?));
            return picked.for_each(|(batch, at)| see(batch, at));
        }
        for (_, batch) in self.arena.iter() {
            for (at, _) in (0..).zip(batch.codes.ids()) {
                see(batch, at);
            }
        }
    }

    fn compare(
        &self,
        query: &[f32],
        prepared: &Prepared,
        best: &mut Best,
        among: Among<'_>,
        (batch, at): (&Batch, u32),
    ) {
        let id = batch.codes.ids()[at as usize];
        let code = batch.codes.get(at);
        let left_out = batch.codes.error_of(code);
        if best.takes(prepared.between(self.metric, code, left_out).start) && among.holds(id) {
            best.push(Neighbour { id, distance: self.metric.rank(query, batch.vector(at)) });
        }
    }

    /// How many points a search may return.
    fn selected(&self, among: Among<'_>) -> usize {
        if among.is_all() {
            return self.len();
        }
        self.codes().flat_map(Codes::ids).filter(|id| among.holds(**id)).count()
    }

    /// The points as codes.
    pub(super) fn codes(&self) -> impl Iterator<Item = &Codes> {
        self.arena.iter().map(|(_, batch)| &batch.codes)
    }
}

/// Links `rows` into `graph`.
fn link(graph: &Graph, rows: &[u32]) {
    let insert = |row: &u32| graph.insert((&[*row], *row as usize));
    let mut rows = rows;
    if graph.get_nb_point() == 0
        && let Some((first, others)) = rows.split_first()
    {
        // Alone: parallel insertions into an empty graph can each find no entry point.
        insert(first);
        rows = others;
    }
    if rows.len() < PARALLEL_AT {
        rows.iter().for_each(insert);
        return;
    }
    let data: Vec<(Vec<u32>, usize)> = rows.iter().map(|row| (vec![*row], *row as usize)).collect();
    let borrowed: Vec<(&Vec<u32>, usize)> = data.iter().map(|(d, row)| (d, *row)).collect();
    graph.parallel_insert(&borrowed);
}
