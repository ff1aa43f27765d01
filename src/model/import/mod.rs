//! From published weights to a graph that this machine runs fast.

mod bert;
mod weights;

pub(crate) use bert::{BertConfig, Form, build};
pub(crate) use weights::WeightFile;
