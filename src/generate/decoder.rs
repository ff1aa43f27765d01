//! A decoder that runs here: prompt to tokens, tokens to logits, logits to a token, token by token.

use super::sequences::{Memory, Sequence, Sequences, Start};
use super::turn::Turn;
use super::watch::Watch;
use super::writer::Writer;
use super::{
    ChatTemplate, Finish, GenerateOptions, Generation, Generator, Message, Vocabulary, open,
};
use crate::error::{Error, Result};
use crate::model::runtime::{Brake, Cache, DecoderSession, RunError};
use crate::model::{Device, Precision, Runtime};
use crate::tokenize::{DecoderTokenizer, Prompt};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Tokens of a prompt that are read in one call: what a call needs for itself grows with them, and
/// more gain nothing (docs/benchmarks.md).
const SLICE: usize = 512;
/// A cache has room for this many generated tokens from the start, and grows when there are more.
const AHEAD: usize = 256;
/// Rooms are multiples of this.
const STEP: usize = 64;

/// Which decoder to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderSpec {
    /// The model's name, for people.
    pub name: String,
    /// A GGUF file, or a folder of `config.json`, `tokenizer.json` and safetensors.
    pub weights: PathBuf,
    /// What stands for the content of the weights, for finding their graph again; hexadecimal.
    pub identity: String,
}

/// How to run a decoder.
#[derive(Debug, Clone)]
pub struct DecoderOptions {
    /// Bits of the weights.
    pub precision: Precision,
    /// Where it runs.
    pub device: Device,
    /// Threads of a call. Default: all processors.
    pub threads: Option<usize>,
    /// Where built graphs are kept.
    pub graphs: PathBuf,
}

/// A decoder on ONNX Runtime. Threads share it: each has a sequence of its own, and they take turns
/// token by token.
pub struct Decoder {
    name: String,
    tokenizer: Arc<DecoderTokenizer>,
    /// Made where a constraint needs it.
    tokens: OnceLock<Arc<Vocabulary>>,
    /// Or why there is none.
    template: Result<ChatTemplate, String>,
    context: usize,
    vocabulary: usize,
    provider: &'static str,
    session: Turn<DecoderSession>,
    sequences: Mutex<Sequences<Cache>>,
}

impl Memory for Cache {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

/// A generation under way.
struct Run<'a, 'w> {
    decoder: &'a Decoder,
    sequence: Sequence<Cache>,
    watch: Watch<'w>,
    brake: Brake,
}

impl Decoder {
    /// Opens a decoder; its graph is built where it is not there yet.
    ///
    /// # Errors
    /// [`Error::Model`] naming what of it is not supported, and those of building the graph and of
    /// loading it.
    pub fn open(runtime: &Runtime, spec: &DecoderSpec, options: &DecoderOptions) -> Result<Self> {
        // In 32 bits there is nothing to round.
        let smooth = options.precision == Precision::Int8;
        open::open(runtime, spec, options, smooth).map(|opened| Self::of(spec, opened))
    }

    /// The same with the outliers of its activations smoothed out, whatever its precision: for tests,
    /// since in 32 bits it must make no difference.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[doc(hidden)]
    pub fn open_smoothed(
        runtime: &Runtime,
        spec: &DecoderSpec,
        options: &DecoderOptions,
    ) -> Result<Self> {
        open::open(runtime, spec, options, true).map(|opened| Self::of(spec, opened))
    }

