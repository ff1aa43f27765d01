//! The store: documents, chunks and embeddings, and the promise that what was acknowledged stays.
//!
//! A commit is one [`Batch`]: applied to sled as one unit, synced by us, then acknowledged in the
//! manifest. Every record is a checksummed frame; head record and manifest both hold the generation,
//! the number of records and the sum of their digests, so that a storage engine that silently goes
//! back in time is found out at open; the ledger breaks that sum down into groups of records, so that
//! a single lost or stale record is found out by the first read of its group.

mod backup;
mod codec;
mod compact;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzzing;
mod gate;
pub(crate) mod keys;
mod ledger;
mod lock;
mod manifest;
pub(crate) mod records;
mod room;
mod snapshot;
mod tree;
mod verify;

pub(crate) use backup::{backup, restore};
pub(crate) use codec::Kind;
use codec::Record;
pub(crate) use gate::Turn;

use crate::error::{Error, Result};
use crate::hash::Sha256;
use gate::Gate;
use ledger::{Entry, Ledger, Sum};
use lock::Lock;
use manifest::Manifest;
use records::Head;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use tempfile::TempDir;
use tree::{Changes, Tree};

const MANIFEST: &str = "MANIFEST";
/// Holds the store folders, numbered; one but for the moments of a compaction.
const RECORDS: &str = "store";
/// Holds a folder for each collection's indexes, which belong to other layers.
pub(crate) const INDEX: &str = "index";

/// Larger values become files of their own inside sled, which leak; so records are split below.
const PART_BYTES: usize = 48 << 10;

/// The changes of one commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    changes: Changes,
}

impl Batch {
    /// Puts raw bytes: a vector, an id.
    pub(crate) fn put(&mut self, key: Vec<u8>, kind: Kind, payload: &[u8]) -> Result<()> {
        let frame = codec::seal(&key, kind, payload)?;
        self.changes.insert(key, Some(frame));
        Ok(())
    }

    /// Puts the vector of a chunk among those with the number `vectors`.
    pub(crate) fn put_vector(&mut self, vectors: u32, chunk: u32, vector: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.put(keys::numbered(keys::VECTOR, vectors, chunk), Kind::Vector, &bytes)
    }

    /// Puts a structured record.
    pub(crate) fn put_record<T: Serialize>(
        &mut self,
        key: Vec<u8>,
        kind: Kind,
        value: &T,
    ) -> Result<()> {
        let payload = codec::encode(value)?;
        self.put(key, kind, &payload)
    }

    /// Puts bytes of any length as numbered parts under `base`.
    pub(crate) fn put_split(&mut self, base: &[u8], kind: Kind, bytes: &[u8]) -> Result<()> {
        let pieces: Vec<&[u8]> =
            if bytes.is_empty() { vec![bytes] } else { bytes.chunks(PART_BYTES).collect() };
        let count = u16::try_from(pieces.len()).map_err(|_| {
            Error::parameter("text", format!("{} bytes; at most 3 GiB are stored", bytes.len()))
        })?;
        for (part, piece) in (0..count).zip(pieces) {
            let payload = [&count.to_le_bytes()[..], piece].concat();
            self.put(keys::part(base, part), kind, &payload)?;
        }
        Ok(())
    }

    /// [`Batch::put_split`] of a structured record.
    pub(crate) fn put_split_record<T: Serialize>(
        &mut self,
        base: &[u8],
        kind: Kind,
        value: &T,
    ) -> Result<()> {
        let bytes = codec::encode(value)?;
        self.put_split(base, kind, &bytes)
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// Bytes of its keys and records.
    pub(crate) fn bytes(&self) -> u64 {
        let size = |(key, frame): (&Vec<u8>, &Option<Vec<u8>>)| {
            (key.len() + frame.as_ref().map_or(0, Vec::len)) as u64
        };
        self.changes.iter().map(size).sum()
    }
}

/// How a database is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Made where there is none.
    Create,
    /// It must be there. Another process that has it open is waited for, a moment.
    Existing,
    /// The same without waiting.
    Now,
    /// A copy of the last commit, beside whoever has it open.
    Copy,
    /// A copy of a damaged database, of which every record that is whole is read. What it gives may
    /// be out of date.
    Salvage,
}

