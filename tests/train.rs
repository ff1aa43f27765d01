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
use std::process::{Command, Stdio};
use std::time::Duration;
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
        needs_models("a_trained_model_has_onnx_files_and_a_name", has_onnx_files_and_a_name),
        needs_models("a_collection_trains_its_encoder", trains_from_a_collection),
        needs_models("bad_input_has_its_exit_status_and_reason", bad_input),
        needs_models("a_full_disk_leaves_the_last_checkpoint", full_disk)
            .with_ignored_flag(support::offline() || !can_mount()),
        needs_models("killed_at_any_step_it_ends_the_same", killed)
            .with_ignored_flag(!long() || support::offline()),
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

/// A home of its own with the models of the shared one, so that names given here stay here.
fn own_home(folder: &Path) -> vdb::model::Home {
    let shared = support::models().home().folder().canonicalize().unwrap();
    let home = folder.join("home");
    fs::create_dir_all(home.join("models")).unwrap();
    let base = DEFAULT_ENCODER.to_lowercase();
    for own in ["runtime".to_owned(), format!("models/{base}")] {
        std::os::unix::fs::symlink(shared.join(&own), home.join(&own)).unwrap();
    }
    vdb::model::Home::at(home)
}

fn has_onnx_files_and_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_pairs(path);
    let home = own_home(path);
    let vdb = |command: &[&str]| support::vdb_in(path, home.folder(), command);
    let train = ["train", "contrastive", "pairs.jsonl", "--batch", "8", "--lora", "--name"];
    let (status, _, err) = vdb(&[&train[..], &["Tuned", "-o", "out"]].concat());
    assert_eq!(status, 0, "{err}");
    let (_, out, _) = vdb(&["models", "list"]);
    assert!(out.lines().any(|line| line.starts_with("Tuned ") && line.contains("ready")), "{out}");
    // The name is enough, wherever the folder went.
    let texts = texts();
    let texts: Vec<&str> = texts.iter().take(20).map(String::as_str).collect();
    let spec = vdb::encode::EncoderSpec::from_folder(&path.join("out")).unwrap();
    let trained = TrainableEncoder::open(&spec, None, 0).unwrap();
    let right = trained.encode(&texts, InputKind::Document, 2).unwrap();
    fs::rename(path.join("out"), path.join("away")).unwrap();
    let (status, _, err) = vdb(&["ingest", "doc.txt", "--model", "tuned"]);
    assert_eq!(status, 0, "{err}");
    // Other programs run the graphs: so do we, as models that are ready.
    for (file, least) in [("model.onnx", 0.999_99), ("model_int8.onnx", 0.97)] {
        let ready = path.join("ready");
        fs::create_dir_all(&ready).unwrap();
        for name in ["tokenizer.json", "config.json"] {
            fs::copy(path.join("away").join(name), ready.join(name)).unwrap();
        }
        fs::copy(path.join("away/onnx").join(file), ready.join("model.onnx")).unwrap();
        let weights = file.replace(".onnx", ".weights");
        fs::copy(path.join("away/onnx").join(&weights), ready.join(&weights)).unwrap();
        let encoder = support::models().encoder(&ready.display().to_string()).unwrap();
        let found = encoder.get().unwrap().encode(&texts, InputKind::Document).unwrap();
        for (found, right) in found.iter().zip(&right) {
            let cosine: f32 = found.vector.iter().zip(right).map(|(a, b)| a * b).sum();
            assert!(cosine > least, "{file}: {cosine}");
        }
        fs::remove_dir_all(&ready).unwrap();
    }
    let (status, _, err) = vdb(&[&train[..], &[DEFAULT_ENCODER, "-o", "other"]].concat());
    assert!(status == 2 && err.contains("is known already"), "{err}");
    assert!(!path.join("other").exists(), "refused before anything is trained");
    let (status, _, err) = vdb(&["models", "remove", "tuned"]);
    assert_eq!(status, 0, "{err}");
    let (_, out, _) = vdb(&["models", "list"]);
    assert!(!out.contains("Tuned"), "{out}");
    let (status, _, err) = vdb(&["models", "add", "away", "--name", "../evil"]);
    assert!(status == 2 && err.contains("letters, digits"), "{err}");
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

/// Mounts a file system in memory that goes with the process that runs in it.
fn in_little_room(folder: &Path, script: &str) -> std::process::Output {
    let mount = format!("mount -t tmpfs -o size=400m tmpfs out && {script}");
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &mount])
        .env("VDB", env!("CARGO_BIN_EXE_vdb"))
        .current_dir(folder)
        .output()
        .unwrap()
}

fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("out")).unwrap();
    cfg!(target_os = "linux") && in_little_room(folder.path(), "true").status.success()
}

/// One checkpoint (weights and two moments, 271 MB) fits beside nothing else; the next has no room.
fn full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_pairs(path);
    fs::create_dir(path.join("out")).unwrap();
    let train = "\"$VDB\" train contrastive pairs.jsonl -o out/tuned --batch 8 --epochs 2 \
                 --checkpoint-every 1";
    let script = format!(
        "{train}; echo status $?; ls -A out/tuned; mount -o remount,size=2g out; \
         {train} --resume; echo status $?; ls out/tuned"
    );
    let output = in_little_room(path, &script);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let (first, second) = out.split_once("status 1").unwrap_or_else(|| panic!("{out}{err}"));
    assert_eq!(first, "", "{err}");
    assert!(err.contains("the disk is full"), "{err}");
    let (left, end) = second.split_once("status 0").unwrap_or_else(|| panic!("{out}{err}"));
    assert!(left.contains("checkpoint-1\n") && !left.contains("unfinished"), "{left}");
    assert!(err.contains("goes on after step 1"), "{err}");
    assert!(end.contains("model.safetensors") && !end.contains("checkpoint"), "{end}");
}

/// Twenty kills, each a random while after a step.
fn killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_pairs(path);
    let command = |out: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vdb"));
        let settings = "--batch 8 --epochs 30 --max-steps 45 --threads 1 --checkpoint-every 1";
        command.args(["train", "contrastive", "pairs.jsonl", "--dev", "pairs.jsonl", "--resume"]);
        command.args(settings.split(' ')).args(["--output", out]).current_dir(path);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(command("whole").status().unwrap().success());
    let log = path.join("broken/log.jsonl");
    let steps = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter(|line| line.contains("\"loss\"")).count()
    };
    let mut chance = 20_261_127u64;
    let mut kills = 0;
    while kills < 20 {
        // Knuth's linear congruential generator; its high bits.
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let until = steps() + 1 + usize::try_from((chance >> 40) % 2).unwrap();
        let mut child = command("broken").spawn().unwrap();
        while steps() < until {
            assert!(child.try_wait().unwrap().is_none(), "it ended after {kills} kills");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis((chance >> 50) % 700));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(command("broken").status().unwrap().success());
    println!("{kills} kills, {} steps made for 45", steps());
    let weights = |out: &str| fs::read(path.join(out).join("model.safetensors")).unwrap();
    assert!(weights("whole") == weights("broken"), "not the same weights");
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
