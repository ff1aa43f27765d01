//! A document with all that was made of it, read from one collection and put into another as it is.

use super::collection::Inner;
use super::write::{Pending, check_id};
use crate::error::{Error, Result};
use crate::store::Kind;
use crate::store::keys;
use crate::store::records::{ChunkRecord, ContentHash};
use crate::text::Document;
use crate::vector::Space;
use serde::{Deserialize, Serialize};

/// A document, its chunks and their vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Whole {
    pub(super) document: Document,
    pub(super) hash: ContentHash,
    pub(super) chunks: Vec<WholeChunk>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct WholeChunk {
    pub(super) record: ChunkRecord,
    pub(super) vector: Vec<f32>,
}

impl Whole {
    /// Whether it can stand in a collection of such vectors.
    pub(super) fn check(&self, space: Space) -> Result<()> {
        check_id(&self.document.id)?;
        for chunk in &self.chunks {
            space.check(&chunk.vector)?;
            if self.document.text.get(chunk.record.bytes()).is_none() {
                return Err(Error::parameter(
                    "document",
                    format!("{:?} has a chunk that is not inside its text", self.document.id),
                ));
            }
        }
        Ok(())
    }
}

/// The caller's own vector, where the document came with one: then its chunk has no tokens.
pub(super) fn own_vector(chunks: &[WholeChunk]) -> Option<Vec<f32>> {
    chunks.first().filter(|c| c.record.tokens == 0).map(|c| c.vector.clone())
}

impl Inner {
    /// Document `number`, all of it.
    ///
    /// # Errors
    /// [`Error::Corrupted`] that names the document and the first part of it that is not as it was
    /// stored.
    pub(super) fn whole(&self, number: u32) -> Result<Whole> {
        let record = self.record();
        let Some(stored) = self.document_record(record.number, number)? else {
            return Err(Error::corrupted(format!("document {number}"), "its record is missing"));
        };
        let name = || format!("document {:?}", stored.id);
        let text = self.document_text(record.number, number, &stored)?;
        let mut chunks = Vec::with_capacity(stored.chunks.len().min(1 << 16));
        for chunk in stored.chunks.clone() {
            let bad = |detail: &str| Error::corrupted(name(), format!("chunk {chunk} {detail}"));
            let key = keys::numbered(keys::CHUNK, record.number, chunk);
            let found: Option<ChunkRecord> =
                self.store.get_record(&key, Kind::Chunk).map_err(|e| e.in_whole(name))?;
            let found = found.ok_or_else(|| bad("is missing"))?;
            if found.document != number {
                return Err(bad("is of another document"));
            }
            if text.get(found.bytes()).is_none() {
                return Err(bad("is not inside its text"));
            }
            let vector = self.vector(&record, chunk).map_err(|e| e.in_whole(name))?;
            chunks.push(WholeChunk { record: found, vector });
        }
        let vector = own_vector(&chunks);
        let document = Document {
            id: stored.id,
            title: stored.title,
            text,
            metadata: stored.metadata,
            origin: stored.origin,
            headings: stored.headings,
            source_code: false,
            vector,
        };
        Ok(Whole { document, hash: stored.hash, chunks })
    }

    /// Commits whole documents, replacing those with the same ids.
    pub(super) fn put_whole(&self, documents: Vec<Whole>) -> Result<()> {
        let space = self.record().space();
        let mut pending = Vec::with_capacity(documents.len());
        for whole in documents {
            whole.check(space)?;
            let Whole { document, hash, chunks } = whole;
            let chunks = chunks.into_iter().map(|c| (c.record, c.vector)).collect();
            pending.push(Pending::whole(document, hash, chunks));
        }
        self.commit(pending, &[]).map(drop)
    }
}
