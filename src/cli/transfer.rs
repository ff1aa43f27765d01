//! `vdb export`, `vdb import`: no model is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, count};
use crate::db::{Collection, Database};
use crate::error::{Error, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// File to make; - is standard output
    #[arg(value_name = "FILE")]
    to: PathBuf,
    /// jsonl: a line for each document; arrow, where it was built in: a row for each
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    #[cfg(feature = "arrow")]
    Arrow,
}

impl Format {
    fn write(self, collection: &Collection, out: &mut impl Write) -> Result<usize> {
        match self {
            Self::Jsonl => collection.export(out),
            #[cfg(feature = "arrow")]
            Self::Arrow => collection.export_arrow(out),
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// File that `vdb export` made, of either format; - is standard input, for JSONL
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

pub(super) fn export(global: &Global, arguments: &ExportArguments, out: &Out) -> Result<Status> {
    let collection = global.plain_collection_to_look()?;
    if arguments.to.as_os_str() == "-" {
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        arguments.format.write(&collection, &mut stdout)?;
        return Ok(Status::Done);
    }
    // Under another name until it is whole.
    let mut name = arguments.to.clone().into_os_string();
    name.push(".tmp");
    let draft = PathBuf::from(name);
    let written = File::create(&draft).map_err(Error::io("create", &draft)).and_then(|file| {
        let mut file = BufWriter::new(file);
        let documents = arguments.format.write(&collection, &mut file)?;
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
        let mut file = BufReader::new(file);
        import_file(&database, &global.collection, &origin, &mut file)?
    };
    if out.json {
        out.json_line(&json!({"documents": documents}))?;
    } else {
        out.note(&format!("{} imported", count(documents, "document")));
    }
    Ok(Status::Done)
}

/// A file of either format; how it begins tells which.
fn import_file(
    database: &Database,
    name: &str,
    origin: &str,
    file: &mut BufReader<File>,
) -> Result<usize> {
    #[cfg(feature = "arrow")]
    {
        let first = std::io::BufRead::fill_buf(file).map_err(Error::io("read", origin))?;
        if first.starts_with(crate::db::ARROW_MAGIC) {
            return database.import_arrow(name, origin, file);
        }
    }
    database.import(name, origin, file)
}
