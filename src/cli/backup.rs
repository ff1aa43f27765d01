//! `vdb backup`, `vdb restore`: no model is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, bytes};
use crate::db::Database;
use crate::error::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// Folder to make
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// Folder that `vdb backup` made
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
}

pub(super) fn backup(global: &Global, arguments: &BackupArguments, out: &Out) -> Result<Status> {
    let copied = Database::backup(&global.db, &arguments.to)?;
    if out.json {
        out.json_line(&json!({"backup": arguments.to, "bytes": copied}))?;
    } else {
        out.note(&format!("{} backed up to {}", bytes(copied), arguments.to.display()));
    }
    Ok(Status::Done)
}

pub(super) fn restore(global: &Global, arguments: &RestoreArguments, out: &Out) -> Result<Status> {
    Database::restore(&arguments.from, &global.db)?;
    if out.json {
        out.json_line(&json!({"database": global.db}))?;
    } else {
        out.note(&format!("{} restored, every record checked", global.db.display()));
    }
    Ok(Status::Done)
}
