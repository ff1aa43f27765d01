//! The work itself: prompts, generations, and what is made of them.

use super::example::Example;
use super::metric::normal;
#[cfg(feature = "sandbox")]
use super::outcome::Attempt;
#[cfg(feature = "sandbox")]
use super::program;
use super::templates::Values;
use super::{Method, Task, Templates, Vote, Worked, reasoning};
use crate::error::Result;
use crate::generate::{Finish, GenerateOptions, Generation, Generator, Message, Role, Sampling};
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;
use crate::tokenize::Prompt;
use std::ops::ControlFlow;
use std::time::Instant;

/// Tokens of an answer that is drawn from reasoning.
const CONCLUSION: usize = 48;

/// Is handed what the model writes; where it breaks, the model ends, and what was written stays.
pub type OnText<'t> = &'t mut dyn FnMut(&str) -> ControlFlow<()>;

/// Works on questions with one model.
#[derive(Clone)]
pub struct Prompter<'a> {
    generator: &'a dyn Generator,
    templates: Templates,
    options: GenerateOptions,
    #[cfg(feature = "sandbox")]
    sandbox: Option<&'a Sandbox>,
}

/// A question under way.
struct Work {
    prompt: Prompt,
    dropped: usize,
    finish: Finish,
    read: usize,
    written: usize,
    began: Instant,
}

impl<'a> Prompter<'a> {
    /// With the prompts that come with vdb, always the likeliest token, and 256 tokens at most.
    ///
    /// # Errors
    /// Those of [`Templates::built_in`].
    pub fn new(generator: &'a dyn Generator) -> Result<Self> {
        Ok(Self {
            generator,
            templates: Templates::built_in()?,
            options: GenerateOptions::default(),
            #[cfg(feature = "sandbox")]
            sandbox: None,
        })
    }

