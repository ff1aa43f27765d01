//! A decoder's tokenizer from Hugging Face's tokenizer.json.

use super::bpe::{Bpe, MAX_TOKENS};
use super::decoder::{DecoderTokenizer, Design};
use super::special::Kind;
use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// The largest known ones have 20 MB; a hostile one can have any size.
const MAX_BYTES: usize = 64 << 20;

/// Ids of special tokens, which stand in files beside tokenizer.json: `config.json`,
/// `generation_config.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// `bos_token_id`. Where tokenizer.json puts a token in front of every text, that one counts.
    pub bos: Option<u32>,
    /// `eos_token_id`: one or more.
    pub ends: Vec<u32>,
}

#[derive(Deserialize)]
struct File {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: String,
    vocab: HashMap<String, u32>,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    byte_fallback: bool,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// Older files have `"a b"`, newer ones `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the file has them")]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

impl DecoderTokenizer {
    /// A tokenizer from the bytes of a tokenizer.json. `name` is the model's, for messages.
    ///
    /// # Errors
    /// [`Error::Model`] for a file that is not byte-level byte-pair encoding, that asks for what
    /// decoders of the Llama family do not need (dropout, word suffixes, special tokens that swallow
    /// white space), or that contradicts itself.
    pub fn from_json(name: &str, bytes: &[u8], marks: &Marks) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        if bytes.len() > MAX_BYTES {
            return Err(refuse(format!(
                "its tokenizer has {} bytes; a tokenizer has at most {MAX_BYTES}",
                bytes.len()
            )));
        }
        let file: File = serde_json::from_slice(bytes)
            .map_err(|e| refuse(format!("its tokenizer does not load: {e}")))?;
        usable(&file)
            .map_err(|reason| refuse(format!("its tokenizer cannot be used: {reason}")))?;

        let tokens = tokens(&file).map_err(refuse)?;
        let mut merges = Vec::with_capacity(file.model.merges.len());
        for (rank, merge) in file.model.merges.iter().enumerate() {
            let pair = match merge {
                Merge::Pair(left, right) => Some((left.as_str(), right.as_str())),
                Merge::Joined(both) => both.split_once(' '),
            };
            let pair = pair.filter(|(left, right)| !left.is_empty() && !right.is_empty());
            merges.push(pair.ok_or_else(|| {
                refuse(format!("expected two entries in merge {rank} of its tokenizer"))
            })?);
        }
        let first = first_token(&file.post_processor);
        let in_front = first.and_then(|text| {
            let added = file.added_tokens.iter().find(|t| t.content == text).map(|t| t.id);
            added.or_else(|| file.model.vocab.get(text).copied())
        });
        if let (Some(text), None) = (first, in_front) {
            return Err(refuse(format!(
                "its prompts begin with {text:?}, which is not in its vocabulary"
            )));
        }
        let design = Design {
            name,
            tokens,
            merges,
            bos: in_front.or(marks.bos),
            eos: marks.ends.first().copied(),
            ends: marks.ends.clone(),
            add_bos: in_front.is_some(),
        };
        let (cut, normalizer) = (file.pre_tokenizer.clone(), file.normalizer.clone());
        let ignore_merges = file.model.ignore_merges;
        Self::new(design, |entries| Bpe::with_steps(entries, ignore_merges, cut, normalizer))
    }
}

/// What this crate takes a tokenizer.json for.
fn usable(file: &File) -> Result<(), String> {
    let model = &file.model;
    if model.kind != "BPE" || model.byte_fallback || !has_step(&file.pre_tokenizer, "ByteLevel") {
        let found = match model.kind.as_str() {
            "" => "none",
            "BPE" => "BPE that is not byte-level",
            other => other,
        };
        return Err(format!("expected byte-level BPE, found {found}; use a model with that"));
    }
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err("it leaves out merges by chance (dropout)".to_owned());
    }
    let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err("it marks parts of words by a prefix or suffix".to_owned());
    }
    let strips = |token: &&AddedToken| token.single_word || token.lstrip || token.rstrip;
    match file.added_tokens.iter().find(strips) {
        Some(token) => Err(format!(
            "the special token {:?} swallows white space or minds words",
            token.content
        )),
        None => Ok(()),
    }
}

