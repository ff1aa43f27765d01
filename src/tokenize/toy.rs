//! A small tokenizer for tests: all bytes, a few merges, a few special tokens.

use super::{DecoderTokenizer, Parts};
use std::sync::LazyLock;

pub(crate) const RULES: [&str; 5] = ["smollm", "llama-bpe", "qwen2", "gpt-2", "default"];

static LETTERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut letters: Vec<(u8, char)> =
        ('\0'..='\u{143}').filter_map(|c| Some((super::alphabet::byte(c)?, c))).collect();
    letters.sort_unstable();
    letters.into_iter().map(|(_, letter)| letter.to_string()).collect()
});

static SHARED: LazyLock<Vec<DecoderTokenizer>> = LazyLock::new(|| {
    RULES.iter().map(|r| DecoderTokenizer::from_gguf(&parts(r)).unwrap()).collect()
});

/// The token of a byte has the byte's number.
pub(crate) fn parts(pre: &str) -> Parts<'_> {
    let mut parts = Parts { name: "toy", model: "gpt2", pre, eos: Some(265), ..Parts::default() };
    parts.tokens = LETTERS.iter().map(String::as_str).collect();
    parts.token_types = vec![1; 256];
    for (text, kind) in [
        ("th", 1),
        ("the", 1),
        ("Ġt", 1),
        ("Ġthe", 1),
        ("he", 1),
        ("Ġth", 1),
        ("<think>", 4),
        ("<|im_start|>", 3),
        ("<|endoftext|>", 3),
        ("<|im_end|>", 3),
    ] {
        parts.tokens.push(text);
        parts.token_types.push(kind);
    }
    parts.merges = vec!["t h", "Ġ t", "h e", "th e", "Ġt h", "Ġt he", "Ġth e"];
    parts
}

pub(crate) fn with_rule(rule: &str) -> &'static DecoderTokenizer {
    let place = RULES.iter().position(|r| *r == rule).unwrap();
    &SHARED[place]
}

pub(crate) fn tokenizer() -> &'static DecoderTokenizer {
    with_rule("smollm")
}