    /// Other prompts.
    #[must_use]
    pub fn templates(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    /// How the model writes. A constraint is for the answer, not for the reasoning before it.
    #[must_use]
    pub fn options(mut self, options: GenerateOptions) -> Self {
        self.options = options;
        self
    }

    /// Where programs are run.
    #[cfg(feature = "sandbox")]
    #[must_use]
    pub fn sandbox(mut self, sandbox: &'a Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// What the model would read first, and how many examples would be left out.
    ///
    /// # Errors
    /// Those of the templates and of [`Generator::prompt`].
    pub fn prompt(&self, task: &Task<'_>, method: Method) -> Result<(Prompt, usize)> {
        let (messages, dropped) = self.messages(task, method)?;
        Ok((self.generator.prompt(&messages)?, dropped))
    }

    /// Works on a question.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for a method that cannot be, or a program without a sandbox;
    /// [`crate::Error::ContextExceeded`] for a question that does not fit without examples, either; those of the
    /// templates, of [`Generator::generate`] and of [`Sandbox::run`](crate::sandbox::Sandbox::run).
    pub fn work(&self, task: &Task<'_>, method: Method, on_text: OnText<'_>) -> Result<Worked> {
        method.check()?;
        let (messages, dropped) = self.messages(task, method)?;
        let mut work = Work {
            prompt: Prompt::new(),
            dropped,
            finish: Finish::Stop,
            read: 0,
            written: 0,
            began: Instant::now(),
        };
        match method {
            Method::Direct => {
                let written = self.write(&messages, &self.options, &mut work, on_text)?;
                Ok(work.ended(written.text.trim().to_owned(), None))
            }
            Method::ChainOfThought { samples, temperature } => {
                self.reason(&messages, (samples, temperature), work, on_text)
            }
            #[cfg(feature = "sandbox")]
            Method::Program { repairs } => self.program(messages, repairs, work, on_text),
        }
    }

    /// The messages of a question with as many examples as fit, and how many did not.
    fn messages(&self, task: &Task<'_>, method: Method) -> Result<(Vec<Message>, usize)> {
        let name = match method {
            Method::ChainOfThought { .. } => "chain-of-thought",
            other => other.name(),
        };
        let template = self.templates.get(name)?;
        let examples: Vec<Example> =
            task.examples.iter().filter(|example| suits(example, method)).cloned().collect();
        let unsuited = task.examples.len() - examples.len();
        let room = self.generator.context().saturating_sub(self.options.max_tokens);
        let mut left = examples.as_slice();
        loop {
            let messages = template.messages(task, left)?;
            let tokens = self.generator.count(&self.generator.prompt(&messages)?)?;
            if tokens <= room || left.is_empty() {
                return Ok((messages, unsuited + examples.len() - left.len()));
            }
            left = left.get(1..).unwrap_or_default();
        }
    }

    fn write(
        &self,
        messages: &[Message],
        options: &GenerateOptions,
        work: &mut Work,
        on_text: OnText<'_>,
    ) -> Result<Generation> {
        work.prompt = self.generator.prompt(messages)?;
        let written = self.generator.generate(&work.prompt, options, on_text)?;
        work.read += written.prompt_tokens;
        work.written += written.generated_tokens;
        work.finish = written.finish;
        Ok(written)
    }

    fn reason(
        &self,
        messages: &[Message],
        (samples, temperature): (usize, f32),
        mut work: Work,
        on_text: OnText<'_>,
    ) -> Result<Worked> {
        let mut votes: Vec<(String, Vote, String, Prompt)> = Vec::new();
        for nth in 0..samples {
            let mut options = GenerateOptions { constraint: None, ..self.options.clone() };
            if samples > 1 {
                let seed = self.options.sampling.seed.wrapping_add(nth as u64);
                options.sampling = Sampling { temperature, seed, ..self.options.sampling.clone() };
            }
            let text = self.write(messages, &options, &mut work, on_text)?.text;
            if work.is_over() {
                break;
            }
            let (thought, answer) = match reasoning::split(&text) {
                Some((thought, answer)) if self.options.constraint.is_none() => {
                    (thought.to_owned(), answer.to_owned())
                }
                _ => {
                    let answer = self.conclude(messages, &text, &mut work, on_text)?;
                    (text.trim().to_owned(), answer)
                }
            };
            if work.is_over() {
                break;
            }
            let plain = normal(&answer);
            if let Some((_, vote, ..)) = votes.iter_mut().find(|(known, ..)| *known == plain) {
                vote.count += 1;
            } else {
                let vote = Vote { answer, count: 1 };
                votes.push((plain, vote, thought, work.prompt.clone()));
            }
        }
        // Stable: of equally frequent answers the one that came first.
        votes.sort_by_key(|(_, vote, ..)| std::cmp::Reverse(vote.count));
        let Some((_, first, thought, prompt)) = votes.first().cloned() else {
            return Ok(work.ended(String::new(), None));
        };
        work.prompt = prompt;
        let mut worked = work.ended(first.answer, Some(thought).filter(|text| !text.is_empty()));
        worked.votes = votes.into_iter().map(|(_, vote, ..)| vote).collect();
        Ok(worked)
    }

    /// The answer that reasoning comes to, asked for (Kojima et al. 2022).
    fn conclude(
        &self,
        messages: &[Message],
        thought: &str,
        work: &mut Work,
        on_text: OnText<'_>,
    ) -> Result<String> {
        let mut messages = messages.to_vec();
        messages.push(Message { role: Role::Assistant, content: thought.trim().to_owned() });
        messages.push(self.templates.get("conclusion")?.next(&Values::default())?);
        let options = GenerateOptions {
            max_tokens: if self.options.constraint.is_some() {
                self.options.max_tokens
            } else {
                self.options.max_tokens.min(CONCLUSION)
            },
            ..self.options.clone()
        };
        let text = self.write(&messages, &options, work, on_text)?.text;
        if self.options.constraint.is_some() {
            return Ok(text.trim().to_owned());
        }
        let answer = reasoning::split(&text).map_or(text.trim(), |(_, answer)| answer);
        Ok(answer.lines().next().unwrap_or_default().trim_end_matches('.').to_owned())
    }

    #[cfg(feature = "sandbox")]
    fn program(
        &self,
        mut messages: Vec<Message>,
        repairs: usize,
        mut work: Work,
        on_text: OnText<'_>,
    ) -> Result<Worked> {
        let Some(sandbox) = self.sandbox else {
            return Err(crate::Error::parameter("sandbox", "programs need one to run in"));
        };
        let options = GenerateOptions { constraint: None, ..self.options.clone() };
        let mut programs: Vec<Attempt> = Vec::new();
        let mut answer = None;
        for _ in 0..=repairs {
            let written = self.write(&messages, &options, &mut work, on_text)?;
            if work.is_over() {
                break;
            }
            let program = program::code(&written.text);
            let run = sandbox.run(&program)?;
            answer = program::answer(&run);
            let failed = program::failure(&run);
            programs.push(Attempt { program, run });
            let Some(error) = failed else { break };
            messages.push(Message { role: Role::Assistant, content: written.text });
            let values = Values { error: &error, ..Values::default() };
            messages.push(self.templates.get("repair")?.next(&values)?);
        }
        let mut worked = work.ended(answer.unwrap_or_default(), None);
        worked.programs = programs;
        Ok(worked)
    }
}

/// Whether an example shows how it is done; one without reasoning shows no reasoning.
fn suits(example: &Example, method: Method) -> bool {
    match method {
        Method::Direct => true,
        Method::ChainOfThought { .. } => example.reasoning.is_some(),
        #[cfg(feature = "sandbox")]
        Method::Program { .. } => example.program.is_some(),
    }
}

impl Work {
    /// Whether the caller or the clock has ended it.
    fn is_over(&self) -> bool {
        matches!(self.finish, Finish::Cancelled | Finish::TimeLimit)
    }

    fn ended(self, answer: String, reasoning: Option<String>) -> Worked {
        Worked {
            answer,
            reasoning,
            votes: Vec::new(),
            #[cfg(feature = "sandbox")]
            programs: Vec::new(),
            prompt: self.prompt,
            examples_dropped: self.dropped,
            finish: self.finish,
            prompt_tokens: self.read,
            generated_tokens: self.written,
            time: self.began.elapsed(),
        }
    }
}

impl std::fmt::Debug for Prompter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prompter").field("options", &self.options).finish_non_exhaustive()
    }
}
