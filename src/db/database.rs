//! A database folder and the collections in it.

use super::collection::{Collection, Inner};
use super::options::CollectionOptions;
use crate::encode::Fingerprint;
use crate::error::{Error, Result};
use crate::store::records::CollectionRecord;
use crate::store::{self, Access, Batch, Kind, Store, keys};
use crate::vector::{Memory, Metric};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An open database folder. One process at a time has it open for writing; within the process it is
/// shared by threads, and so are its collections. For others see [`Database::open_read_only`].
pub struct Database {
    pub(super) store: Arc<Store>,
    /// Kept as long as the database, so that a collection's indexes are opened once.
    pub(super) open: Mutex<HashMap<String, Arc<Inner>>>,
}

/// What is known of a collection without opening its indexes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Documents in it.
    pub documents: u64,
    /// Chunks of these documents.
    pub chunks: u64,
    /// Elements of a vector.
    pub dimensions: usize,
    /// The encoder whose vectors it holds; none where the vectors are the caller's.
    pub fingerprint: Option<Fingerprint>,
    /// How vectors are compared.
    pub metric: Metric,
    /// What the index keeps of each vector.
    pub memory: Memory,
    /// How many tokens share one of the vectors that are kept for late interaction
    /// ([`CollectionOptions::late_interaction`]); none where none are kept.
    pub late_interaction: Option<usize>,
    /// The encoder that a re-embedding brings it to, where one was begun and is not done.
    pub successor: Option<Fingerprint>,
}

impl From<&CollectionRecord> for CollectionInfo {
    fn from(record: &CollectionRecord) -> Self {
        Self {
            name: record.name.clone(),
            documents: record.documents,
            chunks: record.chunks,
            dimensions: record.dimensions as usize,
            fingerprint: record.fingerprint.clone(),
            metric: record.metric,
            memory: record.memory,
            late_interaction: Some(record.pooled as usize).filter(|pooled| *pooled > 0),
            successor: record.successor.as_ref().map(|s| s.fingerprint.clone()),
        }
    }
}

