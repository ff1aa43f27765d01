//! vdb as a program of `bench/peers`: builds an index of the vectors in a folder, then answers.
//!
//! Building is what a lost index costs: every vector read from the store and linked, on all threads.
//! `VDB_BENCH_MEMORY` names a memory choice other than `speed`.
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

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::time::Instant;
use vdb::{Collection, CollectionOptions, Database, Document, Memory, Metric};

fn vectors(path: &Path, dimensions: usize) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let floats: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    floats.chunks_exact(dimensions).map(<[f32]>::to_vec).collect()
}

/// Documents are added in the order of the file, so chunk numbers are its rows.
fn fill(database: &Path, base: &Path, dimensions: usize) {
    let database = Database::open(database).unwrap();
    let metric = match std::env::var("PEERS_METRIC").as_deref() {
        Ok("l2") => Metric::Euclidean,
        _ => Metric::Cosine,
    };
    let memory = std::env::var("VDB_BENCH_MEMORY").map_or(Memory::Speed, |m| m.parse().unwrap());
    let options = CollectionOptions::dimensions(dimensions).metric(metric).memory(memory);
    let collection = database.collection("peer", &options).unwrap();
    for (start, part) in vectors(base, dimensions).chunks(4096).enumerate() {
        let documents = part
            .iter()
            .enumerate()
            .map(|(i, v)| Document::new(format!("{}", start * 4096 + i), "").vector(v.as_slice()));
        collection.add(documents).unwrap();
    }
}

fn index_bytes(folder: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let data = entry.metadata().unwrap();
        total += if data.is_dir() { index_bytes(&entry.path()) } else { data.len() };
    }
    total
}

fn answer(collection: &Collection, queries: &[Vec<f32>], ef: usize, k: usize) -> (f64, Vec<i32>) {
    let mut ids = Vec::with_capacity(queries.len() * k);
    let started = Instant::now();
    for query in queries {
        let found = collection.query_vector(query).ef_search(ef).top_k(k).run_numbers().unwrap();
        let end = ids.len() + k;
        ids.extend(found.iter().map(|(id, _)| *id as i32));
        ids.resize(end, -1);
    }
    (started.elapsed().as_secs_f64(), ids)
}

fn main() {
    let Some(folder) = std::env::args().skip(1).find(|a| !a.starts_with("--")).map(PathBuf::from)
    else {
        eprintln!("expected a folder with base.f32 and queries.f32, see bench/peers/README.md");
        return;
    };
    let dimensions: usize = std::env::var("PEERS_DIM").map_or(384, |d| d.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("db");
    fill(&path, &folder.join("base.f32"), dimensions);
    let queries = vectors(&folder.join("queries.f32"), dimensions);
    let index = path.join("index/0/vectors");
    fs::remove_dir_all(&index).unwrap();
    let started = Instant::now();
    let database = Database::open_existing(&path).unwrap();
    let collection = database.existing_collection("peer", &CollectionOptions::default()).unwrap();
    answer(&collection, &queries[..1], 64, 10);
    let build_s = started.elapsed().as_secs_f64();
    let points = fs::metadata(folder.join("base.f32")).unwrap().len() / (4 * dimensions as u64);
    let bytes = index_bytes(&index) as f64 / points as f64;
    println!("{{\"event\": \"ready\", \"build_s\": {build_s}, \"bytes_per_vector\": {bytes}}}");
    let out = scratch.path().join("ids.i32");
    for line in std::io::stdin().lock().lines() {
        let asked: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let field = |name: &str| asked[name].as_u64().unwrap() as usize;
        let (seconds, ids) = answer(&collection, &queries, field("ef"), field("k"));
        fs::write(&out, ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        println!("{{\"seconds\": {seconds}, \"ids\": {}}}", serde_json::json!(out));
    }
}
