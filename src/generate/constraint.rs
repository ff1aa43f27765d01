//! Texts that fit a grammar, through llguidance. The only file that names it.
//!
//! Before each token the grammar says which tokens may come; the others are masked. Grammar and lexer
//! work on bytes, so that a token may end anywhere inside a word of the grammar.
//!
//! The library's panics are caught and become errors. For that it puts one hook of its own before the
//! process's, once, which passes on every panic that is not its own.

use crate::error::{Error, Result};
use crate::panics;
use llguidance::api::{GrammarInit, ParserLimits, StopReason, TopLevelGrammar};
use llguidance::derivre::RegexBuilder;
use llguidance::earley::ValidationResult;
use llguidance::toktrie::{
    InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenizerEnv,
};
use llguidance::{ParserFactory, regex_to_lark};
use serde_json::{Value, json};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Bytes of a schema, a grammar, a regular expression or all choices.
const MAX_GRAMMAR: usize = 1 << 20;
/// Bytes of the texts that may be quoted.
const MAX_QUOTED: usize = 64 << 10;
/// Brackets inside one another: parsers of grammars call themselves for each.
const MAX_NESTING: usize = 200;
/// Bytes of a token that a grammar can use; the library's tree of tokens has a limit to its depth.
const MAX_TOKEN: usize = 1000;

/// What a text must look like. Checked when it is made; a [`Matcher`] holds one text to it.
#[derive(Debug, Clone)]
pub struct Constraint {
    grammar: TopLevelGrammar,
    /// Whether the text may end before it begins.
    may_be_empty: bool,
    /// The JSON schema that it was made of, as it was given.
    schema: Option<Value>,
}

/// Of what units a quotation is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// Whole words: runs of letters, digits and `_`; runs of white space; runs of anything else.
    #[default]
    Words,
    /// Single characters: a quotation may begin and end inside a word.
    Characters,
}

impl Constraint {
    /// JSON that fits a schema (draft 2020-12 and older ones, as far as llguidance has it; keywords
    /// that it does not have are refused, not passed over).
    ///
    /// Properties come in the order in which the schema names them. Between items and after a colon
    /// there is one space or none, nowhere else any white space, lest a model writes nothing but
    /// that; `"x-guidance": {"whitespace_flexible": true}` in the schema allows all of it, and other
    /// options of llguidance stand there too.
    ///
    /// # Errors
    /// [`Error::Parameter`] where it is no JSON or no schema, names what is not supported, or is
    /// larger than 1 MiB.
    pub fn json_schema(schema: &str) -> Result<Self> {
        const NAME: &str = "json schema";
        bounded(NAME, schema)?;
        let mut schema: Value = serde_json::from_str(schema)
            .map_err(|e| Error::parameter(NAME, format!("it is not JSON: {e}")))?;
        let given = schema.clone();
        match &mut schema {
            Value::Object(fields) => {
                let options = fields.entry("x-guidance").or_insert_with(|| json!({}));
                let Value::Object(options) = options else {
                    let reason = "x-guidance is expected to be an object of llguidance's options";
                    return Err(Error::parameter(NAME, reason));
                };
                for (key, value) in [
                    ("whitespace_flexible", json!(false)),
                    ("item_separator", json!(", ?")),
                    ("key_separator", json!(": ?")),
                ] {
                    options.entry(key).or_insert(value);
                }
            }
            Value::Bool(true) => {}
            Value::Bool(false) => return Err(Error::parameter(NAME, "nothing fits `false`")),
            _ => return Err(Error::parameter(NAME, "expected an object or `true`")),
        }
        let constraint = Self::checked(NAME, TopLevelGrammar::from_json_schema(schema))?;
        Ok(Self { schema: Some(given), ..constraint })
    }

    /// The JSON schema that it was made of; none where it is no schema.
    pub(super) fn schema(&self) -> Option<&Value> {
        self.schema.as_ref()
    }