/// A step by its type, at the top or in a sequence.
fn has_step(steps: &Value, kind: &str) -> bool {
    let is = |step: &Value| step.get("type").and_then(Value::as_str) == Some(kind);
    let inner = steps.get("pretokenizers").and_then(Value::as_array);
    is(steps) || inner.is_some_and(|inner| inner.iter().any(is))
}

/// Texts and kinds by id.
fn tokens(file: &File) -> Result<Vec<Option<(&str, Kind)>>, String> {
    let vocabulary = file.model.vocab.iter().map(|(text, id)| (text.as_str(), *id, Kind::Plain));
    let added = file.added_tokens.iter().map(|token| {
        let control = token.special || looks_special(&token.content);
        (token.content.as_str(), token.id, if control { Kind::Control } else { Kind::User })
    });
    let mut tokens: Vec<Option<(&str, Kind)>> = Vec::with_capacity(file.model.vocab.len());
    for (text, id, kind) in vocabulary.chain(added) {
        let place = usize::try_from(id).ok().filter(|place| *place < MAX_TOKENS);
        let place = place.ok_or_else(|| {
            format!("expected ids below {MAX_TOKENS} in its tokenizer, found {id} for {text:?}")
        })?;
        if place >= tokens.len() {
            tokens.resize(place + 1, None);
        }
        match tokens.get_mut(place) {
            // An added token may stand in the vocabulary, too.
            Some(entry) if entry.is_none_or(|(other, _)| other == text) => {
                *entry = Some((text, kind));
            }
            _ => return Err(format!("its tokenizer has two tokens with the id {id}")),
        }
    }
    Ok(tokens)
}

/// Tokens that files forget to call special (llama.cpp's converter goes by the same looks).
fn looks_special(text: &str) -> bool {
    (text.starts_with("<|") && text.ends_with("|>"))
        || (text.starts_with("<｜") && text.ends_with("｜>"))
        || (text.starts_with("<unused") && text.ends_with('>'))
        || matches!(text, "<pad>" | "<mask>")
}

