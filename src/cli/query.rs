//! `vdb query`

mod batch;

use super::Status;
use super::options::Global;
use super::output::{Out, printable};
use crate::db::{Collection, Hit, Mode, Query};
use crate::encode::CrossEncoder;
use crate::error::Result;
use crate::index::{Filter, Fusion};
use crate::text::{Metadata, Value};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Lines of a passage that people are shown; all of it is in the JSON.
const SHOWN_LINES: usize = 6;
/// Characters of one of these lines.
const SHOWN_WIDTH: usize = 400;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to look for; "words in quotes" must occur as a phrase where keywords count
    #[arg(required_unless_present_any = ["like", "batch"])]
    text: Option<String>,
    /// Instead of a text: passages like this document, its own left out
    #[arg(long, value_name = "DOCUMENT_ID", conflicts_with_all = ["text", "batch"])]
    like: Option<String>,
    /// Instead of a text: the queries of a file, one a line, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    batch: Option<PathBuf>,
    /// Passages wanted
    #[arg(long, short = 'k', default_value_t = 5, value_name = "N")]
    top_k: usize,
    /// Passages that are passed over: the second page of five begins at --offset 5
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: usize,
    /// Leave out passages with a lower score (dense: cosine; keyword: BM25; hybrid: fused)
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    min_score: Option<f32>,
    /// What counts: hybrid, dense (meaning) or keyword [default: hybrid; with --like: dense]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Only documents whose metadata match, as in 'year >= 2020 and lang = "en"'
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// How hybrid ranks are fused: zscore or rrf
    #[arg(long, default_value = "zscore", value_name = "FUSION")]
    fusion: Fusion,
    /// Part of the right answers that is wanted of a walk of the graph, from 0 to 1 [default: 0.98]
    #[arg(long, value_name = "PART", conflicts_with_all = ["ef", "exact"])]
    recall: Option<f32>,
    /// Candidates kept while the graph is walked: more finds more and takes longer
    #[arg(long, value_name = "N")]
    ef: Option<usize>,
    /// Compare with every vector instead of walking the graph
    #[arg(long)]
    exact: bool,
    /// Put the first N hits in a better order, token by token (late interaction): encodes N passages
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "50", conflicts_with = "like")]
    rerank: Option<usize>,
    /// Re-rank by this cross-encoder instead: a name from `vdb models list`, or a folder
    #[arg(long, value_name = "NAME|DIR", requires = "rerank")]
    reranker: Option<String>,
    /// At most one passage a document
    #[arg(long)]
    by_document: bool,
    /// Show ranks and scores of both sides
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    // The expression first: a typing error should not wait for a model.
    let filter = arguments.filter.as_deref().map(Filter::parse).transpose()?;
    if arguments.batch.is_some() {
        return batch::run(global, arguments, filter.as_ref(), out);
    }
    let collection = global.collection()?;
    let text = arguments.text.as_deref().unwrap_or_default();
    let query = match &arguments.like {
        Some(id) => collection.similar(id).mode(arguments.mode.unwrap_or(Mode::Dense)),
        None => arguments.query(&collection, text),
    };
    let reranker = global.reranker(arguments.reranker.as_deref())?;
    let hits = arguments.settings(query, filter.as_ref(), reranker.as_ref()).run()?;
    for notice in collection.take_notices() {
        out.note(&notice);
    }
    if hits.is_empty() {
        out.note("nothing found");
    }
    for (rank, hit) in arguments.ranked(&hits) {
        if out.json {
            out.json_line(&as_json(rank, hit, arguments.explain))?;
        } else {
            print(&collection, text, rank, hit, arguments.explain, *out)?;
        }
    }
    Ok(Status::Done)
}

impl Arguments {
    fn query<'a>(&self, collection: &'a Collection, text: &'a str) -> Query<'a> {
        collection.query(text).mode(self.mode.unwrap_or(Mode::Hybrid))
    }

    fn settings<'a>(
        &self,
        query: Query<'a>,
        filter: Option<&Filter>,
        reranker: Option<&'a CrossEncoder>,
    ) -> Query<'a> {
        let mut query = query
            .top_k(self.top_k)
            .offset(self.offset)
            .fusion(self.fusion)
            .exact(self.exact)
            .by_document(self.by_document);
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        if let Some(recall) = self.recall {
            query = query.recall(recall);
        }
        if let Some(ef) = self.ef {
            query = query.ef_search(ef);
        }
        query = match (self.rerank, reranker) {
            (Some(first), Some(reranker)) => query.rerank_by(first, reranker),
            (Some(first), None) => query.rerank(first),
            (None, _) => query,
        };
        if let Some(min_score) = self.min_score {
            query = query.min_score(min_score);
        }
        query
    }

    /// Hits with their ranks, which go on from page to page.
    fn ranked<'h>(&self, hits: &'h [Hit]) -> impl Iterator<Item = (usize, &'h Hit)> + use<'h> {
        (self.offset.saturating_add(1)..).zip(hits)
    }
}

