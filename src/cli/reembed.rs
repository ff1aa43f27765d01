//! `vdb reembed`

use super::options::Global;
use super::output::{Out, bytes, count};
use super::progress::Progress;
use super::{Status, interrupt};
use crate::db::{Database, ReembedEvent, ReembedPlan, ReembedReport};
use crate::encode::EncoderHandle;
use crate::error::Result;
use clap::Args;
use serde_json::json;
use std::cell::Cell;
use std::time::Instant;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The encoder whose vectors are wanted: a name from `vdb models list`, or a folder
    #[arg(long, value_name = "NAME|DIR")]
    model: String,
    /// Say how many chunks, how long and how many bytes it takes, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let database = global.database()?;
    let encoder = global.models()?.encoder(&arguments.model)?;
    if arguments.dry_run {
        let plan = database.plan_reembed(&global.collection, encoder)?;
        return tell_plan(&plan, &arguments.model, *out);
    }
    reembed(global, &database, encoder, *out)
}

fn reembed(
    global: &Global,
    database: &Database,
    encoder: EncoderHandle,
    out: Out,
) -> Result<Status> {
    let progress = Progress::new(out);
    let started = Instant::now();
    let first: Cell<Option<u64>> = Cell::new(None);
    let window = encoder.fingerprint().window;
    let on_event = |event: ReembedEvent| match event {
        ReembedEvent::Embedded { done, chunks } => {
            // What an earlier run has done, and the first batch, say nothing of this one's speed.
            let begun = first.get().unwrap_or(done);
            first.set(Some(begun));
            let rate = (done - begun) as f64 / started.elapsed().as_secs_f64().max(0.001);
            let left = (chunks - done) as f64 / rate;
            let left = if rate > 0.0 { format!(", about {left:.0} s left") } else { String::new() };
            progress.say(format!("{done} of {} embedded{left}", count(chunks, "chunk")));
            if out.json {
                // A reader that has gone does not stop it.
                let _ = out.json_line(&json!({"embedded": done, "chunks": chunks}));
            }
        }
        ReembedEvent::Indexing => progress.say("building the index".to_owned()),
        ReembedEvent::Switched { .. } => progress.say("removing the old vectors".to_owned()),
        ReembedEvent::Swept => {}
    };
    let done = database.reembed(&global.collection, encoder, &on_event, interrupt::flag());
    progress.finish();
    let report = done?;
    if out.json {
        out.json_line(&as_json(&report, started.elapsed().as_secs_f64()))?;
    }
    if report.truncated > 0 {
        out.note(&format!(
            "{} longer than the encoder's window of {window} tokens: the ends are not in their \
             vectors; ingest the documents into a new collection to have them cut anew",
            if report.truncated == 1 {
                "1 chunk is".to_owned()
            } else {
                format!("{} chunks are", report.truncated)
            }
        ));
    }
    if !report.complete {
        out.note(&format!(
            "stopped: {} of {} have their new vector; the old ones answer as before; the same command goes on",
            report.kept + report.embedded,
            count(report.chunks, "chunk")
        ));
        return Ok(Status::Interrupted);
    }
    out.note(&format!(
        "{}, {} embedded, in {:.1} s; `vdb compact` gives back the room of the old vectors",
        count(report.chunks, "chunk"),
        report.embedded,
        started.elapsed().as_secs_f64()
    ));
    Ok(Status::Done)
}

fn as_json(report: &ReembedReport, seconds: f64) -> serde_json::Value {
    json!({
        "complete": report.complete,
        "chunks": report.chunks,
        "embedded": report.embedded,
        "kept": report.kept,
        "truncated": report.truncated,
        "seconds": seconds,
    })
}

fn tell_plan(plan: &ReembedPlan, model: &str, out: Out) -> Result<Status> {
    let seconds = plan.time.as_secs_f64();
    if out.json {
        out.json_line(&json!({
            "chunks": plan.chunks,
            "remaining": plan.remaining,
            "seconds": seconds,
            "bytes": plan.bytes,
            "room": plan.room,
            "sampled": plan.sampled,
            "sampled_truncated": plan.sampled_truncated,
        }))?;
        return Ok(Status::Done);
    }
    out.line(&format!(
        "{} of {} to embed with {model}, about {seconds:.0} s by {} of them; {} for vectors and \
         index, {} must be free",
        plan.remaining,
        count(plan.chunks, "chunk"),
        plan.sampled,
        bytes(plan.bytes),
        bytes(plan.room)
    ))?;
    if plan.sampled_truncated > 0 {
        out.line(&format!(
            "{} of these {} are longer than its window and would lose their ends",
            plan.sampled_truncated, plan.sampled
        ))?;
    }
    Ok(Status::Done)
}
