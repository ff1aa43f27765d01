//! What a vector index takes, on the disk and in memory.

use super::super::sealed::Sealed;
use super::super::{Bitmap, Stamp};
use super::{VectorIndex, load};
use crate::error::{Error, Result};
use crate::vector::Space;
use std::path::Path;
use std::sync::Arc;

/// Figures of a vector index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// Segment files.
    pub(crate) segments: usize,
    /// Points in them, those that are gone included.
    pub(crate) sealed_points: usize,
    /// Points that are in no file.
    pub(crate) live_points: usize,
    /// Points that are gone and still take room.
    pub(crate) tombstones: u64,
    /// Bytes of all files in the index's folder.
    pub(crate) disk_bytes: u64,
    /// Bytes of the mapped segment files.
    pub(crate) mapped_bytes: u64,
    /// Bytes on the heap: the live points' vectors, which blocks of files were checked, and the set
    /// of points that are gone.
    pub(crate) heap_bytes: u64,
}

impl VectorIndex {
    /// The figures of now; waits for no insertion and no save.
    pub(crate) fn footprint(&self) -> Result<Footprint> {
        let parts = self.parts();
        let mut footprint = Footprint::of(&self.folder, &parts.sealed, &parts.dead)?;
        footprint.live_points = parts.unsaved().map(|live| live.len()).sum();
        footprint.heap_bytes +=
            (footprint.live_points * self.space.dimensions * size_of::<f32>()) as u64;
        Ok(footprint)
    }

    /// The figures that the index in `folder` has where it is opened as it is, and the generation of
    /// its files, 0 before the first save. No file is changed.
    ///
    /// # Errors
    /// [`Error::Corrupted`] for files that opening would not use.
    pub(crate) fn footprint_of_files(
        folder: &Path,
        space: Space,
        stamp: Stamp,
    ) -> Result<(Footprint, u64)> {
        let (state, sealed, dead) = load(folder, space, stamp)?;
        Ok((Footprint::of(folder, &sealed, &dead)?, state.generation))
    }
}

impl Footprint {
    fn of(folder: &Path, sealed: &[Arc<Sealed>], dead: &Bitmap) -> Result<Self> {
        let mapped: usize = sealed.iter().map(|s| s.mapped_bytes()).sum();
        let heap: usize = sealed.iter().map(|s| s.heap_bytes()).sum();
        Ok(Self {
            segments: sealed.len(),
            sealed_points: sealed.iter().map(|s| s.len()).sum(),
            live_points: 0,
            tombstones: dead.len(),
            disk_bytes: bytes_in(folder)?,
            mapped_bytes: mapped as u64,
            heap_bytes: (heap + dead.serialized_size()) as u64,
        })
    }
}

/// Bytes of the files in `folder`; none where it is not there.
fn bytes_in(folder: &Path) -> Result<u64> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(Error::io("read", folder))?,
    };
    // What was removed since the listing takes nothing.
    Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum())
}
