//! What is done to a database, and the map that says what must be in it.

use super::rounds;
use crate::support::{Random, words};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use vdb::{Collection, Database, Document, Mode};

/// Document id to text.
pub type Oracle = BTreeMap<String, String>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    Put(Vec<(String, String)>),
    Remove(Vec<String>),
    Compact,
    Backup,
    Reopen,
}

const WORDS: [&str; 16] = [
    "harbour", "summit", "river", "anvil", "lantern", "orchard", "violin", "glacier", "compass",
    "meadow", "furnace", "saddle", "copper", "thunder", "ribbon", "barley",
];

/// A text that says which revision of which document it is.
fn text(random: &mut Random, id: &str, revision: usize) -> String {
    let mut words = vec![format!("{id} revision{revision}")];
    for _ in 0..random.below(60) {
        words.push(WORDS[random.below(WORDS.len())].to_owned());
    }
    words.join(" ")
}

impl Step {
    pub fn random(random: &mut Random, revision: usize) -> Self {
        match random.below(40) {
            0 => Self::Compact,
            1 => Self::Backup,
            2 | 3 => Self::Reopen,
            4..12 => {
                let some = 1 + random.below(3);
                Self::Remove((0..some).map(|_| format!("d{}", random.below(40))).collect())
            }
            _ => {
                let some = 1 + random.below(5);
                let ids = (0..some).map(|_| format!("d{}", random.below(40)));
                let mut put: Vec<(String, String)> = Vec::new();
                for id in ids.collect::<std::collections::BTreeSet<_>>() {
                    let text = text(random, &id, revision);
                    put.push((id, text));
                }
                Self::Put(put)
            }
        }
    }

    pub fn apply(&self, oracle: &mut Oracle) {
        match self {
            Self::Put(documents) => oracle.extend(documents.iter().cloned()),
            Self::Remove(ids) => ids.iter().for_each(|id| drop(oracle.remove(id))),
            Self::Compact | Self::Backup | Self::Reopen => {}
        }
    }

    /// Does it to the database; `open` is replaced by [`Step::Reopen`].
    pub fn run(&self, path: &Path, open: &mut Option<(Database, Collection)>) -> vdb::Result<()> {
        if open.is_none() {
            *open = Some(open_at(path)?);
        }
        let (database, collection) = open.as_ref().unwrap();
        match self {
            Self::Put(documents) => {
                let documents = documents.iter().map(|(id, text)| Document::new(id, text));
                collection.add(documents).map(drop)
            }
            Self::Remove(ids) => collection.remove(ids).map(drop),
            Self::Compact => database.compact(),
            Self::Backup => {
                let (backup, restored) = (path.with_extension("b"), path.with_extension("r"));
                for folder in [&backup, &restored] {
                    let _ = std::fs::remove_dir_all(folder);
                }
                Database::backup(path, &backup)?;
                Database::restore(&backup, &restored)?;
                assert_eq!(contents(&open_at(&restored)?.1), contents(collection));
                Ok(())
            }
            Self::Reopen => {
                *open = None;
                *open = Some(open_at(path)?);
                Ok(())
            }
        }
    }
}

pub fn open_at(path: &Path) -> vdb::Result<(Database, Collection)> {
    let database = Database::open(path)?;
    let collection = database.collection("c", &words())?;
    Ok((database, collection))
}

pub fn contents(collection: &Collection) -> Oracle {
    let ids: Vec<String> = collection.documents().map(|d| d.unwrap().id).collect();
    ids.into_iter()
        .map(|id| {
            let text = collection.get(&id).unwrap().unwrap().text;
            (id, text)
        })
        .collect()
}

pub const QUERIES: [&str; 4] =
    ["harbour lantern copper", "revision7 river", "d3 summit", "\"glacier\" barley saddle"];

/// Documents and scores of some queries in one mode.
pub fn answers(collection: &Collection, mode: Mode) -> vdb::Result<Vec<Vec<(String, f32)>>> {
    QUERIES
        .iter()
        .map(|query| {
            let hits = collection.query(query).mode(mode).top_k(12).run()?;
            Ok(hits.into_iter().map(|h| (h.document, h.score)).collect())
        })
        .collect()
}

/// Everything that must hold of a database whose contents are `oracle`; compacts it on the way.
pub fn check(path: &Path, oracle: &Oracle, told: &str) {
    let (database, collection) = open_at(path).unwrap();
    assert_eq!(&contents(&collection), oracle, "{told}");
    assert_eq!(database.verify(), Vec::<String>::new(), "{told}");
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new(), "{told}");
    // The graph and the store agree, point for point.
    for query in QUERIES {
        let ask = |exact: bool| {
            let hits = collection.query(query).mode(Mode::Dense).exact(exact).run().unwrap();
            hits.into_iter().map(|h| (h.chunk, h.score)).collect::<Vec<_>>()
        };
        assert_eq!(ask(false), ask(true), "{told}: {query}");
    }
    // BM25 counts entries that are gone until their segment is rewritten.
    database.compact().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_fresh, other) = open_at(&folder.path().join("db")).unwrap();
    let order: Vec<String> = collection.documents().map(|d| d.unwrap().id).collect();
    other.add(order.iter().map(|id| Document::new(id, &oracle[id]))).unwrap();
    for mode in [Mode::Dense, Mode::Keyword, Mode::Hybrid] {
        let (found, right) = (answers(&collection, mode).unwrap(), answers(&other, mode).unwrap());
        assert_eq!(found, right, "{told}: {mode}");
    }
}

/// Random sequences against a `BTreeMap`, and at the end against a database made from it.
pub fn a_database_is_a_map() {
    let sequences = rounds(12, 10_000);
    for sequence in 0..sequences {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (sequence as u64 + 1) << 20);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let (mut open, mut oracle) = (None, Oracle::new());
        for revision in 0..4 + random.below(12) {
            let step = Step::random(&mut random, revision);
            step.run(&path, &mut open).unwrap();
            step.apply(&mut oracle);
            let (_, collection) = open.as_ref().unwrap();
            assert_eq!(contents(collection), oracle, "sequence {sequence}: {step:?}");
            let hits = collection.query("harbour").mode(Mode::Keyword).top_k(50).run().unwrap();
            let mut found: Vec<&str> = hits.iter().map(|h| h.document.as_str()).collect();
            found.sort_unstable();
            let word = |text: &str| text.split(' ').any(|w| w == "harbour");
            let right: Vec<&str> =
                oracle.iter().filter(|(_, text)| word(text)).map(|(id, _)| id.as_str()).collect();
            assert_eq!(found, right, "sequence {sequence}: {step:?}");
        }
        drop(open);
        check(&path, &oracle, &format!("sequence {sequence}"));
    }
    println!("{sequences} sequences");
}
