//! A collection of embeddings, asked and measured.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use vdb::{Collection, CollectionOptions, Database, Document, Filter};

pub const QUERIES: usize = 1000;

/// Points besides [`QUERIES`] that are held out, and these; `VDB_BENCH_POINTS` or `usual` points.
pub fn points_and_queries(usual: usize) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let points =
        std::env::var("VDB_BENCH_POINTS").ok().and_then(|v| v.parse().ok()).unwrap_or(usual);
    let mut points = super::embeddings(points + QUERIES);
    let queries = points.split_off(points.len().saturating_sub(QUERIES));
    (points, queries)
}

/// Makes a database of `vectors`; `fields` gives each number's.
pub fn fill(
    path: &Path,
    vectors: &[Vec<f32>],
    fields: impl Fn(usize) -> BTreeMap<&'static str, i64>,
) -> Database {
    let database = Database::open(path).unwrap();
    let collection = database.collection("bench", &CollectionOptions::dimensions(384)).unwrap();
    let started = Instant::now();
    for (start, part) in vectors.chunks(4096).enumerate() {
        let documents = (start * 4096..).zip(part).map(|(i, vector)| {
            let document = Document::new(format!("{i}"), "").vector(vector.as_slice());
            fields(i).into_iter().fold(document, |d, (name, value)| d.field(name, value))
        });
        collection.add(documents).unwrap();
    }
    eprintln!("{} points added in {:.1?}", vectors.len(), started.elapsed());
    database
}

pub fn open(path: &Path) -> (Database, Collection) {
    let database = Database::open_existing(path).unwrap();
    let collection = database.existing_collection("bench", &CollectionOptions::default()).unwrap();
    (database, collection)
}

#[derive(Clone, Copy)]
pub struct Search<'a> {
    pub collection: &'a Collection,
    pub top_k: usize,
    pub ef: Option<usize>,
    pub filter: Option<&'a Filter>,
}

impl<'a> Search<'a> {
    /// The default.
    pub fn new(collection: &'a Collection) -> Self {
        Self { collection, top_k: 10, ef: None, filter: None }
    }

    pub fn run(&self, query: &[f32], exact: bool) -> Vec<u32> {
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
    pub fn measure(&self, queries: &[Vec<f32>]) -> (f64, [Vec<Duration>; 2]) {
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

/// Of sorted times.
pub fn percentiles(sorted: &[Duration]) -> String {
    let at = |part: f64| sorted[(part * (sorted.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3}, p95 {:.3}, p99 {:.3} ms", at(0.5), at(0.95), at(0.99))
}
