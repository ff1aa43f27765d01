//! The words of a text as the keyword index reads them, for whoever compares texts without an index.

use super::Language;
use std::collections::HashSet;
use std::ops::Range;
use tantivy::tokenizer::{TextAnalyzer, TokenStream as _};

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its bytes.
    pub(crate) span: Range<usize>,
    /// In lower case, without accents, stemmed.
    pub(crate) stem: String,
    /// Whether the index holds it: function words are left out there.
    pub(crate) indexed: bool,
}

/// Reads words by the rules of one language.
#[derive(Clone)]
pub(crate) struct WordReader {
    all: TextAnalyzer,
    indexed: TextAnalyzer,
}

impl WordReader {
    pub(crate) fn new(language: Language) -> Self {
        Self { all: language.analyzer_of_all(), indexed: language.analyzer() }
    }

    /// Every word of `text`, in order.
    pub(crate) fn words(&self, text: &str) -> Vec<Word> {
        let mut indexed = HashSet::new();
        let mut analyzer = self.indexed.clone();
        let mut stream = analyzer.token_stream(text);
        while stream.advance() {
            indexed.insert(stream.token().offset_from);
        }
        let mut words = Vec::new();
        let mut analyzer = self.all.clone();
        let mut stream = analyzer.token_stream(text);
        while stream.advance() {
            let token = stream.token();
            words.push(Word {
                span: token.offset_from..token.offset_to,
                stem: token.text.clone(),
                indexed: indexed.contains(&token.offset_from),
            });
        }
        words
    }
}

impl std::fmt::Debug for WordReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WordReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_words_are_read_and_marked() {
        let reader = WordReader::new("english".parse().unwrap());
        let words = reader.words("The Élite was NOT running");
        let read: Vec<(&str, bool)> = words.iter().map(|w| (w.stem.as_str(), w.indexed)).collect();
        // Snowball's English stemmer.
        assert_eq!(
            read,
            [("the", false), ("elit", true), ("was", false), ("not", false), ("run", true)]
        );
        assert_eq!(words[1].span, 4..10);
    }
}
