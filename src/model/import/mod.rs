//! From published weights to a graph that this machine runs fast.

mod bert;
pub(crate) mod llama;
mod weights;

pub(crate) use bert::{BertConfig, Form, Head, build, check_cross_encoder};
#[cfg(feature = "train")]
pub(crate) use bert::{HeadNames, HeadWeights, PREFIXES, PROBE, is_cross_encoder, published_as};
pub use llama::weight_sums;
pub(crate) use llama::{
    DecoderForm, DecoderShape, DecoderWeights, Smoothing, build as build_decoder,
    watched as watched_decoder,
};
pub(crate) use weights::WeightFile;
#[cfg(feature = "train")]
pub(crate) use weights::{NamedTensor, Weights, write as write_weights};
