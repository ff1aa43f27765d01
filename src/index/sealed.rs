//! Sealed segments: an immutable file that is mapped and searched as it is.
//!
//! ```text
//! offset  size   field (all numbers little-endian)
//!      0     8   magic "VDBSEG4\n"
//!      8     4   format version, 4
//!     12     4   dimensions
//!     16     4   points n
//!     20     4   neighbours of a row: 32, 16 for memory 2, or 0 where there is no graph
//!     24     4   row at which walks begin
//!     28     4   rows that no walk meets, r
//!     32     4   collection
//!     36     4   what first-level codes leave out at most, f32
//!     40     4   what whole codes leave out at most, f32
//!     44     4   metric: 0 cosine, 1 dot, 2 Euclidean
//!     48    16   database uuid
//!     64     8   checksum: xxh3-64 of all before the rows, with this field 0
//!     72     4   for metric 1, the largest squared length of a vector, f32; else 0
//!     76     4   memory: 0 speed, 1 balanced, 2 small
//!     80    20   unused, 0
//!    100    28   recall of walks: u16 in parts of 65535, for 10 neighbours with 32, 64, … 2048
//!                candidates, then for 100
//!    128   n·4   chunk number of each row, ascending
//!      …   r·4   rows that no walk meets; they are compared with every query
//!      …   …     zeros up to a multiple of 8
//!      …   b·8   xxh3-64 of each block of rows
//!      …   …     zeros up to a multiple of 4096
//!      …   …     rows, each filled up to a multiple of 64 bytes, for memory 2 of 8
//!
//! size     field of a row, for d dimensions filled up to a multiple of 64
//! 4·d+224  memory 0, where there is a graph: the neighbours, a block of `vector::fastscan`
//! 64·k     memory 1, where there is a graph: the vector's sketch, `vector::sketch`; k lines of d/64 + 2
//!          words
//! 96, 48   memory 1 and 2, where there is a graph: the rows of the neighbours, 24 bits each, the
//!          row's own for one that is missing
//! d        code, first level, `vector::code`
//! 4        scale of the code, f32
//! 4        squared length of the vector, f32
//! 3·d/8    memory 0 and 1: code, second level
//! ```
//!
//! Opening reads what comes before the rows. A block of rows (a power of two of them, as many as fit 32 KiB, at least one) is
//! compared with its checksum when a search first comes to it, so that opening takes no longer for a
//! larger file and no search believes what it has not checked.

mod links;
mod recall;
mod search;
mod write;

use super::codes::Code;
use super::{Bitmap, Stamp};
use crate::error::{Error, Result};
use crate::hash::checksum;
use crate::mapped::Mapped;
use crate::vector::code::CodeError;
use crate::vector::fastscan::MAX_ROWS;
use crate::vector::sketch::Line;
use crate::vector::{MAX_DIMENSIONS, Memory, Metric, Rotation, Space};
use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use recall::Recall;
pub(super) use search::Prepared;

const MAGIC: [u8; 8] = *b"VDBSEG4\n";
/// Before version 4.
const OLDER_MAGICS: [[u8; 8]; 3] = [*b"VDBSEG1\n", *b"VDBSEG2\n", *b"VDBSEG3\n"];
const VERSION: u32 = 4;
const HEADER: usize = 128;
const CHECKSUM: Range<usize> = 64..72;
const RECALL: Range<usize> = 100..HEADER;
const _: () = assert!(RECALL.end - RECALL.start == recall::BYTES);
const PAGE: usize = 4096;
/// Of x86-64 and most of Arm.
const HUGE_PAGE: usize = 2 << 20;
const BLOCK_BYTES: usize = 32 << 10;

/// A mapped segment file.
pub(super) struct Sealed {
    path: PathBuf,
    map: Mapped,
    shape: Shape,
    metric: Metric,
    /// The largest squared length, where the metric is [`Metric::Dot`].
    largest: f32,
    error: CodeError,
    entry: u32,
    recall: Recall,
    /// One bit for each block of rows that was compared with its checksum.
    checked: Box<[AtomicU64]>,
    /// Its chunk numbers as a set, made by the first filter.
    members: OnceLock<Bitmap>,
}

/// Where things stand; worked out once, since every step of a walk asks.
#[derive(Debug, Clone, Copy)]
struct Shape {
    memory: Memory,
    padded: usize,
    points: usize,
    graph: bool,
    unreached: usize,
    /// Bytes of a row's own sketch.
    sketch: usize,
    /// Where the row's code begins, after what it knows of its neighbours.
    links: usize,
    /// Bytes of a row.
    row: usize,
    /// Rows of a block as a power of two.
    shift: u32,
    /// Where the rows begin.
    rows_at: usize,
}

