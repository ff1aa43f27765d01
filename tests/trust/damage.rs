//! Bits flipped, bytes written over and files cut short, one at a time, anywhere in a database.

use super::workload::{self, Oracle, Step};
use super::{role, rounds};
use crate::support::{self, Random, output_within, words};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vdb::{Database, Mode};

/// A database of this size opens and answers in a tenth of a second.
const LIMIT: Duration = Duration::from_secs(60);

/// Prints everything that the database says: contents, answers, errors, repairs.
pub fn answer(path: &Path) {
    let told = |error: vdb::Error| json!({"error": error.to_string()});
    let said = match Database::open_existing(path) {
        Err(error) => told(error),
        Ok(database) => match database.existing_collection("c", &words()) {
            Err(error) => told(error),
            Ok(collection) => {
                let mut said = json!({});
                let ids: Result<Vec<String>, _> =
                    collection.documents().map(|d| d.map(|d| d.id)).collect();
                said["documents"] = ids.map_or_else(told, |ids| json!(ids));
                // One at a time, so that each is an answer or an error of its own.
                for n in 0..40 {
                    let id = format!("d{n}");
                    said[&id] =
                        collection.get(&id).map_or_else(told, |found| json!(found.map(|d| d.text)));
                }
                for mode in [Mode::Dense, Mode::Keyword, Mode::Hybrid] {
                    said[mode.to_string()] =
                        workload::answers(&collection, mode).map_or_else(told, |hits| {
                            let names = |hits: &Vec<(String, f32)>| {
                                hits.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>()
                            };
                            json!(hits.iter().map(names).collect::<Vec<_>>())
                        });
                }
                said["repairs"] = json!(collection.take_notices());
                said
            }
        },
    };
    println!("{said}");
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Right,
    Repaired,
    Error,
}

pub fn damaged_at_random_places() {
    let times = rounds(60, 10_000);
    let folder = tempfile::tempdir().unwrap();
    let origin = folder.path().join("origin");
    fill(&origin);
    let expected = expected(folder.path(), &origin);
    let files = files(&origin);
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let tables: Vec<BTreeMap<(String, Outcome), usize>> = std::thread::scope(|scope| {
        let run = |worker: usize| {
            let (files, expected, origin) = (&files, &expected, &origin);
            let path = folder.path().join(format!("damaged{worker}"));
            scope.spawn(move || {
                let mut table = BTreeMap::new();
                for time in (worker..times).step_by(workers) {
                    let (file, outcome) = one(origin, &path, files, time, expected);
                    *table.entry((file, outcome)).or_default() += 1;
                }
                table
            })
        };
        let running: Vec<_> = (0..workers).map(run).collect();
        running.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let mut table: BTreeMap<(String, Outcome), usize> = BTreeMap::new();
    for (key, count) in tables.into_iter().flatten() {
        *table.entry(key).or_default() += count;
    }
    for ((file, outcome), count) in &table {
        println!("{file:<40} {outcome:?} {count}");
    }
}

/// Commits, updates and removals, the last of them after the indexes were saved.
fn fill(path: &Path) {
    let mut random = Random(77);
    let mut open = Some(workload::open_at(path).unwrap());
    let mut revision = 0;
    for part in 0..3 {
        for _ in 0..25 {
            revision += 1;
            let step = Step::random(&mut random, revision);
            if matches!(step, Step::Put(_) | Step::Remove(_)) {
                step.run(path, &mut open).unwrap();
            }
        }
        if part < 2 {
            Step::Reopen.run(path, &mut open).unwrap();
        }
    }
}

/// What may be said: the answers as they are, and those after the indexes were made again (BM25
/// then no longer counts what was removed).
fn expected(folder: &Path, origin: &Path) -> [Value; 2] {
    let path = folder.join("expected");
    let say = |path: &Path| -> Value {
        let output = role("answer", path).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    copy(origin, &path);
    let first = say(&path);
    copy(origin, &path);
    fs::remove_dir_all(path.join("index")).unwrap();
    let second = say(&path);
    for said in [&first, &second] {
        assert!(!said.to_string().contains("\"error\""), "{said}");
        let texts: Oracle = (0..40)
            .filter_map(|n| Some((format!("d{n}"), said[format!("d{n}")].as_str()?.to_owned())))
            .collect();
        assert!(texts.len() > 10, "{said}");
    }
    [first, second]
}

fn one(
    origin: &Path,
    path: &Path,
    files: &[PathBuf],
    time: usize,
    expected: &[Value; 2],
) -> (String, Outcome) {
    let mut random = Random((time as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    random.below(2);
    copy(origin, path);
    // The keyword index has the most files and the store the most to lose.
    let keyword = |file: &&PathBuf| file.to_string_lossy().contains("keywords");
    let (keywords, others): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(keyword);
    let some = if random.below(4) == 0 { keywords } else { others };
    let file = some[random.below(some.len())];
    let target = path.join(file);
    let mut bytes = fs::read(&target).unwrap();
    let at = random.below(bytes.len());
    let what = match random.below(3) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            "flip"
        }
        1 => {
            let end = (at + 1 + random.below(64)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|b| *b = random.below(256) as u8);
            "overwrite"
        }
        _ => {
            bytes.truncate(at);
            "truncate"
        }
    };
    fs::write(&target, bytes).unwrap();
    let told = format!("time {time}: {what} {} at {at}", file.display());

    let output = output_within(role("answer", path).spawn().unwrap(), LIMIT, &told);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}: {}: {complained}", output.status);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcome = judge(&said, expected, &told);
    // The kind of file, not its name.
    let kind = if file.starts_with("store") || file.starts_with("index") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let end = name.rsplit('.').next().unwrap_or_default().to_owned();
        let kind = if name.starts_with("snap.") { "snap".to_owned() } else { end };
        format!("{}/…/{kind}", file.iter().next().unwrap().to_string_lossy())
    } else {
        file.display().to_string()
    };
    (kind, outcome)
}

fn judge(said: &Value, expected: &[Value; 2], told: &str) -> Outcome {
    let is_error = |value: &Value| value.get("error").is_some();
    if is_error(said) {
        return Outcome::Error;
    }
    let mut outcome = Outcome::Right;
    if said["repairs"].as_array().is_some_and(|r| !r.is_empty()) {
        outcome = Outcome::Repaired;
    }
    for (key, value) in said.as_object().unwrap().iter().filter(|(key, _)| *key != "repairs") {
        if is_error(value) {
            outcome = Outcome::Error;
        } else {
            let right = expected.iter().any(|e| e[key] == *value);
            assert!(right, "{told}: {key}: {value} where {} is right", expected[0][key]);
        }
    }
    outcome
}

/// The files that have something in them, as paths relative to `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = support::files(folder);
    found.retain(|file| fs::metadata(file).unwrap().len() > 0);
    found.iter().map(|file| file.strip_prefix(folder).unwrap().to_path_buf()).collect()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), target).unwrap();
    }
    std::io::stdout().flush().unwrap();
}
