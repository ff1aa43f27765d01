//! The parts of a layer, each with its own backward pass.
//!
//! candle's fused layer norm and softmax have no backward pass, and its plain ones read and write
//! memory many times. These are fused and differentiable; `train/tests.rs` compares their gradients
//! with finite differences. They work on tokens without padding: a tensor is [tokens, width], and
//! `Offsets` say where each text begins.

mod attention;
mod exp;
mod gelu;
mod layer_norm;
mod linear;
mod lora;
mod pool;

pub(super) use attention::attention;
pub(super) use gelu::{Activation, activate};
pub(super) use layer_norm::layer_norm;
pub(super) use linear::linear;
pub(super) use lora::{Adapted, Dropout, adapted};
pub(super) use pool::pool;

use std::sync::Arc;

/// Where each text's tokens begin, and where the last one's end.
pub(super) type Offsets = Arc<[usize]>;

/// Where each text's tokens lie.
fn spans(offsets: &[usize]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    offsets.windows(2).map(|pair| pair[0]..pair[1])
}

/// The sum, in several lanes so that the compiler can use wide registers.
fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0f32; 8];
    for (i, x) in values.enumerate() {
        lanes[i % 8] += x;
    }
    lanes.iter().sum()
}

/// Adds the columns of rows of `width`.
fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f32; width];
    for row in values.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(s, x)| *s += x);
    }
    sums
}
