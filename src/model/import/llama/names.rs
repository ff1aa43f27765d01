//! The weights of a decoder: what they are for, how files name them, and their shapes.

use super::DecoderConfig;

/// A weight of a decoder; the number is its layer's, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A row for each token.
    Embedding,
    /// A row for each token, where that is not [`Self::Embedding`] again.
    Head,
    FinalNorm,
    AttentionNorm(usize),
    /// Heads times dimensions of a head rows.
    Query(usize),
    /// Key-value heads times dimensions of a head rows.
    Key(usize),
    Value(usize),
    QueryBias(usize),
    KeyBias(usize),
    ValueBias(usize),
    /// Of the dimensions of one head; every head has the same.
    QueryNorm(usize),
    KeyNorm(usize),
    Output(usize),
    FeedForwardNorm(usize),
    Gate(usize),
    Up(usize),
    Down(usize),
}

impl Part {
    /// Every weight of a decoder.
    pub(crate) fn all(config: &DecoderConfig) -> impl Iterator<Item = Self> {
        let (bias, norms) = (config.qkv_bias, config.qk_norm);
        let ends = [Self::Embedding, Self::FinalNorm].into_iter();
        let head = (!config.tied).then_some(Self::Head);
        ends.chain(head).chain((0..config.layers).flat_map(move |layer| {
            let biases = [Self::QueryBias, Self::KeyBias, Self::ValueBias];
            let head_norms = [Self::QueryNorm, Self::KeyNorm];
            let some = [
                Self::AttentionNorm,
                Self::Query,
                Self::Key,
                Self::Value,
                Self::Output,
                Self::FeedForwardNorm,
                Self::Gate,
                Self::Up,
                Self::Down,
            ];
            some.into_iter()
                .chain(biases.into_iter().filter(move |_| bias))
                .chain(head_norms.into_iter().filter(move |_| norms))
                .map(move |part| part(layer))
        }))
    }

    /// Its shape: outputs and inputs of a matrix, the length of a vector.
    pub(crate) fn dims(self, config: &DecoderConfig) -> Vec<usize> {
        let DecoderConfig { hidden, head_dim, intermediate, vocabulary, .. } = *config;
        // Both were checked to be small.
        let (queries, keys) = (config.heads * head_dim, config.kv_heads * head_dim);
        match self {
            Self::Embedding | Self::Head => vec![vocabulary, hidden],
            Self::FinalNorm | Self::AttentionNorm(_) | Self::FeedForwardNorm(_) => vec![hidden],
            Self::Query(_) => vec![queries, hidden],
            Self::Key(_) | Self::Value(_) => vec![keys, hidden],
            Self::QueryBias(_) => vec![queries],
            Self::KeyBias(_) | Self::ValueBias(_) => vec![keys],
            Self::QueryNorm(_) | Self::KeyNorm(_) => vec![head_dim],
            Self::Output(_) => vec![hidden, queries],
            Self::Gate(_) | Self::Up(_) => vec![intermediate, hidden],
            Self::Down(_) => vec![hidden, intermediate],
        }
    }

    /// Its name in a GGUF file, as `gguf` writes it (`MODEL_TENSOR.*` of the architectures).
    pub(crate) fn in_gguf(self) -> String {
        let of = |layer: usize, name: &str| format!("blk.{layer}.{name}");
        match self {
            Self::Embedding => "token_embd.weight".to_owned(),
            Self::Head => "output.weight".to_owned(),
            Self::FinalNorm => "output_norm.weight".to_owned(),
            Self::AttentionNorm(l) => of(l, "attn_norm.weight"),
            Self::Query(l) => of(l, "attn_q.weight"),
            Self::Key(l) => of(l, "attn_k.weight"),
            Self::Value(l) => of(l, "attn_v.weight"),
            Self::QueryBias(l) => of(l, "attn_q.bias"),
            Self::KeyBias(l) => of(l, "attn_k.bias"),
            Self::ValueBias(l) => of(l, "attn_v.bias"),
            Self::QueryNorm(l) => of(l, "attn_q_norm.weight"),
            Self::KeyNorm(l) => of(l, "attn_k_norm.weight"),
            Self::Output(l) => of(l, "attn_output.weight"),
            Self::FeedForwardNorm(l) => of(l, "ffn_norm.weight"),
            Self::Gate(l) => of(l, "ffn_gate.weight"),
            Self::Up(l) => of(l, "ffn_up.weight"),
            Self::Down(l) => of(l, "ffn_down.weight"),
        }
    }

    /// Its name in a safetensors file, as `transformers` writes it (`LlamaForCausalLM`, and the
    /// classes that follow it).
    pub(crate) fn in_safetensors(self) -> String {
        let of = |layer: usize, name: &str| format!("model.layers.{layer}.{name}");
        match self {
            Self::Embedding => "model.embed_tokens.weight".to_owned(),
            Self::Head => "lm_head.weight".to_owned(),
            Self::FinalNorm => "model.norm.weight".to_owned(),
            Self::AttentionNorm(l) => of(l, "input_layernorm.weight"),
            Self::Query(l) => of(l, "self_attn.q_proj.weight"),
            Self::Key(l) => of(l, "self_attn.k_proj.weight"),
            Self::Value(l) => of(l, "self_attn.v_proj.weight"),
            Self::QueryBias(l) => of(l, "self_attn.q_proj.bias"),
            Self::KeyBias(l) => of(l, "self_attn.k_proj.bias"),
            Self::ValueBias(l) => of(l, "self_attn.v_proj.bias"),
            Self::QueryNorm(l) => of(l, "self_attn.q_norm.weight"),
            Self::KeyNorm(l) => of(l, "self_attn.k_norm.weight"),
            Self::Output(l) => of(l, "self_attn.o_proj.weight"),
            Self::FeedForwardNorm(l) => of(l, "post_attention_layernorm.weight"),
            Self::Gate(l) => of(l, "mlp.gate_proj.weight"),
            Self::Up(l) => of(l, "mlp.up_proj.weight"),
            Self::Down(l) => of(l, "mlp.down_proj.weight"),
        }
    }
}
