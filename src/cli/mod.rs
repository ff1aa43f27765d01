//! The command line: raw arguments, then a command, then an exit status.
//!
//! Data goes to standard output and nothing else does; progress and remarks go to standard error.

mod ask;
mod backup;
mod chat;
mod compact;
mod doctor;
mod documents;
mod eval;
mod eval_answers;
mod generate;
mod generator;
mod ingest;
mod interrupt;
mod models;
mod options;
mod output;
mod progress;
mod query;
mod quickstart;
mod reembed;
mod repair;
mod sandbox;
mod setup;
mod stats;
mod strategy;
mod train;
mod transfer;
mod verify;

use crate::error::{Error, Result};
use clap::{CommandFactory as _, Parser, Subcommand};
use options::Global;
use output::Out;
use std::process::ExitCode;

/// An embedded vector database with the models built in: from your files to cited passages.
#[derive(Debug, Parser)]
#[command(name = "vdb", version, arg_required_else_help = true, after_help = EXIT_STATUSES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUSES: &str = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 done in part (each \
    failure named on standard error), 4 damage found by verify, 130 stopped by Ctrl-C.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch ONNX Runtime and the default encoder into VDB_HOME
    Setup(setup::Arguments),
    /// Set up, ingest a folder and ask it a first question
    Quickstart(quickstart::Arguments),
    /// Read files, folders or standard input into a collection
    Ingest(ingest::Arguments),
    /// Find passages by meaning and by keyword
    Query(query::Arguments),
    /// Answer a question from the documents, each sentence with the passage that supports it
    Ask(ask::Arguments),
    /// Ask one question after the other; later ones may point back to earlier ones
    Chat(chat::Arguments),
    /// Print a document
    Get(documents::GetArguments),
    /// List the documents of a collection
    List,
    /// Remove documents
    Remove(documents::RemoveArguments),
    /// Print figures of the database
    Stats,
    /// Measure retrieval on a BEIR folder or on pairs: nDCG, recall, MRR; compare two models
    Eval(eval::Arguments),
    /// Measure how often a decoder comes to the right answer, by a strategy, on questions with known ones
    EvalAnswers(Box<eval_answers::Arguments>),
    /// Check the database for damage
    Verify(verify::Arguments),
    /// Bring what is whole of a damaged database over into a new one
    Repair(repair::Arguments),
    /// Write a collection to a file, vectors included
    Export(transfer::ExportArguments),
    /// Read what export wrote
    Import(transfer::ImportArguments),
    /// Copy the database to a new folder, beside whoever is using it
    Backup(backup::BackupArguments),
    /// Make the database anew from a backup
    Restore(backup::RestoreArguments),
    /// Give back the room of what was removed, and leave no trace of it
    Compact,
    /// Give a collection's chunks the vectors of another encoder; the old ones answer until it is done
    Reembed(reembed::Arguments),
    /// Let a decoder write on from a prompt
    Generate(generate::Arguments),
    /// Write the prompts of --strategy into a folder, to be edited and named with --prompts
    Prompts {
        /// The folder; files that are there stay
        folder: std::path::PathBuf,
    },
    /// Run a Python program in the sandbox and print its value
    RunProgram(sandbox::Arguments),
    /// Run the programs that standard input brings: the child that the sandbox starts
    #[command(hide = true)]
    Sandbox,
    /// Fine-tune a model on your own data
    #[command(subcommand)]
    Train(train::Command),
    /// List, fetch and describe models
    #[command(subcommand)]
    Models(models::Command),
    /// Say what is set up, what is really in use, and what to do about the rest
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Done,
    /// Some inputs failed, or the user stopped it.
    Partly,
    Damaged,
    /// The user stopped it; what was written stays.
    Interrupted,
}

/// Parses the arguments of the process, runs the command and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    print_no_caught_panics();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and are no failure.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let out = Out::new(&cli.global);
    match run(cli, &out) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Partly) => ExitCode::from(3),
        Ok(Status::Damaged) => ExitCode::from(4),
        Ok(Status::Interrupted) => ExitCode::from(130),
        // Whoever read the output has seen enough (`vdb list | head`).
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            out.remark(&format!("error: {error}"));
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// What is caught is told as an error; any other panic is a defect and printed as ever.
fn print_no_caught_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crate::panics::are_caught() {
            usual(panic);
        }
    }));
}

fn is_usage(error: &Error) -> bool {
    matches!(
        error,
        Error::Parameter { .. } | Error::FilterSyntax { .. } | Error::UnknownField { .. }
    )
}

fn run(cli: Cli, out: &Out) -> Result<Status> {
    let global = &cli.global;
    match cli.command {
        Command::Setup(arguments) => setup::run(global, &arguments, out),
        Command::Quickstart(arguments) => quickstart::run(global, &arguments, out),
        Command::Ingest(arguments) => ingest::run(global, &arguments, out),
        Command::Query(arguments) => query::run(global, &arguments, out),
        Command::Ask(arguments) => ask::run(global, &arguments, out),
        Command::Chat(arguments) => chat::run(global, &arguments, out),
        Command::Get(arguments) => documents::get(global, &arguments, out),
        Command::List => documents::list(global, out),
        Command::Remove(arguments) => documents::remove(global, &arguments, out),
        Command::Stats => stats::run(global, out),
        Command::Eval(arguments) => eval::run(global, &arguments, out),
        Command::EvalAnswers(arguments) => eval_answers::run(global, &arguments, out),
        Command::Verify(arguments) => verify::run(global, &arguments, out),
        Command::Repair(arguments) => repair::run(global, &arguments, out),
        Command::Export(arguments) => transfer::export(global, &arguments, out),
        Command::Import(arguments) => transfer::import(global, &arguments, out),
        Command::Backup(arguments) => backup::backup(global, &arguments, out),
        Command::Restore(arguments) => backup::restore(global, &arguments, out),
        Command::Compact => compact::run(global, out),
        Command::Reembed(arguments) => reembed::run(global, &arguments, out),
        Command::Generate(arguments) => generate::run(global, &arguments, out),
        Command::Prompts { folder } => {
            let written = crate::prompting::Templates::write(&folder)?;
            written.iter().try_for_each(|name| out.line(name)).map(|()| Status::Done)
        }
        Command::RunProgram(arguments) => sandbox::run(&arguments, out),
        Command::Sandbox => sandbox::serve(),
        Command::Train(command) => train::run(global, &command, out),
        Command::Models(command) => models::run(global, &command, out),
        Command::Doctor => doctor::run(global, out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "vdb", &mut script);
            out.data(&String::from_utf8_lossy(&script))?;
            Ok(Status::Done)
        }
    }
}
