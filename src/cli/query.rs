//! `vdb query`

use super::Status;
use super::options::Global;
use super::output::{Out, printable};
use crate::db::{Collection, Hit, Mode};
use crate::error::Result;
use crate::index::{Filter, Fusion};
use crate::text::{Metadata, Value};
use clap::Args;
use serde_json::json;

/// Lines of a passage that people are shown; all of it is in the JSON.
const SHOWN_LINES: usize = 6;
/// Characters of one of these lines.
const SHOWN_WIDTH: usize = 400;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to look for; "words in quotes" must occur as a phrase where keywords count
    text: String,
    /// Passages wanted
    #[arg(long, short = 'k', default_value_t = 5, value_name = "N")]
    top_k: usize,
    /// What counts: hybrid, dense (meaning) or keyword
    #[arg(long, default_value = "hybrid", value_name = "MODE")]
    mode: Mode,
    /// Only documents whose metadata match, as in 'year >= 2020 and lang = "en"'
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// How hybrid ranks are fused: zscore or rrf
    #[arg(long, default_value = "zscore", value_name = "FUSION")]
    fusion: Fusion,
    /// Candidates kept while the graph is walked: more finds more and takes longer
    #[arg(long, value_name = "N")]
    ef: Option<usize>,
    /// Compare with every vector instead of walking the graph
    #[arg(long)]
    exact: bool,
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
    let collection = global.collection()?;
    let mut query = collection
        .query(&arguments.text)
        .mode(arguments.mode)
        .top_k(arguments.top_k)
        .fusion(arguments.fusion)
        .exact(arguments.exact)
        .by_document(arguments.by_document);
    if let Some(filter) = filter {
        query = query.filter(filter);
    }
    if let Some(ef) = arguments.ef {
        query = query.ef_search(ef);
    }
    let hits = query.run()?;
    for notice in collection.take_notices() {
        out.note(&notice);
    }
    if hits.is_empty() {
        out.note("nothing found");
    }
    for (rank, hit) in (1..).zip(&hits) {
        if out.json {
            out.json_line(&as_json(rank, hit, arguments.explain))?;
        } else {
            print(&collection, &arguments.text, rank, hit, arguments.explain, *out)?;
        }
    }
    Ok(Status::Done)
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
            "   dense rank {}{}, keyword rank {}{}, score {:.3}",
            or_none(hit.explanation.dense_rank),
            side(hit.explanation.distance.map(|d| collection.stats().metric.score(d))),
            or_none(hit.explanation.keyword_rank),
            side(hit.explanation.keyword_score),
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
