//! The rules of the house that a compiler does not know.
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

use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path: PathBuf = entry.path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 50);
    found
}

/// Code without comments and test modules' bodies kept: enough to see who names what.
fn code(text: &str) -> String {
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Each outside crate is named in one module, so that it can be replaced there.
#[test]
fn every_crate_stays_in_its_module() {
    let homes = [
        ("xxhash_rust", "hash.rs"),
        ("sha2", "hash.rs"),
        ("sled", "store/tree.rs"),
        ("fs4", "store/room.rs"),
        ("bincode", "store/codec.rs"),
        ("hnsw_rs", "index/live.rs"),
        ("boxcar", "index/live.rs"),
        ("memmap2", "mapped.rs"),
        ("bytemuck", "index/sealed"),
        ("tantivy", "index/keyword"),
        ("roaring", "index/mod.rs"),
        ("winnow", "index/filter/parse.rs"),
        ("simsimd", "vector/kernel.rs"),
        ("ort", "model/runtime"),
        ("arrow_array", "db/transfer/arrow.rs"),
        ("arrow_buffer", "db/transfer/arrow.rs"),
        ("arrow_ipc", "db/transfer/arrow.rs"),
        ("arrow_schema", "db/transfer/arrow.rs"),
        ("candle_core", "train/tensor.rs"),
        ("gemm", "train/product.rs"),
        ("monty", "sandbox/interpreter.rs"),
        ("monty_types", "sandbox/interpreter.rs"),
        ("rustix", "sandbox/worker.rs"),
        ("prost", "model/onnx/"),
        ("safetensors", "model/import/weights.rs"),
        ("toml", "model/manifest.rs"),
        ("ureq", "http.rs"),
        ("zip", "model/fetch/wheel.rs"),
        ("llguidance", "generate/constraint.rs"),
        ("tokenizers", "tokenize/"),
        ("minijinja", "generate/template"),
        ("minijinja_contrib", "generate/template"),
        ("unicode_segmentation", "text/"),
        ("flate2", "unpack.rs"),
        ("ignore", "text/parse/walk.rs"),
        ("encoding_rs", "text/parse/encoding.rs"),
        ("chardetng", "text/parse/encoding.rs"),
        ("csv", "text/parse/csv.rs"),
        ("pulldown_cmark", "text/parse/markdown.rs"),
        ("scraper", "text/parse/html.rs"),
        ("ego_tree", "text/parse/html.rs"),
        ("clap", "cli/"),
        ("clap_complete", "cli/"),
        ("indicatif", "cli/progress.rs"),
        ("ctrlc", "cli/interrupt.rs"),
    ];
    for (krate, home) in homes {
        let mut seen = false;
        for (name, text) in sources() {
            let code = code(&text);
            let named = [format!("use {krate}::"), format!("use ::{krate}::")]
                .iter()
                .any(|n| code.contains(n.as_str()))
                || code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).any(|w| {
                    w.starts_with(&format!("{krate}::")) || w.starts_with(&format!("::{krate}::"))
                });
            // A module of ours may have the same name.
            let ours = code.contains(&format!("mod {krate};"));
            if named && !ours {
                assert!(name.starts_with(home), "{name} names {krate}, which belongs to {home}");
                seen = true;
            }
        }
        assert!(seen, "{krate} is not used; remove it");
    }
}

/// Layers look down only.
#[test]
fn layers_look_down() {
    let below: [(&str, &[&str]); 14] = [
        ("sandbox/", &["error"]),
        ("vector/", &["error", "hash", "random"]),
        ("text/", &["error", "hash"]),
        ("index/", &["error", "hash", "mapped", "panics", "threads", "vector", "text"]),
        ("store/", &["error", "hash", "panics", "vector", "text", "encode"]),
        (
            "model/",
            &[
                "error", "hash", "http", "mapped", "threads", "text", "encode", "generate",
                "tokenize",
            ],
        ),
        ("tokenize/", &["error", "panics", "text"]),
        ("encode/", &["error", "hash", "threads", "text", "tokenize", "model"]),
        ("generate/", &["error", "http", "panics", "random", "threads", "model", "tokenize"]),
        (
            "db/",
            &[
                "error", "hash", "pairs", "panics", "random", "ranking", "threads", "vector",
                "text", "index", "store", "encode",
            ],
        ),
        (
            "train/",
            &[
                "error", "hash", "pairs", "random", "ranking", "threads", "text", "tokenize",
                "encode", "model",
            ],
        ),
        ("prompting/", &["error", "encode", "generate", "sandbox", "tokenize"]),
        (
            "rag/",
            &[
                "error",
                "hash",
                "text",
                "index",
                "encode",
                "tokenize",
                "generate",
                "prompting",
                "sandbox",
                "db",
            ],
        ),
        (
            "cli/",
            &[
                "error",
                "hash",
                "threads",
                "vector",
                "text",
                "index",
                "model",
                "encode",
                "generate",
                "pairs",
                "prompting",
                "sandbox",
                "tokenize",
                "db",
                "rag",
                "train",
            ],
        ),
    ];
    for (name, text) in sources() {
        let Some((layer, allowed)) = below.iter().find(|(layer, _)| name.starts_with(layer)) else {
            continue;
        };
        for line in code(&text).lines() {
            let Some(rest) = line.trim_start().split("use crate::").nth(1) else { continue };
            let module: String =
                rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            let own = layer.trim_end_matches('/');
            // Re-exports at the crate's root are types, not layers.
            let fine = module.is_empty() || module == own || allowed.contains(&module.as_str());
            assert!(fine, "{name} uses crate::{module}, which is not below {layer}");
        }
    }
}

#[test]
fn the_library_never_prints_or_exits() {
    for (name, text) in sources() {
        if name.starts_with("cli/") {
            continue;
        }
        for word in ["println!", "eprintln!", "print!(", "dbg!", "process::exit"] {
            assert!(!code(&text).contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn unsafe_code_says_why() {
    for (name, text) in sources() {
        let blocks = code(&text).matches("unsafe {").count();
        let reasons = text.matches("SAFETY:").count();
        assert!(reasons >= blocks, "{name}: {blocks} unsafe blocks, {reasons} reasons");
    }
}
