//! Re-embedding: a collection's chunks get the vectors of another encoder.
//!
//! New vectors are stored under a number of their own, beside the old ones, a few hundred a commit.
//! The old ones go on answering, and what is added and removed meanwhile is added and removed there.
//! A chunk never changes and its number is never used twice, so what is missing is at any time the
//! difference of two sets of numbers, and nothing else need be remembered: a run that was killed is
//! gone on with. When nothing is missing and the new index is built, one commit changes the
//! collection's record: its encoder, and the number of its vectors. Then the old ones are removed.

mod plan;
mod switch;

pub use plan::ReembedPlan;

use super::collection::Inner;
use super::database::Database;
use super::options::CollectionOptions;
use super::write::{Embedded, encoded};
use crate::encode::{EncoderHandle, Fingerprint};
use crate::error::{Error, Result};
use crate::index::Bitmap;
use crate::store::records::{ChunkRecord, CollectionRecord, ContentHash, Successor};
use crate::store::{Batch, Kind, keys};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, TryLockError};

/// Chunks of one commit: a run that is killed loses the work on one.
const BATCH_CHUNKS: usize = 256;

/// What [`Database::reembed`] tells as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReembedEvent {
    /// New vectors became durable.
    Embedded {
        /// Chunks that have their new vector, those of an earlier run included.
        done: u64,
        /// Chunks of the collection.
        chunks: u64,
    },
    /// Every chunk has its new vector; the index over them is being built.
    Indexing,
    /// The new vectors answer from now on.
    Switched {
        /// The commit.
        generation: u64,
    },
    /// The old vectors are removed.
    Swept,
}

/// What a re-embedding did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReembedReport {
    /// Chunks of the collection.
    pub chunks: u64,
    /// Chunks that this run embedded.
    pub embedded: u64,
    /// Chunks that had their new vector from an earlier run.
    pub kept: u64,
    /// Chunks that are longer than the encoder's window, in all runs: their vectors know nothing of
    /// their ends. Chunks are never cut anew.
    pub truncated: u64,
    /// The collection's vectors are the encoder's own. If not, the caller has stopped it: the old ones
    /// answer, and the next call goes on.
    pub complete: bool,
}

impl Database {
    /// Gives the chunks of the collection `name` the vectors of `encoder`, as they are cut. Until the
    /// last one is there, the old vectors answer; then one commit switches over, and there is no
    /// moment at which a query meets both. A run that is stopped, killed or fails is gone on with by
    /// the next call with the same encoder; one with another encoder begins anew, and one with the
    /// collection's own encoder gives up what was begun.
    ///
    /// Documents may be added and removed meanwhile, by other threads and, between two runs, by other
    /// processes, with the old encoder: what is there at the switch is brought over. After the switch,
    /// collections that were opened before it refuse queries and changes with
    /// [`Error::ModelMismatch`]; open them again, with the new encoder. Queries that are under way at
    /// the switch end with the old vectors.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Parameter`] where vectors are the caller's own, of all documents or
    /// of one, and where the collection is being re-embedded already; [`Error::Io`] of the kind
    /// `StorageFull` where the disk has not room enough for all of it; those of the encoder. The old
    /// vectors answer then.
    pub fn reembed(
        &self,
        name: &str,
        encoder: impl Into<EncoderHandle>,
        on_event: &dyn Fn(ReembedEvent),
        stop: &AtomicBool,
    ) -> Result<ReembedReport> {
        let encoder = encoder.into();
        let inner = self.existing_collection(name, &CollectionOptions::default())?.inner;
        let _only = match inner.reembedding.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::parameter(
                    "collection",
                    format!("{name:?} is being re-embedded already; wait for that to end"),
                ));
            }
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(only) => only,
        };
        let stopped = || stop.load(Ordering::Relaxed);
        inner.refuse_unless_writable()?;
        let mut report = ReembedReport::default();
        if inner.old_fingerprint()? == *encoder.fingerprint() {
            inner.give_up_successor()?;
            inner.sweep(&stopped)?;
            report.chunks = inner.record().chunks;
            report.complete = true;
            return Ok(report);
        }
        let successor = self.begin(&inner, encoder.fingerprint())?;
        let mut next: Option<Inner> = None;
        loop {
            let missing = inner.missing(&successor)?;
            if report.embedded == 0 {
                report.kept = inner.record().chunks.saturating_sub(missing.len());
            }
            let ids: Vec<u32> = missing.iter().collect();
            for ids in ids.chunks(BATCH_CHUNKS) {
                if stopped() {
                    return Ok(inner.reported(report));
                }
                report.embedded += inner.embed_and_commit(ids, &successor, &encoder)?;
                let done = report.kept + report.embedded;
                on_event(ReembedEvent::Embedded { done, chunks: inner.record().chunks.max(done) });
            }
            if stopped() {
                return Ok(inner.reported(report));
            }
            if next.is_none() {
                on_event(ReembedEvent::Indexing);
                let record = inner.record().succeeded();
                let built = Inner::new(Arc::clone(&self.store), record);
                built.vectors()?;
                next = Some(built);
            }
            let Some(built) = next.take() else { continue };
            match self.switch(&inner, built, &encoder)? {
                switch::Switch::Done { next, late, generation, truncated } => {
                    report.embedded += late;
                    report.truncated = truncated;
                    report.chunks = next.record().chunks;
                    report.complete = true;
                    on_event(ReembedEvent::Switched { generation });
                    next.save_indexes()?;
                    inner.wait_for_readers();
                    next.sweep(&stopped)?;
                    on_event(ReembedEvent::Swept);
                    return Ok(report);
                }
                // Too much was added meanwhile to be embedded while commits wait.
                switch::Switch::NotYet(built) => next = Some(*built),
            }
        }
    }

    /// The vectors to go on with: those that were begun, or new ones.
    fn begin(&self, inner: &Inner, fingerprint: &Fingerprint) -> Result<Successor> {
        // No other collection takes the same number.
        let _open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _writer = inner.writer();
        inner.refuse_unless_writable()?;
        let mut record = inner.record();
        if let Some(begun) = record.successor.as_ref().filter(|s| s.fingerprint == *fingerprint) {
            let begun = begun.clone();
            let missing = inner.missing(&begun)?.len();
            inner.refuse_unless_room_for(missing, fingerprint.dimensions, &record)?;
            return Ok(begun);
        }
        inner.refuse_unless_room_for(record.chunks, fingerprint.dimensions, &record)?;
        let vectors = self.next_number()?;
        let successor = Successor { fingerprint: fingerprint.clone(), vectors, truncated: 0 };
        let before = record.successor.replace(successor.clone());
        record.retired.extend(before.map(|before| before.vectors));
        inner.commit_record(Batch::default(), record)?;
        Ok(successor)
    }
}

