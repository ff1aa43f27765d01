//! `vdb ingest`

use super::options::Global;
use super::output::{Out, count, printable};
use super::progress::Progress;
use super::{Status, interrupt};
use crate::db::{Collection, Database, FileOptions, IngestEvent, IngestReport};
use crate::error::{Error, Result};
use crate::text::parse::{Format, ParseOptions, WalkOptions, parse_reader};
use crate::vector::Memory;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files and folders; `-` is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Read everything as this format instead of going by name and content: text, markdown, html,
    /// json, jsonl, csv, tsv or source
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Field of a JSON or CSV record that holds its text [default: text, content or body]
    #[arg(long, value_name = "FIELD")]
    text_field: Option<String>,
    /// Field that holds its id [default: _id or id, else file and line]
    #[arg(long, value_name = "FIELD")]
    id_field: Option<String>,
    /// Field that holds its title [default: title]
    #[arg(long, value_name = "FIELD")]
    title_field: Option<String>,
    /// Remove documents of these paths whose files or records are gone
    #[arg(long)]
    prune: bool,
    /// Also hidden files and folders
    #[arg(long)]
    hidden: bool,
    /// Also what .gitignore and .ignore exclude
    #[arg(long)]
    no_ignore: bool,
    /// Largest file that is read whole, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_file_size: u64,
    #[command(flatten)]
    new: NewCollection,
}

/// Settings that count when the collection is made.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "A new collection")]
pub(super) struct NewCollection {
    /// Encoder: a name from `vdb models list`, or a folder [default: all-MiniLM-L6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    pub(super) model: Option<String>,
    /// Tokens of a chunk, title and headings included [default: the encoder's window]
    #[arg(long, value_name = "N")]
    chunk_tokens: Option<usize>,
    /// Tokens that a chunk repeats of the one before
    #[arg(long, default_value_t = 0, value_name = "N")]
    overlap: usize,
    /// Language of keyword search: english, german, … or none
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Bytes of the index against its speed: speed, balanced (a third) or small (a fifth)
    #[arg(long, default_value = "speed", value_name = "CHOICE")]
    memory: Memory,
    /// Keep the vectors of tokens, every N of which share one, so that --rerank encodes no passages:
    /// about 100 bytes a token at 4
    #[arg(long, value_name = "N", default_value_t = 0, default_missing_value = "4", num_args = 0..=1, require_equals = true,
        hide_default_value = true)]
    late_interaction: usize,
}

impl NewCollection {
    /// The same with another encoder.
    pub(super) fn with_model(&self, model: &str) -> Self {
        Self { model: Some(model.to_owned()), ..self.clone() }
    }
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let standard_input = arguments.paths.iter().any(|p| p.as_os_str() == "-");
    if standard_input && arguments.paths.len() > 1 {
        return Err(Error::parameter("PATH", "`-` stands alone; ingest the rest separately"));
    }
    let database = Database::open(&global.db)?;
    let collection = open(global, &database, &arguments.new)?;
    let parse = ParseOptions {
        text_field: arguments.text_field.clone(),
        id_field: arguments.id_field.clone(),
        title_field: arguments.title_field.clone(),
        max_file_bytes: arguments.max_file_size << 20,
        ..ParseOptions::default()
    };
    let source = if standard_input {
        Input::Stream(arguments.format.unwrap_or(Format::Text), parse)
    } else {
        let walk = WalkOptions { hidden: arguments.hidden, ignored: arguments.no_ignore };
        let format = arguments.format;
        Input::Paths(&arguments.paths, FileOptions { walk, parse, format, prune: arguments.prune })
    };
    read(&collection, source, *out)
}

/// Opens or makes the collection.
pub(super) fn open(
    global: &Global,
    database: &Database,
    new: &NewCollection,
) -> Result<Collection> {
    let mut options = global.writable(database, new.model.as_deref())?;
    if let Some(tokens) = new.chunk_tokens {
        options = options.chunk_tokens(tokens);
    }
    if let Some(language) = &new.language {
        options = options.language(language);
    }
    let options = options
        .overlap_tokens(new.overlap)
        .memory(new.memory)
        .late_interaction(new.late_interaction);
    database.collection(&global.collection, &options)
}

/// What is ingested.
pub(super) enum Input<'a> {
    Paths(&'a [PathBuf], FileOptions),
    Stream(Format, ParseOptions),
}

/// Ingests with progress, and tells what came of it.
pub(super) fn read(collection: &Collection, input: Input<'_>, out: Out) -> Result<Status> {
    let started = Instant::now();
    let progress = Progress::new(out);
    let (documents, chunks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let on_event = |event: IngestEvent<'_>| match event {
        IngestEvent::Read { id } => progress.say(format!(
            "{} documents, {} chunks are in; reading {}",
            documents.load(Ordering::Relaxed),
            chunks.load(Ordering::Relaxed),
            printable(id)
        )),
        IngestEvent::Committed { generation, documents: d, chunks: c } => {
            documents.store(d, Ordering::Relaxed);
            chunks.store(c, Ordering::Relaxed);
            if out.json {
                // A reader that has gone does not stop the ingest.
                let _ = out.json_line(&json!({"generation": generation, "documents": d}));
            }
        }
        IngestEvent::Skipped { origin, reason } => {
            progress.above(|| out.note(&format!("{}: skipped: {reason}", printable(origin))));
        }
        IngestEvent::Warning { origin, message } => {
            progress.above(|| out.note(&format!("{}: {message}", printable(origin))));
        }
        IngestEvent::Failed { error } => {
            progress.above(|| out.remark(&printable(&error.to_string())));
        }
    };
    let stop = interrupt::flag();
    let report = match input {
        Input::Paths(paths, options) => collection.ingest_paths(paths, &options, &on_event, stop),
        Input::Stream(format, options) => {
            let stdin = std::io::stdin();
            let parsed = parse_reader(stdin, "standard input", "stdin", Some(format), &options)?;
            for warning in &parsed.warnings {
                out.note(&format!("standard input: {warning}"));
            }
            collection.ingest(parsed.documents, &on_event, stop)
        }
    };
    progress.finish();
    for notice in collection.take_notices() {
        out.note(&notice);
    }
    let report = report?;
    out.note(&summary(&report, started.elapsed().as_secs_f64()));
    Ok(if report.failed > 0 || report.stopped { Status::Partly } else { Status::Done })
}

fn summary(report: &IngestReport, seconds: f64) -> String {
    let mut parts = vec![format!("{} added", count(report.added, "document"))];
    for (n, what) in [
        (report.replaced, "replaced"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
        (report.failed, "failed"),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    let stopped = if report.stopped { "stopped; what is in stays: " } else { "" };
    format!(
        "{stopped}{}; {}, {} embedded, in {seconds:.1} s",
        parts.join(", "),
        count(report.chunks, "chunk"),
        report.embedded
    )
}
