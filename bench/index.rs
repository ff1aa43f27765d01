//! Recall against exact search by ef, latency, filters, and opening, on real embeddings.
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
use std::path::Path;
use std::time::{Duration, Instant};
use vdb::vector::dot;
use vdb::{Collection, CollectionOptions, Database, Document, Filter};

const QUERIES: usize = 1000;
/// Documents have a random rank, and one by their distance to the first query.
const RANKS: [&str; 2] = ["random", "distance"];

#[derive(Clone, Copy)]
struct Search<'a> {
    collection: &'a Collection,
    top_k: usize,
    ef: Option<usize>,
    filter: Option<&'a Filter>,
}

impl Search<'_> {
    fn run(&self, query: &[f32], exact: bool) -> Vec<u32> {
        let mut asked = self.collection.query_vector(query).top_k(self.top_k).exact(exact);
        if let Some(ef) = self.ef {
            asked = asked.ef_search(ef);
        }
        if let Some(filter) = self.filter {
            asked = asked.filter(filter.clone());
        }
        asked.run_numbers().unwrap().into_iter().map(|(id, _)| id).collect()
    }

    /// Recall against exact search, and how long each query took, sorted, both ways.
    fn measure(&self, queries: &[Vec<f32>]) -> (f64, [Vec<Duration>; 2]) {
        let mut times = [Vec::new(), Vec::new()];
        let (mut hits, mut wanted) = (0, 0);
        for query in queries {
            let [found, right] = [false, true].map(|exact| {
                let started = Instant::now();
                let found = self.run(query, exact);
                times[usize::from(exact)].push(started.elapsed());
                found
            });
            assert_eq!(found.len(), right.len());
            hits += found.iter().filter(|id| right.contains(id)).count();
            wanted += right.len();
        }
        times.iter_mut().for_each(|t| t.sort_unstable());
        (hits as f64 / wanted as f64, times)
    }
}

fn percentiles(sorted: &[Duration]) -> String {
    let at = |part: f64| sorted[(part * (sorted.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3}, p95 {:.3}, p99 {:.3} ms", at(0.5), at(0.95), at(0.99))
}

fn fill(path: &Path, vectors: &[Vec<f32>], pivot: &[f32]) {
    let database = Database::open(path).unwrap();
    let collection = database.collection("bench", &CollectionOptions::dimensions(384)).unwrap();
    let mut ranks: Vec<usize> = (0..vectors.len()).collect();
    ranks.sort_by(|a, b| dot(&vectors[*b], pivot).total_cmp(&dot(&vectors[*a], pivot)));
    let mut near = vec![0; vectors.len()];
    for (rank, at) in ranks.into_iter().enumerate() {
        near[at] = rank;
    }
    let started = Instant::now();
    let points = vectors.len();
    for start in (0..points).step_by(2000) {
        let documents = (start..(start + 2000).min(points)).map(|i| {
            // A prime that divides no power of ten scatters the ranks.
            let random = i * 7_919 % points;
            Document::new(format!("{i}"), "")
                .vector(vectors[i].as_slice())
                .field(RANKS[0], random as i64)
                .field(RANKS[1], near[i] as i64)
        });
        collection.add(documents).unwrap();
    }
    eprintln!("{points} points added in {:?}", started.elapsed());
    let started = Instant::now();
    database.compact().unwrap();
    eprintln!("compacted in {:?}", started.elapsed());
}

fn index(c: &mut Criterion) {
    let points: usize =
        std::env::var("VDB_BENCH_POINTS").ok().and_then(|v| v.parse().ok()).unwrap_or(100_000);
    let mut vectors = support::embeddings(points + QUERIES);
    let mut queries = vectors.split_off(vectors.len().saturating_sub(QUERIES));
    let pivot = queries[0].clone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fill(&path, &vectors, &pivot);

    let started = Instant::now();
    let database = Database::open_existing(&path).unwrap();
    let collection = database.existing_collection("bench", &CollectionOptions::default()).unwrap();
    let opened = started.elapsed();
    let all = Search { collection: &collection, top_k: 10, ef: None, filter: None };
    all.run(&queries[1], false);
    eprintln!("opened in {opened:?}, first answer after {:?}", started.elapsed());

    for top_k in [1, 10, 100] {
        for ef in [32, 64, 128, 256, 512] {
            let (recall, [times, _]) =
                Search { top_k, ef: Some(ef), ..all }.measure(&queries[..200]);
            eprintln!("recall@{top_k} at ef {ef}: {recall:.4}, {}", percentiles(&times));
        }
    }
    let (recall, [times, exact]) = all.measure(&queries);
    eprintln!("default: recall@10 {recall:.4}, {}", percentiles(&times));
    eprintln!("exact: {}", percentiles(&exact));

    queries.sort_by(|a, b| dot(b, &pivot).total_cmp(&dot(a, &pivot)));
    let (near, far) = (&queries[..200], &queries[QUERIES.saturating_sub(200)..]);
    for (kind, rank, queries) in [
        ("independent", RANKS[0], near),
        ("correlated", RANKS[1], near),
        ("contradicting", RANKS[1], far),
    ] {
        for part in [0.5, 0.1, 0.03, 0.01, 0.001] {
            let filter = Filter::field(rank).lt((points as f64 * part) as i64);
            let (recall, [times, exact]) = Search { filter: Some(&filter), ..all }.measure(queries);
            eprintln!(
                "filter {kind}, {:.1} %: recall@10 {recall:.4}, {}; exact {}",
                part * 100.0,
                percentiles(&times),
                percentiles(&exact)
            );
        }
    }

    let mut next = queries.iter().cycle();
    c.bench_function("query/default", |b| b.iter(|| all.run(next.next().unwrap(), false)));
    c.bench_function("query/exact", |b| b.iter(|| all.run(next.next().unwrap(), true)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = index
}
criterion_main!(benches);
