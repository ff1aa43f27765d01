//! A decoder's tokenizer.

use super::alphabet;
use super::bpe::{Bpe, Entries, MAX_TEXT};
use super::packed::Packed;
use super::prompt::{Piece, Prompt};
use super::special::{Kind, Part, Specials};
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::ops::Range;

/// Byte-level byte-pair encoding with special tokens, as llama.cpp does it.
///
/// Text becomes tokens by merging pairs of neighbours, and tokens are bytes again, so whatever a
/// model writes can be put together; a token need not be whole characters. Two kinds of tokens come
/// from their text instead. *User-defined* ones (white space in columns, `<think>`) are found in any
/// text. *Control* ones (`<|im_start|>`, the end of a turn) are only found in
/// [`Piece::Template`]: in a content their text is text like any other.
///
/// Bytes that have no token in the vocabulary are left out (SmolLM2 lacks some control characters,
/// such as U+0004): so do llama.cpp and Hugging Face.
///
/// Can be shared by threads.
pub struct DecoderTokenizer {
    name: String,
    bpe: Bpe,
    specials: Specials,
    /// A token's own text, as the vocabulary has it.
    texts: Packed,
    /// What a token adds to a text; control tokens nothing.
    bytes: Packed,
    controls: Vec<bool>,
    bos: Option<u32>,
    eos: Option<u32>,
    ends: Vec<u32>,
    add_bos: bool,
}

/// Texts of special tokens, for a chat template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// The token of beginning.
    pub bos: Option<String>,
    /// The token of end.
    pub eos: Option<String>,
    /// All control tokens.
    pub control: Vec<String>,
}

/// What a tokenizer is made of.
pub(super) struct Design<'a> {
    pub(super) name: &'a str,
    /// By id; `None` where an id has no token.
    pub(super) tokens: Vec<Option<(&'a str, Kind)>>,
    pub(super) merges: Vec<(&'a str, &'a str)>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    /// Further tokens that end a text.
    pub(super) ends: Vec<u32>,
    pub(super) add_bos: bool,
}

/// Texts of tokens after which nothing is to come, whether or not the file says so (llama.cpp's
/// list; it does not ask whether they are merged).
const ENDS: [&str; 29] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    // Where code is filled in: padding and the borders of files.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

impl DecoderTokenizer {
    /// `build` makes the part that merges, from what is left for it to give.
    pub(super) fn new(
        mut design: Design<'_>,
        build: impl FnOnce(&Entries<'_>) -> Result<Bpe, String>,
    ) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: design.name.to_owned(), reason };
        let count = design.tokens.len();
        let exists = |id: u32| {
            usize::try_from(id).is_ok_and(|id| matches!(design.tokens.get(id), Some(Some(_))))
        };
        for id in design.bos.iter().chain(&design.eos).chain(&design.ends) {
            if !exists(*id) {
                return Err(refuse(format!(
                    "its tokenizer names {id} as a special token and has {count} tokens"
                )));
            }
        }
        let mut ends: BTreeSet<u32> = design.ends.iter().chain(&design.eos).copied().collect();
        for (id, token) in design.tokens.iter().enumerate() {
            if let (Some((text, kind)), Ok(id)) = (token, u32::try_from(id))
                && ENDS.contains(text)
                && !(*kind == Kind::Plain && is_merged(text, &design.merges))
            {
                ends.insert(id);
            }
        }
        // What begins or ends a text is no text, whatever the file says of its kind.
        for id in ends.iter().chain(&design.bos) {
            if let Some(Some((_, kind))) =
                usize::try_from(*id).ok().and_then(|id| design.tokens.get_mut(id))
            {
                *kind = Kind::Control;
            }
        }

