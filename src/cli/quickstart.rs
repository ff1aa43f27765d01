//! `vdb quickstart`

use super::ingest::{Input, NewCollection, open, read};
use super::options::Global;
use super::output::Out;
use super::{Status, query, setup};
use crate::db::{Database, FileOptions};
use crate::error::{Error, Result};
use clap::{Args, Parser};
use std::path::PathBuf;

/// Asked of vdb's own documentation, where no folder is named.
const OWN_QUESTION: &str = "what happens when the power fails during a commit?";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Folder to ingest [default: docs in the current folder]
    folder: Option<PathBuf>,
    /// First question
    #[arg(long, value_name = "TEXT")]
    question: Option<String>,
}

pub(super) fn run(global: &Global, arguments: &Arguments, out: &Out) -> Result<Status> {
    let folder = arguments.folder.clone().unwrap_or_else(|| PathBuf::from("docs"));
    if !folder.exists() {
        return Err(Error::NotFound {
            what: "folder",
            name: folder.display().to_string(),
            hint: "name one: vdb quickstart FOLDER".to_owned(),
        });
    }
    let models = global.models()?;
    for manifest in models.defaults()? {
        setup::bring(global, manifest, *out)?;
    }
    let database = Database::open(&global.db)?;
    let collection = open(global, &database, &NewCollection::default())?;
    let status = read(&collection, Input::Paths(&[folder], FileOptions::default()), *out)?;
    let question = match &arguments.question {
        Some(question) => question.clone(),
        None if arguments.folder.is_none() => OWN_QUESTION.to_owned(),
        // Something that the folder does answer: the title of its first document.
        None => collection
            .documents()
            .flatten()
            .find_map(|info| info.title)
            .unwrap_or_else(|| "what is this about?".to_owned()),
    };
    drop(collection);
    drop(database);
    out.note(&format!("\n$ vdb query {question:?}\n"));
    let arguments = query::Arguments::parse_question(&question);
    query::run(global, &arguments, out)?;
    out.note(
        "what to try next:\n  \
         vdb query \"your own question\"\n  \
         vdb query \"words\" --mode keyword --explain\n  \
         vdb ingest PATH            add your own files\n  \
         vdb list                   what is in\n  \
         vdb --help                 everything else",
    );
    Ok(status)
}

#[derive(Parser)]
struct Question {
    #[command(flatten)]
    query: query::Arguments,
}

impl query::Arguments {
    /// The query command's defaults with this text.
    fn parse_question(question: &str) -> Self {
        Question::parse_from(["query", "--", question]).query
    }
}
