//! What a GGUF file says of itself: version, metadata, and where each tensor is.

use super::quantisation::{Quantisation, supported};
use super::value::{Kind, Value};
use std::collections::HashMap;
use std::ops::Range;

const MAGIC: &[u8; 4] = b"GGUF";
const VERSIONS: [u32; 2] = [2, 3];
/// Where the metadata does not say otherwise (`general.alignment`).
const ALIGNMENT: u64 = 32;
/// The largest model has some thousands of either.
const MAX_VALUES: u64 = 65_536;
const MAX_TENSORS: u64 = 65_536;
/// Bytes of a key, by the specification.
const MAX_KEY: usize = 65_535;
/// Bytes of a tensor's name; the specification says 64.
const MAX_NAME: usize = 256;
const MAX_DIMENSIONS: u32 = 4;
/// The fewest bytes of a key with its value: length, kind, and a value of one byte.
const LEAST_VALUE: usize = 8 + 4 + 1;
/// The fewest bytes that describe a tensor: length, dimensions, one of them, kind, offset.
const LEAST_TENSOR: usize = 8 + 4 + 8 + 4 + 8;

/// The metadata and the places of the tensors, checked.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) values: HashMap<String, Value>,
    pub(super) tensors: HashMap<String, TensorInfo>,
}

/// What is said of a tensor.
#[derive(Debug)]
pub(crate) struct TensorInfo {
    /// One to four dimensions, none of them 0; the first runs fastest. A matrix has inputs, then
    /// outputs.
    pub(crate) dims: Vec<usize>,
    /// How its values are stored.
    pub(crate) kind: &'static Quantisation,
    /// Where they are in the file.
    pub(super) bytes: Range<usize>,
}

impl TensorInfo {
    /// How many values it has. The product of its dimensions was checked.
    pub(crate) fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

impl Header {
    /// Reads and checks the header of a whole file.
    ///
    /// # Errors
    /// What was expected, what was found, and what to do.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        let mut reader = Reader::new(file);
        let (tensors, values) = counts(&mut reader)?;
        let values = metadata(&mut reader, values)?;
        let alignment = alignment(&values)?;
        let tensors = descriptions(&mut reader, tensors)?;
        let data = u64::try_from(reader.at)
            .ok()
            .and_then(|at| at.checked_next_multiple_of(alignment))
            .ok_or("its header is damaged")?;
        let place = |(name, described): (String, Described)| {
            let bytes = described.place(data, alignment, file.len()).map_err(|reason| {
                format!("tensor {name:?} {reason}: it is damaged or cut short; fetch it again")
            })?;
            Ok((name, TensorInfo { dims: described.dims, kind: described.kind, bytes }))
        };
        let tensors = tensors.into_iter().map(place).collect::<Result<_, String>>()?;
        Ok(Self { values, tensors })
    }
}

/// Magic and version; then how many tensors and values follow.
fn counts(reader: &mut Reader<'_>) -> Result<(u64, u64), String> {
    if reader.take(MAGIC.len()).ok() != Some(&MAGIC[..]) {
        return Err("it is not a GGUF file: it does not begin with the letters GGUF".to_owned());
    }
    let version = reader.u32()?;
    if VERSIONS.contains(&version.swap_bytes()) {
        return Err("it is big-endian; only little-endian GGUF is supported".to_owned());
    }
    if !VERSIONS.contains(&version) {
        return Err(format!("it has GGUF version {version}; versions 2 and 3 are supported"));
    }
    let mut count = |what: &str, max: u64, least: usize| {
        let count = reader.u64()?;
        // Both counts come first, so the bytes that follow are for both.
        if count > max || reader.room_for(count, least).is_none() {
            return Err(format!(
                "its header counts {count} {what}, and {} bytes follow: it is damaged or cut \
                 short; fetch it again (at most {max} are read)",
                reader.left()
            ));
        }
        Ok(count)
    };
    let tensors = count("tensors", MAX_TENSORS, LEAST_TENSOR)?;
    let values = count("metadata values", MAX_VALUES, LEAST_VALUE)?;
    Ok((tensors, values))
}

fn metadata(reader: &mut Reader<'_>, count: u64) -> Result<HashMap<String, Value>, String> {
    let mut values = HashMap::new();
    for nth in 0..count {
        let key = reader.text().map_err(|reason| format!("key {nth} of its metadata: {reason}"))?;
        if key.len() > MAX_KEY {
            return Err(format!("key {nth} of its metadata has more than {MAX_KEY} bytes"));
        }
        let value = Kind::of(reader.u32()?)
            .and_then(|kind| Value::parse(reader, kind))
            .map_err(|reason| format!("metadata {}: {reason}", short(key)))?;
        if values.insert(key.to_owned(), value).is_some() {
            return Err(format!("metadata {} stands there twice", short(key)));
        }
    }
    Ok(values)
}

