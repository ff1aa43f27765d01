//! Reading everything back: every frame, and their number and sum against the manifest.

use super::records::{ChunkRecord, CollectionRecord, DocumentRecord};
use super::{Kind, Store, codec, keys};
use crate::error::{Error, Result};

impl Store {
    /// Checks every record and returns what is damaged, in words; empty means all is well.
    pub(crate) fn verify(&self) -> Vec<String> {
        let manifest = self.manifest();
        let mut damage = Vec::new();
        let (mut records, mut digest) = (0u64, 0u64);
        for item in self.tree.scan(&[]) {
            let (key, frame) = match item {
                Ok(item) => item,
                Err(e) => {
                    damage.push(e.to_string());
                    // sled's iterator does not promise to go on after an error.
                    break;
                }
            };
            if key != keys::HEAD {
                records += 1;
                digest = digest.wrapping_add(codec::digest(&key, &frame));
            }
            if let Err(e) = check(&key, &frame) {
                damage.push(e.to_string());
            }
        }
        let head = manifest.head;
        if (records, digest) != (head.records, head.digest) {
            damage.push(format!(
                "generation {}: {} records were acknowledged and {records} are there{}",
                head.generation,
                head.records,
                if records == head.records { ", with other contents" } else { "" }
            ));
        }
        damage
    }
}

fn check(key: &[u8], frame: &[u8]) -> Result<()> {
    let open = |kind| codec::open(key, kind, frame);
    match key.first() {
        Some(b'H') => open(Kind::Head).map(drop),
        Some(&keys::COLLECTION) => {
            codec::decode::<CollectionRecord>(key, open(Kind::Collection)?).map(drop)
        }
        // A split record can only be decoded as a whole; its first part alone, where it is all.
        Some(&keys::DOCUMENT) => match open(Kind::Document)?.split_first_chunk::<2>() {
            Some(([1, 0], whole)) => codec::decode::<DocumentRecord>(key, whole).map(drop),
            Some(_) => Ok(()),
            None => Err(Error::corrupted(codec::name(key), "a part has no part count")),
        },
        Some(&keys::TEXT) => open(Kind::Text).map(drop),
        Some(&keys::NAME) => open(Kind::Name).map(drop),
        Some(&keys::CHUNK) => codec::decode::<ChunkRecord>(key, open(Kind::Chunk)?).map(drop),
        Some(&keys::VECTOR) => open(Kind::Vector).map(drop),
        Some(&keys::HASH) => open(Kind::Hash).map(drop),
        _ => Err(Error::corrupted(
            format!("record {}", codec::name(key)),
            "no kind of record has such a key",
        )),
    }
}
