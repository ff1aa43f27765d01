//! Sums over bytes. The one place that names xxhash and sha2.
//!
//! Checksums notice accidents and are fast: xxh3-64 (Collet 2019). What must hold against anyone, or
//! stands for a file or a text, is sha256 (FIPS 180-4).

use sha2::Digest as _;
use xxhash_rust::xxh3::Xxh3;

/// The xxh3-64 of all parts, one after the other.
pub(crate) fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = Xxh3::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.digest()
}

/// A sha256 under way.
#[derive(Clone, Default)]
pub(crate) struct Sha256(sha2::Sha256);

impl Sha256 {
    pub(crate) fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// In lower-case hexadecimal.
    pub(crate) fn hex(self) -> String {
        use std::fmt::Write as _;
        self.finish().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// The sha256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// [`crate::Error::Io`].
pub(crate) fn sha256_of(path: &std::path::Path) -> crate::Result<String> {
    use crate::error::Error;
    use std::io::Read as _;
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = Sha256::default();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            return Ok(hasher.hex());
        }
        hasher.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example "abc"; XXH3_64bits("abc") by the xxhash package 4.1.0 for Python.
    #[test]
    fn sums_are_those_of_their_definitions() {
        let mut hasher = Sha256::default();
        hasher.update("a");
        hasher.update("bc");
        let expected = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea];
        assert_eq!(hasher.finish()[..8], expected);
        assert_eq!(checksum([b"a".as_slice(), b"bc"]), GOLDEN);
    }
    const GOLDEN: u64 = 0x78af_5f94_892f_3950;
}
