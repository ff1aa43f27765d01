//! The configuration of a decoder of the Llama family.

mod json;
mod metadata;

use super::{Part, Rotary};
use crate::error::{Error, Result};
use crate::model::gguf::Gguf;

/// The sizes of a decoder, and in what it differs from Llama.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecoderConfig {
    pub(crate) layers: usize,
    /// Elements of a token's vector between the layers.
    pub(crate) hidden: usize,
    /// Heads of attention.
    pub(crate) heads: usize,
    /// Heads of keys and values, each for as many of `heads` (Ainslie 2023).
    pub(crate) kv_heads: usize,
    /// Elements of a head; even.
    pub(crate) head_dim: usize,
    /// Elements of a token's vector in the middle of a feed-forward network.
    pub(crate) intermediate: usize,
    /// Tokens.
    pub(crate) vocabulary: usize,
    /// Tokens of the longest input, as the model states it.
    pub(crate) context: usize,
    /// Added to the mean square in each norm.
    pub(crate) norm_epsilon: f32,
    pub(crate) rotary: Rotary,
    /// Whether a bias is added to queries, keys and values (Qwen2).
    pub(crate) qkv_bias: bool,
    /// Whether each head of queries and keys is normalised (Qwen3).
    pub(crate) qk_norm: bool,
    /// Whether the embedding is the head too.
    pub(crate) tied: bool,
}

/// The families that are known, which differ in little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Qwen2,
    Qwen3,
}

impl DecoderConfig {
    /// What a GGUF file says.
    ///
    /// # Errors
    /// [`Error::Model`] for an architecture that is not supported, and where something is missing,
    /// contradicts itself or is too large.
    pub(crate) fn of_gguf(gguf: &Gguf) -> Result<Self> {
        let config = metadata::read(gguf).map_err(|reason| gguf.refuse(reason))?;
        config.check().map_err(|reason| gguf.refuse(format!("its metadata {reason}")))?;
        Ok(config)
    }

    /// What the `config.json` of the model `name` says.
    ///
    /// # Errors
    /// As [`Self::of_gguf`].
    pub(crate) fn parse(name: &str, json: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        let config = json::read(json).map_err(refuse)?;
        config.check().map_err(|reason| refuse(format!("its config.json {reason}")))?;
        Ok(config)
    }

    /// Products of numbers that a token costs in the layers.
    pub(crate) fn products(&self) -> usize {
        let of_layers = |part: &Part| !matches!(part, Part::Embedding | Part::Head);
        let parts = Part::all(self).filter(of_layers).map(|part| part.dims(self));
        // Each dimension was checked to be small.
        parts.map(|dims| dims.iter().product::<usize>()).sum()
    }

    /// Whether the numbers make sense together, and are such as a model can have.
    fn check(&self) -> Result<(), String> {
        let within = |what: &str, n: usize, max: usize| {
            if (1..=max).contains(&n) {
                return Ok(());
            }
            Err(format!("says {n} {what}; from 1 to {max} are supported"))
        };
        within("layers", self.layers, 1_024)?;
        within("elements of a token (hidden size)", self.hidden, 65_536)?;
        within("heads", self.heads, 1_024)?;
        within("key-value heads", self.kv_heads, 1_024)?;
        within("dimensions of a head", self.head_dim, 1_024)?;
        within("elements of the feed-forward network", self.intermediate, 1 << 20)?;
        within("tokens of vocabulary", self.vocabulary, 4_000_000)?;
        within("tokens of context", self.context, 1 << 28)?;
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(format!(
                "says {} heads and {} key-value heads, which do not divide",
                self.heads, self.kv_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!(
                "says {} dimensions of a head; pairs of them are turned, so an even number is \
                 supported",
                self.head_dim
            ));
        }
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon < 1.0) {
            return Err(format!(
                "says {} for the norm's epsilon; above 0 and below 1 is supported",
                self.norm_epsilon
            ));
        }
        self.rotary.check(self.head_dim)
    }
}

/// The dimensions of a head, where a configuration leaves them to be divided.
fn divided(hidden: usize, heads: usize) -> Result<usize, String> {
    match hidden.checked_div(heads) {
        Some(size) if size * heads == hidden => Ok(size),
        _ => Err(format!("{hidden} elements of a token and {heads} heads, which do not divide")),
    }
}

#[cfg(test)]
mod tests;
