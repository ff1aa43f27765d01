//! What comes of a question.

use crate::generate::Finish;
#[cfg(feature = "sandbox")]
use crate::sandbox::Run;
use crate::tokenize::Prompt;
use std::time::Duration;

/// An answer, and what led to it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Worked {
    /// The answer; empty where there is none.
    pub answer: String,
    /// What the model reasoned before it, of the sample whose answer was taken.
    pub reasoning: Option<String>,
    /// The answers of all samples, the most frequent first; of equal ones the one that came first.
    pub votes: Vec<Vote>,
    /// The programs that were written, in their order, and what came of each.
    #[cfg(feature = "sandbox")]
    pub programs: Vec<Attempt>,
    /// What the model read for the answer that was taken, the last time it was asked.
    pub prompt: Prompt,
    /// Examples that were left out, as they did not fit.
    pub examples_dropped: usize,
    /// Why the model ended, the last time.
    pub finish: Finish,
    /// Tokens that the model read and wrote, altogether.
    pub prompt_tokens: usize,
    /// See [`Worked::prompt_tokens`].
    pub generated_tokens: usize,
    /// From the call to its end.
    pub time: Duration,
}

/// How many samples came to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vote {
    /// The answer as it was written first.
    pub answer: String,
    /// Samples that came to it, compared as [`metric::normal`](super::metric::normal) has it.
    pub count: usize,
}

/// A program that the model wrote.
#[cfg(feature = "sandbox")]
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Attempt {
    /// The program.
    pub program: String,
    /// What came of it.
    pub run: Run,
}
