//! Databases of every released format, as they were written then, open now.
//!
//! `cargo test --release --test format -- --ignored` writes the fixture of the present format, once,
//! when a format is new; after a release it is never written again.
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

use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use support::{files, words};
use vdb::{CollectionOptions, Database, Document, Filter, Mode};

/// The present format: format 1, with collection records of version 4 and segment files of version 4.
const FIXTURE: &str = "tests/golden/format-1-collections-4.zip";
/// With collection records of versions 2 and 3.
const OLDER_COLLECTIONS: [&str; 2] =
    ["tests/golden/format-1-segments-4.zip", "tests/golden/format-1-collections-3.zip"];
/// With segment files of versions 1, 2 and 3, and before the last with collection records of version 1.
const OLDER: [&str; 3] = [
    "tests/golden/format-1.zip",
    "tests/golden/format-1-segments-2.zip",
    "tests/golden/format-1-segments-3.zip",
];

/// What the fixture was made of: forty documents, ten of them replaced and five removed.
fn document(i: usize, revision: usize) -> Document {
    Document::new(
        format!("d{i}"),
        format!("document {i} revision {revision} {}", "word ".repeat(i)),
    )
    .title(format!("Title {i}"))
    .field("number", i as i64)
    .field("even", i.is_multiple_of(2))
}

fn final_documents() -> Vec<Document> {
    let revised = (0..40).map(|i| document(i, usize::from(i % 4 == 0)));
    revised.filter(|d| !["d5", "d6", "d7", "d8", "d9"].contains(&d.id.as_str())).collect()
}

#[test]
fn format_1_opens() {
    opens(FIXTURE, &[]);
    OLDER_COLLECTIONS.into_iter().for_each(|fixture| opens(fixture, &[]));
}

/// An index is a cache, so one of an older version is made anew, and that is told.
#[test]
fn format_1_with_older_segments_opens() {
    let told = "the vector index: rebuilt from the store: its files are of an older version";
    for fixture in OLDER {
        opens(fixture, &[told]);
    }
}

fn opens(fixture: &str, notices: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let bytes = fs::read(fixture).unwrap();
    zip::ZipArchive::new(Cursor::new(bytes)).unwrap().extract(&path).unwrap();
    let database = Database::open_existing(&path).unwrap();
    assert_eq!(database.verify(), Vec::<String>::new());
    let collection = database.existing_collection("words", &words()).unwrap();
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    assert_eq!(collection.take_notices(), notices, "what else there is, is read and not made");
    let expected = final_documents();
    assert_eq!(collection.stats().documents, expected.len() as u64);
    for document in &expected {
        let stored = collection.get(&document.id).unwrap().unwrap();
        assert_eq!(stored.text, document.text);
        assert_eq!(
            (&stored.info.title, &stored.info.metadata),
            (&document.title, &document.metadata)
        );
    }
    let hits = collection.query("title 17").mode(Mode::Keyword).run().unwrap();
    assert_eq!(hits[0].document, "d17");
    let ask = |exact: bool| {
        let hits = collection.query("document 30").mode(Mode::Dense).exact(exact).run().unwrap();
        hits.into_iter().map(|h| h.document).collect::<Vec<_>>()
    };
    assert_eq!(ask(false), ask(true));
    let odd = Filter::parse("even = false and number > 30").unwrap();
    let hits = collection.query("document").filter(odd).run().unwrap();
    assert_eq!(hits.len(), 5);
    let own = database.existing_collection("own", &CollectionOptions::default()).unwrap();
    let hits = own.query_vector(&[0.0, 1.0, 0.1]).top_k(1).run().unwrap();
    assert_eq!(hits[0].document, "north");
    // And it is written on.
    collection.add([document(5, 2)]).unwrap();
    database.compact().unwrap();
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "writes the fixture of the present format"]
fn make() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    {
        let database = Database::open(&path).unwrap();
        let collection = database.collection("words", &words()).unwrap();
        collection.add((0..40).map(|i| document(i, 0))).unwrap();
        collection.save_indexes().unwrap();
        collection.add((0..40).step_by(4).map(|i| document(i, 1))).unwrap();
        collection.remove(&["d5", "d6", "d7", "d8", "d9"]).unwrap();
        let own = database.collection("own", &CollectionOptions::dimensions(3)).unwrap();
        own.add([
            Document::new("east", "sunrise").vector([1.0, 0.0, 0.0]),
            Document::new("north", "cold").vector([0.0, 1.0, 0.0]),
        ])
        .unwrap();
        own.query("cold").run().unwrap();
        own.save_indexes().unwrap();
    }
    let mut archive = zip::ZipWriter::new(File::create(FIXTURE).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for file in files(&path) {
        let name = file.strip_prefix(&path).unwrap().to_string_lossy().into_owned();
        archive.start_file(name, options).unwrap();
        archive.write_all(&fs::read(&file).unwrap()).unwrap();
    }
    archive.finish().unwrap();
}
