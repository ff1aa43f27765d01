//! `vdb generate`

use super::generator::{Opened, RemoteArguments};
use super::options::Global;
use super::output::Out;
use super::{Status, interrupt};
use crate::error::{Error, Result};
use crate::generate::{Constraint, Finish, GenerateOptions, Generation, Message, Role, Sampling};
use crate::model::DEFAULT_DECODER;
use crate::tokenize::Prompt;
use clap::Args;
use serde_json::json;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to go on from: a message to the model; - for standard input
    prompt: String,
    /// Decoder: a name of `vdb models list`, a GGUF file, or a folder with safetensors
    #[arg(long, default_value = DEFAULT_DECODER, value_name = "MODEL")]
    model: String,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Instructions that stand before the message
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    system: Option<String>,
    /// Go on from the text as it is, without the model's chat template
    #[arg(long)]
    raw: bool,
    /// Tokens at most
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// 0 takes the likeliest token always; higher is bolder
    #[arg(long, default_value_t = 0.0, value_name = "X")]
    temperature: f32,
    /// Choose among the likeliest tokens that have this much of the probability together
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Choose among this many of the likeliest tokens
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Leave out tokens that are less likely than this part of the likeliest one
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Above 1 makes tokens that were there already less likely
    #[arg(long, value_name = "X")]
    repetition_penalty: Option<f32>,
    /// The same seed gives the same text [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End before this text; can be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Only JSON that this schema allows
    #[arg(long, value_name = "FILE", group = "constraint")]
    json_schema: Option<PathBuf>,
    /// Only text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX", group = "constraint")]
    regex: Option<String>,
    /// Only one of these texts; given once for each
    #[arg(long, value_name = "TEXT", group = "constraint")]
    choice: Vec<String>,
    /// Seconds, reading the prompt included
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    time_limit: Option<Duration>,
    /// Tell tokens and times on standard error
    #[arg(long, short)]
    verbose: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is expected".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    // What is wrong with the request should not wait for a model.
    let text = arguments.text()?;
    let options = arguments.options()?;
    let stop = interrupt::flag();
    let opened = match arguments.remote.open(global)? {
        Some(remote) => remote,
        None => Opened::Local(Box::new(global.models()?.decoder(&arguments.model)?)),
    };
    let prompt = arguments.prompt(&opened, text)?;
    let mut ends_line = true;
    let mut failed = None;
    let generation = opened.generator().generate(&prompt, &options, &mut |text| {
        if !out.json && !text.is_empty() {
            ends_line = text.ends_with('\n');
            failed = out.data(text).err();
        }
        if failed.is_some() || stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if out.json {
        out.json_line(&as_json(&opened, &generation))?;
    } else if !ends_line {
        out.line("")?;
    }
    if arguments.verbose {
        out.remark(&statistics(&opened, &generation));
    }
    Ok(match generation.finish {
        Finish::Cancelled => Status::Interrupted,
        _ => Status::Done,
    })
}

impl Arguments {
    fn text(&self) -> Result<String> {
        if self.prompt != "-" {
            return Ok(self.prompt.clone());
        }
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map_err(Error::io("read", "standard input"))?;
        Ok(text)
    }

    fn prompt(&self, opened: &Opened, text: String) -> Result<Prompt> {
        if self.raw && opened.is_remote() {
            return Err(Error::parameter(
                "raw",
                "a server puts its own template around every text",
            ));
        }
        if self.raw {
            return Ok(Prompt::new().content(text));
        }
        let message = |role, content| Message { role, content };
        let system = self.system.clone().map(|text| message(Role::System, text));
        let messages: Vec<Message> =
            system.into_iter().chain([message(Role::User, text)]).collect();
        opened.generator().prompt(&messages)
    }

    fn options(&self) -> Result<GenerateOptions> {
        let usual = Sampling::default();
        Ok(GenerateOptions {
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k.unwrap_or(usual.top_k),
                top_p: self.top_p.unwrap_or(usual.top_p),
                min_p: self.min_p.unwrap_or(usual.min_p),
                repetition_penalty: self.repetition_penalty.unwrap_or(usual.repetition_penalty),
                seed: self.seed.unwrap_or(usual.seed),
                ..usual
            },
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            time_limit: self.time_limit,
            constraint: self.constraint()?,
        })
    }

    fn constraint(&self) -> Result<Option<Constraint>> {
        if let Some(path) = &self.json_schema {
            let schema = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            return Constraint::json_schema(&schema).map(Some);
        }
        if let Some(regex) = &self.regex {
            return Constraint::regex(regex).map(Some);
        }
        if self.choice.is_empty() {
            return Ok(None);
        }
        Constraint::choice(&self.choice).map(Some)
    }
}

/// Generated tokens a second, once the prompt is read.
fn speed(generation: &Generation) -> f64 {
    let seconds = generation.total.saturating_sub(generation.first_token).as_secs_f64();
    let tokens = generation.generated_tokens.saturating_sub(1);
    if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 }
}

fn as_json(opened: &Opened, generation: &Generation) -> serde_json::Value {
    json!({
        "model": opened.name(),
        "text": generation.text,
        "finish": generation.finish.to_string(),
        "prompt_tokens": generation.prompt_tokens,
        "reused_tokens": generation.reused_tokens,
        "generated_tokens": generation.generated_tokens,
        "first_token_seconds": generation.first_token.as_secs_f64(),
        "total_seconds": generation.total.as_secs_f64(),
        "tokens_per_second": speed(generation),
    })
}

fn statistics(opened: &Opened, generation: &Generation) -> String {
    format!(
        "{} on {}: {} prompt tokens, first token after {:.3} s; {} tokens generated, {:.1} a second; \
         ended by {}",
        opened.name(),
        opened.provider(),
        generation.prompt_tokens,
        generation.first_token.as_secs_f64(),
        generation.generated_tokens,
        speed(generation),
        generation.finish
    )
}
