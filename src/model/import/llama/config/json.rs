//! From `config.json`, as `transformers` writes it.

use super::{DecoderConfig, Family, divided};
use crate::model::import::llama::{Pairs, Rotary, Scaling};
use serde::Deserialize;
use serde_json::Value;

/// The classes' own, where a file does not say.
const BASE: f64 = 10_000.0;
const EPSILON: f32 = 1e-6;

#[derive(Deserialize)]
struct Raw {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRotary>,
    /// Where newer versions put all of the rotation.
    rope_parameters: Option<RawRotary>,
    attention_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    partial_rotary_factor: Option<f64>,
    use_sliding_window: Option<bool>,
    layer_types: Option<Vec<String>>,
    quantization_config: Option<Value>,
}

#[derive(Deserialize)]
struct RawRotary {
    rope_type: Option<String>,
    /// The same, as older versions wrote it; some files have both.
    #[serde(rename = "type")]
    older_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// # Errors
/// What is missing, or is not supported.
pub(super) fn read(json: &str) -> Result<DecoderConfig, String> {
    let raw: Value =
        serde_json::from_str(json).map_err(|e| format!("its config.json is not JSON: {e}"))?;
    let family = family(&raw)?;
    let raw: Raw =
        serde_json::from_value(raw).map_err(|e| format!("its config.json is incomplete: {e}"))?;
    raw.supported()?;
    let head_dim = match (raw.head_dim, family) {
        (Some(size), _) => size,
        // Its own, whatever the others are.
        (None, Family::Qwen3) => 128,
        (None, _) => divided(raw.hidden_size, raw.num_attention_heads)
            .map_err(|found| format!("its config.json says {found}"))?,
    };
    let rotary = [&raw.rope_parameters, &raw.rope_scaling].into_iter().flatten();
    let base = rotary.clone().find_map(|rotary| rotary.rope_theta);
    let scaling = match rotary.clone().next() {
        Some(rotary) => rotary.scaling()?,
        None => Scaling::None,
    };
    Ok(DecoderConfig {
        layers: raw.num_hidden_layers,
        hidden: raw.hidden_size,
        heads: raw.num_attention_heads,
        kv_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
        head_dim,
        intermediate: raw.intermediate_size,
        vocabulary: raw.vocab_size,
        context: raw.max_position_embeddings,
        norm_epsilon: raw.rms_norm_eps.unwrap_or(EPSILON),
        rotary: Rotary {
            base: base.or(raw.rope_theta).unwrap_or(BASE),
            pairs: Pairs::Halves,
            scaling,
        },
        // Of Qwen2 it is part, whatever the file says.
        qkv_bias: family == Family::Qwen2 || raw.attention_bias.unwrap_or(false),
        qk_norm: family == Family::Qwen3,
        tied: raw.tie_word_embeddings.unwrap_or(false),
    })
}

/// By the class that it was saved from, or else by its kind.
fn family(raw: &Value) -> Result<Family, String> {
    let class = raw.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let kind = raw.get("model_type").and_then(Value::as_str);
    match (class, kind) {
        (Some("LlamaForCausalLM"), _) | (None, Some("llama")) => Ok(Family::Llama),
        (Some("Qwen2ForCausalLM"), _) | (None, Some("qwen2")) => Ok(Family::Qwen2),
        (Some("Qwen3ForCausalLM"), _) | (None, Some("qwen3")) => Ok(Family::Qwen3),
        (class, kind) => Err(format!(
            "its config.json says architecture {:?}; LlamaForCausalLM, Qwen2ForCausalLM and \
             Qwen3ForCausalLM are supported",
            class.or(kind).unwrap_or("nothing")
        )),
    }
}

impl Raw {
    /// Whether nothing is asked for that would be left out.
    fn supported(&self) -> Result<(), String> {
        let activation = self.hidden_act.as_deref().unwrap_or("silu");
        if !["silu", "swish"].contains(&activation) {
            return Err(format!("its hidden_act is {activation:?}; silu is supported"));
        }
        if self.partial_rotary_factor.is_some_and(|part| part < 1.0) {
            return Err("it turns a part of each head; heads that turn whole are supported".into());
        }
        let sliding = |kind: &String| kind != "full_attention";
        if self.use_sliding_window.unwrap_or(false)
            || self.layer_types.iter().flatten().any(sliding)
        {
            return Err("it attends to a sliding window; full attention is supported".into());
        }
        match &self.quantization_config {
            Some(how) if !how.is_null() => {
                let method = how.get("quant_method").and_then(Value::as_str).unwrap_or("unknown");
                Err(format!(
                    "its weights are quantised ({method}); F32, F16 and BF16 are read from \
                     safetensors, quantised weights from GGUF"
                ))
            }
            _ => Ok(()),
        }
    }
}

impl RawRotary {
    fn scaling(&self) -> Result<Scaling, String> {
        let kind = self.rope_type.as_deref().or(self.older_type.as_deref()).unwrap_or("default");
        let number = |what: &str, found: Option<f64>| {
            found.ok_or_else(|| format!("its {kind} rope_scaling lacks {what}"))
        };
        match kind {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear(number("factor", self.factor)?)),
            "llama3" => Ok(Scaling::Llama3 {
                factor: number("factor", self.factor)?,
                low: number("low_freq_factor", self.low_freq_factor)?,
                high: number("high_freq_factor", self.high_freq_factor)?,
                original: number(
                    "original_max_position_embeddings",
                    self.original_max_position_embeddings,
                )?,
            }),
            other => Err(format!(
                "its rope_scaling is of type {other:?}; default, linear and llama3 are supported"
            )),
        }
    }
}
