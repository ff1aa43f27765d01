//! `vdb verify`

use super::Status;
use super::options::Global;
use super::output::Out;
use crate::db::{CollectionOptions, Database};
use crate::error::{Error, Result};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also every record, every document's parts, and both indexes against the store
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
    // Opening has compared manifest, head and ledger.
    let database = global.database_to_look()?;
    let mut damage = if full { database.verify() } else { Vec::new() };
    // What was found so far is told, whatever else cannot be read.
    if let Err(error) = check_collections(&database, full, out, &mut damage) {
        match error {
            Error::Corrupted { .. } => damage.push(error.to_string()),
            other => return Err(other),
        }
    }
    Ok(damage)
}

fn check_collections(
    database: &Database,
    full: bool,
    out: Out,
    damage: &mut Vec<String>,
) -> Result<()> {
    for info in database.collections()? {
        let collection = database.existing_collection(&info.name, &CollectionOptions::default())?;
        // Before they are opened, which makes damaged ones anew.
        damage.extend(collection.verify_files()?);
        if full {
            damage.extend(collection.verify()?);
            for notice in collection.take_notices() {
                out.note(&notice);
            }
        }
    }
    Ok(())
}
