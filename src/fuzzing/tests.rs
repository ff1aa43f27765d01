//! The corpus runs through its targets here; the fuzzers look for more.
//!
//! `cargo test --release --lib -- --ignored the_seeds_are_written` writes first inputs for a target,
//! made of what vdb itself writes, and is run again when a format changes.

use super::{TARGETS, seeds};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

#[test]
fn the_corpus_holds() {
    for (name, run) in TARGETS {
        let inputs: Vec<PathBuf> =
            fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            assert!(catch_unwind(|| run(&bytes)).is_ok(), "{}", input.display());
        }
    }
}

#[test]
fn the_seeds_hold() {
    for (name, run) in TARGETS {
        for (nth, seed) in seeds::of(name).iter().enumerate() {
            assert!(catch_unwind(|| run(seed)).is_ok(), "seed {nth} of {name}");
        }
    }
}

#[test]
#[ignore = "it writes into the corpus"]
fn the_seeds_are_written() {
    for (name, _) in TARGETS {
        let folder = folder(name);
        fs::create_dir_all(&folder).unwrap();
        for (nth, seed) in seeds::of(name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{nth:02}")), seed).unwrap();
        }
    }
}
