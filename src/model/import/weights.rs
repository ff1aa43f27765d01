//! Reading safetensors: names, shapes and types checked before a byte is used.

use crate::error::{Error, Result};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;

/// Larger weight files need a machine and an importer of another size.
const MAX_BYTES: u64 = 16 << 30;

/// The bytes of a safetensors file.
pub(crate) struct WeightFile {
    name: String,
    bytes: Vec<u8>,
}

/// The tensors of a [`WeightFile`].
pub(crate) struct Weights<'a> {
    name: &'a str,
    tensors: SafeTensors<'a>,
    prefix: String,
}

impl WeightFile {
    pub(crate) fn read(name: &str, path: &Path) -> Result<Self> {
        let size = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
        if size > MAX_BYTES {
            return Err(Error::Model {
                name: name.to_owned(),
                reason: format!(
                    "{} has {size} bytes; at most {MAX_BYTES} are read",
                    path.display()
                ),
            });
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        Ok(Self::of_bytes(name, bytes))
    }

    /// A file that has been read.
    pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), bytes }
    }

    /// The tensors, under whichever prefix `probe` is found with.
    pub(crate) fn weights<'a>(&'a self, prefixes: &[&str], probe: &str) -> Result<Weights<'a>> {
        let refuse = |reason: String| Error::Model { name: self.name.clone(), reason };
        let tensors = SafeTensors::deserialize(&self.bytes)
            .map_err(|e| refuse(format!("the weights are not a safetensors file: {e}")))?;
        let prefix = prefixes
            .iter()
            .find(|prefix| tensors.tensor(&format!("{prefix}{probe}")).is_ok())
            .ok_or_else(|| refuse(format!("the weights hold no tensor {probe:?}")))?;
        Ok(Weights { name: &self.name, tensors, prefix: (*prefix).to_owned() })
    }
}

impl Weights<'_> {
    /// The tensor `name` as f32, which must have the shape `dims`.
    pub(crate) fn get(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        let refuse = |reason: String| Error::Model { name: self.name.to_owned(), reason };
        let full = format!("{}{name}", self.prefix);
        let tensor = self
            .tensors
            .tensor(&full)
            .map_err(|_| refuse(format!("the weights hold no tensor {full:?}")))?;
        if tensor.shape() != dims {
            return Err(refuse(format!(
                "tensor {full:?} has the shape {:?}; the configuration says {dims:?}",
                tensor.shape()
            )));
        }
        let data = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => data.as_chunks::<2>().0.iter().map(|b| half_to_f32(*b)).collect(),
            Dtype::BF16 => data
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16))
                .collect(),
            other => {
                return Err(refuse(format!(
                    "tensor {full:?} has the type {other:?}; F32, F16 and BF16 are read"
                )));
            }
        };
        if let Some(bad) = values.iter().position(|x| !x.is_finite()) {
            return Err(refuse(format!("element {bad} of tensor {full:?} is not finite")));
        }
        Ok(values)
    }

    /// A linear layer's weight, stored outputs by inputs, turned to inputs by outputs.
    pub(crate) fn matrix(&self, name: &str, inputs: usize, outputs: usize) -> Result<Vec<f32>> {
        let stored = self.get(name, &[outputs, inputs])?;
        let mut turned = vec![0.0; stored.len()];
        for (o, row) in stored.chunks_exact(inputs).enumerate() {
            for (i, x) in row.iter().enumerate() {
                turned[i * outputs + o] = *x;
            }
        }
        Ok(turned)
    }
}

/// IEEE 754 half precision, widened.
fn half_to_f32(bytes: [u8; 2]) -> f32 {
    let bits = u16::from_le_bytes(bytes);
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff) / 1024.0;
    match exponent {
        0 => sign * fraction * 2f32.powi(-14),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit patterns and values from IEEE 754-2019, table of binary16 examples.
    #[test]
    fn half_precision_widens_exactly() {
        for (bits, value) in [
            (0x3c00u16, 1.0f32),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half_to_f32(bits.to_le_bytes()).to_bits(), value.to_bits(), "{bits:#06x}");
        }
        assert!(half_to_f32(0x7e00u16.to_le_bytes()).is_nan());
    }
}
