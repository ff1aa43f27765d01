//! Arrow's file format: a row for each document, for programs that read tables.
//!
//! The columns are those of [`columns`]; the header of an export stands in the metadata of the
//! schema. What a document's vector was is told by its chunk, as in the store. Only files with just
//! these columns are read back, and of no number in them is it assumed that it is right: pieces are
//! cut out of the file only where they lie inside it, and what the crate makes of them is checked
//! like any import. It has no checksums, so a changed bit in a text is a changed text.

use super::{BATCH, Header, Whole};
use crate::db::whole::{WholeChunk, own_vector};
use crate::db::{Collection, Database};
use crate::error::{Error, Result};
use crate::panics;
use crate::store::keys;
use crate::store::records::{ChunkRecord, ContentHash};
use crate::text::flatten_json;
use crate::text::{Document, Heading, Metadata, Origin};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, StructArray, UInt8Array, UInt32Array,
    UInt64Array,
};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// How an Arrow file begins.
pub const ARROW_MAGIC: &[u8] = b"ARROW1";

/// The key of the header in the schema's metadata.
const HEADER: &str = "vdb_export";
/// A part of a file holds no more documents than [`BATCH`], and is closed at this size.
const PART_BYTES: usize = 64 << 20;
/// Length of the footer and the magic again.
const TRAILER: usize = 10;
/// The list of parts of a file with a hundred million documents is smaller.
const MAX_FOOTER_BYTES: usize = 256 << 20;
/// Bytes of a [`ContentHash`].
const HASH_BYTES: i32 = 16;

fn field(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

fn list_of(kind: DataType) -> FieldRef {
    Arc::new(field("item", kind))
}

fn heading_fields() -> Fields {
    Fields::from(vec![
        field("level", DataType::UInt8),
        field("text", DataType::Utf8),
        field("start", DataType::UInt64),
        field("end", DataType::UInt64),
    ])
}

fn chunk_fields(dimensions: i32) -> Fields {
    Fields::from(vec![
        field("document", DataType::UInt32),
        field("start", DataType::UInt64),
        field("end", DataType::UInt64),
        field("first_line", DataType::UInt64),
        field("last_line", DataType::UInt64),
        field("heading", DataType::List(list_of(DataType::Utf8))),
        field("context", DataType::Utf8),
        field("hash", DataType::FixedSizeBinary(HASH_BYTES)),
        field("tokens", DataType::UInt32),
        field("vector", DataType::FixedSizeList(list_of(DataType::Float32), dimensions)),
    ])
}

/// The columns of a collection of so many dimensions. `metadata` is a JSON object.
fn columns(dimensions: i32) -> Fields {
    Fields::from(vec![
        field("id", DataType::Utf8),
        Field::new("title", DataType::Utf8, true),
        field("text", DataType::LargeUtf8),
        field("metadata", DataType::Utf8),
        Field::new("path", DataType::Utf8, true),
        Field::new("line", DataType::UInt64, true),
        field("verbatim", DataType::Boolean),
        field("headings", DataType::List(list_of(DataType::Struct(heading_fields())))),
        field("hash", DataType::FixedSizeBinary(HASH_BYTES)),
        field("chunks", DataType::List(list_of(DataType::Struct(chunk_fields(dimensions))))),
    ])
}

/// Dimensions as Arrow counts them.
fn width(header: &Header) -> Result<i32> {
    let dimensions = header.collection.dimensions as usize;
    crate::db::options::check_dimensions(dimensions)?;
    i32::try_from(dimensions).map_err(|e| Error::parameter("dimensions", e.to_string()))
}

impl Collection {
    /// Writes the collection as an Arrow file: a row for each document with its text, metadata,
    /// chunks and vectors, to the bit; the settings in the metadata of the schema. Returns the number
    /// of documents. It is of one generation: commits to the collection wait until it is written,
    /// searches go on.
    ///
    /// # Errors
    /// [`Error::Io`] of `out`, [`Error::Corrupted`].
    pub fn export_arrow(&self, out: &mut impl Write) -> Result<usize> {
        let inner = &self.inner;
        let _writer = inner.writer();
        inner.refuse_if_replaced()?;
        let record = inner.record();
        let prefix = keys::prefix(keys::DOCUMENT, record.number);
        let header = Header::new(record);
        let width = width(&header)?;
        let json = serde_json::to_string(&header).map_err(|e| unwritten(&e))?;
        let metadata = HashMap::from([(HEADER.to_owned(), json)]);
        let schema = Arc::new(Schema::new_with_metadata(columns(width), metadata));
        let mut file = FileWriter::try_new(&mut *out, &schema).map_err(failed)?;
        let mut rows = Vec::with_capacity(BATCH);
        let (mut bytes, mut count) = (0, 0);
        for number in inner.store.scan_numbers(&prefix) {
            let whole = inner.whole(number?)?;
            count += 1;
            bytes += whole.document.text.len();
            bytes += whole.chunks.iter().map(|c| size_of_val(c.vector.as_slice())).sum::<usize>();
            rows.push(whole);
            if rows.len() == BATCH || bytes >= PART_BYTES {
                file.write(&table(&schema, width, &rows)?).map_err(failed)?;
                rows.clear();
                bytes = 0;
            }
        }
        if !rows.is_empty() {
            file.write(&table(&schema, width, &rows)?).map_err(failed)?;
        }
        file.finish().map_err(failed)?;
        drop(file);
        out.flush().map_err(Error::io("write", "the export"))?;
        Ok(count)
    }
}

fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("write", "the export")(source),
        other => unwritten(&other),
    }
}

