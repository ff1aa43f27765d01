//! An encoder as ONNX files that other programs run.

use super::EncoderSpec;
use super::onnx::is_ready;
use crate::error::{Error, Result};
use crate::model::graph::make;
use crate::model::quantize::weight_limit;
use crate::model::{Precision, Runtime};
use crate::tokenize::EncoderTokenizer;
use std::path::{Path, PathBuf};

impl EncoderSpec {
    /// Writes the graph of an encoder in safetensors into `folder`: `model.onnx` in 32-bit floats, and
    /// `model_int8.onnx` in 8 bits, each with its weights beside it. They take `input_ids` and
    /// `attention_mask`, both [texts, tokens] in 64-bit integers, and give `last_hidden_state` [texts,
    /// tokens, dimensions], which is still to be pooled. The runtime is asked what activations are like,
    /// for the scales of 8 bits.
    ///
    /// # Errors
    /// [`Error::Model`] where it is a ready graph already, or its files cannot be used; [`Error::Io`].
    pub fn write_onnx(&self, runtime: &Runtime, folder: &Path) -> Result<Vec<PathBuf>> {
        if is_ready(&self.weights) {
            return Err(Error::Model {
                name: self.name.clone(),
                reason: format!("{} is an ONNX file already", self.weights.display()),
            });
        }
        let tokenizer = EncoderTokenizer::open(&self.name, &self.tokenizer)?;
        let config = self.architecture()?;
        let mut written = Vec::new();
        for (name, precision) in
            [("model.onnx", Precision::Fp32), ("model_int8.onnx", Precision::Int8)]
        {
            let path = folder.join(name);
            let recipe = self.recipe(&config, precision);
            make(runtime, &recipe, &path, weight_limit(), &|texts| {
                self.calibration_inputs(&tokenizer, texts)
            })?;
            written.push(path);
        }
        Ok(written)
    }
}
