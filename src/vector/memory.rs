//! How much memory an index may take for its speed.

use super::code::rest_bytes;
use super::fastscan::{self, DEGREE};
use super::sketch;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the index of a collection keeps of each vector, besides the vector itself in the store. A
/// collection has one from the beginning ([`crate::CollectionOptions::memory`]) and keeps it.
///
/// The bytes are those of a vector of 384 dimensions in a segment with a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Memory {
    /// 2,304 bytes: a code of 11 bits an element, 32 neighbours, and a code of 1 bit an element for
    /// each of them, so that a step of a search reads one place in memory. The default.
    #[default]
    Speed,
    /// 704 bytes: the same, but for the codes of neighbours, with one of 1 bit an element of the vector
    /// itself. A step reads a line of each neighbour, and more of those that may be near.
    Balanced,
    /// 440 bytes: a code of 8 bits an element and 16 neighbours.
    Small,
}

impl Memory {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Speed, Self::Balanced, Self::Small];

    /// Its name, as [`FromStr`] reads it: `speed`, `balanced` or `small`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Balanced => "balanced",
            Self::Small => "small",
        }
    }

    /// What stands in files for it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Speed => 0,
            Self::Balanced => 1,
            Self::Small => 2,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|memory| memory.number() == number)
    }

    /// Neighbours of a row.
    pub(crate) fn degree(self) -> usize {
        if self == Self::Small { DEGREE / 2 } else { DEGREE }
    }

    /// Bytes of a row's own sketch.
    pub(crate) fn sketch_bytes(self, padded: usize) -> usize {
        if self == Self::Balanced { sketch::bytes(padded) } else { 0 }
    }

    /// Bytes of what a row knows of its neighbours; their numbers come last, 24 bits each.
    pub(crate) fn links_bytes(self, padded: usize) -> usize {
        if self == Self::Speed { fastscan::block_bytes(padded) } else { 3 * self.degree() }
    }

    /// Bytes of the second level of a code.
    pub(crate) fn rest_bytes(self, padded: usize) -> usize {
        if self == Self::Small { 0 } else { rest_bytes(padded) }
    }

    /// Rows begin at multiples of this.
    pub(crate) fn alignment(self) -> usize {
        if self == Self::Small { 8 } else { 64 }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Memory {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|memory| memory.name() == name).ok_or_else(|| {
            Error::parameter("memory", format!("{name:?}; use speed, balanced or small"))
        })
    }
}
