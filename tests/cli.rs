//! The command line where no model is needed: manners, errors, exit statuses.
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

use std::fs;
use std::path::Path;
use std::process::Command;
use support::{files, vdb, words};
use vdb::{Database, Document};

#[test]
fn help_and_version_go_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let (status, out, err) = vdb(folder.path(), &["--version"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert_eq!(out, format!("vdb {}\n", env!("CARGO_PKG_VERSION")));
    let (status, out, _) = vdb(folder.path(), &["--help"]);
    assert_eq!(status, 0);
    for command in [
        "setup",
        "quickstart",
        "ingest",
        "query",
        "ask",
        "chat",
        "get",
        "list",
        "remove",
        "stats",
        "eval",
        "verify",
        "repair",
        "export",
        "import",
        "backup",
        "restore",
        "compact",
        "reembed",
        "models",
        "doctor",
        "completions",
    ] {
        assert!(out.contains(&format!("  {command} ")), "{command} in {out}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

#[test]
fn wrong_usage_is_status_2_and_says_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["query"], "<TEXT>"),
        (&["ingest"], "<PATH>"),
        (&["query", "x", "--mode", "psychic"], "hybrid, dense and keyword"),
        (&["ingest", "x", "--format", "docx"], "markdown"),
        (&["list", "--device", "tpu"], "auto, cpu and cuda"),
        (&["query", "x", "--filter", "a ="], "filter syntax, at character 4"),
        (&["ingest", "-", "x"], "stands alone"),
        (&["completions", "cmd"], "zsh"),
    ] {
        let (status, out, err) = vdb(folder.path(), arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
}

#[test]
fn what_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for command in [&["list"][..], &["stats"], &["get", "x"], &["query", "x"], &["verify"]] {
        let (status, _, err) = vdb(folder.path(), command);
        assert_eq!(status, 1);
        assert!(err.contains("no database named \".vdb\"; make one with"), "{command:?}: {err}");
    }
    let (status, _, err) = vdb(folder.path(), &["models", "info", "gpt"]);
    assert_eq!(status, 1);
    assert!(err.contains("all-MiniLM-L6-v2"), "{err}");
    let (status, _, err) = vdb(folder.path(), &["quickstart"]);
    assert_eq!(status, 1);
    assert!(err.contains("vdb quickstart FOLDER"), "{err}");
}

#[test]
fn without_network_what_is_missing_is_named_with_the_command() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "text").unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vdb"))
            .args(arguments)
            .current_dir(folder.path())
            .env("VDB_HOME", folder.path().join("home"))
            .env("VDB_OFFLINE", "1")
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, err) = run(&["setup"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("network access is off; run `vdb setup`"), "{err}");
    let (status, err) = run(&["models", "pull", "bge-small-en-v1.5"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("run `vdb models pull bge-small-en-v1.5`"), "{err}");
    let (status, err) = run(&["ingest", "a.txt"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("vdb models pull all-MiniLM-L6-v2"), "{err}");
    let (status, err) = run(&["--device", "cuda", "ingest", "a.txt"]);
    assert_eq!(status, Some(1));
    assert!(err.contains("vdb"), "{err}");
    let (status, _) = run(&["doctor"]);
    assert_eq!(status, Some(3));
}

#[test]
fn a_folder_of_something_else_is_not_made_a_database() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious.txt"), "text").unwrap();
    let (status, _, err) = vdb(folder.path(), &["ingest", "precious.txt", "--db", "."]);
    assert_eq!(status, 2);
    assert!(err.contains("holds other files"), "{err}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn filled(path: &Path) {
    let database = Database::open(path).unwrap();
    let collection = database.collection("default", &words()).unwrap();
    let text = |i: usize| format!("document {i} {}", "word ".repeat(i));
    collection.add((0..60).map(|i| Document::new(format!("d{i}"), text(i)))).unwrap();
    collection.save_indexes().unwrap();
}

#[test]
fn verify_tells_damaged_indexes_in_both_depths_and_mends_them_in_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    filled(&at.join(".vdb"));
    let verify = |arguments: &[&str]| {
        let (status, out, err) = vdb(at, &[&["verify"], arguments].concat());
        assert!(!err.contains("panicked"), "{err}");
        (status, out)
    };
    assert_eq!(verify(&[]), (0, String::new()));
    assert_eq!(verify(&["--full"]), (0, String::new()));
    // The last of these makes the keyword engine panic, which is caught and not shown.
    for (folder, end, cut) in [
        ("vectors", "segment", false),
        ("vectors", "SEGMENTS", false),
        ("keywords", "idx", false),
        ("keywords", "idx", true),
    ] {
        let files = files(&at.join(".vdb/index/0").join(folder));
        let file = files.iter().find(|f| f.to_string_lossy().ends_with(end)).unwrap();
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        if cut {
            bytes.truncate(4);
        }
        fs::write(file, bytes).unwrap();
        let index = format!("the {} index", folder.trim_end_matches('s'));
        for arguments in [&[][..], &[], &["--full"]] {
            let (status, out) = verify(arguments);
            assert_eq!((status, out.lines().count()), (4, 1), "{end}: {out}");
            assert!(out.contains(&index), "{end}: {out}");
        }
        assert_eq!(verify(&[]), (0, String::new()), "{end}: made anew");
        assert_eq!(verify(&["--full"]), (0, String::new()), "{end}");
    }
}

#[test]
fn an_export_is_imported_whatever_its_format() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    filled(&at.join(".vdb"));
    let formats: &[&str] = if cfg!(feature = "arrow") { &["jsonl", "arrow"] } else { &["jsonl"] };
    for format in formats {
        let (status, _, err) = vdb(at, &["export", "file", "--format", format]);
        assert_eq!((status, err.as_str()), (0, "60 documents exported\n"));
        let (status, _, err) = vdb(at, &["import", "file", "--db", format]);
        assert_eq!((status, err.as_str()), (0, "60 documents imported\n"));
        let (status, out, _) = vdb(at, &["get", "d2", "--db", format]);
        assert_eq!((status, out.as_str()), (0, "document 2 word word \n"));
        assert_eq!(vdb(at, &["verify", "--full", "--db", format]).0, 0);
    }
}

