//! From logits to tokens, and from tokens to text.

use super::{GenerateOptions, Matcher, Pieces, Sampler, Stops, Vocabulary};
use crate::error::Result;
use crate::tokenize::DecoderTokenizer;
use std::sync::Arc;

/// Chooses tokens and makes text of them.
pub(super) struct Writer<'a> {
    tokenizer: &'a DecoderTokenizer,
    sampler: Sampler,
    matcher: Option<Matcher>,
    pieces: Pieces,
    /// Prompt and generated tokens.
    history: Vec<u32>,
    text: String,
}

/// What was chosen after a call.
pub(super) struct Chosen {
    /// The token, and those that the constraint leaves no choice about.
    pub(super) tokens: Vec<u32>,
    /// Whole characters that are there by now.
    pub(super) text: String,
    /// Whether the text ends here.
    pub(super) is_end: bool,
}

impl<'a> Writer<'a> {
    /// A text that goes on from `prompt`. `vocabulary` is asked for where there is a constraint.
    pub(super) fn new(
        tokenizer: &'a DecoderTokenizer,
        vocabulary: impl FnOnce() -> Result<Arc<Vocabulary>>,
        options: &GenerateOptions,
        prompt: &[u32],
    ) -> Result<Self> {
        let sampler = Sampler::new(&options.sampling)?;
        let stops = Stops::new(&options.stop)?;
        let matcher = match &options.constraint {
            Some(constraint) => Some(Matcher::new(constraint, &vocabulary()?)?),
            None => None,
        };
        Ok(Self {
            tokenizer,
            sampler,
            matcher,
            pieces: Pieces::new(stops),
            history: prompt.to_vec(),
            text: String::new(),
        })
    }

    /// The next token by the logits after the text so far, and those that must follow it, `most`
    /// tokens altogether.
    pub(super) fn choose(&mut self, logits: &mut [f32], most: usize) -> Result<Chosen> {
        if let Some(matcher) = &mut self.matcher {
            matcher.mask(logits)?;
        }
        let token = self.sampler.sample(logits, &self.history)?;
        let mut chosen = Chosen { tokens: Vec::new(), text: String::new(), is_end: false };
        self.take(token, &mut chosen)?;
        let forced = match &mut self.matcher {
            Some(matcher) if !chosen.is_end => matcher.forced()?,
            _ => Vec::new(),
        };
        for token in forced {
            if chosen.is_end || chosen.tokens.len() >= most {
                break;
            }
            self.take(token, &mut chosen)?;
        }
        self.text.push_str(&chosen.text);
        Ok(chosen)
    }

    fn take(&mut self, token: u32, chosen: &mut Chosen) -> Result<()> {
        chosen.tokens.push(token);
        self.history.push(token);
        if self.tokenizer.is_end(token) {
            chosen.is_end = true;
        } else {
            if let Some(matcher) = &mut self.matcher {
                matcher.accept(token)?;
            }
            chosen.text.push_str(&self.pieces.push(self.tokenizer.bytes_of(token)));
            chosen.is_end = self.matcher.as_ref().is_some_and(Matcher::is_finished);
        }
        if chosen.is_end {
            chosen.text.push_str(&self.pieces.finish());
        }
        chosen.is_end |= self.pieces.is_stopped();
        Ok(())
    }

    /// What was held back, as it could have been the beginning of a stop text.
    pub(super) fn rest(&mut self) -> String {
        let rest = self.pieces.finish();
        self.text.push_str(&rest);
        rest
    }

    /// The whole text.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}
