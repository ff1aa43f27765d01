//! The N-th call to the system fails, for N = 1, 2, … until a run is done before the N-th: SQLite's
//! way of testing what happens when the disk is full or broken.

use super::workload::{self, Oracle, Step};
use super::{rounds, shim};
use crate::support::{Random, output_within};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

const STEPS: usize = 8;
const LIMIT: Duration = Duration::from_secs(60);

/// `EIO` and `ENOSPC` on Linux.
const BROKEN: &str = "5";
const FULL: &str = "28";

/// A short workload that ends at its first error, told.
pub fn fault(path: &Path) {
    let tell = |what: &str, value: Value| {
        let line = serde_json::json!({ what: value });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
    };
    let mut open = None;
    for step in steps() {
        tell("try", serde_json::to_value(&step).unwrap());
        if let Err(error) = step.run(path, &mut open) {
            tell("error", error.to_string().into());
            // What was committed is still read, unless it is the disk that is broken.
            if let Some((_, collection)) = &open {
                for document in collection.documents().flatten() {
                    let _ = collection.get(&document.id);
                }
                let again = step.run(path, &mut None);
                tell("again", again.is_ok().into());
            }
            return;
        }
        tell("done", serde_json::to_value(&step).unwrap());
    }
}

/// Put, replace, remove, put, compact, put, reopen, remove.
fn steps() -> Vec<Step> {
    let mut random = Random(4711);
    let put = |ids: std::ops::Range<usize>, revision: usize, random: &mut Random| {
        let text = |i: usize, r: &mut Random| format!("d{i} revision{revision} {}", r.below(999));
        Step::Put(ids.map(|i| (format!("d{i}"), text(i, random))).collect())
    };
    let remove = |ids: &[usize]| Step::Remove(ids.iter().map(|i| format!("d{i}")).collect());
    let steps = vec![
        put(0..4, 1, &mut random),
        put(2..6, 2, &mut random),
        remove(&[0, 3]),
        put(3..8, 3, &mut random),
        Step::Compact,
        put(0..2, 4, &mut random),
        Step::Reopen,
        remove(&[5]),
    ];
    assert_eq!(steps.len(), STEPS);
    steps
}

pub fn every_call_fails_once() {
    for (error, sticky) in [(BROKEN, false), (FULL, true)] {
        let (mut runs, mut failed, mut at) = (0, 0, 1);
        // A stride that is prime to any pattern in the calls, in the short form.
        let stride = rounds(53, 1);
        loop {
            let calls = one(error, sticky, at, &mut failed);
            runs += 1;
            if calls < at {
                println!("error {error}: {runs} runs of up to {calls} calls, {failed} told of it");
                break;
            }
            at += stride;
        }
        assert!(runs > 5 && failed > 5, "{runs} runs, {failed} failed");
    }
}

/// Returns the number of calls that the run made.
fn one(error: &str, sticky: bool, at: usize, failed: &mut usize) -> usize {
    let told = format!("error {error} at call {at}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w/db");
    std::fs::create_dir(folder.path().join("w")).unwrap();
    let count = folder.path().join("count");
    let mut command = shim::under("fault", &path);
    command
        .env("SHIM_FAIL", at.to_string())
        .env("SHIM_ERROR", error)
        .env("SHIM_COUNT", &count)
        .env("RUST_BACKTRACE", "0");
    if sticky {
        command.env("SHIM_STICKY", "1");
    }
    let output = output_within(command.spawn().unwrap(), LIMIT, &told);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}: {}: {complaint}", output.status);

    let mut oracle = Oracle::new();
    let mut pending: Option<Step> = None;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if let Some(step) = value.get("try") {
            pending = Some(serde_json::from_value(step.clone()).unwrap());
        } else if value.get("done").is_some() {
            pending.take().unwrap().apply(&mut oracle);
        } else if value.get("error").is_some() {
            *failed += 1;
        } else if value["again"] == true {
            // Once the fault was over, the same step went through.
            pending.take().unwrap().apply(&mut oracle);
        }
    }
    let found = {
        let opened = workload::open_at(&path);
        let (_database, collection) = opened.unwrap_or_else(|e| panic!("{told}: {e}: {complaint}"));
        workload::contents(&collection)
    };
    if found != oracle
        && let Some(step) = pending
    {
        step.apply(&mut oracle);
    }
    workload::check(&path, &oracle, &told);
    std::fs::read_to_string(count).unwrap().parse().unwrap()
}
