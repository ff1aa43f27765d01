//! Whole documents out of one database and into another: chunks and vectors as they are, nothing cut
//! or embedded again. Export, import and repair are three uses of it.

#[cfg(feature = "arrow")]
mod arrow;

#[cfg(feature = "arrow")]
pub use arrow::ARROW_MAGIC;

use super::collection::Collection;
use super::database::Database;
use super::options::CollectionOptions;
use super::whole::Whole;
use crate::error::{Error, Result};
use crate::store::records::CollectionRecord;
use crate::store::{Access, keys};
use crate::vector::Metric;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::path::Path;

/// Version 1 is of collections by cosine. A program that knows no other metric would take vectors of
/// any length for damage, so it is told that there is a newer format.
const VERSION: u32 = 2;
/// Documents of one commit.
const BATCH: usize = 256;
/// A line holds a document with all its vectors; a longer one is no export of ours.
const MAX_LINE_BYTES: u64 = 8 << 30;

/// The first line of an export.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    vdb_export: u32,
    collection: CollectionRecord,
}

impl Header {
    fn new(collection: CollectionRecord) -> Self {
        let vdb_export = if collection.metric == Metric::Cosine { 1 } else { VERSION };
        let collection = CollectionRecord {
            vectors: collection.number,
            successor: None,
            retired: Vec::new(),
            ..collection
        };
        Self { vdb_export, collection }
    }

    fn check_version(&self, origin: &str) -> Result<()> {
        match self.vdb_export {
            1..=VERSION => Ok(()),
            newer if newer > VERSION => Err(Error::NewerFormat {
                what: origin.to_owned(),
                found: newer,
                supported: VERSION,
            }),
            never => Err(Error::Parse {
                origin: origin.to_owned(),
                line: Some(1),
                reason: format!("there is no format version {never}"),
            }),
        }
    }
}

/// What a repair brought over and what it could not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// Documents that are in the new database, whole.
    pub documents: usize,
    /// What was lost, in words, a document or collection each.
    pub lost: Vec<String>,
    /// Ids of documents that are whole but stood among damaged records: an older text may have come
    /// back, or a document that had been removed.
    pub doubtful: Vec<String>,
}

impl Collection {
    /// Writes the collection as JSONL: a line with its settings, then a line for each document with
    /// its text, metadata, chunks and vectors. Numbers keep every bit. Returns the number of
    /// documents. It is of one generation: commits to the collection wait until it is written,
    /// searches go on.
    ///
    /// # Errors
    /// [`Error::Io`] of `out`, [`Error::Corrupted`].
    pub fn export(&self, out: &mut impl Write) -> Result<usize> {
        let inner = &self.inner;
        let _writer = inner.writer();
        inner.refuse_if_replaced()?;
        let record = inner.record();
        let prefix = keys::prefix(keys::DOCUMENT, record.number);
        write_line(out, &Header::new(record))?;
        let mut count = 0;
        for number in inner.store.scan_numbers(&prefix) {
            write_line(out, &inner.whole(number?)?)?;
            count += 1;
        }
        out.flush().map_err(Error::io("write", "the export"))?;
        Ok(count)
    }
}

fn write_line(out: &mut impl Write, value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)
        .map_err(|e| Error::parameter("document", format!("it cannot be encoded: {e}")))?;
    line.push(b'\n');
    out.write_all(&line).map_err(Error::io("write", "the export"))
}

