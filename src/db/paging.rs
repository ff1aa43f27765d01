//! One ranking of a query for all of its pages.
//!
//! A walk of the graph finds a little more when it is asked for more, a fusion weighs by the lists it
//! is given, and which of several equal scores is the last depends on where the list is cut. Pages
//! that were searched for one by one would repeat some hits and miss others. So no search is asked
//! for a page: depths are those of a ladder, and what a deeper search finds stands after all that the
//! shallower ones found. Every page is cut from that one ranking.

use super::query::Candidate;
use std::collections::HashSet;

/// Depths that are searched. The first is all that most queries ask for.
const DEPTHS: [usize; 9] = [10, 40, 100, 300, 1000, 3000, 10_000, 30_000, 100_000];

/// The depth of a query's first search.
pub(super) const FIRST_DEPTH: usize = DEPTHS[0];

/// The depth of the search after one of `depth`.
fn deeper(depth: usize) -> usize {
    DEPTHS.into_iter().find(|deeper| *deeper > depth).unwrap_or(depth.saturating_mul(2))
}

/// What was found so far, in its lasting order.
pub(super) struct Ranking {
    found: Vec<Candidate>,
    /// Chunks or documents that are in it: [`Candidate::group`].
    groups: HashSet<u32>,
    min_score: Option<f32>,
    depth: usize,
    complete: bool,
}

impl Ranking {
    /// An empty one whose first search is of `depth`.
    pub(super) fn new(depth: usize, min_score: Option<f32>) -> Self {
        Self { found: Vec::new(), groups: HashSet::new(), min_score, depth, complete: false }
    }

    /// How many candidates the next search is to find.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether no further search would find more.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Adds what a search of [`Ranking::depth`] found, best first.
    pub(super) fn add(&mut self, found: Vec<Candidate>) {
        // What lies deeper is worse still. Told from this search alone, so that it is the same for
        // every page.
        let too_low = |last: &Candidate| !self.is_high_enough(last);
        self.complete = found.len() < self.depth || found.last().is_some_and(too_low);
        for candidate in found {
            if self.groups.insert(candidate.group) {
                self.found.push(candidate);
            }
        }
        if !self.complete {
            for cut in self.found.drain(self.depth..) {
                self.groups.remove(&cut.group);
            }
        }
        self.depth = deeper(self.depth);
    }

    /// The candidates whose score is high enough.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.found.iter().filter(|candidate| self.is_high_enough(candidate))
    }

    fn is_high_enough(&self, candidate: &Candidate) -> bool {
        self.min_score.is_none_or(|least| candidate.score >= least)
    }
}
