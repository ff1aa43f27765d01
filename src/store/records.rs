//! The structured records, as they are encoded.

use super::ledger::Sum;
use crate::encode::Fingerprint;
use crate::text::{Heading, Metadata, Origin};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// First 16 bytes of a sha256.
pub(crate) type ContentHash = [u8; 16];

/// One per database, rewritten by every commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Commits so far.
    pub(crate) generation: u64,
    /// Records, this one and the ledger left out.
    pub(crate) records: u64,
    /// Sum (wrapping) of the digests of these records.
    pub(crate) digest: u64,
}

impl Head {
    /// Leaves out a group that is about to change.
    pub(super) fn leave(&mut self, group: Sum) {
        self.records = self.records.wrapping_sub(group.records);
        self.digest = self.digest.wrapping_sub(group.digest);
    }

    /// Takes it in again as it is now.
    pub(super) fn enter(&mut self, group: Sum) {
        self.records = self.records.wrapping_add(group.records);
        self.digest = self.digest.wrapping_add(group.digest);
    }
}

/// A collection's settings and counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CollectionRecord {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) dimensions: u32,
    /// None where the vectors are the caller's.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) max_tokens: u32,
    pub(crate) overlap_tokens: u32,
    pub(crate) m: u32,
    pub(crate) ef_construction: u32,
    pub(crate) language: String,
    /// The next document and chunk number; numbers are never used twice.
    pub(crate) next_document: u32,
    pub(crate) next_chunk: u32,
    pub(crate) documents: u64,
    pub(crate) chunks: u64,
    /// The generation that last changed this collection; its indexes carry the same one.
    pub(crate) generation: u64,
}

/// A document without its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DocumentRecord {
    pub(crate) id: String,
    pub(crate) title: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) origin: Origin,
    pub(crate) headings: Vec<Heading>,
    /// Of everything above and the text: equal means nothing to do.
    pub(crate) hash: ContentHash,
    pub(crate) text_bytes: u64,
    /// Its chunks, numbered without a gap.
    pub(crate) chunks: Range<u32>,
    pub(crate) generation: u64,
}

/// A chunk: where it stands in its document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChunkRecord {
    pub(crate) document: u32,
    pub(crate) span: Range<u64>,
    /// First and last line in the stored text, from 1.
    pub(crate) lines: (u64, u64),
    /// Heading path, outermost first.
    pub(crate) heading: Vec<String>,
    /// What stands in front of the chunk's text where it is embedded: title and heading path.
    pub(crate) context: String,
    /// Of the text that was embedded.
    pub(crate) hash: ContentHash,
    pub(crate) tokens: u32,
}
