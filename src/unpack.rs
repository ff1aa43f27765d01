//! Files that may be packed with gzip (RFC 1952). The only module that names flate2.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The bytes of a file; unpacked, where its name ends in `.gz`.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    let packed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    Ok(if packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Packs a file for a test.
#[cfg(test)]
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = flate2::write::GzEncoder::new(File::create(path)?, flate2::Compression::fast());
    file.write_all(bytes)?;
    file.finish().map(drop)
}
