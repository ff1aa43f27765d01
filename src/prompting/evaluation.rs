//! How often a method comes to the right answer, on questions with known ones.

use super::metric::{f1, is_exact, last_number, number};
use super::{Example, Method, Prompter, Task, Worked};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::io::BufRead as _;
use std::ops::ControlFlow;
use std::path::Path;

/// The quantile of the normal distribution that leaves 2.5 % above it.
const QUANTILE: f64 = 1.959_963_984_540_054;

/// A question with its right answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// The question.
    pub question: String,
    /// Where the answer stands.
    pub context: Option<String>,
    /// Each of them is right.
    pub answers: Vec<String>,
}

/// A line of a question file.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "input", alias = "query")]
    question: String,
    #[serde(default, alias = "passage")]
    context: Option<String>,
    #[serde(default, alias = "target")]
    answer: Option<Answer>,
    #[serde(default)]
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Text(String),
    Number(serde_json::Number),
}

impl Asked {
    /// The questions of a file of JSON lines, each an object with `question` (or `input`, `query`) and
    /// `answer` (or `target`, a number too) or `answers`, and perhaps `context`. Of an answer that shows its
    /// reasoning as GSM8K's do, what stands behind `####` is the answer.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] naming the line that is none, and for a file without questions.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let refuse = |line: Option<u64>, reason: String| Error::Parse {
            origin: path.display().to_string(),
            line,
            reason,
        };
        let mut all = Vec::new();
        for (nth, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
            let line = line.map_err(Error::io("read", path))?;
            if line.trim().is_empty() {
                continue;
            }
            let Line { question, context, answer, answers } =
                serde_json::from_str(&line).map_err(|e| {
                    refuse(Some(nth), format!("expected a question with its answer: {e}"))
                })?;
            let text = |answer| match answer {
                Answer::Text(text) => {
                    let last = text.rsplit("####").next().unwrap_or_default();
                    last.trim().to_owned()
                }
                Answer::Number(number) => number.to_string(),
            };
            let answers: Vec<String> = answer.into_iter().chain(answers).map(text).collect();
            if question.trim().is_empty() || answers.iter().all(String::is_empty) {
                return Err(refuse(Some(nth), "it has no question, or no answer".to_owned()));
            }
            all.push(Self { question, context, answers });
        }
        if all.is_empty() {
            return Err(refuse(None, "it holds no question".to_owned()));
        }
        Ok(all)
    }
}

/// What came of one question.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Scored {
    /// What was worked out.
    pub worked: Worked,
    /// Whether it is one of the right answers ([`is_exact`]).
    pub exact: bool,
    /// The words that it shares with one ([`f1`]), from 0 to 1.
    pub f1: f64,
    /// Whether its last number is the right one, within a thousandth; none where the right answer is no
    /// number.
    pub numeric: Option<bool>,
}

/// A share of questions, with its interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Share {
    /// The share, from 0 to 1.
    pub share: f64,
    /// The lower end of its 95 % interval (Wilson 1927).
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Of so many questions.
    pub of: usize,
}

impl Share {
    /// So many of `of`.
    #[must_use]
    pub fn new(right: f64, of: usize) -> Self {
        let n = of as f64;
        if of == 0 {
            return Self::default();
        }
        let share = right / n;
        let square = QUANTILE * QUANTILE;
        let middle = (share + square / (2.0 * n)) / (1.0 + square / n);
        let spread = QUANTILE * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt()
            / (1.0 + square / n);
        Self { share, low: (middle - spread).max(0.0), high: (middle + spread).min(1.0), of }
    }

    /// Of the answers of `scored` that `right` says something about.
    pub fn of(scored: &[Scored], right: impl Fn(&Scored) -> Option<bool>) -> Self {
        let known: Vec<bool> = scored.iter().filter_map(right).collect();
        Self::new(known.iter().filter(|right| **right).count() as f64, known.len())
    }
}

impl Prompter<'_> {
    /// Works on every question, with `examples` before each, and compares the answers with the right
    /// ones. `on_question` is told each, and stops it: what was done by then is returned.
    ///
    /// # Errors
    /// Those of [`Prompter::work`].
    pub fn evaluate(
        &self,
        questions: &[Asked],
        method: Method,
        examples: &[Example],
        on_question: &mut dyn FnMut(&Asked, &Scored) -> ControlFlow<()>,
    ) -> Result<Vec<Scored>> {
        let mut all = Vec::with_capacity(questions.len());
        for asked in questions {
            let task =
                Task { question: &asked.question, context: asked.context.as_deref(), examples };
            let worked = self.work(&task, method, &mut |_| ControlFlow::Continue(()))?;
            let scored = Scored::new(worked, &asked.answers);
            let flow = on_question(asked, &scored);
            all.push(scored);
            if flow.is_break() {
                break;
            }
        }
        Ok(all)
    }
}

impl Scored {
    fn new(worked: Worked, answers: &[String]) -> Self {
        let right: Vec<&str> = answers.iter().map(String::as_str).collect();
        let numbers: Vec<f64> = right.iter().filter_map(|answer| number(answer)).collect();
        let numeric = (!numbers.is_empty()).then(|| {
            let found =
                number(&worked.answer).or_else(|| last_number(&worked.answer).and_then(number));
            let is_near = |right: &f64| {
                found.is_some_and(|found| (found - right).abs() <= 1e-3 * right.abs().max(1e-9))
            };
            numbers.iter().any(is_near)
        });
        Self {
            exact: is_exact(&worked.answer, &right),
            f1: f1(&worked.answer, &right),
            numeric,
            worked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wilson's interval of 30 of 40 by scipy's binomtest(30, 40).proportion_ci(method="wilson").
    #[test]
    fn intervals_are_wilsons() {
        let share = Share::new(30.0, 40);
        assert!((share.low - 0.598_060_385_8).abs() < 1e-9, "{share:?}");
        assert!((share.high - 0.858_128_813_6).abs() < 1e-9, "{share:?}");
        assert_eq!(Share::new(0.0, 0), Share::default());
        assert!(Share::new(0.0, 10).low.abs() < 1e-12);
    }

    #[test]
    fn questions_are_read_in_the_forms_of_the_benchmarks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("q.jsonl");
        let lines = concat!(
            "{\"input\":\"a?\",\"target\":51.0}\n\n",
            "{\"question\":\"b?\",\"answer\":\"2+2=4\\n#### 4\",\"context\":\"c\"}\n",
            "{\"question\":\"d?\",\"answers\":[\"e\",\"f\"]}\n",
        );
        std::fs::write(&path, lines).unwrap();
        let found = Asked::read(&path).unwrap();
        let answers: Vec<&[String]> = found.iter().map(|asked| asked.answers.as_slice()).collect();
        assert_eq!(
            answers,
            [&["51.0".to_owned()][..], &["4".to_owned()], &["e".to_owned(), "f".to_owned()]]
        );
        assert_eq!(found[1].context.as_deref(), Some("c"));
        for (text, words) in [
            ("", "it holds no question"),
            ("{\"question\":\"a\"}", "q.jsonl:1: it has no question, or no answer"),
            ("{\"question\":\"a\",\"answer\":\"b\"}\n[1]", "q.jsonl:2: expected a question"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Asked::read(&path).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
