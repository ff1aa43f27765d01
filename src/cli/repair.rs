//! `vdb repair`: no model is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, count};
use crate::db::Database;
use crate::error::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder to make; the damaged database is left as it is
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let repaired = Database::repair(&global.db, &arguments.to)?;
    if out.json {
        out.json_line(&json!({
            "documents": repaired.documents,
            "lost": repaired.lost,
            "doubtful": repaired.doubtful,
        }))?;
    } else {
        for line in &repaired.lost {
            out.line(&format!("lost: {line}"))?;
        }
        for id in &repaired.doubtful {
            out.line(&format!("may be out of date: {id}"))?;
        }
        out.note(&format!(
            "{} brought over to {}",
            count(repaired.documents, "document"),
            arguments.to.display()
        ));
    }
    Ok(if repaired.lost.is_empty() { Status::Done } else { Status::Partly })
}
