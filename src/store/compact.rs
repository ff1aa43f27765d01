//! Compaction: the records that are there move to a new store folder, and the old one goes.
//!
//! sled is a log: what was removed stays in its files until they happen to be written over. Copying
//! what is alive gives the room back and leaves nothing of the rest. The manifest says which folder
//! counts, so a crash at any point leaves the old folder in force or the new one, and the next open
//! removes the other.

use super::gate::Turn;
use super::ledger::Tally;
use super::tree::{self, Changes, Tree};
use super::{Kind, RECORDS, Store, codec, keys};
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of records that are copied in one batch.
const BATCH_BYTES: usize = 4 << 20;
/// How long readers of the old folder are waited for before it is left to the next open.
const PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Moves all records to a new folder. Reads go on meanwhile, commits wait.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where a record is damaged: then nothing has changed.
    pub(crate) fn compact(&self, _turn: &Turn<'_>) -> Result<()> {
        let mut manifest = self.manifest();
        self.refuse_unless_writable()?;
        let stores = self.folder.join(RECORDS);
        let number = manifest.store + 1;
        let path = stores.join(number.to_string());
        tree::remove_folder(&path)?;
        let mut head = manifest.head;
        head.generation += 1;
        let copied = self.copy_to(&path).and_then(|fresh| {
            let frame = codec::seal(keys::HEAD, Kind::Head, &codec::encode(&head)?)?;
            fresh.apply([(keys::HEAD.to_vec(), Some(frame))].into())?;
            fresh.sync()?;
            tree::sync_folder(&stores)?;
            Ok(fresh)
        });
        let fresh = match copied {
            Ok(fresh) => fresh,
            Err(error) => {
                let _ = tree::remove_folder(&path);
                return Err(error);
            }
        };
        if let Err(error) = manifest.switch(head, number) {
            // Which of the two folders the manifest names is unknown until it is read again.
            self.poisoned.store(true, std::sync::atomic::Ordering::SeqCst);
            return Err(error);
        }
        let old = std::mem::replace(
            &mut *self.tree.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(fresh),
        );
        drop(manifest);
        let deadline = Instant::now() + PATIENCE;
        while Arc::strong_count(&old) > 1 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if Arc::strong_count(&old) == 1 {
            drop(old);
            remove_others(&stores, number);
        }
        Ok(())
    }

    /// Copies every record but the head, and compares what was copied with the ledger.
    fn copy_to(&self, path: &Path) -> Result<Tree> {
        let fresh = Tree::open(path)?;
        let mut tally = Tally::default();
        let mut changes = Changes::new();
        let mut bytes = 0;
        for item in self.tree().scan(&[]) {
            let (key, frame) = item?;
            if key == keys::HEAD {
                continue;
            }
            tally.add(&key, &frame);
            bytes += key.len() + frame.len();
            changes.insert(key, Some(frame));
            if bytes >= BATCH_BYTES {
                fresh.apply(std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        fresh.apply(changes)?;
        if tally.differences(&self.ledger()).is_empty() {
            return Ok(fresh);
        }
        Err(Error::corrupted(
            self.folder.display().to_string(),
            "some records are not as they were acknowledged, so it was not compacted",
        ))
    }
}

/// Store folders that are not in force: of an interrupted compaction, or left for slow readers.
pub(super) fn remove_others(stores: &Path, number: u64) {
    let current = number.to_string();
    for entry in std::fs::read_dir(stores).into_iter().flatten().flatten() {
        if entry.file_name() != current.as_str() {
            // One that stays is removed the next time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The highest number of a store folder.
pub(super) fn newest(stores: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(stores).ok()?.flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).max()
}
