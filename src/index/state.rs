//! The file that says which segments a vector index has, which of their points are gone, and as of
//! which generation.
//!
//! One line with the xxh3-64 of the rest in hexadecimal, then JSON. Replaced as a whole by a rename,
//! so a crash leaves the old set or the new one; segment files that it does not name are leftovers.

use super::{Bitmap, Stamp};
use crate::error::{Error, Result};
use crate::hash::checksum;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

const VERSION: u32 = 1;
/// A bitmap of four billion numbers in JSON would be larger, a real one never is.
const MAX_BYTES: u64 = 1 << 30;
pub(super) const FILE: &str = "SEGMENTS";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    database: [u8; 16],
    collection: u32,
    dimensions: usize,
    pub(super) generation: u64,
    /// File names, oldest first.
    pub(super) segments: Vec<String>,
    /// Numbers the next segment file.
    pub(super) next: u64,
    /// Points of these segments that are gone, as ranges of numbers, both ends included.
    dead: Vec<(u32, u32)>,
}

impl State {
    pub(super) fn new(stamp: Stamp, dimensions: usize) -> Self {
        Self {
            version: VERSION,
            database: stamp.database,
            collection: stamp.collection,
            dimensions,
            generation: 0,
            segments: Vec::new(),
            next: 0,
            dead: Vec::new(),
        }
    }

    pub(super) fn set_dead(&mut self, dead: &Bitmap) {
        self.dead.clear();
        for id in dead {
            match self.dead.last_mut() {
                Some((_, last)) if *last + 1 == id => *last = id,
                _ => self.dead.push((id, id)),
            }
        }
    }

    /// The points that are gone: none where there are more than `points`, since a range of a few
    /// bytes can ask for a set of four billion.
    pub(super) fn dead(&self, points: usize) -> Option<Bitmap> {
        let gone = self.dead.iter().map(|(first, last)| u64::from(last - first) + 1);
        if gone.sum::<u64>() > points as u64 {
            return None;
        }
        let mut dead = Bitmap::new();
        for (first, last) in &self.dead {
            dead.insert_range(*first..=*last);
        }
        Some(dead)
    }

    /// None where there is no such file.
    pub(super) fn read(folder: &Path, stamp: Stamp, dimensions: usize) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let damaged = |detail: &str| Error::corrupted(path.display().to_string(), detail);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("open", &path)(e)),
        };
        let mut text = String::new();
        file.take(MAX_BYTES)
            .read_to_string(&mut text)
            .map_err(|_| damaged("it cannot be read as text"))?;
        Self::parse(&path, &text, stamp, dimensions).map(Some)
    }

    /// Parses what was read from `path`.
    pub(super) fn parse(path: &Path, text: &str, stamp: Stamp, dimensions: usize) -> Result<Self> {
        let damaged = |detail: &str| Error::corrupted(path.display().to_string(), detail);
        let (sum, json) = text.split_once('\n').ok_or_else(|| damaged("it is cut short"))?;
        if sum != sum_of(json) {
            return Err(damaged("the checksum does not match"));
        }
        let state: Self = serde_json::from_str(json).map_err(|_| damaged("it does not parse"))?;
        let expected = Self::new(stamp, dimensions);
        if (state.version, state.database, state.collection, state.dimensions)
            != (expected.version, expected.database, expected.collection, expected.dimensions)
        {
            return Err(damaged("it belongs to another index"));
        }
        let ascending = state.dead.is_sorted_by(|a, b| a.1 < b.0);
        if !ascending || state.dead.iter().any(|(first, last)| first > last) {
            return Err(damaged("its ranges of points are not in order"));
        }
        Ok(state)
    }

    /// What [`State::parse`] reads.
    pub(super) fn to_text(&self) -> serde_json::Result<String> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{}\n{json}", sum_of(&json)))
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let temporary = folder.join("SEGMENTS.tmp");
        let text = self
            .to_text()
            .map_err(|e| Error::corrupted(path.display().to_string(), e.to_string()))?;
        File::create(&temporary)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, &path))
            .map_err(Error::io("write", &path))
    }
}

pub(super) fn sum_of(json: &str) -> String {
    format!("{:016x}", checksum([json.as_bytes()]))
}
