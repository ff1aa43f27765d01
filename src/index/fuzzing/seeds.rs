//! Files as the indexes write them.

use super::super::codes::Codes;
use super::super::graph::Graph;
use super::{DIMENSIONS, STAMP, Sealed, State};
use crate::vector::{Memory, Metric, Rotation, Space};
use std::sync::atomic::AtomicBool;

pub(crate) use super::super::keyword::payloads as summed_files;

/// With a graph and without.
pub(crate) fn segments(metric: Metric) -> Vec<Vec<u8>> {
    let forms = [
        (3, false, Memory::Speed),
        (40, true, Memory::Speed),
        (20, false, Memory::Speed),
        (40, true, Memory::Balanced),
        (40, true, Memory::Small),
    ];
    forms.map(|(points, graph, memory)| segment(points, graph, metric, memory)).to_vec()
}

fn segment(points: u32, with_graph: bool, metric: Metric, memory: Memory) -> Vec<u8> {
    let space = Space { dimensions: DIMENSIONS, metric };
    let rotation = Rotation::new(DIMENSIONS);
    let mut codes = Codes::new(rotation.padded(), memory);
    for id in 1..=points {
        let x = f64::from(id);
        #[expect(clippy::cast_possible_truncation, reason = "a sine")]
        let v: Vec<f32> = (1..=DIMENSIONS).map(|d| (x * d as f64).sin() as f32).collect();
        codes.push(id * 2, &metric.admit(&v, DIMENSIONS).unwrap(), &rotation);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1.segment");
    let build = || Graph::build(&codes, metric, 8, 1, &AtomicBool::new(false)).unwrap();
    let graph = with_graph.then(build);
    Sealed::write(&path, &codes, graph.as_ref(), space, 1, STAMP).unwrap();
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
