//! What comes of a question.

use super::citations::AnswerSentence;
use super::evidence::Evidence;
use super::passages::{Dropped, Passage};
use crate::generate::Finish;
use crate::prompting::Worked;
use crate::tokenize::Prompt;
use std::fmt;
use std::time::Duration;

/// An answer with what it rests on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answer {
    /// What was asked, as it was understood: in a chat, the question that stands alone.
    pub question: String,
    /// Where the text comes from.
    pub answered: Answered,
    /// The answer, without markers. Empty where the documents do not hold it.
    pub text: String,
    /// Its sentences, each with what supports it.
    pub sentences: Vec<AnswerSentence>,
    /// What the decoder wrote, where it wrote anything. Where nothing of it is supported, the answer
    /// is the evidence, and this stands beside it.
    pub generated: Option<Generated>,
    /// What was worked out, where a [`Strategy`](super::Strategy) was asked for: samples, programs, what
    /// the model read and wrote.
    pub worked: Option<Worked>,
    /// The sentences of the reasoning that led to the answer, each with what supports it.
    pub reasoning: Vec<AnswerSentence>,
    /// The sentences that are likeliest to hold the answer, best first.
    pub evidence: Vec<Evidence>,
    /// What was found, most relevant first.
    pub passages: Vec<Passage>,
    /// What was found and left out.
    pub dropped: Vec<Dropped>,
    /// Probability that the passages hold an answer, 0 to 1.
    pub confidence: f32,
    /// What the decoder read; none where it was not asked.
    pub prompt: Option<Prompt>,
    /// Tokens of the decoder.
    pub tokens: Tokens,
    /// What took how long.
    pub timings: Timings,
}

/// Where the text of an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// The decoder wrote it, and some of it is supported.
    Generated,
    /// The decoder chose words that stand in the evidence.
    Quote,
    /// The decoder worked it out, by a [`Strategy`](super::Strategy); whether a passage supports it stands
    /// beside each sentence, and of a number that was computed none does.
    Worked,
    /// It is the first sentence of the evidence.
    Evidence,
    /// The documents do not hold it.
    NotFound,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generated => "generated",
            Self::Quote => "quote",
            Self::Worked => "worked out",
            Self::Evidence => "evidence",
            Self::NotFound => "not found",
        })
    }
}

/// A text that the decoder wrote.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Generated {
    /// The text as it was written, markers included.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Its sentences, each with what supports it.
    pub sentences: Vec<AnswerSentence>,
}

/// Tokens of the decoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Of the prompt.
    pub prompt: usize,
    /// Of those: read for an earlier question already.
    pub reused: usize,
    /// Written.
    pub generated: usize,
}

/// What took how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Rewriting a question of a chat.
    pub rewriting: Duration,
    /// Finding passages.
    pub retrieval: Duration,
    /// Reading them and ranking their sentences.
    pub evidence: Duration,
    /// From the call of the decoder to its first token.
    pub first_token: Duration,
    /// All of the decoder's work.
    pub generation: Duration,
    /// Checking what it wrote.
    pub citations: Duration,
    /// Everything.
    pub total: Duration,
}

impl Answer {
    /// The text with the number of the passage after each sentence that one supports.
    #[must_use]
    pub fn cited(&self) -> String {
        let mut text = String::new();
        for sentence in &self.sentences {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&sentence.text);
            if let Some(citation) = &sentence.citation {
                text.push_str(" [");
                text.push_str(&citation.passage.to_string());
                text.push(']');
            }
        }
        text
    }
}
