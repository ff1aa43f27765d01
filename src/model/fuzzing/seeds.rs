//! Models of a few numbers.

use super::super::import::llama::{DecoderConfig, samples};
use super::onnx::{DataType, GraphBuilder, MICROSOFT, Value};
use serde_json::{Map, json};

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let built_in = super::super::registry::BUILT_IN;
    built_in.into_iter().map(|(_, text)| text.as_bytes().to_vec()).collect()
}

pub(crate) fn graphs() -> Vec<Vec<u8>> {
    let graph = |big: bool| {
        let mut weights = Vec::new();
        let mut graph = GraphBuilder::new("g", "model.weights", &mut weights);
        graph.input("x", DataType::Float, &["b", "4"]);
        let width = if big { 512 } else { 2 };
        let w = graph.floats("w", &[4, width], &vec![0.5; 4 * width]).unwrap();
        let y = graph.node("MatMul", &["x", &w], &[("a", Value::Int(1)), ("s", Value::Text("t"))]);
        let z = graph.domain_node(MICROSOFT, "Other", &[&y], &[("f", Value::Float(0.5))]);
        graph.output(&z, DataType::Float, &["b", "2"]);
        graph.finish()
    };
    vec![graph(false), graph(true)]
}

const HIDDEN: usize = 2;
const INNER: usize = 3;
const VOCABULARY: usize = 4;
const POSITIONS: usize = 5;

/// A configuration in one line, then the weights: of every type that is read.
pub(crate) fn weights() -> Vec<Vec<u8>> {
    [("bert", "F32"), ("roberta", "F16"), ("xlm-roberta", "BF16")]
        .map(|(family, kind)| {
            let config = json!({
                "model_type": family, "hidden_size": HIDDEN, "num_hidden_layers": 1,
                "num_attention_heads": 1, "intermediate_size": INNER, "vocab_size": VOCABULARY,
                "max_position_embeddings": POSITIONS, "type_vocab_size": 1, "pad_token_id": 1,
                "hidden_act": "gelu",
            });
            [format!("{config}\n").into_bytes(), safetensors(kind)].concat()
        })
        .to_vec()
}

fn safetensors(kind: &str) -> Vec<u8> {
    let linear = |name: &str, inputs, outputs| {
        [(format!("{name}.weight"), vec![outputs, inputs]), (format!("{name}.bias"), vec![outputs])]
    };
    let norm = |name: &str| ["weight", "bias"].map(|end| (format!("{name}.{end}"), vec![HIDDEN]));
    let layer = "encoder.layer.0";
    let mut tensors = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![1, HIDDEN]),
    ];
    tensors.extend(norm("embeddings.LayerNorm"));
    for part in ["query", "key", "value"] {
        tensors.extend(linear(&format!("{layer}.attention.self.{part}"), HIDDEN, HIDDEN));
    }
    tensors.extend(linear(&format!("{layer}.attention.output.dense"), HIDDEN, HIDDEN));
    tensors.extend(norm(&format!("{layer}.attention.output.LayerNorm")));
    tensors.extend(linear(&format!("{layer}.intermediate.dense"), HIDDEN, INNER));
    tensors.extend(linear(&format!("{layer}.output.dense"), INNER, HIDDEN));
    tensors.extend(norm(&format!("{layer}.output.LayerNorm")));

    let width = if kind == "F32" { 4 } else { 2 };
    let mut header = Map::new();
    let mut data = Vec::new();
    for (name, shape) in tensors {
        let start = data.len();
        data.resize(start + shape.iter().product::<usize>() * width, 0x3c);
        let offsets = [start, data.len()];
        header.insert(name, json!({"dtype": kind, "shape": shape, "data_offsets": offsets}));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat()
}

/// GGUF files: what the `gguf` package wrote, and decoders of each architecture.
pub(crate) fn ggufs() -> Vec<Vec<u8>> {
    let mut files = vec![include_bytes!("../../../tests/golden/blocks.gguf").to_vec()];
    for name in ["llama", "qwen2", "qwen3"] {
        let config = DecoderConfig { layers: 1, ..samples::config_of(name) };
        files.push(samples::gguf(name, &config).finish());
    }
    files
}

/// A decoder's configuration in one line, then its weights.
pub(crate) fn decoder_folders() -> Vec<Vec<u8>> {
    let of = |name: &str, class: &str, kind: &str| {
        let config = DecoderConfig {
            layers: 1,
            hidden: HIDDEN,
            head_dim: 4,
            intermediate: INNER,
            vocabulary: VOCABULARY,
            ..samples::config_of(name)
        };
        let json = samples::json(class, &config, json!({}));
        [format!("{json}\n").into_bytes(), samples::safetensors(&config, kind)].concat()
    };
    let qwen2 = of("qwen2", "Qwen2ForCausalLM", "BF16");
    vec![of("llama", "LlamaForCausalLM", "F32"), qwen2, of("qwen3", "Qwen3ForCausalLM", "BF16")]
}
