//! Collections by every metric, as a program uses them.
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

#[cfg(feature = "cli")]
mod support;

use std::path::Path;
use vdb::{Collection, CollectionOptions, Database, Document, Error, Filter, Hit, Metric};

/// Of different lengths, and one of zeros where that is allowed.
const VECTORS: [(&str, [f32; 2]); 5] = [
    ("long", [30.0, 40.0]),
    ("short", [0.6, 0.8]),
    ("east", [2.0, 0.0]),
    ("back", [-3.0, 0.0]),
    ("zero", [0.0, 0.0]),
];

fn documents(metric: Metric) -> Vec<Document> {
    let all = VECTORS.iter().filter(|(id, _)| metric != Metric::Cosine || *id != "zero");
    all.map(|(id, v)| Document::new(*id, *id).vector(*v).field("even", id.len() % 2 == 0)).collect()
}

fn options(metric: Metric) -> CollectionOptions {
    CollectionOptions::dimensions(2).metric(metric)
}

fn make(path: &Path, metric: Metric) -> (Database, Collection) {
    let database = Database::open(path).unwrap();
    let collection = database.collection("c", &options(metric)).unwrap();
    collection.add(documents(metric)).unwrap();
    (database, collection)
}

fn found(hits: &[Hit]) -> Vec<(&str, f32)> {
    hits.iter().map(|hit| (hit.document.as_str(), hit.score)).collect()
}

/// For the query (1, 1), by hand: best first, with distance and score.
fn expected(metric: Metric) -> Vec<(&'static str, f32, f32)> {
    match metric {
        // Cosines: 7/5√2 twice, so by number; 1/√2; -1/√2.
        Metric::Cosine => {
            let (steep, flat) = (1.4 / 2f32.sqrt(), 1.0 / 2f32.sqrt());
            let hits = [("long", steep), ("short", steep), ("east", flat), ("back", -flat)];
            hits.map(|(id, score)| (id, 1.0 - score, score)).to_vec()
        }
        Metric::Dot => {
            let hits =
                [("long", 70.0), ("east", 2.0), ("short", 1.4), ("zero", 0.0), ("back", -3.0)];
            hits.map(|(id, score)| (id, -score, score)).to_vec()
        }
        // Squared distances 0.2, 2, 2, 17, 29² + 39².
        _ => {
            let hits =
                [("short", 0.2f32), ("east", 2.0), ("zero", 2.0), ("back", 17.0), ("long", 2362.0)];
            hits.map(|(id, square)| (id, square.sqrt(), -square.sqrt())).to_vec()
        }
    }
}

fn check(collection: &Collection, metric: Metric) {
    for exact in [false, true] {
        let query = collection.query_vector(&[1.0, 1.0]).exact(exact);
        let hits = query.run().unwrap();
        let expected = expected(metric);
        assert_eq!(hits.len(), expected.len());
        for (hit, (id, distance, score)) in hits.iter().zip(&expected) {
            let tolerance = 1e-5 * distance.abs().max(1.0);
            assert!((hit.score - score).abs() < tolerance, "{metric} {id}: {}", hit.score);
            let told = hit.explanation.distance.unwrap();
            assert!((told - distance).abs() < tolerance, "{metric} {id}: {told}");
            // Two directions that are the same, whose cosines differ by rounding alone.
            let tie = metric == Metric::Cosine && ["long", "short"].contains(id);
            assert!(hit.document == *id || tie, "{metric}: {} for {id}", hit.document);
        }
        let numbers = query.run_numbers().unwrap();
        for ((_, score), (_, _, right)) in numbers.iter().zip(&expected) {
            // Of codes: a thousandth of both lengths (of which the longest here is 50).
            assert!(
                (score - right).abs() < 2e-3 * right.abs().max(1.5),
                "{metric}: {score} {right}"
            );
        }
        let even = query.filter(Filter::parse("even = true").unwrap()).run().unwrap();
        assert!(even.iter().all(|hit| hit.document.len() % 2 == 0));
        assert!(even.len() >= 3);
    }
}

#[test]
fn distances_and_scores_are_those_of_the_metric() {
    for metric in Metric::ALL {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        {
            let (_database, collection) = make(&path, metric);
            check(&collection, metric);
        }
        // From its files.
        let database = Database::open_existing(&path).unwrap();
        let collection = database.existing_collection("c", &CollectionOptions::default()).unwrap();
        assert_eq!(collection.stats().metric, metric);
        assert_eq!(database.collections().unwrap()[0].metric, metric);
        check(&collection, metric);
        assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
        database.compact().unwrap();
        check(&collection, metric);
        assert_eq!(collection.verify_files().unwrap(), Vec::<String>::new());
        assert_eq!(collection.take_notices(), Vec::<String>::new());
    }
}

#[test]
fn the_default_is_cosine() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &CollectionOptions::dimensions(2)).unwrap();
    assert_eq!(collection.stats().metric, Metric::Cosine);
    assert!(database.collection("c", &options(Metric::Cosine)).is_ok());
}

#[test]
fn a_metric_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (database, _) = make(&folder.path().join("db"), Metric::Euclidean);
    for other in [Metric::Cosine, Metric::Dot] {
        let error = database.collection("c", &options(other)).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "metric", .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(other.name()) && said.contains("by euclidean"), "{said}");
        assert!(database.existing_collection("c", &options(other)).is_err());
    }
    // Not named, or named right.
    assert!(database.collection("c", &CollectionOptions::dimensions(2)).is_ok());
    assert!(database.collection("c", &options(Metric::Euclidean)).is_ok());
}

