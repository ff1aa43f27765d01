//! What the vector index of a collection takes.

use super::collection::Collection;
use crate::error::Result;
use crate::index::{Footprint, VectorIndex};

/// Figures of a collection's vector index. The keyword index is not in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexStats {
    /// Whether the index is that of the last commit. If not, the next query by vector brings it up
    /// to date from the store first, and the figures are those from before.
    pub up_to_date: bool,
    /// Segments: files that are mapped and searched as they are.
    pub segments: usize,
    /// Points in segments, one a chunk; tombstones included.
    pub sealed_points: u64,
    /// Points in memory that are in no file yet: they have been added since the last save.
    pub live_points: u64,
    /// Points that were removed and still take room in a segment or in memory.
    pub tombstones: u64,
    /// Bytes of the index on the disk.
    pub disk_bytes: u64,
    /// Bytes of the segments for each point in them, rounded down: its code, its neighbours and its
    /// number. 0 where there is no segment.
    pub bytes_per_vector: u64,
    /// Bytes of the segments as they are mapped: the system keeps in memory what of them is in use,
    /// and can take it back.
    pub mapped_bytes: u64,
    /// Bytes that the index itself holds in memory: the vectors of live points, and for segments a
    /// few bits for every 32 KiB and the set of tombstones. What finds a live point by its number,
    /// and the graph of very many live points, are not counted.
    pub memory_bytes: u64,
}

impl IndexStats {
    fn new(footprint: &Footprint, up_to_date: bool) -> Self {
        let sealed_points = footprint.sealed_points as u64;
        Self {
            up_to_date,
            segments: footprint.segments,
            sealed_points,
            live_points: footprint.live_points as u64,
            tombstones: footprint.tombstones,
            disk_bytes: footprint.disk_bytes,
            bytes_per_vector: footprint.mapped_bytes.checked_div(sealed_points).unwrap_or(0),
            mapped_bytes: footprint.mapped_bytes,
            memory_bytes: footprint.heap_bytes,
        }
    }
}

impl Collection {
    /// Figures of the vector index: of the one that is open where a query or an addition has opened
    /// it, else of its files as they would be opened. Files are mapped and their heads checked for
    /// it, a millisecond for 100,000 points; nothing is brought up to date or made anew.
    ///
    /// # Errors
    /// [`crate::Error::Corrupted`] where the files are damaged or of an older version,
    /// [`crate::Error::Io`] where one is missing; the next query by vector makes the index anew from
    /// the store then.
    pub fn index_stats(&self) -> Result<IndexStats> {
        let inner = &self.inner;
        if let Some(index) = inner.opened_vectors() {
            return Ok(IndexStats::new(&index.footprint()?, true));
        }
        // No other thread opens it, and with that changes its files, meanwhile.
        let _writer = inner.writer();
        if let Some(index) = inner.opened_vectors() {
            return Ok(IndexStats::new(&index.footprint()?, true));
        }
        let record = inner.record();
        let (footprint, generation) = VectorIndex::footprint_of_files(
            &inner.folder("vectors", record.vectors),
            record.space(),
            inner.stamp(record.vectors),
        )?;
        Ok(IndexStats::new(&footprint, generation == record.generation))
    }
}
