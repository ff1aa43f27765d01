use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;

fn put(store: &Store, key: &[u8], value: &[u8]) -> u64 {
    let mut batch = Batch::default();
    batch.put(key.to_vec(), Kind::Text, value).unwrap();
    commit(store, batch)
}

fn commit(store: &Store, batch: Batch) -> u64 {
    let turn = store.turn().unwrap();
    store.commit(batch, &turn).unwrap()
}

#[test]
fn a_commit_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    assert!(matches!(Store::open(&path, Access::Existing), Err(Error::NotFound { .. })));
    let store = Store::open(&path, Access::Create).unwrap();
    assert_eq!(put(&store, b"ta", b"one"), 1);
    assert_eq!(put(&store, b"ta", b"two"), 2);
    let uuid = store.database();
    drop(store);
    let store = Store::open(&path, Access::Existing).unwrap();
    assert_eq!(store.get(b"ta", Kind::Text).unwrap().unwrap(), b"two");
    assert_eq!((store.generation(), store.database()), (2, uuid));
    assert_eq!(store.verify(), Vec::<String>::new());
}

#[test]
fn a_store_behind_its_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, Access::Create).unwrap();
    put(&store, b"ta", b"one");
    drop(store);
    let older = std::fs::read(path.join("store/1/db")).unwrap();
    let store = Store::open(&path, Access::Create).unwrap();
    put(&store, b"tb", b"two");
    put(&store, b"tc", b"three");
    drop(store);
    std::fs::write(path.join("store/1/db"), older).unwrap();
    for entry in std::fs::read_dir(path.join("store/1")).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    assert!(matches!(Store::open(&path, Access::Create), Err(Error::Corrupted { .. })));
}

/// The crash between sled's sync and the manifest: the commit is whole and is kept.
#[test]
fn a_store_one_commit_ahead_rolls_forward() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, Access::Create).unwrap();
    put(&store, b"ta", b"one");
    let before = std::fs::read(path.join("MANIFEST")).unwrap();
    put(&store, b"tb", b"two");
    drop(store);
    std::fs::write(path.join("MANIFEST"), before).unwrap();
    let store = Store::open(&path, Access::Create).unwrap();
    assert_eq!(store.generation(), 2);
    assert_eq!(store.get(b"tb", Kind::Text).unwrap().unwrap(), b"two");
    assert!(store.verify().is_empty());
}

/// sled's threads can keep its lock for a while after the store is gone.
#[test]
fn a_closed_store_opens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(Store::open(&path, Access::Create).unwrap());
    let still_closing = File::options().write(true).open(path.join("store/1/db")).unwrap();
    still_closing.lock().unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        drop(still_closing);
    });
    Store::open(&path, Access::Existing).unwrap();
    closer.join().unwrap();
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(Store::open(folder.path(), Access::Create), Err(Error::Parameter { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// What sled does on damaged pages: an older record, or none, and no error. Neither is believed, by
/// the first read after an open, and a full check names the group.
#[test]
fn a_stale_or_lost_record_is_an_error_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let key = |number| keys::numbered(keys::VECTOR, 1, number);
    let put = |store: &Store, number, value: &[u8]| {
        let mut batch = Batch::default();
        batch.put(key(number), Kind::Vector, value).unwrap();
        commit(store, batch);
    };
    for (damaged, frame) in [
        (key(7), Some(codec::seal(&key(7), Kind::Vector, b"old").unwrap())),
        (key(7), None),
        (key(9), Some(codec::seal(&key(9), Kind::Vector, b"removed").unwrap())),
        (key(300), None),
        (key(4000), Some(codec::seal(&key(4000), Kind::Vector, b"removed").unwrap())),
    ] {
        let _ = std::fs::remove_dir_all(&path);
        let store = Store::open(&path, Access::Create).unwrap();
        put(&store, 7, b"new");
        put(&store, 8, b"other");
        put(&store, 300, b"alone in its group");
        put(&store, 600, b"in a third group");
        store.tree().apply([(damaged.clone(), frame)].into()).unwrap();
        store.tree().sync().unwrap();
        drop(store);

        let store = Store::open(&path, Access::Existing).unwrap();
        assert_eq!(store.verify().len(), 1, "{:?}", store.verify());
        let wrong = |result| matches!(result, Err(Error::Corrupted { .. }));
        assert!(wrong(store.get(&damaged, Kind::Vector).map(drop)));
        assert!(wrong(store.contains(&damaged).map(drop)));
        let all: Vec<_> = store.scan(&keys::prefix(keys::VECTOR, 1), Kind::Vector).collect();
        assert!(all.iter().any(Result::is_err), "{all:?}");
        // The rest is still read.
        assert_eq!(store.get(&key(600), Kind::Vector).unwrap().unwrap(), b"in a third group");
        let mut batch = Batch::default();
        batch.put(damaged, Kind::Vector, b"x").unwrap();
        let turn = store.turn().unwrap();
        assert!(wrong(store.commit(batch, &turn).map(drop)), "a commit would hide the damage");
        assert!(wrong(store.compact(&turn)), "so would a compaction");
    }
}

#[test]
fn a_record_under_a_wrong_key_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), Access::Create).unwrap();
    put(&store, b"ta", b"one");
    store.tree().apply([(b"tx".to_vec(), Some(b"junk".to_vec()))].into()).unwrap();
    assert_eq!(store.verify().len(), 2);
}

