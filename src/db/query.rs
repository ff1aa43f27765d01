//! A query: by meaning, by keyword, or both, under an optional filter.

use super::collection::{Collection, Inner};
use super::nearest::Search;
use super::paging::{FIRST_DEPTH, Ranking};
use crate::encode::{InputKind, Reranker};
use crate::error::{Error, Result};
use crate::index::{Bitmap, Effort, Filter, Fusion, Neighbour};
use crate::store::records::ChunkRecord;
use crate::store::{Kind, keys};
use crate::text::{Metadata, Origin};
use crate::vector::Metric;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{PoisonError, RwLockReadGuard};

/// Candidates that each side brings to a hybrid query.
const CANDIDATES: usize = 100;

/// Documents up to this size are scored by their whole text.
#[cfg(feature = "keyword")]
const WHOLE_TEXT_BYTES: u64 = 256 << 10;

/// Of a query that was checked: the chunks that are allowed, its mode and its vector.
type Prepared<'a> = (Option<Bitmap>, Mode, Option<Cow<'a, [f32]>>);

/// The deepest hit; more is an export, not a query.
const MAX_TOP_K: usize = 100_000;

/// What a query goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Vectors and keywords, their scores fused.
    Hybrid,
    /// Vectors only.
    Dense,
    /// Keywords only (BM25); needs no model.
    Keyword,
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "hybrid" => Ok(Self::Hybrid),
            "dense" => Ok(Self::Dense),
            "keyword" => Ok(Self::Keyword),
            _ => Err(Error::parameter(
                "mode",
                format!("{name:?}; there are hybrid, dense and keyword"),
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hybrid => "hybrid",
            Self::Dense => "dense",
            Self::Keyword => "keyword",
        })
    }
}

/// A passage that answers a query.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The document's id.
    pub document: String,
    /// The document's title.
    pub title: Option<String>,
    /// Number of the chunk in its collection.
    pub chunk: u32,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// Lines of the document's text, from 1, both ends included.
    pub lines: (u64, u64),
    /// Headings that the passage stands under, outermost first.
    pub heading: Vec<String>,
    /// The passage.
    pub text: String,
    /// Where the document came from.
    pub origin: Origin,
    /// The document's fields.
    pub metadata: Metadata,
    /// Higher is better. Dense, by the collection's metric: cosine similarity, -1 to 1; the product; or
    /// the Euclidean distance with a minus sign, 0 and less. Keyword: BM25, 0 and more. Hybrid: the
    /// fused score. Re-ranked: see [`Query::rerank`].
    pub score: f32,
    /// How the score came about.
    pub explanation: Explanation,
}

impl Hit {
    /// Lines of the file that the passage came from, where the stored text is the file's own.
    #[must_use]
    pub fn file_lines(&self) -> Option<(u64, u64)> {
        let first = self.origin.line?;
        if self.origin.verbatim {
            Some((first + self.lines.0 - 1, first + self.lines.1 - 1))
        } else {
            Some((first, first))
        }
    }
}

/// Ranks (from 1) and scores on each side; none where the passage was not among the candidates.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Rank among the vectors.
    pub dense_rank: Option<usize>,
    /// By the collection's metric: cosine distance, 0 (same direction) to 2; the product with a minus
    /// sign; or the Euclidean distance.
    pub distance: Option<f32>,
    /// Rank among the keywords.
    pub keyword_rank: Option<usize>,
    /// BM25 score.
    pub keyword_score: Option<f32>,
    /// What the re-ranker says, where the passage was re-ranked; for late interaction -1 to 1.
    pub reranker_score: Option<f32>,
}

/// A query under construction; [`Query::run`] ends it.
#[derive(Debug, Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct Query<'a> {
    pub(super) collection: &'a Collection,
    pub(super) text: Option<&'a str>,
    vector: Option<&'a [f32]>,
    /// Id of a document that stands for a vector.
    like: Option<&'a str>,
    mode: Option<Mode>,
    top_k: usize,
    offset: usize,
    min_score: Option<f32>,
    ef_search: Option<usize>,
    recall: Option<f32>,
    exact: bool,
    filter: Option<Filter>,
    fusion: Fusion,
    by_document: bool,
    pub(super) rerank: Option<usize>,
    pub(super) reranker: Option<&'a dyn Reranker>,
}

