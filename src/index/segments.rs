//! The vector index: sealed segments, the live segment, and the points that are gone.

use super::exact::Best;
use super::live::Live;
use super::sealed::Sealed;
use super::state::State;
use super::{Bitmap, IndexParams, Neighbour, Stamp};
use crate::error::{Error, Result};
use crate::vector::check_unit;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Candidates of a graph search where the caller does not say: recall@10 of 0.98 on one graph of
/// 100,000 sentence embeddings (docs/benchmarks.md); 100, the usual default, gives 0.954 there.
const EF_SEARCH: usize = 192;
/// More segments than this are merged when the index is saved.
const MAX_SEGMENTS: usize = 8;
/// A segment of which a larger part is gone is rebuilt when the index is saved.
const MAX_DEAD: f64 = 0.3;
/// Up to this many allowed points, comparing with each beats walking a graph around the others.
const SCAN_POINTS: usize = 2000;
/// The same as a part of the segment.
const SCAN_PART: f64 = 0.05;

/// Whether to compare with all allowed points instead of walking the graph.
pub(super) fn scan_is_better(selected: usize, points: usize) -> bool {
    selected <= SCAN_POINTS || (selected as f64) < SCAN_PART * points as f64
}

/// Finds unit vectors near a query. Searched by any number of threads while one inserts.
pub(crate) struct VectorIndex {
    folder: PathBuf,
    dimensions: usize,
    params: IndexParams,
    stamp: Stamp,
    parts: RwLock<Arc<Parts>>,
    /// Points of any segment that are gone. A search works on the set as it found it.
    dead: RwLock<Arc<Bitmap>>,
    /// Held by the one who inserts, removes or saves; the state as last written.
    writer: Mutex<State>,
}

/// The segments as one search sees them.
#[derive(Clone)]
struct Parts {
    sealed: Vec<Arc<Sealed>>,
    live: Arc<Live>,
}

impl VectorIndex {
    /// Opens the index in `folder`; an empty one where there is none. What cannot be trusted is left
    /// out, with the reason: the store can refill it.
    pub(crate) fn open(
        folder: &Path,
        dimensions: usize,
        params: IndexParams,
        stamp: Stamp,
    ) -> Result<(Self, Option<String>)> {
        params.validate()?;
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let (state, sealed, notice) = match load(folder, dimensions, stamp) {
            Ok((state, sealed)) => (state, sealed, None),
            Err(error) => (State::new(stamp, dimensions), Vec::new(), Some(error.to_string())),
        };
        let dead = state.dead();
        let index = Self {
            folder: folder.to_path_buf(),
            dimensions,
            params,
            stamp,
            parts: RwLock::new(Arc::new(Parts { sealed, live: Arc::new(Live::new(params)) })),
            dead: RwLock::new(Arc::new(dead)),
            writer: Mutex::new(state),
        };
        index.remove_leftovers();
        Ok((index, notice))
    }

    /// Why the files of the index in `folder` cannot be used, where that is so. None of them is
    /// changed.
    pub(crate) fn damage(folder: &Path, dimensions: usize, stamp: Stamp) -> Option<String> {
        load(folder, dimensions, stamp).err().map(|error| error.to_string())
    }

    /// The generation that the files hold; none before the first save.
    pub(crate) fn generation(&self) -> Option<u64> {
        let state = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        (state.generation > 0).then_some(state.generation)
    }

    /// The points that can be found.
    pub(crate) fn ids(&self) -> Bitmap {
        let parts = self.parts();
        let mut ids: Bitmap = parts.live.points().map(|(id, _)| id).collect();
        for sealed in &parts.sealed {
            ids.extend(sealed.ids().iter().copied());
        }
        ids - &*self.dead()
    }

    /// Points that are in no file yet.
    pub(crate) fn unsaved(&self) -> usize {
        self.parts().live.len()
    }

    /// Bytes of their vectors.
    pub(crate) fn unsaved_bytes(&self) -> u64 {
        (self.unsaved() * self.dimensions * size_of::<f32>()) as u64
    }

    /// Inserts points that are new to the index; they are found when this returns.
    ///
    /// # Errors
    /// [`Error::Dimensions`]; [`Error::Vector`] for a vector that is not of unit length.
    pub(crate) fn insert(&self, items: &[(u32, &[f32])]) -> Result<()> {
        for (_, vector) in items {
            check_unit(vector, self.dimensions)?;
        }
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.parts().live.insert(items.iter().copied());
        Ok(())
    }

    /// Points that are not found any more from now on.
    pub(crate) fn remove(&self, ids: &Bitmap) {
        if !ids.is_empty() {
            // A save that runs at the same time must not forget these.
            let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut dead = self.dead.write().unwrap_or_else(PoisonError::into_inner);
            *dead = Arc::new(&**dead | ids);
        }
    }

