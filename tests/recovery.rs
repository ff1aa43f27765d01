//! Copies, backups, compaction: what a person does to keep data, or to be rid of it.
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

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use support::{files, words};
use vdb::{Collection, CollectionOptions, Database, Document, Error};

fn open(path: &Path) -> (Database, Collection) {
    let database = Database::open(path).unwrap();
    let collection = database.collection("c", &words()).unwrap();
    (database, collection)
}

fn holding(folder: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = files(folder);
    found.retain(|file| {
        let data = std::fs::read(file).unwrap();
        data.windows(bytes.len()).any(|w| w == bytes)
    });
    found
}

#[test]
fn readers_see_whole_commits_beside_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (_database, collection) = open(&path);
    let done = AtomicBool::new(false);
    // Every commit replaces three documents that say the same number.
    let commit = |n: usize| {
        let documents = ["a", "b", "c"].map(|id| Document::new(id, format!("the number is {n}")));
        collection.add(documents).unwrap();
    };
    commit(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let database = Database::open_read_only(&path).unwrap();
                    let reader = database.existing_collection("c", &words()).unwrap();
                    let texts: Vec<String> =
                        ["a", "b", "c"].map(|id| reader.get(id).unwrap().unwrap().text).into();
                    assert!(texts.iter().all(|t| *t == texts[0]), "{texts:?}");
                    let n: usize = texts[0].rsplit(' ').next().unwrap().parse().unwrap();
                    assert!(n >= last, "{n} after {last}");
                    last = n;
                    let hits = reader.query(&format!("number {n}")).run().unwrap();
                    assert_eq!(hits.len(), 3);
                    assert!(hits.iter().all(|h| h.text == texts[0]), "{hits:?}");
                    let refused = reader.add([Document::new("d", "more")]).unwrap_err();
                    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
                    assert!(matches!(reader.remove(&["a"]), Err(Error::ReadOnly { .. })));
                    assert!(matches!(database.compact(), Err(Error::ReadOnly { .. })));
                    assert_eq!(reader.verify().unwrap(), Vec::<String>::new());
                }
            });
        }
        (1..60).for_each(commit);
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    // What readers had to themselves went with them.
    assert_eq!(files(&path.join("readers")), Vec::<PathBuf>::new());
}

#[test]
fn a_dead_readers_copy_goes_with_the_next_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(open(&path));
    let alive = Database::open_read_only(&path).unwrap();
    let dead = path.join("readers/reader-dead");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("MANIFEST"), b"left over").unwrap();
    drop(open(&path));
    assert!(!dead.exists());
    assert_eq!(alive.collections().unwrap().len(), 1);
    assert_eq!(alive.verify(), Vec::<String>::new());
}

#[test]
fn a_backup_is_one_generation_and_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let backups = folder.path().join("backups");
    let (database, collection) = open(&path);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let ids = ["a", "b", "c"];
                let texts = ids.map(|id| Document::new(id, format!("the number is {n}")));
                collection.add(texts).unwrap();
            }
        });
        for n in 0..5 {
            assert!(Database::backup(&path, backups.join(n.to_string())).unwrap() > 0);
        }
        done.store(true, Ordering::Relaxed);
    });
    for n in 0..5 {
        let restored = folder.path().join(format!("restored{n}"));
        Database::restore(backups.join(n.to_string()), &restored).unwrap();
        let (database, collection) = open(&restored);
        assert_eq!(database.verify(), Vec::<String>::new());
        assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
        if let Some(first) = collection.get("a").unwrap() {
            assert_eq!(collection.get("c").unwrap().unwrap().text, first.text);
        }
        // A database like any other.
        collection.add([Document::new("new", "after the restore")]).unwrap();
    }
    drop((collection, database));

    let taken = Database::backup(&path, backups.join("0"));
    assert!(matches!(taken, Err(Error::Parameter { .. })), "{taken:?}");
    let taken = Database::restore(backups.join("0"), &path);
    assert!(matches!(taken, Err(Error::Parameter { .. })), "{taken:?}");
    let none = Database::restore(&path, folder.path().join("x"));
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
    let none = Database::backup(folder.path().join("nothing"), folder.path().join("x"));
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");

    // Any damage to any file of it is found before anything is made of it.
    let backup = backups.join("1");
    for file in files(&backup) {
        let whole = std::fs::read(&file).unwrap();
        if whole.is_empty() {
            continue;
        }
        let mut bad = whole.clone();
        bad[whole.len() / 2] ^= 0x10;
        std::fs::write(&file, bad).unwrap();
        let target = folder.path().join("x");
        let refused = Database::restore(&backup, &target);
        assert!(refused.is_err(), "{}", file.display());
        assert!(!target.exists());
        std::fs::write(&file, whole).unwrap();
    }
    Database::restore(&backup, folder.path().join("x")).unwrap();
}