impl Database {
    /// Opens the database in `folder`, or makes one where the folder is new or empty.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process has it open, [`Error::Corrupted`] and
    /// [`Error::NewerFormat`] for what cannot be trusted or read, [`Error::Parameter`] for a folder
    /// with other files in it.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::with(folder.as_ref(), Access::Create)
    }

    /// Opens the database in `folder`, which must be there.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of [`Database::open`].
    pub fn open_existing(folder: impl AsRef<Path>) -> Result<Self> {
        Self::with(folder.as_ref(), Access::Existing)
    }

    /// Opens the database in `folder` for reading, as of its last commit, whoever else has it open:
    /// any number of readers beside one writer. What is committed later is not seen. The reader has
    /// a copy of the store files to itself, shared with the original where the file system can do
    /// that; it is removed with the reader.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupted`], [`Error::Io`] where there is no room for the copy.
    /// Every change is refused with [`Error::ReadOnly`].
    pub fn open_read_only(folder: impl AsRef<Path>) -> Result<Self> {
        Self::with(folder.as_ref(), Access::Copy)
    }

    /// For a short visit: the files themselves where nobody has them open, else a copy.
    ///
    /// # Errors
    /// Those of [`Database::open_existing`] and [`Database::open_read_only`].
    pub fn open_to_look(folder: impl AsRef<Path>) -> Result<Self> {
        match Self::with(folder.as_ref(), Access::Now) {
            Err(Error::Locked { .. }) => Self::open_read_only(folder),
            opened => opened,
        }
    }

    pub(super) fn with(folder: &Path, access: Access) -> Result<Self> {
        let store = Arc::new(Store::open(folder, access)?);
        Ok(Self { store, open: Mutex::default() })
    }

    /// Copies the database in `folder`, as of its last commit, to the new folder `to`, with the
    /// sha256 of every file. Whoever has it open goes on, in this process or another; a commit waits
    /// while files are copied. Returns the number of bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no database, [`Error::Parameter`] where `to` is there
    /// already, [`Error::Io`]. What was copied so far is removed then.
    pub fn backup(folder: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
        store::backup(folder.as_ref(), to.as_ref())
    }

    /// Makes the new database `folder` from a backup, after checking every file and every record.
    ///
    /// # Errors
    /// [`Error::NotFound`] where `from` is no backup, [`Error::Corrupted`] naming what is not as it
    /// was backed up, [`Error::Parameter`] where `folder` is there already, [`Error::Io`]. Nothing
    /// is left of `folder` then.
    pub fn restore(from: impl AsRef<Path>, folder: impl AsRef<Path>) -> Result<()> {
        store::restore(from.as_ref(), folder.as_ref())
    }

    /// Gives back the room of what was removed or replaced: after this nothing of it is left in
    /// any file of the database. Searches go on meanwhile, commits wait. A crash leaves the database
    /// as it was before or after.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where something cannot be read back, with nothing changed.
    pub fn compact(&self) -> Result<()> {
        for info in self.collections()? {
            let collection = self.existing_collection(&info.name, &CollectionOptions::default())?;
            collection.inner.sweep(&|| false)?;
            collection.inner.compact_indexes()?;
        }
        let turn = self.store.turn()?;
        self.store.compact(&turn)
    }

    /// All collections, by name.
    ///
    /// # Errors
    /// [`Error::Corrupted`].
    pub fn collections(&self) -> Result<Vec<CollectionInfo>> {
        self.records().map(|records| records.iter().map(CollectionInfo::from).collect())
    }

    /// Opens the collection `name`, or makes it with `options`.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`] where the collection holds another encoder's vectors,
    /// [`Error::Parameter`] for settings out of range and for another metric than the collection's.
    pub fn collection(&self, name: &str, options: &CollectionOptions) -> Result<Collection> {
        self.get(name, options, || options.record(name))
    }

    /// Opens the collection `name`, which must be there. With [`CollectionOptions::default`] it
    /// answers everything that needs no encoder.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of [`Database::collection`].
    pub fn existing_collection(
        &self,
        name: &str,
        options: &CollectionOptions,
    ) -> Result<Collection> {
        self.get(name, options, || {
            let names: Vec<String> = self.records()?.into_iter().map(|r| r.name).collect();
            Err(Error::NotFound {
                what: "collection",
                name: name.to_owned(),
                hint: if names.is_empty() {
                    "the database is empty; `vdb ingest PATH` fills it".to_owned()
                } else {
                    format!("there are: {}", names.join(", "))
                },
            })
        })
    }

    /// The collection `name`; where it is not there, one with the settings of `like`.
    pub(super) fn collection_like(
        &self,
        name: &str,
        like: &CollectionRecord,
    ) -> Result<Collection> {
        let collection = self.get(name, &CollectionOptions::default(), || {
            super::options::check_name(name)?;
            super::options::check_dimensions(like.dimensions as usize)?;
            Ok(CollectionRecord {
                name: name.to_owned(),
                next_document: 0,
                next_chunk: 0,
                documents: 0,
                chunks: 0,
                successor: None,
                retired: Vec::new(),
                ..like.clone()
            })
        })?;
        let record = collection.inner.record();
        check_model(&record, like.dimensions as usize, like.fingerprint.as_ref())?;
        check_metric(&record, like.metric)?;
        Ok(collection)
    }

    /// The collection `name`, made of what `make` says where it is not there. One at a time, so that
    /// no two collections are given the same number.
    fn get(
        &self,
        name: &str,
        options: &CollectionOptions,
        make: impl FnOnce() -> Result<CollectionRecord>,
    ) -> Result<Collection> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = keys::collection(name);
        let record = match self.store.get_record(&key, Kind::Collection)? {
            Some(record) => record,
            None => self.put_collection(make()?)?,
        };
        // What the options leave open is as the collection has it.
        let dimensions = options.dimensions.unwrap_or(record.dimensions as usize);
        check_model(&record, dimensions, options.fingerprint().or(record.fingerprint.as_ref()))?;
        check_metric(&record, options.metric.unwrap_or(record.metric))?;
        let inner = open
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Inner::new(Arc::clone(&self.store), record)));
        Ok(Collection { inner: Arc::clone(inner), encoder: options.encoder.clone() })
    }

    /// The collection records, each for itself.
    pub(super) fn store_records(&self) -> Vec<Result<CollectionRecord>> {
        self.store
            .scan_records(&[keys::COLLECTION], Kind::Collection)
            .map(|item| item.map(|(_, record)| record))
            .collect()
    }

    /// Stores a new collection under the next free number.
    fn put_collection(&self, mut record: CollectionRecord) -> Result<CollectionRecord> {
        record.number = self.next_number()?;
        record.vectors = record.number;
        record.generation = self.store.generation() + 1;
        Inner::check_index_settings(&record)?;
        let mut batch = Batch::default();
        batch.put_record(keys::collection(&record.name), Kind::Collection, &record)?;
        self.store.refuse_unless_room(batch.bytes())?;
        let turn = self.store.turn()?;
        self.store.commit(batch, &turn)?;
        Ok(record)
    }

    /// A number that no collection has for itself or for its vectors. One at a time may ask.
    pub(super) fn next_number(&self) -> Result<u32> {
        let number = self.records()?.iter().map(|r| r.last_number() + 1).max().unwrap_or(0);
        // Of vectors that were given up, which may have had it.
        let folder = self.store.folder().join(store::INDEX).join(number.to_string());
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &folder)(e))
            }
            _ => Ok(number),
        }
    }

    fn records(&self) -> Result<Vec<CollectionRecord>> {
        self.store_records().into_iter().collect()
    }

    /// Commits acknowledged so far.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.store.generation()
    }

    /// Bytes that the database folder takes, indexes included.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn disk_bytes(&self) -> Result<u64> {
        folder_bytes(self.store.folder())
    }

    /// Reads every record back and returns what is damaged, in words; empty means all is well.
    /// Opening the database has already checked its manifest.
    #[must_use]
    pub fn verify(&self) -> Vec<String> {
        self.store.verify()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("folder", &self.store.folder()).finish_non_exhaustive()
    }
}

