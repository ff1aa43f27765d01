//! Text out of the bytes of tokens.

use super::stops::Stops;

/// Makes text of tokens' bytes as they come: whole UTF-8 characters, up to a stop string.
///
/// A token may end inside a character; its bytes wait for the rest. Bytes that are no UTF-8 become
/// U+FFFD where `String::from_utf8_lossy` of the whole puts it, as soon as it is clear that they cannot
/// become a character.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    /// The start of a character, at most three bytes.
    open: Vec<u8>,
    stops: Stops,
}

impl Pieces {
    /// Pieces of a text that ends at any of these.
    #[must_use]
    pub fn new(stops: Stops) -> Self {
        Self { open: Vec::new(), stops }
    }

    /// The next token's bytes. Returns the text that is decided by them, which may be empty.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.open.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.open.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    // Without a length, it is the end of the bytes that is missing.
                    let Some(wrong) = error.error_len() else {
                        rest = after;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = after.get(wrong..).unwrap_or_default();
                }
            }
        }
        self.open = rest.to_vec();
        self.stops.push(&text)
    }

    /// Whether a stop string was found; nothing comes after it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stops.is_stopped()
    }

    /// Ends the text. Returns what was held back: the start of what might have been a stop string, and
    /// U+FFFD for a character that was not finished.
    pub fn finish(&mut self) -> String {
        let mut text = String::new();
        if !std::mem::take(&mut self.open).is_empty() {
            text = self.stops.push("\u{fffd}");
        }
        if !self.stops.is_stopped() {
            text.push_str(&self.stops.finish());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes near UTF-8: characters of every length, some cut short, and any bytes.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let one = prop_oneof![
            4 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
            2 => any::<char>().prop_map(|c| {
                let mut bytes = c.to_string().into_bytes();
                bytes.pop();
                bytes
            }),
            1 => prop::collection::vec(any::<u8>(), 1..4),
            1 => prop::collection::vec(
                prop_oneof![Just(0xe2), Just(0x82), Just(0xf0), Just(0x9f), Just(0xed), Just(0xa0)],
                1..5
            ),
        ];
        prop::collection::vec(one, 0..12).prop_map(|parts| parts.concat())
    }

    fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut parts = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, after) = rest.split_at((*size).min(rest.len()));
            parts.push(part.to_vec());
            rest = after;
        }
        parts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// The standard library's conversion of the whole is the reference.
        #[test]
        fn pieces_make_up_the_whole(
            bytes in bytes(),
            sizes in prop::collection::vec(1usize..7, 1..6),
        ) {
            let mut pieces = Pieces::default();
            let mut text = String::new();
            for part in cut(&bytes, &sizes) {
                text.push_str(&pieces.push(&part));
                prop_assert!(pieces.open.len() < 4);
            }
            text.push_str(&pieces.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }

        /// Nothing waits that is decided: what was pushed so far, less an unfinished character.
        #[test]
        fn whole_characters_do_not_wait(text in "\\PC{0,20}", sizes in prop::collection::vec(1usize..5, 1..6)) {
            let mut pieces = Pieces::default();
            let (mut pushed, mut found) = (Vec::new(), String::new());
            for part in cut(text.as_bytes(), &sizes) {
                pushed.extend_from_slice(&part);
                found.push_str(&pieces.push(&part));
                let valid = pushed.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                prop_assert_eq!(found.as_str(), valid);
            }
        }

        /// A stop string is found wherever tokens end.
        #[test]
        fn a_stop_string_ends_the_text(
            before in "[a-c日é ]{0,12}",
            stop in "[日é\n]{1,4}",
            after in "[a-c日é\n]{0,6}",
            sizes in prop::collection::vec(1usize..7, 1..6),
        ) {
            let whole = format!("{before}{stop}{after}");
            let expected = &whole[..whole.find(&stop).unwrap()];
            let mut pieces = Pieces::new(Stops::new([&stop]).unwrap());
            let mut text = String::new();
            for part in cut(whole.as_bytes(), &sizes) {
                text.push_str(&pieces.push(&part));
            }
            prop_assert!(pieces.is_stopped());
            text.push_str(&pieces.finish());
            prop_assert_eq!(text, expected);
        }
    }

    #[test]
    fn what_is_held_back_comes_at_the_end() {
        let mut pieces = Pieces::new(Stops::new(["END"]).unwrap());
        assert_eq!(pieces.push(b"the E"), "the ");
        assert_eq!(pieces.push(b"N"), "");
        assert_eq!(pieces.push(b"\xe2\x82"), "");
        assert_eq!(pieces.finish(), "EN\u{fffd}");
        let mut pieces = Pieces::new(Stops::new(["END"]).unwrap());
        assert_eq!(pieces.push(b"the END of"), "the ");
        assert!(pieces.is_stopped());
        assert_eq!([pieces.push(b" it"), pieces.finish()], ["", ""]);
    }
}
