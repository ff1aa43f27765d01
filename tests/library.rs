//! The library as a program uses it, with the caller's own vectors and with an encoder of its own.
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

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::{HashedWords, words};
use vdb::{CollectionOptions, Database, Document, Error, Filter, Mode};

#[test]
fn own_vectors_need_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let options = CollectionOptions::dimensions(2);
    let collection = database.collection("points", &options).unwrap();
    collection
        .add([
            Document::new("east", "sunrise").vector([2.0, 0.0]).field("n", 1),
            Document::new("north", "cold").vector([0.0, 0.5]).field("n", 2),
        ])
        .unwrap();
    let hits = collection.query_vector(&[1.0, 0.1]).top_k(5).run().unwrap();
    assert_eq!(hits.iter().map(|h| h.document.as_str()).collect::<Vec<_>>(), ["east", "north"]);
    // cos of the angle between (1, 0.1) and (1, 0).
    assert!((hits[0].score - 1.0 / 1.01f32.sqrt()).abs() < 1e-5);
    let hits = collection.query("cold").run().unwrap();
    assert_eq!(hits[0].document, "north");
    let filter = Filter::field("n").ge(2);
    let hits = collection.query_vector(&[1.0, 0.0]).filter(filter).run().unwrap();
    assert_eq!(hits.len(), 1);

    for bad in [vec![1.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 0.0], vec![0.0, 0.0]] {
        let error = collection.add([Document::new("bad", "").vector(bad.clone())]).unwrap_err();
        assert!(matches!(error, Error::Dimensions { .. } | Error::Vector { .. }), "{error}");
        assert!(collection.query_vector(&bad).run().is_err());
    }
    assert!(matches!(
        collection.add([Document::new("x", "no vector")]),
        Err(Error::NoEncoder { .. })
    ));
    assert!(matches!(collection.query("x").top_k(0).run(), Err(Error::Parameter { .. })));
    assert!(matches!(collection.query("x").mode(Mode::Dense).run(), Err(Error::NoEncoder { .. })));
    assert_eq!(collection.stats().documents, 2);
}

#[test]
fn what_was_added_is_there_after_reopening_and_found_by_every_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    {
        let database = Database::open(&path).unwrap();
        let collection = database.collection("c", &words()).unwrap();
        let report = collection
            .add([
                Document::new("a", "the quick brown fox"),
                Document::new("b", "a lazy sleeping dog").title("Animals").field("year", 2020),
            ])
            .unwrap();
        assert_eq!((report.added, report.chunks, report.embedded), (2, 2, 2));
        assert!(matches!(Database::open(&path), Err(Error::Locked { .. })));
    }
    let database = Database::open_existing(&path).unwrap();
    let collection = database.existing_collection("c", &words()).unwrap();
    for mode in [Mode::Hybrid, Mode::Dense, Mode::Keyword] {
        let hits = collection.query("lazy dog").mode(mode).run().unwrap();
        assert_eq!(hits[0].document, "b", "{mode}");
        assert_eq!(hits[0].text, "a lazy sleeping dog");
        assert_eq!(hits[0].title.as_deref(), Some("Animals"));
    }
    let stored = collection.get("b").unwrap().unwrap();
    assert_eq!(stored.text, "a lazy sleeping dog");
    assert_eq!(stored.chunks.len(), 1);
    assert!(database.verify().is_empty());
    assert!(collection.verify().unwrap().is_empty());
    assert!(matches!(
        database.existing_collection("nothing", &words()),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn a_replaced_document_leaves_nothing_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &words()).unwrap();
    let long = "alpha beta gamma delta. ".repeat(60);
    collection.add([Document::new("a", long), Document::new("b", "epsilon")]).unwrap();
    let before = collection.stats();
    let report =
        collection.add([Document::new("a", "zeta"), Document::new("b", "epsilon")]).unwrap();
    assert_eq!((report.replaced, report.unchanged, report.embedded), (1, 1, 1));
    assert!(collection.stats().chunks < before.chunks);
    assert!(collection.query("alpha").mode(Mode::Keyword).run().unwrap().is_empty());
    let hits = collection.query("alpha").mode(Mode::Dense).top_k(50).run().unwrap();
    assert_eq!(hits.len(), 2);
    assert_eq!(collection.remove(&["a", "missing"]).unwrap(), 1);
    assert_eq!(collection.remove(&["a"]).unwrap(), 0);
    assert!(collection.get("a").unwrap().is_none());
    // Of two with one id, the later one counts.
    collection.add([Document::new("d", "first"), Document::new("d", "second")]).unwrap();
    assert_eq!(collection.get("d").unwrap().unwrap().text, "second");
    assert_eq!(collection.stats().documents, 2);
    assert!(database.verify().is_empty());
    assert!(collection.verify().unwrap().is_empty());
}

