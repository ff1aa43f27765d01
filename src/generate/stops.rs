//! Strings at which a text ends, found while it is written.

use crate::error::{Error, Result};

/// Bytes of one stop string, and their number.
const MAX: [usize; 2] = [4096, 64];

/// Finds stop strings in a text that comes in parts, and holds back what might be the start of one.
///
/// The text ends where the first of them is complete; of several that are complete there, the longest
/// counts. Neither depends on the parts. Nothing of a stop string is given out, and everything else is,
/// as soon as it is decided.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    patterns: Vec<Pattern>,
    /// What may be the start of a stop string.
    held: String,
    stopped: bool,
}

/// A stop string, and how much of it the text ends with: the automaton of Knuth, Morris and Pratt
/// ("Fast pattern matching in strings", 1977).
#[derive(Debug, Clone)]
struct Pattern {
    bytes: Vec<u8>,
    /// For each start of the string, the length of the longest shorter one that it ends with.
    shorter: Vec<usize>,
    matched: usize,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut pattern = Self { bytes: text.as_bytes().to_vec(), shorter: vec![0], matched: 0 };
        for byte in text.bytes().skip(1) {
            pattern.step(byte);
            pattern.shorter.push(pattern.matched);
        }
        pattern.matched = 0;
        pattern
    }

    /// Takes the next byte; whether the string is complete with it.
    fn step(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.bytes.get(self.matched) != Some(&byte) {
            self.matched = self.shorter.get(self.matched - 1).copied().unwrap_or(0);
        }
        if self.bytes.get(self.matched) == Some(&byte) {
            self.matched += 1;
        }
        self.matched == self.bytes.len()
    }
}

impl Stops {
    /// Looks for these strings.
    ///
    /// # Errors
    /// [`Error::Parameter`] where one is empty or longer than 4,096 bytes, or there are more than 64.
    pub fn new<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut patterns = Vec::new();
        let refuse = |reason: String| Err(Error::parameter("stop string", reason));
        for string in strings {
            let string = string.as_ref();
            if string.is_empty() {
                return refuse("it is empty; leave it out to stop nowhere".to_owned());
            }
            if string.len() > MAX[0] {
                return refuse(format!(
                    "it has {} bytes; at most {} are looked for",
                    string.len(),
                    MAX[0]
                ));
            }
            if patterns.len() == MAX[1] {
                return refuse(format!("there are more than {}", MAX[1]));
            }
            patterns.push(Pattern::new(string));
        }
        Ok(Self { patterns, ..Self::default() })
    }

    /// The next part of the text. Returns what is decided by it: text that belongs to no stop string
    /// and can be the start of none. Nothing once a stop string was found.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        let before = self.held.len() - text.len();
        for (at, byte) in text.bytes().enumerate() {
            let mut longest = 0;
            for pattern in &mut self.patterns {
                if pattern.step(byte) {
                    longest = longest.max(pattern.bytes.len());
                }
            }
            if longest > 0 {
                self.stopped = true;
                self.held.truncate((before + at + 1).saturating_sub(longest));
                return std::mem::take(&mut self.held);
            }
        }
        // The start of a stop string begins with a whole character, so this is between two.
        let open = self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len().saturating_sub(open));
        std::mem::replace(&mut self.held, rest)
    }

    /// Whether a stop string was found.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Ends the text: what was held back can no longer become a stop string.
    pub fn finish(&mut self) -> String {
        self.patterns.iter_mut().for_each(|pattern| pattern.matched = 0);
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By looking at every end of the whole text.
    fn naive<'a>(text: &'a str, stops: &[String]) -> (&'a str, bool) {
        for (start, c) in text.char_indices() {
            let until = &text[..start + c.len_utf8()];
            let longest =
                stops.iter().filter(|s| until.ends_with(s.as_str())).map(String::len).max();
            if let Some(length) = longest {
                return (&until[..until.len() - length], true);
            }
        }
        (text, false)
    }

    /// Few letters, so that stop strings are found, overlap, and nearly are.
    fn text(up_to: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof![Just('a'), Just('b'), Just('é'), Just('日')], 0..up_to)
            .prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn stops_are_those_of_a_search_in_the_whole_text(
            parts in prop::collection::vec(text(6), 0..12),
            stops in prop::collection::vec(text(6), 0..4),
        ) {
            let stops: Vec<String> = stops.into_iter().filter(|s| !s.is_empty()).collect();
            let mut search = Stops::new(&stops).unwrap();
            let whole = parts.concat();
            let (expected, stopped) = naive(&whole, &stops);
            let mut found = String::new();
            let mut pushed = String::new();
            for part in &parts {
                found.push_str(&search.push(part));
                pushed.push_str(part);
                if search.is_stopped() {
                    break;
                }
                // Held back is the longest end that is the start of a stop string, and no more.
                let open = pushed
                    .char_indices()
                    .map(|(at, _)| &pushed[at..])
                    .find(|end| stops.iter().any(|s| s.starts_with(end)))
                    .unwrap_or_default();
                prop_assert_eq!(found.len() + open.len(), pushed.len());
            }
            prop_assert_eq!(search.is_stopped(), stopped);
            found.push_str(&search.finish());
            prop_assert_eq!(found, expected);
            if stopped {
                prop_assert_eq!(search.push("more"), "");
            }
        }
    }

    #[test]
    fn unusable_stop_strings_are_told() {
        let reason = |stops: &[&str]| Stops::new(stops).unwrap_err().to_string();
        assert!(reason(&["a", ""]).contains("empty"));
        assert!(reason(&[&"a".repeat(5000)]).contains("5000 bytes"));
        assert!(reason(&["a"; 65]).contains("more than 64"));
        assert!(Stops::new(["a"; 64]).is_ok());
    }
}
