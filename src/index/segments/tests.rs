mod metrics;

use super::super::sealed::Prepared;
use super::super::{Among, Bitmap, Effort, IndexParams, Neighbour, Stamp};
use super::VectorIndex;
use crate::vector::{Memory, Metric, Space, distance, normalise};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const STAMP: Stamp = Stamp { database: [9; 16], collection: 4 };
const USUAL: Effort = Effort::Usual;
const PARAMS: IndexParams =
    IndexParams { m: 16, ef_construction: 200, graph_at: 4096, memory: Memory::Speed };

fn cosine(dimensions: usize) -> Space {
    Space { dimensions, metric: Metric::Cosine }
}

fn open(folder: &Path, dimensions: usize) -> VectorIndex {
    open_in(folder, cosine(dimensions))
}

fn open_in(folder: &Path, space: Space) -> VectorIndex {
    let (index, notice) = VectorIndex::open(folder, space, PARAMS, STAMP).unwrap();
    assert_eq!(notice, None);
    index
}

/// Clustered directions, like embeddings, from a small generator of its own.
fn vectors(count: usize, dimensions: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    };
    let centres: Vec<Vec<f32>> =
        (0..32).map(|_| (0..dimensions).map(|_| next()).collect()).collect();
    (0..count)
        .map(|i| {
            let centre = &centres[i % centres.len()];
            let v: Vec<f32> = centre.iter().map(|c| c + 0.6 * next()).collect();
            normalise(&v, dimensions).unwrap()
        })
        .collect()
}

fn insert(index: &VectorIndex, points: &BTreeMap<u32, Vec<f32>>) {
    let items: Vec<(u32, &[f32])> = points.iter().map(|(id, v)| (*id, v.as_slice())).collect();
    index.insert(&items).unwrap();
}

fn oracle(
    points: &BTreeMap<u32, Vec<f32>>,
    query: &[f32],
    top_k: usize,
    allowed: Option<&Bitmap>,
) -> Vec<Neighbour> {
    let mut all: Vec<Neighbour> = points
        .iter()
        .filter(|(id, _)| allowed.is_none_or(|a| a.contains(**id)))
        .map(|(id, v)| Neighbour { id: *id, distance: distance(query, v) })
        .collect();
    all.sort_unstable();
    all.truncate(top_k);
    all
}

fn recall(found: &[Neighbour], right: &[Neighbour]) -> f64 {
    let hits = found.iter().filter(|f| right.iter().any(|r| r.id == f.id)).count();
    hits as f64 / right.len() as f64
}

/// Live, sealed and reopened, with and without filters and deletions, against comparing with all.
#[test]
fn recall_is_high_in_every_form() {
    for memory in Memory::ALL {
        recall_is_high(memory);
    }
}

fn recall_is_high(memory: Memory) {
    let open = |folder: &Path, dimensions: usize| {
        let params = IndexParams { memory, ..PARAMS };
        VectorIndex::open(folder, cosine(dimensions), params, STAMP).unwrap().0
    };
    let folder = tempfile::tempdir().unwrap();
    let mut points: BTreeMap<u32, Vec<f32>> = (0..).zip(vectors(9000, 32, 1)).collect();
    let queries = vectors(60, 32, 2);
    let half: Bitmap = points.keys().copied().filter(|id| id % 2 == 0).collect();
    let few: Bitmap = points.keys().copied().filter(|id| id % 450 == 7).collect();
    let check = |index: &VectorIndex, points: &BTreeMap<u32, Vec<f32>>, form: &str| {
        for (name, allowed) in [("all", None), ("half", Some(&half)), ("few", Some(&few))] {
            let mut total = 0.0;
            for query in &queries {
                let right = oracle(points, query, 10, allowed);
                let exact =
                    index.search_exact(query, 10, allowed, |id| Ok(points.get(&id).cloned()));
                assert_eq!(exact.unwrap(), right, "{form} {name}");
                let found = index.search(query, 10, USUAL, allowed).unwrap();
                assert_eq!(found.len(), right.len(), "{form} {name}");
                assert!(found.is_sorted());
                total += recall(&found, &right);
            }
            let mean = total / queries.len() as f64;
            assert!(mean >= 0.95, "{form} {name}: recall {mean}");
        }
    };
    let index = open(folder.path(), 32);
    insert(&index, &points);
    check(&index, &points, "live");
    let gone: Bitmap = points.keys().copied().filter(|id| id % 5 == 0).collect();
    index.remove(&gone);
    points.retain(|id, _| !gone.contains(*id));
    check(&index, &points, "live with deletions");
    index.save(3).unwrap();
    check(&index, &points, "sealed");
    drop(index);
    let index = open(folder.path(), 32);
    assert_eq!(index.generation(), Some(3));
    assert_eq!(index.ids(), points.keys().copied().collect());
    check(&index, &points, "reopened");
    // Every point finds itself, through the graph.
    let lost = points.iter().filter(|(id, v)| {
        index
            .search(v, 1, Effort::Candidates(50), None)
            .unwrap()
            .first()
            .is_none_or(|n| n.id != **id)
    });
    assert!(lost.count() <= points.len() / 500);
}

