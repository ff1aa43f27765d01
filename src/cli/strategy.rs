//! How a question is worked on, in `ask`, `chat` and `eval-answers`

use crate::error::Result;
use crate::prompting::{Example, Method, Templates};
use crate::rag::Strategy;
use clap::Args;
use std::path::PathBuf;

/// Tokens for reasoning, or a program, and the answer.
const TOKENS: usize = 384;

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "How the question is worked on")]
pub(super) struct StrategyArguments {
    /// direct, chain-of-thought (cot), self-consistency, or program (pal): Python in a sandbox [default:
    /// one sentence with its passage]
    #[arg(long, value_name = "NAME")]
    strategy: Option<Method>,
    /// Examples: JSON lines with question and answer, and for their methods reasoning or program
    #[arg(long, value_name = "FILE", requires = "strategy")]
    examples: Option<PathBuf>,
    /// self-consistency: how often it is worked on
    #[arg(long, value_name = "N", requires = "strategy")]
    samples: Option<usize>,
    /// Prompts of your own: a folder with files as `vdb prompts DIR` writes them
    #[arg(long, value_name = "DIR", requires = "strategy")]
    prompts: Option<PathBuf>,
    /// Show what led to the answer
    #[arg(long, requires = "strategy")]
    show_reasoning: bool,
    /// Show programs and what came of them
    #[arg(long, requires = "strategy")]
    show_program: bool,
}

/// What of the work is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Show {
    pub(super) reasoning: bool,
    pub(super) program: bool,
}

impl StrategyArguments {
    pub(super) fn show(&self) -> Show {
        Show { reasoning: self.show_reasoning, program: self.show_program }
    }

    /// Tokens that the decoder writes at most, where no number is named.
    pub(super) fn usual_tokens(&self, otherwise: usize) -> usize {
        if self.strategy.is_some() { TOKENS } else { otherwise }
    }

    pub(super) fn method(&self) -> Option<Method> {
        match (self.strategy?, self.samples) {
            (Method::ChainOfThought { temperature, .. }, Some(samples)) => {
                Some(Method::ChainOfThought { samples, temperature })
            }
            (method, _) => Some(method),
        }
    }

    pub(super) fn strategy(&self) -> Result<Option<Strategy>> {
        let Some(method) = self.method() else { return Ok(None) };
        let mut strategy = Strategy::new(method);
        if let Some(file) = &self.examples {
            strategy.examples = Example::read(file)?;
        }
        strategy.templates = self.prompts.as_deref().map(Templates::from_folder).transpose()?;
        Ok(Some(strategy))
    }
}