impl Shape {
    fn new(memory: Memory, padded: usize, points: usize, graph: bool, unreached: usize) -> Self {
        let sketch = if graph { memory.sketch_bytes(padded) } else { 0 };
        let links = if graph { sketch + memory.links_bytes(padded) } else { 0 };
        let row = links + padded + 8 + memory.rest_bytes(padded);
        let row = row.next_multiple_of(memory.alignment());
        let shift = (BLOCK_BYTES / row).checked_ilog2().unwrap_or(0);
        let rows_at = 0;
        let mut shape =
            Self { memory, padded, points, graph, unreached, sketch, links, row, shift, rows_at };
        shape.rows_at = (shape.sums_at() + shape.blocks() * 8).next_multiple_of(PAGE);
        shape
    }
    /// The part of a row that a walk reads.
    fn hot(&self) -> Range<usize> {
        0..self.links + self.padded + 8
    }
    /// The part that tells how far a query is.
    fn code(&self) -> Range<usize> {
        self.links..self.links + self.padded + 8
    }
    fn blocks(&self) -> usize {
        self.points.div_ceil(1 << self.shift)
    }
    fn unreached_at(&self) -> usize {
        HEADER + self.points * 4
    }
    fn sums_at(&self) -> usize {
        (self.unreached_at() + self.unreached * 4).next_multiple_of(8)
    }
    /// Cannot overflow: points are at most 2²⁴, dimensions 4096.
    fn end(&self) -> usize {
        self.rows_at + self.points * self.row
    }
    fn rows_of_block(&self, block: usize) -> Range<usize> {
        let end = |block: usize| (block << self.shift).min(self.points);
        end(block)..end(block + 1)
    }
    fn bytes_of_block(&self, block: usize) -> Range<usize> {
        let Range { start, end } = self.rows_of_block(block);
        self.rows_at + start * self.row..self.rows_at + end * self.row
    }
}

