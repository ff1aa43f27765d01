//! Fine-tuning of encoders and re-rankers on the user's own texts.
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
//! options.run.dev = Some("dev.jsonl".into());
//! let outcome = contrastive(&base, &options, &mut |_| ControlFlow::Continue(()))?;
//! println!("nDCG@10 {:?} -> {:?}", outcome.before, outcome.after);
//! # Ok::<(), vdb::Error>(())
//! ```
//!
//! [`reranker`] makes a cross-encoder of an encoder, or goes on with one, from the same kind of pairs.

mod adapter;
mod batches;
mod blend;
mod card;
mod checkpoint;
mod contrastive;
mod cross_encoder;
mod encoder;
mod event;
mod gradient;
mod loss;
mod measure;
mod merge;
mod mine;
mod negatives;
mod ops;
mod optimizer;
mod options;
mod parallel;
mod parameters;
mod plot;
mod product;
mod random;
mod record;
mod reranker;
mod run;
mod schedule;
mod score_loss;
mod suit;
mod tensor;
#[cfg(test)]
mod tests;

pub use adapter::{LoraOptions, LoraTarget};
pub use contrastive::{ContrastiveOptions, contrastive};
pub use cross_encoder::{RerankerBase, TrainableCrossEncoder};
pub use encoder::TrainableEncoder;
pub use event::{DataSummary, Outcome, StepSummary, TrainEvent};
pub use loss::Loss;
pub use measure::DevQuality;
pub use merge::merge;
pub use mine::{Mining, MiningReport, mine, with_hard_negatives};
pub use optimizer::AdamW;
pub use options::RunOptions;
#[cfg(feature = "cli")]
pub(crate) use record::{read_record, write_record};
pub use reranker::{RerankerOptions, reranker};
pub use schedule::Schedule;
pub use score_loss::RerankerLoss;