/// The special token that goes in front of every text.
fn first_token(processor: &Value) -> Option<&str> {
    if let Some(inner) = processor.get("processors").and_then(Value::as_array) {
        return inner.iter().find_map(first_token);
    }
    processor.get("single")?.as_array()?.first()?.get("SpecialToken")?.get("id")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::super::toy;
    use super::super::{Piece, Prompt};
    use super::*;
    use serde_json::json;

    /// The toy tokenizer with GPT-2's rule, as a tokenizer.json.
    fn file() -> Value {
        let parts = toy::parts("gpt-2");
        let mut vocab = serde_json::Map::new();
        let mut added = Vec::new();
        for (id, (text, kind)) in parts.tokens.iter().zip(&parts.token_types).enumerate() {
            if *kind == 1 || *text == "<think>" {
                vocab.insert((*text).to_owned(), id.into());
            }
            if *kind != 1 {
                let flags = json!({"id": id, "content": text, "special": *kind == 3,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
                added.push(flags);
            }
        }
        let merges: Vec<Value> =
            parts.merges.iter().map(|m| json!(m.split(' ').collect::<Vec<_>>())).collect();
        json!({
            "version": "1.0", "added_tokens": added, "normalizer": null, "post_processor": null,
            "pre_tokenizer":
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "vocab": vocab, "merges": merges},
        })
    }

    fn load(file: &Value, marks: &Marks) -> Result<DecoderTokenizer> {
        DecoderTokenizer::from_json("toy", file.to_string().as_bytes(), marks)
    }

    const TEXTS: [&str; 5] =
        ["the thesis, then 1234", "<|im_end|> <think>\n\n  the", "", "日本語 the\t\t x", "it's  "];

    #[test]
    fn it_equals_the_gguf_form() {
        let ours = load(&file(), &Marks { bos: None, ends: vec![265] }).unwrap();
        let other = toy::with_rule("gpt-2");
        for text in TEXTS {
            assert_eq!(ours.encode(text).unwrap(), other.encode(text).unwrap(), "{text:?}");
            let prompt = Prompt::new().template(text).content(text).template(text);
            assert_eq!(
                ours.encode_prompt(&prompt).unwrap(),
                other.encode_prompt(&prompt).unwrap(),
                "{text:?}"
            );
        }
        assert_eq!(ours.ends(), other.ends());
        assert_eq!(ours.special_tokens(), other.special_tokens());
    }

    /// The crate's own pipeline is the reference.
    #[test]
    fn it_equals_the_crates_pipeline() {
        let mut file = file();
        file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]});
        file["normalizer"] = json!({"type": "NFC"});
        let ours = load(&file, &Marks::default()).unwrap();
        let reference: tokenizers::Tokenizer = file.to_string().parse().unwrap();
        for text in TEXTS.into_iter().chain(["e\u{301}te\u{301} 12a34"]) {
            let prompt = Prompt::new().template(text);
            assert_eq!(
                ours.encode_prompt(&prompt).unwrap(),
                reference.encode(text, false).unwrap().get_ids(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn old_merges_and_a_token_in_front() {
        let mut new = file();
        let merges: Vec<Value> = toy::parts("gpt-2").merges.iter().map(|m| json!(m)).collect();
        new["model"]["merges"] = json!(merges);
        new["post_processor"] = json!({"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            {"type": "TemplateProcessing", "single": [
                {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}},
        ]});
        let tokenizer = load(&new, &Marks::default()).unwrap();
        let bos = tokenizer.bos().unwrap();
        assert_eq!(tokenizer.text_of(bos), Some("<|im_start|>"));
        let mut prompt = Prompt::new();
        prompt.push(Piece::Content("the".to_owned()));
        let expected = [&[bos][..], &toy::tokenizer().encode("the").unwrap()].concat();
        assert_eq!(tokenizer.encode_prompt(&prompt).unwrap(), expected);
        new["post_processor"]["processors"][1]["single"][0]["SpecialToken"]["id"] = json!("<none>");
        assert!(load(&new, &Marks::default()).is_err());
    }

    #[test]
    fn bad_files_are_refused() {
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 16] = [
            (|f| f["model"]["type"] = json!("Unigram"), "Unigram"),
            (|f| f["model"]["byte_fallback"] = json!(true), "byte-level"),
            (|f| f["pre_tokenizer"] = json!(null), "byte-level"),
            (|f| f["pre_tokenizer"] = json!({"type": "Metaspace"}), "byte-level"),
            (|f| f["pre_tokenizer"]["use_regex"] = json!(7), "pre-tokenizer"),
            (|f| f["normalizer"] = json!({"type": "Nothing"}), "normalizer"),
            (|f| f["model"]["dropout"] = json!(0.1), "dropout"),
            (|f| f["model"]["end_of_word_suffix"] = json!("</w>"), "suffix"),
            (|f| f["added_tokens"][0]["rstrip"] = json!(true), "white space"),
            (|f| f["added_tokens"][0]["id"] = json!(3), "two tokens"),
            (|f| f["added_tokens"][0]["id"] = json!(4_000_000_000u32), "4000000000"),
            (|f| f["model"]["vocab"]["th"] = json!(3), "two tokens"),
            (|f| f["model"]["merges"] = json!([["t", "q"]]), "tq"),
            (|f| f["model"]["merges"] = json!(["t"]), "merge 0"),
            (|f| f["model"]["vocab"] = json!([]), "load"),
            (|f| f["model"] = json!(null), "load"),
        ];
        for (change, expected) in changes {
            let mut bad = file();
            change(&mut bad);
            let error = load(&bad, &Marks::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let marks = Marks { bos: Some(9999), ends: Vec::new() };
        assert!(load(&file(), &marks).unwrap_err().to_string().contains("9999"));
        for bytes in [&b""[..], b"{", b"[]", b"null", &[0xFF; 40]] {
            assert!(DecoderTokenizer::from_json("toy", bytes, &Marks::default()).is_err());
        }
        let much = vec![b' '; MAX_BYTES + 1];
        assert!(DecoderTokenizer::from_json("toy", &much, &Marks::default()).is_err());
    }
}