impl Collection {
    /// A query by text. Default mode: hybrid where the collection has an encoder, else keyword.
    pub fn query<'a>(&'a self, text: &'a str) -> Query<'a> {
        Query::new(self, Some(text), None)
    }

    /// How many chunks have each of these stems, and how many chunks there are.
    #[cfg(feature = "keyword")]
    pub(crate) fn frequencies(&self, stems: &[&str]) -> Result<(Vec<u64>, u64)> {
        self.inner.keywords()?.frequencies(stems)
    }

    /// A query by the caller's own vector.
    pub fn query_vector<'a>(&'a self, vector: &'a [f32]) -> Query<'a> {
        Query::new(self, None, Some(vector))
    }
}

impl<'a> Query<'a> {
    fn new(collection: &'a Collection, text: Option<&'a str>, vector: Option<&'a [f32]>) -> Self {
        Self {
            collection,
            text,
            vector,
            like: None,
            mode: None,
            top_k: 10,
            offset: 0,
            min_score: None,
            ef_search: None,
            recall: None,
            exact: false,
            filter: None,
            fusion: Fusion::default(),
            by_document: false,
            rerank: None,
            reranker: None,
        }
    }

    pub(super) fn like(collection: &'a Collection, document_id: &'a str) -> Self {
        Self { like: Some(document_id), ..Self::new(collection, None, None) }
    }

    /// Hits wanted, 1 to 100,000. Default: 10. A collection with fewer chunks gives what it has.
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Hits that are passed over, for the second page and those after it: `offset` and `top_k`
    /// together at most 100,000. Default: 0. While nothing is added or removed, all pages of a query
    /// are parts of one ranking, whatever their sizes: none repeats a hit of another, and none is
    /// missed between two.
    ///
    /// That ranking is searched for in steps of 40 (hybrid: 100), 100, 300, 1,000 and so on, each of
    /// which goes on where the last one ended. What only a deeper step came upon stands after the hits
    /// of those before it, also where its score is higher than the last of theirs.
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Leaves out hits with a lower score than this: see [`Hit::score`] for what it is in each mode.
    /// NaN is refused. Default: all hits, whatever their score. A fused score says how a passage
    /// stands among the others of its query, so that one bound does not fit all queries there.
    pub fn min_score(mut self, min_score: f32) -> Self {
        self.min_score = Some(min_score);
        self
    }

    /// What the query goes by.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Candidates kept while a graph is walked: more finds more and takes longer. Never fewer than
    /// twice as many as are wanted. Default: as many as the recall that is wanted takes.
    pub fn ef_search(mut self, ef_search: usize) -> Self {
        self.ef_search = Some(ef_search);
        self
    }

    /// The part of the right answers that is wanted, more than 0 and at most 1. Each segment knows
    /// from when it was made how many candidates that takes for queries that are like its points;
    /// where no walk of its graph finds so much, all of its vectors are compared. Default: 0.98, and
    /// never fewer than 256 candidates. An `ef_search` goes before it.
    pub fn recall(mut self, recall: f32) -> Self {
        self.recall = Some(recall);
        self
    }

    /// Compares with every vector instead of walking the graph: slower, and right by definition.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Only passages of documents that `filter` matches. Never fewer than `top_k` of them where
    /// that many match.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// How the two rankings of a hybrid query become one. Default: z-scores, 0.6 dense.
    pub fn fusion(mut self, fusion: Fusion) -> Self {
        self.fusion = fusion;
        self
    }

    /// At most one passage a document. Documents are ranked by their best passage on the dense side
    /// and by their whole text on the keyword side; the passage shown is the best on the dense side,
    /// where there is one.
    pub fn by_document(mut self, by_document: bool) -> Self {
        self.by_document = by_document;
        self
    }

