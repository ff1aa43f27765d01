//! Metadata by document: what turns a filter into the set of chunks that it allows.

use super::collection::Inner;
use crate::error::{Error, Result};
use crate::index::{Bitmap, Filter};
use crate::store::records::DocumentRecord;
use crate::store::{Kind, keys};
use crate::text::Metadata;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A cache of the store like every index, made by the first filter and kept in step by commits.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    documents: BTreeMap<u32, (Range<u32>, Metadata)>,
    /// What the latest filters allow, the last one first: many queries share a filter, and to ask every
    /// document again takes longer than the search.
    recent: Mutex<VecDeque<(Filter, Bitmap)>>,
}

/// Filters whose chunks are remembered.
const RECENT: usize = 16;

impl Catalogue {
    fn load(inner: &Inner) -> Result<Self> {
        let prefix = keys::prefix(keys::DOCUMENT, inner.record().number);
        let mut catalogue = Self::default();
        for item in inner.store.scan_split_records::<DocumentRecord>(&prefix, Kind::Document) {
            let (document, record) = item?;
            catalogue.insert(document, &record);
        }
        Ok(catalogue)
    }

    pub(super) fn insert(&mut self, document: u32, record: &DocumentRecord) {
        for (filter, chunks) in self.recent.get_mut().unwrap_or_else(PoisonError::into_inner) {
            if filter.matches(&record.metadata) {
                chunks.insert_range(record.chunks.clone());
            }
        }
        self.documents.insert(document, (record.chunks.clone(), record.metadata.clone()));
    }

    pub(super) fn remove(&mut self, document: u32) {
        if let Some((range, _)) = self.documents.remove(&document) {
            for (_, chunks) in self.recent.get_mut().unwrap_or_else(PoisonError::into_inner) {
                chunks.remove_range(range.clone());
            }
        }
    }

    fn allowed(&self, filter: &Filter) -> Result<Bitmap> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = recent.iter().position(|(known, _)| known == filter)
            && let Some(found) = recent.remove(at)
        {
            let chunks = found.1.clone();
            recent.push_front(found);
            return Ok(chunks);
        }
        drop(recent);
        let chunks = self.scan(filter)?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_front((filter.clone(), chunks.clone()));
        recent.truncate(RECENT);
        Ok(chunks)
    }

    fn scan(&self, filter: &Filter) -> Result<Bitmap> {
        let mut chunks = Bitmap::new();
        for (range, metadata) in self.documents.values() {
            if filter.matches(metadata) {
                chunks.insert_range(range.clone());
            }
        }
        if chunks.is_empty() {
            self.check_fields(filter)?;
        }
        Ok(chunks)
    }

    /// A filter on a field that no document has is a typing error more often than not.
    fn check_fields(&self, filter: &Filter) -> Result<()> {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, metadata) in self.documents.values() {
            for field in metadata.keys() {
                *known.entry(field).or_default() += 1;
            }
        }
        if self.documents.is_empty() {
            return Ok(());
        }
        for field in filter.fields() {
            if !known.contains_key(field) {
                let known: Vec<&str> = known.keys().copied().take(30).collect();
                return Err(Error::UnknownField {
                    field: field.to_owned(),
                    known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
                });
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The chunks of the documents that `filter` matches.
    pub(super) fn allowed(&self, filter: &Filter) -> Result<Bitmap> {
        if let Some(catalogue) =
            self.catalogue.read().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            return catalogue.allowed(filter);
        }
        // Writers update the catalogue after their commit, under this same lock: what a commit
        // during the load adds is added again, and what it removes is removed then.
        let mut slot = self.catalogue.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(Catalogue::load(self)?);
        }
        slot.as_ref().map_or_else(|| Ok(Bitmap::new()), |catalogue| catalogue.allowed(filter))
    }
}
