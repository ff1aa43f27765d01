//! Tokens a second of the default decoder, 2 threads: reading a prompt (prefill) and writing (decode)
//! at several lengths, and the time to the first token of a second question on the same passages.
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
use std::ops::ControlFlow;
use std::time::Duration;
use vdb::generate::{Decoder, GenerateOptions, Generation, Generator};
use vdb::tokenize::Prompt;

/// Tokens written after a prompt.
const WRITTEN: usize = 32;

fn generate(decoder: &Decoder, prompt: &Prompt, max_tokens: usize) -> Generation {
    let options = GenerateOptions { max_tokens, ..GenerateOptions::default() };
    decoder.generate(prompt, &options, &mut |_| ControlFlow::Continue(())).unwrap()
}

/// Prose of about `tokens` tokens that begins with `first`, so that nothing of it was read before.
fn prose(decoder: &Decoder, sentences: &[String], tokens: usize, first: usize) -> Prompt {
    let mut text = format!("{first}.");
    let mut next = first;
    loop {
        let longer = format!("{text} {}", sentences[next % sentences.len()]);
        let prompt = Prompt::new().content(longer.clone());
        if decoder.count(&prompt).unwrap() > tokens {
            return Prompt::new().content(text);
        }
        text = longer;
        next += 1;
    }
}

fn decode(c: &mut Criterion) {
    let decoder = support::decoder(2);
    let sentences = support::sentences(4000);
    let mut first = 0;
    let mut next = |tokens: usize| {
        first += 1;
        prose(&decoder, &sentences, tokens, first)
    };
    for tokens in [10, 128, 512, 1000] {
        let mut group = c.benchmark_group(format!("decode/{tokens}"));
        group.throughput(Throughput::Elements(tokens as u64));
        group.bench_function("prefill", |b| {
            b.iter_custom(|rounds| {
                let one = |_| {
                    let generation = generate(&decoder, &next(tokens), 1);
                    // As if every prompt had the same length.
                    let read = generation.prompt_tokens - generation.reused_tokens;
                    generation.first_token.mul_f64(tokens as f64 / read as f64)
                };
                (0..rounds).map(one).sum()
            });
        });
        group.throughput(Throughput::Elements(1));
        group.bench_function("decode", |b| {
            b.iter_custom(|rounds| {
                let mut sum = Duration::ZERO;
                let mut done = 0;
                while done < rounds {
                    let generation = generate(&decoder, &next(tokens), WRITTEN + 1);
                    if generation.generated_tokens > WRITTEN {
                        sum += (generation.total - generation.first_token) / WRITTEN as u32;
                        done += 1;
                    }
                }
                sum
            });
        });
        group.finish();
    }
    let passages = next(600).text();
    let question = |nth: usize| {
        Prompt::new().content(format!("{passages}\n\nQuestion {nth}: who is it about?"))
    };
    generate(&decoder, &question(0), 1);
    let mut nth = 0;
    c.bench_function("decode/second question on 600 tokens", |b| {
        b.iter_custom(|rounds| {
            let one = |_| {
                nth += 1;
                generate(&decoder, &question(nth), 1).first_token
            };
            (0..rounds).map(one).sum()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = decode
}
criterion_main!(benches);
