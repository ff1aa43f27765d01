use super::*;
use crate::model::gguf::sample::{Sample, list};
use crate::model::import::llama::{Pairs, Scaling, samples};
use serde_json::{Value, json};

fn of(sample: &Sample) -> Result<DecoderConfig> {
    DecoderConfig::of_gguf(&Gguf::of_bytes("file", sample.finish()).unwrap())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T>, because: &str) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Model { .. }));
    assert!(error.to_string().contains(because), "{error}");
}

#[test]
fn metadata_says_what_was_written() {
    for name in ["llama", "qwen2", "qwen3"] {
        let wanted = samples::config_of(name);
        assert_eq!(of(&samples::gguf(name, &wanted)).unwrap(), wanted, "{name}");
        let apart = DecoderConfig { tied: false, ..wanted };
        assert_eq!(of(&samples::gguf(name, &apart)).unwrap(), apart, "{name}");
    }
}

#[test]
fn what_metadata_leaves_out_is_the_usual() {
    let config = DecoderConfig { head_dim: 16, kv_heads: 2, ..samples::config() };
    let sample = samples::gguf("llama", &config)
        .without_key("llama.attention.key_length")
        .without_key("llama.attention.value_length")
        .without_key("llama.attention.head_count_kv")
        .without_key("llama.rope.freq_base");
    assert_eq!(of(&sample).unwrap(), config);
}

#[test]
fn rotations_of_metadata() {
    let config = samples::config();
    let plain = || samples::gguf("llama", &config);
    let scaling = |sample: Sample| of(&sample).map(|config| config.rotary.scaling);
    let linear = plain().text("llama.rope.scaling.type", "linear");
    let four = Scaling::Linear(4.0);
    assert_eq!(scaling(linear.clone().float("llama.rope.scaling.factor", 4.0)).unwrap(), four);
    assert_eq!(scaling(plain().float("llama.rope.scale_linear", 4.0)).unwrap(), four);
    assert_eq!(scaling(linear.float("llama.rope.scaling.factor", 0.0)).unwrap(), Scaling::None);
    let none = plain().text("llama.rope.scaling.type", "none");
    assert_eq!(scaling(none.float("llama.rope.scaling.factor", 4.0)).unwrap(), Scaling::None);
    refused(scaling(plain().text("llama.rope.scaling.type", "yarn")), "\"yarn\"; none and linear");
    refused(scaling(plain().number("llama.rope.scaling.factor", 4)), "is not a float");

    let factors: Vec<u8> = (1..=16u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    let own = plain().tensor("rope_freqs.weight", &[16], 0, &factors);
    let wanted: Vec<f64> = (1..=16).map(f64::from).collect();
    assert_eq!(scaling(own).unwrap(), Scaling::Factors(wanted));
    let short = plain().tensor("rope_freqs.weight", &[15], 0, factors.get(..60).unwrap());
    refused(scaling(short), "15 rotary factors for 32 dimensions");
    let matrix = plain().tensor("rope_freqs.weight", &[8, 2], 0, &factors);
    refused(scaling(matrix), "has the dimensions [8, 2]");
}

#[test]
fn metadata_that_is_not_supported_is_named() {
    let config = samples::config();
    let plain = || samples::gguf("llama", &config);
    let set = |key: &str, number: u32| plain().without_key(key).number(key, number);
    refused(of(&Sample::new()), "\"nothing\"; llama, qwen2 and qwen3 are supported");
    refused(of(&samples::gguf("mamba", &config)), "general.architecture is \"mamba\"");
    refused(of(&plain().number("llama.expert_count", 8)), "mixture of experts");
    assert!(of(&plain().number("llama.expert_count", 0)).is_ok());
    refused(of(&plain().number("split.count", 3)), "one of the 3 files of a model");
    refused(of(&plain().number("llama.rope.dimension_count", 16)), "16 turned dimensions");
    assert!(of(&plain().number("llama.rope.dimension_count", 32)).is_ok());
    refused(of(&set("llama.attention.value_length", 16)), "16 values");

    for key in ["block_count", "embedding_length", "feed_forward_length", "attention.head_count"] {
        let key = format!("llama.{key}");
        refused(of(&plain().without_key(&key)), &format!("lacks {key}"));
        let lists = plain().without_key(&key).numbers(&key, &[1, 2]);
        refused(of(&lists), &format!("{key} is not one whole number for all layers"));
        for absurd in [0, u32::MAX] {
            refused(of(&set(&key, absurd)), "supported");
        }
    }
    refused(of(&plain().without_key("llama.context_length")), "lacks llama.context_length");
    refused(of(&set("llama.attention.head_count_kv", 3)), "which do not divide");
    refused(of(&set("llama.block_count", 1_000_000)), "1000000 layers; from 1 to 1024");
    refused(of(&plain().number("llama.vocab_size", 1 << 30)), "tokens of vocabulary");
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        refused(of(&plain().without_key(epsilon).float(epsilon, bad)), "epsilon");
    }
    let base = "llama.rope.freq_base";
    refused(of(&plain().without_key(base).float(base, f32::NAN)), "rotary base");
    // Bytes of a negative 64-bit number.
    let negative = plain().without_key("llama.block_count");
    let negative = negative.value("llama.block_count", 11, &(-1i64).to_le_bytes());
    refused(of(&negative), "not one whole number");
    let nested = plain().value("llama.vocab_size", 9, &list(9, 0, &[]));
    refused(of(&nested), "not one whole number");
    // By itself, without the others to divide.
    let undivided = plain()
        .without_key("llama.attention.key_length")
        .without_key("llama.attention.head_count")
        .number("llama.attention.head_count", 3);
    refused(of(&undivided), "32 elements of a token and 3 heads");
}

