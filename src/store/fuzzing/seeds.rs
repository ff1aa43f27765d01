//! Records and small files as the store writes them.

use super::super::backup::List;
use super::super::codec;
use super::super::ledger::{Ledger, Sum};
use super::super::manifest::Slot;
use super::super::records::{ChunkRecord, CollectionRecord, DocumentRecord, Head};
use super::{KINDS, Kind, keys};
use crate::encode::Fingerprint;
use crate::text::{Document, Heading, Value};
use crate::vector::{Memory, Metric};

const HEAD: Head = Head { generation: 3, records: 12, digest: 0x0123_4567_89ab_cdef };

/// Every record as a frame and as what a frame holds.
pub(crate) fn records() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (key, kind, payload) in samples() {
        let nth = u8::try_from(KINDS.iter().position(|k| *k == kind).unwrap()).unwrap();
        let frame = codec::seal(&key, kind, &payload).unwrap();
        for (form, bytes) in [(0, &frame), (1, &frame), (2, &payload)] {
            let head = [form, nth, u8::try_from(key.len()).unwrap()];
            seeds.push([&head, key.as_slice(), bytes].concat());
        }
    }
    seeds
}

fn samples() -> Vec<(Vec<u8>, Kind, Vec<u8>)> {
    let document = codec::encode(&document()).unwrap();
    let mut sum = Sum::default();
    sum.add(b"key", b"frame");
    let numbered = |letter| keys::numbered(letter, 1, 258);
    let part = |letter| keys::part(&numbered(letter), 0);
    vec![
        (keys::HEAD.to_vec(), Kind::Head, codec::encode(&HEAD).unwrap()),
        (keys::collection("words"), Kind::Collection, codec::encode(&collection()).unwrap()),
        (part(keys::DOCUMENT), Kind::Document, [&[1, 0], document.as_slice()].concat()),
        (part(keys::TEXT), Kind::Text, b"\x01\x00some text".to_vec()),
        (numbered(keys::CHUNK), Kind::Chunk, codec::encode(&chunk()).unwrap()),
        (keys::part(&numbered(keys::TOKENS), 0), Kind::Tokens, vec![1, 0, 7]),
        (numbered(keys::VECTOR), Kind::Vector, 1f32.to_le_bytes().to_vec()),
        (keys::hashed(keys::NAME, 1, &[5; 16]), Kind::Name, 7u32.to_le_bytes().to_vec()),
        (keys::hashed(keys::HASH, 1, &[6; 16]), Kind::Hash, 8u32.to_le_bytes().to_vec()),
        (Ledger::key(b"c"), Kind::Ledger, sum.to_bytes().to_vec()),
    ]
}

fn collection() -> CollectionRecord {
    let fingerprint = Fingerprint {
        model: "m".to_owned(),
        weights: "ab".repeat(32),
        tokenizer: "cd".repeat(32),
        pooling: "mean".to_owned(),
        query_prefix: "query: ".to_owned(),
        document_prefix: String::new(),
        window: 256,
        precision: "int8 1".to_owned(),
        dimensions: 4,
    };
    CollectionRecord {
        number: 1,
        name: "words".to_owned(),
        dimensions: 4,
        fingerprint: Some(fingerprint),
        max_tokens: 256,
        overlap_tokens: 0,
        m: 16,
        ef_construction: 200,
        language: "english".to_owned(),
        next_document: 259,
        next_chunk: 259,
        documents: 1,
        chunks: 1,
        generation: 3,
        metric: Metric::Dot,
        memory: Memory::Balanced,
        vectors: 1,
        successor: None,
        retired: vec![2],
        pooled: 4,
    }
}

fn document() -> DocumentRecord {
    let list = vec![Value::Null, Value::from(-1), Value::from(vec![Value::from(0.5)])];
    let document = Document::new("id", "some text").field("list", list).field("yes", true);
    DocumentRecord {
        id: document.id,
        title: Some("Title".to_owned()),
        metadata: document.metadata,
        origin: document.origin,
        headings: vec![Heading { level: 1, text: "some".to_owned(), span: 0..4 }],
        hash: [3; 16],
        text_bytes: 9,
        chunks: 258..259,
        generation: 3,
    }
}

fn chunk() -> ChunkRecord {
    ChunkRecord {
        document: 258,
        span: 0..9,
        lines: (1, 1),
        heading: vec!["some".to_owned()],
        context: "Title\n".to_owned(),
        hash: [4; 16],
        tokens: 3,
    }
}

/// The used bytes of both slots, and one that was cut short.
pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let slot = |generation| {
        Slot { database: [7; 16], head: Head { generation, ..HEAD }, store: 1 }.to_bytes()
    };
    vec![[slot(4), slot(3)].concat(), slot(4), slot(3)[..40].to_vec()]
}

pub(crate) fn backup_lists() -> Vec<Vec<u8>> {
    let entry =
        |path: &str| format!(r#"{{"path":"{path}","bytes":3,"sha256":"{}"}}"#, "0".repeat(64));
    let list = |paths: &[&str]| {
        let files: Vec<String> = paths.iter().map(|path| entry(path)).collect();
        format!(r#"{{"version":1,"files":[{}]}}"#, files.join(","))
    };
    let good = list(&["MANIFEST", "store/1/db"]);
    assert_eq!(List::parse("BACKUP".as_ref(), &good).unwrap().files.len(), 2);
    [good, list(&["../x"]), list(&["/etc/x", "./a"])].map(String::into_bytes).to_vec()
}
