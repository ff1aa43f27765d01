//! From token vectors to one vector a text.

use super::{Offsets, spans};
use crate::encode::Pooling;
use crate::train::tensor::{
    CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, operand, tensor, with,
};

/// The rows of `x` [tokens, width] of each text, pooled: [texts, width].
pub(in crate::train) fn pool(x: &Tensor, offsets: &Offsets, pooling: Pooling) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Pool { offsets: Offsets::clone(offsets), pooling })
}

struct Pool {
    offsets: Offsets,
    pooling: Pooling,
}

impl Pool {
    /// How many of a text's `tokens` take part.
    fn rows(&self, tokens: usize) -> usize {
        match self.pooling {
            Pooling::Mean => tokens,
            Pooling::Cls => 1,
        }
    }
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "pooling"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let x = operand(storage, layout)?;
        let texts = self.offsets.len().saturating_sub(1);
        let mut out = vec![0f32; texts * width];
        for (span, pooled) in spans(&self.offsets).zip(out.chunks_exact_mut(width)) {
            let rows = self.rows(span.len());
            for row in x.chunks_exact(width).skip(span.start).take(rows) {
                pooled.iter_mut().zip(row).for_each(|(p, x)| *p += x);
            }
            pooled.iter_mut().for_each(|p| *p /= rows as f32);
        }
        Ok((CpuStorage::F32(out), Shape::from((texts, width))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = x.dims2()?;
        let mut out = vec![0f32; x.elem_count()];
        with(gradient, |gradient| {
            for (span, g) in spans(&self.offsets).zip(gradient.chunks_exact(width)) {
                let rows = self.rows(span.len());
                for row in out.chunks_exact_mut(width).skip(span.start).take(rows) {
                    row.iter_mut().zip(g).for_each(|(x, g)| *x = g / rows as f32);
                }
            }
            Ok(())
        })?;
        Ok(Some(tensor(out, x.dims())?))
    }
}
