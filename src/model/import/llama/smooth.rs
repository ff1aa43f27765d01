//! A decoder's weights with the outliers of its activations moved into them, before they are rounded.
//!
//! A few channels of a decoder's activations are far larger than the rest, and activations are rounded
//! in blocks of channels: the large take the resolution of the small. So each channel is divided by a
//! scale and the weights that it meets are multiplied by it (`SmoothQuant`, Xiao 2023). The division
//! costs nothing: the norm before the product takes it up, or the rows of the matrix before it. In
//! exact numbers the decoder stays the same function. What attention gives out is even already: there
//! it gained nothing.

use super::weights::{Blocks8, Matrix};
use super::{DecoderWeights, Part};
use crate::error::{Error, Result};
use crate::model::quantize::{Range, largest_of_columns, smoothing};

/// How much of the difference between channels the weights take over (docs/benchmarks.md).
const MIGRATION: f32 = 0.6;

/// The scales of every layer.
pub(crate) struct Smoothing {
    layers: Vec<Scales>,
}

/// Of one layer; `None` where the file has the weights in 8 bits already, which stay as they are.
#[derive(Default)]
struct Scales {
    /// What queries, keys and values are made of.
    attention: Option<Vec<f32>>,
    /// What gate and up are made of.
    feed_forward: Option<Vec<f32>>,
    /// What is in the middle of the feed-forward network.
    middle: Option<Vec<f32>>,
}

/// The values of a layer whose ranges are wanted, in the graph's order.
pub(super) const WATCHED: usize = 3;

impl Smoothing {
    /// The best for activations of these ranges: [`WATCHED`] of each layer.
    ///
    /// # Errors
    /// Those of reading the weights; [`Error::Model`] where the ranges are another decoder's.
    pub(crate) fn of(weights: &DecoderWeights, ranges: &[Vec<Range>]) -> Result<Self> {
        let layers = (0..weights.config().layers).map(|layer| {
            let found = ranges.get(layer * WATCHED..(layer + 1) * WATCHED);
            Scales::of(weights, layer, found.unwrap_or_default())
        });
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// By what the columns of a matrix are multiplied.
    fn columns(&self, part: Part) -> Option<&[f32]> {
        let layer = |layer: usize| self.layers.get(layer);
        match part {
            Part::Query(l) | Part::Key(l) | Part::Value(l) => layer(l)?.attention.as_deref(),
            Part::Gate(l) | Part::Up(l) => layer(l)?.feed_forward.as_deref(),
            Part::Down(l) => layer(l)?.middle.as_deref(),
            _ => None,
        }
    }

    /// By what the rows of a matrix, or the elements of a vector, are divided.
    fn rows(&self, part: Part) -> Option<&[f32]> {
        let layer = |layer: usize| self.layers.get(layer);
        match part {
            Part::AttentionNorm(l) => layer(l)?.attention.as_deref(),
            Part::FeedForwardNorm(l) => layer(l)?.feed_forward.as_deref(),
            Part::Up(l) => layer(l)?.middle.as_deref(),
            _ => None,
        }
    }
}

impl Scales {
    fn of(weights: &DecoderWeights, layer: usize, ranges: &[Vec<Range>]) -> Result<Self> {
        let [attention, feed_forward, middle] = ranges else { return Err(unknown(weights)) };
        let rounded = |part: Part| !weights.has_blocks(part);
        let scales = |ranges: &[Range], parts: &[Part]| {
            let activations: Vec<f32> = ranges.iter().map(|range| range.magnitude()).collect();
            let mut largest = vec![0f32; activations.len()];
            for part in parts {
                let matrix = weights.matrix(*part)?;
                if matrix.columns != largest.len() {
                    return Err(unknown(weights));
                }
                let columns = largest_of_columns(&matrix.values, matrix.columns);
                largest.iter_mut().zip(columns).for_each(|(max, x)| *max = max.max(x));
            }
            Ok(Some(smoothing(&activations, &largest, MIGRATION)))
        };
        let mut found = Self::default();
        // The three are one product: it is rounded where one of them is not in 8 bits.
        let packed = [Part::Query(layer), Part::Key(layer), Part::Value(layer)];
        if packed.into_iter().any(rounded) {
            found.attention = scales(attention, &packed)?;
        }
        let (gate, up, down) = (Part::Gate(layer), Part::Up(layer), Part::Down(layer));
        if rounded(gate) && rounded(up) {
            found.feed_forward = scales(feed_forward, &[gate, up])?;
        }
        if rounded(up) && rounded(down) {
            found.middle = scales(middle, &[down])?;
        }
        Ok(found)
    }
}

fn unknown(weights: &DecoderWeights) -> Error {
    Error::Model {
        name: weights.name().to_owned(),
        reason: "calibration has no ranges for it".to_owned(),
    }
}

/// The weights of a decoder, smoothed or as they are.
#[derive(Clone, Copy)]
pub(super) struct Folded<'a> {
    pub(super) weights: &'a DecoderWeights,
    pub(super) smoothing: Option<&'a Smoothing>,
}

impl Folded<'_> {
    /// As [`DecoderWeights::vector`].
    pub(super) fn vector(self, part: Part) -> Result<Vec<f32>> {
        let mut vector = self.weights.vector(part)?;
        if let Some(scales) = self.smoothing.and_then(|s| s.rows(part)) {
            vector.iter_mut().zip(scales).for_each(|(x, scale)| *x /= scale);
        }
        Ok(vector)
    }

    /// As [`DecoderWeights::matrix`].
    pub(super) fn matrix(self, part: Part) -> Result<Matrix> {
        let mut matrix = self.weights.matrix(part)?;
        let Some(smoothing) = self.smoothing else { return Ok(matrix) };
        let columns = matrix.columns.max(1);
        if let Some(scales) = smoothing.columns(part) {
            for row in matrix.values.chunks_exact_mut(columns) {
                row.iter_mut().zip(scales).for_each(|(x, scale)| *x *= scale);
            }
        }
        if let Some(scales) = smoothing.rows(part) {
            for (row, scale) in matrix.values.chunks_exact_mut(columns).zip(scales) {
                row.iter_mut().for_each(|x| *x /= scale);
            }
        }
        Ok(matrix)
    }

    /// As [`DecoderWeights::blocks`]: what is in 8 bits is not smoothed.
    pub(super) fn blocks(self, part: Part) -> Result<Option<Blocks8>> {
        self.weights.blocks(part)
    }
}

#[cfg(test)]
mod tests;
