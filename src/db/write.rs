//! Adding and removing: prepare (no lock), embed (no lock), commit (one writer).

use super::collection::{Collection, Inner};
use super::ingest::IngestReport;
use crate::encode::{EncoderHandle, InputKind, tokens};
use crate::error::{Error, Result};
use crate::index::Bitmap;
#[cfg(feature = "keyword")]
use crate::index::KeywordEntry;
use crate::store::records::{ChunkRecord, CollectionRecord, ContentHash, DocumentRecord};
use crate::store::{Batch, Kind, content_hash, keys};
use crate::text::chunk::{ChunkOptions, chunk};
use crate::text::tokenizer::Words;
use crate::text::{Document, LineIndex};
use crate::threads;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Points that are kept out of files before they are sealed into one, which bounds the memory of a
/// long ingest; until then a search compares with all of them, in a quarter of a millisecond.
const SEAL_AT: usize = 4096;

/// A document cut into chunks, and whether there is anything to do for it.
pub(super) enum Prepared {
    /// Stored already, word for word.
    Unchanged,
    /// New or changed.
    Changed(Box<Pending>),
}

/// A document on its way in.
pub(super) struct Pending {
    document: Document,
    hash: ContentHash,
    chunks: Vec<PendingChunk>,
}

struct PendingChunk {
    record: ChunkRecord,
    /// Filled by [`Collection::embed`]; from the start for the caller's own vectors.
    embedded: Option<Embedded>,
}

/// A vector on its way into the store.
#[derive(Debug, Clone)]
pub(super) struct Embedded {
    pub(super) vector: Vec<f32>,
    /// Those of its tokens, pooled, where the collection keeps them.
    pub(super) tokens: Option<Vec<u8>>,
}

impl Embedded {
    /// The caller's own.
    fn own(vector: Vec<f32>) -> Self {
        Self { vector, tokens: None }
    }

    /// Puts it under the number of its chunk among those with the number `vectors`.
    pub(super) fn put(&self, batch: &mut Batch, vectors: u32, chunk: u32) -> Result<()> {
        batch.put_vector(vectors, chunk, &self.vector)?;
        let Some(tokens) = &self.tokens else { return Ok(()) };
        batch.put_split(&keys::numbered(keys::TOKENS, vectors, chunk), Kind::Tokens, tokens)
    }
}

impl Pending {
    /// A document whose chunks and vectors are known.
    pub(super) fn whole(
        document: Document,
        hash: ContentHash,
        chunks: Vec<(ChunkRecord, Vec<f32>)>,
    ) -> Self {
        let chunks = chunks
            .into_iter()
            .map(|(record, vector)| PendingChunk { record, embedded: Some(Embedded::own(vector)) })
            .collect();
        Self { document, hash, chunks }
    }

