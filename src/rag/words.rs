//! The words of a text, told apart by what they say: what two texts have in common is counted in
//! these.

mod irregular;
mod numbers;

use crate::error::Result;
use crate::index::WordReader;
use irregular::Irregular;
use std::collections::HashSet;
use std::ops::Range;

/// What a word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What holds a sentence together: "the", "of", "was".
    Function,
    /// What a sentence is about.
    Content,
    /// A content word with a capital where none is needed.
    Name,
    /// A number, in digits or in words.
    Number,
    /// "not", "never", "n't".
    Negation,
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Its bytes.
    pub(super) span: Range<usize>,
    /// What equal words share: the stem, without accents and in lower case; of an irregular form,
    /// its base's; of a number, its digits.
    pub(super) stem: String,
    pub(super) kind: Kind,
}

impl Word {
    /// Whether it says something by itself.
    pub(super) fn counts(&self) -> bool {
        matches!(self.kind, Kind::Content | Kind::Name | Kind::Number)
    }
}

/// Reads words by the rules of one language.
#[derive(Debug, Clone)]
pub(super) struct Vocabulary {
    reader: WordReader,
    /// Empty but for English.
    irregular: Irregular,
    english: bool,
}

/// English words that turn a sentence round.
const NEGATIONS: [&str; 14] = [
    "not", "no", "never", "none", "nobody", "nothing", "nowhere", "neither", "nor", "without",
    "cannot", "hardly", "scarcely", "barely",
];

impl Vocabulary {
    /// The rules of a keyword index's language.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for an unknown one.
    pub(super) fn new(language: &str) -> Result<Self> {
        let reader = WordReader::new(language.parse()?);
        let english = language == "english";
        let irregular = if english { Irregular::english(&reader) } else { Irregular::default() };
        Ok(Self { reader, irregular, english })
    }

    /// Every word of `text`, in order.
    pub(super) fn words(&self, text: &str) -> Vec<Word> {
        let read = self.reader.words(text);
        let mut words: Vec<Word> = Vec::with_capacity(read.len());
        let mut begins = true;
        let mut before = 0;
        let mut at = 0;
        while let Some(word) = read.get(at) {
            let surface = text.get(word.span.clone()).unwrap_or_default();
            let gap = text.get(before..word.span.start).unwrap_or_default();
            // After a full stop or an opening quote a capital means nothing.
            begins |= gap.contains(['.', '!', '?', ':', '"', '“', '‘', '«', '\n']);
            let capital = surface.chars().next().is_some_and(char::is_uppercase);
            let lower = surface.to_lowercase();
            let number = numbers::read(text, &read, at, self.english);
            let (stem, kind, taken) = if let Some((digits, taken)) = number {
                (digits, Kind::Number, taken)
            } else if self.english && is_negation(&lower, gap, text, &word.span) {
                (word.stem.clone(), Kind::Negation, 1)
            } else {
                let stem = self.irregular.base(&lower).unwrap_or(&word.stem).to_owned();
                // What is left of "don't", "king's" and "I'll" says nothing.
                let torn = surface.len() <= 2 && gap.ends_with(['\'', '’']);
                let kind = if !word.indexed || torn {
                    Kind::Function
                } else if capital && !begins {
                    Kind::Name
                } else {
                    Kind::Content
                };
                (stem, kind, 1)
            };
            let last = read.get(at + taken - 1).unwrap_or(word);
            words.push(Word { span: word.span.start..last.span.end, stem, kind });
            before = last.span.end;
            begins = false;
            at += taken;
        }
        words
    }
}

fn is_negation(lower: &str, gap: &str, text: &str, span: &Range<usize>) -> bool {
    if NEGATIONS.contains(&lower) {
        return true;
    }
    // "don't" is read as "don" and "t".
    let torn = lower == "t" && gap.ends_with(['\'', '’']);
    torn && text
        .get(..span.start)
        .is_some_and(|before| before.trim_end_matches(['\'', '’']).ends_with(['n', 'N']))
}

/// The stems of the words that count.
pub(super) fn stems(words: &[Word]) -> HashSet<&str> {
    words.iter().filter(|word| word.counts()).map(|word| word.stem.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, Kind)> {
        let words = Vocabulary::new("english").unwrap().words(text);
        words.into_iter().map(|w| (w.stem, w.kind)).collect()
    }

    #[test]
    fn words_are_told_apart() {
        use Kind::{Content, Function, Name, Negation, Number};
        let expected = [
            ("king", Content),
            ("arthur", Name),
            ("s", Function),
            ("son", Content),
            ("did", Function),
            ("not", Negation),
            ("give", Content),
            ("21", Number),
            ("gold", Content),
            ("coin", Content),
            ("to", Function),
            ("merlin", Name),
        ];
        let read = read("King Arthur's sons did not give twenty-one gold coins to Merlin.");
        let read: Vec<(&str, Kind)> = read.iter().map(|(s, k)| (s.as_str(), *k)).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn equal_words_have_equal_stems() {
        for (a, b) in [
            ("gave", "gives"),
            ("children", "child"),
            ("Élite", "elite"),
            ("1,000", "1000"),
            ("seven", "7"),
            ("3.50", "3.50"),
        ] {
            assert_eq!(read(a)[0].0, read(b)[0].0, "{a} {b}");
        }
        assert_ne!(read("3.5")[0].0, read("35")[0].0);
        assert_eq!(read("She didn't")[2].1, Kind::Negation);
    }

    #[test]
    fn other_languages_are_read_by_their_own_rules() {
        let words = Vocabulary::new("german").unwrap().words("die Häuser und das Haus");
        let stems = stems(&words);
        assert_eq!(stems.into_iter().collect::<Vec<_>>(), ["haus"]);
        assert!(Vocabulary::new("klingon").is_err());
        assert_eq!(Vocabulary::new("none").unwrap().words("the 7 houses").len(), 3);
    }
}