/// A collection knows its model: vectors of two models, or of two lengths, are never compared. No
/// fingerprint stands for vectors of the caller's own.
fn check_model(
    record: &CollectionRecord,
    dimensions: usize,
    fingerprint: Option<&Fingerprint>,
) -> Result<()> {
    if record.dimensions as usize != dimensions {
        return Err(Error::Dimensions { expected: record.dimensions as usize, found: dimensions });
    }
    if record.fingerprint.as_ref() == fingerprint {
        return Ok(());
    }
    let named = |fingerprint: Option<&Fingerprint>| {
        fingerprint.map_or_else(|| "vectors of the caller's own".to_owned(), ToString::to_string)
    };
    Err(Error::ModelMismatch {
        collection: record.name.clone(),
        stored: named(record.fingerprint.as_ref()),
        given: named(fingerprint),
    })
}

/// And its metric: vectors that were scaled for one say nothing by another.
fn check_metric(record: &CollectionRecord, metric: Metric) -> Result<()> {
    if record.metric == metric {
        return Ok(());
    }
    Err(Error::parameter(
        "metric",
        format!(
            "{metric}; collection {:?} compares vectors by {} and keeps to it, so name that one or \
             make a new collection",
            record.name, record.metric
        ),
    ))
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut total = 0;
    let mut pending = vec![folder.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(&next).map_err(Error::io("read", &next))?.flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => pending.push(entry.path()),
                Ok(data) => total += data.len(),
                // Removed since the listing.
                Err(_) => {}
            }
        }
    }
    Ok(total)
}
