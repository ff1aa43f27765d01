//! `vdb export`, `vdb import`: no model is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, count};
use crate::db::Database;
use crate::error::{Error, Result};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// File to make; - is standard output
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// File that `vdb export` made; - is standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

pub(super) fn export(global: &Global, arguments: &ExportArguments, out: &Out) -> Result<Status> {
    let collection = global.plain_collection_to_look()?;
    if arguments.to.as_os_str() == "-" {
        collection.export(&mut BufWriter::new(std::io::stdout().lock()))?;
        return Ok(Status::Done);
    }
    // Under another name until it is whole.
    let mut name = arguments.to.clone().into_os_string();
    name.push(".tmp");
    let draft = PathBuf::from(name);
    let written = File::create(&draft).map_err(Error::io("create", &draft)).and_then(|file| {
        let mut file = BufWriter::new(file);
        let documents = collection.export(&mut file)?;
        file.flush()
            .and_then(|()| file.get_ref().sync_all())
            .and_then(|()| std::fs::rename(&draft, &arguments.to))
            .map_err(Error::io("write", &arguments.to))?;
        Ok(documents)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    let documents = written?;
    if out.json {
        out.json_line(&json!({"export": arguments.to, "documents": documents}))?;
    } else {
        out.note(&format!("{} exported", count(documents, "document")));
    }
    Ok(Status::Done)
}

pub(super) fn import(global: &Global, arguments: &ImportArguments, out: &Out) -> Result<Status> {
    let stdin = arguments.from.as_os_str() == "-";
    let origin =
        if stdin { "standard input".to_owned() } else { arguments.from.display().to_string() };
    let documents = if stdin {
        let database = Database::open(&global.db)?;
        database.import(&global.collection, &origin, &mut std::io::stdin().lock())?
    } else {
        // Before a database is made for it.
        let file = File::open(&arguments.from).map_err(Error::io("read", &arguments.from))?;
        let database = Database::open(&global.db)?;
        database.import(&global.collection, &origin, &mut BufReader::new(file))?
    };
    if out.json {
        out.json_line(&json!({"documents": documents}))?;
    } else {
        out.note(&format!("{} imported", count(documents, "document")));
    }
    Ok(Status::Done)
}
