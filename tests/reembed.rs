//! Re-embedding: always the complete old or the complete new vectors, and nothing lost beside it.
//!
//! Killed at random moments, a few times in the short form and 20 times with 10,000 chunks with
//! `VDB_LONG=1` (docs/testing.md); with documents added and removed between two runs and during one;
//! refused where the disk is full. This program is its own helper: with `VDB_ROLE` set it plays a part.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

mod support;

use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{HashedWords, Random, needs_models};
use vdb::db::{ReembedEvent, ReembedReport};
use vdb::{Collection, CollectionOptions, Database, Document, Error, Mode};

fn main() {
    if std::env::var_os("VDB_ROLE").is_some() {
        let path = PathBuf::from(std::env::var_os("VDB_PATH").unwrap());
        return work(&path, &std::env::var("VDB_MODEL").unwrap());
    }
    let arguments = Arguments::from_args();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let tests = vec![
        test("old_vectors_answer_until_the_new_ones_do", old_vectors_answer),
        test("stopped_and_gone_on_with", stopped_and_gone_on_with),
        test("another_model_gives_up_what_was_begun", another_model),
        test("a_smaller_window_is_told", a_smaller_window_is_told),
        test("what_cannot_be_re_embedded_is_refused", refusals),
        test("documents_come_and_go_meanwhile", documents_come_and_go),
        test("killed_while_re_embedding", killed_while_re_embedding),
        needs_models("from_one_precision_to_the_other", from_one_precision_to_the_other),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// The encoders; of different dimensions, so that a mixture could not even be read.
fn encoder(name: &str) -> HashedWords {
    HashedWords::sized(name, if name == "first" { 64 } else { 96 }, 64)
}

fn options(name: &str) -> CollectionOptions {
    CollectionOptions::encoder(encoder(name))
}

/// A text that no other document has, nor its vector.
fn text(i: usize) -> String {
    let mut random = Random(i as u64 * 0x9e37_79b9_7f4a_7c15 + 1);
    let words = (0..24).map(|_| format!("w{}", random.below(100_000)));
    words.chain([format!("number{i}")]).collect::<Vec<_>>().join(" ")
}

/// Document id to text.
type Oracle = BTreeMap<String, String>;

fn fill(path: &Path, model: &str, documents: usize) -> Oracle {
    let database = Database::open(path).unwrap();
    let collection = database.collection("default", &options(model)).unwrap();
    let all: Oracle = (0..documents).map(|i| (format!("d{i}"), text(i))).collect();
    for part in all.iter().collect::<Vec<_>>().chunks(1000) {
        collection.add(part.iter().map(|(id, text)| Document::new(*id, *text))).unwrap();
    }
    all
}

fn model_of(database: &Database) -> String {
    let info = database.collections().unwrap().remove(0);
    info.fingerprint.unwrap().model
}

fn reembed(database: &Database, model: &str) -> vdb::Result<ReembedReport> {
    database.reembed("default", encoder(model), &|_| {}, &AtomicBool::new(false))
}

/// Whether the collection answers by the vectors of `model`, all of them and no others, and holds
/// `oracle`.
fn check(database: &Database, model: &str, oracle: &Oracle, told: &str) {
    assert_eq!(database.verify(), Vec::<String>::new(), "{told}");
    assert_eq!(model_of(database), model, "{told}");
    let collection = database.existing_collection("default", &options(model)).unwrap();
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new(), "{told}");
    let found: Vec<String> = collection.documents().map(|d| d.unwrap().id).collect();
    assert_eq!(found.len(), oracle.len(), "{told}");
    let step = oracle.len().div_ceil(60).max(1);
    for (id, text) in oracle.iter().step_by(step) {
        assert_eq!(collection.get(id).unwrap().unwrap().text, *text, "{told}");
        for exact in [false, true] {
            let hits = collection.query(text).mode(Mode::Dense).top_k(1).exact(exact).run();
            let hit = &hits.unwrap()[0];
            // A text's own vector has the cosine 1; that of another encoder has another length.
            assert!(hit.document == *id && hit.score > 0.9999, "{told}: {id} {hit:?}");
        }
    }
    let (id, text) = oracle.iter().next().unwrap();
    let hits = collection.query(text).mode(Mode::Keyword).top_k(1).run().unwrap();
    assert_eq!(hits[0].document, *id, "{told}");
}

fn old_vectors_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let oracle = fill(&path, "first", 700);
    let database = Database::open(&path).unwrap();
    let before = database.existing_collection("default", &options("first")).unwrap();
    let plan = database.plan_reembed("default", encoder("second")).unwrap();
    assert_eq!((plan.chunks, plan.remaining, plan.sampled), (700, 700, 64));
    assert!(plan.bytes >= 700 * 96 * 4 && plan.room > plan.bytes, "{plan:?}");
    let asked = |told: &str| {
        let text = &oracle["d7"];
        let hits = before.query(text).top_k(1).run().unwrap();
        assert_eq!(hits[0].document, "d7", "{told}");
    };
    let on_event = |event: ReembedEvent| match event {
        ReembedEvent::Embedded { .. } | ReembedEvent::Indexing => {
            asked(&format!("{event:?}"));
            assert_eq!(model_of(&database), "first");
            assert!(before.stats().successor.unwrap().starts_with("second"));
        }
        _ => assert_eq!(model_of(&database), "second"),
    };
    let report =
        database.reembed("default", encoder("second"), &on_event, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.chunks, report.embedded, report.kept), (700, 700, 0));
    assert!(report.complete && report.truncated == 0);
    // What was opened with the old encoder is told, whatever it asks.
    let refused = |done: vdb::Result<()>| {
        let error = done.unwrap_err();
        assert!(matches!(error, Error::ModelMismatch { .. }), "{error}");
        assert!(error.to_string().contains("open it with second"), "{error}");
    };
    refused(before.query("number1").run().map(drop));
    refused(before.query("number1").mode(Mode::Keyword).run().map(drop));
    refused(before.query("number1").run_numbers().map(drop));
    refused(before.add([Document::new("late", "late words")]).map(drop));
    refused(before.remove(&["d1"]).map(drop));
    refused(before.verify().map(drop));
    refused(before.export(&mut Vec::new()).map(drop));
    refused(database.existing_collection("default", &options("first")).map(drop));
    check(&database, "second", &oracle, "at once");
    // Again is nothing to do.
    let report = reembed(&database, "second").unwrap();
    assert_eq!((report.chunks, report.embedded, report.complete), (700, 0, true));
    assert_eq!(database.plan_reembed("default", encoder("second")).unwrap().remaining, 0);
    drop((before, database));
    let database = Database::open(&path).unwrap();
    check(&database, "second", &oracle, "opened again");
    database.compact().unwrap();
    check(&database, "second", &oracle, "compacted");
    assert!(!path.join("index/0/vectors").exists(), "the old index is gone");
    // What is written on is of the new space, and so is what is taken out of it.
    let collection = database.existing_collection("default", &options("second")).unwrap();
    collection.add([Document::new("late", "late words of the new space")]).unwrap();
    collection.remove(&["d0"]).unwrap();
    let mut exported = Vec::new();
    collection.export(&mut exported).unwrap();
    let other = Database::open(folder.path().join("other")).unwrap();
    other.import("default", "export", &mut exported.as_slice()).unwrap();
    let mut oracle = oracle;
    oracle.remove("d0");
    oracle.insert("late".to_owned(), "late words of the new space".to_owned());
    check(&other, "second", &oracle, "imported");
    // And back again.
    reembed(&database, "first").unwrap();
    check(&database, "first", &oracle, "and back");
}

