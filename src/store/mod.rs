//! The store: documents, chunks and embeddings, and the promise that what was acknowledged stays.
//!
//! A commit is one [`Batch`]: applied to sled as one unit, synced by us, then acknowledged in the
//! manifest. Every record is a checksummed frame; the head record and the manifest both hold the
//! generation, the number of records and the sum of their digests, so that a storage engine that
//! silently goes back in time is found out at open, and a single lost or stale record by a full
//! [`Store::verify`].

mod codec;
pub(crate) mod keys;
mod lock;
mod manifest;
pub(crate) mod records;
mod tree;
mod verify;

pub(crate) use codec::Kind;

use crate::error::{Error, Result};
use crate::hash::Sha256;
use lock::Lock;
use manifest::Manifest;
use records::Head;
use serde::{Serialize, de::DeserializeOwned};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use tree::{Changes, Tree};

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
}

/// An open database folder: the only writer, and any number of readers in this process.
pub(crate) struct Store {
    folder: PathBuf,
    tree: Tree,
    manifest: Mutex<Manifest>,
    /// Set by a failed write or sync: what is on the disk is then unknown until the next open.
    poisoned: AtomicBool,
    _lock: Lock,
}

impl Store {
    /// Opens the database in `folder`; makes one where there is none and `create` is set.
    pub(crate) fn open(folder: &Path, create: bool) -> Result<Self> {
        let manifest_path = folder.join("MANIFEST");
        let store_path = folder.join("store");
        if !manifest_path.exists() && !store_path.exists() {
            refuse_unless_free(folder, create)?;
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let lock = Lock::take(folder)?;
        if manifest_path.exists() && !store_path.join("db").exists() {
            return Err(Error::corrupted(
                folder.display().to_string(),
                "the manifest is there and the data file store/db is not",
            ));
        }
        let tree = Tree::open(&store_path)?;
        let head = read_head(&tree)?;
        let manifest = if manifest_path.exists() {
            Manifest::open(&manifest_path)?
        } else if head.generation == 0 {
            // New, or a crash came between the two steps of creating it.
            tree.sync()?;
            let manifest = Manifest::create(&manifest_path, new_uuid(folder))?;
            tree::sync_folder(folder)?;
            manifest
        } else {
            return Err(Error::corrupted(
                manifest_path.display().to_string(),
                format!("it is missing beside a store of generation {}", head.generation),
            ));
        };
        let store = Self {
            folder: folder.to_path_buf(),
            tree,
            manifest: Mutex::new(manifest),
            poisoned: AtomicBool::new(false),
            _lock: lock,
        };
        store.reconcile(head)?;
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
            Some(n) if n <= allowed => manifest.write(head),
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

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool> {
        self.tree.contains(key)
    }

    /// The payload under `key`.
    pub(crate) fn get(&self, key: &[u8], kind: Kind) -> Result<Option<Vec<u8>>> {
        let Some(frame) = self.tree.get(key)? else { return Ok(None) };
        codec::open(key, kind, &frame).map(|payload| Some(payload.to_vec()))
    }

    /// The structured record under `key`.
    pub(crate) fn get_record<T: DeserializeOwned>(
        &self,
        key: &[u8],
        kind: Kind,
    ) -> Result<Option<T>> {
        let Some(frame) = self.tree.get(key)? else { return Ok(None) };
        codec::decode(key, codec::open(key, kind, &frame)?).map(Some)
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
        self.tree.scan(prefix).map(move |item| {
            let (key, frame) = item?;
            let payload = codec::open(&key, kind, &frame)?.to_vec();
            Ok((key, payload))
        })
    }

    /// [`Store::scan`] of structured records.
    pub(crate) fn scan_records<'a, T: DeserializeOwned + 'a>(
        &'a self,
        prefix: &[u8],
        kind: Kind,
    ) -> impl Iterator<Item = Result<(Vec<u8>, T)>> + use<'a, T> {
        self.scan(prefix, kind).map(|item| {
            let (key, payload) = item?;
            let value = codec::decode(&key, &payload)?;
            Ok((key, value))
        })
    }

    /// The numbers of the records under `prefix`, without reading the records; a split record's
    /// number comes once.
    pub(crate) fn scan_numbers<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<u32>> + use<'a> {
        let mut last = None;
        self.tree.scan(prefix).filter_map(move |item| {
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
        for item in self.tree.scan(base) {
            batch.delete(item?.0);
        }
        Ok(())
    }

    /// Commits `batch` and returns the new generation once it is durable.
    ///
    /// # Errors
    /// Whatever fails; from then on nothing is acknowledged until the database is opened again,
    /// since a failed sync may have dropped pages that a later one would not know of.
    pub(crate) fn commit(&self, batch: Batch) -> Result<u64> {
        let mut manifest = self.manifest();
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(Error::corrupted(
                self.folder.display().to_string(),
                "an earlier write failed, so nothing more is accepted; open the database again",
            ));
        }
        let mut head = manifest.head;
        head.generation += 1;
        for (key, frame) in &batch.changes {
            if let Some(old) = self.tree.get(key)? {
                head.records -= 1;
                head.digest = head.digest.wrapping_sub(codec::digest(key, &old));
            }
            if let Some(new) = frame {
                head.records += 1;
                head.digest = head.digest.wrapping_add(codec::digest(key, new));
            }
        }
        let mut changes = batch.changes;
        let frame = codec::seal(keys::HEAD, Kind::Head, &codec::encode(&head)?)?;
        changes.insert(keys::HEAD.to_vec(), Some(frame));
        let written = self.tree.commit(changes).and_then(|()| manifest.write(head));
        if written.is_err() {
            self.poisoned.store(true, Ordering::SeqCst);
        }
        written.map(|()| head.generation)
    }

    fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.manifest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read_head(tree: &Tree) -> Result<Head> {
    match tree.get(keys::HEAD)? {
        None => Ok(Head::default()),
        Some(frame) => codec::decode(keys::HEAD, codec::open(keys::HEAD, Kind::Head, &frame)?),
    }
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
        Ok(entries) => entries.flatten().any(|e| e.file_name() != "LOCK"),
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
