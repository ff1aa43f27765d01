//! From the metadata of a GGUF file, whose keys are those of ggml's specification.

use super::{DecoderConfig, Family, divided};
use crate::model::gguf::Gguf;
use crate::model::import::llama::{Pairs, Part, Rotary, Scaling};

/// llama.cpp's, where a file does not say.
const BASE: f64 = 10_000.0;
const EPSILON: &str = "attention.layer_norm_rms_epsilon";
/// A factor for each frequency of the rotation, where a model has such.
const FACTORS: &str = "rope_freqs.weight";

/// # Errors
/// What is missing, or is not supported.
pub(super) fn read(gguf: &Gguf) -> Result<DecoderConfig, String> {
    let name = gguf.text("general.architecture").unwrap_or("nothing");
    let family = match name {
        "llama" => Family::Llama,
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        other => {
            return Err(format!(
                "its general.architecture is {other:?}; llama, qwen2 and qwen3 are supported"
            ));
        }
    };
    if let Some(files) = gguf.unsigned("split.count").filter(|files| *files > 1) {
        return Err(format!(
            "it is one of the {files} files of a model; make them one file \
             (`llama-gguf-split --merge`)"
        ));
    }
    let keys = Keys { gguf, name };
    if keys.size("expert_count")?.is_some_and(|experts| experts > 0) {
        return Err("it is a mixture of experts, which is not supported".to_owned());
    }
    let hidden = keys.wanted("embedding_length")?;
    let heads = keys.wanted("attention.head_count")?;
    let head_dim = head_dim(&keys, hidden, heads)?;
    let embedding = gguf.tensor(&Part::Embedding.in_gguf()).and_then(|t| t.dims.last().copied());
    let vocabulary = keys.size("vocab_size")?.or(embedding).unwrap_or_default();
    let epsilon = keys.float(EPSILON)?.ok_or_else(|| keys.missing(EPSILON))?;
    let has = |part: Part| gguf.tensor(&part.in_gguf()).is_some();
    Ok(DecoderConfig {
        layers: keys.wanted("block_count")?,
        hidden,
        heads,
        kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        intermediate: keys.wanted("feed_forward_length")?,
        vocabulary,
        context: keys.wanted("context_length")?,
        norm_epsilon: narrow(epsilon),
        rotary: Rotary {
            base: keys.float("rope.freq_base")?.unwrap_or(BASE),
            // Who writes such files interleaves Llama's rows, and only these.
            pairs: if family == Family::Llama { Pairs::Neighbours } else { Pairs::Halves },
            scaling: scaling(&keys)?,
        },
        qkv_bias: has(Part::QueryBias(0)),
        qk_norm: family == Family::Qwen3,
        tied: !has(Part::Head),
    })
}

fn head_dim(keys: &Keys<'_>, hidden: usize, heads: usize) -> Result<usize, String> {
    let head_dim = match keys.size("attention.key_length")? {
        Some(length) => length,
        None => divided(hidden, heads).map_err(|found| format!("its metadata says {found}"))?,
    };
    for (key, what) in
        [("attention.value_length", "values"), ("rope.dimension_count", "turned dimensions")]
    {
        if let Some(other) = keys.size(key)?
            && other != head_dim
        {
            return Err(format!(
                "its heads have {head_dim} dimensions and {other} {what}; equal numbers are \
                 supported"
            ));
        }
    }
    Ok(head_dim)
}

fn scaling(keys: &Keys<'_>) -> Result<Scaling, String> {
    let kind = keys.gguf.text(&keys.full("rope.scaling.type"));
    let factor = match keys.float("rope.scaling.factor")? {
        None => keys.float("rope.scale_linear")?,
        found => found,
    };
    let linear = match kind {
        Some("none") => None,
        // As llama.cpp has it: a factor alone is linear, and 0 stands for none.
        None | Some("linear") => factor.filter(|factor| *factor != 0.0),
        Some(other) => {
            return Err(format!(
                "its {} is {other:?}; none and linear are supported",
                keys.full("rope.scaling.type")
            ));
        }
    };
    let Some(tensor) = keys.gguf.tensor(FACTORS) else {
        return Ok(linear.map_or(Scaling::None, Scaling::Linear));
    };
    if tensor.dims.len() != 1 {
        return Err(format!(
            "tensor {FACTORS:?} has the dimensions {:?}; one is supported",
            tensor.dims
        ));
    }
    let factors = keys.gguf.read_f32(FACTORS).map_err(|e| e.to_string())?;
    let all = linear.unwrap_or(1.0);
    Ok(Scaling::Factors(factors.into_iter().map(|factor| f64::from(factor) * all).collect()))
}

/// The keys of an architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    name: &'a str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn missing(&self, key: &str) -> String {
        format!("its metadata lacks {}", self.full(key))
    }

    /// A whole number, where there is one.
    fn size(&self, key: &str) -> Result<Option<usize>, String> {
        let full = self.full(key);
        match self.gguf.unsigned(&full).map(usize::try_from) {
            Some(Ok(size)) => Ok(Some(size)),
            None if !self.gguf.has(&full) => Ok(None),
            // Some architectures have a list here, with a number for each layer.
            _ => Err(format!("its {full} is not one whole number for all layers")),
        }
    }

    fn wanted(&self, key: &str) -> Result<usize, String> {
        self.size(key)?.ok_or_else(|| self.missing(key))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, String> {
        let full = self.full(key);
        match self.gguf.float(&full) {
            None if self.gguf.has(&full) => Err(format!("its {full} is not a float")),
            found => Ok(found),
        }
    }
}

/// The value as the file has it, which is of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "it was widened when it was read")]
fn narrow(x: f64) -> f32 {
    x as f32
}
