//! The walk of a segment whose rows know their neighbours by number alone.

use super::Sealed;
use super::search::{Prepared, Sphere};
use crate::error::Result;
use crate::index::Neighbour;
use crate::index::exact::Best;
use crate::index::frontier::{Frontier, Seen};
use crate::vector::prefetch;
use crate::vector::sketch::SketchQuery;
use std::cell::RefCell;

thread_local! {
    /// What a walk uses, kept between searches of this thread: rows that were met, what is open, and
    /// the neighbours of one row that were not met before, and the query's sketch.
    static WALK: RefCell<(Seen, Frontier, Vec<u32>, SketchQuery)> = RefCell::default();
}

impl Sealed {
    /// [`Sealed::walk`] by the distances of the neighbours themselves. Each row is met once.
    pub(super) fn walk_links(
        &self,
        query: &Prepared,
        keep: usize,
        ef: usize,
        without: Option<u32>,
        visits: &mut usize,
        may: impl Fn(u32) -> bool,
    ) -> Result<Vec<Neighbour>> {
        let sphere = Sphere::new(self.metric, self.largest, query.code.square());
        WALK.with_borrow_mut(|(seen, frontier, fresh, sketch)| {
            seen.clear(self.len());
            let mut best = Best::new(keep);
            let start = self.roughly(query, self.row(self.entry)?);
            frontier.clear(sphere.squared(start), ef);
            if let Some(row) = without {
                seen.insert(row);
            }
            let sketched = self.shape.sketch > 0;
            if sketched {
                query.sketch(sphere.stretch, sketch);
            }
            fresh.clear();
            fresh.push(self.entry);
            fresh.extend(self.unreached());
            fresh.retain(|row| seen.insert(*row));
            let mut present = None;
            loop {
                for row in &*fresh {
                    let distance = self.roughly(query, self.row(*row)?);
                    let squared = sphere.squared(distance);
                    if squared < frontier.bound() {
                        let may = may(*row);
                        frontier.offer(*row, squared, may);
                        if may {
                            best.push(Neighbour { id: *row, distance });
                        }
                    }
                }
                // Chosen, and asked for, before its turn.
                let Some(row) = present.take().or_else(|| frontier.next()) else { break };
                if *visits == 0 {
                    break;
                }
                *visits -= 1;
                present = frontier.next();
                if let Some(next) = present {
                    prefetch(self.links(self.bytes(next)));
                }
                fresh.clear();
                fresh.extend(self.linked(self.row(row)?).filter(|row| seen.insert(*row)));
                if sketched {
                    for row in &*fresh {
                        prefetch(&self.bytes(*row)[..self.shape.sketch]);
                    }
                    // Most are too far, and their sketch shows it.
                    let bound = frontier.bound();
                    let mut damaged = Ok(());
                    fresh.retain(|row| match self.row(*row) {
                        Ok(bytes) => sketch.at_least(self.sketch(bytes)) < bound,
                        Err(error) => {
                            damaged = Err(error);
                            false
                        }
                    });
                    damaged?;
                }
                for row in &*fresh {
                    prefetch(&self.bytes(*row)[self.shape.code()]);
                }
            }
            Ok(best.into_sorted())
        })
    }
}
