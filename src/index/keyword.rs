//! Keyword search: BM25 (Robertson 1994, k1 = 1.2, b = 0.75) by tantivy, which only this file names.
//!
//! One tantivy index per collection. Each of its commits carries the generation that it brings the
//! index to, so that a stale one is noticed at open.

mod files;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
mod fuzzing;
#[cfg(all(test, feature = "cli"))]
pub(crate) use fuzzing::payloads;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) use fuzzing::summed_file;
mod words;
pub(crate) use words::{Word, WordReader};

use super::{Bitmap, Stamp};
use crate::error::{Error, Result};
use crate::panics;
use files::SummedFiles;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::query::{AllQuery, BooleanQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language as StemmerLanguage, LowerCaser, RemoveLongFilter, SimpleTokenizer,
    Stemmer, StopWordFilter, TextAnalyzer, TokenStream as _,
};
use tantivy::{
    Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyDocument,
    TantivyError, Term,
};

const VERSION: u32 = 1;
/// BM25's parameters, which tantivy has built in.
const K1: f32 = 1.2;
const B: f32 = 0.75;
const ANALYZER: &str = "vdb";
/// Memory of a writer before it writes a segment.
const WRITER_BYTES: usize = 32 << 20;
/// Longer "words" are encoded data.
const LONGEST_WORD: usize = 100;
/// More words than a question has; a pasted book would take minutes.
const MOST_WORDS: usize = 1024;

/// Language of stemmer and stop words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Words as they are, in lower case.
    None,
    /// One of the Snowball stemmers.
    Stemmed(StemmerLanguage),
}

const LANGUAGES: [(&str, StemmerLanguage); 18] = [
    ("arabic", StemmerLanguage::Arabic),
    ("danish", StemmerLanguage::Danish),
    ("dutch", StemmerLanguage::Dutch),
    ("english", StemmerLanguage::English),
    ("finnish", StemmerLanguage::Finnish),
    ("french", StemmerLanguage::French),
    ("german", StemmerLanguage::German),
    ("greek", StemmerLanguage::Greek),
    ("hungarian", StemmerLanguage::Hungarian),
    ("italian", StemmerLanguage::Italian),
    ("norwegian", StemmerLanguage::Norwegian),
    ("portuguese", StemmerLanguage::Portuguese),
    ("romanian", StemmerLanguage::Romanian),
    ("russian", StemmerLanguage::Russian),
    ("spanish", StemmerLanguage::Spanish),
    ("swedish", StemmerLanguage::Swedish),
    ("tamil", StemmerLanguage::Tamil),
    ("turkish", StemmerLanguage::Turkish),
];

/// English function words, which carry no topic. Questions are full of them, and short lists leave
/// most of them in.
const ENGLISH_STOP_WORDS: &str = "a about after again all also am an and any are as at be because \
    been before being between both but by can could did do does doing down during each few for \
    from further had has have having he her here hers him his how i if in into is it its itself \
    just may me might more most must my no nor not now of off on once only or other our ours out \
    over own s same shall she should so some such t than that the their theirs them then there \
    these they this those through to too under until up upon very was we were what when where \
    which while who whom why will with would you your yours";

impl FromStr for Language {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if name == "none" {
            return Ok(Self::None);
        }
        let found = LANGUAGES.iter().find(|(known, _)| *known == name);
        found.map(|(_, language)| Self::Stemmed(*language)).ok_or_else(|| {
            let known: Vec<&str> = LANGUAGES.iter().map(|(known, _)| *known).collect();
            Error::parameter("language", format!("{name:?}; there are none, {}", known.join(", ")))
        })
    }
}

