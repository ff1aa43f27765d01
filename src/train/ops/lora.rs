//! A frozen linear layer with a trained correction of low rank (LoRA, Hu et al. 2021).

use super::linear::forward;
use crate::train::product::{Matrix, product};
use crate::train::random::mix;
use crate::train::tensor::{
    CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail, operand, tensor, with,
};
use std::ops::Range;

/// Which inputs of the correction are left out, by chance.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Dropout {
    /// The share that is left out, from 0 to below 1.
    pub(in crate::train) share: f32,
    /// Decides which.
    pub(in crate::train) seed: u64,
}

/// A frozen layer and how it is corrected.
#[derive(Debug, Clone)]
pub(in crate::train) struct Adapted {
    /// [outputs, inputs]
    pub(in crate::train) weight: Tensor,
    /// [outputs]
    pub(in crate::train) bias: Tensor,
    /// Outputs that are corrected; each range has its own rows of `down` and of `up`.
    pub(in crate::train) blocks: Vec<Range<usize>>,
    pub(in crate::train) rank: usize,
    /// By what the correction is multiplied: alpha / rank.
    pub(in crate::train) scale: f32,
    pub(in crate::train) dropout: Option<Dropout>,
}

/// `x` through the frozen layer, and beside it through `down` [blocks × rank, inputs] and `up`
/// [corrected outputs, rank].
pub(in crate::train) fn adapted(
    x: &Tensor,
    down: &Tensor,
    up: &Tensor,
    layer: Adapted,
) -> Result<Tensor> {
    x.contiguous()?.apply_op3(down, up, layer)
}

impl Adapted {
    /// What the correction reads: `x`, or `x` with a share left out and the rest larger.
    fn kept(&self, x: &[f32]) -> Option<Vec<f32>> {
        self.dropout.map(|dropout| {
            let mut kept = x.to_vec();
            dropout.apply(&mut kept);
            kept
        })
    }

    /// Where each block's rows of `up` begin.
    fn starts(&self) -> impl Iterator<Item = (usize, usize, &Range<usize>)> {
        let mut start = 0;
        self.blocks.iter().enumerate().map(move |(nth, block)| {
            let own = start;
            start += block.len();
            (nth * self.rank, own * self.rank, block)
        })
    }
}

impl Dropout {
    fn apply(self, values: &mut [f32]) {
        let larger = 1.0 / (1.0 - self.share);
        for (i, x) in (0u64..).zip(values) {
            // 24 bits of a mixed counter are a number from 0 to below 1.
            let chance = (mix(self.seed.wrapping_add(i)) >> 40) as f32 / 16_777_216.0;
            *x = if chance < self.share { 0.0 } else { *x * larger };
        }
    }
}

impl CustomOp3 for Adapted {
    fn name(&self) -> &'static str {
        "adapted linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        down: &CpuStorage,
        down_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, inputs) = layout.shape().dims2()?;
        let x = operand(x, layout)?;
        let (down, up) = (operand(down, down_layout)?, operand(up, up_layout)?);
        let outputs = self.bias.elem_count();
        let mut out =
            with(&self.weight, |weight| with(&self.bias, |bias| forward(x, weight, bias, inputs)))?;
        let ranks = self.rank * self.blocks.len();
        let kept = self.kept(x);
        let x = Matrix::new(kept.as_deref().unwrap_or(x), tokens, inputs, inputs);
        let mut inner = vec![0f32; tokens * ranks];
        let down = Matrix::new(down, ranks, inputs, inputs);
        product(&mut inner, ranks, false, 1.0, x, down.turned())?;
        for (column, start, block) in self.starts() {
            let (Some(inner), Some(up), Some(out)) =
                (inner.get(column..), up.get(start..), out.get_mut(block.start..))
            else {
                bail!("an adapter does not fit its layer")
            };
            let inner = Matrix::new(inner, tokens, self.rank, ranks);
            let up = Matrix::new(up, block.len(), self.rank, self.rank);
            product(out, outputs, true, self.scale, inner, up.turned())?;
        }
        Ok((CpuStorage::F32(out), Shape::from((tokens, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        down: &Tensor,
        up: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (tokens, inputs) = x.dims2()?;
        let (outputs, ranks) = (self.bias.elem_count(), self.rank * self.blocks.len());
        let mut to_inner = vec![0f32; tokens * ranks];
        let mut to_up = vec![0f32; up.elem_count()];
        let mut to_down = vec![0f32; down.elem_count()];
        let mut to_x = vec![0f32; if x.track_op() { tokens * inputs } else { 0 }];
        with(x, |x| {
            with(down, |down| {
                with(up, |up| {
                    with(gradient, |gradient| {
                        let kept = self.kept(x);
                        let x = Matrix::new(kept.as_deref().unwrap_or(x), tokens, inputs, inputs);
                        let down = Matrix::new(down, ranks, inputs, inputs);
                        let mut inner = vec![0f32; tokens * ranks];
                        product(&mut inner, ranks, false, 1.0, x, down.turned())?;
                        for (column, start, block) in self.starts() {
                            let g = Matrix::new(
                                gradient.get(block.start..).unwrap_or_default(),
                                tokens,
                                block.len(),
                                outputs,
                            );
                            let up = Matrix::new(
                                up.get(start..).unwrap_or_default(),
                                block.len(),
                                self.rank,
                                self.rank,
                            );
                            let own = to_inner.get_mut(column..).unwrap_or_default();
                            product(own, ranks, false, self.scale, g, up)?;
                            let inner = inner.get(column..).unwrap_or_default();
                            let inner = Matrix::new(inner, tokens, self.rank, ranks);
                            let own = to_up.get_mut(start..).unwrap_or_default();
                            product(own, self.rank, false, self.scale, g.turned(), inner)?;
                        }
                        let to_inner = Matrix::new(&to_inner, tokens, ranks, ranks);
                        product(&mut to_down, inputs, false, 1.0, to_inner.turned(), x)?;
                        if to_x.is_empty() {
                            return Ok(());
                        }
                        product(&mut to_x, inputs, false, 1.0, to_inner, down)?;
                        if let Some(dropout) = self.dropout {
                            dropout.apply(&mut to_x);
                        }
                        with(&self.weight, |weight| {
                            let g = Matrix::new(gradient, tokens, outputs, outputs);
                            let weight = Matrix::new(weight, outputs, inputs, inputs);
                            product(&mut to_x, inputs, true, 1.0, g, weight)
                        })
                    })
                })
            })
        })?;
        let to_x = if to_x.is_empty() { None } else { Some(tensor(to_x, x.dims())?) };
        Ok((to_x, Some(tensor(to_down, down.dims())?), Some(tensor(to_up, up.dims())?)))
    }
}
