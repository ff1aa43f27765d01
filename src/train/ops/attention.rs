//! Self-attention of all heads (Vaswani et al. 2017), text by text, so that nothing is computed for
//! padding. What the softmax gives is made again in the backward pass instead of being kept: it is
//! the largest tensor of a layer and the cheapest to make (Dao et al. 2022).

use super::exp::exp;
use super::{Offsets, spans, sum};
use crate::train::product::{Matrix, product};
use crate::train::tensor::{
    CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail, operand, tensor, with,
};

/// `qkv` [tokens, 3 × width] holds queries, keys and values side by side; the result is
/// [tokens, width].
pub(in crate::train) fn attention(qkv: &Tensor, offsets: &Offsets, heads: usize) -> Result<Tensor> {
    let op = Attention { offsets: Offsets::clone(offsets), heads };
    qkv.contiguous()?.apply_op1(op)
}

struct Attention {
    offsets: Offsets,
    heads: usize,
}

/// The parts of one head of one text.
struct Head<'a> {
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    tokens: usize,
    scale: f32,
}

impl<'a> Head<'a> {
    fn new(rows: &'a [f32], tokens: usize, width: usize, start: usize, size: usize) -> Self {
        let part = |nth: usize| {
            let from = rows.get(nth * width + start..).unwrap_or_default();
            Matrix::new(from, tokens, size, 3 * width)
        };
        let scale = 1.0 / (size as f32).sqrt();
        Self { query: part(0), key: part(1), value: part(2), tokens, scale }
    }

    /// The softmax of the scaled products of queries and keys, into `out` [tokens, tokens].
    fn weights(&self, out: &mut [f32]) -> Result<()> {
        product(out, self.tokens, false, self.scale, self.query, self.key.turned())?;
        for row in out.chunks_exact_mut(self.tokens) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = exp(*x - largest));
            let inverse = 1.0 / sum(row.iter().copied());
            row.iter_mut().for_each(|x| *x *= inverse);
        }
        Ok(())
    }
}

impl Attention {
    fn size(&self, width: usize) -> Result<usize> {
        match self.offsets.last() {
            Some(_) if self.heads > 0 && width.is_multiple_of(self.heads) => Ok(width / self.heads),
            _ => bail!("attention of {} heads over a width of {width}", self.heads),
        }
    }

    /// Room for one head's weights of the longest text.
    fn room(&self) -> Vec<f32> {
        let longest = spans(&self.offsets).map(|span| span.len()).max().unwrap_or(0);
        vec![0f32; longest * longest]
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, triple) = layout.shape().dims2()?;
        let (qkv, width) = (operand(storage, layout)?, triple / 3);
        let size = self.size(width)?;
        let mut out = vec![0f32; tokens * width];
        let mut room = self.room();
        for span in spans(&self.offsets) {
            let n = span.len();
            let rows = &qkv[span.start * triple..span.end * triple];
            let out = &mut out[span.start * width..span.end * width];
            let weights = &mut room[..n * n];
            for start in (0..width).step_by(size) {
                let head = Head::new(rows, n, width, start, size);
                head.weights(weights)?;
                let weights = Matrix::new(weights, n, n, n);
                product(&mut out[start..], width, false, 1.0, weights, head.value)?;
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((tokens, width))))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, triple) = qkv.dims2()?;
        let width = triple / 3;
        let size = self.size(width)?;
        let mut out = vec![0f32; qkv.elem_count()];
        let (mut room, mut change) = (self.room(), self.room());
        with(qkv, |qkv| {
            with(gradient, |gradient| {
                for span in spans(&self.offsets) {
                    let n = span.len();
                    let rows = &qkv[span.start * triple..span.end * triple];
                    let gradient = &gradient[span.start * width..span.end * width];
                    let out = &mut out[span.start * triple..span.end * triple];
                    for start in (0..width).step_by(size) {
                        let head = Head::new(rows, n, width, start, size);
                        let (weights, change) = (&mut room[..n * n], &mut change[..n * n]);
                        head.weights(weights)?;
                        let g = Matrix::new(&gradient[start..], n, size, width);
                        product(change, n, false, 1.0, g, head.value.turned())?;
                        let matrix = Matrix::new(weights, n, n, n);
                        let to_value = &mut out[2 * width + start..];
                        product(to_value, triple, false, 1.0, matrix.turned(), g)?;
                        // Through the softmax: p (dp − Σ p dp).
                        for (dp, p) in change.chunks_exact_mut(n).zip(weights.chunks_exact(n)) {
                            let mean = sum(dp.iter().zip(p).map(|(dp, p)| dp * p));
                            dp.iter_mut().zip(p).for_each(|(dp, p)| *dp = p * (*dp - mean));
                        }
                        let change = Matrix::new(change, n, n, n);
                        let to_query = &mut out[start..];
                        product(to_query, triple, false, head.scale, change, head.key)?;
                        let to_key = &mut out[width + start..];
                        let turned = change.turned();
                        product(to_key, triple, false, head.scale, turned, head.query)?;
                    }
                }
                Ok(())
            })
        })?;
        Ok(Some(tensor(out, qkv.dims())?))
    }
}