fn alignment(values: &HashMap<String, Value>) -> Result<u64, String> {
    let Some(value) = values.get("general.alignment") else { return Ok(ALIGNMENT) };
    match value.unsigned() {
        Some(alignment) if alignment.is_power_of_two() => Ok(alignment),
        Some(other) => Err(format!("general.alignment is {other}; powers of two are supported")),
        None => Err("general.alignment is not a whole number".to_owned()),
    }
}

/// A tensor whose place is not known yet.
struct Described {
    dims: Vec<usize>,
    kind: &'static Quantisation,
    size: u64,
    offset: u64,
}

fn descriptions(reader: &mut Reader<'_>, count: u64) -> Result<HashMap<String, Described>, String> {
    let mut tensors = HashMap::new();
    for nth in 0..count {
        let name = reader.text().map_err(|reason| format!("name of tensor {nth}: {reason}"))?;
        if name.len() > MAX_NAME {
            return Err(format!("the name of tensor {nth} has more than {MAX_NAME} bytes"));
        }
        let described =
            Described::parse(reader).map_err(|reason| format!("tensor {name:?} {reason}"))?;
        if tensors.insert(name.to_owned(), described).is_some() {
            return Err(format!("tensor {name:?} stands there twice"));
        }
    }
    Ok(tensors)
}

impl Described {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, String> {
        let count = reader.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&count) {
            return Err(format!("has {count} dimensions; 1 to {MAX_DIMENSIONS} are supported"));
        }
        let raw = (0..count).map(|_| reader.u64()).collect::<Result<Vec<u64>, String>>()?;
        let too_large = || format!("has the dimensions {raw:?}, which are too many values");
        let number = reader.u32()?;
        let kind = Quantisation::of(number).ok_or_else(|| {
            format!("has a quantisation of number {number}, which is unknown; {}", supported())
        })?;
        let offset = reader.u64()?;
        let elements = raw.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
        let elements = elements.ok_or_else(too_large)?;
        if elements == 0 {
            return Err(format!("has the dimensions {raw:?}, which leave no values"));
        }
        let row = raw.first().copied().unwrap_or_default();
        if !row.is_multiple_of(kind.values()) {
            return Err(format!(
                "has rows of {row} values, which its quantisation {} stores {} together",
                kind.name(),
                kind.values()
            ));
        }
        let size = (elements / kind.values()).checked_mul(kind.bytes()).ok_or_else(too_large)?;
        usize::try_from(elements).map_err(|_| too_large())?;
        let dims = raw.iter().map(|dim| usize::try_from(*dim)).collect::<Result<_, _>>();
        Ok(Self { dims: dims.map_err(|_| too_large())?, kind, size, offset })
    }

    /// Where it is in a file of `length` bytes whose tensors begin at `data`.
    fn place(&self, data: u64, alignment: u64, length: usize) -> Result<Range<usize>, String> {
        if !self.offset.is_multiple_of(alignment) {
            return Err(format!(
                "begins {} bytes after the header, which is no multiple of {alignment}",
                self.offset
            ));
        }
        let start = data.checked_add(self.offset);
        let end = start.and_then(|start| start.checked_add(self.size));
        let [start, end] = [start, end].map(|at| at.and_then(|at| usize::try_from(at).ok()));
        match (start, end) {
            (Some(start), Some(end)) if end <= length => Ok(start..end),
            _ => Err(format!(
                "has {} bytes from {} after the header on, and the file has {length} bytes",
                self.size, self.offset
            )),
        }
    }
}

/// At most the beginning of a text that may be long, for messages.
fn short(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{:?}…", text.get(..at).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// Takes one thing after the other from the bytes of a file.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that follow.
    pub(super) fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// `count` as a length, where that many things of at least `least` bytes can follow.
    pub(super) fn room_for(&self, count: u64, least: usize) -> Option<usize> {
        let count = usize::try_from(count).ok()?;
        (count.checked_mul(least)? <= self.left()).then_some(count)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| {
            format!(
                "the file ends in the middle of its header, at byte {}: it is cut short; fetch it \
                 again",
                self.bytes.len()
            )
        })?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let taken = self.take(N)?;
        Ok(taken.first_chunk().copied().unwrap_or([0; N]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length, then as many bytes of UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str, String> {
        let at = self.at;
        let length = self.u64()?;
        let length = self.room_for(length, 1).ok_or_else(|| {
            format!(
                "the text at byte {at} is said to have {length} bytes, and {} follow: it is damaged \
                 or cut short; fetch it again",
                self.left()
            )
        })?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| format!("the text at byte {at} is not UTF-8"))
    }
}