    /// Text that a regular expression matches as a whole, in the syntax of the regex crate. `^` before
    /// and `$` behind it may be left out and change nothing.
    ///
    /// # Errors
    /// [`Error::Parameter`] where it does not parse, has what cannot be matched byte by byte (looking
    /// around, word borders, references back), matches nothing but the empty text, or is larger than
    /// 1 MiB.
    pub fn regex(expression: &str) -> Result<Self> {
        const NAME: &str = "regular expression";
        bounded(NAME, expression)?;
        let body = without_anchors(expression);
        if body.is_empty() {
            return Err(Error::parameter(NAME, "it is empty; expected one that matches some text"));
        }
        // Known to be whole before it is put between slashes.
        let parsed = caught(|| RegexBuilder::new().mk_regex(body).map_err(|e| e.to_string()));
        parsed.map_err(|e| Error::parameter(NAME, told(&e)))?;
        let grammar = TopLevelGrammar::from_lark(format!("start: /{}/", regex_to_lark(body, "")));
        Self::checked(NAME, grammar)
    }

    /// One of these texts, to the letter.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is none, one is empty, or they take more than 1 MiB.
    pub fn choice<S: AsRef<str>>(choices: impl IntoIterator<Item = S>) -> Result<Self> {
        const NAME: &str = "choice";
        let mut options = Vec::new();
        let mut bytes = 0usize;
        for choice in choices {
            let choice = choice.as_ref();
            if choice.is_empty() {
                return Err(Error::parameter(NAME, "one of the texts is empty"));
            }
            bytes = bytes.saturating_add(choice.len());
            if bytes > MAX_GRAMMAR {
                return Err(too_large(NAME, MAX_GRAMMAR));
            }
            options.push(quoted(choice));
        }
        if options.is_empty() {
            return Err(Error::parameter(NAME, "there is no text to choose"));
        }
        let grammar = format!("start: CHOICE\nCHOICE: {}", options.join(" | "));
        Self::checked(NAME, TopLevelGrammar::from_lark(grammar))
    }

    /// Words that stand in `text`, one after the other as they do there: a quotation of it. At least
    /// one token long; it may begin or end with white space.
    ///
    /// # Errors
    /// Those of [`Constraint::quotation`].
    pub fn substrings(text: &str) -> Result<Self> {
        Self::quotation([text], Unit::Words)
    }

    /// A quotation from one of these texts, in whole words or by characters.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is nothing to quote but white space, or the texts take more
    /// than 64 KiB.
    pub fn quotation<S: AsRef<str>>(
        texts: impl IntoIterator<Item = S>,
        unit: Unit,
    ) -> Result<Self> {
        const NAME: &str = "quotation";
        let kind = match unit {
            Unit::Words => "substring_words",
            Unit::Characters => "substring_chars",
        };
        let mut options = Vec::new();
        let mut bytes = 0usize;
        for text in texts {
            let text = text.as_ref();
            if text.trim().is_empty() {
                continue;
            }
            bytes = bytes.saturating_add(text.len());
            if bytes > MAX_QUOTED {
                return Err(too_large(NAME, MAX_QUOTED));
            }
            options.push(format!("%regex {}", json!({ kind: text })));
        }
        if options.is_empty() {
            return Err(Error::parameter(NAME, "there is no text to quote from"));
        }
        let grammar = format!("start: QUOTATION\nQUOTATION: {}", options.join(" | "));
        // The empty text is a part of every text, and no quotation. The grammar is ours and needs no
        // check, which would take as long as the text is.
        Ok(Self { grammar: TopLevelGrammar::from_lark(grammar), may_be_empty: false, schema: None })
    }

    /// Text that a context-free grammar derives, in llguidance's form of Lark's syntax: rules in
    /// lower case, terminals in upper case, `start` as the first rule, `%json {…}` and `%regex {…}`
    /// inside.
    ///
    /// # Errors
    /// [`Error::Parameter`] with line and reason where it does not parse, is larger than 1 MiB, or has
    /// more than 200 brackets inside one another.
    pub fn grammar(grammar: &str) -> Result<Self> {
        const NAME: &str = "grammar";
        bounded(NAME, grammar)?;
        if grammar.trim().is_empty() {
            return Err(Error::parameter(NAME, "it is empty; expected a rule `start: …`"));
        }
        Self::checked(NAME, TopLevelGrammar::from_lark(grammar.to_owned()))
    }