fn unwritten(error: &dyn Display) -> Error {
    Error::parameter("document", format!("it cannot be encoded: {error}"))
}

fn table(schema: &SchemaRef, width: i32, rows: &[Whole]) -> Result<RecordBatch> {
    let documents = || rows.iter().map(|row| &row.document);
    let json = |metadata: &Metadata| -> Result<String> {
        let object: serde_json::Map<String, serde_json::Value> =
            metadata.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        serde_json::to_string(&object).map_err(|e| unwritten(&e))
    };
    let metadata = documents().map(|d| json(&d.metadata)).collect::<Result<Vec<String>>>()?;
    let build = || {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(documents().map(|d| &d.id))),
            Arc::new(documents().map(|d| d.title.as_deref()).collect::<StringArray>()),
            Arc::new(LargeStringArray::from_iter_values(documents().map(|d| &d.text))),
            Arc::new(StringArray::from_iter_values(&metadata)),
            Arc::new(documents().map(|d| d.origin.path.as_deref()).collect::<StringArray>()),
            Arc::new(documents().map(|d| d.origin.line).collect::<UInt64Array>()),
            Arc::new(documents().map(|d| Some(d.origin.verbatim)).collect::<BooleanArray>()),
            headings(rows)?,
            hashes(rows.iter().map(|row| &row.hash))?,
            chunks(rows, width)?,
        ];
        RecordBatch::try_new(Arc::clone(schema), columns)
    };
    // A part whose strings or lists pass two billion is refused by a panic of the crate's.
    panics::catch(build)
        .unwrap_or_else(|_| Err(ArrowError::ComputeError("it is too large".to_owned())))
        .map_err(failed)
}

fn hashes<'a>(hashes: impl Iterator<Item = &'a ContentHash>) -> Result<ArrayRef, ArrowError> {
    let bytes: Vec<u8> = hashes.flatten().copied().collect();
    Ok(Arc::new(FixedSizeBinaryArray::try_new(HASH_BYTES, Buffer::from_vec(bytes), None)?))
}

fn list(
    kind: &DataType,
    lengths: impl Iterator<Item = usize>,
    items: ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(list_of(kind.clone()), offsets, items, None)?))
}

fn headings(rows: &[Whole]) -> Result<ArrayRef, ArrowError> {
    let all = || rows.iter().flat_map(|row| &row.document.headings);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(all().map(|h| Some(h.level)).collect::<UInt8Array>()),
        Arc::new(StringArray::from_iter_values(all().map(|h| &h.text))),
        Arc::new(all().map(|h| Some(h.span.start as u64)).collect::<UInt64Array>()),
        Arc::new(all().map(|h| Some(h.span.end as u64)).collect::<UInt64Array>()),
    ];
    let items = StructArray::try_new(heading_fields(), columns, None)?;
    let lengths = rows.iter().map(|row| row.document.headings.len());
    list(&DataType::Struct(heading_fields()), lengths, Arc::new(items))
}

fn chunks(rows: &[Whole], width: i32) -> Result<ArrayRef, ArrowError> {
    let all = || rows.iter().flat_map(|row| &row.chunks);
    let records = || all().map(|chunk| &chunk.record);
    let number = |of: fn(&ChunkRecord) -> u64| -> ArrayRef {
        Arc::new(records().map(|r| Some(of(r))).collect::<UInt64Array>())
    };
    let paths = StringArray::from_iter_values(records().flat_map(|r| &r.heading));
    let elements: Float32Array = all().flat_map(|c| c.vector.iter().copied().map(Some)).collect();
    let vectors =
        FixedSizeListArray::try_new(list_of(DataType::Float32), width, Arc::new(elements), None)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(records().map(|r| Some(r.document)).collect::<UInt32Array>()),
        number(|r| r.span.start),
        number(|r| r.span.end),
        number(|r| r.lines.0),
        number(|r| r.lines.1),
        list(&DataType::Utf8, records().map(|r| r.heading.len()), Arc::new(paths))?,
        Arc::new(StringArray::from_iter_values(records().map(|r| &r.context))),
        hashes(records().map(|r| &r.hash))?,
        Arc::new(records().map(|r| Some(r.tokens)).collect::<UInt32Array>()),
        Arc::new(vectors),
    ];
    let items = StructArray::try_new(chunk_fields(width), columns, None)?;
    let lengths = rows.iter().map(|row| row.chunks.len());
    list(&DataType::Struct(chunk_fields(width)), lengths, Arc::new(items))
}

