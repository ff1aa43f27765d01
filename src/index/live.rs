//! The live segment: points that were added since the last save, found from the moment of their
//! insertion. The one place that names hnsw_rs.
//!
//! Each vector is held once, in an append-only arena that searches read without locks. What hnsw_rs
//! holds as a point's data is only the row in that arena; its distance looks the vectors up. A small
//! segment has no graph: comparing with all of it is as fast. Nor has one for largest products, which
//! are no distances that a graph of hnsw_rs could go by; a segment that large is sealed by the commit
//! that made it.

use super::exact::Best;
use super::{Bitmap, IndexParams, Neighbour};
use crate::vector::Metric;
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

type Arena = boxcar::Vec<(u32, Box<[f32]>)>;
type Graph = Hnsw<'static, u32, RowDistance>;

struct RowDistance {
    arena: Arc<Arena>,
    metric: Metric,
}

impl RowDistance {
    fn vector(&self, row: u32) -> &[f32] {
        self.arena.get(row as usize).map_or(&[], |(_, vector)| vector)
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
    dead: &'a Bitmap,
    allowed: Option<&'a Bitmap>,
}

impl Allowed<'_> {
    fn id(&self, id: u32) -> bool {
        !self.dead.contains(id) && self.allowed.is_none_or(|allowed| allowed.contains(id))
    }
}

impl FilterT for Allowed<'_> {
    fn hnsw_filter(&self, row: &usize) -> bool {
        self.arena.get(*row).is_some_and(|(id, _)| self.id(*id))
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
    pub(super) fn insert<'v>(&self, items: impl Iterator<Item = (u32, &'v [f32])>) {
        let first = self.arena.count();
        {
            let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            for (id, vector) in items {
                let row = self.arena.push((id, vector.into()));
                #[expect(clippy::cast_possible_truncation, reason = "ids are u32 and distinct")]
                rows.insert(id, row as u32);
            }
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
        best: &mut Best,
        limit: usize,
        ef: usize,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) {
        let filter = Allowed { arena: &self.arena, dead, allowed };
        let Some(graph) = self.graph.get() else { return self.scan(query, best, dead, allowed) };
        let selected = self.selected(dead, allowed);
        if super::segments::scan_is_better(selected, self.len()) {
            return self.scan(query, best, dead, allowed);
        }
        CURRENT.with_borrow_mut(|current| {
            current.clear();
            current.extend_from_slice(query);
        });
        let plain = dead.is_empty() && allowed.is_none();
        let found = graph.search_filter(
            &[QUERY],
            limit,
            ef.max(limit),
            if plain { None } else { Some(&filter) },
        );
        if found.len() < limit.min(selected) {
            return self.scan(query, best, dead, allowed);
        }
        best.extend(found.into_iter().filter_map(|neighbour| {
            let (id, _) = self.arena.get(neighbour.d_id)?;
            Some(Neighbour { id: *id, distance: neighbour.distance })
        }));
    }

    /// Compares with every allowed point.
    pub(super) fn scan(
        &self,
        query: &[f32],
        best: &mut Best,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) {
        if let Some(allowed) = allowed.filter(|a| a.len() < self.len() as u64 / 4) {
            let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
            let picked = allowed.iter().filter(|id| !dead.contains(*id));
            best.extend(picked.filter_map(|id| {
                let (_, vector) = self.arena.get(*rows.get(&id)? as usize)?;
                Some(Neighbour { id, distance: self.metric.rank(query, vector) })
            }));
            return;
        }
        let filter = Allowed { arena: &self.arena, dead, allowed };
        for (_, (id, vector)) in self.arena.iter() {
            if filter.id(*id) {
                best.push(Neighbour { id: *id, distance: self.metric.rank(query, vector) });
            }
        }
    }

    /// How many points a search may return.
    fn selected(&self, dead: &Bitmap, allowed: Option<&Bitmap>) -> usize {
        if dead.is_empty() && allowed.is_none() {
            return self.len();
        }
        let filter = Allowed { arena: &self.arena, dead, allowed };
        self.arena.iter().filter(|(_, (id, _))| filter.id(*id)).count()
    }

    /// The points by row.
    pub(super) fn points(&self) -> impl Iterator<Item = (u32, &[f32])> {
        self.arena.iter().map(|(_, (id, vector))| (*id, &**vector))
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
