//! A benchmark made of pairs of a query and the passage that answers it.

use super::{Benchmark, Corpus};
use crate::error::Result;
use crate::pairs::{Fields, Pairs};
use std::collections::HashMap;
use std::path::Path;

/// Reads a file of pairs: each distinct positive is a document, and negatives are not read.
pub(super) fn open(path: &Path) -> Result<Benchmark> {
    let pairs = Pairs::read(path, &Fields::default())?;
    let mut texts: Vec<String> = Vec::new();
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut judgements: HashMap<String, HashMap<String, u32>> = HashMap::new();
    for pair in &pairs.pairs {
        let place = *places.entry(pair.positive).or_insert_with(|| {
            texts.push(pairs.documents.text(pair.positive).to_owned());
            texts.len() - 1
        });
        judgements.entry(pair.query.to_string()).or_default().insert(place.to_string(), 1);
    }
    let queries = (0..).zip(pairs.queries.all).map(|(n, text): (u32, _)| (n.to_string(), text));
    Ok(Benchmark {
        origin: path.to_path_buf(),
        corpus: Corpus::Texts(texts),
        queries: queries.collect(),
        judgements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_positives_are_documents_and_equal_queries_one_query() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        let lines = concat!(
            "{\"query\": \"a\", \"positive\": \"one\", \"negative\": \"no\"}\n",
            "\n",
            "{\"anchor\": \"b\", \"positive\": \"one\"}\n",
            "{\"query\": \"a\", \"positive\": \"two\"}\n",
        );
        std::fs::write(&path, lines).unwrap();
        let pairs = open(&path).unwrap();
        let Corpus::Texts(texts) = &pairs.corpus else { unreachable!("pairs bring their texts") };
        assert_eq!(texts, &["one", "two"]);
        assert_eq!(pairs.queries(), 2);
        let relevant: Vec<(&str, usize)> =
            pairs.judged().map(|(text, grades)| (text, grades.len())).collect();
        assert_eq!(relevant, [("a", 2), ("b", 1)]);
    }
}
