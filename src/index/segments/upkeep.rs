//! Sealing and merging, beside searches and insertions.
//!
//! Points move from the live segment to a frozen one, when a commit has filled it, and from there to
//! a sealed one; sealed ones become fewer by [`Plan`]. Sealing and merging each have a lane, which
//! whoever does that holds, so that a long merge does not keep points from being sealed. Neither
//! holds the writer but for the moment in which the set changes.

use super::{Frozen, VectorIndex};
use crate::error::Result;
use crate::index::Bitmap;
use crate::index::codes::{Code, Codes};
use crate::index::graph::Graph;
use crate::index::live::Live;
use crate::index::plan::Plan;
use crate::index::sealed::Sealed;
use crate::threads;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Frozen segments that may wait for their sealing; a commit that freezes one more seals them itself.
const MAX_FROZEN: usize = 2;

/// What goes on in the background.
#[derive(Default)]
pub(super) struct Upkeep {
    sealing: Lane,
    merging: Lane,
    /// Ends merges in the background before they are done.
    stop: AtomicBool,
    /// What went wrong, until somebody asks.
    trouble: Mutex<Option<String>>,
}

#[derive(Default)]
struct Lane {
    /// Held by whoever works in it.
    busy: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Lane {
    fn enter(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a thread, unless one is at it already and will see what there is to do.
    fn start(&self, work: impl FnOnce() + Send + 'static) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            // Without a thread, whoever comes to the limit does the work.
            let work = || {
                threads::step_aside();
                work();
            };
            *thread = std::thread::Builder::new().name("vdb-upkeep".to_owned()).spawn(work).ok();
        }
    }

    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // What a thread had to say is in `trouble`.
        let _ = thread.map(JoinHandle::join);
    }
}

/// What becomes one segment.
struct Taken {
    more: Codes,
    frozen: Vec<Frozen>,
    sealed: Vec<Arc<Sealed>>,
    /// Of which commit the files are afterwards; none where that does not change.
    generation: Option<u64>,
}

impl VectorIndex {
    /// Points that nothing has been done about yet.
    pub(crate) fn live(&self) -> usize {
        self.parts().live.len()
    }

    /// Sets the live points aside and has them sealed, and what is there merged, in the background.
    /// Called between commits, the last of which is `generation`.
    pub(crate) fn seal_behind(self: &Arc<Self>, generation: u64) {
        self.freeze(generation);
        if self.parts().frozen.len() > MAX_FROZEN {
            // Who adds faster than that waits.
            let sealed = self.seal_frozen(background_threads());
            self.note(sealed);
        }
        let index = Arc::clone(self);
        self.upkeep.sealing.start(move || {
            let sealed = index.seal_frozen(background_threads());
            index.note(sealed);
            let merger = Arc::clone(&index);
            index.upkeep.merging.start(move || {
                let merged = merger.merge();
                merger.note(merged);
            });
        });
    }