impl Language {
    /// Function words too.
    fn analyzer_of_all(self) -> TextAnalyzer {
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(LONGEST_WORD))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter);
        match self {
            Self::None => words.build(),
            Self::Stemmed(language) => words.filter(Stemmer::new(language)).build(),
        }
    }

    fn analyzer(self) -> TextAnalyzer {
        let words = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(LONGEST_WORD))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter);
        match self {
            Self::None => words.build(),
            Self::Stemmed(StemmerLanguage::English) => {
                let stop = ENGLISH_STOP_WORDS.split_ascii_whitespace().map(str::to_owned);
                words
                    .filter(StopWordFilter::remove(stop))
                    .filter(Stemmer::new(StemmerLanguage::English))
                    .build()
            }
            Self::Stemmed(language) => match StopWordFilter::new(language) {
                Some(stop) => words.filter(stop).filter(Stemmer::new(language)).build(),
                None => words.filter(Stemmer::new(language)).build(),
            },
        }
    }
}

/// What one chunk is found by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeywordEntry<'a> {
    pub(crate) id: u32,
    pub(crate) text: &'a str,
}

/// Carried by every commit of the tantivy index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Payload {
    version: u32,
    database: [u8; 16],
    collection: u32,
    language: String,
    generation: u64,
}

impl Payload {
    /// That of an index which holds nothing yet.
    fn new(language: Language, stamp: Stamp) -> Self {
        Self {
            version: VERSION,
            database: stamp.database,
            collection: stamp.collection,
            language: format!("{language:?}"),
            generation: 0,
        }
    }
}

/// Finds chunks by their words. Searched by any number of threads while one applies changes.
pub(crate) struct KeywordIndex {
    folder: PathBuf,
    index: Index,
    reader: IndexReader,
    id: Field,
    body: Field,
    analyzer: TextAnalyzer,
    /// Made by the first change: a search must not start threads or take locks.
    writer: Mutex<Option<IndexWriter>>,
    payload: Mutex<Payload>,
}

impl KeywordIndex {
    /// Opens the index in `folder`; an empty one where there is none. One that cannot be used is
    /// deleted, with the reason: the store can refill it.
    pub(crate) fn open(
        folder: &Path,
        language: Language,
        stamp: Stamp,
    ) -> Result<(Self, Option<String>)> {
        let wanted = Payload::new(language, stamp);
        match Self::existing(folder, language, &wanted) {
            Ok(Some(index)) => Ok((index, None)),
            Ok(None) => Self::create(folder, language, wanted).map(|index| (index, None)),
            Err(reason) => {
                Self::create(folder, language, wanted).map(|index| (index, Some(reason)))
            }
        }
    }

    /// Why the files of the index in `folder` cannot be used, where that is so. None of them is
    /// changed.
    pub(crate) fn damage(folder: &Path, language: Language, stamp: Stamp) -> Option<String> {
        Self::existing(folder, language, &Payload::new(language, stamp)).err()
    }

    /// The index in `folder`, where there is one.
    fn existing(
        folder: &Path,
        language: Language,
        wanted: &Payload,
    ) -> Result<Option<Self>, String> {
        if !folder.join("meta.json").exists() {
            return Ok(None);
        }
        // Files that are damaged in a way that no checksum covers can make tantivy panic.
        panics::catch(|| Self::read(folder, language, wanted))
            .unwrap_or_else(|_| Err("it cannot be read".to_owned()))
            .map(Some)
    }

    fn read(folder: &Path, language: Language, wanted: &Payload) -> Result<Self, String> {
        let files = SummedFiles(MmapDirectory::open(folder).map_err(|e| e.to_string())?);
        let index = Index::open(files).map_err(|e| e.to_string())?;
        // tantivy trusts its files when it searches, so they are looked through now.
        let damaged = index.validate_checksum().map_err(|e| e.to_string())?;
        if let Some(file) = damaged.iter().next() {
            return Err(format!("{} is damaged", file.display()));
        }
        if index.schema() != schema() {
            return Err("it has another layout".to_owned());
        }
        let meta = index.load_metas().map_err(|e| e.to_string())?;
        // Without a payload nothing was ever committed.
        let payload = match meta.payload {
            Some(json) => serde_json::from_str(&json).map_err(|e| e.to_string())?,
            None => wanted.clone(),
        };
        if payload != (Payload { generation: payload.generation, ..wanted.clone() }) {
            return Err("it belongs to another collection or language".to_owned());
        }
        Self::with(folder, index, language, payload).map_err(|e| e.to_string())
    }