#[test]
fn a_compacted_store_holds_the_same_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, Access::Create).unwrap();
    for i in 0..300u32 {
        let mut batch = Batch::default();
        let value = format!("secret number {i}").repeat(50);
        batch.put(keys::numbered(keys::VECTOR, 1, i), Kind::Vector, value.as_bytes()).unwrap();
        commit(&store, batch);
    }
    let mut batch = Batch::default();
    for i in (0..300).filter(|i| i % 3 > 0) {
        batch.delete(keys::numbered(keys::VECTOR, 1, i));
    }
    commit(&store, batch);
    let before: Vec<_> = store.scan(b"v", Kind::Vector).map(Result::unwrap).collect();
    let generation = store.generation();
    // Whoever is in the middle of reading goes on with the old files.
    let mut reading = store.scan(b"v", Kind::Vector);
    assert_eq!(reading.next().unwrap().unwrap(), before[0]);
    let turn = store.turn().unwrap();
    store.compact(&turn).unwrap();
    drop(turn);
    assert_eq!(reading.map(Result::unwrap).collect::<Vec<_>>(), before[1..]);
    assert_eq!(store.generation(), generation + 1);
    for reopened in [false, true] {
        let store = if reopened { &Store::open(&path, Access::Copy).unwrap() } else { &store };
        let after: Vec<_> = store.scan(b"v", Kind::Vector).map(Result::unwrap).collect();
        assert_eq!(after, before);
        assert_eq!(store.verify(), Vec::<String>::new());
    }
    drop(store);
    let store = Store::open(&path, Access::Existing).unwrap();
    let data = std::fs::read(path.join("store/2/db")).unwrap();
    let there = |text: &str| data.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(there("secret number 3secret") && !there("secret number 4secret"));
    assert_eq!(std::fs::read_dir(path.join("store")).unwrap().count(), 1);
    assert!(store.verify().is_empty());
}

/// A crash before the manifest names the new folder leaves the old one in force.
#[test]
fn an_interrupted_compaction_leaves_the_old_store_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, Access::Create).unwrap();
    put(&store, b"ta", b"one");
    drop(store);
    let keep = folder.path().join("keep");
    snapshot::copy(&path, &keep, false).unwrap();
    let store = Store::open(&path, Access::Existing).unwrap();
    let turn = store.turn().unwrap();
    store.compact(&turn).unwrap();
    drop(turn);
    drop(store);
    let after = folder.path().join("after");
    snapshot::copy(&path, &after, false).unwrap();
    // Both folders are there, and the manifest is the old one or the new one.
    for (manifest, generation) in [(&after, 2), (&keep, 1)] {
        std::fs::remove_dir_all(&path).unwrap();
        snapshot::copy(&keep, &path, false).unwrap();
        snapshot::copy(&after, &path, false).unwrap();
        snapshot::copy_file(manifest, &path, Path::new(MANIFEST), false).unwrap();
        let store = Store::open(&path, Access::Existing).unwrap();
        assert_eq!(store.generation(), generation);
        assert_eq!(store.get(b"ta", Kind::Text).unwrap().unwrap(), b"one");
        assert_eq!(std::fs::read_dir(path.join("store")).unwrap().count(), 1);
    }
}

#[test]
fn split_records_come_back_whole_and_go_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), Access::Create).unwrap();
    for length in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 3] {
        let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let base = keys::numbered(keys::TEXT, 1, u32::try_from(length).unwrap());
        let mut batch = Batch::default();
        batch.put_split(&base, Kind::Text, &bytes).unwrap();
        commit(&store, batch);
        assert_eq!(store.get_split(&base, Kind::Text).unwrap().unwrap(), bytes);
        for span in [0..length, length / 3..length / 2, length / 2..length] {
            let part = store.get_split_span(&base, Kind::Text, span.clone()).unwrap().unwrap();
            assert_eq!(part, bytes[span]);
        }
        let mut batch = Batch::default();
        store.delete_split(&mut batch, &base).unwrap();
        commit(&store, batch);
        assert_eq!(store.get_split(&base, Kind::Text).unwrap(), None);
    }
    assert!(store.verify().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Against a `BTreeMap`, with reopening as a step.
    #[test]
    fn the_store_is_a_map(steps in proptest::collection::vec(
        proptest::collection::vec((0u8..12, proptest::option::of(0usize..400)), 0..6), 1..20)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut store = Store::open(&path, Access::Create).unwrap();
        let mut model = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            if step.is_empty() {
                drop(store);
                store = Store::open(&path, Access::Existing).unwrap();
                continue;
            }
            let mut batch = Batch::default();
            for (key, value) in step {
                let key = vec![b't', *key];
                if let Some(n) = value {
                    let payload = vec![u8::try_from(i % 256).unwrap(); *n];
                    batch.put(key.clone(), Kind::Text, &payload).unwrap();
                    model.insert(key, payload);
                } else {
                    batch.delete(key.clone());
                    model.remove(&key);
                }
            }
            commit(&store, batch);
        }
        let found: BTreeMap<_, _> = store.scan(b"t", Kind::Text).map(Result::unwrap).collect();
        prop_assert_eq!(found, model);
        prop_assert!(store.verify().is_empty());
    }
}