    /// What went wrong in the background since the last call. Nothing is lost by it: the points are
    /// in memory and in the store.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        self.upkeep.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, done: Result<()>) {
        if let Err(error) = done {
            let mut trouble = self.upkeep.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            *trouble = Some(error.to_string());
        }
    }

    /// Ends what goes on in the background. Merges that are not done are left for another time.
    pub(crate) fn rest(&self) {
        self.upkeep.stop.store(true, Ordering::SeqCst);
        self.upkeep.sealing.join();
        self.upkeep.merging.join();
    }

    #[cfg(test)]
    pub(super) fn wait_for_sealing(&self) {
        self.upkeep.sealing.join();
    }

    /// Writes the live segment and the points that are gone to files, as of `generation`. Searches
    /// and insertions go on.
    pub(crate) fn save(&self, generation: u64) -> Result<()> {
        self.save_with(generation, self.no_codes(), Plan::usual)
    }

    /// The same for one who is about to leave: merges that take long are left for another time.
    pub(crate) fn save_briefly(&self, generation: u64) -> Result<()> {
        self.save_with(generation, self.no_codes(), Plan::brief)
    }

    /// The same into a single file, which holds no point that is gone.
    pub(crate) fn compact(&self, generation: u64) -> Result<()> {
        self.save_with(generation, self.no_codes(), Plan::all)
    }

    /// Adds points that are new to the index, by ascending numbers, and saves. For many points at
    /// once: they are never held as vectors, and are found when this returns.
    ///
    /// # Errors
    /// Those of [`VectorIndex::insert`] and [`VectorIndex::save`]; nothing is added then.
    pub(crate) fn fill(
        &self,
        points: impl Iterator<Item = Result<(u32, Vec<f32>)>>,
        generation: u64,
    ) -> Result<()> {
        let mut codes = self.no_codes();
        for point in points {
            let (id, vector) = point?;
            self.space.check(&vector)?;
            codes.push(id, &vector, &self.rotation);
        }
        self.save_with(generation, codes, Plan::usual)
    }

    /// Gives up the files that are damaged and returns the points that were in them alone, which
    /// the store can give again; none where no file is damaged.
    pub(crate) fn drop_damaged(&self) -> Option<Bitmap> {
        let _lanes = (self.upkeep.sealing.enter(), self.upkeep.merging.enter());
        let _writer = self.writer();
        let mut lost = Bitmap::new();
        let mut parts = (*self.parts()).clone();
        let before = parts.sealed.len();
        parts.sealed.retain(|sealed| {
            let whole = sealed.check().is_ok();
            if !whole {
                lost.extend(sealed.ids().iter().copied());
            }
            whole
        });
        let lost = lost - &*parts.dead;
        let any = parts.sealed.len() < before;
        self.show(parts);
        any.then_some(lost)
    }

    /// [`VectorIndex::damage`] of the files of this index, while none of them comes or goes.
    pub(crate) fn own_damage(&self) -> Option<String> {
        let _lanes = (self.upkeep.sealing.enter(), self.upkeep.merging.enter());
        Self::damage(&self.folder, self.space, self.stamp)
    }

    /// Sets the live points aside.
    fn freeze(&self, generation: u64) {
        let _writer = self.writer();
        let mut parts = (*self.parts()).clone();
        if parts.live.len() > 0 {
            let points = std::mem::replace(
                &mut parts.live,
                Arc::new(Live::new(self.params, self.space.metric)),
            );
            parts.frozen.push(Frozen { points, generation });
            self.show(parts);
        }
    }

    fn seal_frozen(&self, threads: usize) -> Result<()> {
        let _lane = self.upkeep.sealing.enter();
        loop {
            let frozen = self.parts().frozen.clone();
            let Some(generation) = frozen.last().map(|f| f.generation) else { return Ok(()) };
            let more = self.no_codes();
            let generation = Some(generation);
            let taken = Taken { more, frozen, sealed: Vec::new(), generation };
            self.rewrite(taken, threads, &AtomicBool::new(false))?;
        }
    }

    fn merge(&self) -> Result<()> {
        let _lane = self.upkeep.merging.enter();
        while !self.upkeep.stop.load(Ordering::SeqCst) {
            let parts = self.parts();
            let mut plan = Plan::new(&parts.sealed, &parts.dead, 0);
            plan.usual();
            let sealed = plan.taken(&parts.sealed);
            if sealed.is_empty() {
                return Ok(());
            }
            let more = self.no_codes();
            let taken = Taken { more, frozen: Vec::new(), sealed, generation: None };
            self.rewrite(taken, background_threads(), &self.upkeep.stop)?;
        }
        Ok(())
    }

    /// Writes `more` and the live points as one new segment, together with the segments that `choose`
    /// takes out of those that are there.
    fn save_with(
        &self,
        generation: u64,
        more: Codes,
        choose: impl FnOnce(&mut Plan),
    ) -> Result<()> {
        let _lanes = (self.upkeep.sealing.enter(), self.upkeep.merging.enter());
        self.freeze(generation);
        let parts = self.parts();
        let new = more.len() + parts.frozen.iter().map(|f| f.points.len()).sum::<usize>();
        let mut plan = Plan::new(&parts.sealed, &parts.dead, new);
        choose(&mut plan);
        let sealed = plan.taken(&parts.sealed);
        let frozen = parts.frozen.clone();
        let taken = Taken { more, frozen, sealed, generation: Some(generation) };
        self.rewrite(taken, threads::all(), &AtomicBool::new(false))
    }

    /// Writes what is taken as one new segment and shows that in its place. The lanes of what is
    /// taken are held. With `stop` nothing happens.
    fn rewrite(&self, taken: Taken, threads: usize, stop: &AtomicBool) -> Result<()> {
        let Taken { more, frozen, sealed: chosen, generation } = taken;
        let codes = self.gather(more, &frozen, &chosen)?;
        let new = if codes.len() > 0 {
            let Some(sealed) = self.seal(&codes, threads, stop)? else { return Ok(()) };
            Some(sealed)
        } else {
            None
        };
        drop(codes);
        let mut state = self.writer();
        let mut parts = (*self.parts()).clone();
        parts.frozen.retain(|f| !frozen.iter().any(|old| Arc::ptr_eq(&old.points, &f.points)));
        parts.sealed.retain(|s| !chosen.iter().any(|old| Arc::ptr_eq(old, s)));
        parts.sealed.extend(new);
        let sealed = parts.sealed_ids();
        let mut next = state.clone();
        next.set_dead(&(&*parts.dead & &sealed));
        next.generation = generation.unwrap_or(next.generation);
        next.segments = parts
            .sealed
            .iter()
            .filter_map(|s| s.path().file_name().map(|n| n.to_string_lossy().into_owned()))
            .collect();
        next.write(&self.folder)?;
        *state = next;
        parts.dead = Arc::new(&*parts.dead & &(sealed | parts.unsaved_ids()));
        self.show(parts);
        drop(state);
        for old in chosen {
            // One that stays is removed by the next open.
            let _ = std::fs::remove_file(old.path());
        }
        Ok(())
    }

    fn no_codes(&self) -> Codes {
        Codes::new(self.rotation.padded(), self.params.memory)
    }

    /// All that is alive, as codes by ascending numbers.
    fn gather(&self, more: Codes, frozen: &[Frozen], chosen: &[Arc<Sealed>]) -> Result<Codes> {
        let dead = &*self.parts().dead;
        let mut points: Vec<(u32, Code<'_>)> = more.iter().collect();
        let mut error = more.error();
        for codes in frozen.iter().flat_map(|f| f.points.codes()) {
            points.extend(codes.iter().filter(|(id, _)| !dead.contains(*id)));
            error = error.max(codes.error());
        }
        for sealed in chosen {
            for point in sealed.codes() {
                let point = point?;
                if !dead.contains(point.0) {
                    points.push(point);
                }
            }
            error = error.max(sealed.error());
        }
        // Nothing to put in order, so nothing to copy.
        if points.len() == more.len() && points.is_sorted_by_key(|(id, _)| *id) {
            drop(points);
            return Ok(more);
        }
        points.sort_unstable_by_key(|(id, _)| *id);
        let mut codes = self.no_codes();
        for (id, code) in points {
            codes.push_code(id, code);
        }
        codes.widen_error(error);
        Ok(codes)
    }

    /// Writes `codes` as a segment file; none where `stop` ends it before.
    fn seal(
        &self,
        codes: &Codes,
        threads: usize,
        stop: &AtomicBool,
    ) -> Result<Option<Arc<Sealed>>> {
        let graph = if codes.len() > super::SCAN_POINTS {
            let Some(graph) =
                Graph::build(codes, self.space.metric, self.params.ef_construction, threads, stop)
            else {
                return Ok(None);
            };
            Some(graph)
        } else {
            // No walk is made where comparing with all is better.
            None
        };
        let number = {
            let mut state = self.writer();
            state.next += 1;
            state.next - 1
        };
        let path = self.folder.join(format!("{number:08}.segment"));
        let sealed = Sealed::write(&path, codes, graph.as_ref(), self.space, threads, self.stamp)?;
        Ok(Some(Arc::new(sealed)))
    }
}

/// Half of them, since there are others at work.
fn background_threads() -> usize {
    threads::all().div_ceil(2)
}
