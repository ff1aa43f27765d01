//! Real text for the benchmarks: sentences of novels from the shared data where it is there, else the
//! project's own few texts, and the figures say which.
#![allow(dead_code, reason = "each benchmark uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use vdb::encode::{EncoderHandle, InputKind};
use vdb::model::{DEFAULT_ENCODER, Device, FetchOptions, Models, Precision, fetch};

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

/// Embeddings of the first sentences, 384 floats each, computed once and kept under `target`.
pub fn embeddings(count: usize) -> Vec<Vec<f32>> {
    let file = |count: usize| root().join(format!("target/bench-embeddings-{count}.f32"));
    // Of all sentences, if they were embedded before.
    for known in [count, 250_000] {
        if let Ok(bytes) = fs::read(file(known)) {
            let floats: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            return floats.chunks_exact(384).take(count).map(<[f32]>::to_vec).collect();
        }
    }
    let path = file(count);
    let texts = sentences(count);
    let handle = encoder(Precision::Int8, 2);
    let mut vectors = Vec::with_capacity(texts.len());
    for batch in texts.chunks(4096) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let embedded = handle.get().unwrap().encode(&batch, InputKind::Document).unwrap();
        vectors.extend(embedded.into_iter().map(|e| e.vector));
    }
    let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    vectors
}
