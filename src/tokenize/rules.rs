//! How a text is cut into words before byte pairs are merged: the pre-tokenizers of the Llama family,
//! by the names that GGUF files have for them (`tokenizer.ggml.pre`).
//!
//! The patterns are those that the models were published with, in the form in which llama.cpp
//! applies them; names and their defaults are llama.cpp's, too.

/// GPT-2: words with the space before them, runs of digits, runs of the rest, white space but its
/// last character.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Every digit by itself.
const DIGITS: &str = r"\p{N}";

/// Llama 3: digits by threes, line ends kept together.
const LLAMA3: &str = concat!(
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Qwen 2: as Llama 3, with single digits.
const QWEN2: &str = concat!(
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A pre-tokenizer and what goes with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// Each cuts what the ones before it left; what no pattern matches is a word as well.
    pub(super) patterns: &'static [&'static str],
    /// A word that is in the vocabulary is a token, whether or not merges lead to it.
    pub(super) ignore_merges: bool,
    /// Whether a prompt begins with the token of beginning unless the file says otherwise.
    pub(super) add_bos: bool,
}

/// The best known of each rule, for messages.
pub(super) const NAMES: &str = "smollm, llama-bpe, qwen2, gpt-2, default and their aliases";

/// The rule of a name; a file without one has the default.
pub(super) fn rule(name: &str) -> Option<Rule> {
    let plain = |patterns| Some(Rule { patterns, ignore_merges: false, add_bos: false });
    match name {
        "" | "default" => plain(&[r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"]),
        "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "trillion" | "exaone4"
        | "granite-docling" | "gigachat" | "a.x-4.0" | "mellum" => plain(&[GPT2]),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => plain(&[DIGITS, GPT2]),
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
        | "lfm2" => Some(Rule { patterns: &[LLAMA3], ignore_merges: true, add_bos: true }),
        "dbrx" | "smaug-bpe" => plain(&[LLAMA3]),
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "stablelm2" | "megrez" | "hunyuan"
        | "solar-open" | "grok-2" => plain(&[QWEN2]),
        _ => None,
    }
}
