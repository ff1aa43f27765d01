//! Keys of the one tree: a letter, then big-endian numbers, so that a prefix scan is in order.
//!
//! | key | record |
//! |---|---|
//! | `H` | head: generation, record count, digest |
//! | `c` name | collection |
//! | `d` collection, document, part | document: id, title, metadata, headings (split at 48 KiB) |
//! | `t` collection, document, part | text of a document (split at 48 KiB) |
//! | `n` collection, sha256 of the id | document number |
//! | `k` collection, chunk | chunk: document, span, heading path |
//! | `v` collection, chunk | vector, f32 little-endian |
//! | `m` collection, chunk, part | vectors of its tokens, pooled (split at 48 KiB) |
//! | `h` collection, hash of the embedded text | chunk that holds its vector |
//! | `b` group of keys | ledger: how many records the group has, and their digest |

pub(crate) const HEAD: &[u8] = b"H";
pub(crate) const COLLECTION: u8 = b'c';
pub(crate) const DOCUMENT: u8 = b'd';
pub(crate) const TEXT: u8 = b't';
pub(crate) const NAME: u8 = b'n';
pub(crate) const CHUNK: u8 = b'k';
pub(crate) const VECTOR: u8 = b'v';
pub(crate) const TOKENS: u8 = b'm';
pub(crate) const HASH: u8 = b'h';
pub(crate) const LEDGER: u8 = b'b';

pub(crate) fn collection(name: &str) -> Vec<u8> {
    [&[COLLECTION], name.as_bytes()].concat()
}

/// The prefix of everything of one letter in one collection.
pub(crate) fn prefix(letter: u8, collection: u32) -> Vec<u8> {
    [&[letter][..], &collection.to_be_bytes()].concat()
}

/// A document, text, chunk, vector or token key, without the part number of those that are split.
pub(crate) fn numbered(letter: u8, collection: u32, number: u32) -> Vec<u8> {
    [&[letter][..], &collection.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The key of one part of a split record.
pub(crate) fn part(base: &[u8], part: u16) -> Vec<u8> {
    [base, &part.to_be_bytes()].concat()
}

/// The key that leads from a hash to a number: of a document id, or of an embedded text.
pub(crate) fn hashed(letter: u8, collection: u32, hash: &[u8]) -> Vec<u8> {
    [&[letter][..], &collection.to_be_bytes(), hash].concat()
}

/// The number in a [`numbered`] key (of a split record: of any of its parts).
pub(crate) fn number_of(key: &[u8]) -> Option<u32> {
    key.get(5..9)?.try_into().ok().map(u32::from_be_bytes)
}