    fn checked(name: &'static str, grammar: TopLevelGrammar) -> Result<Self> {
        let init = GrammarInit::Serialized(grammar.clone());
        match caught(|| Ok(init.validate(None, limits()))) {
            Ok(ValidationResult::Valid | ValidationResult::Warnings(_)) => {
                Ok(Self { grammar, may_be_empty: true, schema: None })
            }
            Ok(ValidationResult::Error(reason)) | Err(reason) => {
                Err(Error::parameter(name, told(&reason)))
            }
        }
    }
}

fn limits() -> ParserLimits {
    // Room for quotations from long texts; and not the whole grammar in every message.
    ParserLimits {
        initial_lexer_fuel: 10_000_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// Refuses what is too large, or nested so deep that a parser could run out of stack.
fn bounded(name: &'static str, text: &str) -> Result<()> {
    if text.len() > MAX_GRAMMAR {
        return Err(too_large(name, MAX_GRAMMAR));
    }
    // Brackets in strings are counted too: a few too many do no harm.
    let mut depth = 0usize;
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_NESTING {
            let reason = format!("more than {MAX_NESTING} brackets stand inside one another");
            return Err(Error::parameter(name, reason));
        }
    }
    Ok(())
}

fn too_large(name: &'static str, limit: usize) -> Error {
    Error::parameter(name, format!("it takes more than {limit} bytes, the limit"))
}

/// A string of the grammar's own: JSON's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The whole text is matched in any case; the library knows no anchors.
fn without_anchors(expression: &str) -> &str {
    let body = expression.strip_prefix('^').unwrap_or(expression);
    match body.strip_suffix('$') {
        // An escaped one is a dollar sign.
        Some(rest) if rest.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0 => rest,
        _ => body,
    }
}

/// Runs a call into the library; its panic is an error too.
fn caught<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panics::catch(run)
        .unwrap_or_else(|panic| Err(format!("a defect of llguidance: {}", say(&*panic))))
}

fn say(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason was given")
}

/// The library's message in one line, without what it appends: lines of the grammar, the state, a trace.
fn told(message: &str) -> String {
    // A parser of regular expressions draws the place first; behind that it says what is wrong.
    let reason = message.rsplit_once("\nerror: ").map_or(message, |(_, reason)| reason);
    let reason = reason.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(500) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A tokenizer: the tokens of a text, without any put around it.
pub type Encode = Box<dyn Fn(&str) -> Vec<u32> + Send + Sync>;

/// A decoder's tokens, made ready for matchers; built once and shared.
pub struct Vocabulary {
    factory: ParserFactory,
    size: usize,
    ends: Vec<u32>,
}

/// The tokens' bytes in the library's form, and the tokenizer.
struct Tokens {
    trie: TokTrie,
    encode: Option<Encode>,
}

impl TokenizerEnv for Tokens {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        if let Some(encode) = &self.encode {
            let tokens = self.trie.tokenize_with_greedy_fallback(bytes, encode);
            // A tokenizer that changes its text would lead away from the grammar.
            if self.trie.decode_raw(&tokens) == bytes {
                return tokens;
            }
        }
        self.trie.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.encode.is_some()
    }
}

impl Vocabulary {
    /// The bytes of every token, in the order of the ids, and the tokens that end a text. Tokens that
    /// are no text, such as those of a chat template, are given as no bytes: they never fit.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there is no token, no end, or an end that is no token.
    pub fn new<T: Into<Vec<u8>>>(
        tokens: impl IntoIterator<Item = T>,
        ends: &[u32],
    ) -> Result<Self> {
        Self::build(tokens, ends, None)
    }

