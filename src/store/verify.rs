//! Reading everything back: every frame, and the number and sum of each group against the ledger.

use super::ledger::Tally;
use super::records::{ChunkRecord, CollectionRecord, DocumentRecord};
use super::{Kind, Store, codec, keys};
use crate::error::{Error, Result};

impl Store {
    /// Checks every record and returns what is damaged, in words; empty means all is well.
    pub(crate) fn verify(&self) -> Vec<String> {
        // No commit meanwhile.
        let _manifest = self.manifest();
        let mut damage = Vec::new();
        let mut tally = Tally::default();
        for item in self.tree().scan(&[]) {
            let (key, frame) = match item {
                Ok(item) => item,
                Err(e) => {
                    damage.push(e.to_string());
                    break;
                }
            };
            tally.add(&key, &frame);
            if let Err(e) = check(&key, &frame) {
                damage.push(e.to_string());
            }
        }
        let differences = tally.differences(&self.ledger());
        damage.extend(differences.iter().map(Error::to_string));
        damage
    }
}

pub(super) fn check(key: &[u8], frame: &[u8]) -> Result<()> {
    let open = |kind| codec::open(key, kind, frame);
    match key.first() {
        Some(b'H') => open(Kind::Head).map(drop),
        Some(&keys::COLLECTION) => {
            codec::open_record::<CollectionRecord>(key, Kind::Collection, frame).map(drop)
        }
        // A split record can only be decoded as a whole; its first part alone, where it is all.
        Some(&keys::DOCUMENT) => match open(Kind::Document)?.split_first_chunk::<2>() {
            Some(([1, 0], whole)) => codec::decode::<DocumentRecord>(key, whole).map(drop),
            Some(_) => Ok(()),
            None => Err(Error::corrupted(codec::name(key), "a part has no part count")),
        },
        Some(&keys::TEXT) => open(Kind::Text).map(drop),
        Some(&keys::NAME) => open(Kind::Name).map(drop),
        Some(&keys::CHUNK) => codec::open_record::<ChunkRecord>(key, Kind::Chunk, frame).map(drop),
        Some(&keys::VECTOR) => open(Kind::Vector).map(drop),
        Some(&keys::TOKENS) => open(Kind::Tokens).map(drop),
        Some(&keys::HASH) => open(Kind::Hash).map(drop),
        Some(&keys::LEDGER) => open(Kind::Ledger).map(drop),
        _ => Err(Error::corrupted(
            format!("record {}", codec::name(key)),
            "no kind of record has such a key",
        )),
    }
}
