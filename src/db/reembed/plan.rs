//! What a re-embedding would take, before it is begun.

use crate::db::collection::Inner;
use crate::db::database::Database;
use crate::db::options::CollectionOptions;
use crate::encode::EncoderHandle;
use crate::error::Result;
use crate::store::records::{ChunkRecord, CollectionRecord};
use crate::store::{Kind, Store, keys};
use crate::vector::Memory;
use std::time::{Duration, Instant};

/// Chunks that are embedded to see how long all of them take.
const SAMPLE: usize = 64;
/// Bytes that a stored vector costs beside its elements: key, frame, and their place in a page.
const AROUND_A_VECTOR: u64 = 48;
/// Bytes of the index for each element of a vector, measured at 384 dimensions: codes and neighbours.
const INDEX_BYTES_PER_ELEMENT: u64 = 6;

/// What [`Database::reembed`] would do.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ReembedPlan {
    /// Chunks of the collection.
    pub chunks: u64,
    /// Chunks that are still to be embedded: all, unless it was begun before; none where the vectors
    /// are the encoder's own.
    pub remaining: u64,
    /// How long that takes, from a sample of up to 64 chunks that was embedded for it.
    pub time: Duration,
    /// Bytes that the new vectors and their index will take; as many as the old ones where the
    /// dimensions are the same, which are given back by [`Database::compact`].
    pub bytes: u64,
    /// Bytes that must be free on the disk, or it is refused: more, for what a log-structured store
    /// writes meanwhile.
    pub room: u64,
    /// Chunks of the sample.
    pub sampled: u64,
    /// Those of them that are longer than the encoder's window.
    pub sampled_truncated: u64,
}

impl Database {
    /// What [`Database::reembed`] would take. Nothing is changed; the encoder is loaded.
    ///
    /// # Errors
    /// Those of [`Database::reembed`], but for a full disk.
    pub fn plan_reembed(
        &self,
        name: &str,
        encoder: impl Into<EncoderHandle>,
    ) -> Result<ReembedPlan> {
        let encoder = encoder.into();
        let inner = self.existing_collection(name, &CollectionOptions::default())?.inner;
        let record = inner.record();
        let mut missing = inner.stored_numbers(keys::CHUNK, record.number)?;
        if inner.old_fingerprint()? == *encoder.fingerprint() {
            missing.clear();
        } else if let Some(begun) = &record.successor
            && begun.fingerprint == *encoder.fingerprint()
        {
            missing = inner.missing(begun)?;
        }
        let mut tokens = 0u64;
        for id in &missing {
            let key = keys::numbered(keys::CHUNK, record.number, id);
            if let Some(chunk) = inner.store.get_record::<ChunkRecord>(&key, Kind::Chunk)? {
                inner.refuse_own_vector(&record, &chunk)?;
                tokens += u64::from(chunk.tokens);
            }
        }
        let step = usize::try_from(missing.len()).unwrap_or(usize::MAX).div_ceil(SAMPLE).max(1);
        let sample: Vec<u32> = missing.iter().step_by(step).collect();
        // Loading is no part of it.
        inner.embedded(sample.get(..1).unwrap_or_default(), &encoder)?;
        let started = Instant::now();
        let (_, sampled_truncated) = inner.embedded(&sample, &encoder)?;
        let took = started.elapsed();
        let mut sampled_tokens = 0u64;
        for id in &sample {
            let key = keys::numbered(keys::CHUNK, record.number, *id);
            let chunk = inner.store.get_record::<ChunkRecord>(&key, Kind::Chunk)?;
            sampled_tokens += chunk.map_or(0, |chunk| u64::from(chunk.tokens));
        }
        let dimensions = encoder.fingerprint().dimensions;
        let remaining = missing.len();
        Ok(ReembedPlan {
            chunks: record.chunks,
            remaining,
            time: took.mul_f64(tokens as f64 / (sampled_tokens as f64).max(1.0)),
            bytes: if remaining == 0 { 0 } else { bytes(remaining, dimensions, &record) },
            room: if remaining == 0 { 0 } else { room(remaining, dimensions, &record) },
            sampled: sample.len() as u64,
            sampled_truncated,
        })
    }
}

/// Bytes of so many new vectors, and of the index over all.
fn bytes(remaining: u64, dimensions: usize, record: &CollectionRecord) -> u64 {
    vector_bytes(remaining, dimensions, record) + index_bytes(dimensions, record)
}

/// Chunks are taken to be as long as they may be, where their tokens have vectors too.
fn vector_bytes(chunks: u64, dimensions: usize, record: &CollectionRecord) -> u64 {
    let rows = match record.pooled {
        0 => 0,
        pooled => u64::from(record.max_tokens.div_ceil(pooled)),
    };
    let tokens = rows * (dimensions as u64 + 4);
    chunks.saturating_mul(dimensions as u64 * 4 + AROUND_A_VECTOR + tokens)
}

fn index_bytes(dimensions: usize, record: &CollectionRecord) -> u64 {
    let part = match record.memory {
        Memory::Speed => 1,
        Memory::Balanced => 3,
        _ => 5,
    };
    record.chunks.saturating_mul(dimensions as u64 * INDEX_BYTES_PER_ELEMENT / part)
}

/// What the store is asked to have room for: it counts what is written several times over, an index
/// is written once and once more when it is merged.
fn asked(remaining: u64, dimensions: usize, record: &CollectionRecord) -> u64 {
    vector_bytes(remaining, dimensions, record).saturating_add(index_bytes(dimensions, record) / 2)
}

fn room(remaining: u64, dimensions: usize, record: &CollectionRecord) -> u64 {
    Store::wanted_room(asked(remaining, dimensions, record))
}

impl Inner {
    /// Refuses to begin what the disk has no room for.
    ///
    /// # Errors
    /// [`crate::Error::Io`] of the kind `StorageFull`.
    pub(super) fn refuse_unless_room_for(
        &self,
        remaining: u64,
        dimensions: usize,
        record: &CollectionRecord,
    ) -> Result<()> {
        self.store.refuse_unless_room(asked(remaining, dimensions, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// 1,000 chunks of 384 dimensions: 1,000 * (4 * 384 + 48) bytes of vectors, 1,000 * 6 * 384 of
    /// index; the store asks for four times what it is told and 8 MiB.
    #[test]
    fn bytes_by_hand_and_no_room_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("db")).unwrap();
        let options = CollectionOptions::dimensions(4);
        let inner = database.collection("c", &options).unwrap().inner;
        let record = CollectionRecord { chunks: 1000, ..inner.record() };
        assert_eq!(bytes(1000, 384, &record), 1_584_000 + 2_304_000);
        // 200 words at most, four to a vector of 384 bytes and its scale.
        let pooled = CollectionRecord { pooled: 4, ..record.clone() };
        assert_eq!(bytes(1000, 384, &pooled), 1_584_000 + 50 * 388_000 + 2_304_000);
        assert_eq!(room(1000, 384, &record), 4 * (1_584_000 + 1_152_000) + (8 << 20));
        inner.refuse_unless_room_for(1000, 384, &record).unwrap();
        let error = inner.refuse_unless_room_for(1 << 50, 384, &record).unwrap_err();
        let is_full = matches!(&error, Error::Io { source, .. }
            if source.kind() == std::io::ErrorKind::StorageFull);
        assert!(is_full, "{error}");
    }
}
