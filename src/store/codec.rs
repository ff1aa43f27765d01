//! Frames: how a record becomes bytes that can be trusted when they come back.
//!
//! ```text
//! offset  size  field
//!      0     2  magic "VR"
//!      2     1  format version of the kind
//!      3     1  kind of record
//!      4     4  payload length, u32 little-endian
//!      8     8  checksum: xxh3-64 over key, bytes 0..8 of the frame, payload; little-endian
//!     16     …  payload
//! ```
//! The key is part of the checksum, so that a frame that turns up under another key is noticed too.
//! The payload is bincode 2 (`standard` configuration, with a size limit and no trailing bytes) or,
//! for texts and vectors, the bytes themselves.
//!
//! Each kind has a version of its own, so that a new field in one of them leaves the rest of a database
//! as it is, and readable by an older program. What is written is of the newest version; an older one
//! is read for ever ([`Record`]).

use crate::error::{Error, Result};
use crate::hash;
use serde::{Serialize, de::DeserializeOwned};

const MAGIC: [u8; 2] = *b"VR";
const HEADER: usize = 16;

/// No structured record may be larger.
pub(crate) const MAX_RECORD_BYTES: usize = 32 << 20;
const SMALL_RECORD_BYTES: usize = 64 << 10;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Head = 1,
    Collection = 2,
    Document = 3,
    Text = 4,
    Chunk = 5,
    Vector = 6,
    Name = 7,
    Hash = 8,
    Ledger = 9,
    Tokens = 10,
}

impl Kind {
    /// The newest format version of its frames, which is the one that is written.
    pub(super) const fn version(self) -> u8 {
        match self {
            Self::Collection => 4,
            _ => 1,
        }
    }
}

/// What is decoded from a frame, of any version that its kind ever had.
pub(crate) trait Record: DeserializeOwned {
    /// Decodes the payload of a frame of `version`, which is one of the kind's.
    ///
    /// # Errors
    /// [`Error::Corrupted`] naming the record.
    fn from_payload(key: &[u8], version: u8, payload: &[u8]) -> Result<Self> {
        let _ = version;
        decode(key, payload)
    }
}

/// Wraps `payload` in a frame that belongs to `key`.
pub(crate) fn seal(key: &[u8], kind: Kind, payload: &[u8]) -> Result<Vec<u8>> {
    seal_as(key, kind, kind.version(), payload)
}

/// [`seal`] of an older version.
pub(super) fn seal_as(key: &[u8], kind: Kind, version: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(payload.len())
        .map_err(|_| Error::parameter("record", "4 GiB and more do not fit one record"))?;
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[version, kind as u8]);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&checksum(key, &frame, payload).to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Checks a frame that was read from `key` and gives back its payload.
///
/// # Errors
/// [`Error::Corrupted`] naming the first check that failed; [`Error::NewerFormat`].
pub(crate) fn open<'a>(key: &[u8], kind: Kind, frame: &'a [u8]) -> Result<&'a [u8]> {
    open_any(key, kind, frame).map(|(_, payload)| payload)
}

/// [`open`] of a structured record, decoded as of its version.
pub(crate) fn open_record<T: Record>(key: &[u8], kind: Kind, frame: &[u8]) -> Result<T> {
    let (version, payload) = open_any(key, kind, frame)?;
    T::from_payload(key, version, payload)
}

/// [`open`], with the version of the frame.
pub(super) fn open_any<'a>(key: &[u8], kind: Kind, frame: &'a [u8]) -> Result<(u8, &'a [u8])> {
    let damaged = |detail: String| Error::corrupted(format!("record {}", name(key)), detail);
    let Some((header, payload)) = frame.split_first_chunk::<HEADER>() else {
        return Err(damaged(format!("{} bytes are too few for a frame", frame.len())));
    };
    if header[..2] != MAGIC {
        return Err(damaged("it does not begin with the record magic".to_owned()));
    }
    let version = header[2];
    if version > kind.version() {
        return Err(Error::NewerFormat {
            what: format!("record {}", name(key)),
            found: version.into(),
            supported: kind.version().into(),
        });
    }
    let [_, _, _, _, l0, l1, l2, l3, sum @ ..] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length as usize != payload.len() {
        return Err(damaged(format!("{length} bytes announced, {} found", payload.len())));
    }
    if u64::from_le_bytes(sum) != checksum(key, &header[..8], payload) {
        return Err(damaged("the checksum does not match".to_owned()));
    }
    if version == 0 {
        return Err(damaged("there is no format version 0".to_owned()));
    }
    if header[3] != kind as u8 {
        return Err(damaged(format!("kind {} where {} was expected", header[3], kind as u8)));
    }
    Ok((version, payload))
}

/// The digest of one record, of which a generation's digest is the sum: key and frame together.
pub(crate) fn digest(key: &[u8], frame: &[u8]) -> u64 {
    hash::checksum([&(key.len() as u64).to_le_bytes(), key, frame])
}