/// A private database has a private backup, and one that others may read comes back as one.
#[cfg(unix)]
#[test]
fn a_copy_is_as_open_as_what_it_was_made_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(open(&path));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for (given, kept) in [(0o755, 0o755), (0o700, 0o700), (0o550, 0o750)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(given)).unwrap();
        let (backup, restored) = (folder.path().join("backup"), folder.path().join("restored"));
        Database::backup(&path, &backup).unwrap();
        Database::restore(&backup, &restored).unwrap();
        assert_eq!((mode(&backup), mode(&restored)), (kept, kept));
        std::fs::remove_dir_all(backup).unwrap();
        std::fs::remove_dir_all(restored).unwrap();
    }
}

#[test]
fn what_was_removed_is_nowhere_after_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    // Of length 1 to the bit, so that it is stored as it is.
    let vector = |i: usize| -> Vec<f32> {
        // splitmix64 (Steele 2014).
        let mut x = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5677);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let signs = x ^ x >> 31;
        (0..64).map(|k| if signs >> k & 1 == 1 { 0.125 } else { -0.125 }).collect()
    };
    let bytes = |i: usize| vector(i).iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    // xorshift noise, so that the text cannot be in the files in a shorter form.
    let text = |i: usize| {
        let mut x = 88_172_645_463_325_252u64 ^ (i as u64) << 7;
        let words: Vec<String> = std::iter::repeat_with(|| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            format!("w{:x}", x & 0xffff_ffff)
        })
        .take(300)
        .collect();
        words.join(" ")
    };
    {
        let database = Database::open(&path).unwrap();
        let options = CollectionOptions::dimensions(64);
        let collection = database.collection("c", &options).unwrap();
        for i in 0..200 {
            collection.add([Document::new(format!("d{i}"), text(i)).vector(vector(i))]).unwrap();
        }
        collection.save_indexes().unwrap();
    }
    let needles = |i: usize| {
        let text = text(i);
        let word = text.split(' ').nth(150).unwrap().to_owned();
        [text.as_bytes()[..40].to_vec(), word.into_bytes(), bytes(i)]
    };
    for needle in needles(7) {
        assert!(!holding(&path, &needle).is_empty(), "it must be there to be removed");
    }
    let database = Database::open(&path).unwrap();
    let collection = database.existing_collection("c", &CollectionOptions::default()).unwrap();
    let gone: Vec<String> = (0..200).filter(|i| i % 2 == 1).map(|i| format!("d{i}")).collect();
    assert_eq!(collection.remove(&gone).unwrap(), 100);
    let before = database.disk_bytes().unwrap();
    database.compact().unwrap();
    let after = database.disk_bytes().unwrap();
    for i in (1..200).step_by(2) {
        for (kind, needle) in ["text", "word", "vector"].iter().zip(needles(i)) {
            let found = holding(&path, &needle);
            assert_eq!(found, Vec::<PathBuf>::new(), "{kind} of document {i}");
        }
    }
    assert!(!holding(&path, &needles(8)[0]).is_empty());
    println!("{before} bytes before, {after} after");
    assert!(after < before * 7 / 10, "{before} bytes before, {after} after");
    let hits = collection.query_vector(&vector(8)).top_k(1).run().unwrap();
    assert_eq!(hits[0].document, "d8");
    assert_eq!(database.verify(), Vec::<String>::new());
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    // And nothing comes back with the next open, or a second time.
    database.compact().unwrap();
    drop((collection, database));
    let database = Database::open(&path).unwrap();
    let collection = database.existing_collection("c", &CollectionOptions::default()).unwrap();
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    assert_eq!(collection.stats().documents, 100);
    for needle in needles(9) {
        assert_eq!(holding(&path, &needle), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_compacted_index_goes_on_removing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (database, collection) = open(&path);
    for n in 0..120 {
        let documents = ["a", "b", "c"].map(|id| Document::new(id, format!("the number is {n}")));
        collection.add(documents).unwrap();
        if n % 20 == 19 {
            database.compact().unwrap();
        }
        let reader = Database::open_read_only(&path).unwrap();
        let copy = reader.existing_collection("c", &words()).unwrap();
        assert_eq!(copy.verify().unwrap(), Vec::<String>::new(), "{n}");
        assert_eq!(collection.verify().unwrap(), Vec::<String>::new(), "{n}");
    }
}

/// 300 documents with what is easily lost on the way.
fn add_awkward(collection: &Collection) {
    let awkward = [0.1 + 0.2, f64::MIN_POSITIVE, 1.0 / 3.0, -0.0, 9_007_199_254_740_993.0, 1e300];
    for i in 0..300 {
        let mut document =
            Document::new(format!("d{i}"), format!("text \u{1f980} number {i}\n\"q\""))
                .title(format!("title {}", i % 7))
                .field("n", i)
                .field("float", awkward[i as usize % awkward.len()])
                .field("list", vec![vdb::Value::Null, true.into(), "x".into()]);
        if i % 10 == 0 {
            let vector: Vec<f32> = (0..64).map(|k| ((i * 64 + k) as f32).sin()).collect();
            document = document.vector(vector);
        }
        collection.add([document]).unwrap();
    }
}

#[test]
fn an_export_comes_back_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (database, collection) = open(&folder.path().join("db"));
    add_awkward(&collection);
    let export = |collection: &Collection| {
        let mut out = Vec::new();
        assert_eq!(collection.export(&mut out).unwrap(), 300);
        let text = String::from_utf8(out).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        (first.to_owned(), rest.to_owned())
    };
    let (first, rest) = export(&collection);
    let whole = format!("{first}\n{rest}");
    let other = Database::open(folder.path().join("other")).unwrap();
    for name in ["c", "second"] {
        assert_eq!(other.import(name, "test", &mut whole.as_bytes()).unwrap(), 300);
        let imported = other.existing_collection(name, &words()).unwrap();
        // Chunks name their document by its number, which is another one where there was a gap.
        assert_eq!(export(&imported).1, rest);
        assert_eq!(imported.verify().unwrap(), Vec::<String>::new());
        for query in ["number 17", "title 3"] {
            let answers = |c: &Collection| {
                let hits = c.query(query).run().unwrap();
                hits.into_iter().map(|h| (h.document, h.score, h.text)).collect::<Vec<_>>()
            };
            assert_eq!(answers(&imported), answers(&collection));
        }
        // A second time changes nothing.
        other.import(name, "test", &mut whole.as_bytes()).unwrap();
        assert_eq!(imported.stats().documents, 300);
    }
    drop(database);

    let import = |text: &str| other.import("third", "bad.jsonl", &mut text.as_bytes());
    for bad in ["", "{}", "not json", &rest[..200]] {
        let error = import(bad).unwrap_err();
        assert!(matches!(error, Error::Parse { line: Some(1), .. }), "{error}");
    }
    assert!(other.existing_collection("third", &words()).is_err(), "nothing was made of it");
    let newer = whole.replacen("\"vdb_export\":1", "\"vdb_export\":9", 1);
    assert!(matches!(import(&newer), Err(Error::NewerFormat { .. })));
    let cut = format!("{first}\n{}", &rest[..rest.len() - 9]);
    let error = import(&cut).unwrap_err();
    assert!(matches!(error, Error::Parse { line: Some(301), .. }), "{error}");
    // A line that lies about its vectors or spans changes nothing, and the next is welcome.
    let line = rest.lines().next().unwrap();
    let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["chunks"][0]["vector"][0] = 40.into();
    assert!(matches!(import(&format!("{first}\n{value}")), Err(Error::Vector { .. })));
    let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
    value["chunks"][0]["record"]["span"]["end"] = 4_000_000_000u64.into();
    assert!(matches!(import(&format!("{first}\n{value}")), Err(Error::Parameter { .. })));
    assert_eq!(import(&whole).unwrap(), 300);
    let wrong = whole.replacen("\"dimensions\":64", "\"dimensions\":63", 1);
    assert!(matches!(import(&wrong), Err(Error::Dimensions { .. })), "{:?}", import(&wrong));
}

