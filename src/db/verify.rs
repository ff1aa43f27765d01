//! The indexes and the cross-references of a collection against the store.

use super::collection::Collection;
use crate::error::{Error, Result};
#[cfg(feature = "keyword")]
use crate::index::KeywordIndex;
use crate::index::{Effort, VectorIndex};
use crate::store::keys;
use crate::vector::{Metric, dot};

/// Vectors that are looked up in the vector index; all, where there are no more.
const SAMPLE: usize = 256;

impl Collection {
    /// Checks the files of both indexes by their checksums, without reading a document. Returns what
    /// is damaged, in words; empty means all is well. An index is a cache: what is damaged is made
    /// anew from the store when it is next used.
    ///
    /// # Errors
    /// Only where the check itself cannot be made.
    pub fn verify_files(&self) -> Result<Vec<String>> {
        let inner = &self.inner;
        let _writer = inner.writer();
        inner.refuse_if_replaced()?;
        // Nobody writes an index file meanwhile.
        let _turn = inner.store.turn()?;
        let record = inner.record();
        let mut wrong = Vec::new();
        let mut tell = |index: &str, damage: Option<String>| {
            if let Some(damage) = damage {
                wrong.push(format!("collection {:?}: the {index} index: {damage}", record.name));
            }
        };
        let folder = inner.folder("vectors", record.vectors);
        let damage = match inner.opened_vectors() {
            Some(index) => index.own_damage(),
            None => VectorIndex::damage(&folder, record.space(), inner.stamp(record.vectors)),
        };
        tell("vector", damage);
        #[cfg(feature = "keyword")]
        {
            let damage = if let Some(index) = inner.opened_keywords() {
                // Its files come and go as it merges them, and it knows which are its own.
                index.damaged_files()?.first().map(|f| format!("{} is damaged", f.display()))
            } else {
                let folder = inner.folder("keywords", record.number);
                KeywordIndex::damage(&folder, record.language.parse()?, inner.stamp(record.number))
            };
            tell("keyword", damage);
        }
        Ok(wrong)
    }

    /// Checks that every document has its text, chunks and vectors, that both indexes hold exactly
    /// the stored chunks, and that a sample of stored vectors is found in the index by exact
    /// search. Returns what is wrong, in words; empty means all is well. For the bytes themselves
    /// see [`crate::Database::verify`], for the files of the indexes [`Collection::verify_files`]:
    /// this opens both indexes, which makes damaged ones anew.
    ///
    /// # Errors
    /// Only where the check itself cannot be made.
    pub fn verify(&self) -> Result<Vec<String>> {
        let inner = &self.inner;
        inner.replace_damaged()?;
        let vectors = inner.vectors()?;
        #[cfg(feature = "keyword")]
        let keywords = inner.keywords()?;
        // Commits wait, so that store and indexes are compared at one generation.
        let _writer = inner.writer();
        inner.refuse_if_replaced()?;
        let record = inner.record();
        let mut wrong = Vec::new();
        let (mut documents, mut chunks) = (0u64, 0u64);
        for number in inner.store.scan_numbers(&keys::prefix(keys::DOCUMENT, record.number)) {
            documents += 1;
            match number.and_then(|n| self.check_document(n)) {
                Ok(count) => chunks += count,
                Err(error) => wrong.push(error.to_string()),
            }
        }
        if (documents, chunks) != (record.documents, record.chunks) {
            wrong.push(format!(
                "collection {:?}: {} documents and {} chunks were counted at commit, {documents} \
                 and {chunks} are there",
                record.name, record.documents, record.chunks
            ));
        }
        let stored = inner.stored_numbers(keys::VECTOR, record.vectors)?;
        let mut compare = |index: &str, ids: crate::index::Bitmap| {
            if ids != stored {
                wrong.push(format!(
                    "collection {:?}: the {index} index lacks {} chunks and has {} that are gone",
                    record.name,
                    (&stored - &ids).len(),
                    (&ids - &stored).len()
                ));
            }
        };
        compare("vector", vectors.ids());
        #[cfg(feature = "keyword")]
        {
            compare("keyword", keywords.ids()?);
            for file in keywords.damaged_files()? {
                wrong.push(format!(
                    "collection {:?}: {} of the keyword index is damaged",
                    record.name,
                    file.display()
                ));
            }
        }
        let step = usize::try_from(stored.len()).unwrap_or(usize::MAX).div_ceil(SAMPLE).max(1);
        for id in stored.iter().step_by(step) {
            let Ok(vector) = inner.vector(&record, id) else { continue };
            let only = std::iter::once(id).collect();
            let found = vectors.search(&vector, 1, Effort::Recall(1.0), Some(&only))?;
            let square = dot(&vector, &vector);
            // Codes leave a little out, the longer the vector the more.
            let same = |rank: f32| {
                let off = match record.metric {
                    Metric::Cosine => rank,
                    Metric::Euclidean => rank / 2.0,
                    _ => (rank + square).abs(),
                };
                off <= 2e-3 * square
            };
            if !found.first().is_some_and(|n| n.id == id && same(n.distance)) {
                wrong.push(format!(
                    "collection {:?}: chunk {id} has another vector in the index than in the store",
                    record.name
                ));
            }
        }
        Ok(wrong)
    }

    /// The number of its chunks, all of them whole.
    fn check_document(&self, number: u32) -> Result<u64> {
        let whole = self.inner.whole(number)?;
        if self.inner.find(&whole.document.id)? != Some(number) {
            return Err(Error::corrupted(
                format!("document {:?}", whole.document.id),
                "its id leads elsewhere",
            ));
        }
        Ok(whole.chunks.len() as u64)
    }
}
