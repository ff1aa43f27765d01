//! The chunks nearest to a vector, and what becomes of an index file that turns out to be damaged.

use super::collection::Inner;
use crate::error::{Error, Result};
use crate::index::{Bitmap, Effort, Neighbour, with_spare};

/// How nearest chunks are found.
#[derive(Debug, Clone, Copy)]
pub(super) enum Search {
    /// By walking graphs; distances are those of codes.
    Codes(Effort),
    /// The same, then put in order by the vectors themselves: what is known of a chunk does not
    /// depend on where in the index it stands.
    Graph(Effort),
    /// By comparing with all.
    Exact,
}

impl Inner {
    /// The nearest `top_k` chunks that are `allowed`, nearest first, at distances as people are told
    /// them.
    pub(super) fn nearest(
        &self,
        query: &[f32],
        top_k: usize,
        search: Search,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<Neighbour>> {
        let mut found = match self.try_nearest(query, top_k, search, allowed) {
            Err(damage @ Error::Corrupted { .. }) => {
                if !self.replace_damaged()? {
                    return Err(damage);
                }
                self.try_nearest(query, top_k, search, allowed)
            }
            done => done,
        }?;
        let metric = self.record().metric;
        for neighbour in &mut found {
            neighbour.distance = metric.distance(neighbour.distance);
        }
        Ok(found)
    }

    fn try_nearest(
        &self,
        query: &[f32],
        top_k: usize,
        search: Search,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<Neighbour>> {
        let index = self.vectors()?;
        match search {
            Search::Codes(effort) => index.search(query, top_k, effort, allowed),
            Search::Graph(effort) => {
                let record = self.record();
                // What codes put just beyond the last may belong before it.
                let spare = with_spare(top_k);
                let mut found = index.search(query, spare, effort, allowed)?;
                for neighbour in &mut found {
                    // One that is just being removed keeps its place.
                    if let Some(vector) = self.stored_vector(&record, neighbour.id)? {
                        neighbour.distance = record.metric.rank(query, &vector);
                    }
                }
                found.sort_unstable();
                found.truncate(top_k);
                Ok(found)
            }
            Search::Exact => {
                let record = self.record();
                index.search_exact(query, top_k, allowed, |id| self.stored_vector(&record, id))
            }
        }
    }

    /// Refills from the store what stood in damaged files of the vector index; false where none is.
    pub(super) fn replace_damaged(&self) -> Result<bool> {
        let index = self.vectors()?;
        let _writer = self.writer();
        self.refuse_if_replaced()?;
        let Some(lost) = index.drop_damaged() else { return Ok(false) };
        let record = self.record();
        let _turn = self.store.turn()?;
        self.refill(index, &lost, &record)?;
        self.notice("vector", Some("a damaged part of it came back from the store".to_owned()));
        Ok(true)
    }
}
