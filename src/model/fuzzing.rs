//! What the fuzz targets see of models: manifests, configurations, weights, ONNX and GGUF files.

use super::gguf::Gguf;
use super::import::llama::{DecoderWeights, Part};
use super::import::{BertConfig, Form, Head, WeightFile, build};
use super::manifest::Manifest;
use super::onnx;
use super::quantize::Range;
use std::path::Path;

#[cfg(test)]
pub(crate) mod seeds;

pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(manifest) = Manifest::parse("fuzz", text) else { return };
    let _ = manifest.bytes();
    for file in manifest.files() {
        let _ = file.path_in("folder");
        let inside = Path::new("home").join(&file.name);
        assert_eq!(inside.parent(), Some(Path::new("home")), "{:?} leads elsewhere", file.name);
    }
}

/// A configuration and the weights that it is said to describe, made into graphs of every form.
pub(crate) fn weights(config: &[u8], weights: &[u8]) {
    let Ok(config) = std::str::from_utf8(config) else { return };
    let Ok(config) = BertConfig::parse("fuzz", config) else { return };
    assert!(config.positions() > 0);
    let weights = WeightFile::of_bytes("fuzz", weights.to_vec());
    let built =
        |head, form: &Form<'_>| build(&config, &weights, head, form, "w", &mut std::io::sink());
    // A head may be there or not.
    let _ = built(Head::Score, &Form::Fp32);
    let Ok((_, watched)) = built(Head::Tokens, &Form::Watched) else { return };
    assert!(built(Head::Tokens, &Form::Fp32).is_ok(), "the same tensors are read");
    // Of four values in a layer, all but the last have a channel for each dimension.
    let range = Range { low: -1.0, high: 2.0 };
    let wide = config.inner_dimensions();
    let ranges: Vec<Vec<Range>> = (0..watched.len())
        .map(|nth| vec![range; if nth % 4 == 3 { wide } else { config.dimensions() }])
        .collect();
    let eight = built(Head::Tokens, &Form::Int8(&ranges, 127)).is_ok();
    assert!(eight, "what can be calibrated can be quantised");
}

pub(crate) fn onnx(bytes: &[u8]) {
    let folder = Path::new("/nonexistent");
    if let Ok(found) = onnx::inspect("fuzz", &folder.join("model.onnx"), bytes) {
        assert!(found.weights.is_empty(), "weights where there are no files");
    }
}

/// A GGUF file: all that it holds, and the decoder that it is.
pub(crate) fn gguf(bytes: &[u8]) {
    let Ok(gguf) = Gguf::of_bytes("fuzz", bytes.to_vec()) else { return };
    gguf.look_at_all();
    let Ok(weights) = DecoderWeights::of_gguf(gguf) else { return };
    decoder(&weights);
}

/// A decoder's configuration and the weights that it is said to describe.
pub(crate) fn decoder_folder(config: &[u8], weights: &[u8]) {
    let Ok(config) = std::str::from_utf8(config) else { return };
    let Ok(weights) = DecoderWeights::of_bytes("fuzz", config, weights.to_vec()) else { return };
    decoder(&weights);
}

/// What was checked when a decoder was opened can be read: only its values were not looked at.
fn held(found: crate::Result<usize>, wanted: usize) {
    match found {
        Ok(found) => assert_eq!(found, wanted, "values"),
        Err(error) => assert!(error.to_string().contains("is not finite"), "{error}"),
    }
}

fn decoder(weights: &DecoderWeights) {
    let config = weights.config();
    let frequencies = config.rotary.frequencies(config.head_dim);
    assert_eq!(frequencies.len() * 2, config.head_dim);
    assert!(frequencies.iter().all(|x| x.is_finite() && *x > 0.0));
    for part in Part::all(config) {
        let dims = part.dims(config);
        if let [rows, columns] = *dims {
            held(weights.matrix(part).map(|matrix| matrix.values.len()), rows * columns);
            if let Ok(Some(blocks)) = weights.blocks(part) {
                assert_eq!(blocks.codes.len(), rows * columns);
                assert_eq!(blocks.scales.len() * 32, rows * columns);
            }
        } else {
            held(weights.vector(part).map(|vector| vector.len()), dims.iter().sum());
        }
    }
}
