//! What the fuzz targets see of the store: frames under their keys, and its small files.

use super::codec::{self, Kind, Record};
use super::ledger::{self, Ledger, Sum};
use super::records::{ChunkRecord, CollectionRecord, DocumentRecord, Head};
use super::{backup, keys, manifest, split_part, verify};
use crate::hash::checksum;
use serde::Serialize;
use std::path::Path;

#[cfg(test)]
pub(crate) mod seeds;

const KINDS: [Kind; 10] = [
    Kind::Head,
    Kind::Collection,
    Kind::Document,
    Kind::Text,
    Kind::Chunk,
    Kind::Vector,
    Kind::Name,
    Kind::Hash,
    Kind::Ledger,
    Kind::Tokens,
];

/// Form, kind, length of the key, key, and then by the form: a frame; a frame whose checksum is made
/// right; what a whole frame holds.
pub(crate) fn records(data: &[u8]) {
    let [form, kind, length, rest @ ..] = data else { return };
    let Some((key, bytes)) = rest.split_at_checked(usize::from(*length)) else { return };
    let Some(kind) = KINDS.get(usize::from(*kind) % KINDS.len()).copied() else { return };
    let frame = match form % 3 {
        0 => Some(bytes.to_vec()),
        1 => summed(key, bytes),
        _ => codec::seal(key, kind, bytes).ok(),
    };
    let Some(frame) = frame else { return };
    take_apart(key);
    let _ = verify::check(key, &frame);
    if let Ok((version, payload)) = codec::open_any(key, kind, &frame) {
        let written = codec::seal_as(key, kind, version, payload).unwrap_or_default();
        assert_eq!(written, frame, "a frame that opens is one that we write, or wrote");
        decoded(key, kind, version, payload);
    }
}

/// The frame `bytes` with the checksum that it should have.
fn summed(key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = bytes.split_at_checked(8)?;
    let payload = rest.get(8..)?;
    let sum = codec::checksum(key, header, payload).to_le_bytes();
    Some([header, &sum, payload].concat())
}

fn take_apart(key: &[u8]) {
    assert!(key.starts_with(ledger::group_of(key)), "a group is a prefix");
    let _ = codec::name(key);
    if let Some(number) = keys::number_of(key) {
        assert_eq!(key.get(5..9), Some(&number.to_be_bytes()[..]));
    }
}

fn decoded(key: &[u8], kind: Kind, version: u8, payload: &[u8]) {
    match kind {
        Kind::Head => comes_back::<Head>(key, version, payload),
        Kind::Collection => comes_back::<CollectionRecord>(key, version, payload),
        Kind::Chunk => comes_back::<ChunkRecord>(key, version, payload),
        Kind::Document | Kind::Text => {
            let Ok((_, part)) = split_part(key, payload) else { return };
            comes_back::<DocumentRecord>(key, version, &part);
        }
        Kind::Ledger => {
            let mut ledger = Ledger::default();
            if ledger.read(key, payload).is_ok() {
                let sums: Vec<_> = ledger.sums().map(Sum::to_bytes).collect();
                assert_eq!(sums.concat(), payload, "a sum that is read is written the same");
                let _ = (ledger.agrees_with(Head::default()), ledger.unchecked(key));
            }
        }
        Kind::Tokens => {
            let Ok((_, part)) = split_part(key, payload) else { return };
            for dimensions in [1, 4, 384] {
                if let Some(text) = crate::encode::tokens::unpooled(&part, dimensions) {
                    assert_eq!(text.vectors.len(), part.len() / (dimensions + 4) * dimensions);
                }
            }
        }
        Kind::Vector | Kind::Name | Kind::Hash => {}
    }
}

/// What decodes is, encoded, the same again. Compared as bytes, since a NaN is not equal to itself.
fn comes_back<T: Serialize + Record>(key: &[u8], version: u8, payload: &[u8]) {
    let Ok(value) = T::from_payload(key, version, payload) else { return };
    let Ok(bytes) = codec::encode(&value) else { return };
    let again = codec::decode::<T>(key, &bytes).and_then(|value| codec::encode(&value));
    assert_eq!(again.ok(), Some(bytes), "what was decoded can be stored");
}

/// The slots of a manifest, 64 bytes each: the rest of a slot is not used.
pub(crate) fn manifest(slots: &[u8], make_sums_right: bool) {
    let mut bytes = Vec::new();
    for slot in slots.chunks(manifest::USED).take(2) {
        let start = bytes.len();
        bytes.extend_from_slice(slot);
        if slot.len() < manifest::USED {
            break;
        }
        if make_sums_right && let Some(summed) = slot.get(..manifest::SUMMED) {
            bytes.truncate(start + manifest::SUMMED);
            bytes.extend_from_slice(&checksum([summed]).to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(manifest::SLOT), 0);
    }
    if let Ok((slot, _)) = manifest::newest(&bytes, Path::new("MANIFEST")) {
        let written = slot.to_bytes();
        let there = bytes.chunks(manifest::SLOT).any(|slot| slot.starts_with(&written));
        assert!(there, "a slot that is read is one that we write");
    }
}

pub(crate) fn backup_list(text: &str) {
    if let Ok(list) = backup::List::parse(Path::new("BACKUP"), text) {
        for entry in &list.files {
            let inside = Path::new("backup").join(&entry.path);
            assert!(inside.starts_with("backup"), "{} is outside", inside.display());
        }
    }
}