fn as_json(rank: usize, hit: &Hit, explain: bool) -> serde_json::Value {
    let mut value = json!({
        "rank": rank,
        "score": hit.score,
        "document": hit.document,
        "title": hit.title,
        "path": hit.origin.path,
        "lines": hit.file_lines().map(|(first, last)| [first, last]),
        "heading": hit.heading,
        "chunk": hit.chunk,
        "span": [hit.span.start, hit.span.end],
        "text": hit.text,
        "metadata": metadata_json(&hit.metadata),
    });
    if explain {
        value["explain"] = json!({
            "dense_rank": hit.explanation.dense_rank,
            "distance": hit.explanation.distance,
            "keyword_rank": hit.explanation.keyword_rank,
            "keyword_score": hit.explanation.keyword_score,
            "reranker_score": hit.explanation.reranker_score,
            "score": hit.score,
        });
    }
    value
}

/// Metadata as a JSON object.
pub(super) fn metadata_json(metadata: &Metadata) -> serde_json::Value {
    let fields = metadata.iter().map(|(name, value)| (name.clone(), Value::to_json(value)));
    serde_json::Value::Object(fields.collect())
}

fn print(
    collection: &Collection,
    text: &str,
    rank: usize,
    hit: &Hit,
    explain: bool,
    out: Out,
) -> Result<()> {
    let place = printable(hit.origin.path.as_deref().unwrap_or(&hit.document));
    let place = match hit.file_lines() {
        Some((first, last)) if first == last => format!("{place}:{first}"),
        Some((first, last)) => format!("{place}:{first}-{last}"),
        None => place,
    };
    let record = match &hit.origin.path {
        Some(path) if *path != hit.document => format!(" [{}]", printable(&hit.document)),
        _ => String::new(),
    };
    let mut heading = Vec::new();
    heading.extend(hit.title.as_deref());
    heading.extend(
        hit.heading.iter().map(String::as_str).filter(|h| Some(*h) != hit.title.as_deref()),
    );
    let heading = printable(&heading.join(" > "));
    out.line(&format!(
        "{rank}. {}{record}  {}",
        out.strong(&place),
        out.faint(&format!("{:.3}", hit.score))
    ))?;
    if !heading.is_empty() {
        out.line(&format!("   {}", out.faint(&heading)))?;
    }
    if explain {
        let or_none = |rank: Option<usize>| rank.map_or("none".to_owned(), |r| r.to_string());
        let side = |score: Option<f32>| score.map_or(String::new(), |s| format!(" ({s:.3})"));
        out.line(&format!(
            "   dense rank {}{}, keyword rank {}{}{}, score {:.3}",
            or_none(hit.explanation.dense_rank),
            side(hit.explanation.distance.map(|d| collection.stats().metric.score(d))),
            or_none(hit.explanation.keyword_rank),
            side(hit.explanation.keyword_score),
            hit.explanation
                .reranker_score
                .map_or(String::new(), |score| format!(", re-ranker {score:.3}")),
            hit.score
        ))?;
    }
    let passage = mark(collection, text, &hit.text, out)?;
    let lines: Vec<&str> = passage.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in lines.iter().take(SHOWN_LINES) {
        let cut: String = line.chars().take(SHOWN_WIDTH).collect();
        let dots = if cut.len() < line.len() { " …" } else { "" };
        out.line(&format!("   {}{dots}", printable_keeping_marks(&cut, out)))?;
    }
    if lines.len() > SHOWN_LINES {
        out.line("   …")?;
    }
    out.line("")
}

/// The passage with the words that match the query marked.
fn mark(collection: &Collection, query: &str, text: &str, out: Out) -> Result<String> {
    let text = printable(text);
    let mut marked = String::new();
    let mut at = 0;
    for span in collection.matched_words(query, &text)? {
        marked.push_str(&text[at..span.start]);
        marked.push_str(&out.marked(&text[span.clone()]));
        at = span.end;
    }
    marked.push_str(&text[at..]);
    Ok(marked)
}

/// A cut line may have lost the end of a mark.
fn printable_keeping_marks(line: &str, out: Out) -> String {
    if out.colour { format!("{line}\x1b[0m") } else { line.to_owned() }
}
