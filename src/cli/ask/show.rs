//! How an answer is shown: for people while it comes, or as JSON when it is complete.

use crate::cli::output::{Out, count, printable};
use crate::cli::strategy::Show;
use crate::error::{Error, Result};
use crate::generate::Finish;
use crate::prompting::{Attempt, Worked};
use crate::rag::{Answer, AnswerSentence, Answered, AskEvent, Citation, Evidence, Passage, Tokens};
use crate::sandbox::Ended;
use crate::tokenize::Prompt;
use serde_json::{Value, json};
use std::time::Duration;

/// An answer that is being shown.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(in crate::cli) struct Shown {
    out: Out,
    /// Whether a JSON answer says how a question was understood, and people are told so.
    in_chat: bool,
    /// Something of the decoder's text was shown.
    begun: bool,
    /// Whether the answer is worked out, and its text shown when it is there.
    is_worked: bool,
    ends_line: bool,
    failure: Option<Error>,
}

impl Shown {
    pub(in crate::cli) fn new(out: Out, in_chat: bool) -> Self {
        Self { out, in_chat, begun: false, is_worked: false, ends_line: true, failure: None }
    }

    /// For an answer that is worked out.
    pub(in crate::cli) fn worked(mut self, is_worked: bool) -> Self {
        self.is_worked = is_worked;
        self
    }

    pub(super) fn failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Text is shown as it comes; the rest waits for the answer.
    pub(super) fn take(&mut self, event: AskEvent<'_>) {
        let AskEvent::Text(text) = event else { return };
        // What leads to an answer is shown with it, where it is asked for.
        if self.out.json || self.failed() || self.is_worked {
            return;
        }
        let text = if self.begun { text } else { text.trim_start() };
        if !text.is_empty() {
            self.begun = true;
            self.ends_line = text.ends_with('\n');
            self.failure = self.out.data(&printable(text)).err();
        }
    }

