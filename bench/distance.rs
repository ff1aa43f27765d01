//! Distance kernels against a plain loop.
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

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use vdb::vector::dot;

fn plain(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn distance(c: &mut Criterion) {
    for dimensions in [96, 384, 768, 1536] {
        let a: Vec<f32> = (0..dimensions).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..dimensions).map(|i| (i as f32 * 0.73).cos()).collect();
        let mut group = c.benchmark_group(format!("dot/{dimensions}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("kernel", |x| x.iter(|| dot(black_box(&a), black_box(&b))));
        group.bench_function("plain", |x| x.iter(|| plain(black_box(&a), black_box(&b))));
        group.finish();
    }
}

criterion_group!(benches, distance);
criterion_main!(benches);
