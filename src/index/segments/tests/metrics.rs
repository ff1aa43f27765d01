//! Every metric, on vectors of very different lengths, against comparing with all in f64.

use super::super::super::{Bitmap, Neighbour};
use super::super::VectorIndex;
use super::{PARAMS, USUAL, insert, open_in, recall};
use crate::vector::{Metric, Space};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Points = BTreeMap<u32, Vec<f32>>;

fn numbers(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 16_777_216.0 - 0.5
    }
}

/// Directions in 40 clusters, lengths over `decades` powers of ten.
fn clustered(count: usize, space: Space, decades: f32, seed: u64) -> Vec<Vec<f32>> {
    let mut centre = numbers(4);
    let centres: Vec<Vec<f32>> =
        (0..40).map(|_| (0..space.dimensions).map(|_| centre()).collect()).collect();
    let mut next = numbers(seed);
    (0..count)
        .map(|i| {
            let length = 10f32.powf(decades * next());
            let v: Vec<f32> =
                centres[i * 7 % 40].iter().map(|c| length * (c + 0.6 * next())).collect();
            space.metric.admit(&v, space.dimensions).unwrap().into_owned()
        })
        .collect()
}

fn rank(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum()
    };
    match metric {
        Metric::Cosine => 1.0 - sum(|a, b| a * b),
        Metric::Dot => -sum(|a, b| a * b),
        Metric::Euclidean => sum(|a, b| (a - b).powi(2)),
    }
}

/// By definition, best first.
fn right(
    points: &Points,
    metric: Metric,
    query: &[f32],
    top_k: usize,
    allowed: Option<&Bitmap>,
) -> Vec<(u32, f64)> {
    let may = |id: &u32| allowed.is_none_or(|a| a.contains(*id));
    let mut all: Vec<(u32, f64)> = points
        .iter()
        .filter(|(id, _)| may(id))
        .map(|(id, v)| (*id, rank(metric, query, v)))
        .collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(top_k);
    all
}

/// Exact search gives what is right, but for ties within the rounding of f32.
fn check_exact(
    index: &VectorIndex,
    points: &Points,
    query: &[f32],
    top_k: usize,
    allowed: Option<&Bitmap>,
) -> Vec<Neighbour> {
    let metric = index.space.metric;
    let right = right(points, metric, query, top_k, allowed);
    let vector = |id| Ok(points.get(&id).cloned());
    let found = index.search_exact(query, top_k, allowed, vector).unwrap();
    assert_eq!(found.len(), right.len());
    let length = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    for (found, (id, right)) in found.iter().zip(&right) {
        let own = rank(metric, query, &points[&found.id]);
        let rounding = match metric {
            Metric::Euclidean => 1e-5 * right,
            _ => 1e-6 * length(query) * length(&points[id]).max(length(&points[&found.id])),
        };
        assert!(
            found.id == *id || (own - right).abs() <= rounding,
            "{metric} {}: {own}, {id}: {right}",
            found.id
        );
        assert!((f64::from(found.distance) - own).abs() <= 10.0 * rounding + 1e-37);
    }
    found
}

/// Live, in one file, in several and merged, with and without filters.
fn recall_is_high(metric: Metric, dimensions: usize, decades: f32) {
    let space = Space { dimensions, metric };
    let folder = tempfile::tempdir().unwrap();
    let mut points: Points = (0..).zip(clustered(7500, space, decades, 1)).collect();
    let queries = clustered(40, space, decades, 2);
    let half: Bitmap = points.keys().copied().filter(|id| id % 2 == 0).collect();
    let few: Bitmap = points.keys().copied().filter(|id| id % 450 == 7).collect();
    let check = |index: &VectorIndex, points: &Points, form: &str| {
        for (name, allowed) in [("all", None), ("half", Some(&half)), ("few", Some(&few))] {
            let mut total = 0.0;
            for query in &queries {
                let exact = check_exact(index, points, query, 10, allowed);
                let found = index.search(query, 10, USUAL, allowed).unwrap();
                assert_eq!(found.len(), 10);
                assert!(found.is_sorted());
                total += recall(&found, &exact);
            }
            let mean = total / queries.len() as f64;
            assert!(mean >= 0.95, "{metric} {dimensions} {form} {name}: recall {mean}");
        }
    };
    let index = open_in(folder.path(), space);
    insert(&index, &points);
    check(&index, &points, "live");
    index.save(1).unwrap();
    check(&index, &points, "sealed");
    drop(index);

    let folder = tempfile::tempdir().unwrap();
    let index = open_in(folder.path(), space);
    for part in 0..3u32 {
        insert(
            &index,
            &points.range(2500 * part..2500 * (part + 1)).map(|(id, v)| (*id, v.clone())).collect(),
        );
        index.save(u64::from(part) + 1).unwrap();
    }
    assert_eq!(index.parts().sealed.len(), 3);
    check(&index, &points, "three files");
    let gone: Bitmap = points.keys().copied().filter(|id| id % 5 == 0).collect();
    index.remove(&gone);
    points.retain(|id, _| !gone.contains(*id));
    index.compact(4).unwrap();
    assert_eq!(index.parts().sealed.len(), 1);
    drop(index);
    check(&open_in(folder.path(), space), &points, "merged and opened again");
}

#[test]
fn recall_by_cosine() {
    recall_is_high(Metric::Cosine, 96, 1.0);
}

#[test]
fn recall_by_products() {
    recall_is_high(Metric::Dot, 96, 0.5);
    recall_is_high(Metric::Dot, 100, 2.0);
}

#[test]
fn recall_by_euclidean_distance() {
    recall_is_high(Metric::Euclidean, 96, 0.5);
    recall_is_high(Metric::Euclidean, 100, 3.0);
}