/// An open database folder: the only writer, and any number of readers in this process.
pub(crate) struct Store {
    folder: PathBuf,
    /// Another one after a compaction; whoever still reads the old one keeps it.
    tree: RwLock<Arc<Tree>>,
    ledger: RwLock<Ledger>,
    manifest: Mutex<Manifest>,
    /// Set by a failed write or sync: what is on the disk is then unknown until the next open.
    poisoned: AtomicBool,
    /// Damaged groups are read all the same, for what is whole in them.
    lenient: bool,
    gate: Gate,
    _lock: Lock,
    /// The folder itself, where it is a copy that goes with this store.
    copy: Option<TempDir>,
}

impl Store {
    /// Opens the database in `folder`.
    pub(crate) fn open(folder: &Path, access: Access) -> Result<Self> {
        let is_there = folder.join(MANIFEST).exists() || folder.join(RECORDS).exists();
        if !is_there {
            refuse_unless_free(folder, access == Access::Create)?;
            tree::create_folder(folder)?;
        }
        let in_place = |patience| Self::open_locked(folder, Lock::take(folder, patience)?, None);
        match access {
            Access::Create | Access::Existing => in_place(lock::PATIENCE),
            Access::Now => in_place(Duration::ZERO),
            Access::Copy => {
                let (copy, lock) = snapshot::for_a_reader(folder)?;
                let path = copy.path().to_path_buf();
                Self::open_locked(&path, lock, Some(copy))
            }
            Access::Salvage => {
                let (copy, lock) = snapshot::for_a_reader(folder)?;
                let path = copy.path().to_path_buf();
                Self::salvage(&path, lock, Some(copy))
            }
        }
    }

    /// Opens what there is of the records in `folder`, which is a copy.
    fn salvage(folder: &Path, lock: Lock, copy: Option<TempDir>) -> Result<Self> {
        let stores = folder.join(RECORDS);
        let manifest_path = folder.join(MANIFEST);
        let number = match Manifest::open(&manifest_path) {
            Ok(manifest) => manifest.store,
            // The newest; while a compaction runs there are two.
            Err(_) => compact::newest(&stores).unwrap_or(manifest::FIRST_STORE),
        };
        let tree = Arc::new(Tree::open(&stores.join(number.to_string()))?);
        let ledger = read_sums(&tree).map(|(_, ledger)| ledger).unwrap_or_default();
        Ok(Self {
            gate: Gate::open(folder)?,
            folder: folder.to_path_buf(),
            tree: RwLock::new(tree),
            ledger: RwLock::new(ledger),
            manifest: Mutex::new(Manifest::create(&manifest_path, new_uuid(folder))?),
            poisoned: AtomicBool::new(false),
            lenient: true,
            _lock: lock,
            copy,
        })
    }

    fn open_locked(folder: &Path, lock: Lock, copy: Option<TempDir>) -> Result<Self> {
        let gate = Gate::open(folder)?;
        let turn = gate.enter()?;
        snapshot::remove_leftovers(folder);
        let manifest_path = folder.join(MANIFEST);
        let stores = folder.join(RECORDS);
        let known =
            if manifest_path.exists() { Some(Manifest::open(&manifest_path)?) } else { None };
        let number = known.as_ref().map_or(manifest::FIRST_STORE, |m| m.store);
        let store_path = stores.join(number.to_string());
        if known.is_some() && !store_path.join("db").exists() {
            return Err(Error::corrupted(
                folder.display().to_string(),
                format!("the manifest is there and the data file {RECORDS}/{number}/db is not"),
            ));
        }
        let tree = Arc::new(Tree::open(&store_path)?);
        let (head, ledger) = read_sums(&tree)?;
        let manifest = match known {
            Some(manifest) => manifest,
            // New, or a crash came between the two steps of creating it.
            None if head.generation == 0 => {
                tree.sync()?;
                tree::sync_folder(&stores)?;
                let manifest = Manifest::create(&manifest_path, new_uuid(folder))?;
                tree::sync_folder(folder)?;
                manifest
            }
            None => {
                return Err(Error::corrupted(
                    manifest_path.display().to_string(),
                    format!("it is missing beside a store of generation {}", head.generation),
                ));
            }
        };
        drop(turn);
        let store = Self {
            folder: folder.to_path_buf(),
            tree: RwLock::new(tree),
            ledger: RwLock::new(ledger),
            manifest: Mutex::new(manifest),
            poisoned: AtomicBool::new(false),
            lenient: false,
            gate,
            _lock: lock,
            copy,
        };
        store.reconcile(head)?;
        compact::remove_others(&stores, number);
        Ok(store)
    }

