//! What a larger collection costs: building, searching, memory, opening.
//!
//! 10,000, 50,000, 250,000 and a million texts, chosen at random from the sentences of the shared data,
//! their clauses, and pairs of clauses that follow each other; 1,000 more are the queries.
//! `VDB_BENCH_SIZES` names other sizes; `VDB_BENCH_SVG` a file for the plot.
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

use std::time::Instant;
use support::plot::{self, Panel};
use support::search::{QUERIES, Search, fill, open};

const WANTED: f64 = 0.95;
const ROUNDS: usize = 5;

/// Recall@10 and queries a second.
fn measure(search: Search<'_>, queries: &[Vec<f32>], right: &[Vec<u32>]) -> (f64, f64) {
    let mut hits = 0;
    let started = Instant::now();
    for (query, right) in queries.iter().zip(right) {
        hits += search.run(query, false).iter().filter(|id| right.contains(id)).count();
    }
    let speed = queries.len() as f64 / started.elapsed().as_secs_f64();
    (hits as f64 / (10 * queries.len()) as f64, speed)
}

/// The speed at a recall between two measured ones, along a line of the logarithms.
fn at_recall(curve: &[(f64, f64)]) -> Option<f64> {
    curve.windows(2).find_map(|pair| {
        let [(r0, s0), (r1, s1)] = [pair[0], pair[1]];
        let inside = r0 < WANTED && WANTED <= r1;
        let part = ((1.0 - WANTED).ln() - (1.0 - r0).ln()) / ((1.0 - r1).ln() - (1.0 - r0).ln());
        inside.then(|| (s0.ln() + part * (s1.ln() - s0.ln())).exp())
    })
}

fn main() {
    let sizes = std::env::var("VDB_BENCH_SIZES")
        .unwrap_or_else(|_| "10000,50000,250000,1000000".to_owned());
    let vectors = support::chunk_embeddings();
    let (queries, base) = vectors.split_at(QUERIES.min(vectors.len() / 2));
    eprintln!("{} texts besides {} queries", base.len(), queries.len());
    eprintln!(
        "| points | build s | q/s at recall {WANTED} | first open ms | open ms | first query ms | bytes a vector |"
    );
    let mut panels = [
        "building from the store, seconds",
        "queries a second at recall@10 of 0.95",
        "opening the database, ms",
        "opening the index and answering first, ms",
    ]
    .map(|name| Panel { name, points: Vec::new() });
    for size in sizes.split(',').map(|size| size.trim().parse::<usize>().unwrap()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        fill(&path, &base[..size.min(base.len())], |_| [].into());
        // Building is what a lost index costs: every vector read from the store and linked.
        std::fs::remove_dir_all(path.join("index/0/vectors")).unwrap();
        let started = Instant::now();
        let (database, collection) = open(&path);
        collection.query_vector(&queries[0]).run_numbers().unwrap();
        let build = started.elapsed().as_secs_f64();
        drop((collection, database));
        let mut opened = [0.0; 2];
        for opened in &mut opened {
            let started = Instant::now();
            drop(open(&path));
            *opened = started.elapsed().as_secs_f64() * 1e3;
        }
        let (_database, collection) = open(&path);
        let started = Instant::now();
        collection.query_vector(&queries[0]).run_numbers().unwrap();
        let first = started.elapsed().as_secs_f64() * 1e3;
        let search = Search::new(&collection);
        let right: Vec<Vec<u32>> = queries.iter().map(|query| search.run(query, true)).collect();
        let efs = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384];
        // Round after round, so that a slow moment is not all of one ef.
        let mut runs = vec![Vec::new(); efs.len()];
        for _ in 0..ROUNDS {
            for (runs, ef) in runs.iter_mut().zip(efs) {
                runs.push(measure(Search { ef: Some(ef), ..search }, queries, &right));
            }
        }
        let curve: Vec<(f64, f64)> = runs
            .iter_mut()
            .map(|runs| {
                runs.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
                runs[ROUNDS / 2]
            })
            .collect();
        let speed = at_recall(&curve);
        let values = [Some(build), speed, Some(opened[1]), Some(first)];
        for (panel, value) in panels.iter_mut().zip(values) {
            panel.points.extend(value.map(|value| (size as f64, value)));
        }
        let speed = speed.map_or_else(
            || format!("recall {:.3} at ef 16 already", curve[0].0),
            |s| format!("{s:.0}"),
        );
        let stats = collection.index_stats().unwrap();
        let bytes = stats.disk_bytes as f64 / (stats.sealed_points + stats.live_points) as f64;
        eprintln!(
            "| {size} | {build:.1} | {speed} | {:.1} | {:.1} | {first:.2} | {bytes:.0} |",
            opened[0], opened[1]
        );
        eprintln!("{curve:?}");
    }
    if let Ok(path) = std::env::var("VDB_BENCH_SVG") {
        std::fs::write(path, plot::draw(&panels)).unwrap();
    }
}
