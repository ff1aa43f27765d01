//! Recall@10 against exact search by ef, and latency, live and sealed, on real embeddings.
//!
//! `VDB_BENCH_POINTS` sets the size (default 100,000).
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

use criterion::{Criterion, criterion_group, criterion_main};
use vdb::{Collection, CollectionOptions, Database, Document};

const QUERIES: usize = 500;

fn answers(collection: &Collection, query: &[f32], ef: usize, exact: bool) -> Vec<u32> {
    let hits = collection.query_vector(query).ef_search(ef).exact(exact).run().unwrap();
    hits.into_iter().map(|hit| hit.chunk).collect()
}

fn recall(collection: &Collection, queries: &[Vec<f32>], right: &[Vec<u32>], ef: usize) -> f64 {
    let found = queries.iter().zip(right).map(|(query, right)| {
        let found = answers(collection, query, ef, false);
        found.iter().filter(|id| right.contains(id)).count() as f64 / right.len() as f64
    });
    found.sum::<f64>() / queries.len() as f64
}

fn index(c: &mut Criterion) {
    let points: usize =
        std::env::var("VDB_BENCH_POINTS").ok().and_then(|v| v.parse().ok()).unwrap_or(100_000);
    let mut vectors = support::embeddings(points + QUERIES);
    let queries = vectors.split_off(vectors.len().saturating_sub(QUERIES));
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let options = CollectionOptions::dimensions(384);
    let collection = database.collection("bench", &options).unwrap();
    // One commit: the live index holds all points.
    let documents = vectors.iter().enumerate();
    let documents = documents.map(|(i, v)| Document::new(format!("{i}"), "").vector(v.as_slice()));
    let started = std::time::Instant::now();
    collection.add(documents).unwrap();
    eprintln!("{} points added in {:?}", vectors.len(), started.elapsed());
    let right: Vec<Vec<u32>> = queries.iter().map(|q| answers(&collection, q, 1, true)).collect();
    for ef in [32, 64, 100, 128, 192, 256] {
        let recall = recall(&collection, &queries, &right, ef);
        eprintln!("recall@10 at ef {ef}: {recall:.4}");
        let mut next = queries.iter().cycle();
        c.bench_function(&format!("query/ef {ef}"), |b| {
            b.iter(|| answers(&collection, next.next().unwrap(), ef, false));
        });
    }
    let mut next = queries.iter().cycle();
    c.bench_function("query/exact", |b| {
        b.iter(|| answers(&collection, next.next().unwrap(), 1, true));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = index
}
criterion_main!(benches);
