//! Sealed segments: an immutable file, mapped, and a search over its flat arrays.
//!
//! ```text
//! offset  size       field (all numbers little-endian)
//!      0     8       magic "VDBSEG1\n"
//!      8     4       format version, 1
//!     12     4       dimensions d
//!     16     4       points n
//!     20     4       degree of the ground layer g; 0: no graph
//!     24     4       degree of the upper layers u
//!     28     4       row at which searches begin
//!     32     4       upper rows w
//!     36     4       rows that no walk from there reaches, r
//!     40     4       collection
//!     44     4       unused, 0
//!     48    16       database uuid
//!     64     8       checksum: xxh3-64 of the file with this field 0
//!     72    56       unused, 0
//!    128     n·d·4   vectors, f32, row by row
//!      …     n·4     chunk number of each row, ascending
//!      …     n·g·4   ground layer: neighbour rows, filled up with 0xffffffff
//!      …     w·(2+u)·4  upper layers: layer (from 1), row, neighbour rows; by layer, then row
//!      …     r·4     unreached rows; they are compared with every query
//! ```

use super::exact::Best;
use super::live::{Links, Live};
use super::{Bitmap, Neighbour, Stamp};
use crate::error::{Error, Result};
use crate::hash::checksum;
use crate::vector::distance;
use memmap2::Mmap;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"VDBSEG1\n";
const VERSION: u32 = 1;
const HEADER: usize = 128;
pub(super) const CHECKSUM: Range<usize> = 64..72;
/// An empty neighbour slot.
const NONE: u32 = u32::MAX;

