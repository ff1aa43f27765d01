//! How good retrieval is: judged queries through the real pipeline.
//!
//! Measures as trec_eval and BEIR compute them, recall over all relevant documents.

mod bootstrap;
#[cfg(feature = "files")]
mod pairs;

pub use bootstrap::{Comparison, Verdict};

use super::collection::Collection;
#[cfg(feature = "files")]
use super::files::FileOptions;
#[cfg(feature = "files")]
use super::ingest::{IngestEvent, IngestReport};
use super::query::Mode;
use crate::encode::Reranker;
use crate::error::{Error, Result};
use crate::ranking;
#[cfg(feature = "files")]
use crate::text::Document;
use std::collections::HashMap;
use std::fmt;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
#[cfg(feature = "files")]
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Depth of every ranking.
const DEPTH: usize = 100;

/// Queries with judged documents.
#[derive(Debug, Clone)]
pub struct Benchmark {
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "only read with parsers"))]
    origin: PathBuf,
    #[cfg_attr(not(feature = "files"), expect(dead_code, reason = "only read with parsers"))]
    corpus: Corpus,
    queries: Vec<(String, String)>,
    /// Query id to document id to grade; only grades above 0.
    judgements: HashMap<String, HashMap<String, u32>>,
}

/// The documents of a benchmark.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "files"), expect(dead_code, reason = "only read with parsers"))]
enum Corpus {
    /// A JSONL file.
    File(PathBuf),
    /// Texts, each under its place as id.
    Texts(Vec<String>),
}

/// Mean figures over the queries, or those of one query; each 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Quality {
    /// nDCG@10.
    pub ndcg_10: f64,
    /// recall@10.
    pub recall_10: f64,
    /// recall@100.
    pub recall_100: f64,
    /// MRR@10.
    pub mrr_10: f64,
}

/// What ranks the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ranker {
    /// Vectors.
    Dense,
    /// Keywords.
    Keyword,
    /// Both.
    Hybrid,
    /// Both, the first hits re-ranked.
    Reranked,
}

impl fmt::Display for Ranker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dense => "dense",
            Self::Keyword => "keyword",
            Self::Hybrid => "hybrid",
            Self::Reranked => "reranked",
        })
    }
}

/// The queries as one ranker answers them, in their order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Run {
    /// What ranked.
    pub ranker: Ranker,
    /// One a query.
    pub queries: Vec<Quality>,
    /// How long all queries took.
    pub time: Duration,
}

impl Run {
    fn new(ranker: Ranker) -> Self {
        Self { ranker, queries: Vec::new(), time: Duration::ZERO }
    }

    /// Means over the queries.
    #[must_use]
    pub fn mean(&self) -> Quality {
        let n = self.queries.len().max(1) as f64;
        let mean = |read: fn(&Quality) -> f64| self.queries.iter().map(read).sum::<f64>() / n;
        Quality {
            ndcg_10: mean(|q| q.ndcg_10),
            recall_10: mean(|q| q.recall_10),
            recall_100: mean(|q| q.recall_100),
            mrr_10: mean(|q| q.mrr_10),
        }
    }

    /// Milliseconds a query, encoding included; the mean.
    #[must_use]
    pub fn milliseconds(&self) -> f64 {
        self.time.as_secs_f64() * 1000.0 / self.queries.len().max(1) as f64
    }

    /// Whether this run's nDCG@10 is better than that of `other`, query by query
    /// ([`Comparison::paired`]).
    ///
    /// # Errors
    /// [`Error::Parameter`] where the runs are of different queries, by their number, or of none.
    pub fn compare(&self, other: &Self) -> Result<Comparison> {
        if self.queries.len() != other.queries.len() {
            return Err(Error::parameter(
                "runs",
                format!(
                    "{} and {} queries; only answers to the same queries are compared",
                    self.queries.len(),
                    other.queries.len()
                ),
            ));
        }
        let pairs = self.queries.iter().zip(&other.queries);
        Comparison::paired(&pairs.map(|(a, b)| a.ndcg_10 - b.ndcg_10).collect::<Vec<_>>())
    }
}

