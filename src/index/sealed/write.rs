//! Writing a segment file.

use super::{CHECKSUM, HEADER, HUGE_PAGE, MAGIC, RECALL, Sealed, Shape, VERSION};
use crate::error::{Error, Result};
use crate::hash::checksum;
use crate::index::Stamp;
use crate::index::codes::Codes;
use crate::index::graph::{Graph, parallel};
use crate::vector::code::decode;
use crate::vector::fastscan::{DEGREE, MAX_ROWS, write_block};
use crate::vector::sketch::{self, Line};
use crate::vector::{Memory, Metric, Space};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

impl Sealed {
    /// Writes `codes`, by ascending numbers, as a segment file, whole or not at all, and opens it. A
    /// graph whose walks find too little is left out.
    pub(in crate::index) fn write(
        path: &Path,
        codes: &Codes,
        graph: Option<&Graph>,
        space: Space,
        threads: usize,
        stamp: Stamp,
    ) -> Result<Self> {
        if codes.len() > MAX_ROWS {
            return Err(Error::parameter(
                "segment",
                format!("{} points; at most {MAX_ROWS} fit", codes.len()),
            ));
        }
        let unreached = graph.map_or(&[][..], |g| g.unreached.as_slice());
        let shape = Shape::new(
            codes.memory(),
            codes.padded(),
            codes.len(),
            graph.is_some(),
            unreached.len(),
        );
        let mut head = header(codes, graph, space, stamp)?;
        head.extend_from_slice(bytemuck::cast_slice(codes.ids()));
        head.extend_from_slice(bytemuck::cast_slice(unreached));
        head.resize(shape.rows_at, 0);

        let temporary = path.with_extension("tmp");
        let mut file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let metric = space.metric;
        let lifts = if metric == Metric::Dot { codes.lifts() } else { Vec::new() };
        let rows = Rows { codes, graph, metric, lifts, shape: &shape };
        let mut write = || {
            let mut out = Pages::new(&mut file, shape.rows_at)?;
            let mut sums = shape.sums_at()..;
            // As many blocks at a time as keep all threads at work.
            let blocks: Vec<usize> = (0..shape.blocks()).collect();
            for some in blocks.chunks(64 * threads.max(1)) {
                for bytes in parallel(some, threads, |block, scratch| rows.block(*block, scratch)) {
                    out.write(&bytes)?;
                    let at = sums.start;
                    sums.start += 8;
                    head[at..at + 8].copy_from_slice(&checksum([bytes.as_slice()]).to_le_bytes());
                }
            }
            out.finish()
        };
        write().map_err(Error::io("write", path))?;
        put_head(&mut file, &mut head).map_err(Error::io("write", path))?;
        if graph.is_some() {
            let recall = Self::open(&temporary, space, stamp)?.measure(threads)?;
            if !recall.is_worth_walking() {
                return Self::write(path, codes, None, space, threads, stamp);
            }
            head[RECALL].copy_from_slice(&recall.to_bytes());
            put_head(&mut file, &mut head).map_err(Error::io("write", path))?;
        }
        file.sync_all()
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(Error::io("write", path))?;
        let sealed = Self::open(path, space, stamp)?;
        // Read back here, so that no search has to wait for that.
        sealed.check()?;
        Ok(sealed)
    }
}

/// Writes in pieces that are whole huge pages, so that the page cache keeps them as such where the file
/// system can: a step of a walk finds two rows that are nowhere near each other, and most of the time
/// their small pages are not among those that the processor knows.
struct Pages<'a> {
    file: &'a mut File,
    /// Where `pending` goes.
    at: usize,
    pending: Vec<u8>,
}

impl<'a> Pages<'a> {
    fn new(file: &'a mut File, at: usize) -> std::io::Result<Self> {
        file.seek(SeekFrom::Start(at as u64))?;
        Ok(Self { file, at, pending: Vec::new() })
    }

    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let room = HUGE_PAGE - (self.at + self.pending.len()) % HUGE_PAGE;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.pending.extend_from_slice(now);
            bytes = later;
            if now.len() == room {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.write_all(&self.pending)?;
        self.at += self.pending.len();
        self.pending.clear();
        Ok(())
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.flush()
    }
}

