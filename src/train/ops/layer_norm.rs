//! Layer normalisation (Ba, Kiros and Hinton 2016), over rows.

use super::sum;
use crate::train::tensor::{
    CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail, operand, tensor, with,
};

/// Each row of `x` [tokens, width] less its mean and over its deviation, times `weight` plus `bias`.
pub(in crate::train) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    x.contiguous()?.apply_op3(weight, bias, LayerNorm { epsilon })
}

struct LayerNorm {
    epsilon: f32,
}

impl LayerNorm {
    /// Mean and inverse deviation of a row.
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let n = row.len() as f32;
        let mean = sum(row.iter().copied()) / n;
        let variance = sum(row.iter().map(|x| (x - mean) * (x - mean))) / n;
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = operand(x, layout)?;
        let weight = operand(weight, weight_layout)?;
        let bias = operand(bias, bias_layout)?;
        let width = weight.len();
        if width == 0 || bias.len() != width || !x.len().is_multiple_of(width) {
            bail!("layer norm of {} values by {width} and {}", x.len(), bias.len())
        }
        let mut out = Vec::with_capacity(x.len());
        for row in x.chunks_exact(width) {
            let (mean, inverse) = self.moments(row);
            let scaled = row.iter().zip(weight).zip(bias);
            out.extend(scaled.map(|((x, w), b)| (x - mean) * inverse * w + b));
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let mut to_weight = vec![0f32; width];
        let mut to_bias = vec![0f32; width];
        let mut to_x = Vec::with_capacity(x.elem_count());
        let mut normal = vec![0f32; width];
        with(x, |x| {
            with(weight, |weight| {
                with(gradient, |gradient| {
                    for (row, g) in x.chunks_exact(width).zip(gradient.chunks_exact(width)) {
                        let (mean, inverse) = self.moments(row);
                        normal.iter_mut().zip(row).for_each(|(n, x)| *n = (x - mean) * inverse);
                        to_bias.iter_mut().zip(g).for_each(|(b, g)| *b += g);
                        let both = g.iter().zip(&normal);
                        to_weight.iter_mut().zip(both).for_each(|(w, (g, n))| *w += g * n);
                        // dx = (wg − mean(wg) − n · mean(wg · n)) / deviation
                        let weighted = || g.iter().zip(weight).map(|(g, w)| g * w);
                        let first = sum(weighted()) / width as f32;
                        let second =
                            sum(weighted().zip(&normal).map(|(g, n)| g * n)) / width as f32;
                        to_x.extend(
                            weighted()
                                .zip(&normal)
                                .map(|(g, n)| (g - first - n * second) * inverse),
                        );
                    }
                    Ok(())
                })
            })
        })?;
        let tracked = |of: &Tensor, values: Vec<f32>| {
            if of.track_op() { tensor(values, of.dims()).map(Some) } else { Ok(None) }
        };
        Ok((tracked(x, to_x)?, tracked(weight, to_weight)?, tracked(bias, to_bias)?))
    }
}
