//! A database folder and the collections in it.

use super::collection::{Collection, Inner};
use super::options::CollectionOptions;
use crate::encode::Fingerprint;
use crate::error::{Error, Result};
use crate::store::records::CollectionRecord;
use crate::store::{Batch, Kind, Store, keys};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An open database folder. One process at a time has it open; within the process it is shared by
/// threads, and so are its collections.
pub struct Database {
    store: Arc<Store>,
    /// Kept as long as the database, so that a collection's indexes are opened once.
    open: Mutex<HashMap<String, Arc<Inner>>>,
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
}

impl From<&CollectionRecord> for CollectionInfo {
    fn from(record: &CollectionRecord) -> Self {
        Self {
            name: record.name.clone(),
            documents: record.documents,
            chunks: record.chunks,
            dimensions: record.dimensions as usize,
            fingerprint: record.fingerprint.clone(),
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
        Self::with(folder.as_ref(), true)
    }

    /// Opens the database in `folder`, which must be there.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of [`Database::open`].
    pub fn open_existing(folder: impl AsRef<Path>) -> Result<Self> {
        Self::with(folder.as_ref(), false)
    }

    fn with(folder: &Path, create: bool) -> Result<Self> {
        let store = Arc::new(Store::open(folder, create)?);
        Ok(Self { store, open: Mutex::default() })
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
    /// [`Error::Parameter`] for settings out of range.
    pub fn collection(&self, name: &str, options: &CollectionOptions) -> Result<Collection> {
        self.get(name, options, true)
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
        self.get(name, options, false)
    }

    fn get(&self, name: &str, options: &CollectionOptions, create: bool) -> Result<Collection> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = keys::collection(name);
        let record = match self.store.get_record(&key, Kind::Collection)? {
            Some(record) => record,
            None if create => self.create(name, options)?,
            None => {
                let names: Vec<String> = self.records()?.into_iter().map(|r| r.name).collect();
                return Err(Error::NotFound {
                    what: "collection",
                    name: name.to_owned(),
                    hint: if names.is_empty() {
                        "the database is empty; `vdb ingest PATH` fills it".to_owned()
                    } else {
                        format!("there are: {}", names.join(", "))
                    },
                });
            }
        };
        check_model(&record, options)?;
        let inner = open
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Inner::new(Arc::clone(&self.store), record)));
        Ok(Collection { inner: Arc::clone(inner), encoder: options.encoder.clone() })
    }

    fn create(&self, name: &str, options: &CollectionOptions) -> Result<CollectionRecord> {
        let taken = self.records()?.iter().map(|r| r.number + 1).max().unwrap_or(0);
        let mut record = options.record(name, taken)?;
        record.generation = self.store.generation() + 1;
        Inner::check_index_settings(&record)?;
        let mut batch = Batch::default();
        batch.put_record(keys::collection(name), Kind::Collection, &record)?;
        self.store.commit(batch)?;
        Ok(record)
    }

    fn records(&self) -> Result<Vec<CollectionRecord>> {
        self.store
            .scan_records(&[keys::COLLECTION], Kind::Collection)
            .map(|item| item.map(|(_, record)| record))
            .collect()
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

/// A collection knows its model: vectors of two models are never compared.
fn check_model(record: &CollectionRecord, options: &CollectionOptions) -> Result<()> {
    if let Some(dimensions) = options.dimensions.filter(|d| *d != record.dimensions as usize) {
        return Err(Error::Dimensions { expected: record.dimensions as usize, found: dimensions });
    }
    let Some(given) = options.fingerprint() else { return Ok(()) };
    if record.fingerprint.as_ref() == Some(given) {
        return Ok(());
    }
    Err(Error::ModelMismatch {
        collection: record.name.clone(),
        stored: record
            .fingerprint
            .as_ref()
            .map_or_else(|| "vectors of the caller's own".to_owned(), ToString::to_string),
        given: given.to_string(),
    })
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