    /// The same with the tokenizer: text that a grammar leaves no choice about is then made of the
    /// tokens that it makes of it ([`Matcher::forced`]).
    ///
    /// # Errors
    /// Those of [`Vocabulary::new`].
    pub fn with_tokenizer<T: Into<Vec<u8>>>(
        tokens: impl IntoIterator<Item = T>,
        ends: &[u32],
        encode: Encode,
    ) -> Result<Self> {
        Self::build(tokens, ends, Some(encode))
    }

    fn build<T: Into<Vec<u8>>>(
        tokens: impl IntoIterator<Item = T>,
        ends: &[u32],
        encode: Option<Encode>,
    ) -> Result<Self> {
        const NAME: &str = "vocabulary";
        let mut words: Vec<Vec<u8>> = tokens.into_iter().map(Into::into).collect();
        let size = words.len();
        let Some(first) = ends.first() else {
            return Err(Error::parameter(NAME, "expected a token that ends a text, found none"));
        };
        for end in ends {
            let word = usize::try_from(*end).ok().and_then(|at| words.get_mut(at));
            let Some(word) = word else {
                let reason = format!("token {end} ends a text, but there are {size} tokens");
                return Err(Error::parameter(NAME, reason));
            };
            // What an end is written as is no text.
            word.clear();
        }
        for word in &mut words {
            // The library's mark of special tokens is a byte that is in no UTF-8.
            if word.len() > MAX_TOKEN || word.contains(&TokTrie::SPECIAL_TOKEN_MARKER) {
                word.clear();
            }
        }
        let count = u32::try_from(size)
            .map_err(|_| Error::parameter(NAME, format!("{size} tokens are too many")))?;
        let build = || {
            let trie = TokTrie::from(&TokRxInfo::new(count, *first), &words).with_eos_tokens(ends);
            let capabilities =
                InferenceCapabilities { ff_tokens: encode.is_some(), ..Default::default() };
            let environment: TokEnv = Arc::new(Tokens { trie, encode });
            let slices = llguidance::earley::SlicedBiasComputer::general_slices();
            ParserFactory::new(&environment, capabilities, &slices).map_err(|e| e.to_string())
        };
        let mut factory = caught(build).map_err(|e| Error::parameter(NAME, told(&e)))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        Ok(Self { factory, size, ends: ends.to_vec() })
    }

    /// The number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.size
    }

    /// Never: there is an end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vocabulary")
            .field("size", &self.size)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

/// Holds one text to its constraint: before each token [`mask`](Matcher::mask), after it
/// [`accept`](Matcher::accept).
pub struct Matcher {
    matcher: llguidance::Matcher,
    vocabulary: Arc<Vocabulary>,
    may_be_empty: bool,
    accepted: usize,
}

impl Matcher {
    /// A matcher at the beginning of a text.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the grammar needs more room than is allowed, or names a special token
    /// that the vocabulary does not have.
    pub fn new(constraint: &Constraint, vocabulary: &Arc<Vocabulary>) -> Result<Self> {
        let grammar = constraint.grammar.clone();
        let factory = &vocabulary.factory;
        let parser = caught(|| factory.create_parser(grammar).map_err(|e| e.to_string()));
        let parser = parser.map_err(|e| Error::parameter("constraint", told(&e)))?;
        Ok(Self {
            matcher: llguidance::Matcher::new(Ok(parser)),
            vocabulary: Arc::clone(vocabulary),
            may_be_empty: constraint.may_be_empty,
            accepted: 0,
        })
    }