#[test]
fn top_k_beyond_the_points_gives_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let points: BTreeMap<u32, Vec<f32>> = (0..).zip(vectors(5000, 8, 5)).collect();
    let index = open(folder.path(), 8);
    assert!(index.search(&points[&0], 10, USUAL, None).unwrap().is_empty());
    insert(&index, &points);
    for _ in 0..2 {
        let found = index.search(&points[&1], 6000, USUAL, None).unwrap();
        assert_eq!(found.len(), 5000);
        let odd: Bitmap = points.keys().copied().filter(|id| id % 2 == 1).collect();
        assert_eq!(index.search(&points[&1], 2500, USUAL, Some(&odd)).unwrap().len(), 2500);
        index.save(1).unwrap();
    }
}

/// A walk alone brings as many as are asked for, also where `ef` is no larger.
#[test]
fn a_walk_is_wide_enough_for_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let points: BTreeMap<u32, Vec<f32>> = (0..).zip(vectors(6000, 48, 4)).collect();
    let index = open(folder.path(), 48);
    insert(&index, &points);
    index.save(1).unwrap();
    let parts = index.parts();
    let [sealed] = parts.sealed.as_slice() else { panic!("one segment was expected") };
    let all = Among { dead: &Bitmap::new(), allowed: None };
    for query in vectors(20, 48, 6) {
        let prepared = Prepared::new(&query, &index.rotation);
        for limit in [1, 10, 100, 300] {
            let found = sealed.walked(&prepared, limit, Effort::Candidates(1), all).unwrap();
            assert!(found.is_some_and(|found| found.len() >= limit), "{limit}");
        }
    }
}

#[test]
fn vectors_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), 2);
    for bad in [&[1.0][..], &[f32::NAN, 0.0], &[f32::INFINITY, 0.0], &[0.0, 0.0], &[3.0, 4.0]] {
        assert!(index.insert(&[(1, bad)]).is_err(), "{bad:?}");
    }
    assert!(index.search(&[1.0], 1, USUAL, None).is_err());
    assert!(index.ids().is_empty());
}

#[test]
fn files_of_another_index_are_left_out_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), 4);
    insert(&index, &(0..).zip(vectors(10, 4, 3)).collect());
    index.save(5).unwrap();
    drop(index);
    let other = Stamp { collection: 5, ..STAMP };
    let by_products = Space { metric: Metric::Dot, ..cosine(4) };
    for (space, stamp) in [(cosine(4), other), (cosine(8), STAMP), (by_products, STAMP)] {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let (index, notice) = VectorIndex::open(copy.path(), space, PARAMS, stamp).unwrap();
        assert!(notice.is_some());
        assert_eq!((index.generation(), index.ids().len()), (None, 0));
    }
}

