//! Reading safetensors: names, shapes and types checked before a byte is used.

mod index;

use crate::error::{Error, Result};
use crate::model::bytes::Bytes;
use crate::model::half::{bfloat_to_f32, half_to_f32};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

/// Larger weight files need a machine and an importer of another size.
const MAX_BYTES: u64 = 16 << 30;

/// The bytes of a safetensors file.
pub(crate) struct WeightFile {
    name: String,
    bytes: Bytes,
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

    /// A file that is not read at once; it must be left alone as long as it is in use.
    fn map(name: &str, path: &Path) -> Result<Self> {
        Ok(Self { name: name.to_owned(), bytes: Bytes::map(path)? })
    }

    /// A file that has been read.
    pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), bytes: Bytes::Read(bytes) }
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
        fits(&full, tensor.dtype(), tensor.shape(), dims)
            .and_then(|()| widen(&full, tensor.dtype(), tensor.data()))
            .map_err(refuse)
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

/// A tensor's name, shape and values.
#[cfg(feature = "train")]
pub(crate) type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// Writes 32-bit tensors and `notes` about them as a safetensors file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Model`] where a tensor's values do not fit its shape.
#[cfg(feature = "train")]
pub(crate) fn write(
    path: &Path,
    tensors: &[NamedTensor],
    notes: HashMap<String, String>,
) -> Result<()> {
    use safetensors::tensor::{TensorView, serialize_to_file};
    let refuse = |e: safetensors::SafeTensorError| match e {
        safetensors::SafeTensorError::IoError(source) => Error::io("write", path)(source),
        other => Error::Model { name: path.display().to_string(), reason: other.to_string() },
    };
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let mut views = Vec::new();
    for ((name, dims, _), bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, dims.clone(), bytes).map_err(refuse)?;
        views.push((name.as_str(), view));
    }
    serialize_to_file(views, Some(notes), path).map_err(refuse)
}

/// The tensors of a model that lies in one safetensors file or in several, mapped.
pub(crate) struct WeightFiles {
    name: String,
    files: Vec<Opened>,
    /// In which file each tensor is.
    homes: HashMap<String, usize>,
}

struct Opened {
    bytes: Bytes,
    tensors: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

impl WeightFiles {
    /// The weights in `folder`: `model.safetensors`, or the files that `model.safetensors.index.json`
    /// lists. They must be left alone as long as they are in use.
    ///
    /// # Errors
    /// [`Error::Io`] where one cannot be opened; [`Error::Model`] where there are none, or one of them
    /// is no safetensors file, or they contradict each other.
    pub(crate) fn open(name: &str, folder: &Path) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        let whole = folder.join("model.safetensors");
        if whole.is_file() {
            return Self::of(name, vec![WeightFile::map(name, &whole)?]);
        }
        let Some(index) = index::read(folder)? else {
            return Err(refuse(format!(
                "its folder holds neither model.safetensors nor {}",
                index::NAME
            )));
        };
        let files: Vec<String> = index::files(&index).map_err(refuse)?;
        let opened = files.iter().map(|file| WeightFile::map(name, &folder.join(file)));
        let weights = Self::of(name, opened.collect::<Result<_>>()?)?;
        for (tensor, file) in &index {
            let home = weights.homes.get(tensor).and_then(|home| files.get(*home));
            if home != Some(file) {
                return Err(refuse(format!(
                    "{} says that {file} holds tensor {tensor:?}, which is not so; fetch the model \
                     again",
                    index::NAME
                )));
            }
        }
        Ok(weights)
    }

    /// The tensors of all `files`, each of which must be in one of them only.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub(crate) fn of(name: &str, files: Vec<WeightFile>) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        let mut all = Self { name: name.to_owned(), files: Vec::new(), homes: HashMap::new() };
        for file in files {
            let (header, tensors) = SafeTensors::read_metadata(&file.bytes)
                .map_err(|e| refuse(format!("the weights are not a safetensors file: {e}")))?;
            for tensor in tensors.offset_keys() {
                if all.homes.contains_key(&tensor) {
                    return Err(refuse(format!("two of its files hold a tensor {tensor:?}")));
                }
                all.homes.insert(tensor, all.files.len());
            }
            // In front of the header stands its length.
            let data = header.saturating_add(size_of::<u64>());
            all.files.push(Opened { bytes: file.bytes, tensors, data });
        }
        Ok(all)
    }

    /// The names of all tensors, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.homes.keys().map(String::as_str)
    }

    /// Whether the tensor `name` is there in the shape `dims` and of a type that is read.
    ///
    /// # Errors
    /// [`Error::Model`] where it is not.
    pub(crate) fn check(&self, name: &str, dims: &[usize]) -> Result<()> {
        self.found(name, dims).map(drop)
    }

    /// The tensor `name` as f32, which must have the shape `dims`.
    ///
    /// # Errors
    /// Those of [`Self::check`]; [`Error::Model`] where a value is not finite.
    pub(crate) fn get(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>> {
        let (file, tensor) = self.found(name, dims)?;
        let (start, end) = tensor.data_offsets;
        let bytes = file.bytes.get(file.data..).and_then(|data| data.get(start..end));
        widen(name, tensor.dtype, bytes.unwrap_or_default()).map_err(|reason| self.refuse(reason))
    }

    fn found(&self, name: &str, dims: &[usize]) -> Result<(&Opened, &TensorInfo)> {
        let file = self.homes.get(name).and_then(|home| self.files.get(*home));
        let found = file.and_then(|file| Some((file, file.tensors.info(name)?)));
        let (file, tensor) =
            found.ok_or_else(|| self.refuse(format!("the weights hold no tensor {name:?}")))?;
        fits(name, tensor.dtype, &tensor.shape, dims).map_err(|reason| self.refuse(reason))?;
        Ok((file, tensor))
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Model { name: self.name.clone(), reason }
    }
}

/// Whether the tensor `name` has the shape `dims`, and a type that is read.
fn fits(name: &str, dtype: Dtype, shape: &[usize], dims: &[usize]) -> Result<(), String> {
    if shape != dims {
        return Err(format!(
            "tensor {name:?} has the shape {shape:?}; the configuration says {dims:?}"
        ));
    }
    if !matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        return Err(format!("tensor {name:?} has the type {dtype:?}; F32, F16 and BF16 are read"));
    }
    Ok(())
}

/// The values of the tensor `name`, which must be finite.
fn widen(name: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f32>, String> {
    let halves = data.as_chunks::<2>().0.iter();
    let values: Vec<f32> = match dtype {
        Dtype::F16 => halves.map(|b| half_to_f32(*b)).collect(),
        Dtype::BF16 => halves.map(|b| bfloat_to_f32(*b)).collect(),
        _ => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    };
    match values.iter().position(|x| !x.is_finite()) {
        Some(bad) => Err(format!("element {bad} of tensor {name:?} is not finite")),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests;
