//! Answers that are worked out: by the methods of [`crate::prompting`], with what was found as context.

use super::answer::Answered;
use super::{Answer, AskEvent, AskOptions, Check, OnEvent, Rag};
use crate::error::Result;
use crate::generate::Generator;
use crate::prompting::{Example, Method, Prompter, Task, Templates};
use std::fmt::Write as _;
use std::time::Instant;

/// How the decoder works on a question, other than by a sentence with its passage.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Strategy {
    /// The method.
    pub method: Method,
    /// Questions of the kind with their answers. Default: none.
    pub examples: Vec<Example>,
    /// The prompts. Default: those that come with vdb.
    pub templates: Option<Templates>,
}

impl Strategy {
    /// A method without examples, with the prompts that come with vdb.
    #[must_use]
    pub fn new(method: Method) -> Self {
        Self { method, examples: Vec::new(), templates: None }
    }
}

impl<'a> Rag<'a> {
    /// A model with the prompts and the sandbox of `strategy`.
    pub(super) fn prompter(
        &self,
        generator: &'a dyn Generator,
        strategy: &Strategy,
        options: &AskOptions,
    ) -> Result<Prompter<'a>> {
        let mut prompter = Prompter::new(generator)?.options(options.generate.clone());
        if let Some(templates) = &strategy.templates {
            prompter = prompter.templates(templates.clone());
        }
        #[cfg(feature = "sandbox")]
        if let Some(sandbox) = self.sandbox {
            prompter = prompter.sandbox(sandbox);
        }
        Ok(prompter)
    }
}

/// The texts of passages as one context, each with its number.
pub(super) fn context(excerpts: &[(usize, String)]) -> String {
    let mut context = String::new();
    for (number, text) in excerpts {
        // Writing to a string cannot fail.
        let _ = write!(context, "[{number}] {text}\n\n");
    }
    context
}

/// Lets the decoder work on the question, and compares its reasoning and its answer with the passages.
pub(super) fn work(
    prompter: &Prompter<'_>,
    strategy: &Strategy,
    (question, context): (&str, &str),
    check: &Check<'_>,
    on_event: OnEvent<'_>,
    answer: &mut Answer,
) -> Result<()> {
    let task = Task {
        question,
        context: Some(context).filter(|context| !context.is_empty()),
        examples: &strategy.examples,
    };
    let since = Instant::now();
    let worked =
        prompter.work(&task, strategy.method, &mut |text| on_event(AskEvent::Text(text)))?;
    answer.timings.generation = since.elapsed();
    answer.tokens.prompt = worked.prompt_tokens;
    answer.tokens.generated = worked.generated_tokens;
    answer.prompt = Some(worked.prompt.clone());
    let since = Instant::now();
    if !worked.answer.is_empty() {
        (answer.text, answer.sentences) = check.sentences(&worked.answer)?;
        answer.answered = Answered::Worked;
    }
    if let Some(reasoning) = &worked.reasoning {
        answer.reasoning = check.sentences(reasoning)?.1;
    }
    answer.timings.citations = since.elapsed();
    answer.worked = Some(worked);
    Ok(())
}
