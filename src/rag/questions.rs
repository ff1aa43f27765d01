//! Questions that a decoder writes for passages, as pairs to train an encoder on.
//!
//! A decoder is shown a passage and asked for a question (InPars, Bonifacio et al. 2022; GPL, Wang et
//! al. 2022). Small decoders write much that the passage does not answer, so a question is kept only
//! where a search of the collection finds its passage again (round trip, Alberti et al. 2019).

use crate::db::{Collection, PairKind, PairOptions, TrainingPairs, fold};
use crate::error::{Error, Result};
use crate::generate::{Finish, GenerateOptions, Generator, Message, Role};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// What the decoder is told.
const INSTRUCTION: &str = "You write search questions. You are given a passage. Write one short \
                           question that a reader who has not seen the passage might ask, and that \
                           the passage answers. Write the question and nothing else.";

/// A question of fewer words says nothing.
const LEAST_WORDS: usize = 3;

/// How questions are written.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QuestionOptions {
    /// Passages that are shown to the decoder, by chance. Default: 500.
    pub passages: usize,
    /// A question is kept where its passage is among so many first hits. Default: 10.
    pub within: usize,
    /// How the decoder writes. Default: greedy, 48 tokens, one line.
    pub generate: GenerateOptions,
}

impl Default for QuestionOptions {
    fn default() -> Self {
        let generate = GenerateOptions {
            max_tokens: 48,
            stop: vec!["\n".to_owned()],
            ..GenerateOptions::default()
        };
        Self { passages: 500, within: 10, generate }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuestionReport {
    /// Passages that are to be shown.
    pub of: usize,
    /// Passages that were shown.
    pub passages: usize,
    /// Texts that are no question, or one that was there before.
    pub unfit: usize,
    /// Questions whose passage was not found again.
    pub lost: usize,
    /// Questions that were kept.
    pub kept: usize,
}

/// Lets `generator` write a question for passages of `collection`, and adds those that find their
/// passage again to `pairs`: to measure by for the documents that `options` keep for that, else to
/// learn from. The search is the collection's usual one, with its encoder where it has one.
///
/// `on_passage` is told after each passage, and stops it; what was kept by then stays.
///
/// # Errors
/// [`Error::Parameter`] for options that cannot be; where the decoder or the search fails.
pub fn write_questions(
    collection: &Collection,
    generator: &dyn Generator,
    options: &PairOptions,
    questions: &QuestionOptions,
    pairs: &mut TrainingPairs,
    on_passage: &mut dyn FnMut(&QuestionReport) -> ControlFlow<()>,
) -> Result<QuestionReport> {
    if questions.within == 0 {
        return Err(Error::parameter("within", "0; at least the first hit must count"));
    }
    let passages = collection.some_passages(options, questions.passages)?;
    let mut report = QuestionReport { of: passages.len(), ..QuestionReport::default() };
    let queries = pairs.train.queries.all.iter().chain(&pairs.dev.queries.all);
    let mut known: HashSet<String> = queries.map(|query| fold(query)).collect();
    let mut stopped = false;
    for passage in &passages {
        let Some(written) = write(generator, &passage.text, questions, &mut || {
            let flow = on_passage(&report);
            stopped |= flow.is_break();
            flow
        })?
        else {
            if stopped {
                break;
            }
            report.passages += 1;
            report.unfit += 1;
            continue;
        };
        report.passages += 1;
        let hits = collection.query(&written).top_k(questions.within).run()?;
        if !hits.iter().any(|hit| hit.chunk == passage.number) {
            report.lost += 1;
            continue;
        }
        let (own, counts) = if passage.is_dev {
            (&mut pairs.dev, &mut pairs.report.dev)
        } else {
            (&mut pairs.train, &mut pairs.report.train)
        };
        if !known.insert(fold(&written)) || !own.push_of(&passage.group, &written, &passage.text) {
            report.unfit += 1;
            continue;
        }
        *counts.entry(PairKind::Question).or_default() += 1;
        report.kept += 1;
    }
    let _ = on_passage(&report);
    Ok(report)
}

/// The question that the decoder writes for a passage; none where it wrote none, or was stopped.
fn write(
    generator: &dyn Generator,
    passage: &str,
    options: &QuestionOptions,
    on_text: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<String>> {
    let mut words: Vec<&str> = passage.split_whitespace().collect();
    let room = generator.context().saturating_sub(options.generate.max_tokens);
    let prompt = loop {
        let content = format!("Passage: {}\n\nQuestion:", words.join(" "));
        let prompt = generator.prompt(&[
            Message { role: Role::System, content: INSTRUCTION.to_owned() },
            Message { role: Role::User, content },
        ])?;
        let tokens = generator.count(&prompt)?;
        if tokens <= room || words.is_empty() {
            break prompt;
        }
        // A little less than the share, since tokens are not spread evenly.
        words.truncate(words.len().saturating_mul(room) / tokens.max(1) * 9 / 10);
    };
    let written = generator.generate(&prompt, &options.generate, &mut |_| on_text())?;
    Ok(if written.finish == Finish::Cancelled { None } else { question(&written.text) })
}

/// The first question of a text, without what stands around it; none where it is about the passage
/// itself, which no reader has seen.
fn question(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.trim_start_matches("Question:").trim();
    let end = line.find('?')? + 1;
    let question = line.get(..end)?.trim_start_matches(|c: char| !c.is_alphanumeric());
    let is_about_itself = question.to_lowercase().contains("passage");
    let is_long = question.split_whitespace().count() >= LEAST_WORDS;
    (is_long && !is_about_itself).then(|| question.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_out_of_what_a_decoder_writes() {
        for (text, right) in [
            ("What do bees eat?", Some("What do bees eat?")),
            ("\n \"What do bees eat?\" is a question.", Some("What do bees eat?")),
            ("Question: What do bees eat? And why?", Some("What do bees eat?")),
            ("1. What do bees eat?", Some("1. What do bees eat?")),
            ("Bees eat nectar.", None),
            ("Why so?", None),
            ("What is the passage's answer to that?", None),
            ("", None),
        ] {
            assert_eq!(question(text).as_deref(), right, "{text:?}");
        }
    }
}
