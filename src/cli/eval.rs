//! `vdb eval`

use super::options::Global;
use super::output::Out;
use super::progress::Progress;
use super::{Status, ingest, interrupt};
use crate::db::{Benchmark, Database, FileOptions, IngestEvent, Quality, evaluate};
use crate::error::{Error, Result};
use clap::Args;
use serde_json::json;
use std::cell::Cell;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.tsv
    folder: PathBuf,
    #[command(flatten)]
    new: ingest::NewCollection,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let benchmark = Benchmark::open(&arguments.folder)?;
    let temporary = tempfile::tempdir().map_err(Error::io("create", std::env::temp_dir()))?;
    let database = Database::open(temporary.path().join("db"))?;
    let collection = ingest::open(global, &database, &arguments.new)?;
    let progress = Progress::new(*out);
    let failed = std::sync::Mutex::new(None);
    let on_event = |event: IngestEvent<'_>| match event {
        IngestEvent::Committed { documents, .. } => {
            progress.say(format!("{documents} documents are in"));
        }
        IngestEvent::Failed { error } => {
            if let Ok(mut slot) = failed.lock() {
                slot.get_or_insert_with(|| error.to_string());
            }
        }
        _ => {}
    };
    let stop = interrupt::flag();
    let report =
        collection.ingest_paths(&[&benchmark.corpus], &FileOptions::default(), &on_event, stop)?;
    if report.stopped {
        return Err(Error::Stopped);
    }
    let failed = failed.lock().ok().and_then(|mut slot| slot.take());
    if let Some(reason) = failed {
        return Err(Error::Parse {
            origin: benchmark.corpus.display().to_string(),
            line: None,
            reason,
        });
    }
    let done = Cell::new(0);
    let found = evaluate(&collection, &benchmark, &|| {
        done.set(done.get() + 1);
        progress.say(format!("{} queries are answered", done.get()));
    })?;
    progress.finish();
    if out.json {
        let quality = |q: Quality| {
            json!({
                "ndcg@10": q.ndcg_10,
                "recall@10": q.recall_10,
                "recall@100": q.recall_100,
                "mrr@10": q.mrr_10,
            })
        };
        out.json_line(&json!({
            "dense": quality(found.dense),
            "keyword": quality(found.keyword),
            "hybrid": quality(found.hybrid),
            "documents": report.added,
            "chunks": report.chunks,
            "queries": found.queries,
        }))?;
        return Ok(Status::Done);
    }
    out.note(&format!(
        "{} documents, {} chunks, {} queries",
        report.added, report.chunks, found.queries
    ));
    out.line("          nDCG@10  recall@10  recall@100  MRR@10")?;
    for (mode, q) in [("dense", found.dense), ("keyword", found.keyword), ("hybrid", found.hybrid)]
    {
        out.line(&format!(
            "{mode:<8}  {:.4}   {:.4}     {:.4}      {:.4}",
            q.ndcg_10, q.recall_10, q.recall_100, q.mrr_10
        ))?;
    }
    Ok(Status::Done)
}
