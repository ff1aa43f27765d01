//! Byte-pair encoding without special tokens: the tokenizers crate cuts a text into words, and their
//! letters are merged here. The crate can do that, too, but copies every token and merge several times
//! to get ready for it, and the first answer waits for that.

use super::merge::{Merge, Merges};
use super::rules::Rule;
use crate::panics;
use std::collections::HashMap;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior,
};

/// The largest known vocabularies of byte pairs have 262,144 tokens.
pub(super) const MAX_TOKENS: usize = 1 << 20;

/// The largest known lists have some 515,000 merges.
const MAX_MERGES: usize = 1 << 21;

/// Bytes of one vocabulary entry.
const MAX_ENTRY: usize = 1 << 14;

/// One text, in bytes. Far beyond any context; the crate needs some fifty bytes for each.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// The patterns' engine gives up silently at a million steps back, and takes one for each character of
/// white space in a row.
const MAX_WHITE_SPACE: usize = 250_000;

/// A vocabulary and its merges.
pub(super) struct Entries<'a> {
    /// The id of every token that merging may give; `None` for a text that exists, but that merging
    /// must not give.
    known: HashMap<&'a str, Option<u32>>,
    /// Pairs, the first to be merged first.
    merges: Vec<(&'a str, &'a str)>,
}

impl<'a> Entries<'a> {
    /// For `count` tokens, ids beginning with 0, which are to be added.
    pub(super) fn new(count: usize, merges: Vec<(&'a str, &'a str)>) -> Result<Self, String> {
        if count == 0 || count > MAX_TOKENS {
            return Err(format!("expected 1 to {MAX_TOKENS} tokens, found {count}"));
        }
        if merges.len() > MAX_MERGES {
            return Err(format!("expected at most {MAX_MERGES} merges, found {}", merges.len()));
        }
        Ok(Self { known: HashMap::with_capacity(count), merges })
    }

    /// A token that merging may give, or must not.
    pub(super) fn add(&mut self, text: &'a str, id: u32, barred: bool) -> Result<(), String> {
        if text.len() > MAX_ENTRY {
            let found = text.len();
            return Err(format!("token {id} has {found} bytes; a token has at most {MAX_ENTRY}"));
        }
        match self.known.insert(text, (!barred).then_some(id)) {
            None => Ok(()),
            Some(_) => Err(format!("{text:?} is in the vocabulary twice")),
        }
    }

    /// The merges without those that are there already, where the first counts, and without those
    /// that would make a special token out of plain text.
    fn merges(&self, whole_words: bool) -> Result<Merges, String> {
        let mut pairs = HashMap::with_capacity(self.merges.len());
        let mut whole = String::new();
        for (rank, (left, right)) in (0..).zip(&self.merges) {
            whole.clear();
            whole.push_str(left);
            whole.push_str(right);
            let find = |part: &str| {
                self.known.get(part).copied().ok_or_else(|| {
                    format!(
                        "merge {rank} ({left:?} and {right:?}) names {part:?}, which is not in the \
                         vocabulary"
                    )
                })
            };
            let ids = (find(left)?, find(right)?, find(&whole)?);
            if let (Some(left), Some(right), Some(id)) = ids {
                pairs.entry((left, right)).or_insert(Merge { rank, id });
            }
        }
        let tokens = || self.known.iter().filter_map(|(text, id)| Some((*text, (*id)?)));
        let letter = |(text, id): (&str, u32)| {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none()).map(|letter| (letter, id))
        };
        let words = tokens().filter(|_| whole_words).map(|(text, id)| (text.into(), id));
        Ok(Merges { letters: tokens().filter_map(letter).collect(), pairs, words: words.collect() })
    }
}

/// The part of a tokenizer that knows no special tokens.
pub(super) struct Bpe {
    normalizer: Option<NormalizerWrapper>,
    cut: PreTokenizerWrapper,
    merges: Merges,
}

impl Bpe {
    /// With a rule of the GGUF's list.
    pub(super) fn with_rule(entries: &Entries<'_>, rule: &Rule) -> Result<Self, String> {
        let mut steps = Vec::with_capacity(rule.patterns.len() + 1);
        for pattern in rule.patterns {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|e| e.to_string())?;
            steps.push(PreTokenizerWrapper::Split(split));
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
        let cut = PreTokenizerWrapper::Sequence(Sequence::new(steps));
        Ok(Self { normalizer: None, cut, merges: entries.merges(rule.ignore_merges)? })
    }

    /// With the steps of a `tokenizer.json`, as JSON.
    pub(super) fn with_steps(
        entries: &Entries<'_>,
        ignore_merges: bool,
        pre_tokenizer: serde_json::Value,
        normalizer: serde_json::Value,
    ) -> Result<Self, String> {
        // The crate's readers are known to panic on some malformed files.
        let steps = panics::catch(move || {
            let cut = serde_json::from_value::<PreTokenizerWrapper>(pre_tokenizer)
                .map_err(|e| format!("the pre-tokenizer does not load: {e}"))?;
            let normalizer = serde_json::from_value::<Option<NormalizerWrapper>>(normalizer)
                .map_err(|e| format!("the normalizer does not load: {e}"))?;
            Ok::<_, String>((cut, normalizer))
        });
        let (cut, normalizer) =
            steps.map_err(|_| "its normalizer or pre-tokenizer is malformed".to_owned())??;
        Ok(Self { normalizer, cut, merges: entries.merges(ignore_merges)? })
    }

    /// The tokens of a text, put at the end of `ids`. A byte that has no token of its own (of a
    /// control character, mostly) is left out, as llama.cpp does.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        if has_long_white_space(text) {
            return Err(format!(
                "expected at most {MAX_WHITE_SPACE} characters of white space in a row; remove some"
            ));
        }
        match panics::catch(|| self.words(text)) {
            Ok(Ok(words)) => {
                let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
                words.iter().for_each(|(word, ..)| self.merges.encode(word, ids));
                Ok(())
            }
            Ok(Err(e)) => Err(format!("the tokenizer fails on it: {e}")),
            Err(_) => Err("the tokenizer gives up on it".to_owned()),
        }
    }

    fn words(&self, text: &str) -> tokenizers::Result<PreTokenizedString> {
        let mut text = NormalizedString::from(text);
        if let Some(normalizer) = &self.normalizer {
            normalizer.normalize(&mut text)?;
        }
        let mut words = PreTokenizedString::from(text);
        self.cut.pre_tokenize(&mut words)?;
        Ok(words)
    }
}

fn has_long_white_space(text: &str) -> bool {
    let mut run = 0;
    // No shorter text can hold such a run.
    text.len() > MAX_WHITE_SPACE
        && text.chars().any(|c| {
            run = if c.is_whitespace() { run + 1 } else { 0 };
            run > MAX_WHITE_SPACE
        })
}
