//! Texts a second by batch shape and precision; one short query.
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
use vdb::encode::InputKind;
use vdb::model::Precision;

fn encode(c: &mut Criterion) {
    for precision in [Precision::Int8, Precision::Fp32] {
        let handle = support::encoder(precision, 2);
        let encoder = handle.get().unwrap();
        let mut group = c.benchmark_group(format!("encode/{precision}"));
        // Special tokens take two; "word" is one token.
        for (rows, tokens) in [(1, 12), (32, 32), (32, 128), (8, 256)] {
            let text = "word ".repeat(tokens - 2);
            let batch = vec![text.as_str(); rows];
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{rows}x{tokens}"), |b| {
                b.iter(|| encoder.encode(&batch, InputKind::Document).unwrap());
            });
        }
        let sentences = support::sentences(512);
        let batch: Vec<&str> = sentences.iter().map(String::as_str).collect();
        group.throughput(Throughput::Elements(batch.len() as u64));
        group.bench_function("sentences", |b| {
            b.iter(|| encoder.encode(&batch, InputKind::Document).unwrap());
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = encode
}
criterion_main!(benches);
