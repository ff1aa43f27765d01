//! Queries while documents are added at full speed, and an index after much was removed and replaced
//! against one made anew, on real embeddings.
//!
//! `VDB_BENCH_POINTS` sets the size (default 50,000).
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

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use vdb::{Collection, CollectionOptions, Database, Document};

/// Documents of one commit.
const BATCH: usize = 256;

fn make(path: &Path) -> (Database, Collection) {
    let database = Database::open(path).unwrap();
    let collection = database.collection("bench", &CollectionOptions::dimensions(384)).unwrap();
    (database, collection)
}

fn add<'v>(collection: &Collection, points: impl Iterator<Item = (usize, &'v Vec<f32>)>) {
    let documents: Vec<Document> =
        points.map(|(i, v)| Document::new(format!("{i}"), "").vector(v.as_slice())).collect();
    for batch in documents.chunks(BATCH) {
        collection.add(batch.to_vec()).unwrap();
    }
}

fn timed(collection: &Collection, query: &[f32]) -> Duration {
    let started = Instant::now();
    assert_eq!(collection.query_vector(query).top_k(10).run_numbers().unwrap().len(), 10);
    started.elapsed()
}

fn percentiles(times: &mut [Duration]) -> [f64; 2] {
    times.sort_unstable();
    [0.5, 0.99].map(|part| times[(part * (times.len() - 1) as f64) as usize].as_secs_f64() * 1e3)
}

/// Queries on one thread, idle and while another adds a fourth more.
fn while_adding(vectors: &[Vec<f32>], queries: &[Vec<f32>]) {
    let folder = tempfile::tempdir().unwrap();
    let (database, collection) = make(&folder.path().join("db"));
    let (before, more) = vectors.split_at(vectors.len() * 4 / 5);
    add(&collection, before.iter().enumerate());
    database.compact().unwrap();
    let mut idle: Vec<Duration> =
        queries.iter().chain(queries).map(|query| timed(&collection, query)).collect();
    let done = AtomicBool::new(false);
    let mut busy = Vec::new();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            add(&collection, (before.len()..).zip(more));
            done.store(true, Ordering::SeqCst);
        });
        for query in queries.iter().cycle() {
            if done.load(Ordering::SeqCst) {
                break;
            }
            busy.push(timed(&collection, query));
        }
    });
    let rate = more.len() as f64 / started.elapsed().as_secs_f64();
    let (count, [p50, p99]) = (busy.len(), percentiles(&mut busy));
    let [idle_p50, idle_p99] = percentiles(&mut idle);
    eprintln!("idle: p50 {idle_p50:.3}, p99 {idle_p99:.3} ms");
    eprintln!(
        "while {} are added, {rate:.0} a second: p50 {p50:.3}, p99 {p99:.3} ms of {count}; p99 is \
         {:.1} times that of idle",
        more.len(),
        p99 / idle_p99
    );
}

/// Recall@10 of the default, queries a second, and bytes of the index a vector.
fn figures(collection: &Collection, queries: &[Vec<f32>]) -> (f64, f64, f64) {
    let (mut hits, mut wanted) = (0, 0);
    let mut times: Vec<Duration> = Vec::new();
    for query in queries {
        let exact = collection.query_vector(query).top_k(10).exact(true).run_numbers().unwrap();
        let found = collection.query_vector(query).top_k(10).run_numbers().unwrap();
        hits += found.iter().filter(|(id, _)| exact.iter().any(|(right, _)| right == id)).count();
        wanted += exact.len();
    }
    for query in queries.iter().cycle().take(3 * queries.len()) {
        times.push(timed(collection, query));
    }
    let speed = times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64();
    let stats = collection.index_stats().unwrap();
    let bytes = stats.disk_bytes as f64 / (stats.sealed_points + stats.live_points) as f64;
    (hits as f64 / wanted as f64, speed, bytes)
}

/// 30 % removed and 20 % replaced in random order, against the same documents from the beginning.
fn after_churn(vectors: &[Vec<f32>], queries: &[Vec<f32>]) {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = vectors.split_at(vectors.len() * 5 / 6);
    let (database, collection) = make(&folder.path().join("churned"));
    add(&collection, old.iter().enumerate());
    // A prime that divides no power of ten scatters the numbers.
    let order: Vec<usize> = (0..old.len()).map(|i| i * 7_919 % old.len()).collect();
    let (gone, rest) = order.split_at(old.len() * 3 / 10);
    let replaced = &rest[..(old.len() / 5).min(new.len())];
    for batch in gone.chunks(BATCH) {
        let ids: Vec<String> = batch.iter().map(|i| format!("{i}")).collect();
        collection.remove(&ids).unwrap();
    }
    add(&collection, replaced.iter().copied().zip(new));
    database.compact().unwrap();
    let (fresh_database, fresh) = make(&folder.path().join("fresh"));
    add(&fresh, rest[replaced.len()..].iter().map(|i| (*i, &old[*i])));
    add(&fresh, replaced.iter().copied().zip(new));
    fresh_database.compact().unwrap();
    for (name, collection) in [("churned", &collection), ("fresh", &fresh)].repeat(2) {
        let (recall, speed, bytes) = figures(collection, queries);
        eprintln!("{name}: recall@10 {recall:.4}, {speed:.0} queries/s, {bytes:.0} bytes a vector");
    }
}

fn main() {
    let (vectors, queries) = support::search::points_and_queries(50_000);
    while_adding(&vectors, &queries);
    after_churn(&vectors, &queries);
}
