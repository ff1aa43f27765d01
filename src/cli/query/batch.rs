//! `vdb query --batch`: many queries, on all processors.

use super::{Arguments, as_json, print};
use crate::cli::Status;
use crate::cli::options::Global;
use crate::cli::output::{Out, printable};
use crate::db::{Collection, Hit, Query};
use crate::error::{Error, Result};
use crate::index::Filter;
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// Queries that are run together. Answers are printed in between, so that a long file does not wait
/// for its last line, nor take memory for all of them.
const TOGETHER: usize = 256;

pub(super) fn run(
    global: &Global,
    arguments: &Arguments,
    filter: Option<&Filter>,
    out: &Out,
) -> Result<Status> {
    let path = arguments.batch.as_deref().unwrap_or(Path::new("-"));
    // Before a model is loaded for it.
    let mut lines = lines(path)?;
    let collection = global.collection()?;
    let reranker = global.reranker(arguments.reranker.as_deref())?;
    loop {
        let texts = lines.by_ref().take(TOGETHER).collect::<Result<Vec<String>>>()?;
        if texts.is_empty() {
            return Ok(Status::Done);
        }
        let queries: Vec<Query<'_>> = texts
            .iter()
            .map(|text| {
                let query = arguments.query(&collection, text);
                arguments.settings(query, filter, reranker.as_ref())
            })
            .collect();
        for (text, hits) in texts.iter().zip(Query::run_all(&queries)) {
            // All have the same settings, so what is wrong with one is wrong with the rest.
            show(&collection, arguments, text, &hits?, *out)?;
        }
        for notice in collection.take_notices() {
            out.note(&notice);
        }
    }
}

fn show(
    collection: &Collection,
    arguments: &Arguments,
    text: &str,
    hits: &[Hit],
    out: Out,
) -> Result<()> {
    if out.json {
        let hits: Vec<_> = arguments
            .ranked(hits)
            .map(|(rank, hit)| as_json(rank, hit, arguments.explain))
            .collect();
        return out.json_line(&json!({"query": text, "hits": hits}));
    }
    out.line(&out.strong(&format!("query: {}", printable(text))))?;
    if hits.is_empty() {
        out.line("nothing found")?;
    }
    out.line("")?;
    for (rank, hit) in arguments.ranked(hits) {
        print(collection, text, rank, hit, arguments.explain, out)?;
    }
    Ok(())
}

/// The queries in `path`, or in standard input for `-`; blank lines are none.
fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String>>> {
    let standard_input = path.as_os_str() == "-";
    let reader: Box<dyn BufRead> = if standard_input {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(Error::io("read", path))?))
    };
    let path = if standard_input { "standard input".into() } else { path.to_path_buf() };
    Ok(reader
        .lines()
        .map(move |line| line.map(|line| line.trim().to_owned()).map_err(Error::io("read", &path)))
        .filter(|line| line.as_ref().map_or(true, |line| !line.is_empty())))
}
