//! What every run is told, whatever it learns.

use super::adapter::LoraOptions;
use super::card::WEIGHTS;
use super::optimizer::AdamW;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::hash::{Sha256, sha256_of};
use crate::pairs::Fields;
use std::path::PathBuf;

/// What a run learns from, how many steps it makes, and where its result goes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunOptions {
    /// Pairs to learn from: JSON lines, CSV or TSV, also packed with gzip (`.gz`). Each record has a
    /// query and a positive, and may have negatives and a score.
    pub train: PathBuf,
    /// Pairs to measure by, in the same form. Default: none; then nothing is measured and the last
    /// weights are the result.
    pub dev: Option<PathBuf>,
    /// Where the result goes, and checkpoints on the way: a folder.
    pub output: PathBuf,
    /// Names of the records' fields.
    pub fields: Fields,
    /// Train adapters of low rank instead of the whole model. Default: none.
    pub lora: Option<LoraOptions>,
    /// How often all pairs are seen. Default: 1.
    pub epochs: u64,
    /// Pairs of a batch. Default: 64 for encoders, where more make the task harder by their in-batch
    /// negatives; 16 for re-rankers, which read each pair with its negatives.
    pub batch: usize,
    /// Batches whose gradients are averaged for one step. Default: 1.
    pub accumulate: usize,
    /// The highest learning rate. Default: 2e-5, with adapters 5e-4.
    pub learning_rate: Option<f64>,
    /// The share of steps in which the learning rate rises. Default: 0.1.
    pub warmup: f64,
    /// What becomes of it then. Default: linear.
    pub schedule: Schedule,
    /// The optimiser. Default: AdamW with a weight decay of 0.01 and gradients clipped at 1.
    pub optimizer: AdamW,
    /// Tokens of an input, special tokens included; the rest is cut. Default: the base's window.
    pub window: Option<usize>,
    /// Decides every choice by chance: the same seed on one thread gives the same weights. Default: 0.
    pub seed: u64,
    /// Default: all processors.
    pub threads: Option<usize>,
    /// Bytes of a batch's intermediate values that are kept for the way back; what is beyond is
    /// computed twice instead. Default: 2 GiB; with adapters, whose point is to take less, 512 MiB.
    pub memory: Option<usize>,
    /// Steps between two measurements on the dev set. Default: once an epoch.
    pub evaluate_every: Option<u64>,
    /// Steps between two checkpoints. Default: once an epoch.
    pub checkpoint_every: Option<u64>,
    /// Measurements in a row without a better one after which the run ends. Default: none.
    pub patience: Option<usize>,
    /// The run ends after so many steps, as if there were no more data. Default: none.
    pub max_steps: Option<u64>,
    /// Go on from the last checkpoint in the output folder, where there is one. Default: false.
    pub resume: bool,
    /// The base's licence, for the card. Default: unknown.
    pub licence: Option<String>,
}

impl RunOptions {
    /// A run over `train` into the folder `output`, with the defaults of each field.
    pub(super) fn new(train: PathBuf, output: PathBuf, batch: usize) -> Self {
        Self {
            train,
            dev: None,
            output,
            fields: Fields::default(),
            lora: None,
            epochs: 1,
            batch,
            accumulate: 1,
            learning_rate: None,
            warmup: 0.1,
            schedule: Schedule::default(),
            optimizer: AdamW::default(),
            window: None,
            seed: 0,
            threads: None,
            memory: None,
            evaluate_every: None,
            checkpoint_every: None,
            patience: None,
            max_steps: None,
            resume: false,
            licence: None,
        }
    }

    /// The learning rate at its highest.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.learning_rate.unwrap_or(if self.lora.is_some() { 5e-4 } else { 2e-5 })
    }

    /// Bytes that are kept for the way back.
    pub(super) fn room(&self) -> usize {
        self.memory.unwrap_or(if self.lora.is_some() { 512 << 20 } else { 2 << 30 })
    }

    /// Refuses an output folder that holds a model.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub(super) fn refuse_a_model(&self) -> Result<()> {
        if self.output.join(WEIGHTS).exists() {
            let output = self.output.display();
            let reason = format!("{output} holds a model already; name another folder");
            return Err(Error::parameter("output", reason));
        }
        Ok(())
    }

    /// Threads that the run takes.
    pub(super) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(crate::threads::all)
    }

    /// Whether a run can be of them, with a base that reads at most `window` tokens.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming what cannot be.
    pub(super) fn check(&self, window: usize) -> Result<()> {
        let positive = |name, n: usize| {
            if n == 0 { Err(Error::parameter(name, "0; at least 1 is needed")) } else { Ok(()) }
        };
        positive("batch", self.batch)?;
        positive("accumulate", self.accumulate)?;
        positive("epochs", usize::from(self.epochs > 0))?;
        positive("threads", self.threads.unwrap_or(1))?;
        positive("evaluate-every", usize::from(self.evaluate_every != Some(0)))?;
        positive("checkpoint-every", usize::from(self.checkpoint_every != Some(0)))?;
        if !(self.rate().is_finite() && self.rate() > 0.0) {
            return Err(Error::parameter("lr", format!("{}; more than 0", self.rate())));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(Error::parameter("warmup", format!("{}; from 0 to 1", self.warmup)));
        }
        if let Some(own) = self.window.filter(|n| !(8..=window).contains(n)) {
            let reason = format!("{own}; from 8 to the base's {window}");
            return Err(Error::parameter("window", reason));
        }
        Ok(())
    }

    /// What of them decides the weights: not where files are, nor threads, memory and intervals.
    pub(super) fn decisive(&self) -> Self {
        Self {
            train: PathBuf::new(),
            dev: None,
            output: PathBuf::new(),
            threads: None,
            memory: None,
            checkpoint_every: None,
            resume: false,
            licence: None,
            ..self.clone()
        }
    }

    /// What decides the weights of a run, summed up: `own`, which is its settings and base in words,
    /// and the data.
    pub(super) fn identity(&self, own: &str) -> Result<String> {
        let mut all = Sha256::default();
        all.update(own);
        all.update(sha256_of(&self.train)?);
        if let Some(dev) = &self.dev {
            all.update(sha256_of(dev)?);
        }
        Ok(all.hex())
    }
}