impl Database {
    /// Reads what [`Collection::export_arrow`] wrote into the collection `name`, like
    /// [`Database::import`]. Returns the number of documents.
    ///
    /// # Errors
    /// [`Error::Parse`]; what came before it is in then. [`Error::ModelMismatch`],
    /// [`Error::Dimensions`].
    pub fn import_arrow(
        &self,
        name: &str,
        origin: &str,
        input: &mut (impl Read + Seek),
    ) -> Result<usize> {
        let mut parts = Parts::open(origin, input)?;
        parts.header.check_version(origin)?;
        let collection = self.collection_like(name, &parts.header.collection)?;
        let mut count = 0;
        for at in 0..parts.blocks.len() {
            let mut rows = parts.rows(at)?;
            while !rows.is_empty() {
                let rest = rows.split_off(rows.len().min(BATCH));
                count += rows.len();
                collection.inner.put_whole(std::mem::replace(&mut rows, rest))?;
            }
        }
        Ok(count)
    }
}

/// The parts of an Arrow file, read one at a time.
struct Parts<'a, R> {
    input: &'a mut R,
    origin: &'a str,
    length: u64,
    header: Header,
    decoder: FileDecoder,
    blocks: Vec<Block>,
}

impl<'a, R: Read + Seek> Parts<'a, R> {
    fn open(origin: &'a str, input: &'a mut R) -> Result<Self> {
        let length = input.seek(SeekFrom::End(0)).map_err(Error::io("read", origin))?;
        let Some(end) = length.checked_sub(TRAILER as u64) else {
            return Err(parse(origin, &"it is too short"));
        };
        let trailer = piece(input, origin, length, end, TRAILER as u64)?;
        let trailer = trailer.try_into().map_err(|_| parse(origin, &"it is too short"))?;
        let footer = read_footer_length(trailer).map_err(|e| parse(origin, &e))?;
        let start = end.checked_sub(footer as u64).filter(|_| footer <= MAX_FOOTER_BYTES);
        let start = start.ok_or_else(|| parse(origin, &"its footer is longer than itself"))?;
        let footer = piece(input, origin, length, start, footer as u64)?;
        let (header, decoder, blocks) = guarded(origin, || {
            let footer = root_as_footer(&footer).map_err(|e| e.to_string())?;
            let schema = footer.schema().ok_or("it has no schema")?;
            let schema = try_fb_to_schema(schema).map_err(|e| e.to_string())?;
            let json = schema.metadata().get(HEADER).ok_or("it was not made by `vdb export`")?;
            let header: Header = serde_json::from_str(json).map_err(|e| e.to_string())?;
            let width = width(&header).map_err(|e| e.to_string())?;
            if *schema.fields() != columns(width) {
                return Err("its columns are not those of an export".to_owned());
            }
            let blocks = footer.recordBatches().into_iter().flatten().copied().collect();
            let decoder = FileDecoder::new(Arc::new(schema), footer.version());
            Ok((header, decoder, blocks))
        })?;
        Ok(Self { input, origin, length, header, decoder, blocks })
    }

    fn rows(&mut self, at: usize) -> Result<Vec<Whole>> {
        let Some(block) = self.blocks.get(at) else { return Ok(Vec::new()) };
        let outside = || parse(self.origin, &format!("part {at} is not inside it"));
        let number = |n: i64| u64::try_from(n).map_err(|_| outside());
        let start = number(block.offset())?;
        let head = number(block.metaDataLength().into())?;
        let size = head.checked_add(number(block.bodyLength())?).ok_or_else(outside)?;
        let bytes = Buffer::from_vec(piece(self.input, self.origin, self.length, start, size)?);
        guarded(self.origin, || {
            let batch = self.decoder.read_record_batch(block, &bytes).map_err(|e| e.to_string())?;
            let batch = batch.ok_or_else(|| format!("part {at} is empty"))?;
            rows(&batch).ok_or_else(|| format!("part {at} has values that no document has"))
        })
    }
}

fn parse(origin: &str, reason: &dyn Display) -> Error {
    let reason = format!("expected an Arrow file of `vdb export`: {reason}");
    Error::Parse { origin: origin.to_owned(), line: None, reason }
}

