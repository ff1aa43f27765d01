//! How long a query takes: the first after opening, with the files in the page cache and without, and
//! those that follow, on one thread and on all, on real embeddings.
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
use support::search::{Search, fill, open, percentiles, points_and_queries};
use vdb::{CollectionOptions, Database};

const OPENINGS: usize = 20;

/// Opens the database, then a collection, and asks a first time.
fn first(path: &Path, query: &[f32]) -> [Duration; 3] {
    let started = Instant::now();
    let database = Database::open_existing(path).unwrap();
    let opened = started.elapsed();
    let collection = database.existing_collection("bench", &CollectionOptions::default()).unwrap();
    let there = started.elapsed();
    Search::new(&collection).run(query, false);
    [opened, there - opened, started.elapsed() - there]
}

/// Gives up what the page cache holds of the files in `folder`.
#[cfg(target_os = "linux")]
fn forget(folder: &Path) {
    use std::os::fd::AsRawFd as _;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.metadata().unwrap().is_dir() {
            forget(&entry.path());
        } else if let Ok(file) = std::fs::File::open(entry.path()) {
            #[expect(unsafe_code, reason = "there is no safe form")]
            // SAFETY: it takes numbers alone.
            unsafe {
                libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
            }
        }
    }
}

fn openings(path: &Path, queries: &[Vec<f32>], cold: bool) {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for query in &queries[..OPENINGS] {
        #[cfg(target_os = "linux")]
        if cold {
            forget(path);
        }
        for (times, time) in times.iter_mut().zip(first(path, query)) {
            times.push(time);
        }
    }
    times.iter_mut().for_each(|t| t.sort_unstable());
    let state = if cold { "cold" } else { "warm" };
    for (what, times) in ["database", "collection", "first query"].iter().zip(&times) {
        eprintln!("{state}, {what}: {}", percentiles(times));
    }
}

fn timed(search: &Search<'_>, queries: &[Vec<f32>]) -> Vec<Duration> {
    let each = queries.iter().cycle().take(5 * queries.len()).map(|query| {
        let started = Instant::now();
        search.run(query, false);
        started.elapsed()
    });
    each.collect()
}

fn latency(c: &mut Criterion) {
    let (vectors, queries) = points_and_queries(100_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fill(&path, &vectors, |_| [].into()).compact().unwrap();
    openings(&path, &queries, false);
    #[cfg(target_os = "linux")]
    openings(&path, &queries, true);

    let (_database, collection) = open(&path);
    let search = Search::new(&collection);
    let (recall, [_, exact]) = search.measure(&queries);
    eprintln!("default: recall@10 {recall:.4}; exact: {}", percentiles(&exact));
    for threads in [1, std::thread::available_parallelism().map_or(1, usize::from)] {
        let started = Instant::now();
        let mut times: Vec<Duration> = std::thread::scope(|scope| {
            let running: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| timed(&search, &queries))).collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let speed = times.len() as f64 / started.elapsed().as_secs_f64();
        times.sort_unstable();
        eprintln!("{threads} threads: {}, {speed:.0} queries/s", percentiles(&times));
    }
    let mut next = queries.iter().cycle();
    c.bench_function("latency/default", |b| b.iter(|| search.run(next.next().unwrap(), false)));
    c.bench_function("latency/exact", |b| b.iter(|| search.run(next.next().unwrap(), true)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = latency
}
criterion_main!(benches);
