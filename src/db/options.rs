//! How a collection is made.

use crate::encode::{EncoderHandle, Fingerprint};
use crate::error::{Error, Result};
use crate::store::records::CollectionRecord;
use crate::vector::{MAX_DIMENSIONS, Memory, Metric};

/// Chunks of collections without an encoder are measured in words, up to this many.
const WORDS_PER_CHUNK: usize = 200;

/// Settings of a collection. All but the encoder are fixed when the collection is made; a
/// collection that exists keeps its own.
#[derive(Debug, Clone, Default)]
pub struct CollectionOptions {
    pub(super) encoder: Option<EncoderHandle>,
    pub(super) dimensions: Option<usize>,
    pub(super) max_tokens: Option<usize>,
    pub(super) overlap_tokens: usize,
    pub(super) m: Option<usize>,
    pub(super) ef_construction: Option<usize>,
    pub(super) language: Option<String>,
    pub(super) metric: Option<Metric>,
    pub(super) memory: Memory,
    pub(super) pooled: usize,
}

impl CollectionOptions {
    /// Vectors come from `encoder`, which is loaded at the first call that needs it.
    pub fn encoder(encoder: impl Into<EncoderHandle>) -> Self {
        Self { encoder: Some(encoder.into()), ..Self::default() }
    }

    /// Vectors of this many dimensions, 1 to 4,096, come from the caller
    /// ([`crate::Document::vector`], [`crate::Collection::query_vector`]).
    #[must_use]
    pub fn dimensions(dimensions: usize) -> Self {
        Self { dimensions: Some(dimensions), ..Self::default() }
    }

    /// Tokens of one chunk as it is embedded, title and headings included. Default: the encoder's
    /// window; without an encoder, 200 words. A size beyond the window is refused.
    #[must_use]
    pub fn chunk_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Tokens that a chunk repeats of the one before it. Default: 0.
    #[must_use]
    pub fn overlap_tokens(mut self, tokens: usize) -> Self {
        self.overlap_tokens = tokens;
        self
    }

    /// Neighbours of a point in the graph of points that are in no segment yet, 2 to 255; in a segment
    /// each has 32. Default: 16.
    #[must_use]
    pub fn m(mut self, m: usize) -> Self {
        self.m = Some(m);
        self
    }

    /// Candidates looked at when a point is linked into a graph. Default: 200.
    #[must_use]
    pub fn ef_construction(mut self, ef_construction: usize) -> Self {
        self.ef_construction = Some(ef_construction);
        self
    }

    /// What the index keeps of each vector: bytes against speed. Default: [`Memory::Speed`].
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Keeps the vectors of a chunk's tokens, each `tokens` neighbours of which share one, for
    /// [`crate::Query::rerank`], which then encodes the query alone: 388 bytes a vector of 384
    /// dimensions. 1 to 64, or 0 for none. Default: 0. Chunks that come with vectors of their own, from
    /// an export too, have none kept and are encoded when they are re-ranked.
    #[must_use]
    pub fn late_interaction(mut self, tokens: usize) -> Self {
        self.pooled = tokens;
        self
    }

