//! Real text for the benchmarks: sentences of novels from the shared data where it is there, else the
//! project's own few texts, and the figures say which.
#![allow(dead_code, reason = "each benchmark uses a part")]

pub mod plot;
pub mod search;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use vdb::encode::{EncoderHandle, InputKind};
use vdb::generate::Decoder;
use vdb::model::{
    DEFAULT_DECODER, DEFAULT_ENCODER, Device, FetchOptions, Models, Precision, fetch,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn shared(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(path);
    path.exists().then_some(path)
}

/// Up to `count` different sentences.
pub fn sentences(count: usize) -> Vec<String> {
    let Some(path) = shared("sentences/novels_250k.txt.xz") else {
        eprintln!("shared data is not there: the project's own few texts are used");
        let own = include_str!("../tests/golden/texts.jsonl");
        let texts = own.lines().map(|l| serde_json::from_str::<String>(l).unwrap());
        return texts.filter(|t| !t.trim().is_empty()).take(count).collect();
    };
    let mut text = Vec::new();
    let mut file = std::io::BufReader::new(fs::File::open(path).unwrap());
    lzma_rs::xz_decompress(&mut file, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.lines().take(count).map(str::to_owned).collect()
}

/// The default encoder, set up as a user's is.
pub fn encoder(precision: Precision, threads: usize) -> EncoderHandle {
    let models = Models::from_env().unwrap().device(Device::Cpu).threads(Some(threads));
    let stop = AtomicBool::new(false);
    let options = FetchOptions { offline: false, on_event: &|_| {}, stop: &stop };
    for manifest in models.defaults().unwrap() {
        fetch(models.home(), manifest, &options).unwrap();
    }
    models.precision(Some(precision)).encoder(DEFAULT_ENCODER).unwrap()
}

/// The default decoder in its default form, set up as a user's is.
pub fn decoder(threads: usize) -> Decoder {
    let models = Models::from_env().unwrap().device(Device::Cpu).threads(Some(threads));
    let stop = AtomicBool::new(false);
    let options = FetchOptions { offline: false, on_event: &|_| {}, stop: &stop };
    let registry = models.registry();
    for manifest in [registry.runtime(false).unwrap(), registry.decoder(DEFAULT_DECODER).unwrap()] {
        fetch(models.home(), manifest, &options).unwrap();
    }
    models.decoder(DEFAULT_DECODER).unwrap()
}

/// Sentences, the clauses of each that have three words or more, and every two of these that follow
/// each other; all different, the sentences first. About a million.
pub fn chunks() -> Vec<String> {
    let mut chunks = sentences(usize::MAX);
    let mut known: HashSet<String> = chunks.iter().cloned().collect();
    for at in 0..chunks.len() {
        let sentence = chunks[at].clone();
        let clauses: Vec<&str> = sentence
            .split([',', ';', ':', '.', '!', '?', '"', '(', ')', '—'])
            .map(str::trim)
            .filter(|clause| clause.split_whitespace().count() >= 3)
            .collect();
        let pairs = clauses.windows(2).map(|pair| pair.join(" "));
        for text in clauses.iter().map(ToString::to_string).chain(pairs) {
            if known.insert(text.clone()) {
                chunks.push(text);
            }
        }
    }
    chunks
}

/// Embeddings of the first sentences, 384 floats each, computed once and kept under `target`.
pub fn embeddings(count: usize) -> Vec<Vec<f32>> {
    let file = |count: usize| root().join(format!("target/bench-embeddings-{count}.f32"));
    // Of all sentences, if they were embedded before.
    for known in [count, 250_000] {
        if let Some(mut vectors) = read(&file(known)) {
            vectors.truncate(count);
            return vectors;
        }
    }
    let vectors = embed(&sentences(count));
    write(&file(count), &vectors);
    vectors
}

/// Embeddings of [`chunks`] in an order that is the same each time, and else random.
pub fn chunk_embeddings() -> Vec<Vec<f32>> {
    let path = root().join("target/bench-embeddings-chunks.f32");
    if let Some(vectors) = read(&path) {
        return vectors;
    }
    let chunks = chunks();
    let mut vectors = embeddings(sentences(usize::MAX).len());
    vectors.extend(embed(&chunks[vectors.len()..]));
    // Fisher and Yates.
    let mut state = 1u64;
    for i in (1..vectors.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        vectors.swap(i, ((state >> 33) % (i as u64 + 1)) as usize);
    }
    write(&path, &vectors);
    vectors
}

fn read(path: &Path) -> Option<Vec<Vec<f32>>> {
    let bytes = fs::read(path).ok()?;
    let floats = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    let floats: Vec<f32> = floats.collect();
    Some(floats.chunks_exact(384).map(<[f32]>::to_vec).collect())
}

fn write(path: &Path, vectors: &[Vec<f32>]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

fn embed(texts: &[String]) -> Vec<Vec<f32>> {
    let handle = encoder(Precision::Int8, 2);
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(4096) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let embedded = handle.get().unwrap().encode(&batch, InputKind::Document).unwrap();
        vectors.extend(embedded.into_iter().map(|e| e.vector));
    }
    vectors
}