/// Only the second depth reads records; and whatever the storage engine makes of them, the person at
/// the terminal is told in one way.
#[test]
fn verify_tells_damaged_records_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    filled(&at.join(".vdb"));
    let store = at.join(".vdb/store/1/db");
    let whole = fs::read(&store).unwrap();
    let used = whole.iter().rposition(|b| *b != 0).unwrap();
    let mut found = [0, 0];
    for round in 0..24 {
        for (depth, arguments) in [&["verify"][..], &["verify", "--full"]].iter().enumerate() {
            let mut bad = whole.clone();
            let at_byte = round * used / 24;
            bad[at_byte..(at_byte + 16).min(used)].fill(0xA5);
            fs::write(&store, bad).unwrap();
            let (status, out, err) = vdb(at, arguments);
            assert!(!err.contains("panicked"), "{err}");
            assert!(matches!(status, 0 | 4), "{status}: {err}");
            assert_eq!(status == 4, !out.is_empty(), "{out}");
            found[depth] += usize::from(status == 4);
        }
    }
    println!("{found:?} of 24 damages found");
    assert!(found[1] >= found[0] && found[1] > 12, "{found:?}");
}

#[test]
fn completions_are_for_five_shells() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (status, out, _) = vdb(folder.path(), &["completions", shell]);
        assert_eq!(status, 0);
        assert!(out.contains("quickstart"), "{shell}");
    }
}

/// A database of the caller's own vectors, whose documents are told apart by words.
fn with_vectors(path: &Path) {
    let database = Database::open(path).unwrap();
    let options = vdb::CollectionOptions::dimensions(2);
    let collection = database.collection("default", &options).unwrap();
    let document = |i: u8| {
        let text = if i < 30 { format!("harbour {i}") } else { format!("summit {i}") };
        Document::new(format!("d{i}"), text).vector([f32::from(i), 10.0])
    };
    collection.add((0..40).map(document)).unwrap();
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn pages_and_a_least_score() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_vectors(&at.join(".vdb"));
    let query = |arguments: &[&str]| {
        let all = [&["query", "harbour", "--mode", "keyword", "--json"], arguments].concat();
        let (status, out, err) = vdb(at, &all);
        assert_eq!(status, 0, "{err}");
        json_lines(&out)
    };
    let long = query(&["-k", "40"]);
    assert_eq!(long.len(), 30);
    let mut pages = Vec::new();
    for offset in [0, 12, 24] {
        pages.extend(query(&["-k", "12", "--offset", &offset.to_string()]));
    }
    assert_eq!(pages, long, "ranks go on from page to page");
    assert_eq!(pages[29]["rank"], 30);
    let score = long[0]["score"].to_string();
    assert!(!query(&["--min-score", &score]).is_empty());
    assert!(query(&["--min-score", "1000"]).is_empty());
    for (arguments, said) in [
        (["--min-score", "NaN"], "a number is needed"),
        (["--offset", "100000"], "together at most 100000"),
    ] {
        let all = [&["query", "harbour", "--mode", "keyword"], &arguments[..]].concat();
        let (status, _, err) = vdb(at, &all);
        assert_eq!(status, 2);
        assert!(err.contains(said), "{err}");
    }
}

