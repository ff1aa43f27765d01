//! From a prompt to text: the seam that every generator stands behind, and the decoder that runs here.
//!
//! A [`Decoder`] turns a prompt into logits, a [`Sampler`] chooses a token, a [`Matcher`] keeps it inside
//! a [`Constraint`], and [`Pieces`] makes whole characters of the tokens' bytes and ends the text at a
//! stop string.

mod constraint;
mod decoder;
mod open;
mod pieces;
mod remote;
mod sampling;
mod sequences;
mod stops;
pub mod template;
mod turn;
mod watch;
mod writer;

pub use constraint::{Constraint, Encode, Matcher, Unit, Vocabulary};
pub use decoder::{Decoder, DecoderOptions, DecoderSpec};
pub use pieces::Pieces;
pub use remote::{RemoteGenerator, RemoteOptions};
pub use sampling::{Sampler, Sampling};
pub use stops::Stops;
pub use template::{ChatTemplate, Message, Role};

#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::tokenize::Prompt;
use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

/// Writes text that goes on from a prompt. Shared by threads.
pub trait Generator: Send + Sync {
    /// Tokens that prompt and generated text have together at most.
    fn context(&self) -> usize;

    /// Tokens of a prompt.
    ///
    /// # Errors
    /// Where the tokenizer refuses it.
    fn count(&self, prompt: &Prompt) -> Result<usize>;

    /// A conversation in the model's own form, ready for its answer.
    ///
    /// # Errors
    /// [`Error::Model`] where the model has no chat template, or it fails on these messages.
    fn prompt(&self, messages: &[Message]) -> Result<Prompt>;

    /// Goes on from `prompt`. `on_text` is handed the text as it comes, in whole characters; while
    /// there is none, as when a long prompt is read, it is called with an empty text from time to
    /// time. Where it breaks, generation ends at once with [`Finish::Cancelled`], and what was
    /// written stays.
    ///
    /// # Errors
    /// [`Error::ContextExceeded`] for a prompt that leaves no room, before anything is run;
    /// [`Error::Parameter`] for options that make no sense; [`Error::Model`] where the model fails.
    fn generate(
        &self,
        prompt: &Prompt,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation>;
}

/// How to generate.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// How a token is chosen. Default: always the likeliest.
    pub sampling: Sampling,
    /// Tokens generated at most; fewer where the context ends before. Default: 256.
    pub max_tokens: usize,
    /// Texts that end the generation; they are not part of it. Default: none.
    pub stop: Vec<String>,
    /// From the call on; reading the prompt counts. Default: none.
    pub time_limit: Option<Duration>,
    /// What the text must look like. Default: anything.
    pub constraint: Option<Constraint>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            sampling: Sampling::default(),
            max_tokens: 256,
            stop: Vec::new(),
            time_limit: None,
            constraint: None,
        }
    }
}

/// A text that was generated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Generation {
    /// The text, without prompt and stop text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that had been read for an earlier prompt.
    pub reused_tokens: usize,
    /// Tokens that were generated, one that ends the text included.
    pub generated_tokens: usize,
    /// Until the first token was chosen: reading the prompt. The total where none was.
    pub first_token: Duration,
    /// From the call to its end.
    pub total: Duration,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finish {
    /// The model ended it, a stop text came, or what was asked for is complete.
    #[default]
    Stop,
    /// As many tokens as were allowed, or as the context holds.
    Length,
    /// The caller ended it.
    Cancelled,
    /// Its time was over.
    TimeLimit,
}

impl fmt::Display for Finish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::TimeLimit => "time limit",
        })
    }
}