/// A flipped bit anywhere in the files: left out, or without consequence.
#[test]
fn damage_is_noticed_or_harmless() {
    let points: BTreeMap<u32, Vec<f32>> = (0..).zip(vectors(4200, 4, 3)).collect();
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), 4);
    insert(&index, &points);
    index.remove(&Bitmap::from_iter([7]));
    index.save(5).unwrap();
    let right = index.search(&points[&3], 10, USUAL, None).unwrap();
    drop(index);
    for entry in std::fs::read_dir(folder.path()).unwrap().flatten() {
        let whole = std::fs::read(entry.path()).unwrap();
        for i in 0..60 {
            let mut bytes = whole.clone();
            let at = i * 7919 % bytes.len();
            if i % 3 == 2 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << (i % 8);
            }
            let copy = tempfile::tempdir().unwrap();
            for other in std::fs::read_dir(folder.path()).unwrap().flatten() {
                std::fs::copy(other.path(), copy.path().join(other.file_name())).unwrap();
            }
            std::fs::write(copy.path().join(entry.file_name()), bytes).unwrap();
            let (index, notice) = VectorIndex::open(copy.path(), cosine(4), PARAMS, STAMP).unwrap();
            match index.search(&points[&3], 10, USUAL, None) {
                _ if notice.is_some() => assert!(index.ids().is_empty()),
                Ok(found) => assert_eq!(found, right),
                // The part that is damaged was needed: it goes, and what was in it is named.
                Err(_) => {
                    let lost = index.drop_damaged().unwrap();
                    assert_eq!(lost.len(), points.len() as u64 - 1);
                }
            }
        }
    }
}

/// A damaged file whose points are all gone: nothing is lost by it, and it goes all the same.
#[test]
fn a_damaged_file_that_nothing_is_left_of_goes() {
    let points: BTreeMap<u32, Vec<f32>> = (0..).zip(vectors(4200, 4, 3)).collect();
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), 4);
    insert(&index, &points);
    index.save(5).unwrap();
    index.remove(&points.keys().copied().collect());
    let file = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "segment"))
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // In place: the index has the file mapped.
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(index.drop_damaged(), Some(Bitmap::new()));
    assert_eq!(index.drop_damaged(), None);
    assert_eq!(index.search(&points[&3], 10, USUAL, None).unwrap(), []);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(usize),
    Remove(u32),
    Save,
    Reopen,
    Search(usize, Option<u32>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1usize..40).prop_map(Step::Insert),
        2 => (2u32..9).prop_map(Step::Remove),
        1 => Just(Step::Save),
        1 => Just(Step::Reopen),
        4 => (1usize..30, proptest::option::of(2u32..5)).prop_map(|(k, m)| Step::Search(k, m)),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Random histories against a map and comparing with all. Below the size of a graph the index
    /// must be exact.
    #[test]
    fn the_index_is_a_map_with_distances(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = open(folder.path(), 6);
        let mut points: BTreeMap<u32, Vec<f32>> = BTreeMap::new();
        let mut saved = points.clone();
        let pool = vectors(2000, 6, 77);
        let mut next = 0u32;
        for step in steps {
            match step {
                Step::Insert(count) => {
                    let new: BTreeMap<u32, Vec<f32>> = (next..)
                        .zip(pool[next as usize..].iter().take(count).cloned())
                        .collect();
                    insert(&index, &new);
                    next += u32::try_from(count).unwrap();
                    points.extend(new);
                }
                Step::Remove(modulus) => {
                    let gone: Bitmap =
                        points.keys().copied().filter(|id| id % modulus == 1).collect();
                    index.remove(&gone);
                    points.retain(|id, _| !gone.contains(*id));
                }
                Step::Save => {
                    index.save(1).unwrap();
                    saved = points.clone();
                }
                Step::Reopen => {
                    drop(index);
                    index = open(folder.path(), 6);
                    points = saved.clone();
                }
                Step::Search(top_k, modulus) => {
                    let allowed: Option<Bitmap> =
                        modulus.map(|m| (0..next).filter(|id| id % m == 0).collect());
                    let query = &pool[1999];
                    let right = oracle(&points, query, top_k, allowed.as_ref());
                    let exact = index.search_exact(query, top_k, allowed.as_ref(), |id| {
                        Ok(points.get(&id).cloned())
                    });
                    prop_assert_eq!(exact.unwrap(), &right[..]);
                    // By codes: as near as the right ones, and said to be as near as they are.
                    let found = index.search(query, top_k, USUAL, allowed.as_ref()).unwrap();
                    prop_assert_eq!(found.len(), right.len());
                    for (found, right) in found.iter().zip(&right) {
                        let own = distance(query, &points[&found.id]);
                        prop_assert!((own - found.distance).abs() < 1e-3);
                        prop_assert!(own <= right.distance + 2e-3);
                    }
                }
            }
            prop_assert_eq!(index.ids(), points.keys().copied().collect());
        }
    }
}