    fn of(spec: &DecoderSpec, opened: open::Opened) -> Self {
        let shape = opened.session.shape();
        Self {
            name: spec.name.clone(),
            tokenizer: Arc::new(opened.tokenizer),
            tokens: OnceLock::new(),
            template: opened.template,
            context: shape.context,
            vocabulary: shape.vocabulary,
            provider: opened.session.provider(),
            session: Turn::new(opened.session),
            sequences: Mutex::new(Sequences::new()),
        }
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it really runs on.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.provider
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &DecoderTokenizer {
        &self.tokenizer
    }

    /// A conversation in the model's own form, ready for its answer.
    ///
    /// # Errors
    /// [`Error::Model`] where the model has no chat template, or it fails on these messages.
    pub fn prompt(&self, messages: &[Message]) -> Result<Prompt> {
        let template = self.template.as_ref().map_err(|reason| {
            self.refuse(format!("{reason}; it can still go on from plain text (`--raw`)"))
        })?;
        template.render(messages, true)
    }

    /// The logits after each of `tokens`, for measuring: they are read in calls of `at_once` tokens,
    /// and `read` is handed each token's place and its row. Nothing is reused and nothing is kept.
    ///
    /// # Errors
    /// [`Error::ContextExceeded`]; [`Error::Model`] where the model fails.
    pub fn logits(
        &self,
        tokens: &[u32],
        at_once: usize,
        read: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<()> {
        self.check_length(tokens.len(), 0)?;
        let mut never = |_: &str| ControlFlow::Continue(());
        let mut run = Run {
            decoder: self,
            sequence: self.fresh(tokens.len(), None, &mut || false)?.ok_or(Error::Stopped)?,
            watch: Watch::new(&mut never, None),
            brake: self.brake()?,
        };
        for some in tokens.chunks(at_once.max(1)) {
            let at = run.sequence.tokens.len();
            if run.step(at, some, some.len())?.is_some() {
                return Err(Error::Stopped);
            }
            run.sequence.tokens.extend(some);
            let rows = run.sequence.memory.logits().map_err(|e| self.refuse(e))?;
            for (nth, row) in rows.chunks_exact(self.vocabulary.max(1)).enumerate() {
                read(at + nth, row);
            }
        }
        Ok(())
    }

    /// The model's tokens, as constraints need them.
    fn tokens(&self) -> Result<Arc<Vocabulary>> {
        if let Some(tokens) = self.tokens.get() {
            return Ok(Arc::clone(tokens));
        }
        let tokenizer = Arc::clone(&self.tokenizer);
        // Special tokens have no bytes: they are no text.
        let bytes = (0..).take(tokenizer.vocabulary()).map(|id| tokenizer.bytes_of(id).to_vec());
        let encode = Arc::clone(&tokenizer);
        // Where the tokenizer refuses a text, the vocabulary goes by its tokens alone.
        let encode = Box::new(move |text: &str| encode.encode(text).unwrap_or_default());
        let tokens = Vocabulary::with_tokenizer(bytes, self.tokenizer.ends(), encode)?;
        Ok(Arc::clone(self.tokens.get_or_init(|| Arc::new(tokens))))
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Model { name: self.name.clone(), reason }
    }

    fn brake(&self) -> Result<Brake> {
        Brake::new().map_err(|e| self.refuse(e))
    }

    fn check_length(&self, tokens: usize, more: usize) -> Result<()> {
        if tokens == 0 {
            return Err(Error::parameter("prompt", "it is empty; at least one token is expected"));
        }
        if tokens.saturating_add(more) > self.context {
            return Err(Error::ContextExceeded { tokens, context: self.context });
        }
        Ok(())
    }

    /// The best sequence to read `prompt` with, with room for `wanted` tokens more, and how many of its
    /// tokens are there already. `None` where `gives_up`.
    fn start(
        &self,
        prompt: &[u32],
        wanted: usize,
        gives_up: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sequence<Cache>>> {
        let room = prompt.len().saturating_add(wanted.min(AHEAD));
        let start = self.sequences().start(prompt);
        match start {
            Start::Resume(mut sequence, count) => {
                sequence.tokens.truncate(count);
                self.make_room(&mut sequence, room)?;
                Ok(Some(sequence))
            }
            Start::Fork(source, count) => {
                let forked = self.fresh(room, None, gives_up).and_then(|fresh| {
                    let Some(mut fresh) = fresh else { return Ok(None) };
                    fresh.memory.copy_from(&source.memory, count).map_err(|e| self.refuse(e))?;
                    fresh.tokens.extend(source.tokens.iter().take(count));
                    Ok(Some(fresh))
                });
                self.sequences().keep(source);
                forked
            }
            Start::Fresh(spare) => self.fresh(room, spare, gives_up),
        }
    }

    /// An empty sequence with room for so many tokens, in the memory of `spare` where there is one.
    fn fresh(
        &self,
        room: usize,
        spare: Option<Sequence<Cache>>,
        gives_up: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Sequence<Cache>>> {
        if let Some(mut spare) = spare {
            spare.tokens.clear();
            self.make_room(&mut spare, room)?;
            return Ok(Some(spare));
        }
        let Some(session) = self.session.wait(gives_up) else { return Ok(None) };
        let room = room.next_multiple_of(STEP).min(self.context);
        let memory = session.cache(room).map_err(|e| self.refuse(e))?;
        Ok(Some(Sequence { tokens: Vec::new(), memory }))
    }

    fn make_room(&self, sequence: &mut Sequence<Cache>, room: usize) -> Result<()> {
        if sequence.memory.room() >= room {
            return Ok(());
        }
        let room = room.next_multiple_of(STEP).min(self.context);
        sequence.memory.grow(sequence.tokens.len(), room).map_err(|e| self.refuse(e))
    }

    fn sequences(&self) -> std::sync::MutexGuard<'_, Sequences<Cache>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generator for Decoder {
    fn context(&self) -> usize {
        self.context
    }

    fn count(&self, prompt: &Prompt) -> Result<usize> {
        self.tokenizer.count(prompt)
    }

    fn prompt(&self, messages: &[Message]) -> Result<Prompt> {
        Self::prompt(self, messages)
    }

    fn generate(
        &self,
        prompt: &Prompt,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let started = Instant::now();
        if options.max_tokens == 0 {
            return Err(Error::parameter("max_tokens", "0; at least 1 is expected"));
        }
        let prompt = self.tokenizer.encode_prompt(prompt)?;
        self.check_length(prompt.len(), 1)?;
        let limit = options.max_tokens.min(self.context - prompt.len());
        let mut writer = Writer::new(&self.tokenizer, || self.tokens(), options, &prompt)?;
        let deadline = options.time_limit.and_then(|limit| started.checked_add(limit));
        let mut watch = Watch::new(on_text, deadline);
        let mut generation = Generation {
            text: String::new(),
            finish: Finish::Cancelled,
            prompt_tokens: prompt.len(),
            reused_tokens: 0,
            generated_tokens: 0,
            first_token: started.elapsed(),
            total: started.elapsed(),
        };
        let sequence = self.start(&prompt, limit, &mut || watch.is_over())?;
        let finish = match sequence {
            None => watch.finish(),
            Some(sequence) => {
                generation.reused_tokens = sequence.tokens.len();
                let mut run = Run { decoder: self, sequence, watch, brake: self.brake()? };
                let finish = match run.read_prompt(&prompt)? {
                    Some(finish) => finish,
                    None => run.write(&mut writer, limit, started, &mut generation)?,
                };
                // What was generated is forgotten: see `sequences`.
                self.sequences().keep(run.sequence);
                finish
            }
        };
        generation.text = writer.into_text();
        generation.finish = finish;
        generation.total = started.elapsed();
        if generation.generated_tokens == 0 {
            generation.first_token = generation.total;
        }
        Ok(generation)
    }
}

impl Run<'_, '_> {
    /// Reads what of the prompt is not in the sequence yet; after it, the logits are those of its last
    /// token. `Some` where it was ended before.
    fn read_prompt(&mut self, prompt: &[u32]) -> Result<Option<Finish>> {
        while let Some(left) =
            prompt.get(self.sequence.tokens.len()..).filter(|left| !left.is_empty())
        {
            if self.watch.is_over() {
                return Ok(Some(self.watch.finish()));
            }
            let some = left.get(..slice(left.len())).unwrap_or(left);
            if let Some(finish) = self.step(self.sequence.tokens.len(), some, 1)? {
                return Ok(Some(finish));
            }
            self.sequence.tokens.extend(some);
        }
        Ok(None)
    }

    /// Chooses and reads token after token.
    fn write(
        &mut self,
        writer: &mut Writer<'_>,
        limit: usize,
        started: Instant,
        generation: &mut Generation,
    ) -> Result<Finish> {
        // Tokens in the cache; those after the prompt are not kept in the sequence.
        let mut past = self.sequence.tokens.len();
        loop {
            let logits = self.sequence.memory.logits().map_err(|e| self.decoder.refuse(e))?;
            let chosen = writer.choose(logits, limit - generation.generated_tokens)?;
            if generation.generated_tokens == 0 {
                generation.first_token = started.elapsed();
            }
            generation.generated_tokens += chosen.tokens.len();
            if self.watch.tell(&chosen.text).is_break() {
                return Ok(Finish::Cancelled);
            }
            if chosen.is_end {
                return Ok(Finish::Stop);
            }
            let finish = if generation.generated_tokens >= limit {
                Some(Finish::Length)
            } else if self.watch.is_late() {
                Some(Finish::TimeLimit)
            } else {
                self.read_chosen(past, &chosen.tokens)?
            };
            if let Some(finish) = finish {
                // The beginning of a stop text was none.
                return Ok(match self.watch.tell(&writer.rest()) {
                    ControlFlow::Break(()) => Finish::Cancelled,
                    ControlFlow::Continue(()) => finish,
                });
            }
            past += chosen.tokens.len();
        }
    }

    fn read_chosen(&mut self, past: usize, tokens: &[u32]) -> Result<Option<Finish>> {
        let needed = past + tokens.len();
        let room = self.sequence.memory.room();
        if needed > room {
            let more = (room + room / 2).max(needed).next_multiple_of(STEP);
            let more = more.min(self.decoder.context);
            self.sequence.memory.grow(past, more).map_err(|e| self.decoder.refuse(e))?;
        }
        self.step(past, tokens, 1)
    }

    /// One call of the model, when its turn has come. `Some` where it was ended.
    fn step(&mut self, past: usize, tokens: &[u32], rows: usize) -> Result<Option<Finish>> {
        let Self { decoder, sequence, watch, brake } = self;
        let Some(mut session) = decoder.session.wait(&mut || watch.is_over()) else {
            return Ok(Some(watch.finish()));
        };
        let session: &mut DecoderSession = &mut session;
        let memory = &mut sequence.memory;
        let done = if tokens.len() <= rows {
            session.run(memory, past, tokens, rows, brake)
        } else {
            // A long call is watched meanwhile: the caller's function belongs to this thread.
            watch.during(brake, || session.run(memory, past, tokens, rows, brake))
        };
        match done {
            Ok(()) => Ok(None),
            Err(RunError::Stopped) => Ok(Some(watch.finish())),
            Err(RunError::Failed(reason)) => Err(decoder.refuse(reason)),
        }
    }
}

/// Tokens of the next call where `left` are to be read: never one alone, which would go by another
/// kernel than the rest.
fn slice(left: usize) -> usize {
    match left {
        0..=SLICE => left,
        _ if left == SLICE + 1 => SLICE - 1,
        _ => SLICE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_reads_one_token_alone() {
        for total in 2..3 * SLICE {
            let mut left = total;
            while left > 0 {
                let next = slice(left);
                assert!((2..=SLICE).contains(&next), "{next} of {total}");
                left -= next;
            }
        }
        assert_eq!(slice(1), 1);
    }
}