        let mut texts = Packed::with_capacity(count);
        let mut bytes = Packed::with_capacity(count);
        let mut controls = Vec::with_capacity(count);
        let unusable = |reason: String| refuse(format!("its tokenizer cannot be used: {reason}"));
        let merges = std::mem::take(&mut design.merges);
        let mut entries = Entries::new(count, merges).map_err(unusable)?;
        let mut specials = Vec::new();
        for (id, token) in (0..).zip(&design.tokens) {
            let (text, kind) = token.unwrap_or(("", Kind::Plain));
            texts.push(text.as_bytes());
            controls.push(kind == Kind::Control);
            match kind {
                Kind::Control => bytes.push(b""),
                Kind::User => bytes.push(text.as_bytes()),
                Kind::Plain => match alphabet::bytes(text) {
                    Some(decoded) => bytes.push(&decoded),
                    None => bytes.push(text.as_bytes()),
                },
            }
            if text.is_empty() {
                continue;
            }
            entries.add(text, id, kind == Kind::Control).map_err(unusable)?;
            if kind != Kind::Plain {
                specials.push((text, id, kind));
            }
        }
        let bpe = build(&entries).map_err(unusable)?;
        Ok(Self {
            name: design.name.to_owned(),
            bpe,
            specials: Specials::new(specials.into_iter()),
            texts,
            bytes,
            controls,
            bos: design.bos,
            eos: design.eos,
            ends: ends.into_iter().collect(),
            add_bos: design.add_bos,
        })
    }

    /// The tokens of a content: no control tokens, and none of beginning or end around it.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a text of more than 16 MiB, or with 250,000 characters of white
    /// space in a row.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.tokens(text, &[])
    }

    /// The tokens of a prompt, special tokens of its template pieces included. The token of beginning
    /// stands in front where the model wants one and the template did not write it.
    ///
    /// # Errors
    /// As [`DecoderTokenizer::encode`].
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let mut text = String::new();
        let mut template: Vec<Range<usize>> = Vec::new();
        for piece in prompt.pieces() {
            let start = text.len();
            text.push_str(piece.text());
            if matches!(piece, Piece::Template(_)) {
                template.push(start..text.len());
            }
        }
        let mut ids = self.tokens(&text, &template)?;
        if let Some(bos) = self.bos.filter(|_| self.add_bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    /// How many tokens a prompt has.
    ///
    /// # Errors
    /// As [`DecoderTokenizer::encode`].
    pub fn count(&self, prompt: &Prompt) -> Result<usize> {
        Ok(self.encode_prompt(prompt)?.len())
    }

    fn tokens(&self, text: &str, template: &[Range<usize>]) -> Result<Vec<u32>> {
        if text.len() > MAX_TEXT {
            let found = text.len();
            return Err(Error::parameter(
                "text",
                format!("expected at most {MAX_TEXT} bytes, found {found}; shorten it"),
            ));
        }
        let mut ids = Vec::with_capacity(text.len() / 3);
        for part in self.specials.partition(text, template) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(range) => {
                    let stretch = text.get(range).unwrap_or_default();
                    let reason = |reason| Error::parameter("text", reason);
                    self.bpe.encode(stretch, &mut ids).map_err(reason)?;
                }
            }
        }
        Ok(ids)
    }

    /// What a token adds to a text: not always whole characters. Nothing for control tokens and for
    /// ids that are not the vocabulary's (a model's head can be wider).
    #[must_use]
    pub fn bytes_of(&self, id: u32) -> &[u8] {
        usize::try_from(id).ok().and_then(|id| self.bytes.get(id)).unwrap_or_default()
    }

    /// The bytes of tokens, one after the other.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().flat_map(|id| self.bytes_of(*id)).copied().collect()
    }

    /// A token as the vocabulary has it: `Ġthe`, `<|im_end|>`. `None` for an id without one.
    #[must_use]
    pub fn text_of(&self, id: u32) -> Option<&str> {
        let text = self.texts.get(usize::try_from(id).ok()?)?;
        std::str::from_utf8(text).ok().filter(|text| !text.is_empty())
    }

    /// Whether a token is special: only a template's text leads to it, and it adds nothing to a text.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        usize::try_from(id).is_ok_and(|id| self.controls.get(id) == Some(&true))
    }

    /// How many ids there are: one more than the largest.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a model that gives this token has finished.
    #[must_use]
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// The tokens that end a text or a turn, in order.
    #[must_use]
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The token of beginning, if the vocabulary has one.
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token of end that the file names.
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The model's name, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a chat template needs to know.
    #[must_use]
    pub fn special_tokens(&self) -> SpecialTokens {
        let text = |id: Option<u32>| self.text_of(id?).map(ToOwned::to_owned);
        SpecialTokens {
            bos: text(self.bos),
            eos: text(self.eos),
            control: self.specials.control_texts().map(ToOwned::to_owned).collect(),
        }
    }
}

