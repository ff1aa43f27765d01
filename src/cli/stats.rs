//! `vdb stats`: no model and no index is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, bytes};
use crate::error::Result;
use serde_json::json;

pub(super) fn run(global: &Global, out: &Out) -> Result<Status> {
    let database = global.database_to_look()?;
    let collections = database.collections()?;
    let disk = database.disk_bytes()?;
    if out.json {
        let collections: Vec<_> = collections
            .iter()
            .map(|c| {
                json!({
                    "name": c.name,
                    "documents": c.documents,
                    "chunks": c.chunks,
                    "dimensions": c.dimensions,
                    "metric": c.metric.name(),
                    "model": c.fingerprint.as_ref().map(|f| &f.model),
                    "precision": c.fingerprint.as_ref().map(|f| &f.precision),
                })
            })
            .collect();
        out.json_line(&json!({
            "folder": global.db,
            "generation": database.generation(),
            "disk_bytes": disk,
            "collections": collections,
        }))?;
        return Ok(Status::Done);
    }
    out.line(&format!(
        "{}: generation {}, {} on disk",
        global.db.display(),
        database.generation(),
        bytes(disk)
    ))?;
    for c in collections {
        let model =
            c.fingerprint.map_or("vectors of the caller's own".to_owned(), |f| f.to_string());
        out.line(&format!(
            "{}: {} documents, {} chunks, {} dimensions, {}, {model}",
            c.name, c.documents, c.chunks, c.dimensions, c.metric
        ))?;
    }
    Ok(Status::Done)
}