    /// Puts the first `first` hits, 1 to 1,000, in a better order: by late interaction (Khattab and
    /// Zaharia 2020), which compares the query with each passage token by token, by the vectors that
    /// the collection's encoder has of them. Nothing is stored for it; it costs the encoding of
    /// `first` passages. Default: off; 50 is a good number.
    ///
    /// The order is that of 0.65 times the z-score of the first search and 0.35 times that of the
    /// re-ranker, both over these hits ([`Reranker::weight`]): that sum is their [`Hit::score`], which
    /// says nothing across queries. What
    /// comes after them keeps its place and its score. `min_score` is asked of the first search.
    pub fn rerank(mut self, first: usize) -> Self {
        self.rerank = Some(first);
        self
    }

    /// The same by another re-ranker, such as a cross-encoder (`encode::CrossEncoder`) or the caller's
    /// own, which needs no encoder and has a [`Reranker::weight`] of its own.
    pub fn rerank_by(mut self, first: usize, reranker: &'a dyn Reranker) -> Self {
        self.rerank = Some(first);
        self.reranker = Some(reranker);
        self
    }

    /// Also searches by this vector: with a text, the vector stands for its meaning and no encoder
    /// is asked.
    pub fn with_vector(mut self, vector: &'a [f32]) -> Self {
        self.vector = Some(vector);
        self
    }

    /// Runs the query: hits, best first; equal scores by chunk number.
    ///
    /// # Errors
    /// [`Error::Parameter`] for `top_k`, `offset`, `min_score`, `ef_search` or `rerank` out of range, and
    /// for a mode or a re-ranking that lacks its text; [`Error::NoEncoder`] for a text where the mode
    /// or the re-ranking needs vectors;
    /// [`Error::Dimensions`] and [`Error::Vector`]; [`Error::UnknownField`] for a filter on a field
    /// that no document has; [`Error::NotFound`] for the document of [`Collection::similar`].
    pub fn run(&self) -> Result<Vec<Hit>> {
        self.run_encoded(None)
    }

    /// The same where the text's vector may be known already.
    pub(super) fn run_encoded(&self, encoded: Option<&[f32]>) -> Result<Vec<Hit>> {
        let _running = self.running();
        let Some(prepared) = self.prepared(encoded)? else { return Ok(Vec::new()) };
        if let Some(first) = self.rerank {
            let hits = self.page(&prepared, 0, self.end().max(first))?;
            let hits = self.reranked(hits, first)?;
            return Ok(hits.into_iter().skip(self.offset).take(self.top_k).collect());
        }
        self.page(&prepared, self.offset, self.top_k)
    }

    /// Keeps the vectors that the query goes by.
    fn running(&self) -> RwLockReadGuard<'_, ()> {
        self.collection.inner.running.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many hits from the one at `offset` on.
    fn page(&self, prepared: &Prepared<'_>, offset: usize, wanted: usize) -> Result<Vec<Hit>> {
        let mut ranking = self.ranking(prepared, offset + wanted)?;
        loop {
            let hits = self.hits(ranking.candidates().skip(offset), wanted)?;
            if hits.len() == wanted || ranking.is_complete() {
                return Ok(hits);
            }
            // A candidate whose document is being removed has no record any more and was passed
            // over; others come after it.
            self.deepen(&mut ranking, prepared)?;
        }
    }

