//! The alphabet of byte-level vocabularies (Radford et al. 2019, GPT-2): one character for each byte.
//!
//! Bytes that print in Latin-1 stand for themselves, the other 68 for the characters from U+0100 on,
//! in order.

/// Whether a byte is its own character.
const fn prints(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The bytes that have another character, in order.
const OTHERS: [u8; 68] = {
    let mut others = [0; 68];
    let (mut byte, mut found) = (0u8, 0);
    while found < others.len() {
        if !prints(byte) {
            others[found] = byte;
            found += 1;
        }
        byte = byte.wrapping_add(1);
    }
    others
};

/// The byte that a character stands for, if it is of the alphabet.
pub(super) fn byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => prints(byte).then_some(byte),
        Err(_) => OTHERS.get(usize::try_from(code - 0x100).ok()?).copied(),
    }
}

/// The bytes that a vocabulary's entry stands for, if all its characters are of the alphabet.
pub(super) fn bytes(entry: &str) -> Option<Vec<u8>> {
    entry.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The correspondences are those of GPT-2's published vocabulary: a space is Ġ, a line feed Ċ, a
    /// tab ĉ, a soft hyphen Ń.
    #[test]
    fn known_characters() {
        for (character, expected) in
            [('Ġ', 0x20), ('Ċ', 0x0A), ('ĉ', 0x09), ('Ń', 0xAD), ('a', 0x61), ('ÿ', 0xFF), ('Ā', 0)]
        {
            assert_eq!(byte(character), Some(expected), "{character}");
        }
        for foreign in [' ', '\n', '\u{AD}', '\u{144}', '▁', '😀'] {
            assert_eq!(byte(foreign), None, "{foreign:?}");
        }
        assert_eq!(bytes("âĤ¬").unwrap(), "€".as_bytes());
        assert_eq!(bytes("â€"), None);
    }

    #[test]
    fn every_byte_has_one_character() {
        let all: HashSet<u8> = ('\0'..='\u{143}').filter_map(byte).collect();
        assert_eq!(all.len(), 256);
        assert_eq!(('\0'..='\u{FFFF}').filter_map(byte).count(), 256);
    }
}
