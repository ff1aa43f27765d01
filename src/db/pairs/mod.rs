//! Pairs to train an encoder on, made of a collection's own documents.
//!
//! Nobody has marked what answers what, so a pair is made of two texts that a document itself puts
//! together ([`PairKind`]). Documents go to the training or to the dev pairs as wholes.

mod of_document;

use super::collection::Collection;
use crate::error::{Error, Result};
use crate::hash::checksum;
use crate::pairs::Pairs;
use crate::random::unit;
use crate::store::records::{ChunkRecord, DocumentRecord};
use crate::store::{Kind, keys};
#[cfg(all(feature = "models", feature = "keyword"))]
pub(crate) use of_document::SomePassage;
use of_document::{Candidate, Part, Passage, candidates};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

/// What a pair is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PairKind {
    /// A document's title, and its first passage without the title.
    Title,
    /// A heading behind the document's title, and the text below it, as far as it stands in one passage.
    Heading,
    /// A sentence, and the passage that it was taken from (inverse cloze task, Lee et al. 2019).
    Sentence,
    /// A passage, and the next one of its document.
    Neighbour,
    /// A question that a decoder wrote for a passage, and the passage.
    Question,
}

impl PairKind {
    /// Its name: `title`, `heading`, `sentence`, `neighbour`, `question`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Heading => "heading",
            Self::Sentence => "sentence",
            Self::Neighbour => "neighbour",
            Self::Question => "question",
        }
    }
}

impl fmt::Display for PairKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PairKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let all = [Self::Title, Self::Heading, Self::Sentence, Self::Neighbour];
        all.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known = all.map(Self::name).join(", ");
            Error::parameter("pair-kinds", format!("{name:?}; there are {known}"))
        })
    }
}

/// How pairs are made of documents.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PairOptions {
    /// Default: titles, headings and sentences. A neighbour is as long as a passage, and nobody asks
    /// with a whole passage.
    pub kinds: Vec<PairKind>,
    /// Pairs of one document at most: its title, then others by chance. Default: 16.
    pub per_document: usize,
    /// Pairs in all at most, of documents by chance. Default: 20,000.
    pub most: usize,
    /// The share of documents whose pairs are kept to measure by, from 0 to 1. At least one document
    /// is, and one is not. Default: 0.1.
    pub dev_share: f64,
    /// Shorter passages and sentences are left out. Default: 5 words.
    pub min_words: usize,
    /// The share of passages that keep the sentence which was taken from them: a few, so that equal
    /// words count as well. Default: 0.1, as Lee et al. found best.
    pub kept_sentences: f64,
    /// Decides every choice by chance, document by document: one that is added changes none for the
    /// others. Default: 0.
    pub seed: u64,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            kinds: vec![PairKind::Title, PairKind::Heading, PairKind::Sentence],
            per_document: 16,
            most: 20_000,
            dev_share: 0.1,
            min_words: 5,
            kept_sentences: 0.1,
            seed: 0,
        }
    }
}

impl PairOptions {
    fn check(&self) -> Result<()> {
        let share = |name, share: f64| {
            if (0.0..=1.0).contains(&share) {
                Ok(())
            } else {
                Err(Error::parameter(name, format!("{share}; from 0 to 1")))
            }
        };
        share("dev-share", self.dev_share)?;
        share("kept-sentences", self.kept_sentences)?;
        if self.per_document == 0 {
            return Err(Error::parameter("pairs-per-document", "0; at least 1 is needed"));
        }
        Ok(())
    }

    /// A number for this document and purpose that nothing else changes.
    fn chance(&self, purpose: &str, id: &str) -> u64 {
        checksum([&self.seed.to_le_bytes()[..], purpose.as_bytes(), &[0], id.as_bytes()])
    }

    /// Whether a document's pairs are kept to measure by, other things aside.
    fn is_dev(&self, id: &str) -> bool {
        unit(self.chance("dev", id)) < self.dev_share
    }
}

/// Pairs of a collection's documents.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TrainingPairs {
    /// To learn from.
    pub train: Pairs,
    /// To measure by, of other documents.
    pub dev: Pairs,
    /// What was made and left out.
    pub report: PairReport,
}

