//! Recall@1, @10 and @100 against exact search by ef, and queries a second at each, on real embeddings.
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

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use support::search::{Search, fill, open, points_and_queries};

fn recall(c: &mut Criterion) {
    let (vectors, queries) = points_and_queries(100_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    fill(&path, &vectors, |_| [].into()).compact().unwrap();
    let (_database, collection) = open(&path);
    for top_k in [1, 10, 100] {
        let mut group = c.benchmark_group(format!("recall@{top_k}"));
        group.throughput(Throughput::Elements(1));
        for ef in [None, Some(32), Some(64), Some(128), Some(256), Some(512)] {
            let search = Search { top_k, ef, ..Search::new(&collection) };
            let name = ef.map_or_else(|| "default".to_owned(), |ef| format!("ef {ef}"));
            let (recall, _) = search.measure(&queries[..200]);
            eprintln!("recall@{top_k}, {name}: {recall:.4}");
            let mut next = queries.iter().cycle();
            group.bench_function(name, |b| b.iter(|| search.run(next.next().unwrap(), false)));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = recall
}
criterion_main!(benches);