    /// Runs the query for the numbers of chunks and their scores alone, best first: no text is read.
    /// By vectors alone, and neither exact nor one passage a document, nothing at all is read from
    /// the store, and scores are those of 11-bit codes: less than 0.001 off by cosine, by products about
    /// a thousandth of both lengths; Euclidean distances are good where they are not much smaller than
    /// the lengths. With a recall above 0.99 or 1,024 candidates and more, which codes do not tell
    /// apart, the vectors put the best in order. There a page is cut from a search of its own, so ask
    /// once for as many numbers as all pages need. A chunk whose document is just being removed may be among them.
    ///
    /// # Errors
    /// Those of [`Query::run`].
    pub fn run_numbers(&self) -> Result<Vec<(u32, f32)>> {
        if self.rerank.is_some() {
            return Ok(self.run()?.into_iter().map(|hit| (hit.chunk, hit.score)).collect());
        }
        let _running = self.running();
        let Some(prepared) = self.prepared(None)? else { return Ok(Vec::new()) };
        let (allowed, mode, vector) = &prepared;
        if let (Mode::Dense, Some(vector), false) = (mode, vector, self.by_document || self.exact) {
            let effort = self.effort();
            let search =
                if effort.is_thorough() { Search::Graph(effort) } else { Search::Codes(effort) };
            let inner = &self.collection.inner;
            let found = inner.nearest(vector, self.end(), search, allowed.as_ref())?;
            let metric = self.metric();
            let scores = found.into_iter().map(|n| (n.id, metric.score(n.distance)));
            let high = scores.filter(|(_, score)| self.min_score.is_none_or(|m| *score >= m));
            return Ok(high.skip(self.offset).collect());
        }
        let ranking = self.ranking(&prepared, self.end())?;
        let page = ranking.candidates().skip(self.offset).take(self.top_k);
        Ok(page.map(|candidate| (candidate.id, candidate.score)).collect())
    }

    /// Hits from the first to the last of the page.
    fn end(&self) -> usize {
        self.offset + self.top_k
    }

    /// The ranking that the page is a part of, as deep as the page's `end` where there is so much.
    fn ranking(&self, prepared: &Prepared<'_>, end: usize) -> Result<Ranking> {
        let depth = match prepared.1 {
            // Comparing with all gives one ranking at every depth.
            Mode::Dense if self.exact => end,
            // Both sides bring as many to a smaller page as well.
            Mode::Hybrid => CANDIDATES,
            _ => FIRST_DEPTH,
        };
        let mut ranking = Ranking::new(depth, self.min_score);
        while !ranking.is_complete() && ranking.candidates().count() < end {
            self.deepen(&mut ranking, prepared)?;
        }
        Ok(ranking)
    }

    fn deepen(&self, ranking: &mut Ranking, prepared: &Prepared<'_>) -> Result<()> {
        let (allowed, mode, vector) = prepared;
        let found = self.candidates(*mode, vector.as_deref(), allowed.as_ref(), ranking.depth())?;
        ranking.add(found);
        Ok(())
    }

    /// None where nothing is allowed.
    fn prepared<'v>(&'v self, encoded: Option<&'v [f32]>) -> Result<Option<Prepared<'v>>> {
        self.check()?;
        let inner = &self.collection.inner;
        inner.refuse_if_replaced()?;
        let mode = self.effective_mode()?;
        let like = self.like.map(|id| inner.document_vector(id)).transpose()?;
        let mut allowed = self.filter.as_ref().map(|f| inner.allowed(f)).transpose()?;
        if let Some((_, own)) = &like {
            allowed = Some(match allowed {
                Some(mut allowed) => {
                    allowed.remove_range(own.clone());
                    allowed
                }
                None => inner.all_but(own),
            });
        }
        if allowed.as_ref().is_some_and(Bitmap::is_empty) {
            return Ok(None);
        }
        let vector = match (mode, encoded, like) {
            (Mode::Keyword, ..) => None,
            (_, Some(encoded), _) => Some(Cow::Borrowed(encoded)),
            (_, None, Some((vector, _))) if self.vector.is_none() => Some(Cow::Owned(vector)),
            _ => Some(self.admitted_vector()?),
        };
        Ok(Some((allowed, mode, vector)))
    }

    /// The text that an encoder has to be asked for.
    pub(super) fn text_to_encode(&self) -> Option<&str> {
        let mode = self.check().and_then(|()| self.effective_mode()).ok()?;
        let asked = mode != Mode::Keyword && self.vector.is_none();
        self.text.filter(|_| asked)
    }

