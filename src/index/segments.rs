//! The vector index: sealed segments, the live segment, and the points that are gone.

use super::codes::{Code, Codes};
use super::exact::Best;
use super::graph::{Graph, all_threads};
use super::live::Live;
use super::plan::Plan;
use super::sealed::{Prepared, Sealed};
use super::state::State;
use super::{Bitmap, IndexParams, Neighbour, Stamp};
use crate::error::{Error, Result};
use crate::vector::{Rotation, Space};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Candidates of a graph search where the caller does not say: recall@10 of 0.98 among 248,000
/// sentence embeddings (docs/benchmarks.md).
const EF_SEARCH: usize = 288;
/// The same for many points, as a multiple of them: recall@100 of 0.95 there.
const EF_OF_TOP_K: usize = 5;
/// Up to this many allowed points, comparing with each beats walking a graph around the others.
const SCAN_POINTS: usize = 2000;
/// The same as a part of the segment.
const SCAN_PART: f64 = 0.05;

/// Whether to compare with all allowed points instead of walking the graph.
pub(super) fn scan_is_better(selected: usize, points: usize) -> bool {
    selected <= SCAN_POINTS || (selected as f64) < SCAN_PART * points as f64
}

/// Finds vectors near a query. Searched by any number of threads while one inserts.
pub(crate) struct VectorIndex {
    folder: PathBuf,
    space: Space,
    params: IndexParams,
    rotation: Rotation,
    stamp: Stamp,
    parts: RwLock<Arc<Parts>>,
    /// Points of any segment that are gone. A search works on the set as it found it.
    dead: RwLock<Arc<Bitmap>>,
    /// Held by the one who inserts, removes or saves; the state as last written.
    writer: Mutex<State>,
}

/// The segments as one search sees them.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) sealed: Vec<Arc<Sealed>>,
    pub(super) live: Arc<Live>,
}

impl VectorIndex {
    /// Opens the index in `folder`; an empty one where there is none. What cannot be trusted is left
    /// out, with the reason: the store can refill it.
    pub(crate) fn open(
        folder: &Path,
        space: Space,
        params: IndexParams,
        stamp: Stamp,
    ) -> Result<(Self, Option<String>)> {
        params.validate()?;
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let (loaded, notice) = match load(folder, space, stamp) {
            Ok(loaded) => (loaded, None),
            Err(error) => {
                let nothing = (State::new(stamp, space.dimensions), Vec::new(), Bitmap::new());
                let why = if has_older_files(folder) {
                    "its files are of an older version".to_owned()
                } else {
                    error.to_string()
                };
                (nothing, Some(why))
            }
        };
        let (state, sealed, dead) = loaded;
        let index = Self {
            folder: folder.to_path_buf(),
            space,
            params,
            rotation: Rotation::new(space.dimensions),
            stamp,
            parts: RwLock::new(Arc::new(Parts {
                sealed,
                live: Arc::new(Live::new(params, space.metric)),
            })),
            dead: RwLock::new(Arc::new(dead)),
            writer: Mutex::new(state),
        };
        index.remove_leftovers();
        Ok((index, notice))
    }

    /// Why the files of the index in `folder` cannot be used, where that is so. None of them is
    /// changed.
    pub(crate) fn damage(folder: &Path, space: Space, stamp: Stamp) -> Option<String> {
        if has_older_files(folder) {
            return None;
        }
        let whole = load(folder, space, stamp)
            .and_then(|(_, sealed, _)| sealed.iter().try_for_each(|sealed| sealed.check()));
        whole.err().map(|error| error.to_string())
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
        (self.unsaved() * self.space.dimensions * size_of::<f32>()) as u64
    }

    /// Inserts points that are new to the index; they are found when this returns.
    ///
    /// # Errors
    /// [`Error::Dimensions`]; [`Error::Vector`] for a vector that its metric does not admit.
    pub(crate) fn insert(&self, items: &[(u32, &[f32])]) -> Result<()> {
        for (_, vector) in items {
            self.space.check(vector)?;
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
    /// allowed. `ef` candidates are kept (default: 288, or five times `top_k` where that is more;
    /// never fewer than about twice `top_k`). Distances of points in files are those of their codes,
    /// about a thousandth of both lengths off at most.
    ///
    /// # Errors
    /// [`Error::Dimensions`]; [`Error::Corrupted`] where a part of a file that is needed is damaged:
    /// see [`VectorIndex::drop_damaged`].
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
        let ef = ef.unwrap_or_else(|| EF_SEARCH.max(top_k.saturating_mul(EF_OF_TOP_K)));
        let mut best = Best::new(top_k);
        if !parts.sealed.is_empty() {
            let prepared = Prepared::new(query, &self.rotation);
            for sealed in &parts.sealed {
                sealed.search(&prepared, &mut best, top_k, ef, &dead, allowed)?;
            }
        }
        parts.live.search(query, &mut best, top_k, ef, &dead, allowed);
        Ok(best.into_sorted())
    }

    /// The same by comparing with every allowed point: right by definition. Codes tell which points
    /// cannot be among the nearest; of the others, `vector` gives the vector itself, or none where
    /// the point is just being removed.
    ///
    /// # Errors
    /// Those of [`VectorIndex::search`] and of `vector`.
    pub(crate) fn search_exact(
        &self,
        query: &[f32],
        top_k: usize,
        allowed: Option<&Bitmap>,
        vector: impl Fn(u32) -> Result<Option<Vec<f32>>>,
    ) -> Result<Vec<Neighbour>> {
        self.check(query)?;
        let parts = self.parts();
        let dead = self.dead();
        let mut best = Best::new(top_k);
        if !parts.sealed.is_empty() {
            let prepared = Prepared::new(query, &self.rotation);
            for sealed in &parts.sealed {
                for id in sealed.search_exact(&prepared, top_k, &dead, allowed)? {
                    if let Some(vector) = vector(id)? {
                        let distance = self.space.metric.rank(query, &vector);
                        best.push(Neighbour { id, distance });
                    }
                }
            }
        }
        parts.live.scan(query, &mut best, &dead, allowed);
        Ok(best.into_sorted())
    }

    /// Gives up the files that are damaged and returns the points that were in them alone, which
    /// the store can give again.
    pub(crate) fn drop_damaged(&self) -> Bitmap {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = Bitmap::new();
        let mut parts = (*self.parts()).clone();
        parts.sealed.retain(|sealed| {
            let whole = sealed.check().is_ok();
            if !whole {
                lost.extend(sealed.ids().iter().copied());
            }
            whole
        });
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parts);
        lost - &*self.dead()
    }

