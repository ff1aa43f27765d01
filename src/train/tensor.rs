//! Tensors with gradients. The one place that names candle; the rest of the trainer takes them from
//! here.

use candle_core::Storage;
pub(super) use candle_core::{
    CpuStorage, CustomOp1, CustomOp3, D, Device, Layout, Result, Shape, Tensor, Var, bail,
};

/// A failure inside the arithmetic, as an error of this crate.
pub(super) fn told<T>(result: Result<T>) -> crate::Result<T> {
    result.map_err(|error| crate::Error::Model {
        name: "in training".to_owned(),
        reason: error.to_string(),
    })
}

/// The values of an operand, which must lie in one piece.
pub(super) fn operand<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(all), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        bail!("expected 32-bit floats in one piece")
    };
    match all.get(start..end) {
        Some(values) => Ok(values),
        None => bail!("expected {end} values, found {}", all.len()),
    }
}

/// Hands the values of a tensor to `work`, without copying them where they lie in one piece.
pub(super) fn with<T>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => work(operand(storage, layout)?),
        _ => bail!("expected a tensor in main memory"),
    }
}

/// A tensor of these values in main memory.
pub(super) fn tensor(values: Vec<f32>, dims: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(values, dims, &Device::Cpu)
}