    fn check(&self) -> Result<()> {
        if !(1..=MAX_TOP_K).contains(&self.top_k) {
            return Err(Error::parameter(
                "top_k",
                format!("{}; from 1 to {MAX_TOP_K} are allowed", self.top_k),
            ));
        }
        if let Some(recall) = self.recall.filter(|recall| !(*recall > 0.0 && *recall <= 1.0)) {
            return Err(Error::parameter(
                "recall",
                format!("{recall}; more than 0 and at most 1 is allowed"),
            ));
        }
        if self.offset.saturating_add(self.top_k) > MAX_TOP_K {
            return Err(Error::parameter(
                "offset",
                format!(
                    "{} and top_k {}; together at most {MAX_TOP_K} are allowed, for more there is \
                     an export",
                    self.offset, self.top_k
                ),
            ));
        }
        if self.min_score.is_some_and(f32::is_nan) {
            return Err(Error::parameter("min_score", "NaN; a number is needed"));
        }
        self.check_rerank()?;
        if self.ef_search == Some(0) {
            return Err(Error::parameter("ef_search", "0; at least 1 is needed"));
        }
        Ok(())
    }

    fn effort(&self) -> Effort {
        match (self.ef_search, self.recall) {
            (Some(ef), _) => Effort::Candidates(ef),
            (None, Some(recall)) => Effort::Recall(recall),
            (None, None) => Effort::Usual,
        }
    }

    fn effective_mode(&self) -> Result<Mode> {
        let keyword = cfg!(feature = "keyword") && self.text.is_some();
        let dense = self.vector.is_some() || self.collection.encoder.is_some();
        let mode = match (self.mode, dense, keyword) {
            (Some(mode), ..) => mode,
            (None, true, true) => Mode::Hybrid,
            (None, false, true) => Mode::Keyword,
            (None, _, false) => Mode::Dense,
        };
        if mode != Mode::Dense && !cfg!(feature = "keyword") {
            return Err(Error::parameter(
                "mode",
                format!("{mode}; this build has no keyword search (feature `keyword`)"),
            ));
        }
        if mode != Mode::Dense && self.text.is_none() {
            return Err(Error::parameter(
                "mode",
                format!("{mode}; it needs a text, and the query has none"),
            ));
        }
        Ok(mode)
    }

    fn metric(&self) -> Metric {
        self.collection.inner.record().metric
    }