thread_local! {
    /// One bit per row, kept between searches of this thread.
    static VISITED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// A mapped segment file.
pub(super) struct Sealed {
    path: PathBuf,
    map: Mmap,
    shape: Shape,
    /// Where the neighbours of an upper row stand: by layer, from the lowest.
    upper: Vec<HashMap<u32, Range<usize>>>,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    dimensions: usize,
    points: usize,
    degree: usize,
    upper_degree: usize,
    entry: u32,
    upper_rows: usize,
    unreached: usize,
}

impl Shape {
    fn ids(&self) -> usize {
        HEADER + self.points * self.dimensions * 4
    }
    fn ground(&self) -> usize {
        self.ids() + self.points * 4
    }
    fn upper(&self) -> usize {
        self.ground() + self.points * self.degree * 4
    }
    fn upper_width(&self) -> usize {
        2 + self.upper_degree
    }
    fn unreached_at(&self) -> usize {
        self.upper() + self.upper_rows * self.upper_width() * 4
    }
    fn end(&self) -> usize {
        self.unreached_at() + self.unreached * 4
    }

    /// The same sum with every step checked, for numbers that come from a file.
    fn checked_end(&self) -> Option<usize> {
        let vectors = self.points.checked_mul(self.dimensions)?.checked_mul(4)?;
        let ground = self.points.checked_mul(self.degree)?.checked_mul(4)?;
        let upper = self.upper_rows.checked_mul(self.upper_degree.checked_add(2)?)?;
        HEADER
            .checked_add(vectors)?
            .checked_add(self.points.checked_mul(4)?)?
            .checked_add(ground)?
            .checked_add(upper.checked_mul(4)?)?
            .checked_add(self.unreached.checked_mul(4)?)
    }
}

impl Sealed {
    /// Writes the points of `live` that are not in `dead` as a segment file, whole or not at all.
    pub(super) fn write(
        path: &Path,
        live: &Live,
        dead: &Bitmap,
        dimensions: usize,
        m: usize,
        stamp: Stamp,
    ) -> Result<()> {
        // A graph keeps its dead points: they are the way to others. Only where all of it is
        // compared anyway do they go.
        let links = live.links();
        let mut rows: Vec<(u32, usize)> = live
            .points()
            .enumerate()
            .filter(|(_, (id, _))| links.is_some() || !dead.contains(*id))
            .map(|(row, (id, _))| (id, row))
            .collect();
        rows.sort_unstable();
        let vectors: Vec<&[f32]> = live.points().map(|(_, vector)| vector).collect();
        let flat = links.map(|links| Flat::new(&links, &rows, m));
        let shape = Shape {
            dimensions,
            points: rows.len(),
            degree: flat.as_ref().map_or(0, |_| 2 * m),
            upper_degree: m,
            entry: flat.as_ref().map_or(0, |f| f.entry),
            upper_rows: flat.as_ref().map_or(0, |f| f.upper.len() / (2 + m)),
            unreached: flat.as_ref().map_or(0, |f| f.unreached.len()),
        };
        let unsummed = header(&shape, stamp)?;
        let ids: Vec<u32> = rows.iter().map(|(id, _)| *id).collect();
        let numbers: Vec<&[u32]> = match &flat {
            Some(flat) => vec![&ids, &flat.ground, &flat.upper, &flat.unreached],
            None => vec![&ids],
        };
        // What comes after the header, in the order of the file.
        let body = || {
            let vectors = rows.iter().map(|(_, row)| bytemuck::cast_slice(vectors[*row]));
            vectors.chain(numbers.iter().map(|section| bytemuck::cast_slice(section)))
        };
        let sum = checksum(std::iter::once(unsummed.as_slice()).chain(body()));
        let mut header = unsummed.clone();
        header[CHECKSUM].copy_from_slice(&sum.to_le_bytes());

        let temporary = path.with_extension("tmp");
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut write = || {
            out.write_all(&header)?;
            for part in body() {
                out.write_all(part)?;
            }
            out.flush()?;
            out.get_ref().sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(Error::io("write", path))
    }

    /// Maps a segment file and checks it whole.
    ///
    /// # Errors
    /// [`Error::Corrupted`] for anything but a whole segment of this stamp and dimension.
    pub(super) fn open(path: &Path, dimensions: usize, stamp: Stamp) -> Result<Self> {
        let damaged = |detail: String| Error::corrupted(path.display().to_string(), detail);
        if cfg!(target_endian = "big") {
            return Err(damaged("segments are little-endian and this machine is not".to_owned()));
        }
        let file = File::open(path).map_err(Error::io("open", path))?;
        #[expect(unsafe_code, reason = "a mapping is how a segment opens without being read")]
        // SAFETY: the file was renamed into place whole, is never written again, and the database's
        // lock keeps other processes of ours away; it is unlinked, not truncated, when it goes.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        let Some(head) = map.first_chunk::<HEADER>() else {
            return Err(damaged(format!("{} bytes are too few", map.len())));
        };
        let number = |at: usize| {
            u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize
        };
        if head[..8] != MAGIC || number(8) != VERSION as usize {
            return Err(damaged("it is not a segment of format version 1".to_owned()));
        }
        if head[48..64] != stamp.database || number(40) != stamp.collection as usize {
            return Err(damaged("it belongs to another collection".to_owned()));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it was a u32")]
        let shape = Shape {
            dimensions: number(12),
            points: number(16),
            degree: number(20),
            upper_degree: number(24),
            entry: number(28) as u32,
            upper_rows: number(32),
            unreached: number(36),
        };
        if shape.dimensions != dimensions || shape.checked_end() != Some(map.len()) {
            return Err(damaged("its length does not fit its header".to_owned()));
        }
        let sum = checksum([&map[..CHECKSUM.start], &[0; 8], &map[CHECKSUM.end..]]);
        if sum.to_le_bytes() != head[CHECKSUM] {
            return Err(damaged("the checksum does not match".to_owned()));
        }
        let mut sealed = Self { path: path.to_path_buf(), map, shape, upper: Vec::new() };
        sealed.check_rows().map_err(damaged)?;
        sealed.index_upper();
        Ok(sealed)
    }

    /// Rows are used as indexes without further checks, so they are checked once, here.
    fn check_rows(&self) -> Result<(), String> {
        let n = self.shape.points;
        let inside = |rows: &[u32]| rows.iter().all(|row| *row == NONE || (*row as usize) < n);
        if self.has_graph() && self.shape.entry as usize >= n {
            return Err("the entry row is outside".to_owned());
        }
        let upper = self.numbers(self.shape.upper()..self.shape.unreached_at());
        let layers = upper.chunks_exact(self.shape.upper_width());
        let whole = inside(self.numbers(self.shape.ground()..self.shape.upper()))
            && layers.clone().all(|row| row[0] >= 1 && row[0] <= 255 && inside(&row[1..]))
            && inside(self.unreached());
        if whole { Ok(()) } else { Err("a neighbour row is outside".to_owned()) }
    }

    fn index_upper(&mut self) {
        let width = self.shape.upper_width();
        let mut upper: Vec<HashMap<u32, Range<usize>>> = Vec::new();
        let numbers = self.numbers(self.shape.upper()..self.shape.unreached_at());
        for (i, row) in numbers.chunks_exact(width).enumerate() {
            let layer = row[0] as usize;
            if upper.len() < layer {
                upper.resize_with(layer, HashMap::new);
            }
            let start = self.shape.upper() + (i * width + 2) * 4;
            upper[layer - 1].insert(row[1], start..start + self.shape.upper_degree * 4);
        }
        self.upper = upper;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> usize {
        self.shape.points
    }

    pub(super) fn has_graph(&self) -> bool {
        self.shape.degree > 0
    }

    /// Chunk numbers by row, ascending.
    pub(super) fn ids(&self) -> &[u32] {
        self.numbers(self.shape.ids()..self.shape.ground())
    }

    pub(super) fn points(&self) -> impl Iterator<Item = (u32, &[f32])> {
        (0..).zip(self.ids()).map(|(row, id)| (*id, self.vector(row)))
    }

    fn numbers(&self, span: Range<usize>) -> &[u32] {
        bytemuck::cast_slice(&self.map[span])
    }

    fn unreached(&self) -> &[u32] {
        self.numbers(self.shape.unreached_at()..self.shape.end())
    }

    fn vector(&self, row: u32) -> &[f32] {
        let start = HEADER + row as usize * self.shape.dimensions * 4;
        bytemuck::cast_slice(&self.map[start..start + self.shape.dimensions * 4])
    }

    fn neighbours(&self, row: u32) -> &[u32] {
        let start = self.shape.ground() + row as usize * self.shape.degree * 4;
        self.numbers(start..start + self.shape.degree * 4)
    }

    /// Adds the best `limit` points to `best`.
    pub(super) fn search(
        &self,
        query: &[f32],
        best: &mut Best,
        limit: usize,
        ef: usize,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) {
        let selected = self.selected(dead, allowed);
        if !self.has_graph() || super::segments::scan_is_better(selected, self.len()) {
            return self.scan(query, best, dead, allowed);
        }
        let may = |id: u32| !dead.contains(id) && allowed.is_none_or(|a| a.contains(id));
        let found = self.walk(query, ef.max(limit), may);
        if found.len() < limit.min(selected) {
            return self.scan(query, best, dead, allowed);
        }
        best.extend(found.into_iter().take(limit));
    }

    /// Compares with every allowed point.
    pub(super) fn scan(
        &self,
        query: &[f32],
        best: &mut Best,
        dead: &Bitmap,
        allowed: Option<&Bitmap>,
    ) {
        let ids = self.ids();
        let at = |row: usize, id: u32| {
            #[expect(clippy::cast_possible_truncation, reason = "rows are u32")]
            let vector = self.vector(row as u32);
            Neighbour { id, distance: distance(query, vector) }
        };
        if let Some(allowed) = allowed.filter(|a| a.len() < ids.len() as u64 / 4) {
            let picked = allowed.iter().filter(|id| !dead.contains(*id));
            best.extend(picked.filter_map(|id| ids.binary_search(&id).ok().map(|row| at(row, id))));
            return;
        }
        for (row, id) in ids.iter().enumerate() {
            if !dead.contains(*id) && allowed.is_none_or(|a| a.contains(*id)) {
                best.push(at(row, *id));
            }
        }
    }

    fn selected(&self, dead: &Bitmap, allowed: Option<&Bitmap>) -> usize {
        if dead.is_empty() && allowed.is_none() {
            return self.len();
        }
        let may = |id: &&u32| !dead.contains(**id) && allowed.is_none_or(|a| a.contains(**id));
        self.ids().iter().filter(may).count()
    }

    /// Best-first search of the graph with `ef` candidates that `may` be returned; the others are
    /// walked through. Best first.
    pub(super) fn walk(
        &self,
        query: &[f32],
        ef: usize,
        may: impl Fn(u32) -> bool,
    ) -> Vec<Neighbour> {
        let ids = self.ids();
        let of = |row: u32| distance(query, self.vector(row));
        let mut row = self.shape.entry;
        let mut nearest = of(row);
        for layer in self.upper.iter().rev() {
            while let Some(span) = layer.get(&row) {
                let before = row;
                for &next in self.numbers(span.clone()).iter().take_while(|r| **r != NONE) {
                    let d = of(next);
                    if d < nearest {
                        (nearest, row) = (d, next);
                    }
                }
                if row == before {
                    break;
                }
            }
        }
        VISITED.with_borrow_mut(|visited| {
            visited.clear();
            visited.resize(ids.len().div_ceil(64), 0);
            let mut seen = |row: u32| {
                let (word, bit) = (row as usize / 64, 1u64 << (row % 64));
                let before = visited[word] & bit != 0;
                visited[word] |= bit;
                before
            };
            // Rows in place of numbers while walking: both are ascending together.
            let mut best = Best::new(ef);
            let mut bound = f32::INFINITY;
            let mut kept = 0;
            let mut open: BinaryHeap<Reverse<Neighbour>> = BinaryHeap::new();
            let mut reach = |row: u32, d: f32, open: &mut BinaryHeap<_>, bound: &mut f32| {
                if kept < ef || d < *bound {
                    open.push(Reverse(Neighbour { id: row, distance: d }));
                    if may(ids[row as usize]) {
                        best.push(Neighbour { id: row, distance: d });
                        kept += 1;
                        if kept >= ef {
                            *bound = best.worst();
                        }
                    }
                }
            };
            seen(row);
            reach(row, nearest, &mut open, &mut bound);
            for &lost in self.unreached() {
                if !seen(lost) {
                    reach(lost, of(lost), &mut open, &mut bound);
                }
            }
            let mut fresh = Vec::with_capacity(self.shape.degree);
            while let Some(Reverse(next)) = open.pop() {
                if next.distance > bound {
                    break;
                }
                fresh.clear();
                let neighbours = self.neighbours(next.id).iter().copied();
                fresh.extend(neighbours.take_while(|r| *r != NONE).filter(|r| !seen(*r)));
                for &row in &fresh {
                    prefetch(self.vector(row));
                }
                for &row in &fresh {
                    reach(row, of(row), &mut open, &mut bound);
                }
            }
            let mut found = best.into_sorted();
            for neighbour in &mut found {
                neighbour.id = ids[neighbour.id as usize];
            }
            found
        })
    }
}

/// Asks for a vector before it is needed: the walk waits on memory more than it computes.
#[inline]
fn prefetch(vector: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in vector.chunks(16) {
            #[expect(unsafe_code, reason = "the prefetch instruction has no safe form")]
            // SAFETY: the pointer lies in the slice; a prefetch reads nothing in any case.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = vector;
}

fn header(shape: &Shape, stamp: Stamp) -> Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&MAGIC);
    let small = |n: usize| {
        u32::try_from(n)
            .map_err(|_| Error::parameter("segment", format!("{n} points do not fit one segment")))
    };
    for number in [
        VERSION,
        small(shape.dimensions)?,
        small(shape.points)?,
        small(shape.degree)?,
        small(shape.upper_degree)?,
        shape.entry,
        small(shape.upper_rows)?,
        small(shape.unreached)?,
        stamp.collection,
        0,
    ] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&stamp.database);
    header.resize(HEADER, 0);
    Ok(header)
}

/// A graph as flat arrays, in the order of the file's rows.
struct Flat {
    entry: u32,
    ground: Vec<u32>,
    upper: Vec<u32>,
    unreached: Vec<u32>,
}

impl Flat {
    /// `rows` says which old row stands at each new one.
    fn new(links: &Links, rows: &[(u32, usize)], m: usize) -> Self {
        let mut new_of = vec![NONE; links.ground.len()];
        for (new, (_, old)) in (0u32..).zip(rows) {
            new_of[*old] = new;
        }
        let translated = |old: &[u32], degree: usize, out: &mut Vec<u32>| {
            let end = out.len() + degree;
            out.extend(old.iter().take(degree).map(|row| new_of[*row as usize]));
            out.resize(end, NONE);
        };
        let degree = 2 * m;
        let mut ground = Vec::with_capacity(rows.len() * degree);
        for (_, old) in rows {
            translated(&links.ground[*old], degree, &mut ground);
        }
        let mut upper = Vec::new();
        for (layer, members) in (1u32..).zip(&links.upper) {
            let mut members: Vec<(u32, &[u32])> = members
                .iter()
                .map(|(row, neighbours)| (new_of[*row as usize], neighbours.as_slice()))
                .collect();
            members.sort_unstable();
            for (row, neighbours) in members {
                upper.extend([layer, row]);
                translated(neighbours, m, &mut upper);
            }
        }
        let entry = new_of[links.entry as usize];
        let unreached = unreached(entry, &ground, degree, &upper, m);
        Self { entry, ground, upper, unreached }
    }
}

/// Rows that cannot be reached from `entry` over any layer.
fn unreached(entry: u32, ground: &[u32], degree: usize, upper: &[u32], m: usize) -> Vec<u32> {
    let count = ground.len() / degree;
    let mut shortcuts: HashMap<u32, Vec<u32>> = HashMap::new();
    for row in upper.chunks_exact(2 + m) {
        shortcuts.entry(row[1]).or_default().extend(row[2..].iter().filter(|r| **r != NONE));
    }
    let mut reached = vec![false; count];
    let mut pending = vec![entry];
    reached[entry as usize] = true;
    while let Some(row) = pending.pop() {
        let start = row as usize * degree;
        let near = ground[start..start + degree].iter().take_while(|r| **r != NONE);
        for &next in near.chain(shortcuts.get(&row).into_iter().flatten()) {
            if !std::mem::replace(&mut reached[next as usize], true) {
                pending.push(next);
            }
        }
    }
    (0u32..).zip(&reached).filter(|(_, reached)| !**reached).map(|(row, _)| row).collect()
}
