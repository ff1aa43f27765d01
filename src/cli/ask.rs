//! `vdb ask`

pub(super) mod show;

use super::generator::{Opened, RemoteArguments};
use super::options::Global;
use super::output::Out;
use super::strategy::StrategyArguments;
use super::{Status, interrupt};
use crate::db::{Collection, Mode};
use crate::error::{Error, Result};
use crate::generate::{Finish, GenerateOptions};
use crate::index::Filter;
use crate::model::DEFAULT_DECODER;
use crate::rag::{Answer, AskEvent, AskOptions, Context, Rag, Style};
use clap::Args;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The question
    question: String,
    #[command(flatten)]
    pub(super) how: How,
}

/// How questions are answered, in `ask` and in `chat`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub(super) struct How {
    /// Passages that are searched for
    #[arg(long, short = 'k', default_value_t = 5, value_name = "N")]
    top_k: usize,
    /// What the search goes by: hybrid, dense (meaning) or keyword [default: hybrid]
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    /// Only documents whose metadata match, as in 'year >= 2020 and lang = "en"'
    #[arg(long, value_name = "EXPRESSION")]
    filter: Option<String>,
    /// Decoder: a name of `vdb models list`, a GGUF file, or a folder with safetensors [default:
    /// SmolLM2-135M-Instruct, where it is set up]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Answer with the evidence alone; no decoder is asked
    #[arg(long, conflicts_with_all = ["model", "quote", "strategy"])]
    extractive: bool,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Let the decoder write only words that stand in the evidence
    #[arg(long, conflicts_with = "strategy")]
    quote: bool,
    /// Let the decoder read whole passages instead of the best sentences of them
    #[arg(long)]
    passages: bool,
    #[command(flatten)]
    strategy: StrategyArguments,
    /// Show exactly what the decoder reads, with its tokens
    #[arg(long)]
    show_prompt: bool,
    /// Sentences of evidence that are shown
    #[arg(long, default_value_t = 3, value_name = "N")]
    evidence: usize,
    /// Tokens of what the decoder reads; the least relevant passage goes first
    #[arg(long, default_value_t = 1024, value_name = "TOKENS")]
    budget: usize,
    /// Tokens of an answer at most [default: 96; with --strategy, reasoning or program included, 384]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Seconds that the decoder may take
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// Answer only where the passages hold an answer with this probability, 0 to 1 [default: 0.5]
    #[arg(long, value_name = "P")]
    min_confidence: Option<f32>,
    /// Tell on standard error what was found, what was left out, and what took how long
    #[arg(long, short)]
    verbose: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let options = arguments.how.options()?;
    let stop = interrupt::flag();
    let collection = global.collection()?;
    let generator = arguments.how.generator(global, *out)?;
    let sandbox = super::sandbox::child()?;
    let rag = How::rag(&collection, generator.as_ref())?.sandbox(&sandbox);
    let mut shown = show::Shown::new(*out, false).worked(options.strategy.is_some());
    let answer = rag.ask(&arguments.question, &options, &mut |event| shown.event(event, stop))?;
    finish(&collection, &arguments.how, shown, &answer, *out)
}

/// Shows the rest of an answer.
pub(super) fn finish(
    collection: &Collection,
    how: &How,
    shown: show::Shown,
    answer: &Answer,
    out: Out,
) -> Result<Status> {
    for notice in collection.take_notices() {
        out.note(&notice);
    }
    if how.show_prompt
        && let Some(prompt) = &answer.prompt
    {
        out.remark(&show::prompt(prompt, answer.tokens));
    }
    shown.answer(answer, how.strategy.show())?;
    if answer.passages.is_empty() && collection.stats().documents == 0 {
        out.note("the collection is empty; `vdb ingest PATH` adds documents");
    }
    if how.verbose {
        out.remark(&show::statistics(answer));
    }
    let finish = answer.generated.as_ref().map(|generated| generated.finish);
    Ok(if finish == Some(Finish::Cancelled) { Status::Interrupted } else { Status::Done })
}

impl How {
    pub(super) fn options(&self) -> Result<AskOptions> {
        let usual = AskOptions::default();
        Ok(AskOptions {
            top_k: self.top_k,
            // The expression first: a typing error should not wait for a model.
            filter: self.filter.as_deref().map(Filter::parse).transpose()?,
            mode: self.mode,
            evidence: self.evidence,
            context: if self.passages { Context::Passages } else { Context::Evidence },
            budget: self.budget,
            style: match (self.extractive, self.quote) {
                (true, _) => Style::Extractive,
                (_, true) => Style::Quote,
                _ => Style::Free,
            },
            min_confidence: self.min_confidence.unwrap_or(usual.min_confidence),
            generate: GenerateOptions {
                max_tokens: self
                    .max_tokens
                    .unwrap_or(self.strategy.usual_tokens(usual.generate.max_tokens)),
                time_limit: self.time_limit,
                ..usual.generate
            },
            strategy: self.strategy.strategy()?,
            ..usual
        })
    }

    /// The server or the decoder that is named, or the default decoder where it is set up.
    pub(super) fn generator(&self, global: &Global, out: Out) -> Result<Option<Opened>> {
        if self.extractive {
            return Ok(None);
        }
        if let Some(remote) = self.remote.open(global)? {
            return Ok(Some(remote));
        }
        let models = global.models()?;
        let opened = models.decoder(self.model.as_deref().unwrap_or(DEFAULT_DECODER));
        match (opened, &self.model) {
            (Ok(decoder), _) => Ok(Some(Opened::Local(Box::new(decoder)))),
            (Err(Error::NotSetUp { fix, .. } | Error::Offline { fix, .. }), None)
                if !self.quote =>
            {
                out.note(&format!(
                    "no decoder is set up (`{fix}` fetches one); the evidence alone is shown"
                ));
                Ok(None)
            }
            (Err(error), _) => Err(error),
        }
    }

    pub(super) fn rag<'a>(
        collection: &'a Collection,
        generator: Option<&'a Opened>,
    ) -> Result<Rag<'a>> {
        let rag = Rag::new(collection)?;
        Ok(match generator {
            Some(opened) => rag.generator(opened.generator()),
            None => rag,
        })
    }
}

impl show::Shown {
    /// Shows an event as it comes.
    pub(super) fn event(&mut self, event: AskEvent<'_>, stop: &AtomicBool) -> ControlFlow<()> {
        self.take(event);
        if self.failed() || stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
