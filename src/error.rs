//! One error type for the whole crate, grouped by who can act on it.
//!
//! Messages are lower case and say what was expected, what was found and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible operation in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, grouped by who can act: the caller, the environment, the data, the model.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // ---- the caller ----
    /// A vector whose length is not the collection's.
    #[error("expected a vector of {expected} dimensions, found {found}")]
    Dimensions {
        /// Dimensions of the collection or encoder.
        expected: usize,
        /// Dimensions of the vector that was passed.
        found: usize,
    },
    /// A vector that has no direction or is not finite.
    #[error("unusable vector: {reason}")]
    Vector {
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter out of its range.
    #[error("invalid {name}: {reason}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// What was expected and found.
        reason: String,
    },
    /// A prompt that leaves a model no room.
    #[error(
        "the prompt has {tokens} tokens and the model reads at most {context}, its answer included; \
         shorten it"
    )]
    ContextExceeded {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that prompt and answer have together at most.
        context: usize,
    },
    /// A filter expression that does not parse.
    #[error("filter syntax, at character {position}: {message}")]
    FilterSyntax {
        /// 1-based position in characters.
        position: usize,
        /// What was expected and found there.
        message: String,
    },
    /// A filter on a field that no document has.
    #[error("no document has the metadata field {field:?}; known fields: {known}")]
    UnknownField {
        /// The field of the filter.
        field: String,
        /// The fields that exist, comma-separated.
        known: String,
    },
    /// Something named by the caller does not exist.
    #[error("no {what} named {name:?}; {hint}")]
    NotFound {
        /// The kind of thing: collection, document, model, file.
        what: &'static str,
        /// Its name.
        name: String,
        /// What to do next.
        hint: String,
    },
    /// The collection's vectors come from another model than the one in hand.
    #[error(
        "collection {collection:?} was embedded with {stored}, not with {given}; open it with \
         {stored}, bring it over with `vdb reembed --model`, or ingest into a new collection"
    )]
    ModelMismatch {
        /// The collection.
        collection: String,
        /// The model whose vectors are stored.
        stored: String,
        /// The model that was passed.
        given: String,
    },
    /// The operation needs an encoder and the collection was opened without one.
    #[error("collection {collection:?} has no encoder; {hint}")]
    NoEncoder {
        /// The collection.
        collection: String,
        /// What to do next.
        hint: String,
    },

    /// A program in the sandbox that gave no value.
    #[error("program {name}: {reason}")]
    Program {
        /// Its file, or what asked for it.
        name: String,
        /// Its traceback, or which limit it met.
        reason: String,
    },

    // ---- the environment ----
    /// The operating system refused something.
    #[error("cannot {action} {}: {}", path.display(), describe_io(source))]
    Io {
        /// What was tried: "read", "create", …
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the database open.
    #[error("{} is in use by {holder}; wait for it to finish or stop it", path.display())]
    Locked {
        /// The database folder.
        path: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// A change was asked of a database that was opened for reading.
    #[error("{} was opened for reading only; open it for writing to change it", path.display())]
    ReadOnly {
        /// The database folder, or the copy of it that is read.
        path: PathBuf,
    },
    /// A model or runtime file is not on this machine.
    #[error("{what} is not set up; run `{fix}`")]
    NotSetUp {
        /// The missing thing.
        what: String,
        /// The command that brings it.
        fix: String,
    },
    /// Network access is needed and was forbidden.
    #[error("{what} is missing and network access is off; run `{fix}` once without --offline")]
    Offline {
        /// The missing thing.
        what: String,
        /// The command that brings it.
        fix: String,
    },
    /// A download failed.
    #[error("cannot fetch {what}: {reason}")]
    Fetch {
        /// What was to be fetched.
        what: String,
        /// Each source tried and what it said.
        reason: String,
    },
    /// A server that generates text failed.
    #[error("the generator at {url}: {reason}")]
    Remote {
        /// Where it was asked.
        url: String,
        /// What it did, and what to do about it.
        reason: String,
    },
    /// The requested device cannot be used. There is no silent fall back.
    #[error("device {device} cannot be used: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why it is not there and what to do.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped on request")]
    Stopped,

    // ---- the data ----
    /// Stored bytes that are not what was written.
    #[error("{what} is damaged: {detail}; run `vdb verify --full` for the extent")]
    Corrupted {
        /// Which record or file.
        what: String,
        /// How it was noticed.
        detail: String,
    },
    /// Written by a newer release.
    #[error(
        "{what} has format version {found} and this release reads up to {supported}; use a newer vdb"
    )]
    NewerFormat {
        /// Which file.
        what: String,
        /// Its version.
        found: u32,
        /// The newest version this release reads.
        supported: u32,
    },
    /// Input that cannot be read as the format it is said to be.
    #[error("{origin}{}: {reason}", line.map(|l| format!(":{l}")).unwrap_or_default())]
    Parse {
        /// File, or "standard input".
        origin: String,
        /// 1-based line, where it is known.
        line: Option<u64>,
        /// What was expected and found.
        reason: String,
    },

    /// A file with no text to read; left out of an ingest.
    #[error("{origin}: skipped: {reason}")]
    Skipped {
        /// The file.
        origin: String,
        /// Why: binary, empty, of a kind that is not read.
        reason: String,
    },

    // ---- the model ----
    /// Logits that no token can be chosen from.
    #[error("cannot choose a token: {reason}")]
    Logits {
        /// What is wrong with them.
        reason: String,
    },
    /// A text that cannot be held to its constraint any further.
    #[error("the constraint cannot be kept: {reason}")]
    Constraint {
        /// Why: no token fits, or the grammar has become too large.
        reason: String,
    },
    /// A model file that cannot be used, or a failure inside the model.
    #[error("model {name}: {reason}")]
    Model {
        /// The model.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Io`] constructor that fits `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn parameter(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Parameter { name, reason: reason.into() }
    }

    /// Damage to a part of something, told as damage to `whole`.
    pub(crate) fn in_whole(self, whole: impl FnOnce() -> String) -> Self {
        match self {
            Self::Corrupted { what, detail } => {
                Self::Corrupted { what: whole(), detail: format!("{what}: {detail}") }
            }
            other => other,
        }
    }

    pub(crate) fn corrupted(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Corrupted { what: what.into(), detail: detail.into() }
    }
}

/// The system's message, with advice where the kind of failure suggests one.
fn describe_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            let why =
                error.get_ref().map_or_else(|| "the disk is full".to_owned(), ToString::to_string);
            format!("{why}; free some room and run the command again")
        }
        io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