#[cfg(feature = "arrow")]
#[test]
fn an_arrow_export_comes_back_to_the_bit_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection) = open(&folder.path().join("db"));
    add_awkward(&collection);
    let mut line = Document::new("file", "# One\ntext under one\n## Two\nmore");
    line.origin.path = Some("notes/file.md".to_owned());
    line.origin.line = Some(3);
    line.origin.verbatim = true;
    let heading =
        |level, text: &str, span| vdb::text::Heading { level, text: text.to_owned(), span };
    line.headings = vec![heading(1, "One", 0..5), heading(2, "Two", 21..27)];
    collection.add([line, Document::new("empty", "")]).unwrap();
    let jsonl = |collection: &Collection| {
        let mut out = Vec::new();
        collection.export(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        text.split_once('\n').unwrap().1.to_owned()
    };
    let mut arrow = Vec::new();
    assert_eq!(collection.export_arrow(&mut arrow).unwrap(), 302);
    assert!(arrow.starts_with(vdb::db::ARROW_MAGIC));
    let other = Database::open(folder.path().join("other")).unwrap();
    let import = |name: &str, bytes: &[u8]| {
        other.import_arrow(name, "test", &mut std::io::Cursor::new(bytes))
    };
    assert_eq!(import("c", &arrow).unwrap(), 302);
    let imported = other.existing_collection("c", &words()).unwrap();
    assert_eq!(jsonl(&imported), jsonl(&collection));
    assert_eq!(imported.verify().unwrap(), Vec::<String>::new());
    let mut again = Vec::new();
    imported.export_arrow(&mut again).unwrap();
    assert_eq!(import("second", &again).unwrap(), 302);
    assert_eq!(jsonl(&other.existing_collection("second", &words()).unwrap()), jsonl(&collection));

    // An empty collection is one, too.
    let none = other.collection("none", &words()).unwrap();
    let mut empty = Vec::new();
    assert_eq!(none.export_arrow(&mut empty).unwrap(), 0);
    assert_eq!(import("none", &empty).unwrap(), 0);

    // There are no checksums in it: what is changed is refused or is other data, and never a panic.
    let (mut random, mut refused) = (support::Random(0x1234_5678_9abc_def1), 0);
    let small = {
        let few = other.collection("few", &words()).unwrap();
        few.add((0..5).map(|i| Document::new(format!("d{i}"), "some text"))).unwrap();
        let mut out = Vec::new();
        few.export_arrow(&mut out).unwrap();
        out
    };
    for _ in 0..600 {
        let mut bad = small.clone();
        match random.below(4) {
            0 => bad.truncate(random.below(bad.len())),
            // The lengths are in the last part and at the beginning of each message.
            1 => {
                let at = bad.len() - 1 - random.below(bad.len() / 3);
                bad[at] = random.below(256) as u8;
            }
            2 => {
                let at = random.below(bad.len() - 8);
                bad[at..at + 8].fill([0, 0x7f, 0xff][random.below(3)]);
            }
            _ => {
                let at = random.below(bad.len());
                bad[at] ^= 1 << random.below(8);
            }
        }
        match import("hostile", &bad) {
            Ok(_) => {}
            Err(Error::Io { source, .. }) => panic!("{source}"),
            Err(_) => refused += 1,
        }
    }
    println!("{refused} of 600 refused");
    assert!(refused > 150, "{refused}");
    assert_eq!(other.verify(), Vec::<String>::new());
    for bad in
        [&b""[..], b"ARROW1", b"ARROW1\0\0\0\0\0\0ARROW1", b"ARROW1\0\0\xff\xff\xff\x7fARROW1"]
    {
        assert!(matches!(import("bad", bad), Err(Error::Parse { .. })));
    }
    assert!(other.existing_collection("bad", &words()).is_err(), "nothing was made of it");
}

