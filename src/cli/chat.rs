//! `vdb chat`

use super::ask::{How, finish, show};
use super::options::Global;
use super::output::Out;
use super::{Status, interrupt};
use crate::error::{Error, Result};
use clap::Args;
use std::io::{BufRead as _, IsTerminal as _};
use std::sync::atomic::Ordering;

/// What starts the conversation anew, and what ends it.
const CLEAR: &str = "/clear";
const QUIT: [&str; 2] = ["/quit", "/exit"];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    how: How,
}

/// Reads questions from standard input, one a line, until it ends. Ctrl-C stops the answer under
/// way, and the chat where there is none.
pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let options = arguments.how.options()?;
    let stop = interrupt::flag();
    let collection = global.collection()?;
    let generator = arguments.how.generator(global, *out)?;
    let sandbox = super::sandbox::child()?;
    let rag = How::rag(&collection, generator.as_ref())?.sandbox(&sandbox);
    let mut chat = rag.chat();
    let people = std::io::stdin().is_terminal();
    if people {
        out.note("ask; /clear begins anew, /quit or the end of input ends");
    }
    let mut status = Status::Done;
    let mut lines = std::io::stdin().lock().lines();
    loop {
        if people && !out.quiet {
            out.prompt("> ");
        }
        let Some(line) = lines.next() else { return Ok(status) };
        let line = line.map_err(Error::io("read", "standard input"))?;
        let question = line.trim();
        if stop.load(Ordering::Relaxed) || QUIT.contains(&question) {
            return Ok(status);
        }
        if question == CLEAR {
            chat.clear();
            continue;
        }
        if question.is_empty() {
            continue;
        }
        let mut shown = show::Shown::new(*out, true).worked(options.strategy.is_some());
        let answer = chat.ask(question, &options, &mut |event| shown.event(event, stop))?;
        if answer.question != question {
            out.note(&format!("(understood as: {})", answer.question));
        }
        status = finish(&collection, &arguments.how, shown, &answer, *out)?;
        if status == Status::Interrupted {
            return Ok(status);
        }
        if !out.json {
            out.line("")?;
        }
    }
}
