//! Builds the graph of a segment: 32 neighbours for every row (or 16, `Memory`), chosen so that a walk from the entry
//! comes near any query.
//!
//! Rows enter in batches, each as large as what is there already (at most a fiftieth of all): every
//! row of a batch is searched for in the graph as it was before the batch, by all threads, and gets
//! the neighbours that the rule of relative neighbourhoods leaves (Toussaint 1980; the heuristic of
//! HNSW, Malkov 2018); then the edges back are added, target by target. No step depends on the order
//! in which threads get there, so the graph does not depend on their number (ParlayANN, Manohar
//! 2024). Slots that the rule leaves free are filled with the nearest that it left out: a block of
//! estimates costs the same, full or not (SymphonyQG, 2025).
//!
//! For largest products, rows get one more coordinate that stands them on a sphere, where what is near
//! has a large product (`vector::fastscan`).

use super::codes::Codes;
use super::frontier::{Frontier, Seen};
use crate::vector::fastscan::DEGREE;
use crate::vector::sketch::{SketchQuery, Sketches};
use crate::vector::{Metric, prefetch};
use std::sync::atomic::{AtomicBool, Ordering};

/// Neighbours that a row may have until it is pruned again.
const SLACK: usize = 2 * DEGREE;
const NONE: u32 = u32::MAX;
/// Fixed, so that the same points give the same graph.
const SEED: u64 = 0x6772_6170_6820_7631;

/// A finished graph.
pub(super) struct Graph {
    /// Where walks begin: the row nearest to the middle.
    pub(super) entry: u32,
    /// Neighbours of each row, at most [`DEGREE`].
    links: Vec<u32>,
    /// Rows that no walk from the entry meets.
    pub(super) unreached: Vec<u32>,
}

impl Graph {
    /// Builds the graph of at least one row, looking at `ef` candidates for each, on `threads`; none
    /// where `stop` becomes true before it is done.
    pub(super) fn build(
        codes: &Codes,
        metric: Metric,
        ef: usize,
        threads: usize,
        stop: &AtomicBool,
    ) -> Option<Self> {
        let mut draft = Draft::new(codes, metric);
        let order = order(codes.len(), draft.entry);
        let mut done = 1;
        while done < order.len() {
            let size = done.min(order.len() / 50).max(1).min(order.len() - done);
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            draft.add(&order[done..done + size], ef, threads);
            done += size;
        }
        Some(draft.finish(threads))
    }

    pub(super) fn neighbours(&self, row: u32) -> &[u32] {
        let slots = &self.links[row as usize * DEGREE..][..DEGREE];
        &slots[..slots.iter().position(|r| *r == NONE).unwrap_or(DEGREE)]
    }
}

/// A random order that begins with `first` (Fisher and Yates).
fn order(rows: usize, first: u32) -> Vec<u32> {
    #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
    let mut order: Vec<u32> = (0..rows as u32).collect();
    let mut state = SEED;
    for i in (1..rows).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(i, ((state >> 33) % (i as u64 + 1)) as usize);
    }
    if let Some(at) = order.iter().position(|row| *row == first) {
        order.swap(0, at);
    }
    order
}

/// A graph that is being built.
struct Draft<'a> {
    codes: &'a Codes,
    degree: usize,
    sketches: Sketches,
    /// Of each row; none where no row has one.
    lifts: Vec<f32>,
    entry: u32,
    links: Vec<u32>,
    counts: Vec<u8>,
}

/// What a thread uses again for every row.
#[derive(Default)]
struct Scratch {
    seen: Seen,
    frontier: Frontier,
    query: SketchQuery,
    fresh: Vec<u32>,
    met: Vec<(f32, u32)>,
    left_out: Vec<u32>,
}

impl<'a> Draft<'a> {
    fn new(codes: &'a Codes, metric: Metric) -> Self {
        let rows = codes.len();
        let lifts = if metric == Metric::Dot { codes.lifts() } else { Vec::new() };
        let mut sketches = Sketches::new(codes.padded());
        let mut lift = lifts.iter().copied();
        for (_, code) in codes.iter() {
            sketches.push(code.first, code.scale, code.square, lift.next().unwrap_or(0.0));
        }
        Self {
            codes,
            degree: codes.memory().degree(),
            sketches,
            entry: middle(codes, &lifts),
            lifts,
            links: vec![NONE; rows * SLACK],
            counts: vec![0; rows],
        }
    }

    fn lift(&self, row: u32) -> f32 {
        self.lifts.get(row as usize).copied().unwrap_or(0.0)
    }

    /// Squared distance of two rows.
    #[inline]
    fn distance(&self, a: u32, b: u32) -> f32 {
        let distance = self.codes.distance(a, b);
        if self.lifts.is_empty() {
            return distance;
        }
        let lift = self.lift(a) - self.lift(b);
        distance + lift * lift
    }

    fn of(&self, row: u32) -> &[u32] {
        &self.links[row as usize * SLACK..][..self.counts[row as usize] as usize]
    }

