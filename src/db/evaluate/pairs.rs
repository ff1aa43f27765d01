//! A benchmark made of pairs of a query and the passage that answers it.

use super::{Benchmark, Corpus};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

#[derive(Deserialize)]
struct Pair {
    #[serde(alias = "anchor")]
    query: String,
    positive: String,
}

/// Reads a file of pairs.
pub(super) fn open(path: &Path) -> Result<Benchmark> {
    let file = crate::unpack::open(path).map_err(Error::io("read", path))?;
    read(path, BufReader::new(file))
}

fn read(path: &Path, lines: impl BufRead) -> Result<Benchmark> {
    let wrong = |line: Option<u64>, reason: String| Error::Parse {
        origin: path.display().to_string(),
        line,
        reason,
    };
    let mut texts: Vec<String> = Vec::new();
    let mut documents: HashMap<String, usize> = HashMap::new();
    let mut queries: Vec<(String, String)> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut judgements: HashMap<String, HashMap<String, u32>> = HashMap::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line.map_err(|e| wrong(Some(number), format!("it cannot be read: {e}")))?;
        if line.trim().is_empty() {
            continue;
        }
        let pair: Pair = serde_json::from_str(&line).map_err(|e| {
            wrong(Some(number), format!("expected an object with query and positive: {e}"))
        })?;
        if pair.query.trim().is_empty() || pair.positive.trim().is_empty() {
            return Err(wrong(Some(number), "its query or its positive is empty".to_owned()));
        }
        let document = *documents.entry(pair.positive).or_insert_with_key(|positive| {
            texts.push(positive.clone());
            texts.len() - 1
        });
        let query = *known.entry(pair.query).or_insert_with_key(|query| {
            queries.push((queries.len().to_string(), query.clone()));
            queries.len() - 1
        });
        judgements.entry(query.to_string()).or_default().insert(document.to_string(), 1);
    }
    if queries.is_empty() {
        return Err(wrong(None, "there is no pair in it".to_owned()));
    }
    Ok(Benchmark { origin: path.to_path_buf(), corpus: Corpus::Texts(texts), queries, judgements })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &str) -> Result<Benchmark> {
        read(Path::new("pairs.jsonl"), lines.as_bytes())
    }

    #[test]
    fn distinct_positives_are_documents_and_equal_queries_one_query() {
        let pairs = of(concat!(
            "{\"query\": \"a\", \"positive\": \"one\", \"document\": \"7\"}\n",
            "\n",
            "{\"anchor\": \"b\", \"positive\": \"one\"}\n",
            "{\"query\": \"a\", \"positive\": \"two\"}\n",
        ))
        .unwrap();
        let Corpus::Texts(texts) = &pairs.corpus else { unreachable!("pairs bring their texts") };
        assert_eq!(texts, &["one", "two"]);
        assert_eq!(pairs.queries(), 2);
        let relevant: Vec<(&str, usize)> =
            pairs.judged().map(|(text, grades)| (text, grades.len())).collect();
        assert_eq!(relevant, [("a", 2), ("b", 1)]);
    }

    #[test]
    fn what_is_no_pair_is_named_by_its_line() {
        let said = |lines: &str| of(lines).unwrap_err().to_string();
        let good = "{\"query\": \"a\", \"positive\": \"one\"}\n";
        assert!(said("").contains("there is no pair in it"));
        let missing = said(&format!("{good}{{\"query\": \"b\"}}\n"));
        assert!(missing.contains("pairs.jsonl:2") && missing.contains("positive"), "{missing}");
        assert!(
            said(&format!("{good}{good}{{\"query\": \" \", \"positive\": \"x\"}}")).contains(":3")
        );
    }

    #[test]
    fn compressed_pairs_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl.gz");
        crate::unpack::write(&path, b"{\"query\": \"a\", \"positive\": \"one\"}\n").unwrap();
        assert_eq!(Benchmark::open(&path).unwrap().queries(), 1);
        std::fs::write(&path, "no gzip").unwrap();
        assert!(Benchmark::open(&path).unwrap_err().to_string().contains(":1: it cannot be read"));
    }
}
