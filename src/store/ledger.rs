//! What the store must hold: of every group of keys, how many records and the sum of their digests.
//!
//! sled can answer a damaged page with an older one, or with nothing, and say no word. A checksum in
//! the record cannot see that, since an old record is whole and a lost one is not there. So every
//! commit also writes down what each group of records that it touched now adds up to, the sums of
//! all groups add up to the manifest's, and a group is added up once, before the first answer from
//! it is believed. What is lost or out of date anywhere is then an error and never an answer.
//!
//! A group is a prefix of keys: 256 documents, texts, chunks or vectors in a row, one 256th of the
//! hashes, all collections.

use super::codec;
use super::keys;
use super::records::Head;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The part of `key` that names its group.
pub(super) fn group_of(key: &[u8]) -> &[u8] {
    let length = match key.first() {
        Some(&(keys::DOCUMENT | keys::TEXT | keys::CHUNK | keys::VECTOR | keys::TOKENS)) => 8,
        Some(&(keys::NAME | keys::HASH)) => 6,
        _ => 1,
    };
    key.get(..length).unwrap_or(key)
}

/// What a number of records add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) records: u64,
    pub(super) digest: u64,
}

impl Sum {
    pub(super) fn add(&mut self, key: &[u8], frame: &[u8]) {
        self.records += 1;
        self.digest = self.digest.wrapping_add(codec::digest(key, frame));
    }

    /// Takes a record out that was added.
    pub(super) fn subtract(&mut self, key: &[u8], frame: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(codec::digest(key, frame));
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.records.to_le_bytes());
        bytes[8..].copy_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([records, digest], []) = bytes.as_chunks::<8>() else { return None };
        Some(Self { records: u64::from_le_bytes(*records), digest: u64::from_le_bytes(*digest) })
    }
}

/// The sum of a group, and whether the store was seen to agree.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) sum: Sum,
    pub(super) checked: bool,
}

/// The sums of what was read, group by group, to be compared with the ledger.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sums: BTreeMap<Vec<u8>, Sum>,
}

impl Tally {
    /// Takes in one record of a scan of everything; the head and the ledger are in no group.
    pub(super) fn add(&mut self, key: &[u8], frame: &[u8]) {
        if key != keys::HEAD && key.first() != Some(&keys::LEDGER) {
            self.sums.entry(group_of(key).to_vec()).or_default().add(key, frame);
        }
    }

    /// An error for each group that is not as `ledger` has it, in order of the groups.
    pub(super) fn differences(&self, ledger: &Ledger) -> Vec<Error> {
        let groups: BTreeSet<&Vec<u8>> = self.sums.keys().chain(ledger.groups.keys()).collect();
        groups
            .into_iter()
            .map(|group| {
                let found = self.sums.get(group).copied().unwrap_or_default();
                (group, ledger.get(group).sum, found)
            })
            .filter(|(_, wanted, found)| wanted != found)
            .map(|(group, wanted, found)| disagreement(group, wanted, found))
            .collect()
    }
}

/// That a group has other records than were acknowledged.
pub(super) fn disagreement(group: &[u8], wanted: Sum, found: Sum) -> Error {
    Error::corrupted(
        format!("the group of records {}", codec::name(group)),
        format!(
            "{} were acknowledged and {} are there{}",
            wanted.records,
            found.records,
            if wanted.records == found.records { ", with other contents" } else { "" }
        ),
    )
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    groups: BTreeMap<Vec<u8>, Entry>,
}

impl Ledger {
    /// The key of the record that holds the sum of `group`.
    pub(super) fn key(group: &[u8]) -> Vec<u8> {
        [&[keys::LEDGER], group].concat()
    }

    /// Reads back one ledger record.
    pub(super) fn read(&mut self, key: &[u8], payload: &[u8]) -> Result<()> {
        let sum = Sum::from_bytes(payload).filter(|sum| sum.records > 0).ok_or_else(|| {
            Error::corrupted(format!("record {}", codec::name(key)), "it holds no sum")
        })?;
        let group = key.get(1..).unwrap_or_default().to_vec();
        self.groups.insert(group, Entry { sum, checked: false });
        Ok(())
    }

    /// Whether all groups together are what the head says.
    pub(super) fn agrees_with(&self, head: Head) -> bool {
        let mut records = 0u64;
        let mut digest = 0u64;
        for entry in self.groups.values() {
            records = records.wrapping_add(entry.sum.records);
            digest = digest.wrapping_add(entry.sum.digest);
        }
        (records, digest) == (head.records, head.digest)
    }

    pub(super) fn get(&self, group: &[u8]) -> Entry {
        self.groups.get(group).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, group: Vec<u8>, entry: Entry) {
        if entry.sum.records == 0 {
            self.groups.remove(&group);
        } else {
            self.groups.insert(group, entry);
        }
    }

    /// Every sum, by group.
    #[cfg(any(test, fuzzing))]
    pub(super) fn sums(&self) -> impl Iterator<Item = Sum> {
        self.groups.values().map(|entry| entry.sum)
    }

    /// Remembers that the store was seen to agree with `sum`, where that is still the sum.
    pub(super) fn mark(&mut self, group: &[u8], sum: Sum) {
        if let Some(entry) = self.groups.get_mut(group)
            && entry.sum == sum
        {
            entry.checked = true;
        }
    }

    /// The groups under `prefix` that nobody has compared with the store yet, and the one that
    /// `prefix` lies in.
    pub(super) fn unchecked(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        let within = group_of(prefix);
        let whole = self.groups.get_key_value(within).into_iter();
        let under = self.groups.range(prefix.to_vec()..).take_while(|(g, _)| g.starts_with(prefix));
        let mut found: Vec<Vec<u8>> =
            whole.chain(under).filter(|(_, e)| !e.checked).map(|(g, _)| g.clone()).collect();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_prefix_of_its_keys() {
        let key = keys::part(&keys::numbered(keys::TEXT, 7, 0x0102_0304), 5);
        assert_eq!(group_of(&key), [b't', 0, 0, 0, 7, 1, 2, 3]);
        assert_eq!(group_of(&keys::hashed(keys::NAME, 7, &[9, 8, 7])), [b'n', 0, 0, 0, 7, 9]);
        assert_eq!(group_of(&keys::collection("default")), b"c");
        assert_eq!(group_of(b"t"), b"t");
    }

    #[test]
    fn unchecked_groups_are_those_under_a_prefix_and_the_one_around_it() {
        let mut ledger = Ledger::default();
        let mut sum = Sum::default();
        sum.add(b"x", b"y");
        for number in [0, 256, 512] {
            let key = keys::numbered(keys::CHUNK, 1, number);
            ledger.set(group_of(&key).to_vec(), Entry { sum, checked: number == 256 });
        }
        assert_eq!(ledger.unchecked(&keys::prefix(keys::CHUNK, 1)).len(), 2);
        assert_eq!(ledger.unchecked(&keys::numbered(keys::CHUNK, 1, 513)).len(), 1);
        assert_eq!(ledger.unchecked(&keys::numbered(keys::CHUNK, 1, 257)).len(), 0);
        assert_eq!(ledger.unchecked(&keys::prefix(keys::CHUNK, 2)).len(), 0);
        let head = Head { generation: 1, records: 3, digest: sum.digest.wrapping_mul(3) };
        assert!(ledger.agrees_with(head));
        ledger.set(group_of(&keys::numbered(keys::CHUNK, 1, 0)).to_vec(), Entry::default());
        assert!(!ledger.agrees_with(head));
    }
}
