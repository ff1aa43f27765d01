//! A conversation: each question is made to stand alone, then asked like any other.

use super::follow_up::{Question, Turn, standalone};
use super::{Answer, AskEvent, AskOptions, OnEvent, Passage, Rag, Style};
use crate::error::Result;
use std::time::Instant;

/// Turns that are remembered; questions point back to the last ones.
const MOST_TURNS: usize = 8;

/// A conversation with a [`Rag`].
#[derive(Debug)]
pub struct Chat<'a> {
    rag: &'a Rag<'a>,
    turns: Vec<Turn>,
}

impl<'a> Chat<'a> {
    pub(super) fn new(rag: &'a Rag<'a>) -> Self {
        Self { rag, turns: Vec::new() }
    }

    /// Answers a question that may point back to earlier ones: [`Answer::question`] says how it was
    /// understood. `on_event` is called with an empty text while the question is rewritten.
    ///
    /// # Errors
    /// Those of [`Rag::ask`].
    pub fn ask(
        &mut self,
        question: &str,
        options: &AskOptions,
        on_event: OnEvent<'_>,
    ) -> Result<Answer> {
        self.turn(question, options, on_event, |rag, question, on_event| {
            rag.ask_as(question, options, on_event)
        })
    }

    /// The same from these passages.
    ///
    /// # Errors
    /// Those of [`Rag::ask`].
    pub fn ask_passages(
        &mut self,
        question: &str,
        passages: Vec<Passage>,
        options: &AskOptions,
        on_event: OnEvent<'_>,
    ) -> Result<Answer> {
        self.turn(question, options, on_event, |rag, question, on_event| {
            rag.ask_passages_as(question, passages, options, on_event)
        })
    }

    /// Forgets what was said.
    pub fn clear(&mut self) {
        self.turns.clear();
    }

    fn turn(
        &mut self,
        question: &str,
        options: &AskOptions,
        on_event: OnEvent<'_>,
        ask: impl FnOnce(&Rag<'_>, &Question<'_>, OnEvent<'_>) -> Result<Answer>,
    ) -> Result<Answer> {
        options.check(question)?;
        let start = Instant::now();
        let generator = self.rag.generator.filter(|_| options.style != Style::Extractive);
        let question =
            standalone(question, &self.turns, &self.rag.vocabulary, generator, &mut || {
                on_event(AskEvent::Text(""))
            })?;
        let rewriting = start.elapsed();
        let mut answer = ask(self.rag, &question, on_event)?;
        answer.timings.rewriting = rewriting;
        answer.timings.total += rewriting;
        if self.turns.len() == MOST_TURNS {
            self.turns.remove(0);
        }
        self.turns.push(Turn { question: question.text.into_owned(), answer: answer.text.clone() });
        Ok(answer)
    }
}
