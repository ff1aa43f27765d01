//! `vdb eval-answers`

use super::generator::{Opened, RemoteArguments};
use super::options::Global;
use super::output::{Out, count};
use super::progress::Progress;
use super::strategy::StrategyArguments;
use super::{Status, interrupt};
use crate::error::Result;
use crate::generate::GenerateOptions;
use crate::model::DEFAULT_DECODER;
use crate::prompting::{Asked, Method, Prompter, Scored, Share};
use crate::rag::Strategy;
use clap::Args;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Questions: JSON lines with question and answer (or answers), and perhaps context
    questions: PathBuf,
    /// Decoder: a name of `vdb models list`, a GGUF file, or a folder with safetensors
    #[arg(long, default_value = DEFAULT_DECODER, value_name = "MODEL")]
    model: String,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    strategy: StrategyArguments,
    /// Only the first N questions
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Tokens that the decoder writes at most for a question [default: 384]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Tell each question with its answer
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let mut questions = Asked::read(&arguments.questions)?;
    questions.truncate(arguments.limit.unwrap_or(usize::MAX));
    let strategy = arguments.strategy.strategy()?;
    let strategy = strategy.unwrap_or_else(|| Strategy::new(Method::Direct));
    let opened = match arguments.remote.open(global)? {
        Some(remote) => remote,
        None => Opened::Local(Box::new(global.models()?.decoder(&arguments.model)?)),
    };
    let sandbox = super::sandbox::child()?;
    let usual = arguments.strategy.usual_tokens(GenerateOptions::default().max_tokens);
    let options = GenerateOptions {
        max_tokens: arguments.max_tokens.unwrap_or(usual),
        ..GenerateOptions::default()
    };
    let mut prompter = Prompter::new(opened.generator())?.options(options).sandbox(&sandbox);
    if let Some(templates) = strategy.templates {
        prompter = prompter.templates(templates);
    }
    let stop = interrupt::flag();
    let progress = Progress::new(*out);
    let (mut done, mut right) = (0usize, 0usize);
    let mut tell = |asked: &Asked, scored: &Scored| {
        done += 1;
        right += usize::from(scored.exact || scored.numeric == Some(true));
        progress.say(format!("{done} of {}: {right} right", questions.len()));
        if arguments.verbose {
            let mark = if scored.exact || scored.numeric == Some(true) { "+" } else { "-" };
            let answer = scored.worked.answer.replace('\n', " ");
            progress.above(|| {
                out.note(&format!("{mark} {answer:?}, right is {:?}", asked.answers.join(" or ")));
            });
        }
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let scored = prompter.evaluate(&questions, strategy.method, &strategy.examples, &mut tell)?;
    progress.finish();
    report(&opened, strategy.method, &scored, *out)?;
    Ok(if scored.len() < questions.len() { Status::Interrupted } else { Status::Done })
}

fn report(opened: &Opened, method: Method, scored: &[Scored], out: Out) -> Result<()> {
    let exact = Share::of(scored, |one| Some(one.exact));
    let numeric = Share::of(scored, |one| one.numeric);
    let n = scored.len().max(1) as f64;
    let f1 = scored.iter().map(|one| one.f1).sum::<f64>() / n;
    let seconds = scored.iter().map(|one| one.worked.time.as_secs_f64()).sum::<f64>() / n;
    let tokens = scored.iter().map(|one| one.worked.generated_tokens).sum::<usize>() as f64 / n;
    if out.json {
        let share = |share: Share| json!({"share": share.share, "low": share.low, "high": share.high, "of": share.of});
        return out.json_line(&json!({
            "model": opened.name(),
            "strategy": method.name(),
            "questions": scored.len(),
            "exact_match": share(exact),
            "numeric": share(numeric),
            "f1": f1,
            "seconds_a_question": seconds,
            "tokens_a_question": tokens,
        }));
    }
    let asked = count(scored.len() as u64, "question");
    out.line(&format!("{method} with {}, {asked}", opened.name()))?;
    let line = |name: &str, share: Share| {
        let Share { share, low, high, of, .. } = share;
        let (share, low, high) = (100.0 * share, 100.0 * low, 100.0 * high);
        out.line(&format!("{name:<18}{share:5.1} % ({low:.1} to {high:.1}), of {of}"))
    };
    line("exact match", exact)?;
    if numeric.of > 0 {
        line("right number", numeric)?;
    }
    out.line(&format!("{:<18}{:5.1} %", "F1", 100.0 * f1))?;
    out.line(&format!("{seconds:.2} s and {tokens:.0} tokens a question"))
}