    pub(super) fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    fn embedded_text(&self, chunk: &PendingChunk) -> String {
        let text = span_text(&self.document.text, &chunk.record);
        format!("{}{text}", chunk.record.context)
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Committed {
    pub(super) generation: u64,
    pub(super) added: usize,
    pub(super) replaced: usize,
    pub(super) removed: usize,
    pub(super) chunks: usize,
}

impl Collection {
    /// Adds documents, replacing those with the same ids, and returns once they are durable and
    /// found by every mode of search. Documents whose content is stored already are left alone.
    ///
    /// All are committed together or not at all; for many documents, [`Collection::ingest`] commits
    /// as it goes.
    ///
    /// # Errors
    /// [`Error::NoEncoder`] for a document without a vector where the collection has no encoder;
    /// [`Error::Dimensions`] and [`Error::Vector`] for a vector that does not fit;
    /// [`Error::Parameter`] for an empty id; [`Error::Io`] of the kind `StorageFull` where the disk
    /// has not room enough. Nothing is stored then.
    pub fn add(&self, documents: impl IntoIterator<Item = Document>) -> Result<IngestReport> {
        let mut report = IngestReport::default();
        let mut pending = Vec::new();
        for document in documents {
            match self.prepare(document)? {
                Prepared::Unchanged => report.unchanged += 1,
                Prepared::Changed(changed) => pending.push(*changed),
            }
        }
        if !pending.is_empty() {
            report.embedded += self.embed(&mut pending)?;
            report.count(&self.inner.commit(pending, &[])?);
        }
        Ok(report)
    }

    /// Removes documents and returns how many of them were there.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupted`].
    pub fn remove<S: AsRef<str>>(&self, ids: &[S]) -> Result<usize> {
        let ids: Vec<&str> = ids.iter().map(AsRef::as_ref).collect();
        let known = ids.iter().map(|id| self.inner.find(id)).collect::<Result<Vec<_>>>()?;
        if known.iter().all(Option::is_none) {
            return Ok(0);
        }
        Ok(self.inner.commit(Vec::new(), &ids)?.removed)
    }

    /// Checks a document, compares it with what is stored and cuts it into chunks.
    pub(super) fn prepare(&self, mut document: Document) -> Result<Prepared> {
        check_id(&document.id)?;
        // A title without a text is all there is to find the document by.
        if document.text.trim().is_empty()
            && document.vector.is_none()
            && let Some(title) = document.title.take()
        {
            document.text = title;
        }
        let record = self.inner.record();
        let hash = content_hash(&[&document_bytes(&document)?]);
        if let Some(number) = self.inner.find(&document.id)?
            && let Some(stored) = self.inner.document_record(record.number, number)?
            && stored.hash == hash
        {
            return Ok(Prepared::Unchanged);
        }
        let chunks = match &document.vector {
            Some(vector) => {
                let admitted =
                    record.metric.admit(vector, record.dimensions as usize)?.into_owned();
                vec![whole_document(&document, admitted)]
            }
            None => self.cut(&document, &record)?,
        };
        Ok(Prepared::Changed(Box::new(Pending { document, hash, chunks })))
    }

    fn cut(&self, document: &Document, record: &CollectionRecord) -> Result<Vec<PendingChunk>> {
        let options = ChunkOptions {
            max_tokens: record.max_tokens as usize,
            overlap_tokens: record.overlap_tokens as usize,
            ..ChunkOptions::default()
        };
        let chunks = match self.encoder_for_writing(record)? {
            Some(encoder) => chunk(document, encoder.tokens(), encoder.overhead(), &options)?,
            None => chunk(document, &Words, 0, &options)?,
        };
        let lines = LineIndex::new(&document.text);
        Ok(chunks
            .into_iter()
            .map(|chunk| {
                let text = &document.text[chunk.span.clone()];
                let last = chunk.span.end.saturating_sub(1).max(chunk.span.start);
                let record = ChunkRecord {
                    document: 0,
                    lines: (lines.line(chunk.span.start), lines.line(last)),
                    span: chunk.span.start as u64..chunk.span.end as u64,
                    heading: chunk.heading,
                    hash: content_hash(&[chunk.context.as_bytes(), text.as_bytes()]),
                    context: chunk.context,
                    tokens: u32::try_from(chunk.tokens).unwrap_or(u32::MAX),
                };
                PendingChunk { record, embedded: None }
            })
            .collect())
    }

    fn encoder_for_writing(
        &self,
        record: &CollectionRecord,
    ) -> Result<Option<&dyn crate::encode::Encoder>> {
        match &self.encoder {
            Some(handle) => handle.get().map(Some),
            None if record.fingerprint.is_some() => Err(Error::NoEncoder {
                collection: record.name.clone(),
                hint: "open the collection with the encoder that it was made with".to_owned(),
            }),
            None => Ok(None),
        }
    }

    /// Embeds what has no vector yet, each distinct text once, and returns how many texts that
    /// were. A text that is stored already keeps its vector.
    pub(super) fn embed(&self, pending: &mut [Pending]) -> Result<usize> {
        let record = self.inner.record();
        let mut known: HashMap<ContentHash, Option<Embedded>> = HashMap::new();
        let mut texts = Vec::new();
        let mut hashes = Vec::new();
        for item in &*pending {
            for chunk in item.chunks.iter().filter(|c| c.embedded.is_none()) {
                let hash = chunk.record.hash;
                if let std::collections::hash_map::Entry::Vacant(slot) = known.entry(hash) {
                    let stored = self.inner.embedded_already(&record, &hash)?;
                    if stored.is_none() {
                        texts.push(item.embedded_text(chunk));
                        hashes.push(hash);
                    }
                    slot.insert(stored);
                }
            }
        }
        if !texts.is_empty() {
            let Some(handle) = &self.encoder else {
                return Err(Error::NoEncoder {
                    collection: record.name,
                    hint: "give every document a vector, or open the collection with an encoder"
                        .to_owned(),
                });
            };
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let (embedded, _) = encoded(handle, &record, record.dimensions as usize, &texts)?;
            known.extend(hashes.into_iter().zip(embedded.into_iter().map(Some)));
        }
        for chunk in pending.iter_mut().flat_map(|item| &mut item.chunks) {
            if chunk.embedded.is_none() {
                chunk.embedded = known.get(&chunk.record.hash).cloned().flatten();
            }
        }
        Ok(texts.len())
    }
}

/// What `encoder` makes of texts for a collection like `record`, but of `dimensions`, and how many of
/// them were longer than its window.
///
/// # Errors
/// Those of the encoder; [`Error::Dimensions`] and [`Error::Vector`] where a vector does not fit.
pub(super) fn encoded(
    encoder: &EncoderHandle,
    record: &CollectionRecord,
    dimensions: usize,
    texts: &[&str],
) -> Result<(Vec<Embedded>, u64)> {
    let admit =
        |vector: &[f32]| Ok::<_, Error>(record.metric.admit(vector, dimensions)?.into_owned());
    let mut truncated = 0;
    let mut embedded = Vec::with_capacity(texts.len());
    if record.pooled == 0 {
        for embedding in encoder.get()?.encode(texts, InputKind::Document)? {
            truncated += u64::from(embedding.truncated_tokens > 0);
            embedded.push(Embedded { vector: admit(&embedding.vector)?, tokens: None });
        }
    } else {
        let texts: Vec<_> = texts.iter().map(|text| (*text, InputKind::Document)).collect();
        for text in encoder.get()?.encode_tokens(&texts)? {
            truncated += u64::from(text.embedding.truncated_tokens > 0);
            let vector = admit(&text.embedding.vector)?;
            let tokens = tokens::pooled(&text, record.pooled as usize);
            embedded.push(Embedded { vector, tokens: Some(tokens) });
        }
    }
    if embedded.len() != texts.len() {
        return Err(Error::Model {
            name: encoder.fingerprint().model.clone(),
            reason: format!("{} vectors for {} texts", embedded.len(), texts.len()),
        });
    }
    Ok((embedded, truncated))
}

impl Inner {
    /// Removes `remove`, then puts `pending` (of several with one id, the last), in one commit.
    ///
    /// The order keeps readers whole: new points enter the indexes first and are skipped until
    /// their records are there; old points leave after their records are gone.
    pub(super) fn commit(&self, pending: Vec<Pending>, remove: &[&str]) -> Result<Committed> {
        threads::behind(|| self.commit_here(pending, remove))
    }

    fn commit_here(&self, pending: Vec<Pending>, remove: &[&str]) -> Result<Committed> {
        self.refuse_unless_writable()?;
        let vectors = self.vectors()?;
        #[cfg(feature = "keyword")]
        let keywords = self.keywords()?;
        let _writer = self.writer();
        // Another commit may have failed since.
        self.refuse_unless_writable()?;
        let mut change = Change::new(self.record());
        let mut seen = HashSet::new();
        for id in remove {
            if seen.insert((*id).to_owned()) && self.take_out(&mut change, id)? {
                change.done.removed += 1;
            }
        }
        let mut last: HashSet<String> = HashSet::new();
        let mut kept: Vec<Pending> = pending
            .into_iter()
            .rev()
            .filter(|item| last.insert(item.document.id.clone()))
            .collect();
        kept.reverse();
        // All deletions before the first insertion: a hash that moves from an old chunk to a new
        // one must end up with the new one.
        for item in &kept {
            if self.take_out(&mut change, &item.document.id)? {
                change.done.replaced += 1;
            } else {
                change.done.added += 1;
            }
        }
        for item in kept {
            change.put(item)?;
        }
        let sealed = if vectors.live() + change.points.len() >= SEAL_AT {
            vectors.unsaved_bytes()
        } else {
            0
        };
        self.store.refuse_unless_room(change.batch.bytes() + sealed)?;
        let turn = self.store.turn()?;
        change.record.generation = self.store.generation() + 1;
        let name = keys::collection(&change.record.name);
        change.batch.put_record(name, Kind::Collection, &change.record)?;

        let points: Vec<(u32, &[f32])> =
            change.points.iter().map(|(id, vector, _)| (*id, vector.as_slice())).collect();
        let new: Bitmap = points.iter().map(|(id, _)| *id).collect();
        let written = vectors.insert(&points).and_then(|()| {
            #[cfg(feature = "keyword")]
            {
                let entries: Vec<KeywordEntry<'_>> = change
                    .points
                    .iter()
                    .map(|(id, _, text)| KeywordEntry { id: *id, text })
                    .collect();
                // Old entries leave in a commit of their own; a crash before it must be noticed.
                let whole = change.old.is_empty();
                let generation = if whole { change.record.generation } else { 0 };
                keywords.apply(&entries, &Bitmap::new(), generation)?;
            }
            self.store.commit(change.batch, &turn)
        });
        let generation = match written {
            Ok(generation) => generation,
            Err(error) => {
                self.failed.store(true, Ordering::SeqCst);
                // Generation 0 makes the next open compare the indexes with the store.
                vectors.remove(&new);
                #[cfg(feature = "keyword")]
                let _ = keywords.apply(&[], &new, 0);
                return Err(error);
            }
        };
        self.set_record(change.record);
        if let Some(catalogue) =
            self.catalogue.write().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            for (number, record) in &change.documents {
                catalogue.insert(*number, record);
            }
            for number in &change.gone {
                catalogue.remove(*number);
            }
        }
        // The commit stands from here on; what fails below is made up for by the next open.
        if !change.old.is_empty() {
            vectors.remove(&change.old);
            #[cfg(feature = "keyword")]
            keywords.apply(&[], &change.old, generation)?;
        }
        drop(turn);
        if vectors.live() >= SEAL_AT {
            vectors.seal_behind(generation);
        }
        change.done.generation = generation;
        change.done.chunks = change.points.len();
        Ok(change.done)
    }

    /// Adds the removal of document `id` to `change`; false where there is none.
    fn take_out(&self, change: &mut Change, id: &str) -> Result<bool> {
        let collection = change.record.number;
        let Some(number) = self.find(id)? else { return Ok(false) };
        let Some(document) = self.document_record(collection, number)? else {
            return Err(Error::corrupted(format!("document {id:?}"), "its record is missing"));
        };
        for chunk in document.chunks.clone() {
            let key = keys::numbered(keys::CHUNK, collection, chunk);
            let record: Option<ChunkRecord> = self.store.get_record(&key, Kind::Chunk)?;
            change.batch.delete(key);
            let successor = change.record.successor.as_ref().map(|s| s.vectors);
            for vectors in successor.into_iter().chain([change.record.vectors]) {
                change.batch.delete(keys::numbered(keys::VECTOR, vectors, chunk));
                if change.record.pooled > 0 {
                    let base = keys::numbered(keys::TOKENS, vectors, chunk);
                    self.store.delete_split(&mut change.batch, &base)?;
                }
            }
            if let Some(record) = record
                && self.holder_of(collection, &record.hash)? == Some(chunk)
            {
                change.batch.delete(keys::hashed(keys::HASH, collection, &record.hash));
            }
        }
        for letter in [keys::DOCUMENT, keys::TEXT] {
            let base = keys::numbered(letter, collection, number);
            self.store.delete_split(&mut change.batch, &base)?;
        }
        change.batch.delete(keys::hashed(keys::NAME, collection, &id_hash(id)));
        change.record.documents = change.record.documents.saturating_sub(1);
        change.record.chunks = change.record.chunks.saturating_sub(document.chunks.len() as u64);
        change.old.insert_range(document.chunks);
        change.gone.push(number);
        Ok(true)
    }

    /// The number of the document with this id.
    pub(super) fn find(&self, id: &str) -> Result<Option<u32>> {
        let collection = self.record().number;
        self.number_under(&keys::hashed(keys::NAME, collection, &id_hash(id)), Kind::Name)
    }

    /// The chunk whose vector is that of the embedded text with this hash.
    fn holder_of(&self, collection: u32, hash: &ContentHash) -> Result<Option<u32>> {
        self.number_under(&keys::hashed(keys::HASH, collection, hash), Kind::Hash)
    }

    fn number_under(&self, key: &[u8], kind: Kind) -> Result<Option<u32>> {
        let Some(bytes) = self.store.get(key, kind)? else { return Ok(None) };
        let number = bytes.as_slice().try_into().map_err(|_| {
            Error::corrupted("a number record", format!("{} bytes instead of 4", bytes.len()))
        })?;
        Ok(Some(u32::from_le_bytes(number)))
    }

    fn embedded_already(
        &self,
        record: &CollectionRecord,
        hash: &ContentHash,
    ) -> Result<Option<Embedded>> {
        match self.holder_of(record.number, hash)? {
            // Its removal may fall between the two reads.
            Some(chunk)
                if self.store.contains(&keys::numbered(keys::VECTOR, record.vectors, chunk))? =>
            {
                let vector = self.vector(record, chunk)?;
                let tokens = self.token_bytes(record, chunk)?;
                // One that came with its own vector, where others have their tokens' too.
                Ok(Some(Embedded { vector, tokens })
                    .filter(|embedded| record.pooled == 0 || embedded.tokens.is_some()))
            }
            _ => Ok(None),
        }
    }
}

/// A commit in the making.
struct Change {
    record: CollectionRecord,
    batch: Batch,
    /// New points: chunk number, vector, text for the keyword index.
    points: Vec<(u32, Vec<f32>, String)>,
    documents: Vec<(u32, DocumentRecord)>,
    /// Chunks and documents that go.
    old: Bitmap,
    gone: Vec<u32>,
    done: Committed,
}

impl Change {
    fn new(record: CollectionRecord) -> Self {
        Self {
            record,
            batch: Batch::default(),
            points: Vec::new(),
            documents: Vec::new(),
            old: Bitmap::new(),
            gone: Vec::new(),
            done: Committed::default(),
        }
    }

