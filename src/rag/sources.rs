//! What an answer may be drawn from: the sentences of the passages, read and encoded together with
//! the question.

use super::passages::Passage;
use super::words::{Vocabulary, Word};
use crate::encode::{Embedding, Encoder, InputKind, TokenEmbedding};
use crate::error::Result;
use crate::text::sentences;
use std::ops::Range;

/// A question that was read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) words: Vec<Word>,
    pub(super) embedding: TokenEmbedding,
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
        let asked = Asked {
            words: self.vocabulary.words(question),
            embedding: embeddings.next().unwrap_or_else(nothing),
        };
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