/// Bytes of the file, which must be inside it before room is made for them.
fn piece<R: Read + Seek>(
    input: &mut R,
    origin: &str,
    length: u64,
    start: u64,
    size: u64,
) -> Result<Vec<u8>> {
    if start.checked_add(size).is_none_or(|end| end > length) {
        return Err(parse(origin, &"it is cut short"));
    }
    input.seek(SeekFrom::Start(start)).map_err(Error::io("read", origin))?;
    let mut bytes = Vec::new();
    input.take(size).read_to_end(&mut bytes).map_err(Error::io("read", origin))?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(parse(origin, &"it is cut short")) }
}

/// Runs what reads bytes that may say anything, some of which the crate answers with a panic.
fn guarded<T>(origin: &str, read: impl FnOnce() -> Result<T, String>) -> Result<T> {
    panics::catch(read)
        .unwrap_or_else(|_| Err("it cannot be read".to_owned()))
        .map_err(|reason| parse(origin, &reason))
}

fn rows(batch: &RecordBatch) -> Option<Vec<Whole>> {
    let text = |at: usize| batch.column(at).as_string_opt::<i32>();
    let (ids, titles, metadata, paths) = (text(0)?, text(1)?, text(3)?, text(4)?);
    let texts = batch.column(2).as_string_opt::<i64>()?;
    let lines = batch.column(5).as_primitive_opt::<UInt64Type>()?;
    let verbatim = batch.column(6).as_boolean_opt()?;
    let headings = batch.column(7).as_list_opt::<i32>()?;
    let hashes = batch.column(8).as_fixed_size_binary_opt()?;
    let chunks = batch.column(9).as_list_opt::<i32>()?;
    let some = |column: &StringArray, row: usize| {
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let mut found = Vec::new();
    for row in 0..batch.num_rows() {
        let chunks = read_chunks(&chunks.value(row))?;
        let document = Document {
            id: ids.value(row).to_owned(),
            title: some(titles, row),
            text: texts.value(row).to_owned(),
            metadata: read_metadata(metadata.value(row))?,
            origin: Origin {
                path: some(paths, row),
                line: lines.is_valid(row).then(|| lines.value(row)),
                verbatim: verbatim.value(row),
            },
            headings: read_headings(&headings.value(row))?,
            source_code: false,
            vector: own_vector(&chunks),
        };
        let hash = hashes.value(row).try_into().ok()?;
        found.push(Whole { document, hash, chunks });
    }
    Some(found)
}

fn read_metadata(json: &str) -> Option<Metadata> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let mut metadata = Metadata::new();
    flatten_json(&mut metadata, "", &serde_json::Value::Object(object));
    Some(metadata)
}

fn read_headings(items: &ArrayRef) -> Option<Vec<Heading>> {
    let items = items.as_struct_opt()?;
    let levels = items.column(0).as_primitive_opt::<UInt8Type>()?;
    let texts = items.column(1).as_string_opt::<i32>()?;
    let starts = items.column(2).as_primitive_opt::<UInt64Type>()?;
    let ends = items.column(3).as_primitive_opt::<UInt64Type>()?;
    let heading = |at: usize| {
        let bound = |n: u64| usize::try_from(n).ok();
        let span = bound(starts.value(at))?..bound(ends.value(at))?;
        Some(Heading { level: levels.value(at), text: texts.value(at).to_owned(), span })
    };
    (0..items.len()).map(heading).collect()
}

fn read_chunks(items: &ArrayRef) -> Option<Vec<WholeChunk>> {
    let items = items.as_struct_opt()?;
    let small = |at: usize| items.column(at).as_primitive_opt::<UInt32Type>();
    let large = |at: usize| items.column(at).as_primitive_opt::<UInt64Type>();
    let (documents, tokens) = (small(0)?, small(8)?);
    let (starts, ends, first, last) = (large(1)?, large(2)?, large(3)?, large(4)?);
    let headings = items.column(5).as_list_opt::<i32>()?;
    let contexts = items.column(6).as_string_opt::<i32>()?;
    let hashes = items.column(7).as_fixed_size_binary_opt()?;
    let vectors = items.column(9).as_fixed_size_list_opt()?;
    let chunk = |at: usize| {
        let path = headings.value(at);
        let path = path.as_string_opt::<i32>()?;
        let record = ChunkRecord {
            document: documents.value(at),
            span: starts.value(at)..ends.value(at),
            lines: (first.value(at), last.value(at)),
            heading: (0..path.len()).map(|i| path.value(i).to_owned()).collect(),
            context: contexts.value(at).to_owned(),
            hash: hashes.value(at).try_into().ok()?,
            tokens: tokens.value(at),
        };
        let vector = vectors.value(at).as_primitive_opt::<Float32Type>()?.values().to_vec();
        Some(WholeChunk { record, vector })
    };
    (0..items.len()).map(chunk).collect()
}
