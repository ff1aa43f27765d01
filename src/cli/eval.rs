//! `vdb eval`

use super::options::Global;
use super::output::Out;
use super::progress::Progress;
use super::{Status, ingest, interrupt};
use crate::db::{Benchmark, Database, IngestEvent, IngestReport, Reranking, Run, evaluate};
use crate::encode::Reranker;
use crate::error::{Error, Result};
use crate::model::DEFAULT_ENCODER;
use clap::Args;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels.tsv), or a JSONL file of pairs
    /// (query, positive), also as .gz
    path: PathBuf,
    /// Measure this encoder as well, on the same queries, and say whether --model is better
    #[arg(long, value_name = "NAME|DIR")]
    against: Option<String>,
    /// Also with the first N hybrid hits re-ranked, by late interaction or by --reranker
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "50")]
    rerank: Option<usize>,
    /// The cross-encoder to re-rank by: a name from `vdb models list`, or a folder
    #[arg(long, value_name = "NAME|DIR", requires = "rerank")]
    reranker: Option<String>,
    #[command(flatten)]
    new: ingest::NewCollection,
}

/// What one model made of the benchmark.
struct Measured {
    model: String,
    report: IngestReport,
    runs: Vec<Run>,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let benchmark = Benchmark::open(&arguments.path)?;
    let reranker = global.reranker(arguments.reranker.as_deref())?;
    let rerank = arguments.rerank.map(|first| Reranking {
        first,
        by: reranker.as_ref().map(|reranker| -> &dyn Reranker { reranker }),
    });
    let measure = |new: &ingest::NewCollection| measure(global, &benchmark, new, rerank, *out);
    let first = measure(&arguments.new)?;
    let second = match &arguments.against {
        Some(model) => Some(measure(&arguments.new.with_model(model))?),
        None => None,
    };
    if out.json {
        out.json_line(&as_json(&first, second.as_ref())?)?;
        return Ok(Status::Done);
    }
    out.note(&format!(
        "{} documents, {} chunks, {} queries",
        first.report.added,
        first.report.chunks,
        benchmark.queries()
    ));
    if second.is_some() {
        out.line(&first.model)?;
    }
    print(&first.runs, *out)?;
    if let Some(second) = &second {
        out.line("")?;
        out.line(&second.model)?;
        print(&second.runs, *out)?;
        out.line("")?;
        for (run, other) in first.runs.iter().zip(&second.runs) {
            let found = run.compare(other)?;
            out.line(&format!(
                "{:<8}  nDCG@10 {:+.4} (95 % from {:+.4} to {:+.4}): {}",
                run.ranker, found.difference, found.low, found.high, found.verdict
            ))?;
        }
    }
    Ok(Status::Done)
}

/// Fills a database of its own with one model, and asks it every query.
fn measure(
    global: &Global,
    benchmark: &Benchmark,
    new: &ingest::NewCollection,
    rerank: Option<Reranking<'_>>,
    out: Out,
) -> Result<Measured> {
    let temporary = tempfile::tempdir().map_err(Error::io("create", std::env::temp_dir()))?;
    let database = Database::open(temporary.path().join("db"))?;
    let collection = ingest::open(global, &database, new)?;
    let progress = Progress::new(out);
    let on_event = |event: IngestEvent<'_>| {
        if let IngestEvent::Committed { documents, .. } = event {
            progress.say(format!("{documents} documents are in"));
        }
    };
    let report = benchmark.ingest(&collection, &on_event, interrupt::flag())?;
    if report.stopped {
        return Err(Error::Stopped);
    }
    let done = Cell::new(0);
    let runs = evaluate(&collection, benchmark, rerank, &|| {
        done.set(done.get() + 1);
        progress.say(format!("{} queries are answered", done.get()));
    })?;
    progress.finish();
    let model = new.model.as_deref().unwrap_or(DEFAULT_ENCODER).to_owned();
    Ok(Measured { model, report, runs })
}

fn print(runs: &[Run], out: Out) -> Result<()> {
    out.line("          nDCG@10  recall@10  recall@100  MRR@10  ms a query")?;
    for run in runs {
        let mean = run.mean();
        out.line(&format!(
            "{:<8}  {:.4}   {:.4}     {:.4}      {:.4}  {:>10.1}",
            run.ranker,
            mean.ndcg_10,
            mean.recall_10,
            mean.recall_100,
            mean.mrr_10,
            run.milliseconds()
        ))?;
    }
    Ok(())
}

fn as_json(first: &Measured, second: Option<&Measured>) -> Result<Value> {
    let mut value = first.as_json();
    if let Some(second) = second {
        let mut differences = Map::new();
        for (run, other) in first.runs.iter().zip(&second.runs) {
            let found = run.compare(other)?;
            let told = json!({
                "ndcg@10": found.difference,
                "low": found.low,
                "high": found.high,
                "verdict": found.verdict.to_string(),
            });
            differences.insert(run.ranker.to_string(), told);
        }
        value.insert("against".to_owned(), Value::Object(second.as_json()));
        value.insert("difference".to_owned(), Value::Object(differences));
    }
    Ok(Value::Object(value))
}

impl Measured {
    fn as_json(&self) -> Map<String, Value> {
        let mut value = Map::new();
        value.insert("model".to_owned(), json!(self.model));
        for run in &self.runs {
            let mean = run.mean();
            let told = json!({
                "ndcg@10": mean.ndcg_10,
                "recall@10": mean.recall_10,
                "recall@100": mean.recall_100,
                "mrr@10": mean.mrr_10,
                "ms": run.milliseconds(),
            });
            value.insert(run.ranker.to_string(), told);
        }
        let queries = self.runs.first().map_or(0, |run| run.queries.len());
        value.insert("documents".to_owned(), json!(self.report.added));
        value.insert("chunks".to_owned(), json!(self.report.chunks));
        value.insert("queries".to_owned(), json!(queries));
        value
    }
}
