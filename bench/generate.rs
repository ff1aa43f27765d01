//! What it costs to choose a token: sampling over 49,152 logits, and masks under a constraint.
//!
//! Sampling does not depend on what the tokens are, but on how even their probabilities are: the
//! logits are those of a Zipf distribution (exponent 1, the frequencies of words) in a scattered
//! order, and for the hardest case nearly uniform ones. Masks do depend on the tokens, and are
//! measured with a real vocabulary or not at all.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

mod support;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::sync::Arc;
use vdb::generate::{Constraint, Matcher, Sampler, Sampling, Unit, Vocabulary};

const TOKENS: usize = 49_152;

/// A prime that divides no power of two scatters the ranks.
fn scattered(logit: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..TOKENS).map(|i| logit(i * 7_919 % TOKENS)).collect()
}

fn sampling(c: &mut Criterion) {
    let zipf = scattered(|rank| 20.0 - ((rank + 1) as f32).ln());
    let flat = scattered(|rank| rank as f32 / TOKENS as f32);
    let usual = || Sampling { temperature: 0.8, ..Sampling::default() };
    let mut group = c.benchmark_group("sample");
    for (name, logits, options) in [
        ("greedy", &zipf, Sampling::default()),
        ("temperature", &zipf, usual()),
        ("top_k 40", &zipf, Sampling { top_k: 40, ..usual() }),
        ("top_p 0.9", &zipf, Sampling { top_p: 0.9, ..usual() }),
        ("top_p 0.5", &zipf, Sampling { top_p: 0.5, ..usual() }),
        ("top_p 0.9, nearly uniform", &flat, Sampling { top_p: 0.9, ..usual() }),
        ("min_p 0.05", &zipf, Sampling { min_p: 0.05, ..usual() }),
        (
            "top_k 40, top_p 0.95, min_p 0.05, penalty 1.1",
            &zipf,
            Sampling { top_k: 40, top_p: 0.95, min_p: 0.05, repetition_penalty: 1.1, ..usual() },
        ),
    ] {
        let mut sampler = Sampler::new(&options).unwrap();
        let history: Vec<u32> = (0..500).map(|i| i * 97).collect();
        let mut logits = logits.clone();
        // The penalty changes a few logits a little more each time; it costs the same.
        group.bench_function(name, |b| b.iter(|| sampler.sample(&mut logits, &history).unwrap()));
    }
    group.finish();
}

const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "passages": {"type": "array", "items": {"type": "integer"}, "maxItems": 5},
        "certain": {"type": "boolean"}
    },
    "required": ["answer", "passages", "certain"],
    "additionalProperties": false
}"#;

/// Of a vocabulary: the bytes of every token, none for those that are no text; and the tokens that end
/// a text.
fn masks(c: &mut Criterion, name: &str, tokens: &[Vec<u8>], ends: &[u32]) {
    let mut group = c.benchmark_group(format!("mask/{name}"));
    group.bench_function("vocabulary", |b| {
        b.iter_batched(
            || tokens.to_vec(),
            |tokens| Vocabulary::new(tokens, ends).unwrap(),
            BatchSize::LargeInput,
        );
    });
    let vocabulary = Arc::new(Vocabulary::new(tokens.to_vec(), ends).unwrap());
    let passage = support::sentences(40).join(" ");
    let schema = Constraint::json_schema(SCHEMA).unwrap();
    let words = Constraint::substrings(&passage).unwrap();
    let characters = Constraint::quotation([&passage], Unit::Characters).unwrap();
    // Texts that fit, to be gone along.
    let json = r#"{"answer": "Thirty-six years, as the first passage says.", "passages": [1, 4], "certain": true}"#;
    let quotation: String = passage.split_inclusive(' ').skip(20).take(30).collect();
    for (name, constraint, text) in [
        ("json schema", &schema, json),
        ("quotation in words", &words, quotation.as_str()),
        ("quotation by characters", &characters, quotation.as_str()),
    ] {
        group.bench_function(format!("{name}, compile"), |b| {
            b.iter(|| Matcher::new(constraint, &vocabulary).unwrap());
        });
        let path = along(text.trim_end().as_bytes(), tokens);
        let mut logits = vec![0.0; tokens.len()];
        // All masks of a text, beginning with an empty cache of states, over its tokens.
        let mut total = std::time::Duration::ZERO;
        let mut worst = std::time::Duration::ZERO;
        let mut masks = 0;
        for _ in 0..20 {
            let mut matcher = Matcher::new(constraint, &vocabulary).unwrap();
            for token in &path {
                let start = std::time::Instant::now();
                matcher.mask(&mut logits).unwrap();
                let took = start.elapsed();
                total += took;
                worst = worst.max(took);
                masks += 1;
                matcher.accept(*token).unwrap();
            }
        }
        eprintln!(
            "{name}: {:?} a mask over {} tokens, the slowest {worst:?}",
            total / masks,
            path.len()
        );
        group.bench_function(format!("{name}, first mask"), |b| {
            let mut matcher = Matcher::new(constraint, &vocabulary).unwrap();
            b.iter(|| matcher.mask(&mut logits).unwrap());
        });
    }
    group.finish();
}

/// A text in tokens, the longest first.
fn along(mut text: &[u8], tokens: &[Vec<u8>]) -> Vec<u32> {
    let mut path = Vec::new();
    while !text.is_empty() {
        let fits = |(_, token): &(u32, &Vec<u8>)| !token.is_empty() && text.starts_with(token);
        let (id, token) = (0..)
            .zip(tokens)
            .filter(fits)
            .max_by_key(|(_, token)| token.len())
            .expect("every byte is a token");
        path.push(id);
        text = &text[token.len()..];
    }
    path
}

/// A vocabulary in a file that `VDB_BENCH_VOCABULARY` names: for every token the number of its bytes
/// (32 bits, the lowest first) and the bytes; `VDB_BENCH_END` is the token that ends a text.
fn constraints(c: &mut Criterion) {
    let Some(path) = std::env::var_os("VDB_BENCH_VOCABULARY") else {
        eprintln!("VDB_BENCH_VOCABULARY names no vocabulary: masks are not measured");
        return;
    };
    let end: u32 = std::env::var("VDB_BENCH_END").unwrap().parse().unwrap();
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut tokens = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let (token, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        tokens.push(token.to_vec());
        rest = after;
    }
    masks(c, &format!("{} tokens", tokens.len()), &tokens, &[end]);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = sampling, constraints
}
criterion_main!(benches);
