//! `vdb models list|pull|add|remove|info`

use super::Status;
use super::options::Global;
use super::output::{Out, bytes};
use super::setup::bring;
use crate::error::{Error, Result};
use crate::model::{Manifest, ModelKind, Models};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the models that are known and whether they are here
    List,
    /// Fetch a model
    Pull {
        /// Its name
        name: String,
    },
    /// Take up an encoder of your own, so that every command knows it by name
    Add {
        /// A folder that holds it, as training leaves one
        folder: PathBuf,
        /// Its name [default: the folder's]
        #[arg(long)]
        name: Option<String>,
    },
    /// Delete the files of a model, and forget it where it is one of your own
    Remove {
        /// Its name
        name: String,
    },
    /// Describe a model: licence, sources, files, checksums
    Info {
        /// Its name
        name: String,
    },
}

pub(super) fn run(global: &Global, command: &Command, out: &Out) -> Result<Status> {
    let models = global.models()?;
    match command {
        Command::List => {
            for manifest in models.registry().list() {
                list(&models, manifest, *out)?;
            }
        }
        Command::Pull { name } => {
            let manifest = models.registry().get(name)?;
            let fetched = bring(global, manifest, *out)?;
            let state = if fetched == 0 { "was there already" } else { "is there" };
            out.note(&format!("{} {state}", manifest.name));
        }
        Command::Add { folder, name } => {
            let whole = folder.canonicalize().map_err(Error::io("resolve", folder))?;
            let own = whole.file_name().unwrap_or_default().to_string_lossy();
            let name = name.as_deref().unwrap_or(&own);
            let manifest = global.models()?.add(folder, name, None)?;
            list(&models, &manifest, *out)?;
        }
        Command::Remove { name } => {
            global.models()?.remove(name)?;
            out.note(&format!("{name} is removed"));
        }
        Command::Info { name } => info(&models, models.registry().get(name)?, *out)?,
    }
    Ok(Status::Done)
}

/// In a word, whether it is here.
pub(super) fn state(models: &Models, manifest: &Manifest) -> &'static str {
    match models.home().missing(manifest) {
        Ok(missing) if missing.is_empty() => "ready",
        Ok(missing) if missing.len() < manifest.files().len() => "incomplete",
        Ok(_) => "not here",
        Err(_) => "not for this platform",
    }
}

fn kind(manifest: &Manifest) -> &'static str {
    match manifest.kind {
        ModelKind::Encoder => "encoder",
        ModelKind::Decoder => "decoder",
        ModelKind::Reranker => "reranker",
        ModelKind::Runtime => "runtime",
    }
}

fn list(models: &Models, manifest: &Manifest, out: Out) -> Result<()> {
    let state = state(models, manifest);
    if out.json {
        return out.json_line(&json!({
            "name": manifest.name,
            "kind": kind(manifest),
            "state": state,
            "description": manifest.description,
            "bytes": manifest.bytes(),
        }));
    }
    out.line(&format!(
        "{:<24} {:<8} {:<12} {}",
        manifest.name,
        kind(manifest),
        state,
        manifest.description
    ))
}

fn info(models: &Models, manifest: &Manifest, out: Out) -> Result<()> {
    let folder = models.home().place(manifest);
    let sources: Vec<String> = manifest.sources.iter().map(ToString::to_string).collect();
    if out.json {
        let files: Vec<_> = manifest
            .files()
            .iter()
            .map(|f| json!({"name": f.name, "size": f.size, "sha256": f.sha256}))
            .collect();
        return out.json_line(&json!({
            "name": manifest.name,
            "kind": kind(manifest),
            "state": state(models, manifest),
            "description": manifest.description,
            "licence": manifest.licence,
            "page": manifest.page,
            "quality": manifest.quality,
            "window": manifest
                .encoder
                .as_ref()
                .map(|e| e.window)
                .or(manifest.reranker.as_ref().map(|r| r.window)),
            "dimensions": manifest.encoder.as_ref().map(|e| e.dimensions),
            "folder": folder,
            "sources": sources,
            "files": files,
        }));
    }
    out.line(&format!("{}: {}", out.strong(&manifest.name), manifest.description))?;
    out.line(&format!("state     {}", state(models, manifest)))?;
    out.line(&format!("licence   {}", manifest.licence))?;
    out.line(&format!("page      {}", manifest.page))?;
    if let Some(encoder) = &manifest.encoder {
        out.line(&format!(
            "encoder   {} dimensions, window of {} tokens, {} pooling",
            encoder.dimensions,
            encoder.window,
            encoder.pooling()?
        ))?;
    }
    if let Some(reranker) = &manifest.reranker {
        out.line(&format!(
            "reranker  query and passage read together, window of {} tokens",
            reranker.window
        ))?;
    }
    if let Some(quality) = &manifest.quality {
        out.line(&format!("quality   {quality}"))?;
    }
    out.line(&format!("sources   {}", sources.join(", ")))?;
    out.line(&format!("folder    {}", folder.display()))?;
    for file in manifest.files() {
        let size = file.size.map_or_else(|| "size unknown".to_owned(), bytes);
        out.line(&format!("file      {} ({size}), sha256 {}", file.name, file.sha256))?;
    }
    Ok(())
}
