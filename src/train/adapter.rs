//! What of a model is trained: all of it, or corrections of low rank beside frozen layers.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// LoRA (Hu et al. 2021): W + (alpha / rank) · up · down, of which only up and down are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraOptions {
    /// Rows of `down` and columns of `up`. Default: 8.
    pub rank: usize,
    /// Scale of the correction, over the rank. Default: 16.
    pub alpha: f32,
    /// Share of the correction's inputs that are left out in each step, from 0 to below 1. Default:
    /// 0.05.
    pub dropout: f32,
    /// Which matrices are corrected. Default: query and value.
    pub targets: Vec<LoraTarget>,
    /// Only the last so many layers. Default: all.
    pub last_layers: Option<usize>,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            dropout: 0.05,
            targets: vec![LoraTarget::Query, LoraTarget::Value],
            last_layers: None,
        }
    }
}

/// A matrix of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoraTarget {
    /// Tokens to queries of attention.
    Query,
    /// Tokens to keys.
    Key,
    /// Tokens to values.
    Value,
    /// What attention gives, back to tokens.
    Output,
    /// Tokens to the wide inside of the feed-forward part.
    Up,
    /// That back to tokens.
    Down,
}

impl FromStr for LoraTarget {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "query" => Self::Query,
            "key" => Self::Key,
            "value" => Self::Value,
            "output" => Self::Output,
            "up" => Self::Up,
            "down" => Self::Down,
            _ => {
                return Err(Error::parameter(
                    "lora-targets",
                    format!("{name:?}; there are query, key, value, output, up and down"),
                ));
            }
        })
    }
}

impl LoraOptions {
    /// # Errors
    /// [`Error::Parameter`] for what no adapter can have.
    pub(super) fn check(&self) -> Result<()> {
        if !(1..=1024).contains(&self.rank) {
            return Err(Error::parameter("rank", format!("{}; from 1 to 1024", self.rank)));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(Error::parameter("alpha", format!("{}; more than 0", self.alpha)));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let reason = format!("{}; from 0 to below 1", self.dropout);
            return Err(Error::parameter("lora-dropout", reason));
        }
        if self.targets.is_empty() || self.last_layers == Some(0) {
            return Err(Error::parameter("lora-targets", "nothing is left to train"));
        }
        Ok(())
    }

    /// By what a correction is multiplied.
    pub(super) fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}
