//! The gradient of one batch, by all threads.
//!
//! The batch is cut into chunks that fit the caches. Each goes through the encoder by itself; the loss
//! sees all vectors together and says how each should change; each chunk then goes back through the
//! encoder with its part of that (gradient caching, Gao et al. 2021). What the first pass computed is
//! kept for the second as far as there is room; the second computes the rest again, so that memory does
//! not grow with the batch.

use super::encoder::{Pass, Sums, Text, TrainableEncoder, cost};
use super::parallel;
use super::random::mix;
use super::tensor::{Tensor, Var, tensor, told, with};
use crate::error::Result;

/// How a gradient is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) threads: usize,
    /// Bytes that the first pass may keep for the second.
    pub(super) memory: usize,
    /// Decides what dropout leaves out.
    pub(super) seed: u64,
}

/// The first pass of a chunk: what is needed to go back, or only its vectors.
struct Forward {
    chunk: usize,
    kept: Option<Pass>,
    rows: Vec<f32>,
}

/// The loss of `texts` and the gradients of all that is trained. `loss` is given the vectors of all
/// texts, [texts, dimensions], or of a cross-encoder their figures, [texts, 1], and returns one number.
pub(super) fn gradient(
    encoder: &TrainableEncoder,
    texts: &[Text<'_>],
    work: Work,
    loss: impl Fn(&Tensor) -> super::tensor::Result<Tensor>,
) -> Result<(f64, Sums)> {
    let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    let chunks = parallel::chunks(&lengths);
    let costs: Vec<usize> = chunks.iter().map(|chunk| cost(&lengths, chunk)).collect();
    let keep = kept(&costs, work.memory / encoder.bytes_per_token().max(1));
    let members = |chunk: usize| -> Vec<Text<'_>> {
        let members = chunks.get(chunk).into_iter().flatten();
        members.filter_map(|i| texts.get(*i).copied()).collect()
    };
    // A chunk's dropout is its own, and the same in both passes.
    let dropout = |chunk: usize| Some(mix(work.seed ^ mix(chunk as u64)));
    let shares = parallel::shares(&costs, work.threads);
    let forward = parallel::each(shares, |share| {
        let mut done = Vec::with_capacity(share.len());
        for chunk in share {
            let keep = keep.get(chunk).copied().unwrap_or_default();
            let pass = told(encoder.forward(&members(chunk), keep, dropout(chunk)))?;
            let rows = told(with(&pass.vectors, |rows| Ok(rows.to_vec())))?;
            done.push(Forward { chunk, kept: keep.then_some(pass), rows });
        }
        Ok(done)
    })?;

    let width = encoder.width();
    let mut vectors = vec![0f32; texts.len() * width];
    for done in forward.iter().flatten() {
        let members = chunks.get(done.chunk).into_iter().flatten();
        for (i, row) in members.zip(done.rows.chunks_exact(width)) {
            if let Some(place) = vectors.get_mut(i * width..(i + 1) * width) {
                place.copy_from_slice(row);
            }
        }
    }
    let (value, changes) = told(of_vectors(vectors, texts.len(), width, loss))?;

    let partial = parallel::each(forward, |share| {
        let mut sums = Sums::zero(&encoder.parameters);
        for done in share {
            let pass = match done.kept {
                Some(pass) => pass,
                None => told(encoder.forward(&members(done.chunk), true, dropout(done.chunk)))?,
            };
            let mut own = Vec::with_capacity(done.rows.len());
            for i in chunks.get(done.chunk).into_iter().flatten() {
                own.extend(changes.get(i * width..(i + 1) * width).unwrap_or_default());
            }
            let own = told(tensor(own, pass.vectors.dims()))?;
            told(encoder.backward(&pass, &own, &mut sums))?;
        }
        Ok(sums)
    })?;
    let mut partial = partial.into_iter();
    let mut sums = partial.next().unwrap_or_else(|| Sums::zero(&encoder.parameters));
    partial.for_each(|other| sums.add(&other));
    Ok((value, sums))
}

/// Which chunks are kept, given what each costs in tokens: the first ones that there is room for.
fn kept(costs: &[usize], room: usize) -> Vec<bool> {
    let mut used = 0usize;
    let fits = |cost: &usize| {
        used = used.saturating_add(*cost);
        used <= room
    };
    costs.iter().map(fits).collect()
}

/// The loss of these vectors, and its gradient by each of their elements.
fn of_vectors(
    vectors: Vec<f32>,
    texts: usize,
    width: usize,
    loss: impl Fn(&Tensor) -> super::tensor::Result<Tensor>,
) -> super::tensor::Result<(f64, Vec<f32>)> {
    let vectors = Var::from_tensor(&tensor(vectors, &[texts, width])?)?;
    let value = loss(vectors.as_tensor())?;
    let found = value.backward()?;
    let number = f64::from(value.to_scalar::<f32>()?);
    let gradient = match found.get(vectors.as_tensor()) {
        Some(gradient) => with(gradient, |g| Ok(g.to_vec()))?,
        None => vec![0f32; texts * width],
    };
    Ok((number, gradient))
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn chunks_are_kept_while_there_is_room() {
        assert_eq!(kept(&[5, 3, 4], 8), [true, true, false]);
        assert_eq!(kept(&[5, 3, 4], usize::MAX), [true; 3]);
        assert_eq!(kept(&[5, 3, 4], 4), [false; 3]);
    }
}
