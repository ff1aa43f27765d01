//! Killed at random while ingesting: the database opens, holds exactly what was acknowledged (and
//! perhaps the one commit that was durable before its acknowledgement could be written), and its
//! answers agree with comparing with everything in the store.
//!
//! `VDB_KILL_ROUNDS` sets the number of kills; a few by default, the long form is in docs/testing.md.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

mod support;

use libtest_mimic::Arguments;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::Random;
use vdb::{CollectionOptions, Database, Mode};

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![support::needs_models("killed_while_ingesting", killed_while_ingesting)];
    libtest_mimic::run(&arguments, tests).exit();
}

/// Documents of about 60 words each, in a known order.
fn corpus(path: &Path) -> Vec<String> {
    let text = include_str!("golden/texts.jsonl");
    let words: Vec<&str> = text.split_whitespace().filter(|w| w.len() > 3).collect();
    let mut lines = String::new();
    let mut ids = Vec::new();
    for i in 0..3000 {
        let body: Vec<&str> =
            (0..60).map(|k| words[(i * 7919 + k * (i % 97 + 1)) % words.len()]).collect();
        let id = format!("document-{i:05}");
        let row = serde_json::json!({"_id": id, "text": format!("number {i} {}", body.join(" "))});
        lines.push_str(&format!("{row}\n"));
        ids.push(id);
    }
    fs::write(path, lines).unwrap();
    ids
}

fn killed_while_ingesting() {
    let rounds: usize =
        std::env::var("VDB_KILL_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(6);
    let folder = tempfile::tempdir().unwrap();
    support::models();
    let ids = corpus(&folder.path().join("corpus.jsonl"));
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut known = 0;
    let mut fresh = 0;
    for round in 0..rounds {
        let database = folder.path().join(format!("db{fresh}"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_vdb"))
            .args(["ingest", "corpus.jsonl", "--json", "--quiet", "--db"])
            .arg(&database)
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        let delay = Duration::from_millis(100 + random.below(3500) as u64);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(delay);
            support::kill(pid);
        });
        let mut acknowledged = known;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            // The last line may be cut by the kill; then it was not told.
            let Ok(line) = line else { break };
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&line) {
                acknowledged =
                    known + usize::try_from(value["documents"].as_u64().unwrap()).unwrap();
            }
        }
        let status = child.wait().unwrap();
        killer.join().unwrap();
        known = check(&database, &ids, acknowledged, known, round);
        if status.success() || known == ids.len() {
            (known, fresh) = (0, fresh + 1);
        }
    }
    println!("{rounds} kills, {fresh} databases filled");
}

/// Candidates of a walk, most of the corpus.
const EF: usize = 2048;

/// Returns the number of documents found.
fn check(path: &Path, ids: &[String], acknowledged: usize, before: usize, round: usize) -> usize {
    if !path.join("MANIFEST").exists() {
        assert_eq!(acknowledged, 0, "round {round}");
        return 0;
    }
    let database = Database::open_existing(path).unwrap();
    assert_eq!(database.verify(), Vec::<String>::new(), "round {round}");
    if database.collections().unwrap().is_empty() {
        assert_eq!(acknowledged, 0, "round {round}");
        return 0;
    }
    let options = CollectionOptions::encoder(support::encoder(vdb::model::Precision::Int8));
    let collection = database.existing_collection("default", &options).unwrap();
    let found: Vec<String> = collection.documents().map(|d| d.unwrap().id).collect();
    // A prefix of the corpus, whole commits, nothing acknowledged missing.
    assert_eq!(found, ids[..found.len()], "round {round}");
    assert!(found.len() >= acknowledged, "round {round}: {} of {acknowledged}", found.len());
    let extra = found.len() - acknowledged;
    assert!(
        extra == 0 || (extra.is_multiple_of(256) && extra <= 256) || found.len() == ids.len(),
        "round {round}: {extra} documents were never acknowledged ({before} before)"
    );
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new(), "round {round}");
    for query in ["expedition sledges provisions", "number 17", "emoji composed"] {
        let ask = |exact: bool| {
            // So many candidates that a walk misses nothing which is in the graph: what is missing
            // is lost.
            let query = collection.query(query).mode(Mode::Dense).ef_search(EF);
            let hits = query.exact(exact).run().unwrap();
            hits.into_iter().map(|h| h.chunk).collect::<Vec<_>>()
        };
        assert_eq!(ask(false), ask(true), "round {round}: {query}");
        collection.query(query).run().unwrap();
    }
    found.len()
}
