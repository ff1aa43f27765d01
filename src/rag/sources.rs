//! What an answer may be drawn from: the sentences of the passages, read and encoded together with
//! the question.

use super::passages::Passage;
use super::question::{self, Asks};
use super::words::{Vocabulary, Word, stems};
use crate::encode::{Embedding, Encoder, InputKind, TokenEmbedding};
use crate::error::Result;
use crate::text::sentences;
use std::ops::Range;

/// A question that was read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) words: Vec<Word>,
    pub(super) embedding: TokenEmbedding,
    /// What would answer it.
    pub(super) asks: Asks,
    /// Of its words that count: each stem once, and its tokens' places.
    pub(super) wanted: Vec<Wanted>,
    /// What each token is a part of.
    pub(super) parts: Vec<Part>,
}

/// A stem of a question, and the places of its tokens.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) stem: String,
    pub(super) tokens: Vec<usize>,
}

/// What a token of a question is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// "Who", "why".
    QuestionWord,
    Function,
    /// A word that counts, of what is asked for.
    Main,
    /// A word that counts, of a clause that tells its time or reason.
    Clause,
    /// No word.
    Mark,
}

impl Asked {
    pub(super) fn new(question: &str, words: Vec<Word>, embedding: TokenEmbedding) -> Self {
        let turn = question::turn(question, &words);
        let of_word = |word: &Word, span: &Range<usize>| {
            span.start < word.span.end && word.span.start < span.end
        };
        let mut wanted: Vec<Wanted> = stems(&words)
            .into_iter()
            .map(|stem| Wanted { stem: stem.to_owned(), tokens: Vec::new() })
            .collect();
        wanted.sort_by(|a, b| a.stem.cmp(&b.stem));
        let mut parts = Vec::with_capacity(embedding.spans.len());
        for (token, span) in embedding.spans.iter().enumerate() {
            let Some(word) = words.iter().find(|word| of_word(word, span)) else {
                parts.push(Part::Mark);
                continue;
            };
            if let Some(own) = wanted.iter_mut().find(|own| word.counts() && own.stem == word.stem)
            {
                own.tokens.push(token);
                parts.push(if span.start < turn { Part::Main } else { Part::Clause });
                continue;
            }
            let surface = question.get(word.span.clone()).unwrap_or_default().to_lowercase();
            let asks = question::is_question_word(&surface);
            parts.push(if asks { Part::QuestionWord } else { Part::Function });
        }
        Self { asks: Asks::of(question), words, embedding, wanted, parts }
    }
}

/// A sentence of a passage.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) passage: &'a Passage,
    /// Its bytes in the passage's text.
    pub(super) within: Range<usize>,
    pub(super) words: Vec<Word>,
    pub(super) embedding: TokenEmbedding,
}

impl Source<'_> {
    pub(super) fn text(&self) -> &str {
        self.passage.text.get(self.within.clone()).unwrap_or_default()
    }
}

/// Reads texts: their words, and their vectors where there is an encoder.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) encoder: Option<&'a dyn Encoder>,
}

impl Reader<'_> {
    /// A question and the sentences of the passages, in their order.
    ///
    /// # Errors
    /// Where the encoder fails.
    pub(super) fn read<'t>(
        &self,
        question: &str,
        passages: &'t [Passage],
    ) -> Result<(Asked, Vec<Source<'t>>)> {
        let places: Vec<(&Passage, Range<usize>)> = passages
            .iter()
            .flat_map(|passage| sentences(&passage.text).into_iter().map(move |s| (passage, s)))
            .collect();
        let mut texts: Vec<(&str, InputKind)> = vec![(question, InputKind::Query)];
        texts.extend(places.iter().map(|(passage, span)| {
            (passage.text.get(span.clone()).unwrap_or_default(), InputKind::Document)
        }));
        let mut embeddings = self.embeddings(&texts)?.into_iter();
        let embedding = embeddings.next().unwrap_or_else(nothing);
        let asked = Asked::new(question, self.vocabulary.words(question), embedding);
        let sources = places
            .into_iter()
            .zip(embeddings)
            .map(|((passage, within), embedding)| {
                let text = passage.text.get(within.clone()).unwrap_or_default();
                Source { passage, words: self.vocabulary.words(text), within, embedding }
            })
            .collect();
        Ok((asked, sources))
    }

    /// The vectors of texts; without an encoder, empty ones, which are like nothing.
    pub(super) fn embeddings(&self, texts: &[(&str, InputKind)]) -> Result<Vec<TokenEmbedding>> {
        match self.encoder {
            Some(encoder) => encoder.encode_tokens(texts),
            None => Ok(texts.iter().map(|_| nothing()).collect()),
        }
    }
}

fn nothing() -> TokenEmbedding {
    TokenEmbedding {
        embedding: Embedding { vector: Vec::new(), truncated_tokens: 0 },
        vectors: Vec::new(),
        spans: Vec::new(),
    }
}