    fn admitted_vector(&self) -> Result<Cow<'_, [f32]>> {
        let record = self.collection.inner.record();
        let dimensions = record.dimensions as usize;
        if let Some(vector) = self.vector {
            return record.metric.admit(vector, dimensions);
        }
        let (Some(encoder), Some(text)) = (&self.collection.encoder, self.text) else {
            return Err(Error::NoEncoder {
                collection: record.name,
                hint: "query by keyword, by a vector, or open the collection with its encoder"
                    .to_owned(),
            });
        };
        let embeddings = encoder.get()?.encode(&[text], InputKind::Query)?;
        let Some(embedding) = embeddings.first() else {
            return Err(Error::Model {
                name: encoder.fingerprint().model.clone(),
                reason: "it returned no vector for the query".to_owned(),
            });
        };
        Ok(Cow::Owned(record.metric.admit(&embedding.vector, dimensions)?.into_owned()))
    }

    /// Up to `wanted` chunks, best first.
    fn candidates(
        &self,
        mode: Mode,
        vector: Option<&[f32]>,
        allowed: Option<&Bitmap>,
        wanted: usize,
    ) -> Result<Vec<Candidate>> {
        let list = if mode == Mode::Hybrid { wanted.max(CANDIDATES) } else { wanted };
        let mut groups = Groups {
            inner: &self.collection.inner,
            shown: HashMap::new(),
            documents: HashMap::new(),
        };
        let dense = match vector {
            Some(vector) => {
                let search = |n: usize| {
                    let found = self.dense(vector, allowed, n)?;
                    Ok(found.into_iter().map(|n| (n.id, n.distance)).collect())
                };
                if self.by_document { groups.best(list, search)? } else { search(list)? }
            }
            None => Vec::new(),
        };
        let search = |n: usize| self.keyword(allowed, n);
        let keyword = match mode {
            Mode::Dense => Vec::new(),
            _ if self.by_document => {
                // Twice as many, since the order changes with the scores.
                let found = groups.best(list.saturating_mul(2), search)?;
                let mut found = self.rescored(found)?;
                found.truncate(list);
                found
            }
            _ => search(list)?,
        };
        let metric = self.metric();
        let scores = || dense.iter().map(|(id, d)| (*id, metric.score(*d))).collect::<Vec<_>>();
        let fused: Vec<(u32, f32)> = match mode {
            Mode::Dense => scores(),
            Mode::Keyword => keyword.clone(),
            Mode::Hybrid => self.fusion.fuse(&scores(), &keyword, list),
        };
        let mut explanations: HashMap<u32, Explanation> = HashMap::new();
        for (rank, (id, distance)) in (1..).zip(&dense) {
            let explanation = explanations.entry(*id).or_default();
            explanation.dense_rank = Some(rank);
            explanation.distance = Some(*distance);
        }
        for (rank, (id, score)) in (1..).zip(&keyword) {
            let explanation = explanations.entry(*id).or_default();
            explanation.keyword_rank = Some(rank);
            explanation.keyword_score = Some(*score);
        }
        Ok(fused
            .into_iter()
            .take(wanted)
            .map(|(id, score)| Candidate {
                id,
                group: groups.documents.get(&id).copied().unwrap_or(id),
                score,
                explanation: explanations.remove(&id).unwrap_or_default(),
            })
            .collect())
    }

    fn dense(
        &self,
        vector: &[f32],
        allowed: Option<&Bitmap>,
        list: usize,
    ) -> Result<Vec<Neighbour>> {
        let search = if self.exact { Search::Exact } else { Search::Graph(self.effort()) };
        self.collection.inner.nearest(vector, list, search, allowed)
    }

    #[cfg(feature = "keyword")]
    fn keyword(&self, allowed: Option<&Bitmap>, list: usize) -> Result<Vec<(u32, f32)>> {
        self.collection.inner.keywords()?.search(self.text.unwrap_or_default(), list, allowed)
    }

    #[cfg(not(feature = "keyword"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "stands in for the real one")]
    fn keyword(&self, _: Option<&Bitmap>, _: usize) -> Result<Vec<(u32, f32)>> {
        Ok(Vec::new())
    }

    /// Passages that stand for their documents, scored by the words of the whole documents: words
    /// that are spread over several passages count together.
    #[cfg(feature = "keyword")]
    fn rescored(&self, passages: Vec<(u32, f32)>) -> Result<Vec<(u32, f32)>> {
        let inner = &self.collection.inner;
        let record = inner.record();
        let average = record.chunks as f32 / record.documents.max(1) as f32;
        let mut scorer =
            inner.keywords()?.scorer(self.text.unwrap_or_default(), average.max(1.0))?;
        let mut scored = Vec::with_capacity(passages.len());
        for (id, score) in passages {
            let whole = inner.whole_text(record.number, id)?;
            scored.push((id, whole.map_or(score, |text| scorer.score(&text))));
        }
        scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(scored)
    }

    #[cfg(not(feature = "keyword"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "stands in for the real one")]
    fn rescored(&self, passages: Vec<(u32, f32)>) -> Result<Vec<(u32, f32)>> {
        Ok(passages)
    }

    fn hits<'c>(
        &self,
        candidates: impl Iterator<Item = &'c Candidate>,
        wanted: usize,
    ) -> Result<Vec<Hit>> {
        let mut hits = Vec::new();
        for candidate in candidates {
            if hits.len() == wanted {
                break;
            }
            if let Some(hit) = self.collection.inner.hit(candidate)? {
                hits.push(hit);
            }
        }
        Ok(hits)
    }
}

/// Brings the passages of one document together.
struct Groups<'a> {
    inner: &'a Inner,
    /// Document number to the passage that stands for it, the same on both sides.
    shown: HashMap<u32, u32>,
    /// The other way round.
    documents: HashMap<u32, u32>,
}

