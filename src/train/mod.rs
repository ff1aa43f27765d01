//! Fine-tuning of encoders on the user's own texts.
//!
//! [`contrastive`] takes an encoder of the BERT family and pairs of texts that belong together, and
//! leaves a model folder that [`crate::model::Models::encoder`] opens by its path:
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use vdb::model::{DEFAULT_ENCODER, Models};
//! use vdb::train::{ContrastiveOptions, contrastive};
//!
//! let base = Models::from_env()?.encoder_spec(DEFAULT_ENCODER)?;
//! let mut options = ContrastiveOptions::new("pairs.jsonl", "my-encoder");
//! options.dev = Some("dev.jsonl".into());
//! let outcome = contrastive(&base, &options, &mut |_| ControlFlow::Continue(()))?;
//! println!("nDCG@10 {:?} -> {:?}", outcome.before, outcome.after);
//! # Ok::<(), vdb::Error>(())
//! ```

mod adapter;
mod batches;
mod blend;
mod card;
mod checkpoint;
mod contrastive;
mod encoder;
mod gradient;
mod loss;
mod measure;
mod merge;
mod mine;
mod ops;
mod optimizer;
mod parallel;
mod parameters;
mod plot;
mod product;
mod random;
mod schedule;
mod suit;
mod tensor;
#[cfg(test)]
mod tests;

pub use adapter::{LoraOptions, LoraTarget};
pub use contrastive::{
    ContrastiveOptions, DataSummary, Outcome, StepSummary, TrainEvent, contrastive,
};
pub use encoder::TrainableEncoder;
pub use loss::Loss;
pub use measure::DevQuality;
pub use merge::merge;
pub use mine::{Mining, MiningReport, mine, with_hard_negatives};
pub use optimizer::AdamW;
pub use schedule::Schedule;