    fn check(&self, query: &[f32]) -> Result<()> {
        if query.len() == self.space.dimensions {
            return Ok(());
        }
        Err(Error::Dimensions { expected: self.space.dimensions, found: query.len() })
    }

    /// Writes the live segment and the points that are gone to files, as of `generation`. Searches
    /// go on; insertions wait.
    pub(crate) fn save(&self, generation: u64) -> Result<()> {
        self.save_with(generation, Codes::new(self.rotation.padded()), Plan::usual)
    }

    /// The same into a single file, which holds no point that is gone.
    pub(crate) fn compact(&self, generation: u64) -> Result<()> {
        self.save_with(generation, Codes::new(self.rotation.padded()), Plan::all)
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
        let mut codes = Codes::new(self.rotation.padded());
        for point in points {
            let (id, vector) = point?;
            self.space.check(&vector)?;
            codes.push(id, &vector, &self.rotation);
        }
        self.save_with(generation, codes, Plan::usual)
    }

    /// Writes `more` and the live points as one new segment, together with the segments that `choose`
    /// takes out of those that are there.
    fn save_with(
        &self,
        generation: u64,
        more: Codes,
        choose: impl FnOnce(&mut Plan),
    ) -> Result<()> {
        let mut state = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = self.dead();
        let mut next = state.clone();
        let mut parts = (*self.parts()).clone();
        let mut plan = Plan::new(&parts, &dead, more.len());
        choose(&mut plan);
        let (chosen, kept) = plan.split(parts.sealed);
        parts.sealed = kept;
        let codes = self.gather(more, &parts.live, &chosen, &dead)?;
        if codes.len() > 0 {
            parts.sealed.push(self.seal(&codes, &mut next)?);
        }
        parts.live = Arc::new(Live::new(self.params, self.space.metric));
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

    /// All that is alive, as codes by ascending numbers.
    fn gather(
        &self,
        more: Codes,
        live: &Live,
        chosen: &[Arc<Sealed>],
        dead: &Bitmap,
    ) -> Result<Codes> {
        let mut added = more;
        let mut vectors: Vec<(u32, &[f32])> =
            live.points().filter(|(id, _)| !dead.contains(*id)).collect();
        vectors.sort_unstable_by_key(|(id, _)| *id);
        for (id, vector) in vectors {
            added.push(id, vector, &self.rotation);
        }
        let mut points: Vec<(u32, Code<'_>)> = added.iter().collect();
        let mut error = added.error();
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
        if chosen.is_empty() && points.is_sorted_by_key(|(id, _)| *id) {
            drop(points);
            return Ok(added);
        }
        points.sort_unstable_by_key(|(id, _)| *id);
        let mut codes = Codes::new(self.rotation.padded());
        for (id, code) in points {
            codes.push_code(id, code);
        }
        codes.widen_error(error);
        Ok(codes)
    }

    /// Writes `codes` as a segment file.
    fn seal(&self, codes: &Codes, state: &mut State) -> Result<Arc<Sealed>> {
        let path = self.folder.join(format!("{:08}.segment", state.next));
        state.next += 1;
        let threads = all_threads();
        // No walk is made where comparing with all is better.
        let graph = (codes.len() > SCAN_POINTS)
            .then(|| Graph::build(codes, self.space.metric, self.params.ef_construction, threads));
        Sealed::write(&path, codes, graph.as_ref(), self.space, threads, self.stamp)?;
        Sealed::open(&path, self.space, self.stamp).map(Arc::new)
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

fn has_older_files(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.into_iter().any(|file| Sealed::is_older(&file.path()))
}

/// The segments of an index and the points in them that are gone.
type Loaded = (State, Vec<Arc<Sealed>>, Bitmap);

fn load(folder: &Path, space: Space, stamp: Stamp) -> Result<Loaded> {
    let Some(state) = State::read(folder, stamp, space.dimensions)? else {
        return Ok((State::new(stamp, space.dimensions), Vec::new(), Bitmap::new()));
    };
    let mut sealed = Vec::with_capacity(state.segments.len().min(1024));
    for name in &state.segments {
        if name.contains(['/', '\\']) {
            return Err(Error::corrupted(name.clone(), "it is no file name"));
        }
        sealed.push(Arc::new(Sealed::open(&folder.join(name), space, stamp)?));
    }
    let dead = state.dead(sealed.iter().map(|s| s.len()).sum()).ok_or_else(|| {
        Error::corrupted(folder.display().to_string(), "more points are gone than there were")
    })?;
    Ok((state, sealed, dead))
}

#[cfg(test)]
mod tests;
