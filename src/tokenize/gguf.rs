//! A tokenizer as a GGUF file states it.

use super::bpe::Bpe;
use super::decoder::{DecoderTokenizer, Design};
use super::rules;
use super::special::Kind;
use crate::error::{Error, Result};

/// The metadata of a GGUF file that make a tokenizer: `tokenizer.ggml.…`. What a file leaves out
/// stays at its default.
///
/// `add_space_prefix` is not among them: it is for other models of tokenizers.
#[derive(Debug, Clone, Default)]
pub struct Parts<'a> {
    /// The model's name, for messages.
    pub name: &'a str,
    /// `model`: only `gpt2`, byte pairs, can be used.
    pub model: &'a str,
    /// `pre`: the rule by which a text is cut into words. Default: `default`.
    pub pre: &'a str,
    /// `tokens`, by id.
    pub tokens: Vec<&'a str>,
    /// `token_type`, by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Empty:
    /// all are normal.
    pub token_types: Vec<i64>,
    /// `merges`: two entries with a space between them, the first to be merged first.
    pub merges: Vec<&'a str>,
    /// `bos_token_id`.
    pub bos: Option<u64>,
    /// `eos_token_id`.
    pub eos: Option<u64>,
    /// `eot_token_id`: the end of a turn.
    pub eot: Option<u64>,
    /// `eom_token_id`: the end of a message.
    pub eom: Option<u64>,
    /// `add_bos_token`. Default: true for the names of Llama 3's rule, else false.
    pub add_bos: Option<bool>,
}