fn stopped_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut oracle = fill(&path, "first", 900);
    let stop = AtomicBool::new(false);
    {
        let database = Database::open(&path).unwrap();
        let on_event = |_: ReembedEvent| stop.store(true, Ordering::Relaxed);
        let report = database.reembed("default", encoder("second"), &on_event, &stop).unwrap();
        assert_eq!((report.complete, report.embedded, report.chunks), (false, 256, 900));
        check(&database, "first", &oracle, "stopped");
    }
    // Another process, as it were.
    let database = Database::open(&path).unwrap();
    let collection = database.existing_collection("default", &options("first")).unwrap();
    collection
        .add([Document::new("d3", "another text"), Document::new("new", "a new one")])
        .unwrap();
    collection.remove(&["d5"]).unwrap();
    oracle.insert("d3".to_owned(), "another text".to_owned());
    oracle.insert("new".to_owned(), "a new one".to_owned());
    oracle.remove("d5");
    let plan = database.plan_reembed("default", encoder("second")).unwrap();
    let report = reembed(&database, "second").unwrap();
    assert!(report.complete && report.kept > 250, "{report:?}");
    assert_eq!(report.embedded + report.kept, 900);
    assert_eq!(plan.remaining, report.embedded);
    check(&database, "second", &oracle, "gone on with");
}