    fn create(folder: &Path, language: Language, payload: Payload) -> Result<Self> {
        match std::fs::remove_dir_all(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", folder)(e));
            }
            _ => {}
        }
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let files = MmapDirectory::open(folder).map_err(|e| translate(folder, e.into()))?;
        let settings = IndexSettings::default();
        let index = Index::create(SummedFiles(files), schema(), settings)
            .map_err(|e| translate(folder, e))?;
        Self::with(folder, index, language, payload).map_err(|e| translate(folder, e))
    }

    fn with(
        folder: &Path,
        index: Index,
        language: Language,
        payload: Payload,
    ) -> Result<Self, TantivyError> {
        let analyzer = language.analyzer();
        index.tokenizers().register(ANALYZER, analyzer.clone());
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let schema = index.schema();
        Ok(Self {
            folder: folder.to_path_buf(),
            id: schema.get_field("id")?,
            body: schema.get_field("body")?,
            index,
            reader,
            analyzer,
            writer: Mutex::new(None),
            payload: Mutex::new(payload),
        })
    }

    /// The generation that the index holds; none before the first commit or after a failed one.
    pub(crate) fn generation(&self) -> Option<u64> {
        let payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        (payload.generation > 0).then_some(payload.generation)
    }

    /// The chunks that can be found.
    pub(crate) fn ids(&self) -> Result<Bitmap> {
        let searcher = self.reader.searcher();
        let mut ids = Bitmap::new();
        for segment in searcher.segment_readers() {
            let column = segment.fast_fields().u64("id").map_err(|e| self.translate(e))?;
            let found = segment.doc_ids_alive().filter_map(|doc| column.first(doc));
            ids.extend(found.filter_map(|id| u32::try_from(id).ok()));
        }
        Ok(ids)
    }

    /// The writer, made by the first who needs it.
    fn writer_in<'a>(&self, slot: &'a mut Option<IndexWriter>) -> Result<&'a mut IndexWriter> {
        if let Some(writer) = slot {
            return Ok(writer);
        }
        let made = self.index.writer_with_num_threads(1, WRITER_BYTES);
        Ok(slot.insert(made.map_err(|e| self.translate(e))?))
    }

    /// Removes and adds, in one commit that brings the index to `generation` (0: to be compared with
    /// the store at the next open). Searches see the change when this returns.
    pub(crate) fn apply(
        &self,
        add: &[KeywordEntry<'_>],
        remove: &Bitmap,
        generation: u64,
    ) -> Result<()> {
        let mut slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writer_in(&mut slot)?;
        let mut payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner).clone();
        payload.generation = generation;
        let mut change = || {
            for id in remove {
                writer.delete_term(Term::from_field_u64(self.id, u64::from(id)));
            }
            for entry in add {
                writer.add_document(self.document(entry))?;
            }
            self.commit(writer, &payload)
        };
        match change() {
            Ok(()) => {
                *self.payload.lock().unwrap_or_else(PoisonError::into_inner) = payload;
                Ok(())
            }
            Err(error) => {
                // A writer that failed stays failed; the next change makes another.
                *slot = None;
                self.payload.lock().unwrap_or_else(PoisonError::into_inner).generation = 0;
                Err(self.translate(error))
            }
        }
    }

    /// Makes the index anew from `entries`, so that no file holds an entry that is gone. Merging
    /// would do that, too, but estimate how long the texts are that stay, and so change scores.
    pub(crate) fn compact(
        &self,
        entries: impl Iterator<Item = Result<(u32, String)>>,
        generation: u64,
    ) -> Result<()> {
        let mut slot = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = self.writer_in(&mut slot)?;
        let mut payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner).clone();
        payload.generation = generation;
        let refill = || {
            // `delete_all_documents` would set the clock of operations back, and removals that
            // follow it would be lost.
            writer.delete_query(Box::new(AllQuery)).map_err(|e| self.translate(e))?;
            for entry in entries {
                let (id, text) = entry?;
                let document = self.document(&KeywordEntry { id, text: &text });
                writer.add_document(document).map_err(|e| self.translate(e))?;
            }
            self.commit(writer, &payload).map_err(|e| self.translate(e))?;
            let collected = writer.garbage_collect_files().wait();
            collected.map(drop).map_err(|e| self.translate(e))
        };
        let refilled = refill();
        if refilled.is_ok() {
            *self.payload.lock().unwrap_or_else(PoisonError::into_inner) = payload;
        } else {
            // What was added so far goes with the writer.
            *slot = None;
        }
        refilled
    }

    fn document(&self, entry: &KeywordEntry<'_>) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_u64(self.id, u64::from(entry.id));
        document.add_text(self.body, entry.text);
        document
    }

    fn commit(&self, writer: &mut IndexWriter, payload: &Payload) -> Result<(), TantivyError> {
        let json = serde_json::to_string(payload)
            .map_err(|e| TantivyError::InternalError(e.to_string()))?;
        let mut prepared = writer.prepare_commit()?;
        prepared.set_payload(&json);
        prepared.commit()?;
        self.reader.reload()
    }

    /// The best `top_k` chunks that are `allowed`, by BM25 over all words of `query`; parts in double
    /// quotes must occur as phrases. Equal scores by number. No query is a syntax error.
    pub(crate) fn search(
        &self,
        query: &str,
        top_k: usize,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<(u32, f32)>> {
        let Some(query) = self.parse(query) else { return Ok(Vec::new()) };
        let searcher = self.reader.searcher();
        // tantivy reserves memory for the limit, however many documents there are.
        let documents = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX);
        let limit = top_k.min(documents);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let best = TopDocs::with_limit(limit).order_by_score();
        let found = match allowed {
            None => searcher.search(&*query, &best),
            Some(allowed) => {
                let allowed = allowed.clone();
                let may = move |id: u64| u32::try_from(id).is_ok_and(|id| allowed.contains(id));
                searcher.search(&*query, &FilterCollector::new("id".to_owned(), may, best))
            }
        };
        let mut hits = Vec::with_capacity(limit.min(1024));
        for (score, address) in found.map_err(|e| self.translate(e))? {
            hits.push((self.id_of(&searcher, address)?, score));
        }
        hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(hits)
    }

    fn id_of(&self, searcher: &Searcher, address: tantivy::DocAddress) -> Result<u32> {
        let segment = searcher.segment_reader(address.segment_ord);
        let column = segment.fast_fields().u64("id").map_err(|e| self.translate(e))?;
        column.first(address.doc_id).and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
            Error::corrupted(self.folder.display().to_string(), "an entry has no chunk number")
        })
    }

    /// None where no word is left.
    fn parse(&self, query: &str) -> Option<Box<dyn Query>> {
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let mut words = 0;
        // Every second part stands between quotes; an open quote quotes nothing.
        let parts: Vec<&str> = query.split('"').collect();
        for (i, part) in parts.iter().enumerate() {
            let quoted = i % 2 == 1 && i + 1 < parts.len();
            let terms: Vec<(usize, Term)> =
                self.terms(part).take(MOST_WORDS.saturating_sub(words)).collect();
            words += terms.len();
            if quoted && terms.len() > 1 {
                clauses.push((Occur::Must, Box::new(PhraseQuery::new_with_offset(terms))));
                continue;
            }
            let occur = if quoted { Occur::Must } else { Occur::Should };
            for (_, term) in terms {
                let query = TermQuery::new(term, IndexRecordOption::WithFreqs);
                clauses.push((occur, Box::new(query)));
            }
        }
        if clauses.is_empty() { None } else { Some(Box::new(BooleanQuery::new(clauses))) }
    }

    /// The terms of a text with their positions.
    fn terms(&self, text: &str) -> impl Iterator<Item = (usize, Term)> {
        let mut analyzer = self.analyzer.clone();
        let mut stream = analyzer.token_stream(text);
        let mut terms = Vec::new();
        while stream.advance() {
            let token = stream.token();
            terms.push((token.position, Term::from_field_text(self.body, &token.text)));
        }
        terms.into_iter()
    }

    /// Scores whole documents, of which the index holds the passages, `passages` of them a document on
    /// average.
    pub(crate) fn scorer(&self, query: &str, passages: f32) -> Result<Scorer> {
        let searcher = self.reader.searcher();
        let entries = searcher.num_docs() as f32;
        let mut tokens = 0;
        for segment in searcher.segment_readers() {
            let inverted = segment.inverted_index(self.body).map_err(|e| self.translate(e))?;
            tokens += inverted.total_num_tokens();
        }
        let mut terms: HashMap<Term, f32> = HashMap::new();
        for (_, term) in self.terms(query).take(MOST_WORDS) {
            let found = searcher.doc_freq(&term).map_err(|e| self.translate(e))? as f32;
            *terms.entry(term).or_default() += idf(entries, found);
        }
        let average = (tokens as f32 / entries.max(1.0) * passages).max(1.0);
        Ok(Scorer { terms, average, analyzer: self.analyzer.clone(), body: self.body })
    }

    /// How many entries have each of these stems, and how many entries there are.
    pub(crate) fn frequencies(&self, stems: &[&str]) -> Result<(Vec<u64>, u64)> {
        let searcher = self.reader.searcher();
        let found = |stem: &&str| searcher.doc_freq(&Term::from_field_text(self.body, stem));
        let found = stems.iter().map(found).collect::<tantivy::Result<Vec<u64>>>();
        Ok((found.map_err(|e| self.translate(e))?, searcher.num_docs()))
    }

    /// The words of `text` that the index holds or would hold, by their bytes, and how much each says:
    /// its inverse document frequency, ln(1 + (N - n + 0.5) / (n + 0.5)) for a word that n of N
    /// entries have.
    pub(crate) fn word_weights(&self, text: &str) -> Result<Vec<(Range<usize>, f32)>> {
        let searcher = self.reader.searcher();
        let entries = searcher.num_docs() as f32;
        let mut analyzer = self.analyzer.clone();
        let mut stream = analyzer.token_stream(text);
        let mut weights = Vec::new();
        while weights.len() < MOST_WORDS && stream.advance() {
            let token = stream.token();
            let term = Term::from_field_text(self.body, &token.text);
            let found = searcher.doc_freq(&term).map_err(|e| self.translate(e))? as f32;
            weights.push((token.offset_from..token.offset_to, idf(entries, found)));
        }
        Ok(weights)
    }

    /// The bytes of `text` whose words are, once stemmed, words of `query`.
    pub(crate) fn matches(&self, query: &str, text: &str) -> Vec<Range<usize>> {
        let wanted: HashSet<Term> = self.terms(query).map(|(_, term)| term).collect();
        let mut analyzer = self.analyzer.clone();
        let mut stream = analyzer.token_stream(text);
        let mut spans = Vec::new();
        while stream.advance() {
            let token = stream.token();
            if wanted.contains(&Term::from_field_text(self.body, &token.text)) {
                spans.push(token.offset_from..token.offset_to);
            }
        }
        spans
    }

    /// Files whose checksum does not match.
    pub(crate) fn damaged_files(&self) -> Result<Vec<PathBuf>> {
        let damaged = self.index.validate_checksum().map_err(|e| self.translate(e))?;
        Ok(damaged.into_iter().collect())
    }

    fn translate(&self, error: TantivyError) -> Error {
        translate(&self.folder, error)
    }
}

