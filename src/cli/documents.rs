//! `vdb get`, `vdb list`, `vdb remove`: no model is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, count, printable};
use super::query::metadata_json;
use crate::db::DocumentInfo;
use crate::error::{Error, Result};
use clap::Args;
use serde_json::json;

/// Lines of a list that are written at once.
const LIST_BYTES: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// Id of the document, as `vdb list` shows it
    id: String,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArguments {
    /// Ids of the documents, as `vdb list` shows them
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

pub(super) fn get(global: &Global, arguments: &GetArguments, out: &Out) -> Result<Status> {
    let collection = global.plain_collection_to_look()?;
    let document = collection.get(&arguments.id)?.ok_or_else(|| not_found(&arguments.id))?;
    if out.json {
        let chunks: Vec<_> = document
            .chunks
            .iter()
            .map(|chunk| {
                json!({
                    "chunk": chunk.number,
                    "span": [chunk.span.start, chunk.span.end],
                    "lines": [chunk.lines.0, chunk.lines.1],
                    "heading": chunk.heading,
                    "tokens": chunk.tokens,
                })
            })
            .collect();
        let mut value = info_json(&document.info);
        value["text"] = document.text.into();
        value["chunks"] = chunks.into();
        out.json_line(&value)?;
    } else {
        let end = if document.text.ends_with('\n') { "" } else { "\n" };
        out.data(&format!("{}{end}", document.text))?;
    }
    Ok(Status::Done)
}

pub(super) fn list(global: &Global, out: &Out) -> Result<Status> {
    let collection = global.plain_collection_to_look()?;
    let mut status = Status::Done;
    // A write for every line would take longer than reading the documents.
    let mut lines = String::new();
    for info in collection.documents() {
        match info {
            Ok(info) if out.json => lines.push_str(&info_json(&info).to_string()),
            Ok(info) => {
                let title = info.title.as_deref().map(|t| format!("  {t}")).unwrap_or_default();
                let chunks = count(info.chunks, "chunk");
                lines.push_str(&printable(&format!("{}  ({chunks}){title}", info.id)));
            }
            Err(error) => {
                out.remark(&error.to_string());
                status = Status::Damaged;
                continue;
            }
        }
        lines.push('\n');
        if lines.len() > LIST_BYTES {
            out.data(&lines)?;
            lines.clear();
        }
    }
    out.data(&lines)?;
    Ok(status)
}

fn info_json(info: &DocumentInfo) -> serde_json::Value {
    json!({
        "id": info.id,
        "title": info.title,
        "path": info.origin.path,
        "line": info.origin.line,
        "bytes": info.text_bytes,
        "chunks": info.chunks,
        "metadata": metadata_json(&info.metadata),
    })
}

pub(super) fn remove(global: &Global, arguments: &RemoveArguments, out: &Out) -> Result<Status> {
    let collection = global.plain_collection()?;
    let mut present = Vec::new();
    let mut status = Status::Done;
    for id in &arguments.ids {
        if collection.get(id)?.is_some() {
            present.push(id);
        } else {
            out.remark(&not_found(id).to_string());
            status = Status::Partly;
        }
    }
    if present.is_empty() {
        return Err(Error::NotFound {
            what: "document",
            name: arguments.ids.join(", "),
            hint: "nothing was removed".to_owned(),
        });
    }
    let removed = collection.remove(&present)?;
    if out.json {
        out.json_line(&json!({"removed": removed}))?;
    } else {
        out.note(&format!("{} removed", count(removed, "document")));
    }
    Ok(status)
}

fn not_found(id: &str) -> Error {
    Error::NotFound {
        what: "document",
        name: id.to_owned(),
        hint: "`vdb list` shows the ids".to_owned(),
    }
}