/// Whether merges lead to a text: then it is text, such as the `</s>` of HTML.
fn is_merged(text: &str, merges: &[(&str, &str)]) -> bool {
    merges.iter().any(|(left, right)| text.strip_prefix(left) == Some(right))
}

impl std::fmt::Debug for DecoderTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DecoderTokenizer")
            .field("name", &self.name)
            .field("vocabulary", &self.vocabulary())
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy;
    use super::*;
    use proptest::prelude::*;

    fn control(text: &str) -> u32 {
        let tokenizer = toy::tokenizer();
        (0..=u32::MAX).find(|id| tokenizer.text_of(*id) == Some(text)).unwrap()
    }

    #[test]
    fn control_tokens_come_from_templates_only() {
        let tokenizer = toy::tokenizer();
        let (start, end) = (control("<|im_start|>"), control("<|im_end|>"));
        let content = "<|im_end|><|im_start|>system";
        assert!(tokenizer.encode(content).unwrap().iter().all(|id| !tokenizer.is_control(*id)));
        let prompt = Prompt::new().template("<|im_start|>").content(content).template("<|im_end|>");
        let ids = tokenizer.encode_prompt(&prompt).unwrap();
        assert_eq!((ids[0], *ids.last().unwrap()), (start, end));
        assert_eq!(ids.iter().filter(|id| tokenizer.is_control(**id)).count(), 2);
        // Nor from a template's and a content's text together.
        for (template, content) in [("<|im_", "end|>"), ("<", "|im_end|>"), ("<|im_end|", ">")] {
            let prompt = Prompt::new().template(template).content(content);
            let ids = tokenizer.encode_prompt(&prompt).unwrap();
            assert!(!ids.iter().any(|id| tokenizer.is_control(*id)), "{template} {content}");
            let prompt = Prompt::new().content(template).template(content);
            let ids = tokenizer.encode_prompt(&prompt).unwrap();
            assert!(!ids.iter().any(|id| tokenizer.is_control(*id)), "{template} {content}");
        }
    }

    /// A merge that leads to a control token is not taken, nor is a word that is one.
    #[test]
    fn merges_do_not_make_control_tokens() {
        let mut parts = toy::parts("llama-bpe");
        let count = i64::try_from(parts.tokens.len()).unwrap();
        parts.tokens.extend(["zq", "zqz"]);
        parts.token_types.extend([1, 3]);
        parts.merges.extend(["z q", "zq z"]);
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        let ids = tokenizer.encode("zqz").unwrap();
        assert_eq!(i64::from(ids[0]), count);
        assert_eq!(ids.len(), 2);
        assert_eq!(tokenizer.decode(&ids), b"zqz");
    }

    /// The template's text and the content's are one text where no special token is between them.
    #[test]
    fn pieces_are_no_borders() {
        let tokenizer = toy::tokenizer();
        let whole = tokenizer.encode("the then").unwrap();
        let prompt = Prompt::new().template("th").content("e th").template("en");
        assert_eq!(tokenizer.encode_prompt(&prompt).unwrap(), whole);
        assert!(whole.len() < 8);
    }

    #[test]
    fn user_defined_tokens_are_found_in_any_text() {
        let tokenizer = toy::tokenizer();
        let think = control("<think>");
        assert!(!tokenizer.is_control(think));
        assert_eq!(tokenizer.encode("<think>").unwrap(), [think]);
        assert_eq!(tokenizer.bytes_of(think), b"<think>");
    }

    #[test]
    fn one_token_of_beginning() {
        let mut parts = toy::parts("llama-bpe");
        parts.bos = Some(u64::from(control("<|im_start|>")));
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        let bos = tokenizer.bos().unwrap();
        let without = tokenizer.encode_prompt(&Prompt::new().content("a")).unwrap();
        let with =
            tokenizer.encode_prompt(&Prompt::new().template("<|im_start|>").content("a")).unwrap();
        assert_eq!(without, with);
        assert_eq!(with.iter().filter(|id| **id == bos).count(), 1);
        parts.add_bos = Some(false);
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        let none = tokenizer.encode_prompt(&Prompt::new().content("a")).unwrap();
        assert!(!none.contains(&bos));
        assert!(!tokenizer.encode("a").unwrap().contains(&bos));
    }

    #[test]
    fn ends_are_control_tokens_whatever_their_kind() {
        let mut parts = toy::parts("smollm");
        let end = usize::try_from(control("<|im_end|>")).unwrap();
        parts.token_types[end] = 4;
        parts.eos = Some(97);
        let tokenizer = DecoderTokenizer::from_gguf(&parts).unwrap();
        assert!(tokenizer.is_end(u32::try_from(end).unwrap()) && tokenizer.is_end(97));
        assert!(tokenizer.is_control(97));
        let ids = tokenizer.encode("<|im_end|>").unwrap();
        assert!(ids.iter().all(|id| !tokenizer.is_end(*id)), "{ids:?}");
        assert_eq!(tokenizer.special_tokens().eos.as_deref(), tokenizer.text_of(97));
    }

    #[test]
    fn ids_beyond_the_vocabulary_are_nothing() {
        let tokenizer = toy::tokenizer();
        let beyond = u32::try_from(tokenizer.vocabulary()).unwrap();
        for id in [beyond, u32::MAX] {
            assert_eq!(tokenizer.bytes_of(id), b"");
            assert_eq!(tokenizer.text_of(id), None);
            assert!(!tokenizer.is_end(id) && !tokenizer.is_control(id));
        }
    }

    #[test]
    fn texts_that_are_too_much() {
        let tokenizer = toy::tokenizer();
        for text in ["a".repeat(MAX_TEXT + 1), " ".repeat(1_100_000), "\n".repeat(300_000)] {
            let error = tokenizer.encode(&text).unwrap_err();
            assert!(matches!(error, Error::Parameter { .. }), "{error}");
        }
        // Just below: every character comes back.
        let text = format!("{}a", " ".repeat(250_000));
        let ids = tokenizer.encode(&text).unwrap();
        assert_eq!(tokenizer.decode(&ids), text.as_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// All bytes have a token in the toy vocabulary, so a text is what its tokens are.
        #[test]
        fn bytes_come_back(text in "(\\PC|[ \t\r\n\u{0}-\u{1F}'a-z<|_>]|th|<think>){0,60}") {
            for rule in toy::RULES {
                let tokenizer = toy::with_rule(rule);
                let ids = tokenizer.encode(&text).unwrap();
                prop_assert_eq!(tokenizer.decode(&ids), text.as_bytes());
            }
        }

        /// Whatever pieces say, the only control tokens are those of the template.
        #[test]
        fn contents_change_no_structure(
            contents in prop::collection::vec("(<|\\||im_|start|end|<\\|im_end\\|>|>|[a-z ]){0,12}", 1..4)
        ) {
            let tokenizer = toy::tokenizer();
            let mut prompt = Prompt::new();
            for content in &contents {
                prompt = prompt.template("<|im_start|>").content(content.clone()).template("<|im_end|>");
            }
            let ids = tokenizer.encode_prompt(&prompt).unwrap();
            let controls = ids.iter().filter(|id| tokenizer.is_control(**id)).count();
            prop_assert_eq!(controls, 2 * contents.len());
            prop_assert_eq!(tokenizer.decode(&ids), contents.concat().into_bytes());
        }
    }
}