impl Database {
    /// Reads what [`Collection::export`] wrote into the collection `name`, which is made where it is
    /// not there; one that is must have the same model, dimensions and metric. `origin` names the input in
    /// errors. Returns the number of documents.
    ///
    /// # Errors
    /// [`Error::Parse`] with the line; what came before it is in then. [`Error::ModelMismatch`],
    /// [`Error::Dimensions`], [`Error::Parameter`] for another metric.
    pub fn import(&self, name: &str, origin: &str, input: &mut impl BufRead) -> Result<usize> {
        let mut lines = Lines { input, line: 0, origin };
        let collection = self.collection_like(name, &lines.header()?)?;
        let mut count = 0;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let whole = lines.document()?;
            let last = whole.is_none();
            batch.extend(whole);
            if batch.len() == BATCH || (last && !batch.is_empty()) {
                count += batch.len();
                collection.inner.put_whole(std::mem::take(&mut batch))?;
            }
            if last {
                return Ok(count);
            }
        }
    }

    /// Makes the new database `to` of every document in `folder` that is whole, and says what was
    /// lost. `folder` itself is not changed.
    ///
    /// # Errors
    /// [`Error::Corrupted`] where the store cannot be read at all, [`Error::Parameter`] where `to` is
    /// there already.
    pub fn repair(folder: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Repaired> {
        let old = Self::with(folder.as_ref(), Access::Salvage)?;
        if to.as_ref().exists() {
            return Err(Error::parameter(
                "target folder",
                format!("{} is there already; name a new one", to.as_ref().display()),
            ));
        }
        let new = Self::open(to)?;
        let mut report = Repaired::default();
        for record in old.store_records() {
            match record.and_then(|record| repair_collection(&old, &new, &record, &mut report)) {
                Ok(()) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => report.lost.push(error.to_string()),
            }
        }
        Ok(report)
    }
}

fn repair_collection(
    old: &Database,
    new: &Database,
    record: &CollectionRecord,
    report: &mut Repaired,
) -> Result<()> {
    let from = old.existing_collection(&record.name, &CollectionOptions::default())?;
    let to = new.collection_like(&record.name, record)?;
    let before = report.documents;
    let mut batch = Vec::with_capacity(BATCH);
    let prefix = keys::prefix(keys::DOCUMENT, record.number);
    for number in from.inner.store.scan_numbers(&prefix) {
        let whole = number.and_then(|number| {
            let groups = [keys::DOCUMENT, keys::TEXT]
                .map(|letter| keys::numbered(letter, record.number, number));
            let whole = from.inner.whole(number)?;
            if !groups.iter().all(|key| from.inner.store.is_whole(key)) {
                report.doubtful.push(whole.document.id.clone());
            }
            Ok(whole)
        });
        match whole {
            Ok(whole) => batch.push(whole),
            Err(error) => report.lost.push(error.to_string()),
        }
        if batch.len() == BATCH {
            report.documents += batch.len();
            to.inner.put_whole(std::mem::take(&mut batch))?;
        }
    }
    report.documents += batch.len();
    if !batch.is_empty() {
        to.inner.put_whole(batch)?;
    }
    let there = (report.documents - before) as u64;
    if there < record.documents {
        report.lost.push(format!(
            "collection {:?}: {} of {} documents",
            record.name,
            record.documents - there,
            record.documents
        ));
    }
    Ok(())
}

/// The lines of an export with their numbers, bounded.
pub(super) struct Lines<'a, R> {
    pub(super) input: &'a mut R,
    pub(super) line: u64,
    pub(super) origin: &'a str,
}

impl<R: BufRead> Lines<'_, R> {
    /// The collection that the first line describes.
    pub(super) fn header(&mut self) -> Result<CollectionRecord> {
        let line = self.next_line()?.unwrap_or_default();
        let header: Header = serde_json::from_slice(&line)
            .map_err(|e| self.error(1, format!("expected the first line of `vdb export`: {e}")))?;
        header.check_version(self.origin)?;
        Ok(header.collection)
    }

    /// The next document.
    pub(super) fn document(&mut self) -> Result<Option<Whole>> {
        let Some(line) = self.next_line()? else { return Ok(None) };
        let whole = serde_json::from_slice(&line);
        whole.map(Some).map_err(|e| self.error(self.line, format!("it is no document: {e}")))
    }

    fn error(&self, line: u64, reason: String) -> Error {
        Error::Parse { origin: self.origin.to_owned(), line: Some(line), reason }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.line += 1;
            let mut bounded = std::io::Read::take(&mut *self.input, MAX_LINE_BYTES);
            let read = bounded.read_until(b'\n', &mut line);
            if read.map_err(Error::io("read", self.origin))? == 0 {
                return Ok(None);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}