impl Sealed {
    /// Maps a segment file and checks what comes before its rows.
    ///
    /// # Errors
    /// [`Error::Corrupted`] for anything but a segment of this stamp and this space.
    pub(super) fn open(path: &Path, space: Space, stamp: Stamp) -> Result<Self> {
        let Space { dimensions, metric } = space;
        let damaged = |detail: &str| Error::corrupted(path.display().to_string(), detail);
        if cfg!(target_endian = "big") {
            return Err(damaged("segments are little-endian and this machine is not"));
        }
        // The file was renamed into place whole, is never written again, and the database's lock keeps
        // other processes of ours away; it is unlinked, not truncated, when it goes.
        let map = Mapped::open(path)?;
        // For a file that comes from the disk: a first walk waits less.
        map.prefer_huge_pages();
        let Some(head) = map.first_chunk::<HEADER>() else {
            return Err(damaged("it is too short"));
        };
        let field = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let number = |at: usize| u32::from_le_bytes(field(at));
        if head[..8] != MAGIC || number(8) != VERSION {
            return Err(damaged("it is not a segment of format version 4"));
        }
        if head[48..64] != stamp.database || number(32) != stamp.collection {
            return Err(damaged("it belongs to another collection"));
        }
        if number(44) != metric.number() {
            return Err(damaged("its vectors are compared by another metric"));
        }
        let (points, unreached) = (number(16) as usize, number(28) as usize);
        let Some(memory) = Memory::from_number(number(76)) else {
            return Err(damaged("its header is not one of ours"));
        };
        let graph = number(20) as usize == memory.degree();
        let entry = number(24);
        let largest = f32::from_le_bytes(field(72));
        if number(12) as usize != dimensions
            || !(1..=MAX_DIMENSIONS).contains(&dimensions)
            || points > MAX_ROWS
            || unreached > points
            || !(graph || number(20) == 0)
            || graph && entry as usize >= points
            || !(largest.is_finite() && largest >= 0.0)
        {
            return Err(damaged("its header is not one of ours"));
        }
        let padded = Rotation::padded_to(dimensions);
        let shape = Shape::new(memory, padded, points, graph, unreached);
        if shape.end() != map.len() {
            return Err(damaged("its length does not fit its header"));
        }
        let rest = &map[CHECKSUM.end..shape.rows_at];
        let sum = checksum([&map[..CHECKSUM.start], &[0; 8], rest]);
        if sum.to_le_bytes() != head[CHECKSUM] {
            return Err(damaged("the checksum does not match"));
        }
        let error =
            CodeError { first: f32::from_le_bytes(field(36)), both: f32::from_le_bytes(field(40)) };
        let checked = (0..shape.blocks().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let recall = head
            .last_chunk()
            .map_or_else(|| Recall::from_bytes(&[0; recall::BYTES]), Recall::from_bytes);
        let path = path.to_path_buf();
        let members = OnceLock::new();
        let sealed =
            Self { path, map, shape, metric, largest, error, entry, recall, checked, members };
        let ascending = sealed.ids().is_sorted_by(|a, b| a < b);
        if !ascending || sealed.unreached().iter().any(|row| *row as usize >= points) {
            return Err(damaged("its numbers are in disorder"));
        }
        Ok(sealed)
    }

    /// Whether the file at `path` was written before version 4.
    pub(super) fn is_older(path: &Path) -> bool {
        let mut magic = [0; 8];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        read.is_ok() && OLDER_MAGICS.contains(&magic)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> usize {
        self.shape.points
    }

    /// Bytes of the file, all of them mapped.
    pub(super) fn mapped_bytes(&self) -> usize {
        self.map.len()
    }

    /// Bytes that it holds besides.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.checked) + self.members.get().map_or(0, Bitmap::serialized_size)
    }

    /// Whether searches can walk it.
    #[cfg(any(test, fuzzing))]
    pub(super) fn has_graph(&self) -> bool {
        self.shape.graph
    }

    /// What its codes leave out.
    pub(super) fn error(&self) -> CodeError {
        self.error
    }

    /// Chunk numbers by row, ascending.
    pub(super) fn ids(&self) -> &[u32] {
        bytemuck::cast_slice(&self.map[HEADER..self.shape.unreached_at()])
    }

    fn unreached(&self) -> &[u32] {
        let start = self.shape.unreached_at();
        bytemuck::cast_slice(&self.map[start..start + 4 * self.shape.unreached])
    }

    /// Compares every block with its checksum.
    ///
    /// # Errors
    /// [`Error::Corrupted`] naming the file.
    pub(super) fn check(&self) -> Result<()> {
        (0..self.shape.blocks()).try_for_each(|block| self.check_block(block))
    }

    /// Points by row, each checked before it is given.
    pub(super) fn codes(&self) -> impl Iterator<Item = Result<(u32, Code<'_>)>> {
        (0..).zip(self.ids()).map(|(row, id)| Ok((*id, self.code(self.row(row)?))))
    }

    /// The bytes of a row, of a block that was checked.
    #[inline]
    fn row(&self, row: u32) -> Result<&[u8]> {
        let block = row as usize >> self.shape.shift;
        let known = self
            .checked
            .get(block / 64)
            .is_some_and(|word| word.load(Ordering::Relaxed) >> (block % 64) & 1 == 1);
        if !known {
            self.check_block(block)?;
        }
        Ok(self.bytes(row))
    }

    #[inline]
    fn bytes(&self, row: u32) -> &[u8] {
        let start = self.shape.rows_at + row as usize * self.shape.row;
        &self.map[start..start + self.shape.row]
    }

    #[cold]
    fn check_block(&self, block: usize) -> Result<()> {
        let damaged = |detail: &str| {
            Error::corrupted(self.path.display().to_string(), format!("block {block}: {detail}"))
        };
        let sum = self.shape.sums_at() + 8 * block;
        let bytes = &self.map[self.shape.bytes_of_block(block)];
        if checksum([bytes]).to_le_bytes() != self.map[sum..sum + 8] {
            return Err(damaged("the checksum does not match"));
        }
        // Rows are used as indexes without further checks.
        let inside = |row: u32| (row as usize) < self.shape.points;
        let mut rows = bytes.chunks_exact(self.shape.row);
        if self.shape.graph && !rows.all(|row| self.linked(row).all(inside)) {
            return Err(damaged("a neighbour is outside"));
        }
        if let Some(word) = self.checked.get(block / 64) {
            word.fetch_or(1 << (block % 64), Ordering::Relaxed);
        }
        Ok(())
    }

    /// A row's own sketch; none for a memory choice without.
    #[inline]
    fn sketch<'a>(&self, row: &'a [u8]) -> &'a [Line] {
        Line::from_bytes(&row[..self.shape.sketch])
    }

    #[inline]
    fn links<'a>(&self, row: &'a [u8]) -> &'a [u8] {
        &row[..self.shape.links]
    }

    /// The rows that are a row's neighbours; its own stands for one that is missing.
    fn linked<'a>(&self, row: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let numbers = &row[self.shape.links - 3 * self.shape.memory.degree()..self.shape.links];
        numbers.as_chunks::<3>().0.iter().map(|[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0]))
    }

    #[inline]
    fn code<'a>(&self, row: &'a [u8]) -> Code<'a> {
        let (first, rest) = row[self.shape.links..].split_at(self.shape.padded);
        let float =
            |at: usize| f32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        Code {
            scale: float(0),
            square: float(4),
            first: bytemuck::cast_slice(first),
            rest: &rest[8..8 + self.shape.memory.rest_bytes(self.shape.padded)],
        }
    }
}

/// Writes the checksums that the rest of `file` asks for, so that damage gets past them.
#[cfg(any(test, fuzzing))]
pub(super) fn make_sums_right(file: &mut [u8]) {
    let Some(head) = file.first_chunk::<HEADER>() else { return };
    let number = |at: usize| {
        u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize
    };
    let padded = Rotation::padded_to(number(12).min(MAX_DIMENSIONS));
    let (points, unreached) = (number(16).min(MAX_ROWS), number(28).min(MAX_ROWS));
    let Some(memory) = u32::try_from(number(76)).ok().and_then(Memory::from_number) else { return };
    let shape = Shape::new(memory, padded, points, number(20) > 0, unreached);
    if shape.end() != file.len() {
        return;
    }
    for block in 0..shape.blocks() {
        let sum = checksum([&file[shape.bytes_of_block(block)]]);
        file[shape.sums_at() + 8 * block..][..8].copy_from_slice(&sum.to_le_bytes());
    }
    file[CHECKSUM].fill(0);
    let sum = checksum([&file[..shape.rows_at]]);
    file[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
}