impl Benchmark {
    /// Reads judged queries: of a folder in BEIR's layout (`corpus.jsonl`, `queries.jsonl`, and
    /// `qrels.tsv` or `qrels/test.tsv`), or of a file of pairs (feature `files`): as
    /// [`crate::pairs::Pairs::read`] reads it. Of pairs, each distinct positive is a document, and a query's own positive is relevant; a
    /// query that stands there several times is one query, with each of its positives relevant.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming what is missing, [`Error::Parse`] naming file and line.
    pub fn open(path: &Path) -> Result<Self> {
        #[cfg(feature = "files")]
        if path.is_file() {
            return pairs::open(path);
        }
        let file = |names: &[&str]| {
            names.iter().map(|name| path.join(name)).find(|path| path.is_file()).ok_or_else(|| {
                Error::NotFound {
                    what: "BEIR file",
                    name: path.join(names[0]).display().to_string(),
                    hint: "name a folder with corpus.jsonl, queries.jsonl and qrels.tsv (or \
                           qrels/test.tsv), or a JSONL file of pairs"
                        .to_owned(),
                }
            })
        };
        let corpus = Corpus::File(file(&["corpus.jsonl"])?);
        let queries = read_queries(&file(&["queries.jsonl"])?)?;
        let judgements = read_judgements(&file(&["qrels.tsv", "qrels/test.tsv"])?)?;
        if !queries.iter().any(|(id, _)| judgements.contains_key(id)) {
            return Err(Error::Parse {
                origin: path.display().to_string(),
                line: None,
                reason: "no query has a relevant document in the judgements".to_owned(),
            });
        }
        Ok(Self { origin: path.to_path_buf(), corpus, queries, judgements })
    }

    /// Queries that have at least one relevant document.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.judged().count()
    }

    /// Adds the documents to `collection`, which should be empty, as [`Collection::ingest`] does.
    ///
    /// # Errors
    /// Those of [`Collection::ingest`], and the first input that failed: a benchmark lacks nothing.
    #[cfg(feature = "files")]
    pub fn ingest(
        &self,
        collection: &Collection,
        on_event: &(dyn Fn(IngestEvent<'_>) + Sync),
        stop: &AtomicBool,
    ) -> Result<IngestReport> {
        let failed = std::sync::Mutex::new(None);
        let watch = |event: IngestEvent<'_>| {
            if let IngestEvent::Failed { error } = &event
                && let Ok(mut first) = failed.lock()
            {
                first.get_or_insert_with(|| error.to_string());
            }
            on_event(event);
        };
        let report = match &self.corpus {
            Corpus::File(path) => {
                collection.ingest_paths(&[path], &FileOptions::default(), &watch, stop)?
            }
            Corpus::Texts(texts) => {
                let documents = (0..).zip(texts).map(|(id, text)| Ok(text_document(id, text)));
                collection.ingest(documents, &watch, stop)?
            }
        };
        let failed = failed.lock().ok().and_then(|mut first| first.take());
        match failed {
            Some(reason) => {
                Err(Error::Parse { origin: self.origin.display().to_string(), line: None, reason })
            }
            None => Ok(report),
        }
    }

    fn judged(&self) -> impl Iterator<Item = (&str, &HashMap<String, u32>)> {
        self.queries
            .iter()
            .filter_map(|(id, text)| self.judgements.get(id).map(|grades| (text.as_str(), grades)))
    }
}

#[cfg(feature = "files")]
fn text_document(id: usize, text: &str) -> Document {
    Document::new(id.to_string(), text)
}

/// Hits that are also measured in a better order.
#[derive(Debug, Clone, Copy)]
pub struct Reranking<'a> {
    /// How many of the first hits.
    pub first: usize,
    /// By what. `None`: by late interaction.
    pub by: Option<&'a dyn Reranker>,
}

/// Runs every judged query in the three modes over `collection`, hits merged per document by best
/// chunk: one [`Run`] a mode, and one of hybrid search whose first hits are re-ranked, where `rerank`
/// says how ([`crate::Query::rerank`]).
///
/// # Errors
/// Those of [`crate::Query::run`].
pub fn evaluate(
    collection: &Collection,
    benchmark: &Benchmark,
    rerank: Option<Reranking<'_>>,
    on_query: &dyn Fn(),
) -> Result<Vec<Run>> {
    let mut runs = [Ranker::Dense, Ranker::Keyword, Ranker::Hybrid].map(Run::new).to_vec();
    if rerank.is_some() {
        runs.push(Run::new(Ranker::Reranked));
    }
    for (text, grades) in benchmark.judged() {
        for run in &mut runs {
            let started = Instant::now();
            let ranking = rank_documents(collection, text, run.ranker, rerank)?;
            run.time += started.elapsed();
            run.queries.push(Quality::of(&ranking, grades));
        }
        on_query();
    }
    Ok(runs)
}

