//! A collection: its settings, and its indexes opened when first needed.

use super::catalogue::Catalogue;
use crate::encode::{EncoderHandle, Fingerprint};
use crate::error::{Error, Result};
use crate::index::{Bitmap, GRAPH_AT, IndexParams, Stamp, VectorIndex};
#[cfg(feature = "keyword")]
use crate::index::{KeywordEntry, KeywordIndex, Language};
use crate::store::records::{ChunkRecord, CollectionRecord};
use crate::store::{INDEX, Kind, Store, keys};
use crate::vector::{Memory, Metric, Space};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// Texts handed to the keyword index at a time while it is brought up to date.
#[cfg(feature = "keyword")]
const REFILL: usize = 1000;
/// Vectors handed to the vector index at a time; they become one segment.
const REFILL_VECTORS: usize = 1 << 20;

/// Documents that are searched together. Cheap to clone; shared by threads: queries run while
/// another thread adds.
#[derive(Clone)]
pub struct Collection {
    pub(super) inner: Arc<Inner>,
    pub(super) encoder: Option<EncoderHandle>,
}

/// Figures of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Documents.
    pub documents: u64,
    /// Chunks of these documents, each with one vector.
    pub chunks: u64,
    /// Elements of a vector.
    pub dimensions: usize,
    /// The encoder, in words; none where the vectors are the caller's.
    pub encoder: Option<String>,
    /// Tokens of one chunk, at most.
    pub chunk_tokens: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// What the index keeps of each vector.
    pub memory: Memory,
    /// Language of the keyword index.
    pub language: String,
    /// The encoder that a re-embedding brings it to, in words, where one was begun and is not done.
    pub successor: Option<String>,
    /// The generation that changed it last.
    pub generation: u64,
}

/// What all handles of one collection share.
pub(super) struct Inner {
    pub(super) store: Arc<Store>,
    /// As of the last commit.
    pub(super) record: RwLock<CollectionRecord>,
    /// Held by the one who commits. Indexes are opened before it is taken, since opening takes it.
    writer: Mutex<()>,
    /// Set by a failed commit. Its points may be in the indexes, under numbers that the next commit
    /// would use again, so nothing more is committed or saved before the next open.
    pub(super) failed: AtomicBool,
    vectors: OnceLock<Arc<VectorIndex>>,
    /// Handed on when the collection is re-embedded, since its words stay.
    #[cfg(feature = "keyword")]
    pub(super) keywords: OnceLock<Arc<KeywordIndex>>,
    /// The encoder of the collection that has taken this one's place in the store; set, with the writer
    /// held, when it was re-embedded. What is here then are vectors of the past: nothing is begun with
    /// them any more.
    pub(super) replaced: OnceLock<Fingerprint>,
    /// Held by every query, so that old vectors stay until the last query that goes by them has ended.
    pub(super) running: RwLock<()>,
    /// Held by the one who re-embeds.
    pub(super) reembedding: Mutex<()>,
    /// Metadata by document, made by the first filter.
    pub(super) catalogue: RwLock<Option<Catalogue>>,
    notices: Mutex<Vec<String>>,
}

impl Inner {
    pub(super) fn new(store: Arc<Store>, record: CollectionRecord) -> Self {
        Self {
            store,
            record: RwLock::new(record),
            writer: Mutex::new(()),
            failed: AtomicBool::new(false),
            vectors: OnceLock::new(),
            #[cfg(feature = "keyword")]
            keywords: OnceLock::new(),
            replaced: OnceLock::new(),
            running: RwLock::new(()),
            reembedding: Mutex::new(()),
            catalogue: RwLock::new(None),
            notices: Mutex::default(),
        }
    }

