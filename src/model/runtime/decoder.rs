//! Sessions of decoders, and the keys and values of a sequence between their calls.

mod copied;
mod shared;

use super::{OrtSession, Runtime, SessionOptions};
use crate::error::Result;
use crate::model::import::DecoderShape;
use copied::{Copied, Outlets};
use ort::session::RunOptions;
use ort::value::Tensor;
use shared::Shared;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A decoder ready to run; one run at a time.
pub(crate) struct DecoderSession {
    session: OrtSession,
    shape: DecoderShape,
    provider: &'static str,
    /// Of a decoder that came as ONNX.
    outlets: Option<Outlets>,
}

/// Keys and values of a sequence, and the tensors that one call needs. It belongs to the session that
/// made it.
pub(crate) enum Cache {
    /// Of one of our own graphs.
    Shared(Box<Shared>),
    /// Of a decoder that came as ONNX.
    Copied(Copied),
}

/// Ends a run from another thread; a brake that was pulled stays pulled.
pub(crate) struct Brake {
    options: RunOptions,
    pulled: AtomicBool,
}

/// Why a run gave nothing.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The brake was pulled.
    Stopped,
    /// The runtime's reason.
    Failed(String),
}

impl Brake {
    pub(crate) fn new() -> Result<Self, String> {
        let options = RunOptions::new().map_err(|e| e.to_string())?;
        Ok(Self { options, pulled: AtomicBool::new(false) })
    }

    pub(crate) fn pull(&self) {
        self.pulled.store(true, Ordering::Relaxed);
        // Where it fails the run goes on to its end.
        let _ = self.options.terminate();
    }
}

impl Runtime {
    /// A session for the decoder at `path`, which is one of our own graphs.
    pub(crate) fn decoder(
        &self,
        path: &Path,
        shape: DecoderShape,
        options: &SessionOptions,
    ) -> Result<DecoderSession> {
        let (session, provider) = self.open(path, options)?;
        Ok(DecoderSession { session, shape, provider, outlets: None })
    }

    /// A session for a decoder that came as ONNX, with the names that exporters give, and a context of
    /// `context` tokens.
    pub(crate) fn ready_decoder(
        &self,
        path: &Path,
        context: usize,
        options: &SessionOptions,
    ) -> Result<DecoderSession> {
        let (session, provider) = self.open(path, options)?;
        let (outlets, shape) =
            copied::outlets(&session, context).map_err(|reason| super::refused(path, &reason))?;
        Ok(DecoderSession { session, shape, provider, outlets: Some(outlets) })
    }
}

impl DecoderSession {
    /// What one must know of it.
    pub(crate) fn shape(&self) -> DecoderShape {
        self.shape
    }

    /// The execution provider that is really in use.
    pub(crate) fn provider(&self) -> &'static str {
        self.provider
    }

    /// An empty cache with room for `room` tokens.
    pub(crate) fn cache(&self, room: usize) -> Result<Cache, String> {
        let cache = match self.outlets {
            None => Shared::new(&self.session, self.shape, room)
                .map(|cache| Cache::Shared(Box::new(cache))),
            Some(_) => Copied::new(self.shape).map(Cache::Copied),
        };
        cache.map_err(|e| e.to_string())
    }

    /// Reads `tokens` after the first `past` tokens of the cache, and leaves the logits of the last
    /// `rows` of them in it. There must be room, and at least one token and one row. Where it fails,
    /// the first `past` tokens are still there.
    pub(crate) fn run(
        &mut self,
        cache: &mut Cache,
        past: usize,
        tokens: &[u32],
        rows: usize,
        brake: &Brake,
    ) -> Result<(), RunError> {
        let fits = !tokens.is_empty() && (1..=tokens.len()).contains(&rows);
        if !fits || past.saturating_add(tokens.len()) > cache.room() {
            return Err(RunError::Failed(format!(
                "{} tokens after {past} with {rows} rows of logits do not fit a cache for {}",
                tokens.len(),
                cache.room()
            )));
        }
        let done = match (cache, &self.outlets) {
            (Cache::Shared(cache), _) => {
                cache.run(&mut self.session, past, tokens, rows, &brake.options)
            }
            (Cache::Copied(cache), Some(outlets)) => {
                cache.run(&mut self.session, outlets, past, tokens, rows, &brake.options)
            }
            (Cache::Copied(_), None) => {
                Err(ort::Error::new("a cache of another session was passed"))
            }
        };
        done.map_err(|error| {
            if brake.pulled.load(Ordering::Relaxed) {
                RunError::Stopped
            } else {
                RunError::Failed(error.to_string())
            }
        })
    }
}

impl Cache {
    /// Tokens that there is room for.
    pub(crate) fn room(&self) -> usize {
        match self {
            Self::Shared(cache) => cache.room,
            Self::Copied(cache) => cache.shape.context,
        }
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let (shape, tokens) = match self {
            Self::Shared(cache) => (cache.shape, cache.room),
            Self::Copied(cache) => (cache.shape, cache.length),
        };
        shape.layers * 2 * shape.kv_heads * shape.head_dim * size_of::<f32>() * tokens
    }

    /// The logits of the last run, row by row.
    pub(crate) fn logits(&mut self) -> Result<&mut [f32], String> {
        match self {
            Self::Shared(cache) => cache.logits().map_err(|e| e.to_string()),
            Self::Copied(cache) => Ok(&mut cache.logits),
        }
    }

    /// Makes room for `room` tokens and keeps the first `used`. Where it fails, the cache must not be
    /// used any more.
    pub(crate) fn grow(&mut self, used: usize, room: usize) -> Result<(), String> {
        match self {
            Self::Shared(cache) => cache.grow(used, room).map_err(|e| e.to_string()),
            // It grows as it goes.
            Self::Copied(_) => Ok(()),
        }
    }

    /// Takes over the first `used` tokens of `other`, a cache of the same session; both must have
    /// room for them.
    pub(crate) fn copy_from(&mut self, other: &Self, used: usize) -> Result<(), String> {
        let copied = match (self, other) {
            (Self::Shared(to), Self::Shared(from)) => to.copy_from(from, used),
            (Self::Copied(to), Self::Copied(from)) => to.copy_from(from, used),
            _ => Err(ort::Error::new("a cache of another session was passed")),
        };
        copied.map_err(|e| e.to_string())
    }
}

/// Copies the first `used` tokens of every head.
fn copy(
    shape: DecoderShape,
    used: usize,
    (from, from_room): (&Tensor<f32>, usize),
    (to, to_room): (&mut Tensor<f32>, usize),
) -> ort::Result<()> {
    if used == 0 {
        return Ok(());
    }
    let width = shape.head_dim;
    let (_, from) = from.try_extract_tensor::<f32>()?;
    let (_, to) = to.try_extract_tensor_mut::<f32>()?;
    let heads = from.chunks_exact((from_room * width).max(1));
    for (from, to) in heads.zip(to.chunks_exact_mut((to_room * width).max(1))) {
        let count = (used * width).min(from.len()).min(to.len());
        to[..count].copy_from_slice(&from[..count]);
    }
    Ok(())
}
