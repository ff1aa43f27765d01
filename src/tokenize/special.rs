//! Where the special tokens of a text are, before anything else is looked at.

use std::collections::HashMap;
use std::ops::Range;

/// How a token comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// By merging bytes.
    Plain,
    /// By its text, wherever that stands.
    User,
    /// By its text, in a template only.
    Control,
}

/// A stretch of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// To be cut and merged.
    Text(Range<usize>),
    /// A token by its text.
    Token(u32),
}

struct Special {
    text: String,
    id: u32,
    kind: Kind,
}

/// The tokens that are found by their text. A longer one goes first, wherever it stands; of one token,
/// the occurrences go from left to right (llama.cpp's order; that of Hugging Face differs only where
/// two special tokens overlap).
pub(super) struct Specials {
    /// The longest first.
    all: Vec<Special>,
    /// Places in `all`, by the first byte of the text.
    by_first: HashMap<u8, Vec<usize>>,
}

impl Specials {
    /// From texts, ids and kinds; plain tokens and empty texts are left out.
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32, Kind)>) -> Self {
        let mut all: Vec<Special> = tokens
            .filter(|(text, _, kind)| *kind != Kind::Plain && !text.is_empty())
            .map(|(text, id, kind)| Special { text: text.to_owned(), id, kind })
            .collect();
        all.sort_by_key(|special| (std::cmp::Reverse(special.text.len()), special.id));
        let mut by_first: HashMap<u8, Vec<usize>> = HashMap::new();
        for (place, special) in all.iter().enumerate() {
            if let Some(&first) = special.text.as_bytes().first() {
                by_first.entry(first).or_default().push(place);
            }
        }
        Self { all, by_first }
    }

    /// The texts of the control tokens.
    pub(super) fn control_texts(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter(|s| s.kind == Kind::Control).map(|s| s.text.as_str())
    }

    /// Cuts `text` at its special tokens. Control tokens are only found within one of the ranges of
    /// `template`, which are in order and do not touch.
    pub(super) fn partition(&self, text: &str, template: &[Range<usize>]) -> Vec<Part> {
        let mut found = self.occurrences(text, template);
        found.sort_unstable();
        // Start and end of what is taken, by start; an occurrence must not overlap any.
        let mut taken: std::collections::BTreeMap<usize, (usize, u32)> =
            std::collections::BTreeMap::new();
        for (place, start) in found {
            let Some(special) = self.all.get(place) else { continue };
            let end = start + special.text.len();
            let before = taken.range(..=start).next_back().is_none_or(|(_, (e, _))| *e <= start);
            let after = taken.range(start..).next().is_none_or(|(s, _)| *s >= end);
            if before && after {
                taken.insert(start, (end, special.id));
            }
        }
        let mut parts = Vec::with_capacity(taken.len() * 2 + 1);
        let mut at = 0;
        for (start, (end, id)) in taken {
            if at < start {
                parts.push(Part::Text(at..start));
            }
            parts.push(Part::Token(id));
            at = end;
        }
        if at < text.len() {
            parts.push(Part::Text(at..text.len()));
        }
        parts
    }

    /// Place in `all` and start of every occurrence that may count, overlapping ones included.
    fn occurrences(&self, text: &str, template: &[Range<usize>]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        if self.all.is_empty() {
            return found;
        }
        let bytes = text.as_bytes();
        let mut ranges = template.iter().peekable();
        for (at, byte) in bytes.iter().enumerate() {
            let Some(places) = self.by_first.get(byte) else { continue };
            while ranges.next_if(|range| range.end <= at).is_some() {}
            let inside = ranges.peek().filter(|range| range.start <= at).map(|range| range.end);
            for &place in places {
                let Some(special) = self.all.get(place) else { continue };
                let end = at + special.text.len();
                let allowed =
                    special.kind == Kind::User || inside.is_some_and(|limit| end <= limit);
                if allowed && bytes.get(at..end) == Some(special.text.as_bytes()) {
                    found.push((place, at));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specials() -> Specials {
        Specials::new(
            [
                ("<s>", 0, Kind::Control),
                ("<s><t>", 1, Kind::Control),
                ("think", 2, Kind::User),
                ("king", 3, Kind::User),
                ("plain", 4, Kind::Plain),
            ]
            .into_iter(),
        )
    }

    fn shown(text: &str, template: &[(usize, usize)]) -> String {
        let template: Vec<_> = template.iter().map(|(start, end)| *start..*end).collect();
        let parts = specials().partition(text, &template).into_iter().map(|part| match part {
            Part::Text(range) => text[range].to_owned(),
            Part::Token(id) => format!("[{id}]"),
        });
        parts.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn control_tokens_are_the_templates() {
        assert_eq!(shown("<s>a<s>", &[]), "<s>a<s>");
        assert_eq!(shown("<s>a<s>", &[(0, 7)]), "[0]|a|[0]");
        assert_eq!(shown("<s>a<s>", &[(0, 4)]), "[0]|a<s>");
        // The last byte is not the template's, so the token is not.
        assert_eq!(shown("<s>a<s>", &[(0, 6)]), "[0]|a<s>");
        assert_eq!(shown("<s>a<s>", &[(1, 7)]), "<s>a|[0]");
        assert_eq!(shown("think <s> plain", &[]), "[2]| <s> plain");
        assert_eq!(shown("", &[]), "");
    }

    /// As llama.cpp does it: longest first, then from left to right in what is left over.
    #[test]
    fn longer_tokens_go_first() {
        assert_eq!(shown("<s><t><s>", &[(0, 9)]), "[1]|[0]");
        assert_eq!(shown("thinking", &[]), "[2]|ing");
        assert_eq!(shown("kingthink", &[]), "[3]|[2]");
        assert_eq!(shown("<s><t>", &[(0, 5)]), "[0]|<t>");
    }
}
