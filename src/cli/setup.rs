//! `vdb setup`

use super::options::Global;
use super::output::Out;
use super::progress::Progress;
use super::{Status, interrupt};
use crate::error::Result;
use crate::model::{FetchEvent, FetchOptions, Fetched, Manifest, fetch};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Encoder to fetch instead of the default one
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let models = global.models()?;
    let mut wanted = models.defaults()?;
    if let Some(name) = &arguments.model {
        wanted.truncate(1);
        wanted.push(models.registry().encoder(name)?);
    }
    let mut fetched = 0;
    for manifest in &wanted {
        fetched += bring(global, manifest, *out)?;
    }
    if out.json {
        out.json_line(&serde_json::json!({
            "home": models.home().folder(),
            "files_fetched": fetched,
            "ready": wanted.iter().map(|m| &m.name).collect::<Vec<_>>(),
        }))?;
    } else {
        let names: Vec<&str> = wanted.iter().map(|m| m.name.as_str()).collect();
        let state = if fetched == 0 { "nothing to do" } else { "done" };
        out.note(&format!(
            "{state}: {} in {}",
            names.join(" and "),
            models.home().folder().display()
        ));
    }
    Ok(Status::Done)
}

/// Fetches a manifest's files with progress; returns how many were fetched.
pub(super) fn bring(global: &Global, manifest: &Manifest, out: Out) -> Result<usize> {
    let models = global.models()?;
    let progress = Progress::new(out);
    let on_event = |event: FetchEvent<'_>| match event {
        FetchEvent::Started { what, bytes } => progress.download(what, bytes),
        FetchEvent::Progress { bytes } => progress.position(bytes),
        FetchEvent::Note { text } => progress.above(|| out.note(text)),
    };
    let options =
        FetchOptions { offline: global.offline, on_event: &on_event, stop: interrupt::flag() };
    let fetched = fetch(models.home(), manifest, &options);
    progress.finish();
    Ok(match fetched? {
        Fetched::Files(count) => count,
        Fetched::AlreadyThere => 0,
    })
}
