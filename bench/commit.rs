//! Commits without an encoder: 500 chunks at a time, and one document at a time.
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

use std::time::{Duration, Instant};
use vdb::{CollectionOptions, Database, Document};

const CHUNKS: usize = 500;
const COMMITS: usize = 12;
const SINGLES: usize = 200;

/// Distributions are the point, so every commit is timed by itself.
fn main() {
    let count = CHUNKS * COMMITS + SINGLES;
    let texts = support::sentences(count);
    let vectors = support::embeddings(count);
    let mut documents = (0..).zip(texts).zip(vectors).map(|((i, text), vector)| {
        Document::new(format!("sentence {i}"), text).vector(vector).field("number", i)
    });
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &CollectionOptions::dimensions(384)).unwrap();
    let mut timed = |commits: usize, size: usize| -> Vec<Duration> {
        (0..commits)
            .map(|_| {
                let batch: Vec<Document> = documents.by_ref().take(size).collect();
                let begun = Instant::now();
                collection.add(batch).unwrap();
                begun.elapsed()
            })
            .collect()
    };
    for (what, mut times) in
        [("500 chunks", timed(COMMITS, CHUNKS)), ("1 document", timed(SINGLES, 1))]
    {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        println!("{what}: p50 {:.2?}, p99 {:.2?}", at(50), at(99));
    }
}