#[test]
fn vectors_that_cannot_be_compared_are_refused() {
    for metric in [Metric::Dot, Metric::Euclidean] {
        let folder = tempfile::tempdir().unwrap();
        let (_database, collection) = make(&folder.path().join("db"), metric);
        for bad in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [1e16, 0.0], [8e14, 8e14]] {
            let error = collection.add([Document::new("bad", "").vector(bad)]).unwrap_err();
            assert!(matches!(error, Error::Vector { .. }), "{error}");
            assert!(matches!(collection.query_vector(&bad).run(), Err(Error::Vector { .. })));
        }
        assert!(collection.query_vector(&[0.0, 0.0]).run().is_ok());
        assert!(collection.query_vector(&[1.0]).run().is_err());
        assert_eq!(collection.stats().documents, 5);
        // As they were given.
        let mut export = Vec::new();
        collection.export(&mut export).unwrap();
        assert!(String::from_utf8(export).unwrap().contains("\"vector\":[30.0,40.0]"));
    }
}

#[test]
fn a_metric_goes_where_the_collection_goes() {
    for metric in Metric::ALL {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut export = Vec::new();
        {
            let (_database, collection) = make(&at("db"), metric);
            collection.export(&mut export).unwrap();
        }
        let whole = |database: &Database| {
            let collection =
                database.existing_collection("c", &CollectionOptions::default()).unwrap();
            assert_eq!(collection.stats().metric, metric);
            check(&collection, metric);
            assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
            assert!(database.verify().is_empty());
        };
        Database::backup(at("db"), at("backup")).unwrap();
        Database::restore(at("backup"), at("restored")).unwrap();
        whole(&Database::open_existing(at("restored")).unwrap());
        assert_eq!(Database::repair(at("db"), at("repaired")).unwrap().lost, Vec::<String>::new());
        whole(&Database::open_existing(at("repaired")).unwrap());
        let database = Database::open(at("imported")).unwrap();
        database.import("c", "export", &mut export.as_slice()).unwrap();
        whole(&database);
        #[cfg(feature = "arrow")]
        {
            let mut table = Vec::new();
            let old = database.existing_collection("c", &CollectionOptions::default()).unwrap();
            old.export_arrow(&mut table).unwrap();
            let database = Database::open(at("table")).unwrap();
            database.import_arrow("c", "table", &mut std::io::Cursor::new(table)).unwrap();
            whole(&database);
        }
        // Into a collection by another.
        let other = if metric == Metric::Dot { Metric::Euclidean } else { Metric::Dot };
        database.collection("other", &options(other)).unwrap();
        let error = database.import("other", "export", &mut export.as_slice()).unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "metric", .. }), "{error}");
        let text = String::from_utf8(export).unwrap();
        assert!(text.contains(&format!("\"metric\":\"{metric}\"")));
        // A program that knows only cosine reads what is by cosine, and is told of the rest.
        let version = if metric == Metric::Cosine { 1 } else { 2 };
        assert!(text.starts_with(&format!("{{\"vdb_export\":{version},")), "{text}");
        if metric == Metric::Cosine {
            let before = text.replace(",\"metric\":\"cosine\"", "");
            assert_ne!(before, text);
            database.import("before", "export", &mut before.as_bytes()).unwrap();
            let before = database.existing_collection("before", &options(Metric::Cosine)).unwrap();
            assert_eq!(before.stats().documents, 4);
        }
    }
}

/// More than are compared one by one, sealed in several files, through the whole database.
#[test]
fn graphs_find_what_exact_search_finds() {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    let mut vectors = |count: usize| -> Vec<Vec<f32>> {
        let each = |_| {
            let length = 100f32.powf(next());
            (0..24).map(|_| length * next()).collect()
        };
        (0..count).map(each).collect()
    };
    let (points, queries) = (vectors(6000), vectors(30));
    for metric in Metric::ALL {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("db")).unwrap();
        let options = CollectionOptions::dimensions(24).metric(metric);
        let collection = database.collection("c", &options).unwrap();
        let document =
            |(i, v): (usize, &Vec<f32>)| Document::new(i.to_string(), "").vector(v.as_slice());
        let mut documents = points.iter().enumerate().map(document);
        for _ in 0..2 {
            collection.add(documents.by_ref().take(3000)).unwrap();
            collection.save_indexes().unwrap();
        }
        let mut same = 0;
        for query in &queries {
            let [graph, exact] = [false, true]
                .map(|exact| collection.query_vector(query).exact(exact).run().unwrap());
            let exact = found(&exact);
            same += found(&graph).iter().filter(|hit| exact.contains(hit)).count();
        }
        assert!(same >= 285, "{metric}: {same} of 300");
        assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    }
}

#[cfg(feature = "cli")]
#[test]
fn stats_tell_the_metric() {
    let folder = tempfile::tempdir().unwrap();
    drop(make(&folder.path().join(".vdb"), Metric::Dot));
    let (status, out, _) = support::vdb(folder.path(), &["stats"]);
    assert_eq!(status, 0);
    assert!(out.contains("c: 5 documents, 5 chunks, 2 dimensions, dot,"), "{out}");
    let (_, out, _) = support::vdb(folder.path(), &["stats", "--json"]);
    assert!(out.contains("\"metric\":\"dot\""), "{out}");
}
