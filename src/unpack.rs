//! Files that may be packed with gzip (RFC 1952). The only module that names flate2.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

/// The bytes of a file; unpacked, where its name ends in `.gz`.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = File::open(path)?;
    Ok(if is_packed(path) {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    })
}

/// Writes a file; packed, where its name ends in `.gz`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if !is_packed(path) {
        return std::fs::write(path, bytes);
    }
    let mut file =
        flate2::write::GzEncoder::new(File::create(path)?, flate2::Compression::default());
    file.write_all(bytes)?;
    file.finish().map(drop)
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"))
}
