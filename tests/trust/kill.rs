//! SIGKILL at a random moment of a random workload.

use super::workload::{self, Oracle, Step};
use super::{role, rounds};
use crate::support::{self, Random};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::Duration;

/// Tells each step before it is tried and after it is done, until killed.
pub fn work(path: &Path) {
    let seed = std::env::var("VDB_SEED").unwrap().parse().unwrap();
    let mut random = Random(seed);
    let mut open = None;
    let tell = |what: &str, step: &Step| {
        let line = serde_json::json!({ what: step });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
    };
    for revision in 0.. {
        let step = Step::random(&mut random, revision);
        tell("try", &step);
        step.run(path, &mut open).unwrap();
        tell("done", &step);
    }
}

pub fn killed_at_random_moments() {
    let kills = rounds(12, 1000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut oracle = Oracle::new();
    let (mut steps, mut unacknowledged) = (0, 0);
    for round in 0..kills {
        let seed = random.below(1 << 40) + 1;
        let mut child = role("work", &path).env("VDB_SEED", seed.to_string()).spawn().unwrap();
        let pid = child.id();
        let delay = Duration::from_millis(20 + random.below(700) as u64);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            support::kill(pid);
        });
        let mut pending: Option<Step> = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            // A line that the kill cut short told nothing.
            let Ok(value) = serde_json::from_str::<serde_json::Value>(&line.unwrap()) else {
                break;
            };
            if let Some(step) = value.get("try") {
                pending = Some(serde_json::from_value(step.clone()).unwrap());
            } else if let Some(step) = pending.take() {
                step.apply(&mut oracle);
                steps += 1;
            }
        }
        let output = child.wait_with_output().unwrap();
        killer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_none(), "round {round}: it ended by itself: {said}");
        // The step that was under way may have become durable, as a whole.
        let found = {
            let (_database, collection) = workload::open_at(&path).unwrap();
            workload::contents(&collection)
        };
        if found != oracle
            && let Some(step) = pending
        {
            step.apply(&mut oracle);
            unacknowledged += 1;
        }
        workload::check(&path, &oracle, &format!("round {round}, seed {seed}"));
    }
    println!("{kills} kills, {steps} steps acknowledged, {unacknowledged} durable just before");
}
