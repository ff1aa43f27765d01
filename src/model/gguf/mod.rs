//! GGUF: one file that holds a decoder's weights, configuration, tokenizer and chat template.
//!
//! The layout is that of ggml's specification (`docs/gguf.md`), versions 2 and 3, little-endian. The
//! file is mapped. Everything in its header is checked when it is opened: counts and lengths against
//! the bytes that are there before anything is allocated by them, and every tensor's place, so that
//! what is asked for later cannot lie outside. What a file says decides over at most some seven times
//! its size of memory: quantised weights grow when they are widened.

mod dequant;
mod header;
mod quantisation;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
mod value;

use super::bytes::Bytes;
use crate::error::{Error, Result};
use header::{Header, TensorInfo};
use std::path::Path;

/// An open GGUF file.
pub(crate) struct Gguf {
    name: String,
    bytes: Bytes,
    header: Header,
}

impl Gguf {
    /// Maps and checks the file at `path`, which must be left alone as long as it is in use.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened; [`Error::Model`] for anything but a whole GGUF file of
    /// version 2 or 3.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::of(path.display().to_string(), Bytes::map(path)?)
    }

    /// A file that has been read.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::of(name.to_owned(), Bytes::Read(bytes))
    }

    fn of(name: String, bytes: Bytes) -> Result<Self> {
        match Header::parse(&bytes) {
            Ok(header) => Ok(Self { name, bytes, header }),
            Err(reason) => Err(Error::Model { name, reason }),
        }
    }

    /// Its path, as errors name it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The text under `key`; nothing where there is none, or something else.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.header.values.get(key)?.text(&self.bytes)
    }

    /// The whole number under `key`, of any width, where it is not negative.
    pub(crate) fn unsigned(&self, key: &str) -> Option<u64> {
        self.header.values.get(key)?.unsigned()
    }

    /// The float under `key`, of either width.
    pub(crate) fn float(&self, key: &str) -> Option<f64> {
        self.header.values.get(key)?.float()
    }

    /// The truth value under `key`.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.header.values.get(key)?.flag()
    }

    /// The list of texts under `key`.
    pub(crate) fn texts(&self, key: &str) -> Option<Vec<&str>> {
        self.header.values.get(key)?.texts(&self.bytes)
    }

    /// The list of whole numbers under `key`, of any width that `i64` holds.
    pub(crate) fn integers(&self, key: &str) -> Option<Vec<i64>> {
        self.header.values.get(key)?.integers(&self.bytes)
    }

    /// Whether there is anything under `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.header.values.contains_key(key)
    }

    /// What is said of the tensor `name`.
    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.header.tensors.get(name)
    }

    /// All tensors with their names, in no order.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.header.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The bytes of the tensor `name`, as they are stored.
    ///
    /// # Errors
    /// [`Error::Model`] where there is none of this name.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn read(&self, name: &str) -> Result<&[u8]> {
        Ok(self.found(name)?.1)
    }

    /// The values of the tensor `name` as f32, in the order in which they are stored: its first
    /// dimension runs fastest. They equal those of the `gguf` package to the bit.
    ///
    /// # Errors
    /// [`Error::Model`] where there is none of this name, or its quantisation is not supported.
    pub(crate) fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let (tensor, bytes) = self.found(name)?;
        let mut values = vec![0.0; tensor.elements()];
        tensor
            .kind
            .widen(bytes, &mut values)
            .map_err(|reason| self.refuse(format!("tensor {name:?} {reason}")))?;
        Ok(values)
    }

    /// The values of the tensor `name` as it has them in 8 bits, where that is its quantisation
    /// (`Q8_0`): codes around 128, and a scale for every 32 of them. Value = (code - 128) scale.
    ///
    /// # Errors
    /// [`Error::Model`] where there is none of this name.
    pub(crate) fn read_codes(&self, name: &str) -> Result<Option<(Vec<u8>, Vec<f32>)>> {
        let (tensor, bytes) = self.found(name)?;
        Ok(tensor.kind.has_codes().then(|| dequant::codes(bytes)))
    }

    /// Looks at everything that there is, as those who read models do.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn look_at_all(&self) {
        for key in self.header.values.keys() {
            let one = (self.text(key), self.unsigned(key), self.float(key), self.flag(key));
            let many = (self.texts(key), self.integers(key));
            let found = [one.0.is_some(), one.2.is_some(), one.3.is_some()].map(usize::from);
            let lists = [many.0.is_some(), many.1.is_some()].map(usize::from);
            let all = found.iter().chain(&lists).sum::<usize>() + usize::from(one.1.is_some());
            assert!(all <= 1, "{key:?} is of two kinds");
        }
        for (name, tensor) in self.tensors() {
            assert!(self.read(name).is_ok_and(|bytes| !bytes.is_empty()), "{name:?} lies outside");
            match self.read_f32(name) {
                Ok(values) => assert_eq!(values.len(), tensor.elements(), "{name:?}"),
                Err(_) => assert!(tensor.kind.readable().is_err(), "{name:?} cannot be read"),
            }
            let codes = self.read_codes(name).ok().flatten();
            assert!(codes.is_none_or(|(codes, scales)| codes.len() == scales.len() * 32));
        }
    }

    fn found(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        let tensor =
            self.tensor(name).ok_or_else(|| self.refuse(format!("it holds no tensor {name:?}")))?;
        let bytes = self.bytes.get(tensor.bytes.clone()).unwrap_or_default();
        Ok((tensor, bytes))
    }

    /// An error of this file.
    pub(crate) fn refuse(&self, reason: String) -> Error {
        Error::Model { name: self.name.clone(), reason }
    }
}
