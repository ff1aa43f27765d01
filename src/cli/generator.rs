//! What writes: a decoder that runs here, or one behind a server.

use super::options::Global;
use crate::error::{Error, Result};
use crate::generate::{Decoder, Generator, RemoteGenerator, RemoteOptions};
use clap::Args;

/// Where the key of a server is; it is never an argument, which other users of the machine could see.
const KEY: &str = "VDB_GENERATOR_KEY";

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "A model behind a server")]
pub(super) struct RemoteArguments {
    /// A server that speaks OpenAI's chat protocol (llama.cpp, Ollama, vLLM), up to /v1; its key stands in
    /// the environment variable VDB_GENERATOR_KEY
    #[arg(long, value_name = "URL", env = "VDB_GENERATOR", conflicts_with = "model")]
    generator: Option<String>,
    /// The model's name there
    #[arg(long, value_name = "NAME", env = "VDB_GENERATOR_MODEL", default_value = "default")]
    generator_model: String,
    /// Tokens that prompt and answer have together there at most
    #[arg(long, value_name = "N", default_value_t = 4096)]
    generator_context: usize,
}

impl RemoteArguments {
    /// The server that is named, if one is.
    pub(super) fn open(&self, global: &Global) -> Result<Option<Opened>> {
        let Some(url) = &self.generator else { return Ok(None) };
        if global.offline {
            return Err(Error::Remote {
                url: url.clone(),
                reason: "network access is off; leave out --offline to ask it".to_owned(),
            });
        }
        let mut options = RemoteOptions::new(url, &self.generator_model);
        options.key = std::env::var(KEY).ok().filter(|key| !key.is_empty());
        options.context = self.generator_context;
        Ok(Some(Opened::Remote(RemoteGenerator::new(options)?)))
    }
}

/// What writes.
pub(super) enum Opened {
    Local(Box<Decoder>),
    Remote(RemoteGenerator),
}

impl Opened {
    pub(super) fn generator(&self) -> &dyn Generator {
        match self {
            Self::Local(decoder) => decoder.as_ref(),
            Self::Remote(remote) => remote,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Local(decoder) => decoder.name(),
            Self::Remote(remote) => remote.model(),
        }
    }

    /// What it runs on.
    pub(super) fn provider(&self) -> &str {
        match self {
            Self::Local(decoder) => decoder.provider(),
            Self::Remote(remote) => remote.url(),
        }
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }
}