#[test]
fn what_is_like_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_vectors(&at.join(".vdb"));
    let (status, out, err) = vdb(at, &["query", "--like", "d39", "-k", "3", "--json"]);
    assert_eq!((status, err.as_str()), (0, ""));
    let found: Vec<String> =
        json_lines(&out).iter().map(|hit| hit["document"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, ["d38", "d37", "d36"]);
    let (status, _, err) = vdb(at, &["query", "--like", "d99"]);
    assert_eq!(status, 1);
    assert!(err.contains("no document named \"d99\"; `vdb list` shows"), "{err}");
    let (status, _, err) = vdb(at, &["query", "harbour", "--like", "d1"]);
    assert_eq!(status, 2, "{err}");
}

#[test]
fn a_file_of_queries_is_answered_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_vectors(&at.join(".vdb"));
    // More than are run together, and blank lines.
    let texts: Vec<String> = (0..300)
        .map(|i| if i % 7 == 0 { "nothing".into() } else { format!("{}", i % 40) })
        .collect();
    fs::write(at.join("queries.txt"), texts.join("\n\n")).unwrap();
    let batch = ["query", "--batch", "queries.txt", "--mode", "keyword", "-k", "2", "--json"];
    let (status, out, err) = vdb(at, &batch);
    assert_eq!((status, err.as_str()), (0, ""));
    let answers = json_lines(&out);
    assert_eq!(answers.len(), texts.len());
    for (text, answer) in texts.iter().zip(&answers) {
        assert_eq!(answer["query"], *text);
        let hits = answer["hits"].as_array().unwrap();
        match text.as_str() {
            "nothing" => assert!(hits.is_empty()),
            number => assert_eq!(hits[0]["document"], format!("d{number}")),
        }
    }
    let (status, out, _) = vdb(at, &["query", "--batch", "queries.txt", "--mode", "keyword"]);
    assert_eq!(status, 0);
    assert_eq!(out.matches("query: ").count(), texts.len());
    let (status, _, err) = vdb(at, &["query", "--batch", "missing.txt", "--mode", "keyword"]);
    assert_eq!(status, 1);
    assert!(err.contains("missing.txt"), "{err}");
}

#[test]
fn stats_tell_what_the_index_takes_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    filled(&at.join(".vdb"));
    let index = at.join(".vdb/index/0/vectors");
    let figures = || {
        let (status, out, err) = vdb(at, &["stats", "--json"]);
        assert_eq!((status, err.as_str()), (0, ""));
        json_lines(&out)[0]["collections"][0]["vector_index"].clone()
    };
    let found = figures();
    let size: u64 = files(&index).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(found["up_to_date"], true);
    assert_eq!(found["segments"], 1);
    assert_eq!(found["disk_bytes"], size);
    assert_eq!(found["live_points"], 0);
    assert!(found["sealed_points"].as_u64().unwrap() >= 60);
    let (_, out, _) = vdb(at, &["stats"]);
    assert!(out.contains(" points in 1 segment (0 not in a file), 0 tombstones, "), "{out}");
    fs::write(index.join("SEGMENTS"), b"garbage").unwrap();
    assert!(figures().is_null());
    let (_, out, _) = vdb(at, &["stats"]);
    assert!(out.contains("the next query makes it anew"), "{out}");
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(figures()["up_to_date"], false);
    let (_, out, _) = vdb(at, &["stats"]);
    assert!(out.contains("the next query brings it up to date"), "{out}");
    assert!(!index.exists());
}