/// Encodes a structured payload.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|e| Error::parameter("record", e.to_string()))?;
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(Error::parameter(
            "metadata",
            format!(
                "title, metadata and headings take {} bytes; at most {MAX_RECORD_BYTES} are stored",
                bytes.len()
            ),
        ));
    }
    Ok(bytes)
}

/// Decodes a structured payload; every byte must be used.
pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], payload: &[u8]) -> Result<T> {
    let damaged = |detail: String| Error::corrupted(format!("record {}", name(key)), detail);
    // A number of one byte counts as the eight that it becomes. Most records are small, and then so
    // is what a length in one can ask for.
    let (value, used) = if payload.len() <= SMALL_RECORD_BYTES {
        let config = bincode::config::standard().with_limit::<{ 8 * SMALL_RECORD_BYTES }>();
        bincode::serde::decode_from_slice(payload, config)
    } else {
        let config = bincode::config::standard().with_limit::<{ 8 * MAX_RECORD_BYTES }>();
        bincode::serde::decode_from_slice(payload, config)
    }
    .map_err(|e| damaged(format!("the payload does not decode: {e}")))?;
    if used != payload.len() {
        return Err(damaged(format!("{} bytes after the payload", payload.len() - used)));
    }
    Ok(value)
}

pub(super) fn checksum(key: &[u8], header: &[u8], payload: &[u8]) -> u64 {
    hash::checksum([key, header, payload])
}

/// A key for people: the prefix letter and the rest in hexadecimal.
pub(crate) fn name(key: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for (i, byte) in key.iter().enumerate() {
        if i == 0 && byte.is_ascii_graphic() {
            out.push(char::from(*byte));
            out.push(':');
        } else {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of format version 1, computed by `docs/format.md`'s description with the xxhash
    /// package 4.1.0 for Python; they must never change.
    #[test]
    fn a_frame_of_version_1_keeps_its_bytes() {
        let frame = seal(b"k", Kind::Chunk, b"payload").unwrap();
        let expected = [
            0x56, 0x52, 0x01, 0x05, 0x07, 0x00, 0x00, 0x00, // magic, version, kind, length
        ];
        assert_eq!(frame[..8], expected);
        assert_eq!(&frame[16..], b"payload");
        assert_eq!(u64::from_le_bytes(frame[8..16].try_into().unwrap()), GOLDEN_CHECKSUM);
    }
    const GOLDEN_CHECKSUM: u64 = 0x5c39_35e0_4ceb_1ea5;

    #[test]
    fn a_version_that_is_not_known_is_refused() {
        for kind in [Kind::Chunk, Kind::Collection] {
            let newest = kind.version();
            for version in 1..=newest {
                let frame = seal_as(b"k", kind, version, b"x").unwrap();
                assert_eq!(open_any(b"k", kind, &frame).unwrap(), (version, &b"x"[..]));
            }
            let newer = seal_as(b"k", kind, newest + 1, b"x").unwrap();
            assert!(matches!(open(b"k", kind, &newer), Err(Error::NewerFormat { .. })));
            let none = seal_as(b"k", kind, 0, b"x").unwrap();
            assert!(matches!(open(b"k", kind, &none), Err(Error::Corrupted { .. })));
        }
    }

    /// Of all that can be encoded, small numbers are what takes the most room once decoded.
    #[test]
    fn the_largest_records_decode() {
        for length in [SMALL_RECORD_BYTES, MAX_RECORD_BYTES] {
            let numbers = vec![1u64; length - 9];
            let bytes = encode(&numbers).unwrap();
            assert_eq!(decode::<Vec<u64>>(b"x", &bytes).unwrap(), numbers);
        }
        assert!(encode(&vec![1u64; MAX_RECORD_BYTES]).is_err());
    }

    proptest! {
        #[test]
        fn sealed_frames_open(key in proptest::collection::vec(any::<u8>(), 0..20),
                              payload in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let frame = seal(&key, Kind::Text, &payload).unwrap();
            prop_assert_eq!(open(&key, Kind::Text, &frame).unwrap(), &payload[..]);
            prop_assert!(open(&key, Kind::Vector, &frame).is_err());
            let mut other = key.clone();
            other.push(1);
            prop_assert!(open(&other, Kind::Text, &frame).is_err());
        }

        #[test]
        fn any_single_change_is_noticed(payload in proptest::collection::vec(any::<u8>(), 1..300),
                                        at in any::<prop::sample::Index>(), flip in 1u8..) {
            let frame = seal(b"key", Kind::Text, &payload).unwrap();
            let mut bad = frame.clone();
            let i = at.index(bad.len());
            bad[i] ^= flip;
            prop_assert!(open(b"key", Kind::Text, &bad).is_err());
            prop_assert!(open(b"key", Kind::Text, &frame[..i]).is_err());
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(b"x", Kind::Document, &bytes);
            let _ = decode::<Vec<Vec<String>>>(b"x", &bytes);
        }
    }
}
