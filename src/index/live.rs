//! The live segment: points that were added since the last save, found from the moment of their
//! insertion. The one place that names hnsw_rs.
//!
//! Each vector is held once, in an append-only arena that searches read without locks, beside its code.
//! What hnsw_rs holds as a point's data is only the row in that arena; its distance looks the vectors
//! up. A small segment has no graph: comparing with all of it is as fast. Codes, a fourth as long,
//! tell for most points that they cannot be among the nearest. Nor is there a graph for largest
//! products, which are no distances that a graph of hnsw_rs could go by; a segment that large is
//! sealed by the commit that made it.

use super::codes::OwnedCode;
use super::exact::Best;
use super::sealed::Prepared;
use super::{Among, IndexParams, Neighbour};
use crate::vector::{Metric, Rotation};
use hnsw_rs::prelude::{Distance, FilterT, Hnsw};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// hnsw_rs's own maximum.
const LAYERS: usize = 16;

/// Where parallel insertion pays for its threads.
const PARALLEL_AT: usize = 2048;

/// The row that stands for the query in a distance.
const QUERY: u32 = u32::MAX;

thread_local! {
    /// The query of the search that runs on this thread; hnsw_rs searches on the calling thread.
    static CURRENT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

type Arena = boxcar::Vec<Point>;

/// A point that is in no file.
pub(super) struct Point {
    pub(super) id: u32,
    vector: Box<[f32]>,
    pub(super) code: OwnedCode,
}
type Graph = Hnsw<'static, u32, RowDistance>;

struct RowDistance {
    arena: Arc<Arena>,
    metric: Metric,
}

impl RowDistance {
    fn vector(&self, row: u32) -> &[f32] {
        self.arena.get(row as usize).map_or(&[], |point| &point.vector)
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
        self.arena.get(*row).is_some_and(|point| self.among.holds(point.id))
    }
}

/// Points in memory. One thread inserts at a time; any number search.
pub(super) struct Live {
    params: IndexParams,
    metric: Metric,
    arena: Arc<Arena>,
    rows: RwLock<HashMap<u32, u32>>,
    graph: OnceLock<Graph>,
}

impl Live {
    pub(super) fn new(params: IndexParams, metric: Metric) -> Self {
        Self {
            params,
            metric,
            arena: Arc::new(Arena::new()),
            rows: RwLock::default(),
            graph: OnceLock::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.arena.count()
    }

    /// Inserts points that are not there yet; the caller sees to that, and that no other thread
    /// inserts.
    pub(super) fn insert<'v>(
        &self,
        items: impl Iterator<Item = (u32, &'v [f32])>,
        rotation: &Rotation,
    ) {
        let first = self.arena.count();
        for (id, vector) in items {
            let code = OwnedCode::new(vector, rotation, self.params.memory);
            let row = self.arena.push(Point { id, vector: vector.into(), code });
            let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            #[expect(clippy::cast_possible_truncation, reason = "ids are u32 and distinct")]
            rows.insert(id, row as u32);
        }
        let count = self.arena.count();
        match self.graph.get() {
            Some(graph) => link(graph, first, count),
            None if count >= self.params.graph_at && self.metric != Metric::Dot => {
                // Searches compare with all points until the graph is whole.
                let graph = self.new_graph(count);
                link(&graph, 0, count);
                let _ = self.graph.set(graph);
            }
            None => {}
        }
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
            return self.scan(query, prepared, best, among);
        };
        let selected = self.selected(among);
        if super::segments::scan_is_better(selected, self.len()) {
            return self.scan(query, prepared, best, among);
        }
        CURRENT.with_borrow_mut(|current| {
            current.clear();
            current.extend_from_slice(query);
        });
        let allowed = Allowed { arena: &self.arena, among };
        let filter: Option<&dyn FilterT> = if among.is_all() { None } else { Some(&allowed) };
        let found = graph.search_filter(&[QUERY], limit, ef.max(limit), filter);
        if found.len() < limit.min(selected) {
            return self.scan(query, prepared, best, among);
        }
        best.extend(found.into_iter().filter_map(|neighbour| {
            let point = self.arena.get(neighbour.d_id)?;
            Some(Neighbour { id: point.id, distance: neighbour.distance })
        }));
    }

    /// Compares with every allowed point.
    pub(super) fn scan(
        &self,
        query: &[f32],
        prepared: &Prepared,
        best: &mut Best,
        among: Among<'_>,
    ) {
        let compare = |point: &Point| {
            let code = point.code.get();
            if best.takes(prepared.between(self.metric, code, point.code.error()).start) {
                let distance = self.metric.rank(query, &point.vector);
                best.push(Neighbour { id: point.id, distance });
            }
        };
        if let Some(picked) = among.few_of(self.len()) {
            let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
            let picked = picked.filter_map(|id| self.arena.get(*rows.get(&id)? as usize));
            return picked.for_each(compare);
        }
        self.points().filter(|point| among.holds(point.id)).for_each(compare);
    }

    /// How many points a search may return.
    fn selected(&self, among: Among<'_>) -> usize {
        if among.is_all() {
            return self.len();
        }
        self.points().filter(|point| among.holds(point.id)).count()
    }

    /// The points by row.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        self.arena.iter().map(|(_, point)| point)
    }
}

/// Links rows `first..count` into `graph`.
fn link(graph: &Graph, first: usize, count: usize) {
    #[expect(clippy::cast_possible_truncation, reason = "rows are u32")]
    let insert = |row: usize| graph.insert((&[row as u32], row));
    let mut rows = first..count;
    if first == 0
        && let Some(row) = rows.next()
    {
        // Alone: parallel insertions into an empty graph can each find no entry point.
        insert(row);
    }
    if rows.len() < PARALLEL_AT {
        rows.for_each(insert);
        return;
    }
    #[expect(clippy::cast_possible_truncation, reason = "rows are u32")]
    let data: Vec<(Vec<u32>, usize)> = rows.map(|row| (vec![row as u32], row)).collect();
    let borrowed: Vec<(&Vec<u32>, usize)> = data.iter().map(|(d, row)| (d, *row)).collect();
    graph.parallel_insert(&borrowed);
}
