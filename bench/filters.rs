//! Filtered queries against an exact scan of the allowed set, on real embeddings: allowed sets of
//! several sizes that have nothing to do with the vectors, that go with them, and that lie far from the
//! query.
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

use support::search::{QUERIES, Search, fill, open, percentiles, points_and_queries};
use vdb::Filter;
use vdb::vector::dot;

/// Documents have a random rank, and one by their distance to the first query.
const RANKS: [&str; 2] = ["random", "distance"];

fn main() {
    let (vectors, mut queries) = points_and_queries(100_000);
    let points = vectors.len();
    let pivot = queries[0].clone();
    let mut ranks: Vec<usize> = (0..points).collect();
    ranks.sort_by(|a, b| dot(&vectors[*b], &pivot).total_cmp(&dot(&vectors[*a], &pivot)));
    let mut near = vec![0; points];
    for (rank, at) in ranks.into_iter().enumerate() {
        near[at] = rank;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    // A prime that divides no power of ten scatters the ranks.
    let random = |i: usize| (i * 7_919 % points) as i64;
    fill(&path, &vectors, |i| [(RANKS[0], random(i)), (RANKS[1], near[i] as i64)].into())
        .compact()
        .unwrap();
    let (_database, collection) = open(&path);

    queries.sort_by(|a, b| dot(b, &pivot).total_cmp(&dot(a, &pivot)));
    let (near, far) = (&queries[..200], &queries[QUERIES.saturating_sub(200)..]);
    for (kind, rank, queries) in [
        ("independent", RANKS[0], near),
        ("correlated", RANKS[1], near),
        ("contradicting", RANKS[1], far),
    ] {
        for part in [0.5, 0.1, 0.03, 0.01, 0.001] {
            let filter = Filter::field(rank).lt((points as f64 * part) as i64);
            let search = Search { filter: Some(&filter), ..Search::new(&collection) };
            // The set itself is found once and kept.
            search.run(&queries[0], false);
            let (recall, [times, exact]) = search.measure(queries);
            eprintln!(
                "{kind}, {:.1} %: recall@10 {recall:.4}, {}; exact {}",
                part * 100.0,
                percentiles(&times),
                percentiles(&exact)
            );
        }
    }
}