/// BM25 of a text that is not an entry of the index, by the index's word frequencies.
pub(crate) struct Scorer {
    /// What each word of the query is worth.
    terms: HashMap<Term, f32>,
    /// Words of a document on average.
    average: f32,
    analyzer: TextAnalyzer,
    body: Field,
}

impl Scorer {
    pub(crate) fn score(&mut self, text: &str) -> f32 {
        let mut counts: HashMap<Term, f32> = HashMap::new();
        let mut length = 0.0;
        let mut stream = self.analyzer.token_stream(text);
        while stream.advance() {
            length += 1.0;
            let term = Term::from_field_text(self.body, &stream.token().text);
            if self.terms.contains_key(&term) {
                *counts.entry(term).or_default() += 1.0;
            }
        }
        let norm = K1 * (1.0 - B + B * length / self.average);
        // Summed in a fixed order, so that equal texts have equal scores.
        let mut parts: Vec<f32> = counts
            .iter()
            .map(|(term, tf)| self.terms.get(term).unwrap_or(&0.0) * tf * (K1 + 1.0) / (tf + norm))
            .collect();
        parts.sort_unstable_by(f32::total_cmp);
        parts.iter().sum()
    }
}

impl Drop for KeywordIndex {
    fn drop(&mut self) {
        let slot = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = slot.take() {
            // A merge under way is finished rather than thrown away.
            let _ = writer.wait_merging_threads();
        }
    }
}

