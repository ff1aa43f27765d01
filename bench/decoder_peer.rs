//! vdb's decoder as a program of `bench/peers/decoder.py`: opens a model, then reads, writes and scores
//! the texts it is told, a line of JSON each.
//!
//! `PEERS_THREADS` sets the threads (default 2).
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

use serde_json::{Value, json};
use std::io::BufRead as _;
use std::ops::ControlFlow;
use std::time::Instant;
use vdb::generate::{Decoder, GenerateOptions, Generator as _};
use vdb::model::{Device, Models};
use vdb::tokenize::Prompt;

/// Reads a text and writes tokens after it: seconds until the first, and for each that follows.
fn speed(decoder: &Decoder, text: &str, written: usize) -> Value {
    let options = GenerateOptions { max_tokens: written + 1, ..GenerateOptions::default() };
    let prompt = Prompt::new().content(text);
    let generation =
        decoder.generate(&prompt, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    let more = generation.generated_tokens.saturating_sub(1);
    json!({
        "tokens": generation.prompt_tokens,
        "reused": generation.reused_tokens,
        "prefill_s": generation.first_token.as_secs_f64(),
        "written": more,
        "decode_s": (generation.total - generation.first_token).as_secs_f64(),
        "text": generation.text,
    })
}

/// What a row of logits takes the token `next` to cost, in nats.
fn surprise(logits: &[f32], next: u32) -> f64 {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|x| f64::from(x - highest).exp()).sum();
    sum.ln() - f64::from(logits[next as usize] - highest)
}

/// The sum of what each token but the first costs after those before it.
fn score(decoder: &Decoder, text: &str) -> Value {
    let ids = decoder.tokenizer().encode(text).unwrap();
    let mut sum = 0.0;
    decoder
        .logits(&ids, ids.len(), &mut |at, logits| {
            if let Some(next) = ids.get(at + 1) {
                sum += surprise(logits, *next);
            }
        })
        .unwrap();
    json!({ "ids": ids, "nats": sum })
}

fn main() {
    let Some(model) = std::env::args().nth(1).filter(|a| !a.starts_with("--")) else { return };
    let threads = std::env::var("PEERS_THREADS").map_or(2, |n| n.parse().unwrap());
    let started = Instant::now();
    let models = Models::from_env().unwrap().device(Device::Cpu).threads(Some(threads));
    let decoder = models.decoder(&model).unwrap();
    println!("{}", json!({ "event": "ready", "load_s": started.elapsed().as_secs_f64() }));
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = asked["text"].as_str().unwrap();
        let answer = match asked["written"].as_u64() {
            Some(written) => speed(&decoder, text, written as usize),
            None => score(&decoder, text),
        };
        println!("{answer}");
    }
}
