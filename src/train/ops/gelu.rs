//! The activation between the two layers of the feed-forward part.

use super::exp::exp;
use crate::train::tensor::{
    CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, operand, tensor, with,
};
use std::f32::consts::{FRAC_1_SQRT_2, PI};

/// An activation of the BERT family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::train) enum Activation {
    /// x Φ(x) with the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// The same with the approximation by tanh.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// The activation of each element of `x`.
pub(in crate::train) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    x.contiguous()?.apply_op1(activation)
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = operand(storage, layout)?;
        let out: Vec<f32> = match self {
            Self::Gelu => x.iter().map(|x| x * phi(*x).0).collect(),
            Self::GeluTanh => x.iter().map(|x| x * phi_tanh(*x).0).collect(),
            Self::Relu => x.iter().map(|x| x.max(0.0)).collect(),
        };
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let out = with(x, |x| {
            with(gradient, |gradient| {
                let pairs = x.iter().zip(gradient);
                Ok(match self {
                    Self::Gelu => pairs
                        .map(|(x, g)| {
                            let (cdf, slope) = phi(*x);
                            g * (cdf + x * slope)
                        })
                        .collect::<Vec<f32>>(),
                    Self::GeluTanh => pairs
                        .map(|(x, g)| {
                            let (cdf, slope) = phi_tanh(*x);
                            g * (cdf + x * slope)
                        })
                        .collect(),
                    Self::Relu => pairs.map(|(x, g)| if *x > 0.0 { *g } else { 0.0 }).collect(),
                })
            })
        })?;
        Ok(Some(tensor(out, x.dims())?))
    }
}

/// The normal distribution's Φ(x), to 2e-7, and its slope. The error function is Abramowitz and
/// Stegun's 7.1.26, whose exponential is the slope's as well.
#[inline(always)]
fn phi(x: f32) -> (f32, f32) {
    let z = x.abs() * FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let bell = exp(-z * z);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152;
    p = p * t + 1.421_413_7;
    p = p * t - 0.284_496_74;
    p = p * t + 0.254_829_6;
    let tail = 0.5 * p * t * bell;
    let cdf = if x < 0.0 { tail } else { 1.0 - tail };
    (cdf, bell * 0.398_942_3)
}

/// The same by 0.5 (1 + tanh(√(2/π) (x + 0.044715 x³))).
fn phi_tanh(x: f32) -> (f32, f32) {
    let c = (2.0 / PI).sqrt();
    let tanh = (c * (x + 0.044_715 * x * x * x)).tanh();
    (0.5 * (1.0 + tanh), 0.5 * (1.0 - tanh * tanh) * c * (1.0 + 3.0 * 0.044_715 * x * x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ from tables of the normal distribution.
    #[test]
    fn phi_is_the_normal_distribution() {
        for (x, right) in [
            (0.0, 0.5),
            (0.5, 0.691_462_46),
            (1.0, 0.841_344_7),
            (1.96, 0.975_002_1),
            (-1.0, 0.158_655_25),
            (-3.0, 0.001_349_898),
        ] {
            assert!((phi(x).0 - right).abs() < 3e-7, "{x}: {} {right}", phi(x).0);
        }
    }
}
