//! `vdb run-program`, and the child in which it runs

use super::Status;
use super::output::Out;
use crate::error::{Error, Result};
use crate::sandbox::{self, Ended, Limits, Sandbox};
use clap::Args;
use serde_json::json;
use std::io::{BufReader, Read as _, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A file with the program; - for standard input. Its value is what solution() returns where it
    /// defines that, else its last expression
    program: PathBuf,
    /// How long it may run
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    seconds: f64,
    /// How much memory it may have, interpreter included
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    memory_mib: usize,
}

pub(super) fn run(arguments: &Arguments, out: &Out) -> Result<Status> {
    let time = Duration::try_from_secs_f64(arguments.seconds)
        .ok()
        .filter(|time| (Duration::from_millis(1)..=Duration::from_hours(1)).contains(time))
        .ok_or_else(|| {
            Error::parameter("seconds", format!("{}; from 0.001 to 3600", arguments.seconds))
        })?;
    if arguments.memory_mib < 32 {
        let reason = format!("{} MiB; the interpreter itself needs 32", arguments.memory_mib);
        return Err(Error::parameter("memory-mib", reason));
    }
    let memory = arguments.memory_mib.saturating_mul(1 << 20);
    let limits = Limits { time, memory, ..Limits::default() };
    let run = child()?.limits(limits).run(&read(&arguments.program, limits.program)?)?;
    if out.json {
        let (value, number, error) = match &run.ended {
            Ended::Value(value) => (Some(&value.text), value.number, None),
            Ended::Failed(traceback) => (None, None, Some(traceback.clone())),
            Ended::Stopped(why) => (None, None, Some(why.to_string())),
        };
        out.json_line(&json!({
            "value": value,
            "number": number,
            "error": error,
            "output": run.output,
            "seconds": run.time.as_secs_f64(),
        }))?;
    } else {
        out.data(&run.output)?;
    }
    match run.ended {
        Ended::Value(value) if out.json || value.is_none => Ok(Status::Done),
        Ended::Value(value) => out.line(&value.text).map(|()| Status::Done),
        Ended::Failed(reason) => Err(failed(&arguments.program, reason)),
        Ended::Stopped(why) => Err(failed(&arguments.program, why.to_string())),
    }
}

fn failed(program: &Path, reason: String) -> Error {
    Error::Program { name: program.display().to_string(), reason }
}

/// A program's text; not more of it than a program may have, and a byte.
fn read(path: &Path, most: usize) -> Result<String> {
    let mut text = String::new();
    let most = most as u64 + 1;
    let read = if path.as_os_str() == "-" {
        stdin().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    read.map_err(Error::io("read", path))?;
    Ok(text)
}

/// A sandbox whose child is this program.
pub(super) fn child() -> Result<Sandbox> {
    let own = std::env::current_exe().map_err(Error::io("find", Path::new("vdb")))?;
    Ok(Sandbox::new(own, ["sandbox"]))
}

pub(super) fn serve() -> Result<Status> {
    sandbox::serve(BufReader::new(stdin()), stdout())
        .map_err(Error::io("serve", Path::new("standard input")))?;
    Ok(Status::Done)
}