/// The published files, as far as they matter here.
#[test]
fn published_configurations() {
    let smollm2 = json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "hidden_act": "silu",
        "hidden_size": 576, "intermediate_size": 1536, "max_position_embeddings": 8192,
        "mlp_bias": false, "model_type": "llama", "num_attention_heads": 9,
        "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
        "rms_norm_eps": 1e-5, "rope_interleaved": false, "rope_scaling": null,
        "rope_theta": 100_000, "tie_word_embeddings": true, "vocab_size": 49152
    });
    let found = DecoderConfig::parse("m", &smollm2.to_string()).unwrap();
    let wanted = DecoderConfig {
        layers: 30,
        hidden: 576,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        intermediate: 1536,
        vocabulary: 49_152,
        context: 8192,
        norm_epsilon: 1e-5,
        rotary: Rotary { base: 100_000.0, pairs: Pairs::Halves, scaling: Scaling::None },
        qkv_bias: false,
        qk_norm: false,
        tied: true,
    };
    assert_eq!(found, wanted);

    let qwen25 = json!({
        "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 896,
        "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21,
        "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24,
        "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0,
        "sliding_window": 32768, "tie_word_embeddings": true, "use_sliding_window": false,
        "vocab_size": 151_936
    });
    let found = DecoderConfig::parse("m", &qwen25.to_string()).unwrap();
    assert!(found.qkv_bias && !found.qk_norm && found.tied);
    assert_eq!((found.head_dim, found.rotary.base), (64, 1e6));

    let qwen3 = json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072,
        "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
        "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1_000_000,
        "sliding_window": null, "tie_word_embeddings": true, "use_sliding_window": false,
        "vocab_size": 151_936
    });
    let found = DecoderConfig::parse("m", &qwen3.to_string()).unwrap();
    assert!(!found.qkv_bias && found.qk_norm);
    assert_eq!((found.head_dim, found.heads * found.head_dim), (128, 2048));

    let llama32 = json!({
        "architectures": ["LlamaForCausalLM"], "attention_bias": false, "head_dim": 64,
        "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192,
        "max_position_embeddings": 131_072, "mlp_bias": false, "model_type": "llama",
        "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5, "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0,
        "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3", "type": "llama3"}, "rope_theta": 500_000.0,
        "tie_word_embeddings": true, "vocab_size": 128_256
    });
    let found = DecoderConfig::parse("m", &llama32.to_string()).unwrap();
    let scaling = Scaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192.0 };
    assert_eq!(found.rotary, Rotary { base: 5e5, pairs: Pairs::Halves, scaling });
}

