//! Writing a segment file.

use super::{CHECKSUM, HEADER, MAGIC, RECALL, Sealed, Shape, VERSION};
use crate::error::{Error, Result};
use crate::hash::checksum;
use crate::index::Stamp;
use crate::index::codes::{Code, Codes};
use crate::index::graph::{Graph, parallel};
use crate::vector::code::decode;
use crate::vector::fastscan::{DEGREE, MAX_ROWS, write_block};
use crate::vector::{Memory, Metric, Space};
use std::fs::File;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
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
        let file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let mut write = || {
            out.seek(SeekFrom::Start(shape.rows_at as u64))?;
            let mut sums = shape.sums_at()..;
            // As many blocks at a time as keep all threads at work.
            let blocks: Vec<usize> = (0..shape.blocks()).collect();
            for some in blocks.chunks(64 * threads.max(1)) {
                for bytes in rows(codes, graph, space.metric, &shape, some, threads) {
                    out.write_all(&bytes)?;
                    let at = sums.start;
                    sums.start += 8;
                    head[at..at + 8].copy_from_slice(&checksum([bytes.as_slice()]).to_le_bytes());
                }
            }
            out.flush()
        };
        write().map_err(Error::io("write", path))?;
        let mut file = out.into_inner().map_err(|e| Error::io("write", path)(e.into_error()))?;
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
        Self::open(path, space, stamp)
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

/// The bytes of some blocks of rows.
fn rows(
    codes: &Codes,
    graph: Option<&Graph>,
    metric: Metric,
    shape: &Shape,
    blocks: &[usize],
    threads: usize,
) -> Vec<Vec<u8>> {
    parallel(blocks, threads, |block, scratch: &mut Vec<f32>| {
        scratch.resize((DEGREE + 1) * shape.padded, 0.0);
        let rows = shape.rows_of_block(*block);
        let mut bytes = vec![0; rows.len() * shape.row];
        for (row, out) in rows.zip(bytes.chunks_exact_mut(shape.row)) {
            #[expect(clippy::cast_possible_truncation, reason = "rows fit 24 bits")]
            write_row(codes, graph, metric, shape, row as u32, out, scratch);
        }
        bytes
    })
}

fn write_row(
    codes: &Codes,
    graph: Option<&Graph>,
    metric: Metric,
    shape: &Shape,
    row: u32,
    out: &mut [u8],
    scratch: &mut [f32],
) {
    let plain = |code: Code<'_>, out: &mut [f32]| decode(code.scale, code.first, code.rest, out);
    let code = codes.get(row);
    if let Some(graph) = graph.filter(|_| shape.memory != Memory::Speed) {
        let missing = std::iter::repeat(&row);
        let numbers = graph.neighbours(row).iter().chain(missing);
        for (out, number) in out[..shape.links].as_chunks_mut::<3>().0.iter_mut().zip(numbers) {
            out.copy_from_slice(&number.to_le_bytes()[..3]);
        }
    } else if let Some(graph) = graph {
        let neighbours = graph.neighbours(row);
        let (own, others) = scratch.split_at_mut(shape.padded);
        plain(code, own);
        for (neighbour, out) in neighbours.iter().zip(others.chunks_exact_mut(shape.padded)) {
            plain(codes.get(*neighbour), out);
        }
        let vectors = others.chunks_exact(shape.padded);
        let neighbours = neighbours.iter().copied().zip(vectors);
        write_block(row, own, neighbours, metric, &mut out[..shape.links]);
    }
    let (first, rest) = out[shape.links..].split_at_mut(shape.padded);
    first.copy_from_slice(bytemuck::cast_slice(code.first));
    rest[..4].copy_from_slice(&code.scale.to_le_bytes());
    rest[4..8].copy_from_slice(&code.square.to_le_bytes());
    rest[8..8 + code.rest.len()].copy_from_slice(code.rest);
}