    /// The rest, once the answer is complete.
    pub(in crate::cli) fn answer(mut self, answer: &Answer, show: Show) -> Result<()> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if self.out.json {
            return self.out.json_line(&as_json(answer, self.in_chat));
        }
        if self.begun && !self.ends_line {
            self.out.line("")?;
        }
        if let Some(worked) = &answer.worked {
            self.work(answer, worked, show)?;
        }
        self.checked(answer)?;
        let evidence = Self::other_evidence(answer);
        if !evidence.is_empty() {
            self.out.line(&format!("\n{}", self.out.strong("Evidence")))?;
            for one in evidence {
                self.out.line(&format!("[{}] {}", one.passage, one_line(&one.text)))?;
            }
        }
        self.sources(answer)
    }

    /// What led to an answer that was worked out, as far as it is asked for.
    fn work(&self, answer: &Answer, worked: &Worked, show: Show) -> Result<()> {
        let out = self.out;
        if show.reasoning {
            for sentence in &answer.reasoning {
                let number = sentence.citation.as_ref().map(|citation| citation.passage);
                let number = number.map_or(String::new(), |number| format!(" [{number}]"));
                out.line(&out.faint(&format!("{}{number}", one_line(&sentence.text))))?;
            }
        }
        if show.program {
            for attempt in &worked.programs {
                out.line(&out.faint(&printable(&attempt.program)))?;
                let ended = match &attempt.run.ended {
                    Ended::Value(value) => format!("= {}", value.text),
                    Ended::Failed(traceback) => {
                        format!("! {}", traceback.lines().last().unwrap_or_default())
                    }
                    Ended::Stopped(why) => format!("! {why}"),
                };
                out.line(&out.faint(&printable(&ended)))?;
            }
        }
        if worked.votes.len() > 1 {
            let votes = worked.votes.iter().map(|vote| format!("{} × {}", vote.count, vote.answer));
            out.line(&out.faint(&printable(&votes.collect::<Vec<_>>().join(", "))))?;
        }
        if worked.examples_dropped > 0 {
            let dropped = count(worked.examples_dropped as u64, "example");
            out.note(&format!("note: {dropped} left out: they do not fit, or do not suit"));
        }
        Ok(())
    }

    /// What the answer is, and what of the decoder's text nothing supports.
    fn checked(&self, answer: &Answer) -> Result<()> {
        let out = self.out;
        match answer.answered {
            Answered::NotFound => {
                out.line(&out.strong("The documents do not say."))?;
                if !answer.passages.is_empty() {
                    out.line(&out.faint(&format!(
                        "The nearest passages are below (probability that they hold an answer: \
                         {:.2}).",
                        answer.confidence
                    )))?;
                }
            }
            Answered::Worked => {
                out.line(&cited(answer, out))?;
                if answer.sentences.iter().all(|sentence| sentence.citation.is_none()) {
                    out.line(&out.faint("(worked out; no passage says so in these words)"))?;
                }
            }
            Answered::Evidence => {
                if answer.generated.is_some() {
                    out.line(&format!(
                        "\n{} No passage supports what stands above. What the documents say:",
                        out.strong("[not supported]")
                    ))?;
                }
                out.line(&cited(answer, out))?;
            }
            _ => {
                let generated = answer.generated.iter().flat_map(|text| &text.sentences);
                for sentence in generated {
                    out.line(&out.faint(&verdict(sentence)))?;
                }
            }
        }
        match answer.generated.as_ref().map(|generated| generated.finish) {
            Some(Finish::Length) => out.line(&out.faint("(cut off: --max-tokens)"))?,
            Some(Finish::TimeLimit) => out.line(&out.faint("(cut off: --time-limit)"))?,
            Some(Finish::Cancelled) => out.line(&out.faint("(stopped)"))?,
            _ => {}
        }
        Ok(())
    }

    /// Evidence that is not the answer itself.
    fn other_evidence(answer: &Answer) -> Vec<&Evidence> {
        let is_answer =
            |one: &&Evidence| answer.answered == Answered::Evidence && one.text == answer.text;
        answer.evidence.iter().filter(|one| !is_answer(one)).collect()
    }

    fn sources(&self, answer: &Answer) -> Result<()> {
        if answer.passages.is_empty() {
            return Ok(());
        }
        self.out.line(&format!("\n{}", self.out.strong("Sources")))?;
        for passage in &answer.passages {
            self.out.line(&source(passage, self.out))?;
        }
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The answer with the numbers of passages behind its sentences.
fn cited(answer: &Answer, out: Out) -> String {
    let sentence = |sentence: &AnswerSentence| match &sentence.citation {
        Some(citation) => {
            let number = out.faint(&format!("[{}]", citation.passage));
            format!("{} {number}", one_line(&sentence.text))
        }
        None => one_line(&sentence.text),
    };
    answer.sentences.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

/// What supports a sentence of the decoder.
fn verdict(sentence: &AnswerSentence) -> String {
    let mut said = match &sentence.citation {
        Some(citation) => {
            let number = citation.passage;
            format!("[{number}] supports it: “{}”", one_line(&citation.text))
        }
        None => format!("[not supported] “{}”", one_line(&sentence.text)),
    };
    if !sentence.rejected.is_empty() {
        let numbers: Vec<String> = sentence.rejected.iter().map(|n| format!("[{n}]")).collect();
        said = format!("{said}; it names {} wrongly", numbers.join(", "));
    }
    said
}

fn source(passage: &Passage, out: Out) -> String {
    let place = printable(passage.place());
    let lines = match passage.lines(&(0..passage.text.len())) {
        (first, last) if first == last => format!(":{first}"),
        (first, last) => format!(":{first}-{last}"),
    };
    let mut heading: Vec<&str> = passage.title.as_deref().into_iter().collect();
    heading.extend(
        passage.heading.iter().map(String::as_str).filter(|h| Some(*h) != passage.title.as_deref()),
    );
    let heading = printable(&heading.join(" > "));
    let gap = if heading.is_empty() { "" } else { "  " };
    format!("[{}] {place}{lines}{gap}{}", passage.number, out.faint(&heading))
}

/// Figures for `--verbose`.
pub(super) fn statistics(answer: &Answer) -> String {
    let seconds = |time: Duration| time.as_secs_f64();
    let times = &answer.timings;
    let mut lines = vec![format!(
        "{}: {} found, probability of an answer {:.2}; retrieval {:.3} s, evidence {:.3} s",
        answer.answered,
        count(answer.passages.len() as u64, "passage"),
        answer.confidence,
        seconds(times.retrieval),
        seconds(times.evidence)
    )];
    if answer.generated.is_some() {
        lines.push(format!(
            "{} prompt tokens ({} known), {} generated; first token after {:.3} s, all after \
             {:.3} s, checked in {:.3} s",
            answer.tokens.prompt,
            answer.tokens.reused,
            answer.tokens.generated,
            seconds(times.first_token),
            seconds(times.generation),
            seconds(times.citations)
        ));
    }
    for dropped in &answer.dropped {
        lines.push(format!(
            "left out: {} bytes {}-{}: {}",
            printable(&dropped.document),
            dropped.span.start,
            dropped.span.end,
            dropped.reason
        ));
    }
    lines.join("\n")
}

fn as_json(answer: &Answer, in_chat: bool) -> Value {
    let mut value = json!({
        "answered": answer.answered.to_string(),
        "answer": answer.text,
        "sentences": sentences(&answer.sentences),
        "confidence": answer.confidence,
        "generated": answer.generated.as_ref().map(|generated| json!({
            "text": generated.text,
            "finish": generated.finish.to_string(),
            "sentences": sentences(&generated.sentences),
        })),
        "evidence": answer.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "passages": answer.passages.iter().map(passage).collect::<Vec<_>>(),
        "dropped": answer.dropped.iter().map(|dropped| json!({
            "document": dropped.document,
            "span": [dropped.span.start, dropped.span.end],
            "reason": dropped.reason.to_string(),
        })).collect::<Vec<_>>(),
        "tokens": {
            "prompt": answer.tokens.prompt,
            "reused": answer.tokens.reused,
            "generated": answer.tokens.generated,
        },
        "seconds": {
            "rewriting": answer.timings.rewriting.as_secs_f64(),
            "retrieval": answer.timings.retrieval.as_secs_f64(),
            "evidence": answer.timings.evidence.as_secs_f64(),
            "first_token": answer.timings.first_token.as_secs_f64(),
            "generation": answer.timings.generation.as_secs_f64(),
            "citations": answer.timings.citations.as_secs_f64(),
            "total": answer.timings.total.as_secs_f64(),
        },
    });
    if let Some(worked) = &answer.worked {
        value["reasoning"] = sentences(&answer.reasoning).into();
        value["votes"] = worked
            .votes
            .iter()
            .map(|vote| json!({"answer": vote.answer, "count": vote.count}))
            .collect();
        value["programs"] = worked.programs.iter().map(program).collect();
        value["prompt"] = worked.prompt.text().into();
        value["finish"] = worked.finish.to_string().into();
    }
    if in_chat {
        value["question"] = answer.question.as_str().into();
    }
    value
}

fn program(attempt: &Attempt) -> Value {
    let (value, error) = match &attempt.run.ended {
        Ended::Value(value) => (Some(&value.text), None),
        Ended::Failed(traceback) => (None, Some(traceback.clone())),
        Ended::Stopped(why) => (None, Some(why.to_string())),
    };
    json!({
        "program": attempt.program,
        "value": value,
        "error": error,
        "output": attempt.run.output,
    })
}

/// What the decoder read, as it stands, and its tokens.
pub(super) fn prompt(prompt: &Prompt, tokens: Tokens) -> String {
    format!(
        "--- what the decoder reads ({} tokens read, {} written) ---\n{}\n---",
        tokens.prompt,
        tokens.generated,
        printable(&prompt.text())
    )
}

fn sentences(all: &[AnswerSentence]) -> Vec<Value> {
    let one = |sentence: &AnswerSentence| {
        json!({
            "text": sentence.text,
            "span": [sentence.span.start, sentence.span.end],
            "support": sentence.support,
            "citation": sentence.citation.as_ref().map(citation),
            "rejected": sentence.rejected,
        })
    };
    all.iter().map(one).collect()
}

fn citation(citation: &Citation) -> Value {
    json!({
        "passage": citation.passage,
        "document": citation.document,
        "span": [citation.span.start, citation.span.end],
        "text": citation.text,
        "score": citation.score,
    })
}

fn evidence(one: &Evidence) -> Value {
    json!({
        "passage": one.passage,
        "document": one.document,
        "span": [one.span.start, one.span.end],
        "lines": [one.lines.0, one.lines.1],
        "text": one.text,
        "score": one.score,
        "dense": one.figures.dense,
        "max_sim": one.figures.max_sim,
        "overlap": one.figures.overlap,
    })
}

fn passage(passage: &Passage) -> Value {
    let lines = passage.lines(&(0..passage.text.len()));
    json!({
        "number": passage.number,
        "document": passage.document,
        "title": passage.title,
        "path": passage.origin.path,
        "span": [passage.span.start, passage.span.end],
        "lines": [lines.0, lines.1],
        "heading": passage.heading,
        "score": passage.score,
        "text": passage.text,
    })
}