fn another_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let oracle = fill(&path, "first", 600);
    let database = Database::open(&path).unwrap();
    let stop = AtomicBool::new(false);
    let on_event = |_: ReembedEvent| stop.store(true, Ordering::Relaxed);
    database.reembed("default", encoder("second"), &on_event, &stop).unwrap();
    let report = reembed(&database, "third").unwrap();
    assert_eq!((report.embedded, report.kept), (600, 0));
    check(&database, "third", &oracle, "the third");
    stop.store(false, Ordering::Relaxed);
    database.reembed("default", encoder("first"), &on_event, &stop).unwrap();
    let info = database.existing_collection("default", &options("third")).unwrap();
    assert!(info.stats().successor.is_some());
    // The collection's own model gives up what was begun.
    reembed(&database, "third").unwrap();
    assert_eq!(info.stats().successor, None);
    check(&database, "third", &oracle, "still the third");
    // A new collection gets a number that nothing has.
    let other = database.collection("other", &options("second")).unwrap();
    other.add([Document::new("a", "some words")]).unwrap();
    assert_eq!(other.verify().unwrap(), Vec::<String>::new());
    check(&database, "third", &oracle, "beside another");
}

fn a_smaller_window_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("default", &options("first")).unwrap();
    collection.add([Document::new("short", "few words"), Document::new("long", text(1))]).unwrap();
    let narrow = || HashedWords::sized("narrow", 32, 5);
    let plan = database.plan_reembed("default", narrow()).unwrap();
    assert_eq!((plan.sampled, plan.sampled_truncated), (2, 1));
    let report = database.reembed("default", narrow(), &|_| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!((report.chunks, report.truncated), (2, 1));
    let collection =
        database.existing_collection("default", &CollectionOptions::encoder(narrow())).unwrap();
    assert_eq!(collection.stats().chunk_tokens, 5, "what is added later is cut to fit");
}

fn refusals() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let own = database.collection("own", &CollectionOptions::dimensions(2)).unwrap();
    own.add([Document::new("a", "b").vector([1.0, 0.0])]).unwrap();
    let never = AtomicBool::new(false);
    let error = database.reembed("own", encoder("first"), &|_| {}, &never).unwrap_err().to_string();
    assert!(error.contains("vectors of the caller's own"), "{error}");
    let mixed = database.collection("mixed", &options("first")).unwrap();
    mixed.add([Document::new("a", "words"), Document::new("b", "").vector([1.0; 64])]).unwrap();
    for error in [
        database.reembed("mixed", encoder("second"), &|_| {}, &never).unwrap_err(),
        database.plan_reembed("mixed", encoder("second")).unwrap_err(),
    ] {
        assert!(error.to_string().contains("document \"b\""), "{error}");
    }
    assert_eq!(mixed.query("words").top_k(1).run().unwrap()[0].document, "a", "the old answer");
    let error = database.reembed("none", encoder("first"), &|_| {}, &never).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    drop((own, mixed, database));
    let reader = Database::open_read_only(folder.path().join("db")).unwrap();
    let error = reader.reembed("mixed", encoder("first"), &|_| {}, &never).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
}

/// One thread re-embeds to and fro; one adds and removes, one asks, both with whatever encoder the
/// collection has when they open it.
fn documents_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let oracle = std::sync::Mutex::new(fill(&path, "first", 600));
    let database = Database::open(&path).unwrap();
    let over = AtomicBool::new(false);
    let open = || -> Option<Collection> {
        let model = model_of(&database);
        database.existing_collection("default", &options(&model)).ok()
    };
    let switches = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut random = Random(0x1234_5678_9abc_def1);
            let mut written = 0;
            while !over.load(Ordering::Relaxed) {
                let Some(collection) = open() else { continue };
                for _ in 0..5 {
                    let id = format!("d{}", random.below(800));
                    let text = text(10_000 + written);
                    let done = if random.below(4) == 0 {
                        collection.remove(&[&id]).map(|_| oracle.lock().unwrap().remove(&id))
                    } else {
                        let document = Document::new(&id, &text);
                        collection.add([document]).map(|_| oracle.lock().unwrap().insert(id, text))
                    };
                    match done {
                        Ok(_) => written += 1,
                        Err(Error::ModelMismatch { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            written
        });
        let reader = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(Ordering::Relaxed) {
                let Some(collection) = open() else { continue };
                for exact in [false, true] {
                    let text = text(3);
                    let query = collection.query(&text).mode(Mode::Dense).exact(exact).top_k(20);
                    match query.run() {
                        // By vectors of two spaces, distances would have been between lengths that
                        // differ; a search that lost some on the way would be short.
                        Ok(hits) => assert_eq!(hits.len(), 20, "exact {exact}"),
                        Err(Error::ModelMismatch { .. }) => break,
                        Err(error) => panic!("{error}"),
                    }
                    asked += 1;
                }
            }
            asked
        });
        let mut switches = 0;
        for model in ["second", "first", "second", "first", "second"] {
            switches += usize::from(reembed(&database, model).unwrap().complete);
        }
        over.store(true, Ordering::Relaxed);
        let (written, asked) = (writer.join().unwrap(), reader.join().unwrap());
        println!("{switches} switches, {written} commits, {asked} queries");
        assert!(written > 0 && asked > 0);
        switches
    });
    assert_eq!(switches, 5);
    check(&database, "second", &oracle.lock().unwrap(), "after all");
}

