//! Files as the indexes write them.

use super::super::IndexParams;
use super::super::live::Live;
use super::{Bitmap, DIMENSIONS, STAMP, Sealed, State};
use crate::vector::normalise;

pub(crate) use super::super::keyword::payloads as summed_files;

/// With a graph and without.
pub(crate) fn segments() -> Vec<Vec<u8>> {
    [(3, 16), (40, 16), (20, 4)].map(|(points, graph_at)| segment(points, graph_at)).to_vec()
}

fn segment(points: u32, graph_at: usize) -> Vec<u8> {
    const M: usize = 2;
    let live = Live::new(IndexParams { m: M, ef_construction: 8, graph_at });
    let vectors: Vec<(u32, Vec<f32>)> = (1..=points)
        .map(|id| {
            let x = f64::from(id);
            #[expect(clippy::cast_possible_truncation, reason = "a sine")]
            let v: Vec<f32> = (1..=DIMENSIONS).map(|d| (x * d as f64).sin() as f32).collect();
            (id * 2, normalise(&v, DIMENSIONS).unwrap())
        })
        .collect();
    live.insert(vectors.iter().map(|(id, v)| (*id, v.as_slice())));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.segment");
    Sealed::write(&path, &live, &Bitmap::new(), DIMENSIONS, M, STAMP).unwrap();
    std::fs::read(path).unwrap()
}

/// Without the line with their checksum.
pub(crate) fn segment_lists() -> Vec<Vec<u8>> {
    let empty = State::new(STAMP, DIMENSIONS);
    let mut full = State::new(STAMP, DIMENSIONS);
    full.segments = vec!["00000000.segment".to_owned(), "00000001.segment".to_owned()];
    (full.next, full.generation) = (2, 9);
    full.set_dead(&[1, 2, 3, 7, 9].into_iter().collect());
    let json = |state: State| state.to_text().unwrap().split_once('\n').unwrap().1.to_owned();
    [empty, full].map(|state| json(state).into_bytes()).to_vec()
}
