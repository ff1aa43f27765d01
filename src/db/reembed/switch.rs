//! The moment in which a collection's vectors become others, and what is left to do after it.

use super::{BATCH_CHUNKS, Points};
use crate::db::collection::Inner;
use crate::db::database::Database;
use crate::encode::EncoderHandle;
use crate::error::{Error, Result};
use crate::index::Bitmap;
use crate::store::records::CollectionRecord;
use crate::store::{Batch, Kind, keys};
use std::sync::{Arc, PoisonError};

/// Vectors that are removed in one commit.
const SWEEP: usize = 4096;

pub(super) enum Switch {
    Done {
        next: Arc<Inner>,
        /// Chunks that were embedded at the last moment.
        late: u64,
        generation: u64,
        truncated: u64,
    },
    /// Nothing has changed; the index is given back.
    NotYet(Box<Inner>),
}

impl CollectionRecord {
    /// What it is once its successor has taken over.
    pub(super) fn succeeded(&self) -> Self {
        let mut record = self.clone();
        let Some(successor) = record.successor.take() else { return record };
        record.retired.push(record.vectors);
        record.vectors = successor.vectors;
        record.dimensions = u32::try_from(successor.fingerprint.dimensions).unwrap_or(u32::MAX);
        let window = u32::try_from(successor.fingerprint.window).unwrap_or(u32::MAX);
        record.max_tokens = record.max_tokens.min(window);
        record.overlap_tokens = record.overlap_tokens.min(record.max_tokens / 2);
        record.fingerprint = Some(successor.fingerprint);
        record
    }
}

impl Database {
    /// Puts `next`, whose index is built, in the place of `inner`, in one commit. What was added since
    /// is embedded while commits wait, if it is not much.
    pub(super) fn switch(
        &self,
        inner: &Arc<Inner>,
        next: Inner,
        encoder: &EncoderHandle,
    ) -> Result<Switch> {
        // Nobody opens the collection meanwhile, so that its record and what is open agree.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let _writer = inner.writer();
        inner.refuse_unless_writable()?;
        let record = inner.record();
        let Some(successor) = &record.successor else {
            return Err(Error::corrupted(
                format!("collection {:?}", record.name),
                "its new vectors are gone while they were being made",
            ));
        };
        let chunks = inner.stored_numbers(keys::CHUNK, record.number)?;
        let stored = inner.stored_numbers(keys::VECTOR, successor.vectors)?;
        let missing: Vec<u32> = (&chunks - &stored).iter().collect();
        if missing.len() > BATCH_CHUNKS {
            return Ok(Switch::NotYet(Box::new(next)));
        }
        let (late, truncated) = inner.embedded(&missing, encoder)?;
        let mut new = record.succeeded();
        let mut batch = Batch::default();
        for (id, embedded) in &late {
            embedded.put(&mut batch, new.vectors, *id)?;
        }
        for id in &stored - &chunks {
            batch.delete(keys::numbered(keys::VECTOR, new.vectors, id));
            let tokens = keys::numbered(keys::TOKENS, new.vectors, id);
            inner.store.delete_split(&mut batch, &tokens)?;
        }
        bring_up_to_date(&next, &chunks, &late)?;
        self.store.refuse_unless_room(batch.bytes())?;
        let turn = self.store.turn()?;
        new.generation = self.store.generation() + 1;
        batch.put_record(keys::collection(&new.name), Kind::Collection, &new)?;
        let generation = self.store.commit(batch, &turn)?;
        // The switch stands from here on.
        if let Some(fingerprint) = &new.fingerprint {
            let _ = inner.replaced.set(fingerprint.clone());
        }
        #[cfg(feature = "keyword")]
        if let Some(keywords) = inner.keywords.get() {
            // What fails here is made up for by the next open.
            let _ = keywords.apply(&[], &Bitmap::new(), generation);
            let _ = next.keywords.set(Arc::clone(keywords));
        }
        let name = new.name.clone();
        next.set_record(new);
        let next = Arc::new(next);
        open.insert(name, Arc::clone(&next));
        let truncated = successor.truncated + truncated;
        Ok(Switch::Done { next, late: late.len() as u64, generation, truncated })
    }
}

/// Brings the index of `next` from what was there when it was built to `chunks`, of which `late` are
/// not stored yet.
fn bring_up_to_date(next: &Inner, chunks: &Bitmap, late: &Points) -> Result<()> {
    let index = next.vectors()?;
    let record = next.record();
    let indexed = index.ids();
    index.remove(&(&indexed - chunks));
    let mut new = chunks - &indexed;
    for (id, embedded) in late {
        index.insert(&[(*id, &embedded.vector)])?;
        new.remove(*id);
    }
    for id in new {
        index.insert(&[(id, &next.vector(&record, id)?)])?;
    }
    Ok(())
}

impl Inner {
    /// Returns when nothing that was begun with these vectors, which are of the past, is going on.
    pub(super) fn wait_for_readers(&self) {
        drop(self.writer());
        drop(self.running.write().unwrap_or_else(PoisonError::into_inner));
        if let Some(index) = self.opened_vectors() {
            index.rest();
        }
    }

    /// Removes vectors that nothing reads any more, and their index; what `stopped` leaves is for
    /// another time.
    ///
    /// # Errors
    /// Those of a commit.
    pub(in crate::db) fn sweep(&self, stopped: &dyn Fn() -> bool) -> Result<()> {
        for vectors in self.record().retired {
            let prefix = keys::prefix(keys::VECTOR, vectors);
            loop {
                if stopped() {
                    return Ok(());
                }
                let numbers: Vec<u32> =
                    self.store.scan_numbers(&prefix).take(SWEEP).collect::<Result<_>>()?;
                let _writer = self.writer();
                self.refuse_unless_writable()?;
                let mut record = self.record();
                let mut batch = Batch::default();
                for number in &numbers {
                    batch.delete(keys::numbered(keys::VECTOR, vectors, *number));
                    let tokens = keys::numbered(keys::TOKENS, vectors, *number);
                    self.store.delete_split(&mut batch, &tokens)?;
                }
                if numbers.is_empty() {
                    // What stays of a cache takes room and does no harm.
                    let _ = std::fs::remove_dir_all(self.folder("vectors", vectors));
                    record.retired.retain(|number| *number != vectors);
                }
                self.commit_record(batch, record)?;
                if numbers.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }
}
