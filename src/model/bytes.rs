//! The bytes of a model's file, read or mapped.

use crate::error::Result;
use crate::mapped::Mapped;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file.
pub(crate) enum Bytes {
    /// All of them in memory.
    Read(Vec<u8>),
    /// In memory as far as they are looked at.
    Mapped(Mapped),
}

impl Bytes {
    /// Maps the file, which must be left alone as long as it is in use.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub(crate) fn map(path: &Path) -> Result<Self> {
        Ok(Self::Mapped(Mapped::open(path)?))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Mapped(map) => map,
        }
    }
}