    /// Sets the logits of tokens that may not come to −∞. Ends of text are left where the text may end.
    ///
    /// # Errors
    /// [`Error::Parameter`] where there are fewer logits than tokens; [`Error::Constraint`] where no
    /// token fits, or the grammar has become too large to follow. The matcher is of no use then.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        let size = self.vocabulary.size;
        if logits.len() < size {
            let found = logits.len();
            let reason = format!("expected one for each of {size} tokens, found {found}");
            return Err(Error::parameter("logits", reason));
        }
        let allowed = self.call(llguidance::Matcher::compute_mask_or_eos)?;
        // Some decoders have more logits than tokens.
        let (known, padding) = logits.split_at_mut(size);
        padding.fill(f32::NEG_INFINITY);
        apply(&allowed, known);
        if self.is_open() {
            return Ok(());
        }
        for end in &self.vocabulary.ends {
            if let Some(logit) = usize::try_from(*end).ok().and_then(|at| known.get_mut(at)) {
                *logit = f32::NEG_INFINITY;
            }
        }
        if known.iter().all(|logit| *logit <= f32::NEG_INFINITY) {
            Err(none_fits())
        } else {
            Ok(())
        }
    }

    /// Whether the constraint lets the text end here by itself.
    fn is_open(&self) -> bool {
        self.may_be_empty || self.accepted > 0
    }

    /// Takes the token that was chosen.
    ///
    /// # Errors
    /// [`Error::Constraint`] where it does not fit; the matcher then stands where it stood.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        let end = self.vocabulary.ends.contains(&token);
        if self.is_finished() && end {
            return Ok(());
        }
        let known = usize::try_from(token).is_ok_and(|token| token < self.vocabulary.size);
        let fits = known
            && (!end || self.is_open())
            && self.call(|matcher| matcher.validate_tokens(&[token]))? == 1;
        if !fits {
            let reason = format!("token {token} does not fit here");
            return Err(Error::Constraint { reason });
        }
        self.call(|matcher| matcher.consume_token(token))?;
        self.accepted += 1;
        Ok(())
    }

    /// The tokens that must come next, as the tokenizer makes them of the only text that fits; none
    /// where there is a choice, or the vocabulary has no tokenizer. They are yet to be accepted.
    ///
    /// # Errors
    /// [`Error::Constraint`] where the grammar has become too large to follow.
    pub fn forced(&mut self) -> Result<Vec<u32>> {
        if self.is_finished() {
            return Ok(Vec::new());
        }
        self.call(|matcher| {
            let tokens = matcher.compute_ff_tokens();
            // It tells a failure by the state that it leaves.
            if matcher.is_error() { matcher.is_accepting().map(|_| tokens) } else { Ok(tokens) }
        })
    }

    /// Whether the text so far is complete: it may end here.
    ///
    /// # Errors
    /// [`Error::Constraint`] where the matcher has failed before.
    pub fn may_end(&mut self) -> Result<bool> {
        Ok(self.is_open()
            && (self.is_finished() || self.call(llguidance::Matcher::is_accepting)?))
    }

    /// Whether the text is complete and nothing can follow: its end was accepted, or nothing but an
    /// end would fit.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let reason = self.matcher.stop_reason();
        reason != StopReason::NotStopped && reason.is_ok()
    }

    /// A call into the library. Its errors have a type of another crate, which is told from what the
    /// call gives.
    fn call<T, E: fmt::Display>(
        &mut self,
        run: impl FnOnce(&mut llguidance::Matcher) -> Result<T, E>,
    ) -> Result<T> {
        let matcher = &mut self.matcher;
        caught(|| run(matcher).map_err(|e| e.to_string())).map_err(|message| {
            match told(&message) {
                // The library's name for it.
                reason if reason == "NoExtensionBias" => none_fits(),
                reason => Error::Constraint { reason },
            }
        })
    }
}

fn none_fits() -> Error {
    Error::Constraint { reason: "no token of the vocabulary fits here".to_owned() }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("accepted", &self.accepted)
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Masks what is not allowed, 32 tokens at a time.
fn apply(allowed: &SimpleVob, logits: &mut [f32]) {
    let words = allowed.as_slice();
    for (number, block) in logits.chunks_mut(32).enumerate() {
        match words.get(number).copied().unwrap_or(0) {
            u32::MAX => {}
            0 => block.fill(f32::NEG_INFINITY),
            word => {
                for (bit, logit) in block.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}