    fn put(&mut self, item: Pending) -> Result<()> {
        let texts: Vec<String> = item.chunks.iter().map(|c| item.embedded_text(c)).collect();
        let Pending { document, hash, chunks } = item;
        let (collection, vectors) = (self.record.number, self.record.vectors);
        let exhausted = || {
            Error::parameter("collection", "it has used up its 4 billion chunk or document numbers")
        };
        let number = self.record.next_document;
        self.record.next_document = number.checked_add(1).ok_or_else(exhausted)?;
        let first = self.record.next_chunk;
        let count = u32::try_from(chunks.len()).map_err(|_| exhausted())?;
        self.record.next_chunk = first.checked_add(count).ok_or_else(exhausted)?;
        self.record.documents += 1;
        self.record.chunks += u64::from(count);

        let own_vector = document.vector.is_some();
        for ((id, chunk), text) in (first..).zip(chunks).zip(texts) {
            let Some(embedded) = chunk.embedded else {
                return Err(Error::corrupted(
                    format!("document {:?}", document.id),
                    "a chunk reached the commit without a vector",
                ));
            };
            let record = ChunkRecord { document: number, ..chunk.record };
            embedded.put(&mut self.batch, vectors, id)?;
            if !own_vector {
                let key = keys::hashed(keys::HASH, collection, &record.hash);
                self.batch.put(key, Kind::Hash, &id.to_le_bytes())?;
            }
            let key = keys::numbered(keys::CHUNK, collection, id);
            self.batch.put_record(key, Kind::Chunk, &record)?;
            self.points.push((id, embedded.vector, text));
        }
        let base = keys::numbered(keys::TEXT, collection, number);
        self.batch.put_split(&base, Kind::Text, document.text.as_bytes())?;
        let key = keys::hashed(keys::NAME, collection, &id_hash(&document.id));
        self.batch.put(key, Kind::Name, &number.to_le_bytes())?;
        let record = DocumentRecord {
            id: document.id,
            title: document.title,
            metadata: document.metadata,
            origin: document.origin,
            headings: document.headings,
            hash,
            text_bytes: document.text.len() as u64,
            chunks: first..first + count,
            generation: self.record.generation,
        };
        let base = keys::numbered(keys::DOCUMENT, collection, number);
        self.batch.put_split_record(&base, Kind::Document, &record)?;
        self.documents.push((number, record));
        Ok(())
    }
}

pub(super) fn check_id(id: &str) -> Result<()> {
    if (1..=4096).contains(&id.len()) {
        return Ok(());
    }
    Err(Error::parameter("document id", format!("{} bytes; from 1 to 4096 are allowed", id.len())))
}

/// A document with the caller's own vector: one chunk.
fn whole_document(document: &Document, vector: Vec<f32>) -> PendingChunk {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    let context = document.title.as_ref().map(|title| format!("{title}\n")).unwrap_or_default();
    let record = ChunkRecord {
        document: 0,
        span: 0..document.text.len() as u64,
        lines: (1, LineIndex::new(&document.text).line(document.text.len().saturating_sub(1))),
        heading: Vec::new(),
        context,
        hash: content_hash(&[&bytes]),
        tokens: 0,
    };
    PendingChunk { record, embedded: Some(Embedded::own(vector)) }
}

fn span_text<'a>(text: &'a str, chunk: &ChunkRecord) -> &'a str {
    let bound = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    text.get(bound(chunk.span.start)..bound(chunk.span.end)).unwrap_or_default()
}

/// Everything of a document that is stored, in one fixed encoding.
fn document_bytes(document: &Document) -> Result<Vec<u8>> {
    serde_json::to_vec(document)
        .map_err(|e| Error::parameter("document", format!("it cannot be encoded: {e}")))
}

fn id_hash(id: &str) -> ContentHash {
    content_hash(&[id.as_bytes()])
}
