//! Ways to ask a model: directly, with examples, step by step, by a program.
//!
//! Each works with any [`Generator`](crate::generate::Generator). A [`Task`] is a question, perhaps with
//! a context in which its answer stands; a [`Method`] says how it is worked on; [`Prompter::work`] does
//! it, and [`Worked`] has the answer and everything that led to it. What question, context and
//! examples say is content of messages, and never becomes their form.
//!
//! | method | source |
//! |---|---|
//! | direct, with examples | few-shot prompting: Brown et al. 2020 |
//! | step by step | chain of thought: Wei et al. 2022; without examples: Kojima et al. 2022 |
//! | several times, by majority | self-consistency: Wang et al. 2023 |
//! | by a program (feature `sandbox`) | PAL: Gao et al. 2023 |

mod evaluation;
mod example;
mod method;
pub mod metric;
mod outcome;
#[cfg(feature = "sandbox")]
mod program;
mod reasoning;
mod templates;
mod writing;

pub use evaluation::{Asked, Scored, Share};
pub use example::{Example, nearest};
pub use method::{Method, Task};
#[cfg(feature = "sandbox")]
pub use outcome::Attempt;
pub use outcome::{Vote, Worked};
pub use templates::{PromptTemplate, Templates};
pub use writing::{OnText, Prompter};
