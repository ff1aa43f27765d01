//! A linear layer.

use super::column_sums;
use crate::train::product::{Matrix, product};
use crate::train::tensor::{
    CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail, operand, tensor, with,
};

/// `x` [tokens, inputs] times `weight` [outputs, inputs], turned, plus `bias`: [tokens, outputs].
pub(in crate::train) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(weight, bias, Linear)
}

struct Linear;

/// Rows of `bias`, to which the product is added.
pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], inputs: usize) -> Result<Vec<f32>> {
    let outputs = bias.len();
    if inputs == 0 || !x.len().is_multiple_of(inputs) || weight.len() != inputs * outputs {
        bail!("a layer of {inputs} × {outputs} with {} weights", weight.len())
    }
    let tokens = x.len() / inputs;
    let mut out = bias.repeat(tokens);
    let x = Matrix::new(x, tokens, inputs, inputs);
    let weight = Matrix::new(weight, outputs, inputs, inputs);
    product(&mut out, outputs, true, 1.0, x, weight.turned())?;
    Ok(out)
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (tokens, inputs) = layout.shape().dims2()?;
        let bias = operand(bias, bias_layout)?;
        let weight = operand(weight, weight_layout)?;
        let out = forward(operand(x, layout)?, weight, bias, inputs)?;
        Ok((CpuStorage::F32(out), Shape::from((tokens, bias.len()))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (tokens, inputs) = x.dims2()?;
        let outputs = bias.elem_count();
        with(gradient, |gradient| {
            let g = Matrix::new(gradient, tokens, outputs, outputs);
            let mut to_x = None;
            if x.track_op() {
                let mut out = vec![0f32; tokens * inputs];
                with(weight, |weight| {
                    let weight = Matrix::new(weight, outputs, inputs, inputs);
                    product(&mut out, inputs, false, 1.0, g, weight)
                })?;
                to_x = Some(tensor(out, x.dims())?);
            }
            let (mut to_weight, mut to_bias) = (None, None);
            if weight.track_op() {
                let mut out = vec![0f32; outputs * inputs];
                with(x, |x| {
                    let x = Matrix::new(x, tokens, inputs, inputs);
                    product(&mut out, inputs, false, 1.0, g.turned(), x)
                })?;
                to_weight = Some(tensor(out, weight.dims())?);
            }
            if bias.track_op() {
                to_bias = Some(tensor(column_sums(gradient, outputs), bias.dims())?);
            }
            Ok((to_x, to_weight, to_bias))
        })
    }
}