/// What pairs were made, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PairReport {
    /// Documents that were read.
    pub documents: usize,
    /// Of these, documents that are kept to measure by.
    pub dev_documents: usize,
    /// Pairs to learn from.
    pub train: BTreeMap<PairKind, usize>,
    /// Pairs to measure by.
    pub dev: BTreeMap<PairKind, usize>,
    /// Left out, since a text was too short.
    pub short: usize,
    /// Left out, since two documents have this query: it tells neither from the other.
    pub ambiguous: usize,
    /// Left out of the pairs to measure by, since a text of it is learnt from.
    pub overlap: usize,
    /// Left out, since the documents in which they stand had more than wanted.
    pub beyond: usize,
}

impl Collection {
    /// Pairs to train an encoder on, made of the documents themselves, and pairs of other documents to
    /// measure by. `on_document` is told how many documents were read, and stops it.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options that cannot be, for fewer than two documents, and where no pair
    /// can be made; [`Error::Stopped`]; [`Error::Corrupted`].
    pub fn training_pairs(
        &self,
        options: &PairOptions,
        on_document: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<TrainingPairs> {
        options.check()?;
        let name = self.inner.record().name;
        let refuse = |reason: String| Err(Error::parameter("collection", reason));
        let mut ids = Vec::new();
        for document in self.documents() {
            let id = document?.id;
            ids.push((options.chance("order", &id), id));
        }
        match ids.len() {
            0 => return refuse(format!("{name:?} has no documents; add some first")),
            1 => {
                return refuse(format!(
                    "{name:?} has one document; pairs to learn from and pairs to measure by need one \
                     each, and more to tell it from"
                ));
            }
            _ => {}
        }
        // By chance, so that the first of them are a sample.
        ids.sort_unstable();
        let dev = dev(ids.iter().map(|(_, id)| id.as_str()), options);
        let mut found = Found::default();
        for (nth, (_, id)) in ids.iter().enumerate() {
            if found.candidates.len() >= options.most {
                break;
            }
            if let Some(parts) = self.parts(id)? {
                let is_dev = dev.contains(id.as_str());
                found.add(id, is_dev, candidates(id, &parts, options), options);
            }
            if on_document(nth + 1).is_break() {
                return Err(Error::Stopped);
            }
        }
        let pairs = found.pairs(options);
        if pairs.train.is_empty() {
            return refuse(format!(
                "no pair can be made of the documents of {name:?}: they have no titles or headings, \
                 and no passages of three sentences; name another file of pairs"
            ));
        }
        Ok(pairs)
    }

    /// Up to `most` passages of the collection by chance, for which queries can be written.
    ///
    /// # Errors
    /// [`Error::Parameter`] for options that cannot be, [`Error::Corrupted`].
    #[cfg(all(feature = "models", feature = "keyword"))]
    pub(crate) fn some_passages(
        &self,
        options: &PairOptions,
        most: usize,
    ) -> Result<Vec<SomePassage>> {
        options.check()?;
        let (mut all, mut ids) = (Vec::new(), Vec::new());
        for document in self.documents() {
            let document = document?;
            for chunk in 0..document.chunks {
                let chance = options.chance("passage", &format!("{} {chunk}", document.id));
                all.push((chance, document.id.clone(), chunk));
            }
            ids.push(document.id);
        }
        all.sort_unstable();
        let dev = dev(ids.iter().map(String::as_str), options);
        let mut passages = Vec::new();
        for (_, id, nth) in all {
            if passages.len() >= most {
                break;
            }
            let Some(parts) = self.parts(&id)? else { continue };
            let is_dev = dev.contains(id.as_str());
            passages.extend(of_document::passage(&id, nth, is_dev, &parts, options));
        }
        Ok(passages)
    }

    /// A document's passages; none where it was removed meanwhile.
    fn parts(&self, id: &str) -> Result<Option<Part>> {
        loop {
            let Some(number) = self.inner.find(id)? else { return Ok(None) };
            match self.read_parts(number) {
                // Replaced or removed while it was read: its parts were not of one commit.
                Err(Error::Corrupted { .. }) if self.inner.find(id)? != Some(number) => {}
                read => return read.map(Some),
            }
        }
    }

    fn read_parts(&self, number: u32) -> Result<Part> {
        let collection = self.inner.record().number;
        let Some(record) = self.inner.document_record(collection, number)? else {
            return Err(Error::corrupted(format!("document {number}"), "its record is missing"));
        };
        let text = self.inner.document_text(collection, number, &record)?;
        let mut chunks = Vec::new();
        for chunk in record.chunks.clone() {
            let key = keys::numbered(keys::CHUNK, collection, chunk);
            let Some(found) = self.inner.store.get_record::<ChunkRecord>(&key, Kind::Chunk)? else {
                return Err(Error::corrupted(format!("chunk {chunk}"), "its record is missing"));
            };
            chunks.push(Passage { number: chunk, span: found.bytes(), context: found.context });
        }
        let DocumentRecord { title, headings, .. } = record;
        Ok(Part { title, text, headings, chunks })
    }
}

/// The documents that are kept to measure by: at least one, and not all. `ids` are at least two.
fn dev<'i>(ids: impl Iterator<Item = &'i str>, options: &PairOptions) -> HashSet<&'i str> {
    let mut all: Vec<(u64, &str)> = ids.map(|id| (options.chance("dev", id), id)).collect();
    all.sort_unstable();
    let share = all.iter().take_while(|(_, id)| options.is_dev(id)).count();
    let kept = share.clamp(1, all.len().saturating_sub(1).max(1));
    all.into_iter().take(kept).map(|(_, id)| id).collect()
}