    fn set(&mut self, row: u32, neighbours: &[u32]) {
        self.links[row as usize * SLACK..][..neighbours.len()].copy_from_slice(neighbours);
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        {
            self.counts[row as usize] = neighbours.len() as u8;
        }
    }

    fn add(&mut self, batch: &[u32], ef: usize, threads: usize) {
        let draft = &*self;
        let chosen = parallel(batch, threads, |row, scratch: &mut Scratch| {
            draft.search(*row, ef, scratch);
            draft.prune(scratch)
        });
        let mut back: Vec<(u32, u32)> = Vec::with_capacity(batch.len() * DEGREE);
        for (row, neighbours) in batch.iter().zip(&chosen) {
            self.set(*row, neighbours);
            back.extend(neighbours.iter().map(|neighbour| (*neighbour, *row)));
        }
        back.sort_unstable();
        let targets: Vec<&[(u32, u32)]> = back.chunk_by(|a, b| a.0 == b.0).collect();
        let draft = &*self;
        let extended = parallel(&targets, threads, |edges, scratch: &mut Scratch| {
            let Some(&(row, _)) = edges.first() else { return Vec::new() };
            let mut neighbours = draft.of(row).to_vec();
            neighbours.extend(edges.iter().map(|(_, from)| *from));
            if neighbours.len() > SLACK {
                draft.prune_all(row, &neighbours, scratch)
            } else {
                neighbours
            }
        });
        for (edges, neighbours) in targets.iter().zip(&extended) {
            if let Some(&(row, _)) = edges.first() {
                self.set(row, neighbours);
            }
        }
    }

    /// The `ef` rows of the graph nearest to `row`, into `scratch.met`, nearest first.
    fn search(&self, row: u32, ef: usize, scratch: &mut Scratch) {
        let Scratch { seen, frontier, query, fresh, met, .. } = scratch;
        let code = self.codes.get(row);
        query.set(code.first, code.scale, code.square, self.lift(row));
        seen.clear(self.codes.len());
        met.clear();
        let distance = self.distance(row, self.entry);
        frontier.clear(distance, ef);
        seen.insert(self.entry);
        frontier.offer(self.entry, distance, true);
        met.push((distance, self.entry));
        let mut present = frontier.next();
        while let Some(near) = present {
            // Chosen, and asked for, while there is something else to do.
            let following = frontier.next();
            if let Some(next) = following {
                prefetch(self.of(next));
            }
            fresh.clear();
            fresh.extend(self.of(near).iter().copied().filter(|r| seen.insert(*r)));
            for r in &*fresh {
                self.sketches.prefetch(*r);
            }
            // Most are too far, and their sketch shows it.
            let bound = frontier.bound();
            fresh.retain(|r| {
                let may_be_near = query.at_least(self.sketches.get(*r)) < bound;
                if may_be_near {
                    self.codes.prefetch(*r);
                }
                may_be_near
            });
            for r in &*fresh {
                let distance = self.distance(row, *r);
                if distance < frontier.bound() {
                    frontier.offer(*r, distance, true);
                    met.push((distance, *r));
                }
            }
            present = following.or_else(|| frontier.next());
        }
        met.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        met.truncate(ef);
    }

    /// Prunes all of `neighbours`.
    fn prune_all(&self, row: u32, neighbours: &[u32], scratch: &mut Scratch) -> Vec<u32> {
        scratch.met.clear();
        scratch.met.extend(neighbours.iter().map(|n| (self.distance(row, *n), *n)));
        scratch.met.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        scratch.met.dedup_by_key(|(_, n)| *n);
        self.prune(scratch)
    }

    /// Of `scratch.met`, nearest first, those that are nearer to the row than to any chosen before;
    /// then the nearest of the others.
    fn prune(&self, scratch: &mut Scratch) -> Vec<u32> {
        let mut chosen: Vec<u32> = Vec::with_capacity(SLACK);
        scratch.left_out.clear();
        for &(distance, candidate) in &scratch.met {
            if chosen.len() == self.degree {
                break;
            }
            if chosen.iter().all(|other| self.distance(*other, candidate) > distance) {
                chosen.push(candidate);
            } else {
                scratch.left_out.push(candidate);
            }
        }
        let free = self.degree - chosen.len();
        chosen.extend(scratch.left_out.iter().take(free));
        chosen
    }

    fn finish(self, threads: usize) -> Graph {
        #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
        let rows: Vec<u32> = (0..self.codes.len() as u32).collect();
        let pruned = parallel(&rows, threads, |row, scratch: &mut Scratch| {
            let neighbours = self.of(*row);
            if neighbours.len() > self.degree {
                self.prune_all(*row, neighbours, scratch)
            } else {
                neighbours.to_vec()
            }
        });
        let mut links = vec![NONE; rows.len() * DEGREE];
        for (slots, neighbours) in links.chunks_exact_mut(DEGREE).zip(&pruned) {
            slots[..neighbours.len()].copy_from_slice(neighbours);
        }
        let mut graph = Graph { entry: self.entry, links, unreached: Vec::new() };
        graph.unreached = unreached(&graph, rows.len());
        graph
    }
}