    /// The nearest `top_k` points that are `allowed`, nearest first; fewer only where fewer are
    /// allowed. `ef` candidates are kept (default 192, at least `top_k`).
    pub(crate) fn search(
        &self,
        query: &[f32],
        top_k: usize,
        ef: Option<usize>,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<Neighbour>> {
        self.check(query)?;
        let parts = self.parts();
        let dead = self.dead();
        let ef = ef.unwrap_or(EF_SEARCH);
        let mut best = Best::new(top_k);
        for sealed in &parts.sealed {
            sealed.search(query, &mut best, top_k, ef, &dead, allowed);
        }
        parts.live.search(query, &mut best, top_k, ef, &dead, allowed);
        Ok(best.into_sorted())
    }

    /// The same by comparing with every allowed point: right by definition.
    pub(crate) fn search_exact(
        &self,
        query: &[f32],
        top_k: usize,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<Neighbour>> {
        self.check(query)?;
        let parts = self.parts();
        let dead = self.dead();
        let mut best = Best::new(top_k);
        for sealed in &parts.sealed {
            sealed.scan(query, &mut best, &dead, allowed);
        }
        parts.live.scan(query, &mut best, &dead, allowed);
        Ok(best.into_sorted())
    }

    fn check(&self, query: &[f32]) -> Result<()> {
        if query.len() == self.dimensions {
            return Ok(());
        }
        Err(Error::Dimensions { expected: self.dimensions, found: query.len() })
    }

    /// Writes the live segment and the points that are gone to files, as of `generation`. Searches
    /// go on; insertions wait.
    pub(crate) fn save(&self, generation: u64) -> Result<()> {
        self.save_with(generation, MAX_DEAD)
    }

    /// The same, and no file holds a point that is gone afterwards.
    pub(crate) fn compact(&self, generation: u64) -> Result<()> {
        self.save_with(generation, 0.0)
    }

    fn save_with(&self, generation: u64, max_dead: f64) -> Result<()> {
        let mut state = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = self.dead();
        let mut next = state.clone();
        let mut parts = (*self.parts()).clone();
        if parts.live.len() > 0 {
            let sealed = self.seal(&parts.live, &dead, &mut next)?;
            parts.sealed.push(sealed);
            parts.live = Arc::new(Live::new(self.params));
        }
        self.merge(&mut parts, &dead, max_dead, &mut next)?;
        let mut present = Bitmap::new();
        for sealed in &parts.sealed {
            present.extend(sealed.ids().iter().copied());
        }
        let dead = &*dead & &present;
        next.set_dead(&dead);
        next.generation = generation;
        next.segments = parts
            .sealed
            .iter()
            .filter_map(|s| s.path().file_name().map(|n| n.to_string_lossy().into_owned()))
            .collect();
        next.write(&self.folder)?;
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parts);
        *self.dead.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(dead);
        *state = next;
        drop(state);
        self.remove_leftovers();
        Ok(())
    }

    fn seal(&self, live: &Live, dead: &Bitmap, state: &mut State) -> Result<Arc<Sealed>> {
        let path = self.folder.join(format!("{:08}.segment", state.next));
        state.next += 1;
        Sealed::write(&path, live, dead, self.dimensions, self.params.m, self.stamp)?;
        Sealed::open(&path, self.dimensions, self.stamp).map(Arc::new)
    }

    /// Rebuilds segments of which too much is gone, and, where there are too many, the smaller half
    /// into one.
    fn merge(
        &self,
        parts: &mut Parts,
        dead: &Bitmap,
        max_dead: f64,
        state: &mut State,
    ) -> Result<()> {
        let alive = |s: &Sealed| s.ids().iter().filter(|id| !dead.contains(**id)).count();
        let sparse = |s: &Sealed| (alive(s) as f64) < (1.0 - max_dead) * s.len() as f64;
        let mut chosen: Vec<Arc<Sealed>> =
            parts.sealed.iter().filter(|s| sparse(s)).cloned().collect();
        parts.sealed.retain(|s| !sparse(s));
        // Small ones have no graph and cost nothing to merge, so they always are.
        let small = |s: &Sealed| s.len() < self.params.graph_at;
        if parts.sealed.iter().filter(|s| small(s)).count() > 1 {
            chosen.extend(parts.sealed.iter().filter(|s| small(s)).cloned());
            parts.sealed.retain(|s| !small(s));
        }
        if parts.sealed.len() + usize::from(!chosen.is_empty()) > MAX_SEGMENTS {
            parts.sealed.sort_by_key(|s| std::cmp::Reverse(s.len()));
            chosen.extend(parts.sealed.drain(MAX_SEGMENTS / 2..));
        }
        let points =
            || chosen.iter().flat_map(|s| s.points()).filter(|(id, _)| !dead.contains(*id));
        if points().next().is_some() {
            let merged = Live::new(self.params);
            merged.insert(points());
            parts.sealed.push(self.seal(&merged, dead, state)?);
        }
        Ok(())
    }

    /// Files that the state does not name: of a crash, or merged away.
    fn remove_leftovers(&self) {
        let state = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let named: BTreeSet<&str> = state.segments.iter().map(String::as_str).collect();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = name.ends_with(".segment") || name.ends_with(".tmp");
            if ours && !named.contains(&*name) {
                // One that stays is removed the next time.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.parts.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn dead(&self) -> Arc<Bitmap> {
        Arc::clone(&self.dead.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn load(folder: &Path, dimensions: usize, stamp: Stamp) -> Result<(State, Vec<Arc<Sealed>>)> {
    let Some(state) = State::read(folder, stamp, dimensions)? else {
        return Ok((State::new(stamp, dimensions), Vec::new()));
    };
    let mut sealed = Vec::with_capacity(state.segments.len().min(1024));
    for name in &state.segments {
        if name.contains(['/', '\\']) {
            return Err(Error::corrupted(name.clone(), "it is no file name"));
        }
        sealed.push(Arc::new(Sealed::open(&folder.join(name), dimensions, stamp)?));
    }
    Ok((state, sealed))
}

#[cfg(test)]
mod tests;
