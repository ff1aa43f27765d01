//! `vdb compact`: no model is touched.

use super::Status;
use super::options::Global;
use super::output::{Out, bytes};
use crate::error::Result;
use serde_json::json;

pub(super) fn run(global: &Global, out: &Out) -> Result<Status> {
    let database = global.database()?;
    let before = database.disk_bytes()?;
    database.compact()?;
    let after = database.disk_bytes()?;
    if out.json {
        out.json_line(&json!({"bytes_before": before, "bytes_after": after}))?;
    } else {
        out.note(&format!("{} before, {} now", bytes(before), bytes(after)));
    }
    Ok(Status::Done)
}