/// Few dimensions, where everything is near everything.
#[test]
fn recall_in_a_plane() {
    for metric in Metric::ALL {
        for dimensions in [2, 3] {
            let space = Space { dimensions, metric };
            let folder = tempfile::tempdir().unwrap();
            let points: Points = (0..).zip(clustered(5000, space, 1.0, 1)).collect();
            let index = open_in(folder.path(), space);
            insert(&index, &points);
            index.save(1).unwrap();
            // Nearer than codes can tell, so how near is what counts.
            for query in clustered(40, space, 1.0, 2) {
                let exact = check_exact(&index, &points, &query, 10, None);
                let found = index.search(&query, 10, USUAL, None).unwrap();
                let square = query.iter().map(|x| x * x).sum::<f32>();
                let length = |id: u32| points[&id].iter().map(|x| x * x).sum::<f32>().sqrt();
                for (found, right) in found.iter().zip(&exact) {
                    let own = metric.rank(&query, &points[&found.id]);
                    let longest = length(found.id).max(length(right.id));
                    let off = own - right.distance;
                    let tolerance = 4e-3 * square.sqrt() * longest;
                    assert!(off <= tolerance, "{space:?}: {off} of {tolerance}");
                }
            }
        }
    }
}

#[test]
fn many_dimensions() {
    for metric in Metric::ALL {
        let space = Space { dimensions: 4096, metric };
        let folder = tempfile::tempdir().unwrap();
        let points: Points = (0..).zip(clustered(150, space, 4.0, 1)).collect();
        let index = open_in(folder.path(), space);
        insert(&index, &points);
        for form in ["live", "sealed"] {
            let mut total = 0.0;
            for query in clustered(20, space, 4.0, 2) {
                let exact = check_exact(&index, &points, &query, 10, None);
                total += recall(&index.search(&query, 10, USUAL, None).unwrap(), &exact);
            }
            assert!(total >= 0.95 * 20.0, "{metric} {form}: {total}");
            index.save(1).unwrap();
        }
    }
}

/// Of vectors of zeros, and of the longest and the shortest that are told apart.
#[test]
fn odd_lengths_are_put_in_order() {
    for metric in [Metric::Dot, Metric::Euclidean] {
        let space = Space { dimensions: 2, metric };
        let folder = tempfile::tempdir().unwrap();
        let odd = [[0.0, 0.0], [7e14, -7e14], [7e14, 7e14], [1e-15, 0.0], [-1.0, 0.5], [0.0, 0.0]];
        let points: Points = (0..).zip(odd.map(|v| v.to_vec())).collect();
        let index = open_in(folder.path(), space);
        insert(&index, &points);
        for _ in 0..2 {
            for query in points.values() {
                check_exact(&index, &points, query, 6, None);
                check_exact(&index, &points, query, 2, None);
                assert_eq!(index.search(query, 6, USUAL, None).unwrap().len(), 6);
            }
            index.save(1).unwrap();
        }
    }
    // All the same: none is lost.
    for metric in [Metric::Dot, Metric::Euclidean] {
        let space = Space { dimensions: 3, metric };
        let folder = tempfile::tempdir().unwrap();
        let index = open_in(folder.path(), space);
        insert(&index, &(0..3000).map(|id| (id, vec![0.0; 3])).collect());
        index.save(1).unwrap();
        let ids = |found: Vec<Neighbour>| found.into_iter().map(|n| n.id).collect::<Bitmap>();
        assert_eq!(ids(index.search(&[1.0, 2.0, 3.0], 3000, USUAL, None).unwrap()).len(), 3000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// What codes leave out is bounded for every length, so nothing near is ever left out.
    #[test]
    fn exact_search_is_exact(
        metric in proptest::sample::select(Metric::ALL.as_slice()),
        dimensions in 2usize..300,
        count in 1usize..300,
        decades in 0f32..14.0,
        seed in any::<u64>(),
        top_k in 1usize..20,
    ) {
        let space = Space { dimensions, metric };
        let folder = tempfile::tempdir().unwrap();
        let points: Points = (0..).zip(clustered(count, space, decades, seed)).collect();
        let index = open_in(folder.path(), space);
        insert(&index, &points);
        index.save(1).unwrap();
        for query in clustered(5, space, decades, seed ^ 1) {
            check_exact(&index, &points, &query, top_k, None);
        }
    }

    /// Far from zero, near to each other: codes tell nothing apart.
    #[test]
    fn exact_search_is_exact_far_from_zero(offset in 0f32..1e4, seed in any::<u64>()) {
        let space = Space { dimensions: 24, metric: Metric::Euclidean };
        let folder = tempfile::tempdir().unwrap();
        let mut points: Points = (0..).zip(clustered(200, space, 1.0, seed)).collect();
        points.values_mut().flatten().for_each(|x| *x += offset);
        let index = open_in(folder.path(), space);
        insert(&index, &points);
        index.save(1).unwrap();
        for query in points.values().take(5) {
            check_exact(&index, &points, query, 7, None);
        }
    }
}

/// A live segment without a graph is right, however large.
#[test]
fn products_have_no_live_graph() {
    let space = Space { dimensions: 4, metric: Metric::Dot };
    let folder = tempfile::tempdir().unwrap();
    let points: Points = (0..).zip(clustered(PARAMS.graph_at + 100, space, 2.0, 3)).collect();
    let index = open_in(folder.path(), space);
    insert(&index, &points);
    for query in clustered(10, space, 2.0, 5) {
        let exact = check_exact(&index, &points, &query, 10, None);
        assert_eq!(index.search(&query, 10, USUAL, None).unwrap(), exact);
    }
}