/// Inverse document frequency as Lucene has it, which is never below 0.
fn idf(entries: f32, found: f32) -> f32 {
    (1.0 + (entries - found + 0.5).max(0.0) / (found + 0.5)).ln()
}

fn translate(folder: &Path, error: TantivyError) -> Error {
    let path = folder.to_path_buf();
    match error {
        TantivyError::IoError(source) => Error::Io {
            action: "use",
            path,
            source: std::io::Error::new(source.kind(), source.to_string()),
        },
        other => Error::corrupted(path.display().to_string(), other.to_string()),
    }
}

fn schema() -> Schema {
    let mut schema = Schema::builder();
    schema.add_u64_field("id", FAST | INDEXED);
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(ANALYZER)
        .set_index_option(IndexRecordOption::WithFreqsAndPositions);
    schema.add_text_field("body", TextOptions::default().set_indexing_options(indexing));
    schema.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { database: [3; 16], collection: 1 };

    fn english() -> Language {
        "english".parse().unwrap()
    }

    fn filled(folder: &Path, texts: &[&str]) -> KeywordIndex {
        let (index, _) = KeywordIndex::open(folder, english(), STAMP).unwrap();
        let entries: Vec<KeywordEntry<'_>> =
            (0..).zip(texts).map(|(id, text)| KeywordEntry { id, text }).collect();
        index.apply(&entries, &Bitmap::new(), 7).unwrap();
        index
    }

    fn found(index: &KeywordIndex, query: &str) -> Vec<u32> {
        index.search(query, 10, None).unwrap().into_iter().map(|(id, _)| id).collect()
    }

    /// Robertson's formula with Lucene's idf, ln(1 + (N - n + 0.5) / (n + 0.5)), by hand.
    #[test]
    fn scores_are_bm25() {
        let folder = tempfile::tempdir().unwrap();
        let index = filled(folder.path(), &["fox fox dog", "cat bird", "dog cat bird fish worm"]);
        let hits = index.search("fox", 10, None).unwrap();
        let idf = (1.0f32 + (3.0 - 1.0 + 0.5) / 1.5).ln();
        let average = 10.0 / 3.0;
        let tf = 2.0 * 2.2 / (2.0 + 1.2 * (0.25 + 0.75 * 3.0 / average));
        assert_eq!(hits.len(), 1);
        assert!((hits[0].1 - idf * tf).abs() < 1e-4, "{hits:?} {}", idf * tf);
    }

    /// By hand: two of three entries have "dog", ln(1 + 1.5 / 2.5); none has "owl", ln(1 + 3.5 / 0.5);
    /// "the" is in no index.
    #[test]
    fn rare_words_weigh_more() {
        let folder = tempfile::tempdir().unwrap();
        let index = filled(folder.path(), &["fox dog", "cat bird", "dog fish"]);
        let weights = index.word_weights("the Dogs owl").unwrap();
        assert_eq!(weights.iter().map(|(span, _)| span.clone()).collect::<Vec<_>>(), [4..8, 9..12]);
        assert!((weights[0].1 - 1.6f32.ln()).abs() < 1e-6);
        assert!((weights[1].1 - 8f32.ln()).abs() < 1e-6);
    }

    /// For texts that are entries, the scorer and the index agree, up to the rounding of lengths in
    /// the index.
    #[test]
    fn whole_texts_are_scored_like_entries() {
        let folder = tempfile::tempdir().unwrap();
        let texts = ["fox fox dog", "cat bird", "dog cat bird fish worm"];
        let index = filled(folder.path(), &texts);
        let mut scorer = index.scorer("dog bird fox", 1.0).unwrap();
        for (id, score) in index.search("dog bird fox", 10, None).unwrap() {
            let whole = scorer.score(texts[id as usize]);
            assert!((whole - score).abs() < 1e-4, "{id}: {whole} and {score}");
        }
    }

    #[test]
    fn words_are_found_in_every_form_and_changes_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let index = filled(
            folder.path(),
            &["The dogs were running.", "A café in Paris", "nothing of note", "run, dog, run"],
        );
        assert_eq!(found(&index, "run dog"), [3, 0]);
        assert_eq!(found(&index, "CAFE"), [1]);
        assert_eq!(found(&index, "the of and"), [0u32; 0]);
        for odd in ["", "\"", "AND OR NOT (", "body:x", "a\"b\"c\"", "+-*?~^", "🦊"] {
            index.search(odd, 10, None).unwrap();
        }
        assert_eq!(found(&index, "\"running dog\""), [3]);
        assert_eq!(found(&index, "\"dog dog\""), [0u32; 0]);
        let allowed = Bitmap::from_iter([0]);
        assert_eq!(index.search("dog", 10, Some(&allowed)).unwrap().len(), 1);
        index.apply(&[], &Bitmap::from_iter([3]), 8).unwrap();
        assert_eq!(found(&index, "dog"), [0]);
        assert_eq!(index.ids().unwrap(), Bitmap::from_iter([0, 1, 2]));
        drop(index);
        let (index, notice) = KeywordIndex::open(folder.path(), english(), STAMP).unwrap();
        assert_eq!((index.generation(), notice), (Some(8), None));
        assert_eq!(found(&index, "dog"), [0]);
    }

    #[test]
    fn frequencies_are_those_of_entries() {
        let folder = tempfile::tempdir().unwrap();
        let index = filled(folder.path(), &["dogs, dog and cat", "one running dog", "bird"]);
        assert_eq!(index.frequencies(&["dog", "run", "fish"]).unwrap(), (vec![2, 1, 0], 3));
    }

    #[test]
    fn matched_words_are_marked_in_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let index = filled(folder.path(), &["x"]);
        let text = "Running dogs — and the café's DOG.";
        let marked: Vec<&str> =
            index.matches("dog running", text).into_iter().map(|span| &text[span]).collect();
        assert_eq!(marked, ["Running", "dogs", "DOG"]);
    }

    /// What a crash between writing the files of a commit and naming them leaves behind.
    #[test]
    fn a_removal_that_was_cut_off_can_be_made_again() {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), &["one apple", "two apples", "three pears"]));
        let list = folder.path().join("meta.json");
        let before = std::fs::read(&list).unwrap();
        let remove = |id: u32| {
            let (index, notice) = KeywordIndex::open(folder.path(), english(), STAMP).unwrap();
            assert_eq!(notice, None);
            index.apply(&[], &Bitmap::from_iter([id]), 2).unwrap();
            found(&index, "apple")
        };
        assert_eq!(remove(0), [1]);
        let is_removal = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(".del");
        let files = || std::fs::read_dir(folder.path()).unwrap().flatten();
        assert!(files().any(|file| is_removal(&file.file_name())));
        std::fs::write(&list, before).unwrap();
        assert_eq!(remove(1), [0]);
    }

    #[test]
    fn what_cannot_be_trusted_is_made_anew() {
        for damage in 0..4 {
            let folder = tempfile::tempdir().unwrap();
            drop(filled(folder.path(), &["one", "two"]));
            let meta = folder.path().join("meta.json");
            let mut stamp = STAMP;
            let mut language = english();
            match damage {
                0 => std::fs::write(&meta, "{").unwrap(),
                1 => std::fs::write(&meta, [0xff; 100]).unwrap(),
                2 => stamp.collection = 2,
                _ => language = Language::None,
            }
            let (index, notice) = KeywordIndex::open(folder.path(), language, stamp).unwrap();
            assert!(notice.is_some(), "damage {damage}");
            assert_eq!((index.generation(), index.ids().unwrap().len()), (None, 0));
        }
    }
}
