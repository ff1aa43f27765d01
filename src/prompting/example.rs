//! Questions with their answers, from which a model sees what is wanted.

use crate::encode::{Encoder, InputKind, similarity::dot};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::BufRead as _;
use std::path::Path;

/// A question with its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The question.
    pub question: String,
    /// Where its answer stands.
    #[serde(default)]
    pub context: Option<String>,
    /// What leads to the answer, step by step.
    #[serde(default)]
    pub reasoning: Option<String>,
    /// A program whose value is the answer.
    #[serde(default)]
    pub program: Option<String>,
    /// The answer.
    pub answer: String,
}

impl Example {
    /// The examples of a file of JSON lines, each an object with `question` and `answer`, and perhaps
    /// `context`, `reasoning` and `program`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] naming the line that is none.
    pub fn read(path: &Path) -> Result<Vec<Self>> {
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let mut examples = Vec::new();
        for (number, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
            let line = line.map_err(Error::io("read", path))?;
            if line.trim().is_empty() {
                continue;
            }
            examples.push(serde_json::from_str(&line).map_err(|e| Error::Parse {
                origin: path.display().to_string(),
                line: Some(number),
                reason: format!("expected an object with question and answer: {e}"),
            })?);
        }
        Ok(examples)
    }
}

/// The `count` examples whose questions are most like `question`, by the vectors of `encoder`; the most
/// alike last, where it stands next to the question (Liu et al. 2022).
///
/// # Errors
/// Those of the encoder.
pub fn nearest(
    examples: &[Example],
    question: &str,
    count: usize,
    encoder: &dyn Encoder,
) -> Result<Vec<Example>> {
    let mut texts = vec![question];
    texts.extend(examples.iter().map(|example| example.question.as_str()));
    let embedded = encoder.encode(&texts, InputKind::Query)?;
    let Some((own, others)) = embedded.split_first() else { return Ok(Vec::new()) };
    let mut order: Vec<(f32, &Example)> = others
        .iter()
        .zip(examples)
        .map(|(other, example)| (dot(&own.vector, &other.vector), example))
        .collect();
    // Equal ones stay in their order.
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    order.truncate(count);
    Ok(order.into_iter().rev().map(|(_, example)| example.clone()).collect())
}
