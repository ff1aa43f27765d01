//! How good retrieval is: a BEIR collection through the real pipeline.
//!
//! Measures as trec_eval and BEIR compute them: nDCG with linear gain and log2(rank + 1) discount,
//! recall over all relevant documents, MRR by the first relevant document within the cut.

use super::collection::Collection;
use super::query::Mode;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

/// Depth of every ranking.
const DEPTH: usize = 100;

/// Queries with judged documents.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// The documents, a JSONL file.
    pub corpus: PathBuf,
    queries: Vec<(String, String)>,
    /// Query id to document id to grade; only grades above 0.
    judgements: HashMap<String, HashMap<String, u32>>,
}

/// Mean figures over the queries, each 0 to 1.
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

/// The three modes side by side.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Queries that have at least one relevant document.
    pub queries: usize,
    /// Vectors.
    pub dense: Quality,
    /// Keywords.
    pub keyword: Quality,
    /// Both.
    pub hybrid: Quality,
}

impl Benchmark {
    /// Reads a folder in BEIR's layout: `corpus.jsonl`, `queries.jsonl`, and `qrels.tsv` or
    /// `qrels/test.tsv`.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming what is missing, [`Error::Parse`] naming file and line.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = |names: &[&str]| {
            names.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(
                || Error::NotFound {
                    what: "BEIR file",
                    name: folder.join(names[0]).display().to_string(),
                    hint: "a BEIR folder holds corpus.jsonl, queries.jsonl and qrels.tsv (or \
                           qrels/test.tsv)"
                        .to_owned(),
                },
            )
        };
        let corpus = file(&["corpus.jsonl"])?;
        let queries = read_queries(&file(&["queries.jsonl"])?)?;
        let judgements = read_judgements(&file(&["qrels.tsv", "qrels/test.tsv"])?)?;
        if !queries.iter().any(|(id, _)| judgements.contains_key(id)) {
            return Err(Error::Parse {
                origin: folder.display().to_string(),
                line: None,
                reason: "no query has a relevant document in the judgements".to_owned(),
            });
        }
        Ok(Self { corpus, queries, judgements })
    }

    fn judged(&self) -> impl Iterator<Item = (&str, &HashMap<String, u32>)> {
        self.queries
            .iter()
            .filter_map(|(id, text)| self.judgements.get(id).map(|grades| (text.as_str(), grades)))
    }
}

/// Runs every judged query in the three modes over `collection`, hits merged per document by best
/// chunk.
///
/// # Errors
/// Those of [`crate::Query::run`].
pub fn evaluate(
    collection: &Collection,
    benchmark: &Benchmark,
    on_query: &dyn Fn(),
) -> Result<Report> {
    let mut report = Report::default();
    for (text, grades) in benchmark.judged() {
        for (mode, total) in [
            (Mode::Dense, &mut report.dense),
            (Mode::Keyword, &mut report.keyword),
            (Mode::Hybrid, &mut report.hybrid),
        ] {
            let ranking = rank_documents(collection, text, mode)?;
            let found = Quality::of(&ranking, grades);
            total.ndcg_10 += found.ndcg_10;
            total.recall_10 += found.recall_10;
            total.recall_100 += found.recall_100;
            total.mrr_10 += found.mrr_10;
        }
        report.queries += 1;
        on_query();
    }
    let n = report.queries.max(1) as f64;
    for total in [&mut report.dense, &mut report.keyword, &mut report.hybrid] {
        total.ndcg_10 /= n;
        total.recall_10 /= n;
        total.recall_100 /= n;
        total.mrr_10 /= n;
    }
    Ok(report)
}

/// The first [`DEPTH`] documents; several chunks of one document count once, by the best.
fn rank_documents(collection: &Collection, text: &str, mode: Mode) -> Result<Vec<String>> {
    let hits = collection.query(text).mode(mode).top_k(DEPTH).by_document(true).run()?;
    Ok(hits.into_iter().map(|hit| hit.document).collect())
}

impl Quality {
    /// The figures of one ranking.
    fn of(ranking: &[String], grades: &HashMap<String, u32>) -> Self {
        let gain = |grade: u32, rank: usize| f64::from(grade) / ((rank + 2) as f64).log2();
        let grade = |document: &String| grades.get(document).copied().unwrap_or(0);
        let dcg: f64 =
            ranking.iter().take(10).enumerate().map(|(rank, d)| gain(grade(d), rank)).sum();
        let mut best: Vec<u32> = grades.values().copied().collect();
        best.sort_unstable_by(|a, b| b.cmp(a));
        let ideal: f64 =
            best.iter().take(10).enumerate().map(|(rank, grade)| gain(*grade, rank)).sum();
        let found = |depth: usize| ranking.iter().take(depth).filter(|d| grade(d) > 0).count();
        let relevant = grades.len().max(1) as f64;
        let first = ranking.iter().take(10).position(|d| grade(d) > 0);
        Self {
            ndcg_10: if ideal > 0.0 { dcg / ideal } else { 0.0 },
            recall_10: found(10) as f64 / relevant,
            recall_100: found(100) as f64 / relevant,
            mrr_10: first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64),
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

    /// Computed with pytrec_eval-terrier 0.5.11 for this run and these judgements.
    #[test]
    fn figures_are_those_of_trec_eval() {
        let ranking: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        let grades: HashMap<String, u32> =
            [("b", 3), ("d", 1), ("x", 2)].map(|(d, g)| (d.to_owned(), g)).into();
        let quality = Quality::of(&ranking, &grades);
        assert!((quality.ndcg_10 - GOLDEN_NDCG).abs() < 1e-6, "{quality:?}");
        assert!((quality.recall_10 - 2.0 / 3.0).abs() < 1e-9);
        assert!((quality.recall_100 - 2.0 / 3.0).abs() < 1e-9);
        assert!((quality.mrr_10 - 0.5).abs() < 1e-9);
    }
    const GOLDEN_NDCG: f64 = 0.487_932_459_011_548_9;
}
