//! The trainer with the real encoder: its vectors, a few steps, and the command line. With
//! `VDB_OFFLINE=1` every test here is reported as ignored.
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

use libtest_mimic::Arguments;
use std::fs;
use std::path::Path;
use support::{needs_models, needs_models_and_data, vdb};
use vdb::encode::InputKind;
use vdb::model::{DEFAULT_ENCODER, Precision};
use vdb::pairs::{Fields, Pairs};
use vdb::train::TrainableEncoder;

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        needs_models("the_trained_form_equals_the_fp32_graph", equals_the_graph),
        needs_models("a_trained_model_is_used_by_its_path", used_by_its_path),
        needs_models("a_collection_trains_its_encoder", trains_from_a_collection),
        needs_models("bad_input_has_its_exit_status_and_reason", bad_input),
        needs_models_and_data("medquad_gains", medquad_gains)
            .with_ignored_flag(!long() || support::offline() || support::shared_data().is_none()),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// A hundred texts: our own, then of the shared data where it is.
fn texts() -> Vec<String> {
    let own = include_str!("golden/texts.jsonl");
    let mut texts: Vec<String> =
        own.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if let Some(shared) = support::shared_data() {
        let lines = fs::read_to_string(shared.join("retrieval/cisi/corpus.jsonl")).unwrap();
        texts.extend(lines.lines().take(100).map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row["text"].as_str().unwrap().to_owned()
        }));
    }
    texts.truncate(100);
    texts
}

fn equals_the_graph() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let graph = support::encoder(Precision::Fp32);
    let right = graph.get().unwrap().encode(&texts, InputKind::Document).unwrap();
    let spec = support::models().encoder_spec(DEFAULT_ENCODER).unwrap();
    let encoder = TrainableEncoder::open(&spec, None, 0).unwrap();
    let found = encoder.encode(&texts, InputKind::Document, 2).unwrap();
    let mut worst = 0f32;
    for (found, right) in found.iter().zip(&right) {
        for (a, b) in found.iter().zip(&right.vector) {
            worst = worst.max((a - b).abs());
        }
    }
    println!("{} texts, largest difference {worst:e}", texts.len());
    assert!(worst <= 1e-4, "{worst}");
}

fn long() -> bool {
    std::env::var_os("VDB_LONG").is_some_and(|v| v == "1")
}

const THINGS: [&str; 16] = [
    "kettle", "harbour", "violin", "glacier", "lantern", "orchard", "compass", "sparrow", "quarry",
    "saddle", "anvil", "meadow", "ferry", "beacon", "cellar", "willow",
];

/// Sixteen pairs that share few words.
fn write_pairs(folder: &Path) {
    let pair = |thing: &str| {
        format!(
            "{{\"query\":\"what is a {thing} for\",\"positive\":\"The use of every {thing} is told \
             in the old book about it.\"}}\n"
        )
    };
    fs::write(folder.join("pairs.jsonl"), THINGS.map(pair).concat()).unwrap();
    fs::write(folder.join("doc.txt"), "The use of every kettle is told in the old book.").unwrap();
}

fn used_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_pairs(path);
    let command = [
        "train",
        "contrastive",
        "pairs.jsonl",
        "--output",
        "tuned",
        "--dev",
        "pairs.jsonl",
        "--batch",
        "8",
        "--epochs",
        "2",
        "--max-steps",
        "3",
        "--seed",
        "5",
        "--lora",
        "--json",
    ];
    let (status, out, err) = vdb(path, &command);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("16 of 16 dev pairs"), "{err}");
    let told: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(told["steps"], 3);
    let log = fs::read_to_string(path.join("tuned/log.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"loss\"")).count(), 3);
    let card = fs::read_to_string(path.join("tuned/README.md")).unwrap();
    assert!(card.contains("Apache-2.0") && card.contains("nDCG@10"), "{card}");
    let (status, _, err) = vdb(path, &["ingest", "doc.txt", "--model", "./tuned"]);
    assert_eq!(status, 0, "{err}");
    let (status, out, err) = vdb(path, &["query", "kettle", "--mode", "dense"]);
    assert!(status == 0 && out.contains("kettle"), "{out}{err}");
    let (status, _, err) = vdb(path, &command);
    assert!(status == 2 && err.contains("holds a model already"), "{err}");
}

/// Documents with a title and a heading each.
fn write_documents(folder: &Path) {
    let places = folder.join("places");
    fs::create_dir(&places).unwrap();
    for (nth, thing) in THINGS.into_iter().enumerate() {
        let text = format!(
            "# About the {thing}\n\nEvery {thing} was made by hand in those days. It took {nth} days \
             until one of them was done. Nobody but the master knew how.\n\n## How a {thing} was \
             used\n\nThe {thing} stood in the yard of the house and was used {nth} times a year. \
             Children were not let near it. What became of it is told elsewhere.\n"
        );
        fs::write(places.join(format!("{thing}.md")), text).unwrap();
    }
}

