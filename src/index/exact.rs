//! Exact search: the distance to every point, the best few kept. The oracle of every index.

use super::Neighbour;
use std::collections::BinaryHeap;

/// Room for so many is there from the beginning. To grow, and to clear, the allocator takes a lock
/// that threads which add points hold as well, and a search would wait for one of them to get a
/// processor.
const ROOM: usize = 4096;

/// The best `limit` neighbours seen so far.
pub(super) struct Best {
    limit: usize,
    heap: BinaryHeap<Neighbour>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit.min(ROOM)) }
    }

    /// Whether one at this distance may be kept.
    #[inline]
    pub(super) fn takes(&self, distance: f32) -> bool {
        self.heap.len() < self.limit
            || self.heap.peek().is_some_and(|worst| distance <= worst.distance)
    }

    pub(super) fn push(&mut self, neighbour: Neighbour) {
        if self.heap.len() < self.limit {
            self.heap.push(neighbour);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && neighbour < *worst
        {
            *worst = neighbour;
        }
    }

    pub(super) fn extend(&mut self, neighbours: impl IntoIterator<Item = Neighbour>) {
        for neighbour in neighbours {
            self.push(neighbour);
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Neighbour> {
        self.heap.into_sorted_vec()
    }
}