    /// The manifest holds what was acknowledged; the head record what sled has now. sled may be one
    /// commit ahead (a crash fell between its sync and the acknowledgement, and that commit is
    /// whole); it must never be behind.
    fn reconcile(&self, head: Head) -> Result<()> {
        let mut manifest = self.manifest();
        let acknowledged = manifest.head;
        if head == acknowledged && !manifest.one_slot {
            return Ok(());
        }
        let ahead = head.generation.checked_sub(acknowledged.generation);
        let allowed = if manifest.one_slot { 2 } else { 1 };
        match ahead {
            Some(0) if head != acknowledged => Err(Error::corrupted(
                self.folder.display().to_string(),
                format!(
                    "generation {} has {} records in the store and {} in the manifest",
                    head.generation, head.records, acknowledged.records
                ),
            )),
            Some(n) if n <= allowed => {
                let store = manifest.store;
                manifest.switch(head, store)
            }
            _ => Err(Error::corrupted(
                self.folder.display().to_string(),
                format!(
                    "the store is at generation {} and generation {} was acknowledged",
                    head.generation, acknowledged.generation
                ),
            )),
        }
    }

    /// Where the database lives.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Identifies this database in the files of its indexes.
    pub(crate) fn database(&self) -> [u8; 16] {
        self.manifest().database
    }

    /// Commits acknowledged so far.
    pub(crate) fn generation(&self) -> u64 {
        self.manifest().head.generation
    }

