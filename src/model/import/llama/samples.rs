//! Decoders of a few numbers, as files of both kinds.

use super::{DecoderConfig, Pairs, Part, Rotary, Scaling};
use crate::model::gguf::sample::Sample;
use serde_json::{Map, Value, json};

/// The smallest sizes whose rows are whole blocks of 32.
pub(crate) fn config() -> DecoderConfig {
    DecoderConfig {
        layers: 2,
        hidden: 32,
        heads: 2,
        kv_heads: 1,
        head_dim: 32,
        intermediate: 64,
        vocabulary: 5,
        context: 128,
        norm_epsilon: 1e-5,
        rotary: Rotary { base: 10_000.0, pairs: Pairs::Neighbours, scaling: Scaling::None },
        qkv_bias: false,
        qk_norm: false,
        tied: true,
    }
}

/// With what distinguishes the architecture `name` of GGUF.
pub(crate) fn config_of(name: &str) -> DecoderConfig {
    let mut config = config();
    match name {
        "qwen2" => config.qkv_bias = true,
        "qwen3" => config.qk_norm = true,
        _ => return config,
    }
    config.rotary.pairs = Pairs::Halves;
    config
}

/// A decoder of `config` in GGUF: matrices in 4 bits, the embedding in 8, the rest in 32.
pub(crate) fn gguf(name: &str, config: &DecoderConfig) -> Sample {
    let size = |n: usize| u32::try_from(n).unwrap();
    let key = |end: &str| format!("{name}.{end}");
    let mut sample = Sample::new()
        .text("general.architecture", name)
        .number(&key("block_count"), size(config.layers))
        .number(&key("context_length"), size(config.context))
        .number(&key("embedding_length"), size(config.hidden))
        .number(&key("feed_forward_length"), size(config.intermediate))
        .number(&key("attention.head_count"), size(config.heads))
        .number(&key("attention.head_count_kv"), size(config.kv_heads))
        .number(&key("attention.key_length"), size(config.head_dim))
        .number(&key("attention.value_length"), size(config.head_dim))
        .float(&key("attention.layer_norm_rms_epsilon"), config.norm_epsilon)
        .float(&key("rope.freq_base"), 10_000.0);
    let mut random = Random(7);
    for part in Part::all(config) {
        let dims = part.dims(config);
        let inputs_first: Vec<u64> = dims.iter().rev().map(|dim| *dim as u64).collect();
        let blocks = dims.iter().product::<usize>() / 32;
        let (kind, bytes) = match (part, dims.len()) {
            (Part::Embedding, _) => (8, random.blocks(blocks, 1, 34)),
            (_, 2) => (3, random.blocks(blocks, 2, 20)),
            _ => (0, random.floats(dims[0])),
        };
        sample = sample.tensor(&part.in_gguf(), &inputs_first, kind, &bytes);
    }
    sample
}

/// The same sizes as `config.json` of the class `class`, which takes what is in `more`.
pub(crate) fn json(class: &str, config: &DecoderConfig, more: Value) -> Value {
    let mut json = json!({
        "architectures": [class],
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.intermediate,
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": config.tied,
    });
    if let (Value::Object(json), Value::Object(more)) = (&mut json, more) {
        json.extend(more);
    }
    json
}

/// A decoder of `config` in safetensors of the type `kind` (F32 or BF16).
pub(crate) fn safetensors(config: &DecoderConfig, kind: &str) -> Vec<u8> {
    let mut random = Random(9);
    let mut header = Map::new();
    let mut data = Vec::new();
    for part in Part::all(config) {
        let dims = part.dims(config);
        let start = data.len();
        let values = random.floats(dims.iter().product());
        // The upper half of a float is a bfloat.
        let upper = values.as_chunks::<4>().0.iter().flat_map(|four| [four[2], four[3]]);
        if kind == "BF16" {
            data.extend(upper);
        } else {
            data.extend(&values);
        }
        let offsets = [start, data.len()];
        let said = json!({"dtype": kind, "shape": dims, "data_offsets": offsets});
        header.insert(part.in_safetensors(), said);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()
}

/// xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }

    /// Blocks of random bytes behind halves between 1/32 and 1/16 in magnitude.
    fn blocks(&mut self, count: usize, halves: usize, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            for _ in 0..halves {
                bytes.extend([self.byte(), 0x28 | self.byte() & 0x83]);
            }
            bytes.extend((halves * 2..size).map(|_| self.byte()));
        }
        bytes
    }

    /// Values between 1/8 and 1/4 in magnitude.
    fn floats(&mut self, count: usize) -> Vec<u8> {
        let one = |random: &mut Self| {
            [random.byte(), random.byte(), random.byte() & 0x7f, 0x3e | random.byte() & 0x80]
        };
        (0..count).flat_map(|_| one(self)).collect()
    }
}