#[test]
fn a_text_that_occurs_twice_is_embedded_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &words()).unwrap();
    let report = collection
        .add([Document::new("a", "same words"), Document::new("b", "same words")])
        .unwrap();
    assert_eq!((report.chunks, report.embedded), (2, 1));
    let report = collection.add([Document::new("c", "same words")]).unwrap();
    assert_eq!((report.chunks, report.embedded), (1, 0));
    // The vector survives the document that it was first made for.
    collection.remove(&["a", "c"]).unwrap();
    assert_eq!(collection.query("same").mode(Mode::Dense).run().unwrap().len(), 1);
    assert!(collection.verify().unwrap().is_empty());
}

#[test]
fn a_title_without_a_text_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &words()).unwrap();
    collection.add([Document::new("t", " ").title("lonely heading")]).unwrap();
    for mode in [Mode::Dense, Mode::Keyword] {
        let hits = collection.query("heading").mode(mode).run().unwrap();
        assert_eq!(hits[0].document, "t", "{mode}");
    }
}

#[test]
fn another_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    database.collection("c", &words()).unwrap();
    let other = CollectionOptions::encoder(HashedWords::new("other"));
    let error = database.collection("c", &other).unwrap_err();
    assert!(matches!(error, Error::ModelMismatch { .. }), "{error}");
    assert!(error.to_string().contains("words") && error.to_string().contains("other"));
}

/// A filter never leaves fewer than `top_k` where that many match.
#[test]
fn filters_are_applied_inside_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &words()).unwrap();
    let documents = (0..600).map(|i| {
        let topic = if i % 60 == 0 { "rare harbour" } else { "common meadow" };
        Document::new(format!("d{i}"), format!("{topic} number {i}")).field("rare", i % 60 == 0)
    });
    collection.add(documents).unwrap();
    let filter = Filter::parse("rare = true").unwrap();
    for mode in [Mode::Dense, Mode::Hybrid] {
        let hits = collection
            .query("common meadow")
            .mode(mode)
            .top_k(10)
            .filter(filter.clone())
            .run()
            .unwrap();
        assert_eq!(hits.len(), 10, "{mode}");
        assert!(hits.iter().all(|h| filter.matches(&h.metadata)));
    }
    let error = collection.query("x").filter(Filter::field("raer").eq(true)).run().unwrap_err();
    assert!(error.to_string().contains("known fields: rare"), "{error}");
}

#[test]
fn queries_run_while_documents_are_added_replaced_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("c", &words()).unwrap();
    collection.add([Document::new("stable", "granite mountain")]).unwrap();
    let done = AtomicBool::new(false);
    let queries = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for mode in [Mode::Dense, Mode::Keyword, Mode::Hybrid] {
                        let hits = collection.query("granite mountain").mode(mode).run().unwrap();
                        assert!(hits.iter().any(|h| h.document == "stable"), "{mode}");
                        queries.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for round in 0..40 {
            let id = format!("d{}", round % 10);
            collection.add([Document::new(id.clone(), format!("river {round}"))]).unwrap();
            // Found at once, by both sides.
            for mode in [Mode::Dense, Mode::Keyword] {
                let hits = collection.query(&format!("river {round}")).mode(mode).run().unwrap();
                assert_eq!(hits[0].document, id);
            }
            if round % 3 == 0 {
                collection.remove(&[id]).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(queries.load(Ordering::Relaxed) > 0);
    assert!(collection.verify().unwrap().is_empty());
}

/// Indexes are caches: gone, damaged or foreign, they are made again from the store.
#[test]
fn lost_indexes_come_back_from_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let fill = |n: usize| (0..n).map(|i| Document::new(format!("d{i}"), format!("word{i} text")));
    {
        let database = Database::open(&path).unwrap();
        database.collection("c", &words()).unwrap().add(fill(50)).unwrap();
    }
    let answers = |path: &std::path::Path| -> BTreeMap<String, Vec<String>> {
        let database = Database::open_existing(path).unwrap();
        let collection = database.existing_collection("c", &words()).unwrap();
        let found = [Mode::Dense, Mode::Keyword, Mode::Hybrid].map(|mode| {
            let hits = collection.query("word7 text").mode(mode).run().unwrap();
            (mode.to_string(), hits.into_iter().map(|h| h.document).collect())
        });
        assert!(collection.verify().unwrap().is_empty());
        found.into()
    };
    let right = answers(&path);
    let index = path.join("index");
    std::fs::remove_dir_all(&index).unwrap();
    assert_eq!(answers(&path), right);
    for name in ["vectors/SEGMENTS", "keywords/meta.json"] {
        std::fs::write(index.join("0").join(name), b"garbage").unwrap();
        assert_eq!(answers(&path), right, "{name}");
    }
}
