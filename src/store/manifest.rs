//! The generation manifest: what was acknowledged last, in a file of its own.
//!
//! sled answers a flipped bit or a torn write by going back to an older state without a word, so
//! the last acknowledged generation is written down beside it, with the number of records and their
//! digest. Two slots of 4,096 bytes are written in turn and synced: a torn write can only hit the
//! slot that was not the newest.
//!
//! ```text
//! offset  size  field of a slot
//!      0     4  magic "VDBM"
//!      4     4  format version, 1 (all numbers little-endian)
//!      8    16  database uuid
//!     24     8  generation
//!     32     8  records
//!     40     8  digest
//!     48     8  number of the store folder
//!     56     8  checksum: xxh3-64 of bytes 0..56
//! ```

use super::records::Head;
use crate::error::{Error, Result};
use crate::hash::checksum;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 4] = *b"VDBM";
const VERSION: u32 = 1;
/// Number of a new database's store folder.
pub(super) const FIRST_STORE: u64 = 1;
pub(super) const SLOT: usize = 4096;
pub(super) const USED: usize = 64;
pub(super) const SUMMED: usize = 56;

#[derive(Debug)]
pub(super) struct Manifest {
    file: File,
    path: PathBuf,
    pub(super) database: [u8; 16],
    pub(super) head: Head,
    /// Number of the folder that holds the records; another one after each compaction.
    pub(super) store: u64,
    /// One of the two slots did not check; the other may be one generation behind.
    pub(super) one_slot: bool,
}

impl Manifest {
    /// Writes a new manifest of generation 0. It has its name once it is whole: half of one would
    /// keep the database from ever being opened.
    pub(super) fn create(path: &Path, database: [u8; 16]) -> Result<Self> {
        let draft = path.with_extension("tmp");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&draft)
            .map_err(Error::io("create", &draft))?;
        let mut manifest = Self {
            file,
            path: path.to_path_buf(),
            database,
            head: Head::default(),
            store: FIRST_STORE,
            one_slot: false,
        };
        manifest.write_slot(1, Head::default(), FIRST_STORE)?;
        manifest.write_slot(0, Head::default(), FIRST_STORE)?;
        std::fs::rename(&draft, path).map_err(Error::io("create", path))?;
        Ok(manifest)
    }

    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(Error::io("open", path))?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(2 * SLOT as u64)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", path))?;
        let (Slot { database, head, store }, one_slot) = newest(&bytes, path)?;
        Ok(Self { file, path: path.to_path_buf(), database, head, store, one_slot })
    }

    /// Acknowledges `head`: returns once the slot is on the disk.
    pub(super) fn write(&mut self, head: Head) -> Result<()> {
        self.write_slot(head.generation % 2, head, self.store)?;
        self.head = head;
        Ok(())
    }

    /// Acknowledges `head` in another store folder. Both slots name it in the end, so that the old
    /// folder can go.
    pub(super) fn switch(&mut self, head: Head, store: u64) -> Result<()> {
        self.write_slot(head.generation % 2, head, store)?;
        (self.head, self.store) = (head, store);
        self.write_slot((head.generation + 1) % 2, head, store)
    }

    fn write_slot(&mut self, slot: u64, head: Head, store: u64) -> Result<()> {
        let bytes = Slot { database: self.database, head, store }.to_bytes();
        self.file
            .seek(SeekFrom::Start(slot * SLOT as u64))
            .and_then(|_| self.file.write_all(&bytes))
            .and_then(|()| self.file.sync_all())
            .map_err(Error::io("write", &self.path))
    }
}

/// What a slot holds.
pub(super) struct Slot {
    pub(super) database: [u8; 16],
    pub(super) head: Head,
    pub(super) store: u64,
}

impl Slot {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Head { generation, records, digest } = self.head;
        let mut bytes = Vec::with_capacity(USED);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.database);
        for number in [generation, records, digest, self.store] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let sum = checksum([&*bytes]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// The newest whole slot of a manifest's bytes, and whether the other one is damaged.
pub(super) fn newest(bytes: &[u8], path: &Path) -> Result<(Slot, bool)> {
    let slots: Vec<Result<Slot>> = bytes.chunks(SLOT).map(|slot| parse(slot, path)).collect();
    if let Some(newer) = slots.iter().find_map(|s| match s {
        Err(Error::NewerFormat { found, .. }) => Some(*found),
        _ => None,
    }) {
        return Err(Error::NewerFormat {
            what: path.display().to_string(),
            found: newer,
            supported: VERSION,
        });
    }
    let whole = slots.iter().filter(|s| s.is_ok()).count();
    let newest = slots.into_iter().flatten().max_by_key(|slot| slot.head.generation);
    let newest = newest.ok_or_else(|| {
        Error::corrupted(path.display().to_string(), "neither of its two slots is whole")
    })?;
    Ok((newest, whole < 2))
}

fn parse(slot: &[u8], path: &Path) -> Result<Slot> {
    let damaged = |detail: &str| Error::corrupted(path.display().to_string(), detail);
    let Some((used, _)) = slot.split_first_chunk::<USED>() else {
        return Err(damaged("a slot is cut short"));
    };
    if used[..4] != MAGIC {
        return Err(damaged("a slot does not begin with its magic"));
    }
    let mut numbers = [0u64; 5];
    for (number, bytes) in numbers.iter_mut().zip(used[24..].as_chunks::<8>().0) {
        *number = u64::from_le_bytes(*bytes);
    }
    let [generation, records, digest, store, sum] = numbers;
    if sum != checksum([&used[..SUMMED]]) {
        return Err(damaged("a slot's checksum does not match"));
    }
    let version = u32::from_le_bytes([used[4], used[5], used[6], used[7]]);
    if version > VERSION {
        return Err(Error::NewerFormat {
            what: path.display().to_string(),
            found: version,
            supported: VERSION,
        });
    }
    if version != VERSION {
        return Err(damaged("a slot has a format version that never was"));
    }
    let mut database = [0; 16];
    database.copy_from_slice(&used[8..24]);
    Ok(Slot { database, head: Head { generation, records, digest }, store })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(generation: u64) -> Head {
        Head { generation, records: generation * 3, digest: generation * 7 }
    }

    #[test]
    fn the_newest_whole_slot_counts_at_every_torn_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("MANIFEST");
        let mut manifest = Manifest::create(&path, [7; 16]).unwrap();
        for generation in 1..=4 {
            manifest.write(head(generation)).unwrap();
        }
        assert_eq!(Manifest::open(&path).unwrap().head, head(4));
        let whole = std::fs::read(&path).unwrap();
        // Generation 4 stands in slot 0; a write of generation 5 would go to slot 1. Whatever a
        // torn write leaves of slot 1, generation 4 stands.
        for cut in 0..USED {
            let mut torn = whole.clone();
            torn[4096 + cut..4096 + USED].fill(0xA5);
            std::fs::write(&path, &torn).unwrap();
            let opened = Manifest::open(&path).unwrap();
            assert_eq!((opened.head, opened.one_slot), (head(4), true), "cut at {cut}");
        }
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(Manifest::open(&path), Err(Error::Corrupted { .. })));
    }
}
