use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;

fn put(store: &Store, key: &[u8], value: &[u8]) -> u64 {
    let mut batch = Batch::default();
    batch.put(key.to_vec(), Kind::Text, value).unwrap();
    store.commit(batch).unwrap()
}

#[test]
fn a_commit_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    assert!(matches!(Store::open(&path, false), Err(Error::NotFound { .. })));
    let store = Store::open(&path, true).unwrap();
    assert_eq!(put(&store, b"ta", b"one"), 1);
    assert_eq!(put(&store, b"ta", b"two"), 2);
    let uuid = store.database();
    drop(store);
    let store = Store::open(&path, false).unwrap();
    assert_eq!(store.get(b"ta", Kind::Text).unwrap().unwrap(), b"two");
    assert_eq!((store.generation(), store.database()), (2, uuid));
    assert_eq!(store.verify(), Vec::<String>::new());
}

#[test]
fn a_store_behind_its_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, true).unwrap();
    put(&store, b"ta", b"one");
    drop(store);
    let older = std::fs::read(path.join("store/db")).unwrap();
    let store = Store::open(&path, true).unwrap();
    put(&store, b"tb", b"two");
    put(&store, b"tc", b"three");
    drop(store);
    std::fs::write(path.join("store/db"), older).unwrap();
    for entry in std::fs::read_dir(path.join("store")).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    assert!(matches!(Store::open(&path, true), Err(Error::Corrupted { .. })));
}

/// The crash between sled's sync and the manifest: the commit is whole and is kept.
#[test]
fn a_store_one_commit_ahead_rolls_forward() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let store = Store::open(&path, true).unwrap();
    put(&store, b"ta", b"one");
    let before = std::fs::read(path.join("MANIFEST")).unwrap();
    put(&store, b"tb", b"two");
    drop(store);
    std::fs::write(path.join("MANIFEST"), before).unwrap();
    let store = Store::open(&path, true).unwrap();
    assert_eq!(store.generation(), 2);
    assert_eq!(store.get(b"tb", Kind::Text).unwrap().unwrap(), b"two");
    assert!(store.verify().is_empty());
}

/// sled's threads can keep its lock for a while after the store is gone.
#[test]
fn a_closed_store_opens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(Store::open(&path, true).unwrap());
    let still_closing = File::options().write(true).open(path.join("store/db")).unwrap();
    still_closing.lock().unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        drop(still_closing);
    });
    Store::open(&path, false).unwrap();
    closer.join().unwrap();
}

#[test]
fn a_folder_with_other_files_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(Store::open(folder.path(), true), Err(Error::Parameter { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn verify_names_a_record_that_changed_behind_our_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), true).unwrap();
    put(&store, b"ta", b"one");
    let stale = codec::seal(b"ta", Kind::Text, b"old").unwrap();
    store.tree.commit([(b"ta".to_vec(), Some(stale))].into()).unwrap();
    let damage = store.verify();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(damage[0].contains("other contents"), "{damage:?}");
    store.tree.commit([(b"tx".to_vec(), Some(b"junk".to_vec()))].into()).unwrap();
    assert_eq!(store.verify().len(), 2);
}

#[test]
fn split_records_come_back_whole_and_go_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db"), true).unwrap();
    for length in [0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES + 3] {
        let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let base = keys::numbered(keys::TEXT, 1, u32::try_from(length).unwrap());
        let mut batch = Batch::default();
        batch.put_split(&base, Kind::Text, &bytes).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(store.get_split(&base, Kind::Text).unwrap().unwrap(), bytes);
        for span in [0..length, length / 3..length / 2, length / 2..length] {
            let part = store.get_split_span(&base, Kind::Text, span.clone()).unwrap().unwrap();
            assert_eq!(part, bytes[span]);
        }
        let mut batch = Batch::default();
        store.delete_split(&mut batch, &base).unwrap();
        store.commit(batch).unwrap();
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
        let mut store = Store::open(&path, true).unwrap();
        let mut model = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            if step.is_empty() {
                drop(store);
                store = Store::open(&path, false).unwrap();
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
            store.commit(batch).unwrap();
        }
        let found: BTreeMap<_, _> = store.scan(b"t", Kind::Text).map(Result::unwrap).collect();
        prop_assert_eq!(found, model);
        prop_assert!(store.verify().is_empty());
    }
}