/// Two collections under one number would hold each other's documents.
#[test]
fn collections_made_at_once_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (_origin, collection) = open(&folder.path().join("origin"));
    collection.add([Document::new("a", "imported")]).unwrap();
    let mut export = Vec::new();
    collection.export(&mut export).unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (database, export) = (&database, &export);
            scope.spawn(move || {
                let name = format!("c{n}");
                if n % 2 == 0 {
                    database.import(&name, "test", &mut export.as_slice()).unwrap();
                } else {
                    let made = database.collection(&name, &words()).unwrap();
                    made.add([Document::new(format!("d{n}"), "made")]).unwrap();
                }
            });
        }
    });
    for n in 0..8 {
        let made = database.existing_collection(&format!("c{n}"), &words()).unwrap();
        let ids: Vec<String> = made.documents().map(|d| d.unwrap().id).collect();
        assert_eq!(ids, [if n % 2 == 0 { "a".to_owned() } else { format!("d{n}") }]);
        assert_eq!(made.verify().unwrap(), Vec::<String>::new());
    }
}

#[test]
fn a_repair_brings_over_what_is_whole_and_names_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let text = |i: usize| format!("text of document {i} {}", "word ".repeat(i % 50));
    {
        let (_database, collection) = open(&path);
        for i in 0..120 {
            collection.add([Document::new(format!("d{i}"), text(i))]).unwrap();
        }
    }
    let whole = std::fs::read(path.join("store/1/db")).unwrap();
    let used = whole.iter().rposition(|b| *b != 0).unwrap();
    let (mut brought, mut rounds, mut unreadable) = (0, 0, 0);
    for round in 0..30 {
        let mut bad = whole.clone();
        let at = (round * 7919 * 31) % used;
        bad[at..(at + 40).min(used)].fill(0xA5);
        std::fs::write(path.join("store/1/db"), &bad).unwrap();
        let before: Vec<Vec<u8>> = files(&path).iter().map(|f| std::fs::read(f).unwrap()).collect();
        let to = folder.path().join(format!("repaired{round}"));
        match Database::repair(&path, &to) {
            Ok(report) => {
                let (database, collection) = open(&to);
                assert_eq!(database.verify(), Vec::<String>::new());
                assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
                let found: Vec<String> = collection.documents().map(|d| d.unwrap().id).collect();
                assert_eq!(found.len(), report.documents, "{report:?}");
                for id in &found {
                    let number = id[1..].parse().unwrap();
                    assert_eq!(collection.get(id).unwrap().unwrap().text, text(number));
                }
                brought += found.len();
                rounds += 1;
            }
            Err(Error::Corrupted { .. }) => unreadable += 1,
            Err(error) => panic!("round {round}: {error}"),
        }
        let after: Vec<Vec<u8>> = files(&path).iter().map(|f| std::fs::read(f).unwrap()).collect();
        assert_eq!(before, after, "the damaged database is left as it is");
    }
    println!("{brought} documents in {rounds} repairs, {unreadable} times nothing could be read");
    assert!(rounds > 10 && brought > rounds * 30);
    std::fs::write(path.join("store/1/db"), &whole).unwrap();
    // A lost manifest alone costs nothing.
    std::fs::remove_file(path.join("MANIFEST")).unwrap();
    let report = Database::repair(&path, folder.path().join("again")).unwrap();
    assert_eq!((report.documents, report.lost.len()), (120, 0), "{report:?}");
}