    /// Language of the keyword index's stemmer and stop words, such as `english` or `none`.
    /// Default: `english`.
    #[must_use]
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// How vectors are compared. Default: [`Metric::Cosine`], by which encoders' vectors are to be
    /// compared; [`Metric::Dot`] and [`Metric::Euclidean`] are for vectors whose length says something,
    /// and store them as they are given. A collection that exists keeps its own, and is not opened
    /// with another one named.
    ///
    /// ```
    /// use vdb::{CollectionOptions, Database, Document, Metric};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("map.vdb");
    /// let options = CollectionOptions::dimensions(2).metric(Metric::Euclidean);
    /// let map = Database::open(path)?.collection("map", &options)?;
    /// map.add([
    ///     Document::new("mill", "").vector([3.0, 4.0]),
    ///     Document::new("well", "").vector([0.0, 0.0]),
    /// ])?;
    /// let hits = map.query_vector(&[3.0, 0.0]).run()?;
    /// assert_eq!(hits[0].document, "well");
    /// assert_eq!((hits[0].score, hits[1].score), (-3.0, -4.0));
    /// # Ok::<(), vdb::Error>(())
    /// ```
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metric = Some(metric);
        self
    }

    pub(super) fn fingerprint(&self) -> Option<&Fingerprint> {
        self.encoder.as_ref().map(EncoderHandle::fingerprint)
    }

    /// The record of a new collection, every setting checked.
    pub(super) fn record(&self, name: &str) -> Result<CollectionRecord> {
        check_name(name)?;
        let window = self.fingerprint().map(|f| f.window);
        let dimensions = match (self.fingerprint(), self.dimensions) {
            (Some(f), None) => f.dimensions,
            (Some(f), Some(d)) if f.dimensions == d => d,
            (Some(f), Some(d)) => {
                return Err(Error::Dimensions { expected: f.dimensions, found: d });
            }
            (None, Some(d)) => d,
            (None, None) => {
                return Err(Error::parameter(
                    "collection",
                    "a new one needs an encoder, or the dimensions of the caller's vectors",
                ));
            }
        };
        check_dimensions(dimensions)?;
        let max_tokens = self.max_tokens.or(window).unwrap_or(WORDS_PER_CHUNK);
        if let Some(window) = window.filter(|w| max_tokens > *w) {
            return Err(Error::parameter(
                "chunk size",
                format!("{max_tokens} tokens; the encoder reads at most {window}"),
            ));
        }
        if max_tokens < 16 {
            return Err(Error::parameter(
                "chunk size",
                format!("{max_tokens} tokens; at least 16 are needed"),
            ));
        }
        if self.overlap_tokens > max_tokens / 2 {
            return Err(Error::parameter(
                "overlap",
                format!("{} tokens; at most half of a chunk's {max_tokens}", self.overlap_tokens),
            ));
        }
        if self.pooled > 64 {
            return Err(Error::parameter(
                "late interaction",
                format!("{} tokens to a vector; from 1 to 64", self.pooled),
            ));
        }
        if self.pooled > 0 && self.encoder.is_none() {
            return Err(Error::parameter(
                "late interaction",
                "it needs an encoder; vectors of the caller's own have no tokens",
            ));
        }
        let small = |name, n: usize| {
            u32::try_from(n).map_err(|_| Error::parameter(name, format!("{n} is out of range")))
        };
        Ok(CollectionRecord {
            number: 0,
            name: name.to_owned(),
            dimensions: small("dimensions", dimensions)?,
            fingerprint: self.fingerprint().cloned(),
            max_tokens: small("chunk size", max_tokens)?,
            overlap_tokens: small("overlap", self.overlap_tokens)?,
            m: small("m", self.m.unwrap_or(16))?,
            ef_construction: small("ef_construction", self.ef_construction.unwrap_or(200))?,
            language: self.language.clone().unwrap_or_else(|| "english".to_owned()),
            next_document: 0,
            next_chunk: 0,
            documents: 0,
            chunks: 0,
            generation: 0,
            metric: self.metric.unwrap_or_default(),
            memory: self.memory,
            vectors: 0,
            successor: None,
            retired: Vec::new(),
            pooled: small("late interaction", self.pooled)?,
        })
    }
}

pub(super) fn check_dimensions(dimensions: usize) -> Result<()> {
    if (1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Ok(());
    }
    Err(Error::parameter(
        "dimensions",
        format!("{dimensions}; from 1 to {MAX_DIMENSIONS} are supported"),
    ))
}

/// Names are typed on command lines and stand in messages.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c));
    if fits {
        return Ok(());
    }
    Err(Error::parameter(
        "collection name",
        format!("{name:?}; use up to 64 letters, digits, '-', '_' and '.'"),
    ))
}