    /// Waits for the turn to change files. Whoever commits or writes an index holds it.
    pub(crate) fn turn(&self) -> Result<Turn<'_>> {
        self.gate.enter()
    }

    /// Whether this is a copy beside another process, which takes no commits.
    pub(crate) fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn ledger(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ledger_mut(&self) -> RwLockWriteGuard<'_, Ledger> {
        self.ledger.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `group` up, once, before anything in it is believed.
    fn trust(&self, group: &[u8]) -> Result<()> {
        if self.lenient { Ok(()) } else { self.add_up(group) }
    }

    /// Whether the group that `key` is in is as it was acknowledged.
    pub(crate) fn is_whole(&self, key: &[u8]) -> bool {
        self.add_up(ledger::group_of(key)).is_ok()
    }

    fn add_up(&self, group: &[u8]) -> Result<()> {
        // Held while reading, so that no commit changes what is added up.
        let ledger = self.ledger();
        let entry = ledger.get(group);
        if entry.checked {
            return Ok(());
        }
        let mut found = Sum::default();
        for item in self.tree().scan(group) {
            let (key, frame) = item?;
            found.add(&key, &frame);
        }
        drop(ledger);
        if found != entry.sum {
            return Err(ledger::disagreement(group, entry.sum, found));
        }
        self.ledger_mut().mark(group, found);
        Ok(())
    }

    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.trust(ledger::group_of(key))?;
        self.tree().get(key)
    }

    /// Keys and frames under `prefix`, in key order; of a group that cannot be trusted an error, and
    /// then the rest.
    fn read_all<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + use<'a> {
        // A group that is lost as a whole is met by no scan.
        let mut unmet: BTreeSet<Vec<u8>> = self.ledger().unchecked(prefix).into_iter().collect();
        let mut items = self.tree().scan(prefix).peekable();
        let length = prefix.len();
        let mut ready = VecDeque::new();
        std::iter::from_fn(move || {
            loop {
                if let Some(item) = ready.pop_front() {
                    return Some(item);
                }
                let (key, frame) = match items.next() {
                    Some(Ok(item)) => item,
                    Some(Err(error)) => return Some(Err(error)),
                    None => {
                        let group = unmet.pop_first()?;
                        match self.trust(&group) {
                            Ok(()) => continue,
                            Err(error) => return Some(Err(error)),
                        }
                    }
                };
                let group = ledger::group_of(&key).to_vec();
                unmet.remove(&group);
                // A scan that meets all of a group adds it up on the way, so that it is read once.
                let mut sum = Sum::default();
                sum.add(&key, &frame);
                let whole = length <= group.len() && key.first() != Some(&keys::TEXT);
                ready.push_back(Ok((key, frame)));
                let same = |item: &Result<(Vec<u8>, Vec<u8>)>| {
                    item.as_ref().is_ok_and(|(key, _)| ledger::group_of(key) == group)
                };
                while whole && let Some(item) = items.next_if(same) {
                    if let Ok((key, frame)) = &item {
                        sum.add(key, frame);
                    }
                    ready.push_back(item);
                }
                let entry = self.ledger().get(&group);
                if whole && !entry.checked && sum == entry.sum {
                    self.ledger_mut().mark(&group, sum);
                } else if let Err(error) = self.trust(&group) {
                    ready.clear();
                    while items.next_if(same).is_some() {}
                    return Some(Err(error));
                }
            }
        })
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.trust(ledger::group_of(key))?;
        self.tree().contains(key)
    }

    /// The payload under `key`.
    pub(crate) fn get(&self, key: &[u8], kind: Kind) -> Result<Option<Vec<u8>>> {
        let Some(frame) = self.read(key)? else { return Ok(None) };
        codec::open(key, kind, &frame).map(|payload| Some(payload.to_vec()))
    }

    /// The structured record under `key`.
    pub(crate) fn get_record<T: Record>(&self, key: &[u8], kind: Kind) -> Result<Option<T>> {
        let Some(frame) = self.read(key)? else { return Ok(None) };
        codec::open_record(key, kind, &frame).map(Some)
    }

    /// The bytes that [`Batch::put_split`] put under `base`.
    pub(crate) fn get_split(&self, base: &[u8], kind: Kind) -> Result<Option<Vec<u8>>> {
        let key = keys::part(base, 0);
        let Some(first) = self.get(&key, kind)? else { return Ok(None) };
        let (count, mut bytes) = split_part(&key, &first)?;
        for part in 1..count {
            let key = keys::part(base, part);
            let Some(payload) = self.get(&key, kind)? else {
                return Err(Error::corrupted(
                    format!("record {}", codec::name(base)),
                    format!("part {part} of {count} is missing"),
                ));
            };
            bytes.extend_from_slice(&split_part(&key, &payload)?.1);
        }
        Ok(Some(bytes))
    }

    /// Bytes `span` of what [`Batch::put_split`] put under `base`, reading only the parts it needs.
    pub(crate) fn get_split_span(
        &self,
        base: &[u8],
        kind: Kind,
        span: Range<usize>,
    ) -> Result<Option<Vec<u8>>> {
        let damaged = || {
            Error::corrupted(
                format!("record {}", codec::name(base)),
                format!("bytes {}..{} are not in it", span.start, span.end),
            )
        };
        let first = span.start / PART_BYTES;
        let last = span.end.saturating_sub(1).max(span.start) / PART_BYTES;
        let mut bytes = Vec::with_capacity((span.end.saturating_sub(span.start)).min(PART_BYTES));
        for part in first..=last {
            let key = keys::part(base, u16::try_from(part).map_err(|_| damaged())?);
            let Some(payload) = self.get(&key, kind)? else {
                // A record that is gone was deleted meanwhile; one that ends early is damaged.
                return if part == first { Ok(None) } else { Err(damaged()) };
            };
            bytes.extend_from_slice(&split_part(&key, &payload)?.1);
        }
        let offset = first * PART_BYTES;
        bytes
            .get(span.start - offset..span.end.saturating_sub(offset))
            .map(|slice| Some(slice.to_vec()))
            .ok_or_else(damaged)
    }

    /// [`Store::get_split`] of a structured record.
    pub(crate) fn get_split_record<T: DeserializeOwned>(
        &self,
        base: &[u8],
        kind: Kind,
    ) -> Result<Option<T>> {
        self.get_split(base, kind)?.map(|bytes| codec::decode(base, &bytes)).transpose()
    }

    /// Keys and payloads under `prefix`, in key order.
    pub(crate) fn scan<'a>(
        &'a self,
        prefix: &[u8],
        kind: Kind,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>> + use<'a> {
        self.read_all(prefix).map(move |item| {
            let (key, frame) = item?;
            let payload = codec::open(&key, kind, &frame)?.to_vec();
            Ok((key, payload))
        })
    }

    /// [`Store::scan`] of structured records.
    pub(crate) fn scan_records<'a, T: Record + 'a>(
        &'a self,
        prefix: &[u8],
        kind: Kind,
    ) -> impl Iterator<Item = Result<(Vec<u8>, T)>> + use<'a, T> {
        self.read_all(prefix).map(move |item| {
            let (key, frame) = item?;
            let value = codec::open_record(&key, kind, &frame)?;
            Ok((key, value))
        })
    }

    /// The split records under `prefix` with their numbers, in their order.
    pub(crate) fn scan_split_records<'a, T: DeserializeOwned + 'a>(
        &'a self,
        prefix: &[u8],
        kind: Kind,
    ) -> impl Iterator<Item = Result<(u32, T)>> + use<'a, T> {
        let mut parts = self.scan(prefix, kind).peekable();
        std::iter::from_fn(move || {
            loop {
                let (key, payload) = match parts.next()? {
                    Ok(part) => part,
                    Err(error) => return Some(Err(error)),
                };
                let base = key.get(..9).unwrap_or(&key).to_vec();
                let number = keys::number_of(&base).unwrap_or_default();
                let mut found = 1;
                let same = |part: &Result<(Vec<u8>, Vec<u8>)>| {
                    part.as_ref().is_ok_and(|(key, _)| key.starts_with(&base))
                };
                while parts.next_if(same).is_some() {
                    found += 1;
                }
                let one = found == 1 && payload.first_chunk() == Some(&[1, 0]);
                let record = if one {
                    codec::decode(&base, payload.get(2..).unwrap_or_default()).map(Some)
                } else {
                    // Of many parts, or removed in part since the scan began.
                    self.get_split_record(&base, kind)
                };
                if let Some(record) = record.transpose() {
                    return Some(record.map(|record| (number, record)));
                }
            }
        })
    }

    /// The numbers of the records under `prefix`, whose frames are added up and not looked into; a
    /// split record's number comes once.
    pub(crate) fn scan_numbers<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<u32>> + use<'a> {
        let mut last = None;
        self.read_all(prefix).filter_map(move |item| {
            let number = match item {
                Ok((key, _)) => keys::number_of(&key).ok_or_else(|| {
                    Error::corrupted(
                        format!("record {}", codec::name(&key)),
                        "its key is too short",
                    )
                }),
                Err(e) => Err(e),
            };
            match number {
                Ok(n) if last == Some(n) => None,
                Ok(n) => {
                    last = Some(n);
                    Some(Ok(n))
                }
                Err(e) => Some(Err(e)),
            }
        })
    }

    /// Adds the deletion of every part of a split record to `batch`.
    pub(crate) fn delete_split(&self, batch: &mut Batch, base: &[u8]) -> Result<()> {
        for item in self.read_all(base) {
            batch.delete(item?.0);
        }
        Ok(())
    }

    /// Commits `batch` and returns the new generation once it is durable.
    ///
    /// # Errors
    /// Whatever fails. Once something was written, nothing more is acknowledged until the database
    /// is opened again, since a failed sync may have dropped pages that a later one would not know of.
    pub(crate) fn commit(&self, batch: Batch, _turn: &Turn<'_>) -> Result<u64> {
        let mut manifest = self.manifest();
        self.refuse_unless_writable()?;
        let tree = self.tree();
        let mut head = manifest.head;
        head.generation += 1;
        let mut changes = batch.changes;
        let mut sums: BTreeMap<Vec<u8>, Sum> = BTreeMap::new();
        for (key, frame) in &changes {
            let group = ledger::group_of(key);
            if !sums.contains_key(group) {
                self.trust(group)?;
                let sum = self.ledger().get(group).sum;
                head.leave(sum);
                sums.insert(group.to_vec(), sum);
            }
            let Some(sum) = sums.get_mut(group) else { continue };
            if let Some(old) = tree.get(key)? {
                sum.subtract(key, &old);
            }
            if let Some(new) = frame {
                sum.add(key, new);
            }
        }
        for (group, sum) in &sums {
            head.enter(*sum);
            let key = Ledger::key(group);
            let frame = (sum.records > 0)
                .then(|| codec::seal(&key, Kind::Ledger, &sum.to_bytes()))
                .transpose()?;
            changes.insert(key, frame);
        }
        let frame = codec::seal(keys::HEAD, Kind::Head, &codec::encode(&head)?)?;
        changes.insert(keys::HEAD.to_vec(), Some(frame));
        let written = self.apply(&tree, changes, sums).and_then(|()| manifest.write(head));
        if written.is_err() {
            self.poisoned.store(true, Ordering::SeqCst);
        }
        written.map(|()| head.generation)
    }

    /// Readers see all of the changes or none, and do not wait for the disk.
    fn apply(&self, tree: &Tree, changes: Changes, sums: BTreeMap<Vec<u8>, Sum>) -> Result<()> {
        {
            let mut ledger = self.ledger_mut();
            tree.apply(changes)?;
            for (group, sum) in sums {
                ledger.set(group, Entry { sum, checked: true });
            }
        }
        tree.sync()
    }

    /// Refuses changes to a copy, and those after a write that failed.
    pub(crate) fn refuse_unless_writable(&self) -> Result<()> {
        if self.is_copy() {
            return Err(Error::ReadOnly { path: self.folder.clone() });
        }
        if self.poisoned.load(Ordering::SeqCst) { Err(self.failed_before()) } else { Ok(()) }
    }

    /// Refuses a commit of `bytes` that the disk has no room for, before anything is written.
    ///
    /// # Errors
    /// [`Error::Io`] of the kind `StorageFull`.
    pub(crate) fn refuse_unless_room(&self, bytes: u64) -> Result<()> {
        room::check(&self.folder, bytes)
    }

    /// The room that [`Store::refuse_unless_room`] asks for.
    pub(crate) fn wanted_room(bytes: u64) -> u64 {
        room::wanted(bytes)
    }

    /// What is said to a change that comes after a write that failed.
    pub(crate) fn failed_before(&self) -> Error {
        Error::corrupted(
            self.folder.display().to_string(),
            "an earlier write failed, so nothing more is accepted; open the database again",
        )
    }

    fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The head record and the ledger, which must add up to it.
