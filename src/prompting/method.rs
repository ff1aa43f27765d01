//! What is asked, and how.

use super::Example;
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Most samples of one question.
const MOST_SAMPLES: usize = 64;

/// A question to be worked on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Task<'t> {
    /// The question.
    pub question: &'t str,
    /// Where the answer stands, or may stand.
    pub context: Option<&'t str>,
    /// Questions of the kind with their answers, shown before it in this order. What does not fit is left
    /// out from the front.
    pub examples: &'t [Example],
}

/// How a question is worked on.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// The model answers.
    Direct,
    /// The model reasons first. With more than one sample, the answer that most of them come to; they
    /// are drawn at `temperature`.
    ChainOfThought {
        /// How often it is worked on, 1 to 64.
        samples: usize,
        /// Of the draws, where there are several. Wang et al. take 0.5 to 0.7.
        temperature: f32,
    },
    /// The model writes a program, and its value is the answer. One that fails is given back with its
    /// error, `repairs` times.
    #[cfg(feature = "sandbox")]
    Program {
        /// How often a program that fails is given back.
        repairs: usize,
    },
}

impl Method {
    /// Its name, by which its template is found, too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ChainOfThought { samples: 0 | 1, .. } => "chain-of-thought",
            Self::ChainOfThought { .. } => "self-consistency",
            #[cfg(feature = "sandbox")]
            Self::Program { .. } => "program",
        }
    }

    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::ChainOfThought { samples, temperature } => {
                if !(1..=MOST_SAMPLES).contains(&samples) {
                    let reason = format!("{samples}; from 1 to {MOST_SAMPLES}");
                    return Err(Error::parameter("samples", reason));
                }
                if samples > 1 && !(temperature.is_finite() && temperature > 0.0) {
                    return Err(Error::parameter(
                        "temperature",
                        format!("{temperature}; more than 0, or all samples are the same"),
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    /// With five samples where there are several, and one repair.
    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "direct" => Self::Direct,
            "chain-of-thought" | "cot" => Self::ChainOfThought { samples: 1, temperature: 0.7 },
            "self-consistency" => Self::ChainOfThought { samples: 5, temperature: 0.7 },
            #[cfg(feature = "sandbox")]
            "program" | "pal" => Self::Program { repairs: 1 },
            _ => {
                let there = "direct, chain-of-thought (cot), self-consistency and program (pal)";
                return Err(Error::parameter("strategy", format!("{name:?}; there are {there}")));
            }
        })
    }
}