/// Eight threads search while points are added, removed, sealed and merged behind them: what was
/// acknowledged before a search is found by it, what was removed before it is not. 60 switches of the
/// set, or 1,000 with `VDB_LONG=1`.
#[test]
fn nothing_is_missing_while_segments_are_sealed_and_merged() {
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    const DIMENSIONS: usize = 16;
    let long = std::env::var_os("VDB_LONG").is_some_and(|v| v == "1");
    let (rounds, step) = if long { (1000, 100) } else { (60, 60) };
    let pool = vectors(rounds * step, DIMENSIONS, 8);
    let folder = tempfile::tempdir().unwrap();
    let index = Arc::new(open(folder.path(), DIMENSIONS));
    // Points below the first number were added; of these, those below the second by tens are gone.
    let (added, removed) = (AtomicU32::new(0), AtomicU32::new(0));
    let (searches, misses) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let total = u32::try_from(pool.len()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let (pool, index) = (&pool, &index);
            let (added, removed, searches, misses) = (&added, &removed, &searches, &misses);
            scope.spawn(move || {
                let mut random = thread.wrapping_mul(0x9e37_79b9) | 1;
                while added.load(Ordering::SeqCst) < total {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let (known, gone) =
                        (added.load(Ordering::SeqCst), removed.load(Ordering::SeqCst));
                    if known == 0 {
                        continue;
                    }
                    let wanted = (random >> 8) % known;
                    let query = &pool[wanted as usize];
                    let exact = index
                        .search_exact(query, 5, None, |id| Ok(pool.get(id as usize).cloned()))
                        .unwrap();
                    let walked = index.search(query, 5, USUAL, None).unwrap();
                    for found in [&exact, &walked] {
                        let mut ids: Vec<u32> = found.iter().map(|n| n.id).collect();
                        assert!(ids.iter().all(|id| *id >= gone || id % 10 != 0), "{ids:?} {gone}");
                        ids.sort_unstable();
                        ids.dedup();
                        assert_eq!(ids.len(), found.len(), "one point twice");
                    }
                    // It may be going just now.
                    if wanted % 10 != 0 {
                        searches.fetch_add(1, Ordering::Relaxed);
                        assert_eq!(exact.first().map(|n| n.id), Some(wanted));
                        if walked.iter().all(|n| n.id != wanted) {
                            misses.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        for (round, points) in pool.chunks(step).enumerate() {
            let first = u32::try_from(round * step).unwrap();
            let items: Vec<(u32, &[f32])> =
                (first..).zip(points.iter().map(Vec::as_slice)).collect();
            index.insert(&items).unwrap();
            added.store(first + u32::try_from(step).unwrap(), Ordering::SeqCst);
            index.remove(&(0..first).filter(|id| id % 10 == 0).collect());
            removed.store(first, Ordering::SeqCst);
            index.seal_behind(round as u64 + 1);
            // Otherwise the rounds outrun the switches.
            index.wait_for_sealing();
        }
    });
    index.rest();
    assert_eq!(index.take_trouble(), None);
    let switches = usize::try_from(index.writer().next).unwrap();
    let (searches, misses) = (searches.into_inner(), misses.into_inner());
    assert!(switches >= rounds, "{switches}");
    assert!(misses * 50 <= searches, "{misses} of {searches}");
    index.save(9999).unwrap();
    let alive: Bitmap = (0..total)
        .filter(|id| *id >= total - u32::try_from(step).unwrap() || id % 10 != 0)
        .collect();
    assert_eq!(index.ids(), alive);
    drop(index);
    assert_eq!(open(folder.path(), DIMENSIONS).ids(), alive);
}
