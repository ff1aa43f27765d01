//! More like this: the passages nearest to a document that is stored.

use super::collection::{Collection, Inner};
use super::query::Query;
use crate::error::{Error, Result};
use crate::index::Bitmap;
use crate::store::records::CollectionRecord;
use std::ops::Range;

impl Collection {
    /// A query for passages like a document that is stored: by its vector, or where it has several
    /// chunks by the mean of their vectors, of unit length where the metric is cosine. Passages of the document itself
    /// are never among the hits. Needs no encoder. [`Query::run`] fails with [`Error::NotFound`]
    /// where there is no such document.
    ///
    /// ```
    /// use vdb::{CollectionOptions, Database, Document};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let database = Database::open(folder.path().join("db"))?;
    /// let birds = database.collection("birds", &CollectionOptions::dimensions(2))?;
    /// birds.add([
    ///     Document::new("heron", "").vector([0.9, 0.1]),
    ///     Document::new("stork", "").vector([0.8, 0.3]),
    ///     Document::new("wren", "").vector([0.1, 0.9]),
    /// ])?;
    /// let hits = birds.similar("heron").top_k(1).run()?;
    /// assert_eq!(hits[0].document, "stork");
    /// # Ok::<(), vdb::Error>(())
    /// ```
    pub fn similar<'a>(&'a self, document_id: &'a str) -> Query<'a> {
        Query::like(self, document_id)
    }
}

impl Inner {
    /// What stands for the document `id` in a search, and its chunks.
    pub(super) fn document_vector(&self, id: &str) -> Result<(Vec<f32>, Range<u32>)> {
        let unknown = || Error::NotFound {
            what: "document",
            name: id.to_owned(),
            hint: "`vdb list` shows the ids of all documents".to_owned(),
        };
        loop {
            let record = self.record();
            let number = self.find(id)?.ok_or_else(unknown)?;
            match self.mean_vector(&record, number) {
                // Replaced or removed while it was read.
                Err(Error::Corrupted { .. }) if self.find(id)? != Some(number) => {}
                read => return read,
            }
        }
    }

    fn mean_vector(
        &self,
        record: &CollectionRecord,
        number: u32,
    ) -> Result<(Vec<f32>, Range<u32>)> {
        let Some(document) = self.document_record(record.number, number)? else {
            return Err(Error::corrupted(format!("document {number}"), "its record is missing"));
        };
        if document.chunks.is_empty() {
            return Err(Error::Vector {
                reason: format!(
                    "document {:?} has neither text nor vector, so nothing is like it",
                    document.id
                ),
            });
        }
        let dimensions = record.dimensions as usize;
        let mut sum = vec![0.0; dimensions];
        for chunk in document.chunks.clone() {
            for (total, element) in sum.iter_mut().zip(self.vector(record, chunk)?) {
                *total += element;
            }
        }
        let count = document.chunks.len() as f32;
        sum.iter_mut().for_each(|total| *total /= count);
        Ok((record.metric.admit(&sum, dimensions)?.into_owned(), document.chunks))
    }

    /// Every chunk that there is but those of `own`.
    pub(super) fn all_but(&self, own: &Range<u32>) -> Bitmap {
        let mut others = Bitmap::new();
        others.insert_range(0..self.record().next_chunk);
        others.remove_range(own.clone());
        others
    }
}
