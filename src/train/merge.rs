//! Adapters that were trained over one base, put into its weights.

use super::adapter::LoraOptions;
use super::card::{self, ADAPTER, ADAPTER_NOTES, WEIGHTS};
use super::checkpoint;
use super::encoder::TrainableEncoder;
use super::random::Random;
use crate::encode::EncoderSpec;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Notes {
    base: String,
    base_sha256: String,
    lora: LoraOptions,
}

/// Writes the encoder that `spec` describes, with the corrections of all `adapters` added to its
/// weights, as a model folder into `output`. An adapter is a folder that training with LoRA left, or a
/// copy of its `adapter.json` and `adapter.safetensors` alone: of one base, a megabyte each.
///
/// # Errors
/// [`Error::Parameter`] for an adapter of another base, for none, and for an output that holds a model
/// already; [`Error::Model`] for an adapter that is damaged; [`Error::Io`].
pub fn merge(spec: &EncoderSpec, adapters: &[&Path], output: &Path) -> Result<()> {
    if adapters.is_empty() {
        return Err(Error::parameter("adapter", "none is named; at least one is needed"));
    }
    if output.join(WEIGHTS).exists() {
        let reason = format!("{} holds a model already; name another folder", output.display());
        return Err(Error::parameter("output", reason));
    }
    let mut merged: Option<TrainableEncoder> = None;
    for folder in adapters {
        let notes = notes(folder)?;
        if notes.base_sha256 != spec.weights_sha256 {
            return Err(Error::parameter(
                "adapter",
                format!(
                    "{} was trained over {}, whose weights are other ones than those of {}",
                    folder.display(),
                    notes.base,
                    spec.name
                ),
            ));
        }
        let mut encoder = match merged.take() {
            None => TrainableEncoder::open(spec, Some(&notes.lora), 0)?,
            Some(mut encoder) => {
                encoder.parameters.adapt(&encoder.config, &notes.lora, &mut Random::of(0, 1))?;
                encoder
            }
        };
        checkpoint::read(&folder.join(ADAPTER), &encoder.parameters)?;
        encoder.parameters.absorb(notes.lora.scale())?;
        merged = Some(encoder);
    }
    if let Some(encoder) = merged {
        fs::create_dir_all(output).map_err(Error::io("create", output))?;
        card::write_encoder_files(spec, output)?;
        card::weights(output, &encoder.parameters.published(&encoder.config, 1.0)?)?;
    }
    Ok(())
}

fn notes(folder: &Path) -> Result<Notes> {
    let path = folder.join(ADAPTER_NOTES);
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Parse {
        origin: path.display().to_string(),
        line: None,
        reason: format!("expected what training with adapters writes: {e}"),
    })
}