fn parsed(more: Value) -> Result<DecoderConfig> {
    let json = samples::json("LlamaForCausalLM", &samples::config(), more);
    DecoderConfig::parse("m", &json.to_string())
}

#[test]
fn rotations_of_config_json() {
    let scaling = |more: Value| parsed(more).map(|config| config.rotary.scaling);
    let linear = json!({"rope_scaling": {"type": "linear", "factor": 2.0}});
    assert_eq!(scaling(linear).unwrap(), Scaling::Linear(2.0));
    let default = json!({"rope_scaling": {"rope_type": "default"}});
    assert_eq!(scaling(default).unwrap(), Scaling::None);
    // As newer versions write it.
    let newer = json!({"rope_theta": null, "rope_parameters": {"rope_type": "linear",
        "factor": 8.0, "rope_theta": 5e5}});
    let found = parsed(newer).unwrap().rotary;
    assert_eq!((found.base, found.scaling), (5e5, Scaling::Linear(8.0)));

    for other in ["yarn", "dynamic", "longrope"] {
        let more = json!({"rope_scaling": {"rope_type": other, "factor": 2.0}});
        refused(scaling(more), &format!("{other:?}; default, linear and llama3 are supported"));
    }
    refused(
        scaling(json!({"rope_scaling": {"type": "linear"}})),
        "linear rope_scaling lacks factor",
    );
    let llama3 = json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0,
        "low_freq_factor": 4.0, "high_freq_factor": 1.0,
        "original_max_position_embeddings": 8192}});
    refused(scaling(llama3), "high_freq_factor less low_freq_factor of -3");
}

#[test]
fn config_json_that_is_not_supported_is_named() {
    let class = |class: Value| parsed(json!({ "architectures": [class] }));
    refused(class(json!("MambaForCausalLM")), "\"MambaForCausalLM\"; LlamaForCausalLM");
    refused(class(json!("LlamaForSequenceClassification")), "LlamaForSequenceClassification");
    refused(parsed(json!({"architectures": null, "model_type": "gpt2"})), "\"gpt2\"");
    refused(parsed(json!({"architectures": []})), "\"nothing\"");
    assert!(parsed(json!({"architectures": null, "model_type": "llama"})).is_ok());
    refused(parsed(json!({"hidden_act": "gelu"})), "\"gelu\"; silu is supported");
    refused(parsed(json!({"use_sliding_window": true})), "sliding window");
    refused(parsed(json!({"layer_types": ["sliding_attention"]})), "sliding window");
    refused(parsed(json!({"partial_rotary_factor": 0.5})), "a part of each head");
    let gptq = json!({"quantization_config": {"quant_method": "gptq"}});
    refused(parsed(gptq), "quantised (gptq)");
    refused(parsed(json!({"hidden_size": null})), "incomplete");
    refused(parsed(json!({"head_dim": null, "num_attention_heads": 3})), "which do not divide");
    refused(parsed(json!({"head_dim": null, "num_attention_heads": 0})), "which do not divide");
    refused(parsed(json!({"head_dim": 33})), "an even number is supported");
    refused(parsed(json!({"num_hidden_layers": -1})), "incomplete");
    refused(parsed(json!({"vocab_size": u64::MAX})), "tokens of vocabulary");
    refused(parsed(json!({"num_key_value_heads": 0})), "0 key-value heads");
    refused(DecoderConfig::parse("m", "{"), "not JSON");
    refused(DecoderConfig::parse("m", "[]"), "\"nothing\"");
}

#[test]
fn what_config_json_leaves_out_is_the_usual() {
    let more = json!({"num_key_value_heads": null, "head_dim": null, "rope_theta": null,
        "rms_norm_eps": null, "tie_word_embeddings": null});
    let found = parsed(more).unwrap();
    assert_eq!((found.kv_heads, found.head_dim), (found.heads, 16));
    assert_eq!((found.rotary.base, found.norm_epsilon), (1e4, 1e-6));
    assert!(!found.tied);
    assert!(parsed(json!({"attention_bias": true})).unwrap().qkv_bias);
}