/// The row nearest to the mean of all.
fn middle(codes: &Codes, lifts: &[f32]) -> u32 {
    let mut mean = vec![0f64; codes.padded()];
    #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
    let rows = 0..codes.len() as u32;
    for row in rows.clone() {
        let code = codes.get(row);
        for (mean, element) in mean.iter_mut().zip(code.first) {
            *mean += f64::from(code.scale) * f64::from(*element);
        }
    }
    let lift = |row: u32| lifts.get(row as usize).map_or(0.0, |lift| f64::from(*lift));
    let mean_lift: f64 = lifts.iter().map(|lift| f64::from(*lift)).sum();
    let nearest = |row: &u32| {
        let code = codes.get(*row);
        let product: f64 = mean.iter().zip(code.first).map(|(m, e)| m * f64::from(*e)).sum();
        let product = f64::from(code.scale) * product + mean_lift * lift(*row);
        let product = product / codes.len() as f64;
        f64::from(code.square) + lift(*row).powi(2) - 2.0 * product
    };
    rows.min_by(|a, b| nearest(a).total_cmp(&nearest(b))).unwrap_or(0)
}

fn unreached(graph: &Graph, rows: usize) -> Vec<u32> {
    let mut seen = Seen::default();
    seen.clear(rows);
    seen.insert(graph.entry);
    let mut pending = vec![graph.entry];
    while let Some(row) = pending.pop() {
        pending.extend(graph.neighbours(row).iter().filter(|r| seen.insert(**r)));
    }
    #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
    let rows = 0..rows as u32;
    rows.filter(|row| !seen.contains(*row)).collect()
}

/// Maps `items` on `threads`, in order; each thread has one `S` for all that it does.
pub(super) fn parallel<T: Sync, R: Send, S: Default>(
    items: &[T],
    threads: usize,
    map: impl Fn(&T, &mut S) -> R + Sync,
) -> Vec<R> {
    let run = |part: &[T]| {
        let mut scratch = S::default();
        part.iter().map(|item| map(item, &mut scratch)).collect::<Vec<R>>()
    };
    let per_thread = items.len().div_ceil(threads.max(1)).max(1);
    // A thread costs more than a few rows do.
    if per_thread < 16 || threads < 2 {
        return run(items);
    }
    std::thread::scope(|scope| {
        let parts: Vec<_> =
            items.chunks(per_thread).map(|part| (part, scope.spawn(|| run(part)))).collect();
        // A thread that gave up is made up for here.
        parts.into_iter().flat_map(|(part, t)| t.join().unwrap_or_else(|_| run(part))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{Memory, Rotation, normalise};

    fn codes(count: u32, dimensions: usize, distinct: u32) -> Codes {
        let rotation = Rotation::new(dimensions);
        let mut codes = Codes::new(rotation.padded(), Memory::Speed);
        let mut state = 3u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / 16_777_216.0 - 0.5
        };
        let vectors: Vec<Vec<f32>> = (0..distinct)
            .map(|_| {
                let v: Vec<f32> = (0..dimensions).map(|_| next()).collect();
                normalise(&v, dimensions).unwrap()
            })
            .collect();
        for id in 0..count {
            codes.push(id, &vectors[id as usize % vectors.len()], &rotation);
        }
        codes
    }

    fn build(codes: &Codes, metric: Metric, ef: usize, threads: usize) -> Graph {
        Graph::build(codes, metric, ef, threads, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn the_same_for_any_number_of_threads() {
        let codes = codes(3000, 24, 3000);
        for metric in [Metric::Cosine, Metric::Dot] {
            let one = build(&codes, metric, 50, 1);
            for threads in [2, 3, 7] {
                let graph = build(&codes, metric, 50, threads);
                assert_eq!((graph.entry, &graph.links), (one.entry, &one.links));
            }
            assert!(one.unreached.len() < 3);
        }
    }

    /// No row is its own neighbour, none twice, all are rows.
    #[test]
    fn neighbours_are_other_rows() {
        for (count, distinct) in [(1, 1), (2, 2), (33, 33), (500, 1), (500, 5), (2000, 2000)] {
            let codes = codes(count, 8, distinct);
            let graph = build(&codes, Metric::Cosine, 40, 2);
            for row in 0..count {
                let mut neighbours = graph.neighbours(row).to_vec();
                assert!(neighbours.iter().all(|n| *n < count && *n != row), "{count} {distinct}");
                let before = neighbours.len();
                neighbours.sort_unstable();
                neighbours.dedup();
                assert_eq!(neighbours.len(), before);
                assert!(before >= 32.min(count as usize - 1) / 2 || count < 40 || distinct < count);
            }
        }
    }
}
