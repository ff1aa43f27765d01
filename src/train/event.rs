//! What a run tells while it goes, and how it ended.

use super::measure::DevQuality;
use super::mine::MiningReport;
use crate::pairs::Pairs;
use std::path::PathBuf;

/// What a run tells while it goes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrainEvent {
    /// Texts were encoded, to be compared with each other.
    Encoded {
        /// Distinct texts that are done.
        texts: usize,
        /// Distinct texts in all.
        of: usize,
    },
    /// Hard negatives were found.
    Mined(MiningReport),
    /// What the data is like, once.
    Data(DataSummary),
    /// Something that the user should know.
    Warning(String),
    /// The run goes on from a checkpoint after this step.
    Resumed {
        /// Steps that were made.
        step: u64,
    },
    /// A step was made.
    Step(StepSummary),
    /// The dev set was measured; before the first step as step 0.
    Dev {
        /// Steps that were made.
        step: u64,
        /// What was found.
        quality: DevQuality,
        /// Whether these are the best weights so far.
        best: bool,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps that were made.
        step: u64,
    },
}

/// What a run is to learn from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSummary {
    /// Pairs to learn from.
    pub pairs: usize,
    /// Pairs that were there twice, and left out.
    pub repeated: usize,
    /// Pairs to measure by.
    pub dev_pairs: usize,
    /// Dev pairs whose query or positive is in the training data too.
    pub overlap: usize,
    /// Of these texts, those that are longer than the window.
    pub cut: usize,
    /// Distinct texts; of a re-ranker, which reads two together, pairs.
    pub texts: usize,
    /// Elements of what is trained.
    pub trained: usize,
    /// Elements of the whole model.
    pub parameters: usize,
    /// Steps of the whole run.
    pub steps: u64,
}

impl DataSummary {
    /// What is known of the data before anything is read as tokens.
    pub(super) fn of(pairs: &Pairs, dev: Option<&Pairs>) -> Self {
        Self {
            pairs: pairs.pairs.len(),
            repeated: pairs.repeated,
            dev_pairs: dev.map_or(0, |dev| dev.pairs.len()),
            overlap: dev.map_or(0, |dev| dev.overlap(pairs)),
            texts: pairs.queries.all.len() + pairs.documents.all.len(),
            ..Self::default()
        }
    }
}

/// A step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct StepSummary {
    /// Its number, from 1.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The loss before it.
    pub loss: f64,
    /// Its learning rate.
    pub rate: f64,
    /// Length of the gradient before clipping.
    pub norm: f64,
    /// Pairs a second, over this session.
    pub pairs_per_second: f64,
    /// Seconds that are left, measurements aside.
    pub seconds_left: f64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Steps that were made.
    pub steps: u64,
    /// The caller stopped it; a checkpoint is there, the result is not.
    pub stopped: bool,
    /// Dev figures of the base.
    pub before: Option<DevQuality>,
    /// Dev figures of the result.
    pub after: Option<DevQuality>,
    /// The result.
    pub folder: PathBuf,
}
