//! `vdb stats`: no model is touched, and of an index only what its files say.

use super::Status;
use super::options::Global;
use super::output::{Out, bytes, count};
use crate::db::{CollectionInfo, CollectionOptions, Database, IndexStats};
use crate::error::{Error, Result};
use serde_json::{Value, json};

pub(super) fn run(global: &Global, out: &Out) -> Result<Status> {
    let database = global.database_to_look()?;
    let mut collections = Vec::new();
    for info in database.collections()? {
        let index = index_of(&database, &info)?;
        collections.push((info, index));
    }
    let disk = database.disk_bytes()?;
    if out.json {
        let collections: Vec<_> =
            collections.iter().map(|(info, index)| as_json(info, index.as_ref())).collect();
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
    for (c, index) in collections {
        let index = in_words(index.as_ref());
        let model =
            c.fingerprint.map_or("vectors of the caller's own".to_owned(), |f| f.to_string());
        out.line(&format!(
            "{}: {} documents, {} chunks, {} dimensions, {}, memory {}, {model}",
            c.name, c.documents, c.chunks, c.dimensions, c.metric, c.memory
        ))?;
        out.line(&format!("  vector index: {index}"))?;
        if let Some(tokens) = c.late_interaction {
            out.line(&format!("  late interaction: a vector kept for every {tokens} tokens"))?;
        }
        if let Some(successor) = c.successor {
            out.line(&format!(
                "  re-embedding with {successor} is not done; the same `vdb reembed` goes on"
            ))?;
        }
    }
    Ok(Status::Done)
}

/// None where the files cannot be used: that is no failure of a look, the next query makes them anew.
fn index_of(database: &Database, info: &CollectionInfo) -> Result<Option<IndexStats>> {
    let collection = database.existing_collection(&info.name, &CollectionOptions::default());
    match collection.and_then(|collection| collection.index_stats()) {
        Ok(stats) => Ok(Some(stats)),
        Err(Error::Corrupted { .. } | Error::Io { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn as_json(info: &CollectionInfo, index: Option<&IndexStats>) -> Value {
    let index = index.map(|index| {
        json!({
            "up_to_date": index.up_to_date,
            "segments": index.segments,
            "sealed_points": index.sealed_points,
            "live_points": index.live_points,
            "tombstones": index.tombstones,
            "disk_bytes": index.disk_bytes,
            "bytes_per_vector": index.bytes_per_vector,
            "mapped_bytes": index.mapped_bytes,
            "memory_bytes": index.memory_bytes,
        })
    });
    json!({
        "name": info.name,
        "documents": info.documents,
        "chunks": info.chunks,
        "dimensions": info.dimensions,
        "metric": info.metric.name(),
        "memory": info.memory.name(),
        "late_interaction": info.late_interaction,
        "model": info.fingerprint.as_ref().map(|f| &f.model),
        "precision": info.fingerprint.as_ref().map(|f| &f.precision),
        "successor": info.successor.as_ref().map(|f| &f.model),
        "vector_index": index,
    })
}

fn in_words(index: Option<&IndexStats>) -> String {
    let Some(index) = index else {
        return "its files are damaged, missing in part or of an older version; the next query makes \
                it anew"
            .to_owned();
    };
    let state = if index.up_to_date {
        ""
    } else {
        "; not of the last commit, the next query brings it up to date"
    };
    let points = index.sealed_points + index.live_points;
    format!(
        "{} in {} ({} not in a file), {}, {} on disk, {} bytes a vector, {} mapped, {} in \
         memory{state}",
        count(points, "point"),
        count(index.segments, "segment"),
        index.live_points,
        count(index.tombstones, "tombstone"),
        bytes(index.disk_bytes),
        index.bytes_per_vector,
        bytes(index.mapped_bytes),
        bytes(index.memory_bytes),
    )
}
