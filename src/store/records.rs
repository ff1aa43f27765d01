//! The structured records, as they are encoded.

use super::codec::{self, Record};
use super::ledger::Sum;
use crate::encode::Fingerprint;
use crate::error::Result;
use crate::text::{Heading, Metadata, Origin};
use crate::vector::{Memory, Metric};
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

impl Record for Head {}

/// A collection's settings and counters, as of version 4 of its frames. Fields that older versions did
/// not have stand last, and are left out in exports that were made before there was one.
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
    /// How vectors are compared.
    #[serde(default)]
    pub(crate) metric: Metric,
    /// What the index keeps of each vector.
    #[serde(default)]
    pub(crate) memory: Memory,
    /// The number under which its vectors are stored and indexed: its own, until it is re-embedded.
    #[serde(default)]
    pub(crate) vectors: u32,
    /// The vectors that are being made by another encoder.
    #[serde(default)]
    pub(crate) successor: Option<Successor>,
    /// Numbers of vectors that nothing reads any more, until they are removed.
    #[serde(default)]
    pub(crate) retired: Vec<u32>,
    /// How many tokens share one of the vectors that are kept for late interaction; 0 where none are
    /// kept.
    #[serde(default)]
    pub(crate) pooled: u32,
}

/// A collection's next vectors, of which some or all are stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Successor {
    pub(crate) fingerprint: Fingerprint,
    /// The number under which they are stored.
    pub(crate) vectors: u32,
    /// How many of the chunks that were embedded did not fit the encoder's window.
    pub(crate) truncated: u64,
}

impl CollectionRecord {
    /// The highest number that its records and indexes have.
    pub(crate) fn last_number(&self) -> u32 {
        let successor = self.successor.as_ref().map(|s| s.vectors);
        let others = self.retired.iter().copied().chain(successor).chain([self.vectors]);
        others.fold(self.number, u32::max)
    }
}

impl Record for CollectionRecord {
    fn from_payload(key: &[u8], version: u8, payload: &[u8]) -> Result<Self> {
        match version {
            1 => codec::decode::<CollectionRecord1>(key, payload).map(Self::from),
            2 => codec::decode::<CollectionRecord2>(key, payload).map(Self::from),
            3 => codec::decode::<CollectionRecord3>(key, payload).map(Self::from),
            _ => codec::decode(key, payload),
        }
    }
}

/// The same as of version 3.
#[derive(Deserialize)]
struct CollectionRecord3 {
    second: CollectionRecord2,
    vectors: u32,
    successor: Option<Successor>,
    retired: Vec<u32>,
}

impl From<CollectionRecord3> for CollectionRecord {
    fn from(old: CollectionRecord3) -> Self {
        Self {
            vectors: old.vectors,
            successor: old.successor,
            retired: old.retired,
            ..old.second.into()
        }
    }
}

/// The same as of version 2.
#[derive(Deserialize)]
struct CollectionRecord2 {
    first: CollectionRecord1,
    metric: Metric,
    memory: Memory,
}

impl From<CollectionRecord2> for CollectionRecord {
    fn from(old: CollectionRecord2) -> Self {
        Self { metric: old.metric, memory: old.memory, ..old.first.into() }
    }
}

/// The same as of version 1.
#[derive(Deserialize)]
struct CollectionRecord1 {
    number: u32,
    name: String,
    dimensions: u32,
    fingerprint: Option<Fingerprint>,
    max_tokens: u32,
    overlap_tokens: u32,
    m: u32,
    ef_construction: u32,
    language: String,
    next_document: u32,
    next_chunk: u32,
    documents: u64,
    chunks: u64,
    generation: u64,
}

impl From<CollectionRecord1> for CollectionRecord {
    fn from(old: CollectionRecord1) -> Self {
        Self {
            number: old.number,
            name: old.name,
            dimensions: old.dimensions,
            fingerprint: old.fingerprint,
            max_tokens: old.max_tokens,
            overlap_tokens: old.overlap_tokens,
            m: old.m,
            ef_construction: old.ef_construction,
            language: old.language,
            next_document: old.next_document,
            next_chunk: old.next_chunk,
            documents: old.documents,
            chunks: old.chunks,
            generation: old.generation,
            metric: Metric::Cosine,
            memory: Memory::Speed,
            vectors: old.number,
            successor: None,
            retired: Vec::new(),
            pooled: 0,
        }
    }
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

impl Record for DocumentRecord {}

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

impl Record for ChunkRecord {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    /// The payload of version 1, by `docs/format.md`, and its 14 fields: numbers below 251 are a byte,
    /// others 251 and two bytes, an option and a string begin with their form and length.
    #[test]
    fn a_collection_of_version_1_is_read() {
        let payload = [
            &[3, 3][..],
            b"old",
            &[251, 0, 3, 0, 200, 0, 16, 200, 7],
            b"english",
            &[9, 250, 8, 251, 0, 1, 12],
        ]
        .concat();
        let key = super::super::keys::collection("old");
        let frame = codec::seal_as(&key, Kind::Collection, 1, &payload).unwrap();
        let record: CollectionRecord = codec::open_record(&key, Kind::Collection, &frame).unwrap();
        let expected = CollectionRecord {
            number: 3,
            name: "old".to_owned(),
            dimensions: 768,
            fingerprint: None,
            max_tokens: 200,
            overlap_tokens: 0,
            m: 16,
            ef_construction: 200,
            language: "english".to_owned(),
            next_document: 9,
            next_chunk: 250,
            documents: 8,
            chunks: 256,
            generation: 12,
            metric: Metric::Cosine,
            memory: Memory::Speed,
            vectors: 3,
            successor: None,
            retired: Vec::new(),
            pooled: 0,
        };
        assert_eq!(record, expected);
        // Version 2 has two more fields: here another metric, and the memory.
        let second = [&payload[..], &[2, 0]].concat();
        let frame = codec::seal_as(&key, Kind::Collection, 2, &second).unwrap();
        let record: CollectionRecord = codec::open_record(&key, Kind::Collection, &frame).unwrap();
        assert_eq!(record, CollectionRecord { metric: Metric::Euclidean, ..expected.clone() });
        // Version 3 has the number of its vectors, a successor, and numbers that are retired.
        let third = [&payload[..], &[0, 0, 3, 0, 1, 9]].concat();
        let frame = codec::seal_as(&key, Kind::Collection, 3, &third).unwrap();
        let record: CollectionRecord = codec::open_record(&key, Kind::Collection, &frame).unwrap();
        assert_eq!(record, CollectionRecord { retired: vec![9], ..expected.clone() });
        // It is written as of version 4: no successor, none that are retired, no token vectors.
        let payload = [&payload[..], &[0, 0, 3, 0, 0, 0]].concat();
        assert_eq!(codec::encode(&expected).unwrap(), payload);
        let frame = codec::seal(&key, Kind::Collection, &payload).unwrap();
        assert_eq!(frame[2], 4);
        let record: CollectionRecord = codec::open_record(&key, Kind::Collection, &frame).unwrap();
        assert_eq!(record, expected);
        // A version says what its payload is, to the byte.
        for (version, payload) in
            [(1, &payload[..]), (2, &second[..second.len() - 1]), (3, &second[..]), (4, &third[..])]
        {
            let frame = codec::seal_as(&key, Kind::Collection, version, payload).unwrap();
            assert!(
                codec::open_record::<CollectionRecord>(&key, Kind::Collection, &frame).is_err()
            );
        }
    }
}