fn read_sums(tree: &Arc<Tree>) -> Result<(Head, Ledger)> {
    let head = match tree.get(keys::HEAD)? {
        None => Head::default(),
        Some(frame) => codec::open_record(keys::HEAD, Kind::Head, &frame)?,
    };
    let mut ledger = Ledger::default();
    for item in tree.scan(&[keys::LEDGER]) {
        let (key, frame) = item?;
        ledger.read(&key, codec::open(&key, Kind::Ledger, &frame)?)?;
    }
    if ledger.agrees_with(head) {
        return Ok((head, ledger));
    }
    Err(Error::corrupted(
        "the ledger of the store",
        format!("its groups do not add up to the {} records of the head", head.records),
    ))
}

fn split_part(key: &[u8], payload: &[u8]) -> Result<(u16, Vec<u8>)> {
    match payload.split_first_chunk::<2>() {
        Some((count, rest)) => Ok((u16::from_le_bytes(*count), rest.to_vec())),
        None => Err(Error::corrupted(
            format!("record {}", codec::name(key)),
            "a part has no part count",
        )),
    }
}

/// A database is made in a new or empty folder only, so that a mistyped path harms nothing.
fn refuse_unless_free(folder: &Path, create: bool) -> Result<()> {
    if !create {
        return Err(Error::NotFound {
            what: "database",
            name: folder.display().to_string(),
            hint: "make one with `vdb ingest PATH`, or name another folder with --db".to_owned(),
        });
    }
    let foreign = match std::fs::read_dir(folder) {
        Ok(entries) => {
            entries.flatten().any(|e| e.file_name() != "LOCK" && e.file_name() != "GATE")
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => return Err(Error::io("read", folder)(e)),
    };
    if foreign {
        return Err(Error::parameter(
            "database folder",
            format!(
                "{} holds other files and no vdb database; name a new folder",
                folder.display()
            ),
        ));
    }
    Ok(())
}

fn new_uuid(folder: &Path) -> [u8; 16] {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    content_hash(&[
        &random.to_le_bytes(),
        &now.to_le_bytes(),
        folder.as_os_str().as_encoded_bytes(),
    ])
}

/// First 16 bytes of the sha256 over `parts`, each preceded by its length.
pub(crate) fn content_hash(parts: &[&[u8]]) -> records::ContentHash {
    let mut hasher = Sha256::default();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finish()[..16]);
    out
}

#[cfg(test)]
mod tests;
