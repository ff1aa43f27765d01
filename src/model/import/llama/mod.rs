//! Decoders of the Llama family: their configurations, and their weights by what they are for.

mod config;
mod graph;
mod names;
mod rope;
#[cfg(test)]
pub(crate) mod samples;
mod smooth;
mod weights;

pub(crate) use config::DecoderConfig;
pub(crate) use graph::{DecoderForm, DecoderShape, build, watched};
pub(crate) use names::Part;
pub(crate) use rope::{Pairs, Rotary, Scaling};
pub(crate) use smooth::Smoothing;
pub(crate) use weights::DecoderWeights;

use crate::error::Result;
use crate::hash::Sha256;
use std::path::Path;

/// The sha256 of every weight of a decoder's GGUF file, in order of their names there: of its values as
/// f32, little-endian. For tests, which compare them with what other readers make of the file.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Model`].
#[doc(hidden)]
pub fn weight_sums(path: &Path) -> Result<Vec<(String, String)>> {
    let weights = DecoderWeights::open(path)?;
    let mut sums = Vec::new();
    for part in Part::all(weights.config()) {
        let values = match part.dims(weights.config()).len() {
            1 => weights.vector(part)?,
            _ => weights.matrix(part)?.values,
        };
        let mut sum = Sha256::default();
        for some in values.chunks(1 << 14) {
            sum.update(some.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
        sums.push((part.in_gguf(), sum.hex()));
    }
    sums.sort();
    Ok(sums)
}