/// All that documents gave, before what is ambiguous is left out.
#[derive(Default)]
struct Found {
    candidates: Vec<(Candidate, bool)>,
    /// The documents of each query: the first, and whether there are others.
    queries: HashMap<String, (usize, bool)>,
    report: PairReport,
}

impl Found {
    fn add(
        &mut self,
        id: &str,
        is_dev: bool,
        found: (Vec<Candidate>, usize),
        options: &PairOptions,
    ) {
        let (mut own, short) = found;
        self.report.short += short;
        self.report.documents += 1;
        self.report.dev_documents += usize::from(is_dev);
        let document = self.report.documents;
        if own.len() > options.per_document {
            self.report.beyond += own.len() - options.per_document;
            // The title first, then by chance.
            let chance = |c: &Candidate| (c.kind != PairKind::Title, options.chance(&c.query, id));
            own.sort_by_cached_key(chance);
            own.truncate(options.per_document);
        }
        for candidate in own {
            let query = fold(&candidate.query);
            let others = self.queries.entry(query).or_insert((document, false));
            others.1 |= others.0 != document;
            self.candidates.push((candidate, is_dev));
        }
    }

    fn pairs(self, options: &PairOptions) -> TrainingPairs {
        let Self { mut candidates, queries, report } = self;
        candidates.truncate(options.most);
        let mut made = TrainingPairs { report, ..TrainingPairs::default() };
        let mut texts = HashSet::new();
        // Those to learn from first: what they hold is not measured by.
        candidates.sort_by_key(|(_, is_dev)| *is_dev);
        for (candidate, is_dev) in candidates {
            let Candidate { kind, query, positive, group } = candidate;
            let (folded, answer) = (fold(&query), fold(&positive));
            if queries.get(&folded).is_some_and(|(_, several)| *several) {
                made.report.ambiguous += 1;
                continue;
            }
            let (pairs, counts) = if is_dev {
                if texts.contains(&folded) || texts.contains(&answer) {
                    made.report.overlap += 1;
                    continue;
                }
                (&mut made.dev, &mut made.report.dev)
            } else {
                texts.extend([folded, answer]);
                (&mut made.train, &mut made.report.train)
            };
            if pairs.push_of(&group, &query, &positive) {
                *counts.entry(kind).or_default() += 1;
            }
        }
        made
    }
}

/// A text without regard to white space and case.
pub(crate) fn fold(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
