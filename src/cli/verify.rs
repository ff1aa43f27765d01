//! `vdb verify`

use super::Status;
use super::options::Global;
use super::output::Out;
use crate::db::CollectionOptions;
use crate::error::{Error, Result};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also every document's parts and both indexes against the store
    #[arg(long)]
    full: bool,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let damage = match check(global, arguments.full, *out) {
        Ok(damage) => damage,
        // What keeps a damaged database from opening is damage found.
        Err(error @ Error::Corrupted { .. }) => vec![error.to_string()],
        Err(error) => return Err(error),
    };
    if out.json {
        out.json_line(&json!({"damage": damage}))?;
    } else {
        for line in &damage {
            out.line(line)?;
        }
    }
    if damage.is_empty() {
        out.note("no damage found");
        return Ok(Status::Done);
    }
    Ok(Status::Damaged)
}

fn check(global: &Global, full: bool, out: Out) -> Result<Vec<String>> {
    let database = global.database_to_look()?;
    let mut damage = database.verify();
    if full {
        for info in database.collections()? {
            let collection =
                database.existing_collection(&info.name, &CollectionOptions::default())?;
            damage.extend(collection.verify()?);
            // Repaired already, since indexes are caches; worth telling, and no damage any more.
            for notice in collection.take_notices() {
                out.note(&notice);
            }
        }
    }
    Ok(damage)
}