fn trains_from_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_documents(path);
    let command = |more: &[&'static str]| {
        let usual = ["train", "contrastive", "--output", "tuned", "--max-steps", "2", "--batch"];
        vdb(path, &[&usual[..], &["8", "--lora"], more].concat())
    };
    let (status, _, err) = vdb(path, &["ingest", "places/anvil.md"]);
    assert_eq!(status, 0, "{err}");
    let (status, _, err) = command(&["--from-collection", "default"]);
    assert!(status == 2 && err.contains("\"default\" has one document"), "{status} {err}");
    let (status, _, err) = command(&["--from-collection", "nothing"]);
    assert!(status == 1 && err.contains("nothing"), "{status} {err}");
    assert!(!path.join("tuned").exists());
    let (status, _, err) = vdb(path, &["ingest", "places"]);
    assert_eq!(status, 0, "{err}");
    let (status, _, err) = command(&["--from-collection", "default", "--hard-negatives", "2"]);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("of 16 documents") && err.contains("heading"), "{err}");
    assert!(err.contains("hard negatives for"), "{err}");
    let read =
        |name: &str| Pairs::read(&path.join("tuned").join(name), &Fields::default()).unwrap();
    let (train, mined) = (read("pairs-train.jsonl.gz"), read("mined.jsonl.gz"));
    assert!(train.len() > 20 && mined.len() == train.len(), "{} {}", train.len(), mined.len());
    assert!(!read("pairs-dev.jsonl.gz").is_empty());
    let card = fs::read_to_string(path.join("tuned/card.json")).unwrap();
    assert!(card.contains("\"blend\":0.5"), "{card}");
    // What is there is used by the run that it was made for, and by no other.
    let (status, _, err) = command(&["--from-collection", "default"]);
    assert!(status == 2 && err.contains("add --resume"), "{status} {err}");
    let other = ["--from-collection", "default", "--resume", "--pair-kinds", "title"];
    let (status, _, err) = command(&other);
    assert!(status == 2 && err.contains("made in another way"), "{status} {err}");
    let (status, _, err) = command(&["pairs.jsonl", "--from-collection", "default"]);
    assert!(status == 2 && err.contains("cannot be used with"), "{status} {err}");
    let (status, _, err) = command(&["--from-collection", "default", "--pair-kinds", "rhyme"]);
    assert!(status == 2 && err.contains("there are title, heading"), "{status} {err}");
}

fn bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_pairs(path);
    fs::write(path.join("empty.jsonl"), "").unwrap();
    fs::write(path.join("bad.jsonl"), "{\"query\":\"a\",\"positive\":\"b\"}\n{\"query\":\"a\"}")
        .unwrap();
    for (more, status, words) in [
        (&["empty.jsonl"][..], 1, "it holds no pairs"),
        (&["bad.jsonl"], 1, "bad.jsonl:2: no field \"positive\""),
        (&["nothing.jsonl"], 1, "no such file"),
        (&["pairs.jsonl", "--batch", "1"], 2, "a batch needs at least 2 pairs"),
        (&["pairs.jsonl", "--rank", "4"], 2, "--lora"),
        (&["pairs.jsonl", "--model", "SmolLM2-135M-Instruct"], 1, "encoder"),
        (&["pairs.jsonl", "--device", "cuda"], 1, "training runs on the processors"),
        (&["pairs.jsonl", "--loss", "triplet"], 2, "have no negative"),
    ] {
        let command = [&["train", "contrastive", "--output", "out"], more].concat();
        let (found, _, err) = vdb(path, &command);
        assert!(found == status && err.contains(words), "{more:?}: {found} {err}");
        assert!(!path.join("out/model.safetensors").exists());
    }
}

/// A part of an epoch on medical questions lifts nDCG@10 on questions about other documents.
fn medquad_gains() {
    let data = support::shared_data().unwrap().join("pairs");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| data.join(name).display().to_string();
    let (train, dev) = (file("medquad_train.jsonl.gz"), file("medquad_dev.jsonl.gz"));
    let command = [
        "train",
        "contrastive",
        &train,
        "--dev",
        &dev,
        "--output",
        "tuned",
        "--max-steps",
        "60",
        "--json",
    ];
    let (status, out, err) = vdb(folder.path(), &command);
    assert_eq!(status, 0, "{err}");
    println!("{out}{err}");
    let told: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    let (before, after) = (told["before"].as_f64().unwrap(), told["after"].as_f64().unwrap());
    assert!(after > before + 0.01, "{before} {after}");
}