impl Groups<'_> {
    /// The best passage of each of the first `wanted` documents that `search` finds.
    fn best(
        &mut self,
        wanted: usize,
        search: impl Fn(usize) -> Result<Vec<(u32, f32)>>,
    ) -> Result<Vec<(u32, f32)>> {
        let mut passages = wanted.saturating_mul(2);
        loop {
            let found = search(passages)?;
            let exhausted = found.len() < passages;
            let mut seen = HashSet::new();
            let mut best = Vec::new();
            for (id, score) in found {
                let Some(document) = self.inner.document_of(id)? else { continue };
                if best.len() < wanted && seen.insert(document) {
                    let shown = *self.shown.entry(document).or_insert(id);
                    self.documents.insert(shown, document);
                    best.push((shown, score));
                }
            }
            if best.len() == wanted || exhausted {
                return Ok(best);
            }
            passages = passages.saturating_mul(2);
        }
    }
}

pub(super) struct Candidate {
    id: u32,
    /// What stands in a ranking once: the chunk's document where there is one passage a document,
    /// else the chunk.
    pub(super) group: u32,
    pub(super) score: f32,
    explanation: Explanation,
}

impl Inner {
    /// The number of a chunk's document; none where it was removed meanwhile.
    fn document_of(&self, chunk: u32) -> Result<Option<u32>> {
        let key = keys::numbered(keys::CHUNK, self.record().number, chunk);
        let record = self.store.get_record::<ChunkRecord>(&key, Kind::Chunk)?;
        Ok(record.map(|record| record.document))
    }

    /// Title and text of the document that a chunk belongs to; none for one that is gone or too long
    /// to be read for a query.
    #[cfg(feature = "keyword")]
    fn whole_text(&self, collection: u32, chunk: u32) -> Result<Option<String>> {
        let key = keys::numbered(keys::CHUNK, collection, chunk);
        let Some(chunk) = self.store.get_record::<ChunkRecord>(&key, Kind::Chunk)? else {
            return Ok(None);
        };
        let Some(document) = self.document_record(collection, chunk.document)? else {
            return Ok(None);
        };
        if document.text_bytes > WHOLE_TEXT_BYTES {
            return Ok(None);
        }
        let base = keys::numbered(keys::TEXT, collection, chunk.document);
        let Some(bytes) = self.store.get_split(&base, Kind::Text)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        // A title counts on top of its words in the text: it says what the document is about.
        Ok(Some(match document.title {
            Some(title) => format!("{title}\n{text}"),
            None => text.into_owned(),
        }))
    }

    /// The passage of a candidate; none where its document was removed meanwhile.
    fn hit(&self, candidate: &Candidate) -> Result<Option<Hit>> {
        let collection = self.record().number;
        let key = keys::numbered(keys::CHUNK, collection, candidate.id);
        let Some(chunk) = self.store.get_record::<ChunkRecord>(&key, Kind::Chunk)? else {
            return Ok(None);
        };
        let Some(document) = self.document_record(collection, chunk.document)? else {
            return Ok(None);
        };
        let Some(text) = self.chunk_text(collection, &chunk)? else { return Ok(None) };
        Ok(Some(Hit {
            document: document.id,
            title: document.title,
            chunk: candidate.id,
            span: chunk.bytes(),
            lines: chunk.lines,
            heading: chunk.heading,
            text,
            origin: document.origin,
            metadata: document.metadata,
            score: candidate.score,
            explanation: candidate.explanation,
        }))
    }
}

#[cfg(feature = "keyword")]
impl Collection {
    /// The bytes of `text` where a word matches a word of `query`, by the rules of the keyword
    /// index; for marking them.
    ///
    /// # Errors
    /// [`Error::Io`] where the keyword index cannot be opened.
    pub fn matched_words(&self, query: &str, text: &str) -> Result<Vec<Range<usize>>> {
        Ok(self.inner.keywords()?.matches(query, text))
    }
}
