//! The vector index: sealed segments, the live segment, and the points that are gone.

mod upkeep;

use super::codes::Codes;
use super::exact::Best;
use super::live::Live;
use super::sealed::{Prepared, Sealed};
use super::state::State;
use super::{Among, Bitmap, Effort, IndexParams, Neighbour, Stamp};
use crate::error::{Error, Result};
use crate::vector::{Rotation, Space};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use upkeep::Upkeep;

/// Candidates in the graph of points that are in no file, where a recall is wanted: enough for 0.98
/// among any number of them that is likely.
const EF_LIVE: usize = 288;
/// The same for many points, as a multiple of them.
const EF_OF_TOP_K: usize = 5;
/// Up to this many allowed points, comparing with each beats walking a graph around the others.
const SCAN_POINTS: usize = 2000;
/// The same as a part of the segment.
const SCAN_PART: f64 = 0.05;
/// The same where they are few of the segment's points: a walk around seven of eight takes longer.
const SCAN_FEW: (usize, f64) = (10_000, 0.125);

/// Whether to compare with all allowed points instead of walking the graph.
pub(super) fn scan_is_better(selected: usize, points: usize) -> bool {
    let part = selected as f64 / points as f64;
    selected <= SCAN_POINTS || part < SCAN_PART || selected <= SCAN_FEW.0 && part < SCAN_FEW.1
}

/// Finds vectors near a query. Searched by any number of threads while one inserts.
pub(crate) struct VectorIndex {
    folder: PathBuf,
    space: Space,
    params: IndexParams,
    rotation: Rotation,
    stamp: Stamp,
    /// A search works on the set as it found it.
    parts: RwLock<Arc<Parts>>,
    /// Held by the one who inserts, removes or changes the set, never for long; the state as last
    /// written.
    writer: Mutex<State>,
    upkeep: Upkeep,
}

/// The segments as one search sees them.
#[derive(Clone)]
struct Parts {
    sealed: Vec<Arc<Sealed>>,
    /// Points that nothing is added to any more, until they are sealed; oldest first.
    frozen: Vec<Frozen>,
    live: Arc<Live>,
    /// Points of any of these that are gone.
    dead: Arc<Bitmap>,
}

#[derive(Clone)]
struct Frozen {
    points: Arc<Live>,
    /// Points of commits up to this one are here or in files.
    generation: u64,
}

impl Parts {
    /// What is in no file, oldest first.
    fn unsaved(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.frozen.iter().map(|f| &f.points).chain(std::iter::once(&self.live))
    }

    /// The points in no file, those that are gone included.
    fn unsaved_ids(&self) -> Bitmap {
        self.unsaved().flat_map(|live| live.codes()).flat_map(Codes::ids).copied().collect()
    }

    /// The points in files, those that are gone included.
    fn sealed_ids(&self) -> Bitmap {
        self.sealed.iter().flat_map(|sealed| sealed.ids().iter().copied()).collect()
    }
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
                frozen: Vec::new(),
                live: Arc::new(Live::new(params, space.metric)),
                dead: Arc::new(dead),
            })),
            writer: Mutex::new(state),
            upkeep: Upkeep::default(),
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
        let state = self.writer();
        (state.generation > 0).then_some(state.generation)
    }

    /// The points that can be found.
    pub(crate) fn ids(&self) -> Bitmap {
        let parts = self.parts();
        (parts.unsaved_ids() | parts.sealed_ids()) - &*parts.dead
    }

    /// Points that are in no file yet.
    pub(crate) fn unsaved(&self) -> usize {
        self.parts().unsaved().map(|live| live.len()).sum()
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
        let _writer = self.writer();
        self.parts().live.insert(items, &self.rotation);
        Ok(())
    }

    /// Points that are not found any more from now on.
    pub(crate) fn remove(&self, ids: &Bitmap) {
        if !ids.is_empty() {
            // Upkeep that ends at the same time must not forget these.
            let _writer = self.writer();
            let mut parts = (*self.parts()).clone();
            parts.dead = Arc::new(&*parts.dead | ids);
            self.show(parts);
        }
    }

    /// The nearest `top_k` points that are `allowed`, nearest first; fewer only where fewer are
    /// allowed. Distances of points in files are those of their codes, about a thousandth of both
    /// lengths off at most.
    ///
    /// # Errors
    /// [`Error::Dimensions`]; [`Error::Corrupted`] where a part of a file that is needed is damaged:
    /// see [`VectorIndex::drop_damaged`].
    pub(crate) fn search(
        &self,
        query: &[f32],
        top_k: usize,
        effort: Effort,
        allowed: Option<&Bitmap>,
    ) -> Result<Vec<Neighbour>> {
        self.check(query)?;
        let parts = self.parts();
        let among = Among { dead: &parts.dead, allowed };
        let mut best = Best::new(top_k);
        let ef = match effort {
            Effort::Candidates(ef) => ef,
            Effort::Usual | Effort::Recall(_) => EF_LIVE.max(top_k.saturating_mul(EF_OF_TOP_K)),
        };
        Prepared::with(query, &self.rotation, |prepared| {
            for sealed in &parts.sealed {
                sealed.search(prepared, &mut best, top_k, effort, among)?;
            }
            for live in parts.unsaved() {
                live.search(query, prepared, &mut best, top_k, ef, among);
            }
            Ok(best.into_sorted())
        })
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
        let among = Among { dead: &parts.dead, allowed };
        let mut best = Best::new(top_k);
        Prepared::with(query, &self.rotation, |prepared| {
            for sealed in &parts.sealed {
                for id in sealed.search_exact(prepared, top_k, among)? {
                    if let Some(vector) = vector(id)? {
                        let distance = self.space.metric.rank(query, &vector);
                        best.push(Neighbour { id, distance });
                    }
                }
            }
            for live in parts.unsaved() {
                live.scan(query, prepared, &mut best, among);
            }
            Ok(best.into_sorted())
        })
    }

    fn check(&self, query: &[f32]) -> Result<()> {
        if query.len() == self.space.dimensions {
            return Ok(());
        }
        Err(Error::Dimensions { expected: self.space.dimensions, found: query.len() })
    }

    /// Files that the state does not name: of a crash, or merged away.
    fn remove_leftovers(&self) {
        let state = self.writer();
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

    /// Searches that begin from now on see `parts`. The writer is held.
    fn show(&self, parts: Parts) {
        *self.parts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(parts);
    }

    fn writer(&self) -> MutexGuard<'_, State> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
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

mod footprint;
#[cfg(test)]
mod tests;

pub(crate) use footprint::Footprint;