/// Re-embeds and tells each event, until killed or done.
fn work(path: &Path, model: &str) {
    let database = Database::open_existing(path).unwrap();
    let tell = |what: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{what}").and_then(|()| out.flush()).unwrap();
    };
    let on_event = |event: ReembedEvent| tell(format!("{event:?}"));
    let report = database.reembed("default", encoder(model), &on_event, &AtomicBool::new(false));
    assert!(report.unwrap().complete);
}

fn killed_while_re_embedding() {
    let long = std::env::var_os("VDB_LONG").is_some_and(|v| v == "1");
    let (kills, documents) = if long { (20, 10_000) } else { (6, 1500) };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut oracle = fill(&path, "first", documents);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut from, mut to) = ("first", "second");
    let (mut killed, mut switched, mut rounds) = (0, 0, 0);
    while killed < kills {
        rounds += 1;
        assert!(rounds < 10 * kills, "it is never killed in time");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env("VDB_ROLE", "work")
            .env("VDB_PATH", &path)
            .env("VDB_MODEL", to)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let pid = child.id();
        // After so many events of the run, and a moment more.
        let events = random.below(documents / 256 + 4);
        let delay = Duration::from_micros(random.below(30_000) as u64);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        for line in lines.by_ref().take(events) {
            told.extend(line);
        }
        std::thread::sleep(delay);
        support::kill(pid);
        told.extend(lines.map_while(Result::ok));
        let status = child.wait().unwrap();
        killed += usize::from(!status.success());
        assert!(status.success() || status.code().is_none(), "it failed by itself");
        let database = Database::open_existing(&path).unwrap();
        let is_told = told.iter().any(|event| event.starts_with("Switched"));
        let now = model_of(&database);
        assert!(now == to || (now == from && !is_told), "{now} after {told:?}");
        check(&database, &now, &oracle, &format!("round {rounds}, after {:?}", told.last()));
        if now == to {
            std::mem::swap(&mut from, &mut to);
            switched += 1;
        }
        // Another writer comes between.
        let collection = database.existing_collection("default", &options(&now)).unwrap();
        let (id, text) = (format!("between{rounds}"), text(20_000 + rounds));
        collection.add([Document::new(&id, &text)]).unwrap();
        oracle.insert(id, text);
        let gone = format!("d{}", random.below(documents));
        collection.remove(&[&gone]).unwrap();
        oracle.remove(&gone);
    }
    println!("{killed} kills, {switched} switches");
}

/// By the command line, with the real encoder in 8 and in 32 bits.
fn from_one_precision_to_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    support::models();
    std::fs::write(at.join("a.txt"), "The tide follows the moon, twice a day.").unwrap();
    std::fs::write(at.join("b.txt"), "Bread needs flour, water, salt and time.").unwrap();
    let run = |arguments: &[&str]| support::vdb(at, arguments);
    let (status, _, err) = run(&["ingest", "a.txt", "b.txt"]);
    assert_eq!(status, 0, "{err}");
    let model = ["--model", vdb::model::DEFAULT_ENCODER, "--precision", "fp32"];
    let (status, out, err) = run(&[&["reembed", "--dry-run", "--json"], &model[..]].concat());
    assert_eq!(status, 0, "{err}");
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&plan["chunks"], &plan["remaining"]), (&2.into(), &2.into()));
    let (status, out, err) = run(&[&["reembed", "--json"], &model[..]].concat());
    assert_eq!(status, 0, "{err}");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["complete"], &last["embedded"]), (&true.into(), &2.into()));
    let (_, out, _) = run(&["stats", "--json"]);
    assert!(out.contains("fp32"), "{out}");
    let (status, out, err) = run(&["query", "why does the water rise at the coast", "--json"]);
    assert_eq!(status, 0, "{err}");
    assert!(out.lines().next().unwrap().contains("a.txt"), "{out}");
    let (status, _, err) = run(&["query", "x", "--precision", "int8"]);
    assert!(status == 1 && err.contains("vdb reembed --model"), "{err}");
    let (status, _, err) = run(&["reembed", "--model", "no-such-model"]);
    assert!(status == 1 && err.contains("no-such-model"), "{err}");
}