/// Writes what comes before the rows, with its checksum.
fn put_head(file: &mut File, head: &mut [u8]) -> std::io::Result<()> {
    head[CHECKSUM].fill(0);
    let sum = checksum([&*head]);
    head[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(head)
}

fn header(codes: &Codes, graph: Option<&Graph>, space: Space, stamp: Stamp) -> Result<Vec<u8>> {
    let small = |n: usize| {
        u32::try_from(n).map_err(|_| Error::parameter("segment", format!("{n} does not fit it")))
    };
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&MAGIC);
    for number in [
        VERSION,
        small(space.dimensions)?,
        small(codes.len())?,
        small(graph.map_or(0, |_| codes.memory().degree()))?,
        graph.map_or(0, |g| g.entry),
        small(graph.map_or(0, |g| g.unreached.len()))?,
        stamp.collection,
        codes.error().first.to_bits(),
        codes.error().both.to_bits(),
        space.metric.number(),
    ] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&stamp.database);
    header.resize(CHECKSUM.end, 0);
    let largest = if space.metric == Metric::Dot { codes.largest() } else { 0.0 };
    header.extend_from_slice(&largest.to_le_bytes());
    header.extend_from_slice(&codes.memory().number().to_le_bytes());
    header.resize(HEADER, 0);
    Ok(header)
}

/// What rows are written from.
struct Rows<'a> {
    codes: &'a Codes,
    graph: Option<&'a Graph>,
    metric: Metric,
    /// Of each row; none where no row has one.
    lifts: Vec<f32>,
    shape: &'a Shape,
}

impl Rows<'_> {
    /// The bytes of a block; `scratch` is used again.
    fn block(&self, block: usize, scratch: &mut Vec<f32>) -> Vec<u8> {
        scratch.resize((DEGREE + 1) * self.shape.padded, 0.0);
        let rows = self.shape.rows_of_block(block);
        let mut bytes = vec![0; rows.len() * self.shape.row];
        for (row, out) in rows.zip(bytes.chunks_exact_mut(self.shape.row)) {
            let (links, out) = out.split_at_mut(self.shape.links);
            #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
            let row = row as u32;
            match self.graph {
                Some(graph) if self.shape.memory == Memory::Speed => {
                    self.write_block(row, graph.neighbours(row), links, scratch);
                }
                Some(graph) => self.write_numbers(row, graph.neighbours(row), links),
                None => {}
            }
            let code = self.codes.get(row);
            let (first, rest) = out.split_at_mut(self.shape.padded);
            first.copy_from_slice(bytemuck::cast_slice(code.first));
            rest[..4].copy_from_slice(&code.scale.to_le_bytes());
            rest[4..8].copy_from_slice(&code.square.to_le_bytes());
            rest[8..8 + code.rest.len()].copy_from_slice(code.rest);
        }
        bytes
    }

    /// What memory choice 0 keeps of a row's neighbours.
    fn write_block(&self, row: u32, neighbours: &[u32], out: &mut [u8], scratch: &mut [f32]) {
        let plain = |row: u32, out: &mut [f32]| {
            let code = self.codes.get(row);
            decode(code.scale, code.first, code.rest, out);
        };
        let (own, others) = scratch.split_at_mut(self.shape.padded);
        plain(row, own);
        for (neighbour, out) in neighbours.iter().zip(others.chunks_exact_mut(self.shape.padded)) {
            plain(*neighbour, out);
        }
        let vectors = others.chunks_exact(self.shape.padded);
        write_block(row, own, neighbours.iter().copied().zip(vectors), self.metric, out);
    }

    /// What the others do, after the row's own sketch.
    fn write_numbers(&self, row: u32, neighbours: &[u32], out: &mut [u8]) {
        let (sketch, out) = out.split_at_mut(self.shape.sketch);
        if !sketch.is_empty() {
            let code = self.codes.get(row);
            let lift = self.lifts.get(row as usize).copied().unwrap_or(0.0);
            let mut lines = vec![Line::default(); sketch::lines(self.shape.padded)];
            sketch::write(code.first, code.scale, code.square, lift, &mut lines);
            let words = lines.into_iter().flat_map(Line::to_bytes);
            for (out, word) in sketch.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                *out = word;
            }
        }
        let numbers = neighbours.iter().chain(std::iter::repeat(&row));
        for (out, number) in out.as_chunks_mut::<3>().0.iter_mut().zip(numbers) {
            out.copy_from_slice(&number.to_le_bytes()[..3]);
        }
    }
}
