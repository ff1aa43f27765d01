//! From bytes to text. The one place that names `encoding_rs` and chardetng.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::io::{BufRead, BufReader, Read};

/// Beginnings of files that hold no text, or text that this release does not read.
const MAGIC: [(&[u8], &str); 9] = [
    (b"%PDF-", "PDF files are not read yet"),
    (b"PK\x03\x04", "it is a zip archive or an Office file"),
    (b"\x1f\x8b", "it is compressed (gzip)"),
    (b"\xfd7zXZ\0", "it is compressed (xz)"),
    (b"\x89PNG", "it is a picture"),
    (b"\xff\xd8\xff", "it is a picture"),
    (b"GIF8", "it is a picture"),
    (b"\x7fELF", "it is a program"),
    (b"\xd0\xcf\x11\xe0", "it is an Office file"),
];

/// Why these first bytes are not text; none where they are.
pub(super) fn binary(head: &[u8]) -> Option<&'static str> {
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(kind);
    }
    let head = &head[..head.len().min(8192)];
    (head.contains(&0) && !is_utf16(head)).then_some("it is a binary file")
}

/// By its mark; without one, by zeros in every second place, as most scripts' texts have them.
pub(super) fn is_utf16(head: &[u8]) -> bool {
    head.starts_with(&[0xff, 0xfe])
        || head.starts_with(&[0xfe, 0xff])
        || unmarked_utf16(head).is_some()
}

fn unmarked_utf16(head: &[u8]) -> Option<&'static Encoding> {
    let pairs = head.get(..head.len().min(8192))?.as_chunks::<2>().0;
    if pairs.len() < 4 {
        return None;
    }
    let zeros = |place: usize| pairs.iter().filter(|pair| pair[place] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    let most = pairs.len() * 7 / 10;
    match (first > most, second > most) {
        (false, true) if first == 0 => Some(UTF_16LE),
        (true, false) if second == 0 => Some(UTF_16BE),
        _ => None,
    }
}

/// The reader behind a UTF-8 mark, if there is one.
pub(super) fn without_mark<R: Read>(mut reader: BufReader<R>) -> BufReader<R> {
    if reader.fill_buf().is_ok_and(|head| head.starts_with(b"\xef\xbb\xbf")) {
        reader.consume(3);
    }
    reader
}

/// Decodes a whole input, and says what had to be guessed or replaced.
pub(super) fn decode(bytes: &[u8]) -> (String, Vec<String>) {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return decoded(encoding, &bytes[mark..], false);
    }
    if let Some(encoding) = unmarked_utf16(bytes) {
        return decoded(encoding, bytes, false);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), Vec::new());
    }
    // A few bad bytes among good multi-byte characters: damaged UTF-8, not another encoding.
    let (mut good, mut bad) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    if good > bad {
        return decoded(UTF_8, bytes, false);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    decoded(detector.guess(None, Utf8Detection::Deny), bytes, true)
}

fn decoded(encoding: &'static Encoding, bytes: &[u8], guessed: bool) -> (String, Vec<String>) {
    let (text, replaced) = encoding.decode_without_bom_handling(bytes);
    let mut warnings = Vec::new();
    if guessed {
        warnings.push(format!("it is not UTF-8; read as {}", encoding.name()));
    }
    if replaced {
        let count = text.matches('\u{fffd}').count();
        warnings.push(format!("{count} characters are not valid {}; replaced", encoding.name()));
    }
    (text.into_owned(), warnings)
}
