//! How a question is answered.

use super::confidence::ANSWERABLE;
use super::strategy::Strategy;
use crate::db::Mode;
use crate::error::{Error, Result};
use crate::generate::GenerateOptions;
use crate::index::Filter;

/// More passages than an answer can rest on.
const MOST_PASSAGES: usize = 1000;

/// Where the text of an answer may come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// The decoder writes freely, and what it writes is checked.
    #[default]
    Free,
    /// The decoder writes only what stands in the evidence, word for word.
    Quote,
    /// The evidence alone; no decoder is asked.
    Extractive,
}

/// What the decoder reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Context {
    /// The best sentences with their neighbours.
    #[default]
    Evidence,
    /// The passages whole. Prompts of questions on the same passages then begin alike, and a decoder
    /// reads that part once.
    Passages,
}

/// How a question is answered.
#[derive(Debug, Clone)]
pub struct AskOptions {
    /// Chunks that an answer is drawn from, 1 to 1,000: the best by their words of four times as many
    /// that are searched for. Default: 5.
    pub top_k: usize,
    /// Only documents that this matches. Default: all.
    pub filter: Option<Filter>,
    /// What the search goes by. Default: the collection's usual one.
    pub mode: Option<Mode>,
    /// Sentences of evidence that are shown, at least 1. Default: 3.
    pub evidence: usize,
    /// Sentences that the decoder reads with their neighbours, at least 1. Default: 3.
    pub sentences: usize,
    /// What the decoder reads. Default: evidence.
    pub context: Context,
    /// Tokens of what the decoder reads beside instruction and question. Default: 1,024.
    pub budget: usize,
    /// Where the text may come from. Default: free.
    pub style: Style,
    /// How the decoder works on the question, other than by a sentence with its passage. With it, the
    /// constraint of `generate` is that of the answer. Default: none.
    pub strategy: Option<Strategy>,
    /// Below this probability that the passages hold an answer, none is given: 0 to 1. Default:
    /// 0.5, as calibrated.
    pub min_confidence: f32,
    /// How the decoder writes; its constraint is the style's. Default: greedy, 96 tokens.
    pub generate: GenerateOptions,
}

impl Default for AskOptions {
    fn default() -> Self {
        Self {
            top_k: 5,
            filter: None,
            mode: None,
            evidence: 3,
            sentences: 3,
            context: Context::default(),
            budget: 1024,
            style: Style::default(),
            strategy: None,
            min_confidence: ANSWERABLE,
            generate: GenerateOptions { max_tokens: 96, ..GenerateOptions::default() },
        }
    }
}

impl AskOptions {
    pub(super) fn check(&self, question: &str) -> Result<()> {
        if question.trim().is_empty() {
            return Err(Error::parameter("question", "it is empty; a question is needed"));
        }
        if !(1..=MOST_PASSAGES).contains(&self.top_k) {
            return Err(Error::parameter(
                "top_k",
                format!("{}; from 1 to {MOST_PASSAGES} are allowed", self.top_k),
            ));
        }
        for (name, value) in
            [("evidence", self.evidence), ("sentences", self.sentences), ("budget", self.budget)]
        {
            if value == 0 {
                return Err(Error::parameter(name, "0; at least 1 is needed"));
            }
        }
        if !(0.0..=1.0).contains(&self.min_confidence) {
            return Err(Error::parameter(
                "min_confidence",
                format!("{}; from 0 to 1 is allowed", self.min_confidence),
            ));
        }
        Ok(())
    }
}