    /// The settings and counters of the last commit.
    pub(super) fn record(&self) -> CollectionRecord {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn writer(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_record(&self, record: CollectionRecord) {
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = record;
    }

    /// Refuses whatever needs the vectors of a collection that was re-embedded since it was opened.
    ///
    /// # Errors
    /// [`Error::ModelMismatch`].
    pub(super) fn refuse_if_replaced(&self) -> Result<()> {
        let Some(now) = self.replaced.get() else { return Ok(()) };
        let record = self.record();
        let before = record.fingerprint.as_ref().map(ToString::to_string);
        Err(Error::ModelMismatch {
            collection: record.name,
            stored: now.to_string(),
            given: before.unwrap_or_default(),
        })
    }

    /// Refuses changes where the store does, after a commit of this collection that failed, and after
    /// it was re-embedded.
    pub(super) fn refuse_unless_writable(&self) -> Result<()> {
        self.store.refuse_unless_writable()?;
        self.refuse_if_replaced()?;
        if self.failed.load(Ordering::SeqCst) { Err(self.store.failed_before()) } else { Ok(()) }
    }

    /// Refuses settings that the indexes would refuse, before anything is stored.
    pub(super) fn check_index_settings(record: &CollectionRecord) -> Result<()> {
        index_params(record).validate()?;
        #[cfg(feature = "keyword")]
        record.language.parse::<Language>()?;
        Ok(())
    }

    /// The vector index, opened and brought up to date at the first call.
    pub(super) fn vectors(&self) -> Result<&Arc<VectorIndex>> {
        if let Some(index) = self.vectors.get() {
            return Ok(index);
        }
        let _writer = self.writer();
        if let Some(index) = self.vectors.get() {
            return Ok(index);
        }
        self.refuse_if_replaced()?;
        let _turn = self.store.turn()?;
        let record = self.record();
        let (index, notice) = VectorIndex::open(
            &self.folder("vectors", record.vectors),
            record.space(),
            index_params(&record),
            self.stamp(record.vectors),
        )?;
        self.notice("vector", notice.as_deref().map(rebuilt));
        if index.generation() != Some(record.generation) {
            let (missing, extra) = self.difference(keys::VECTOR, record.vectors, &index.ids())?;
            index.remove(&extra);
            self.refill(&index, &missing, &record)?;
        }
        Ok(self.vectors.get_or_init(|| Arc::new(index)))
    }

    /// Brings the stored vectors of `missing` into `index` and saves it.
    pub(super) fn refill(
        &self,
        index: &VectorIndex,
        missing: &Bitmap,
        record: &CollectionRecord,
    ) -> Result<()> {
        let ids: Vec<u32> = missing.iter().collect();
        let vector = |id: &u32| Ok((*id, self.vector(record, *id)?));
        let mut parts = ids.chunks(REFILL_VECTORS).peekable();
        loop {
            // At least once: what was removed is saved as well.
            let part = parts.next().unwrap_or_default();
            let last = parts.peek().is_none();
            let generation = if last { record.generation } else { 0 };
            match index.fill(part.iter().map(vector), generation) {
                Ok(()) if last => return Ok(()),
                Ok(()) => {}
                Err(error @ Error::Io { .. }) => {
                    // In memory, then; the next open does this again.
                    self.notice("vector", Some(format!("it could not be saved: {error}")));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let left: Vec<u32> = (missing - &index.ids()).iter().collect();
        for point in left.iter().map(vector) {
            let (id, vector) = point?;
            index.insert(&[(id, &vector)])?;
        }
        Ok(())
    }

    /// The keyword index, opened and brought up to date at the first call.
    #[cfg(feature = "keyword")]
    pub(super) fn keywords(&self) -> Result<&KeywordIndex> {
        if let Some(index) = self.keywords.get() {
            return Ok(index);
        }
        let _writer = self.writer();
        if let Some(index) = self.keywords.get() {
            return Ok(index);
        }
        self.refuse_if_replaced()?;
        let _turn = self.store.turn()?;
        let record = self.record();
        let (index, notice) = KeywordIndex::open(
            &self.folder("keywords", record.number),
            record.language.parse()?,
            self.stamp(record.number),
        )?;
        self.notice("keyword", notice.as_deref().map(rebuilt));
        if index.generation() != Some(record.generation) {
            let (missing, extra) = self.difference(keys::CHUNK, record.number, &index.ids()?)?;
            let mut extra = Some(extra);
            let mut ids = missing.iter().peekable();
            while ids.peek().is_some() || extra.is_some() {
                let mut texts = Vec::with_capacity(REFILL);
                for id in ids.by_ref().take(REFILL) {
                    texts.push((id, self.embedded_text(&record, id)?));
                }
                let entries: Vec<KeywordEntry<'_>> =
                    texts.iter().map(|(id, text)| KeywordEntry { id: *id, text }).collect();
                let last = ids.peek().is_none();
                let generation = if last { record.generation } else { 0 };
                index.apply(&entries, &extra.take().unwrap_or_default(), generation)?;
            }
        }
        Ok(self.keywords.get_or_init(|| Arc::new(index)))
    }

    /// The vector index, where it was opened already.
    pub(super) fn opened_vectors(&self) -> Option<&Arc<VectorIndex>> {
        self.vectors.get()
    }

    /// The keyword index, where it was opened already.
    #[cfg(feature = "keyword")]
    pub(super) fn opened_keywords(&self) -> Option<&KeywordIndex> {
        self.keywords.get().map(Arc::as_ref)
    }

    /// What `letter`'s records have and the index lacks, and the other way round. A chunk number is
    /// never used twice, so the numbers alone tell.
    fn difference(&self, letter: u8, number: u32, indexed: &Bitmap) -> Result<(Bitmap, Bitmap)> {
        let stored = self.stored_numbers(letter, number)?;
        Ok((&stored - indexed, indexed - &stored))
    }

    pub(super) fn stored_numbers(&self, letter: u8, number: u32) -> Result<Bitmap> {
        self.store.scan_numbers(&keys::prefix(letter, number)).collect()
    }

    /// The stored vector of a chunk.
    pub(super) fn vector(&self, record: &CollectionRecord, chunk: u32) -> Result<Vec<f32>> {
        if let Some(vector) = self.stored_vector(record, chunk)? {
            return Ok(vector);
        }
        self.refuse_if_replaced()?;
        Err(Error::corrupted(format!("vector of chunk {chunk}"), "it is missing".to_owned()))
    }

    /// The same; none where the chunk was removed meanwhile.
    pub(super) fn stored_vector(
        &self,
        record: &CollectionRecord,
        chunk: u32,
    ) -> Result<Option<Vec<f32>>> {
        let key = keys::numbered(keys::VECTOR, record.vectors, chunk);
        let Some(bytes) = self.store.get(&key, Kind::Vector)? else { return Ok(None) };
        let (elements, rest) = bytes.as_chunks::<4>();
        if elements.len() != record.dimensions as usize || !rest.is_empty() {
            return Err(Error::corrupted(
                format!("vector of chunk {chunk}"),
                format!("{} bytes for {} dimensions", bytes.len(), record.dimensions),
            ));
        }
        Ok(Some(elements.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }

    /// The vectors of a chunk's tokens as they are stored; none where none are.
    pub(super) fn token_bytes(
        &self,
        record: &CollectionRecord,
        chunk: u32,
    ) -> Result<Option<Vec<u8>>> {
        if record.pooled == 0 {
            return Ok(None);
        }
        let base = keys::numbered(keys::TOKENS, record.vectors, chunk);
        self.store.get_split(&base, Kind::Tokens)
    }

    /// The text that a chunk was embedded and is keyword-indexed with.
    pub(super) fn embedded_text(&self, record: &CollectionRecord, chunk: u32) -> Result<String> {
        let missing = |what: &str| {
            Error::corrupted(format!("chunk {chunk}"), format!("its {what} is missing"))
        };
        let key = keys::numbered(keys::CHUNK, record.number, chunk);
        let found: ChunkRecord =
            self.store.get_record(&key, Kind::Chunk)?.ok_or_else(|| missing("record"))?;
        let text = self.chunk_text(record.number, &found)?.ok_or_else(|| missing("text"))?;
        Ok(format!("{}{text}", found.context))
    }

    /// The text of a chunk; none where its document was removed meanwhile.
    pub(super) fn chunk_text(&self, number: u32, chunk: &ChunkRecord) -> Result<Option<String>> {
        let base = keys::numbered(keys::TEXT, number, chunk.document);
        let too_large = |_| Error::corrupted("chunk", "its span does not fit this machine");
        let start = usize::try_from(chunk.span.start).map_err(too_large)?;
        let end = usize::try_from(chunk.span.end).map_err(too_large)?;
        let Some(bytes) = self.store.get_split_span(&base, Kind::Text, start..end)? else {
            return Ok(None);
        };
        String::from_utf8(bytes).map(Some).map_err(|_| {
            Error::corrupted(
                format!("text of document {}", chunk.document),
                format!("bytes {start}..{end} are not text"),
            )
        })
    }

    /// The folder of an index; `number` is that of the collection, or of its vectors.
    pub(super) fn folder(&self, index: &str, number: u32) -> PathBuf {
        self.store.folder().join(INDEX).join(number.to_string()).join(index)
    }

    pub(super) fn stamp(&self, number: u32) -> Stamp {
        Stamp { database: self.store.database(), collection: number }
    }

    pub(super) fn notice(&self, index: &str, notice: Option<String>) {
        if let Some(notice) = notice {
            self.notices
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("the {index} index: {notice}"));
        }
    }
}

fn rebuilt(reason: &str) -> String {
    format!("rebuilt from the store: {reason}")
}

impl CollectionRecord {
    /// What its vectors are.
    pub(super) fn space(&self) -> Space {
        Space { dimensions: self.dimensions as usize, metric: self.metric }
    }
}

fn index_params(record: &CollectionRecord) -> IndexParams {
    IndexParams {
        m: record.m as usize,
        ef_construction: record.ef_construction as usize,
        graph_at: GRAPH_AT,
        memory: record.memory,
    }
}

impl Collection {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.record().name
    }

    /// The encoder that it was opened with; loaded when it is first needed.
    #[must_use]
    pub fn encoder(&self) -> Option<&EncoderHandle> {
        self.encoder.as_ref()
    }

    /// Figures, without opening an index or a model. Those of the index: [`Collection::index_stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        let record = self.inner.record();
        Stats {
            documents: record.documents,
            chunks: record.chunks,
            dimensions: record.dimensions as usize,
            encoder: record.fingerprint.as_ref().map(ToString::to_string),
            chunk_tokens: record.max_tokens as usize,
            metric: record.metric,
            memory: record.memory,
            language: record.language,
            successor: record.successor.map(|successor| successor.fingerprint.to_string()),
            generation: record.generation,
        }
    }

    /// Repairs that opening the indexes made, and what went wrong with them in the background, in
    /// words, each told once.
    #[must_use]
    pub fn take_notices(&self) -> Vec<String> {
        let trouble = self.inner.vectors.get().and_then(|index| index.take_trouble());
        self.inner
            .notice("vector", trouble.map(|trouble| format!("it stays in memory: {trouble}")));
        std::mem::take(&mut self.inner.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes the vector index to its files, so that the next open need not bring it up to date.
    /// Not needed for durability: indexes are caches of the store.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save_indexes(&self) -> Result<()> {
        self.inner.save_indexes()
    }
}

impl Inner {
    pub(super) fn save_indexes(&self) -> Result<()> {
        self.save_by(VectorIndex::save)
    }

    fn save_by(&self, save: impl FnOnce(&VectorIndex, u64) -> Result<()>) -> Result<()> {
        let _writer = self.writer();
        if self.failed.load(Ordering::SeqCst) || self.replaced.get().is_some() {
            return Ok(());
        }
        if let Some(index) = self.vectors.get() {
            let generation = self.record().generation;
            if index.generation() != Some(generation) {
                let _turn = self.store.turn()?;
                save(index, generation)?;
            }
        }
        Ok(())
    }

    /// Rewrites what of the index files holds anything that is gone.
    pub(super) fn compact_indexes(&self) -> Result<()> {
        self.refuse_unless_writable()?;
        let vectors = self.vectors()?;
        #[cfg(feature = "keyword")]
        let keywords = self.keywords()?;
        let _writer = self.writer();
        // A commit may have failed since.
        self.refuse_unless_writable()?;
        let _turn = self.store.turn()?;
        let record = self.record();
        vectors.compact(record.generation)?;
        #[cfg(feature = "keyword")]
        {
            let chunks = self.stored_numbers(keys::CHUNK, record.number)?;
            let texts = chunks.iter().map(|id| Ok((id, self.embedded_text(&record, id)?)));
            keywords.compact(texts, record.generation)?;
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(index) = self.vectors.get() {
            index.rest();
        }
        // Best effort: without it the next open brings the index up to date from the store.
        if !self.store.is_copy() {
            let _ = self.save_by(VectorIndex::save_briefly);
        }
    }
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("name", &self.name()).finish_non_exhaustive()
    }
}