impl DecoderTokenizer {
    /// A tokenizer from a GGUF file's metadata.
    ///
    /// # Errors
    /// [`Error::Model`] for a model or rule of tokenizers that is not known, where counts do not match,
    /// an entry is there twice, a merge or a special token names what is not in the vocabulary, or
    /// sizes are beyond all reason.
    pub fn from_gguf(parts: &Parts<'_>) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: parts.name.to_owned(), reason };
        if parts.model != "gpt2" {
            return Err(refuse(format!(
                "expected a tokenizer of byte pairs (gpt2), found {:?}; use a model with one",
                parts.model
            )));
        }
        let Some(rule) = rules::rule(parts.pre) else {
            return Err(refuse(format!(
                "its tokenizer cuts texts by the rule {:?}; known are {}",
                parts.pre,
                rules::NAMES
            )));
        };
        if !parts.token_types.is_empty() && parts.token_types.len() != parts.tokens.len() {
            return Err(refuse(format!(
                "expected a type for each of {} tokens, found {} types",
                parts.tokens.len(),
                parts.token_types.len()
            )));
        }
        if parts.merges.is_empty() {
            return Err(refuse("its tokenizer has no merges".to_owned()));
        }
        let kind = |id: usize| match parts.token_types.get(id) {
            Some(2 | 3) => Kind::Control,
            Some(4) => Kind::User,
            _ => Kind::Plain,
        };
        let tokens = (0..).zip(&parts.tokens).map(|(id, text)| Some((*text, kind(id)))).collect();
        let mut merges = Vec::with_capacity(parts.merges.len());
        for (rank, merge) in parts.merges.iter().enumerate() {
            // An entry can itself begin with a space.
            let middle = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
            let pair = middle.and_then(|at| Some((merge.get(..at)?, merge.get(at + 1..)?)));
            let Some(pair) = pair.filter(|(_, right)| !right.is_empty()) else {
                return Err(refuse(format!(
                    "expected two entries in merge {rank} of its tokenizer, found {merge:?}"
                )));
            };
            merges.push(pair);
        }
        let id = |id: Option<u64>| match id.map(u32::try_from) {
            None => Ok(None),
            Some(Ok(id)) => Ok(Some(id)),
            Some(Err(_)) => Err(refuse("expected ids of special tokens below 2^32".to_owned())),
        };
        let bos = id(parts.bos)?;
        if parts.add_bos == Some(true) && bos.is_none() {
            return Err(refuse("its prompts begin with a token that it does not name".to_owned()));
        }
        let design = Design {
            name: parts.name,
            tokens,
            merges,
            bos,
            eos: id(parts.eos)?,
            ends: [id(parts.eot)?, id(parts.eom)?].into_iter().flatten().collect(),
            add_bos: parts.add_bos.unwrap_or(rule.add_bos),
        };
        Self::new(design, |entries| Bpe::with_rule(entries, &rule))
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy;
    use super::*;

    fn refused(change: impl FnOnce(&mut Parts<'_>)) -> String {
        let mut parts = toy::parts("smollm");
        change(&mut parts);
        match DecoderTokenizer::from_gguf(&parts) {
            Err(Error::Model { name, reason }) => {
                assert_eq!(name, "toy");
                reason
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bad_tokenizers_are_refused() {
        assert!(refused(|p| p.model = "llama").contains("found \"llama\""));
        assert!(refused(|p| p.model = "").contains("gpt2"));
        assert!(refused(|p| p.pre = "tekken").contains("tekken"));
        let nothing = refused(|p| {
            p.tokens.clear();
            p.token_types.clear();
            p.eos = None;
        });
        assert!(nothing.contains("found 0"), "{nothing}");
        assert!(refused(|p| p.merges.clear()).contains("no merges"));
        assert!(refused(|p| p.tokens.push("a2")).contains("types"));
        assert!(
            refused(|p| {
                p.tokens.push("the");
                p.token_types.push(1);
            })
            .contains("twice")
        );
        for kind in [3, 4] {
            assert!(
                refused(|p| {
                    p.tokens.push("<|im_end|>");
                    p.token_types.push(kind);
                })
                .contains("twice")
            );
        }
        assert!(refused(|p| p.merges.push("t unknown")).contains("unknown"));
        assert!(refused(|p| p.merges.push("e e")).contains("\"ee\""));
        for merge in ["", " ", "t", "t ", "  ", " t"] {
            refused(|p| p.merges.push(merge));
        }
        assert!(refused(|p| p.merges.push("t h e")).contains("\"h e\""));
        assert!(refused(|p| p.eos = Some(266)).contains("266"));
        assert!(refused(|p| p.eot = Some(1 << 40)).contains("2^32"));
        assert!(refused(|p| p.add_bos = Some(true)).contains("does not name"));
        let long = "a".repeat(20_000);
        assert!(
            refused(|p| {
                p.tokens.push(Box::leak(long.into_boxed_str()));
                p.token_types.push(1);
            })
            .contains("20000 bytes")
        );
        assert!(
            refused(|p| {
                p.tokens = vec!["a"; (1 << 20) + 1];
                p.token_types.clear();
            })
            .contains("1048577")
        );
        assert!(refused(|p| p.merges = vec!["t h"; (1 << 21) + 1]).contains("2097153"));
    }

    /// GGUF files pad their vocabulary with unused and with empty entries.
    #[test]
    fn padding_is_no_harm() {
        let mut parts = toy::parts("smollm");
        for (text, kind) in [("", 5), ("", 5), ("[PAD1]", 5), ("", 3)] {
            parts.tokens.push(text);
            parts.token_types.push(kind);
        }
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        assert_eq!(tokenizer.vocabulary(), 270);
        assert_eq!(tokenizer.text_of(266), None);
        assert_eq!(tokenizer.text_of(268), Some("[PAD1]"));
        assert_eq!(tokenizer.encode("the [PAD1]").unwrap().len(), 8);
    }

    /// What has no token is left out, and keeps what is beside it apart.
    #[test]
    fn a_missing_byte_is_left_out() {
        let mut parts = toy::parts("smollm");
        let place = parts.tokens.iter().position(|t| *t == "!").unwrap();
        parts.tokens[place] = "";
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        assert_eq!(tokenizer.decode(&tokenizer.encode("a!b!!").unwrap()), b"ab");
    }

    /// The first of two equal merges counts (llama.cpp): here it decides between th|e and t|he.
    #[test]
    fn the_first_of_two_merges_counts() {
        let mut parts = toy::parts("gpt-2");
        parts.merges = vec!["t h", "h e", "t h"];
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        let texts: Vec<_> =
            tokenizer.encode("the").unwrap().iter().map(|id| tokenizer.text_of(*id)).collect();
        assert_eq!(texts, [Some("th"), Some("e")]);
    }
}