/// Chunks and their vectors by the new encoder.
type Points = Vec<(u32, Embedded)>;

impl Inner {
    fn old_fingerprint(&self) -> Result<Fingerprint> {
        let record = self.record();
        record.fingerprint.ok_or_else(|| {
            Error::parameter(
                "collection",
                format!(
                    "{:?} holds vectors of the caller's own, and only the caller can make others; \
                     ingest its documents into a new collection with an encoder",
                    record.name
                ),
            )
        })
    }

    fn reported(&self, report: ReembedReport) -> ReembedReport {
        let record = self.record();
        let truncated = record.successor.map_or(0, |s| s.truncated);
        ReembedReport { chunks: record.chunks, truncated, ..report }
    }

    /// The chunks that have no new vector.
    fn missing(&self, successor: &Successor) -> Result<Bitmap> {
        let chunks = self.stored_numbers(keys::CHUNK, self.record().number)?;
        Ok(chunks - self.stored_numbers(keys::VECTOR, successor.vectors)?)
    }

    /// Commits `batch` and the collection's record. The writer is held.
    fn commit_record(&self, mut batch: Batch, record: CollectionRecord) -> Result<u64> {
        batch.put_record(keys::collection(&record.name), Kind::Collection, &record)?;
        self.store.refuse_unless_room(batch.bytes())?;
        let turn = self.store.turn()?;
        let generation = self.store.commit(batch, &turn)?;
        self.set_record(record);
        Ok(generation)
    }

    /// Embeds chunks, makes their vectors durable, and returns how many these are: none of a chunk that
    /// was removed meanwhile.
    fn embed_and_commit(
        &self,
        ids: &[u32],
        successor: &Successor,
        encoder: &EncoderHandle,
    ) -> Result<u64> {
        let (points, truncated) = self.embedded(ids, encoder)?;
        let _writer = self.writer();
        self.refuse_unless_writable()?;
        let mut record = self.record();
        let mut batch = Batch::default();
        let mut count = 0;
        for (id, embedded) in points {
            if self.store.contains(&keys::numbered(keys::CHUNK, record.number, id))? {
                embedded.put(&mut batch, successor.vectors, id)?;
                count += 1;
            }
        }
        if let Some(successor) = &mut record.successor {
            successor.truncated += truncated;
        }
        self.commit_record(batch, record)?;
        Ok(count)
    }

    /// The vectors of chunks by `encoder`, and how many of them are longer than its window. Chunks
    /// that are gone are left out.
    fn embedded(&self, ids: &[u32], encoder: &EncoderHandle) -> Result<(Points, u64)> {
        let record = self.record();
        let mut texts: Vec<String> = Vec::new();
        // Equal texts are embedded once.
        let mut places: HashMap<ContentHash, usize> = HashMap::new();
        let mut chunks = Vec::with_capacity(ids.len());
        for id in ids {
            let key = keys::numbered(keys::CHUNK, record.number, *id);
            let Some(chunk) = self.store.get_record::<ChunkRecord>(&key, Kind::Chunk)? else {
                continue;
            };
            self.refuse_own_vector(&record, &chunk)?;
            let Some(text) = self.chunk_text(record.number, &chunk)? else { continue };
            let place = *places.entry(chunk.hash).or_insert_with(|| {
                texts.push(format!("{}{text}", chunk.context));
                texts.len() - 1
            });
            chunks.push((*id, place));
        }
        if texts.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let dimensions = encoder.fingerprint().dimensions;
        let (embedded, truncated) = encoded(encoder, &record, dimensions, &texts)?;
        let of = |(id, place): (u32, usize)| Some((id, embedded.get(place)?.clone()));
        Ok((chunks.into_iter().filter_map(of).collect(), truncated))
    }

    /// A chunk without tokens has a vector of the caller's own.
    fn refuse_own_vector(&self, record: &CollectionRecord, chunk: &ChunkRecord) -> Result<()> {
        if chunk.tokens > 0 {
            return Ok(());
        }
        let document = self.document_record(record.number, chunk.document)?;
        let Some(document) = document else { return Ok(()) };
        Err(Error::parameter(
            "collection",
            format!(
                "document {:?} of {:?} has a vector of the caller's own, which no encoder can make \
                 anew; remove it, or add it without a vector",
                document.id, record.name
            ),
        ))
    }

    /// Forgets vectors that were begun with another encoder.
    fn give_up_successor(&self) -> Result<()> {
        let _writer = self.writer();
        self.refuse_unless_writable()?;
        let mut record = self.record();
        if let Some(successor) = record.successor.take() {
            record.retired.push(successor.vectors);
            self.commit_record(Batch::default(), record)?;
        }
        Ok(())
    }
}
