//! The whole way in, against the bare encoder on the same chunks; and hybrid queries.
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
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use vdb::encode::InputKind;
use vdb::model::Precision;
use vdb::{Collection, CollectionOptions, Database, Document, Mode};

fn documents() -> Vec<Document> {
    let mut documents = Vec::new();
    for name in ["cranfield", "med", "cisi"] {
        let Some(path) = support::shared(&format!("retrieval/{name}/corpus.jsonl")) else {
            continue;
        };
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let id = format!("{name}/{}", field("_id"));
            documents.push(Document::new(id, field("text")).title(field("title")));
        }
    }
    if documents.is_empty() {
        let texts = support::sentences(1000).into_iter().enumerate();
        documents.extend(texts.map(|(i, text)| Document::new(format!("{i}"), text)));
    }
    documents
}

/// The texts that were embedded.
fn chunks(collection: &Collection) -> Vec<String> {
    let mut texts = Vec::new();
    for info in collection.documents() {
        let document = collection.get(&info.unwrap().id).unwrap().unwrap();
        let spans = document.chunks.iter().map(|c| document.text[c.span.clone()].to_owned());
        texts.extend(spans);
    }
    texts
}

fn ingest(c: &mut Criterion) {
    let handle = support::encoder(Precision::Int8, 2);
    let folder = tempfile::tempdir().unwrap();
    let fill = |name: &str| {
        let database = Database::open(folder.path().join(name)).unwrap();
        let options = CollectionOptions::encoder(handle.clone());
        let collection = database.collection("c", &options).unwrap();
        let stop = AtomicBool::new(false);
        let started = Instant::now();
        collection.ingest(documents().into_iter().map(Ok), &|_| {}, &stop).unwrap();
        (database, collection, started.elapsed())
    };
    let (_database, collection, _) = fill("warm");
    let texts = chunks(&collection);
    // In turn, so that both see the same machine.
    for round in 0..3 {
        let started = Instant::now();
        for batch in texts.chunks(256) {
            let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
            handle.get().unwrap().encode(&batch, InputKind::Document).unwrap();
        }
        let bare = started.elapsed();
        let (.., whole) = fill(&format!("{round}"));
        eprintln!(
            "{} chunks: encoder {bare:.1?}, ingest {whole:.1?}, ratio {:.3}",
            texts.len(),
            bare.as_secs_f64() / whole.as_secs_f64()
        );
    }
    let queries =
        ["heat transfer in a boundary layer", "fatty acids in blood", "library catalogue"];
    for mode in [Mode::Dense, Mode::Keyword, Mode::Hybrid] {
        let mut next = queries.iter().cycle();
        c.bench_function(&format!("query/{mode}"), |b| {
            b.iter(|| collection.query(next.next().unwrap()).mode(mode).run().unwrap());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = ingest
}
criterion_main!(benches);
