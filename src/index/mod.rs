//! Indexes: caches of the store, by vector and by keyword, and what combines them.
//!
//! Points are chunk numbers. The store never uses a number twice and a chunk never changes, so what
//! an index holds is known from its numbers alone, and bringing one up to date is a difference of
//! two sets.

mod codes;
mod exact;
pub mod filter;
mod frontier;
mod fuse;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzzing;
mod graph;
#[cfg(feature = "keyword")]
mod keyword;
mod live;
mod plan;
mod sealed;
mod segments;
mod state;

pub use filter::Filter;
pub use fuse::Fusion;
pub(crate) use fuse::z_scores;
#[cfg(feature = "keyword")]
pub(crate) use keyword::{KeywordEntry, KeywordIndex, Language, Word, WordReader};
pub(crate) use segments::{Footprint, VectorIndex};

use crate::error::{Error, Result};
use crate::vector::Memory;
use std::cmp::Ordering;

/// A set of chunk numbers.
pub(crate) type Bitmap = roaring::RoaringBitmap;

/// A point and how far it is from the query. Within the indexes that is what `Metric::rank` says:
/// for cosine, 0 (same direction) to 2; for products, with a minus sign; for Euclidean distance, its
/// square.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Neighbour {
    pub(crate) id: u32,
    pub(crate) distance: f32,
}

impl Eq for Neighbour {}

/// By distance, then by number: the bits of a distance differ between processors, ties must not.
impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How many candidates are put in order by something finer to get the best `limit` of them.
pub(crate) fn with_spare(limit: usize) -> usize {
    limit.saturating_add(limit / 4 + 6)
}

/// Which points a search may return.
#[derive(Clone, Copy)]
pub(crate) struct Among<'a> {
    pub(crate) dead: &'a Bitmap,
    /// All where there is none.
    pub(crate) allowed: Option<&'a Bitmap>,
}

impl<'a> Among<'a> {
    pub(crate) fn is_all(self) -> bool {
        self.dead.is_empty() && self.allowed.is_none()
    }

    #[inline]
    pub(crate) fn holds(self, id: u32) -> bool {
        !self.dead.contains(id) && self.allowed.is_none_or(|allowed| allowed.contains(id))
    }

    /// The numbers themselves, ascending, where looking these up beats asking each of `points`.
    pub(crate) fn few_of(self, points: usize) -> Option<impl Iterator<Item = u32> + use<'a>> {
        let Self { dead, allowed } = self;
        let allowed = allowed.filter(|allowed| allowed.len() < points as u64 / 4)?;
        Some(allowed.iter().filter(move |id| !dead.contains(*id)))
    }
}

/// How hard a search tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effort {
    /// A recall of 0.98, and candidates enough for queries that are little like the points.
    Usual,
    /// So that about this part of the right answers is found by queries that are like the points, as
    /// measured when a segment was made.
    Recall(f32),
    /// With so many candidates (`ef`), and never fewer than about twice the answers.
    Candidates(usize),
}

impl Effort {
    /// Whether more is asked for than codes can tell apart.
    pub(crate) fn is_thorough(self) -> bool {
        match self {
            Self::Usual => false,
            Self::Recall(wanted) => wanted > 0.99,
            Self::Candidates(ef) => ef >= 1024,
        }
    }
}

/// Whose index it is: files of another database or collection are never read as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) database: [u8; 16],
    pub(crate) collection: u32,
}

/// How the graph is built (Malkov 2018).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexParams {
    /// Neighbours of a point; twice as many on the ground layer.
    pub(crate) m: usize,
    /// Candidates looked at when a point is linked in.
    pub(crate) ef_construction: usize,
    /// Points from which on the live segment has a graph; [`GRAPH_AT`] but in tests.
    pub(crate) graph_at: usize,
    /// What segments keep of each point.
    pub(crate) memory: Memory,
}

/// Points from which on the live segment has a graph. Points become a sealed segment long before,
/// but for those of one very large commit: hnsw_rs takes 7 s to link 16,000 points, comparing with
/// all of them 1 ms (docs/benchmarks.md).
pub(crate) const GRAPH_AT: usize = 65_536;

impl IndexParams {
    pub(crate) fn validate(self) -> Result<()> {
        if !(2..=255).contains(&self.m) {
            return Err(Error::parameter("m", format!("{}; from 2 to 255 are allowed", self.m)));
        }
        if !(self.m..=10_000).contains(&self.ef_construction) {
            return Err(Error::parameter(
                "ef_construction",
                format!("{}; from m ({}) to 10000 are allowed", self.ef_construction, self.m),
            ));
        }
        Ok(())
    }
}
