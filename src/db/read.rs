//! Reading documents back.

use super::collection::{Collection, Inner};
use crate::error::{Error, Result};
use crate::store::records::{ChunkRecord, DocumentRecord};
use crate::store::{Kind, keys};
use crate::text::{Metadata, Origin};
use std::ops::Range;

/// A document without its text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DocumentInfo {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: Option<String>,
    /// Its fields.
    pub metadata: Metadata,
    /// Where its text came from.
    pub origin: Origin,
    /// Bytes of its text.
    pub text_bytes: u64,
    /// Chunks that it was cut into.
    pub chunks: usize,
}

/// A document as it is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StoredDocument {
    /// Everything but the text.
    pub info: DocumentInfo,
    /// The text that chunk spans point into.
    pub text: String,
    /// Its chunks, in order.
    pub chunks: Vec<StoredChunk>,
}

/// A chunk of a stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredChunk {
    /// Number of the chunk in its collection; never used twice.
    pub number: u32,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// Lines of the document's text, from 1, both ends included.
    pub lines: (u64, u64),
    /// Headings that it stands under, outermost first.
    pub heading: Vec<String>,
    /// Length in the encoder's tokens as embedded; 0 where the vector is the caller's.
    pub tokens: usize,
}

impl From<DocumentRecord> for DocumentInfo {
    fn from(record: DocumentRecord) -> Self {
        Self {
            id: record.id,
            title: record.title,
            metadata: record.metadata,
            origin: record.origin,
            text_bytes: record.text_bytes,
            chunks: record.chunks.len(),
        }
    }
}

impl Collection {
    /// All documents, in the order in which they were added or last changed.
    ///
    /// # Errors
    /// Each item is an error where its record is damaged; the rest is still listed.
    pub fn documents(&self) -> impl Iterator<Item = Result<DocumentInfo>> + '_ {
        let prefix = keys::prefix(keys::DOCUMENT, self.inner.record().number);
        self.inner
            .store
            .scan_split_records::<DocumentRecord>(&prefix, Kind::Document)
            .map(|item| item.map(|(_, record)| record.into()))
    }

    /// The document with this id, its text and its chunks; none where there is no such document.
    ///
    /// # Errors
    /// [`Error::Corrupted`].
    pub fn get(&self, id: &str) -> Result<Option<StoredDocument>> {
        loop {
            let Some(number) = self.inner.find(id)? else { return Ok(None) };
            match self.stored(number) {
                // Replaced or removed while it was read: its parts were not of one commit.
                Err(Error::Corrupted { .. }) if self.inner.find(id)? != Some(number) => {}
                read => return read.map(Some),
            }
        }
    }

    fn stored(&self, number: u32) -> Result<StoredDocument> {
        let collection = self.inner.record().number;
        let Some(record) = self.inner.document_record(collection, number)? else {
            return Err(Error::corrupted(format!("document {number}"), "its record is missing"));
        };
        let text = self.inner.document_text(collection, number, &record)?;
        let mut chunks = Vec::with_capacity(record.chunks.len().min(1 << 16));
        for chunk in record.chunks.clone() {
            let key = keys::numbered(keys::CHUNK, collection, chunk);
            let Some(found) = self.inner.store.get_record::<ChunkRecord>(&key, Kind::Chunk)? else {
                return Err(Error::corrupted(format!("chunk {chunk}"), "its record is missing"));
            };
            chunks.push(found.stored(chunk));
        }
        Ok(StoredDocument { info: record.into(), text, chunks })
    }
}

impl Inner {
    pub(super) fn document_record(
        &self,
        collection: u32,
        number: u32,
    ) -> Result<Option<DocumentRecord>> {
        let base = keys::numbered(keys::DOCUMENT, collection, number);
        self.store.get_split_record(&base, Kind::Document)
    }

    /// The text of the document whose record is `stored`.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where it is missing, of another length, or no text.
    pub(super) fn document_text(
        &self,
        collection: u32,
        number: u32,
        stored: &DocumentRecord,
    ) -> Result<String> {
        let name = || format!("text of document {:?}", stored.id);
        let bad = |detail: String| Error::corrupted(name(), detail);
        let base = keys::numbered(keys::TEXT, collection, number);
        let read = self.store.get_split(&base, Kind::Text).map_err(|e| e.in_whole(name))?;
        let Some(bytes) = read else {
            return Err(bad("it is missing".to_owned()));
        };
        if bytes.len() as u64 != stored.text_bytes {
            return Err(bad(format!(
                "{} bytes where {} were stored",
                bytes.len(),
                stored.text_bytes
            )));
        }
        String::from_utf8(bytes)
            .map_err(|e| bad(format!("it is not UTF-8 from byte {}", e.utf8_error().valid_up_to())))
    }
}

impl ChunkRecord {
    fn stored(self, number: u32) -> StoredChunk {
        StoredChunk {
            number,
            span: self.bytes(),
            lines: self.lines,
            heading: self.heading,
            tokens: self.tokens as usize,
        }
    }

    /// The span as indexes of this machine.
    pub(super) fn bytes(&self) -> Range<usize> {
        let bound = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        bound(self.span.start)..bound(self.span.end)
    }
}