/// The first [`DEPTH`] documents; several chunks of one document count once, by the best.
fn rank_documents(
    collection: &Collection,
    text: &str,
    ranker: Ranker,
    rerank: Option<Reranking<'_>>,
) -> Result<Vec<String>> {
    let mode = match ranker {
        Ranker::Dense => Mode::Dense,
        Ranker::Keyword => Mode::Keyword,
        Ranker::Hybrid | Ranker::Reranked => Mode::Hybrid,
    };
    let mut query = collection.query(text).mode(mode).top_k(DEPTH).by_document(true);
    if let (Ranker::Reranked, Some(Reranking { first, by })) = (ranker, rerank) {
        query = match by {
            Some(reranker) => query.rerank_by(first, reranker),
            None => query.rerank(first),
        };
    }
    let hits = query.run()?;
    Ok(hits.into_iter().map(|hit| hit.document).collect())
}

impl Quality {
    /// The figures of one ranking.
    fn of(ranked: &[String], grades: &HashMap<String, u32>) -> Self {
        let grade = |document: &String| grades.get(document).copied().unwrap_or(0);
        let (ndcg_10, mrr_10) =
            ranking::figures(ranked.iter().map(grade), grades.values().copied());
        let found = |depth: usize| ranked.iter().take(depth).filter(|d| grade(d) > 0).count();
        let relevant = grades.len().max(1) as f64;
        Self {
            ndcg_10,
            recall_10: found(10) as f64 / relevant,
            recall_100: found(100) as f64 / relevant,
            mrr_10,
        }
    }
}

fn read_queries(path: &Path) -> Result<Vec<(String, String)>> {
    #[derive(serde::Deserialize)]
    struct Row {
        #[serde(rename = "_id")]
        id: String,
        text: String,
    }
    let mut queries = Vec::new();
    for (number, line) in lines(path)? {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let row: Row = serde_json::from_str(&line).map_err(|e| Error::Parse {
            origin: path.display().to_string(),
            line: Some(number),
            reason: format!("expected an object with _id and text: {e}"),
        })?;
        queries.push((row.id, row.text));
    }
    Ok(queries)
}

fn read_judgements(path: &Path) -> Result<HashMap<String, HashMap<String, u32>>> {
    let mut judgements: HashMap<String, HashMap<String, u32>> = HashMap::new();
    for (number, line) in lines(path)? {
        let line = line?;
        let fields: Vec<&str> = line.split('\t').collect();
        let parsed = match fields.as_slice() {
            [query, document, grade] => {
                grade.trim().parse::<i64>().ok().map(|grade| (*query, *document, grade))
            }
            _ => None,
        };
        match parsed {
            Some((query, document, grade)) => {
                if let Some(grade) = u32::try_from(grade).ok().filter(|g| *g > 0) {
                    judgements
                        .entry(query.to_owned())
                        .or_default()
                        .insert(document.to_owned(), grade);
                }
            }
            // The header, and a blank last line.
            None if number == 1 || line.trim().is_empty() => {}
            None => {
                return Err(Error::Parse {
                    origin: path.display().to_string(),
                    line: Some(number),
                    reason: "expected query, document and grade, separated by tabs".to_owned(),
                });
            }
        }
    }
    Ok(judgements)
}

fn lines(path: &Path) -> Result<impl Iterator<Item = (u64, Result<String>)>> {
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let path = path.to_path_buf();
    Ok((1..).zip(
        std::io::BufReader::new(file)
            .lines()
            .map(move |line| line.map_err(Error::io("read", &path))),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_all_that_is_relevant() {
        let ranked: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        let grades: HashMap<String, u32> =
            [("b", 3), ("d", 1), ("x", 2)].map(|(d, g)| (d.to_owned(), g)).into();
        let quality = Quality::of(&ranked, &grades);
        assert!((quality.recall_10 - 2.0 / 3.0).abs() < 1e-9);
        assert!((quality.recall_100 - 2.0 / 3.0).abs() < 1e-9);
        assert!((quality.mrr_10 - 0.5).abs() < 1e-9);
    }
}
