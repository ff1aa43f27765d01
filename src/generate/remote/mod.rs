//! A generator behind a server that speaks OpenAI's chat protocol, as those of llama.cpp, Ollama and
//! vLLM do (`POST …/chat/completions`, streamed as server-sent events).

mod events;
mod failure;
mod request;

use super::{Finish, GenerateOptions, Generation, Generator, Message, Pieces, Stops, watch::Watch};
use crate::error::{Error, Result};
use crate::http::{Answer, Client, Patience};
use crate::tokenize::Prompt;
use events::Event;
use failure::Failure;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// How often a server that is silent is looked at.
const POLL: Duration = Duration::from_millis(50);
/// Bytes of an answer at most; longer lines are no answer.
const MAX_ANSWER: u64 = 16 << 20;
/// Events that wait for the caller.
const WAITING: usize = 64;

/// Which server to ask, and how.
#[derive(Clone)]
#[non_exhaustive]
pub struct RemoteOptions {
    /// Its address up to `/v1`, which may be left out: `http://localhost:8080`.
    pub url: String,
    /// The model's name as the server knows it.
    pub model: String,
    /// Sent as a bearer token. Never shown. Default: none.
    pub key: Option<String>,
    /// Tokens that prompt and answer have together at most. Default: 4,096.
    pub context: usize,
    /// For a connection, for the first word, and between two words. Default: 60 seconds.
    pub patience: Duration,
    /// Attempts where the server cannot be reached, is busy (429) or fails (500, 502, 503, 504), with
    /// a pause in between that doubles. Default: 4.
    pub attempts: u32,
    /// The first such pause; a `Retry-After` of the server counts instead. Default: half a second.
    pub pause: Duration,
}

impl RemoteOptions {
    /// The defaults, for the server at `url` and its model called `model`.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            key: None,
            context: 4096,
            patience: Duration::from_mins(1),
            attempts: 4,
            pause: Duration::from_millis(500),
        }
    }
}

impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("url", &self.url)
            .field("model", &self.model)
            .field("has_key", &self.key.is_some())
            .field("context", &self.context)
            .field("patience", &self.patience)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A model behind a server. Its tokens cannot be counted from here: a prompt is taken to have a token
/// for every three bytes, and four for each message.
#[derive(Debug, Clone)]
pub struct RemoteGenerator {
    options: RemoteOptions,
    client: Client,
    url: String,
}

impl RemoteGenerator {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an address that is not one of HTTP, a model without a name, a key with
    /// characters that no header can have, and for no attempt at all.
    pub fn new(options: RemoteOptions) -> Result<Self> {
        let base = options.url.trim().trim_end_matches('/');
        let rest = ["http://", "https://"].iter().find_map(|scheme| base.strip_prefix(scheme));
        if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            let reason = format!("{:?}; expected one like http://localhost:8080/v1", options.url);
            return Err(Error::parameter("generator", reason));
        }
        if options.model.trim().is_empty() {
            return Err(Error::parameter(
                "generator-model",
                "it is empty; name the server's model",
            ));
        }
        let plain = |key: &String| !key.is_empty() && key.bytes().all(|b| b.is_ascii_graphic());
        if options.key.as_ref().is_some_and(|key| !plain(key)) {
            return Err(Error::parameter(
                "generator key",
                "it is empty or has characters that no header can have",
            ));
        }
        if options.attempts == 0 || options.context == 0 {
            return Err(Error::parameter("generator", "no attempts, or no context; at least 1"));
        }
        let version = if base.ends_with("/v1") { "" } else { "/v1" };
        let url = format!("{base}{version}/chat/completions");
        let patience = Patience { connect: options.patience, answer: options.patience };
        Ok(Self { client: Client::new(patience), options, url })
    }

    /// The model's name, as the server knows it.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.options.model
    }

    /// Where requests go.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to a request, by as many attempts as it takes.
    fn ask(&self, body: &[u8], watch: &mut Watch<'_>) -> Result<Option<Answer>> {
        let mut pause = self.options.pause;
        for attempt in 1.. {
            let failure = match self.attempt(body, watch) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if attempt >= self.options.attempts || !failure.may_pass() {
                return Err(self.refuse(&failure, attempt));
            }
            let until = Instant::now() + failure.wait().unwrap_or(pause);
            while Instant::now() < until {
                if watch.is_over() {
                    return Ok(None);
                }
                std::thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
            }
            pause = pause.saturating_mul(2);
        }
        Ok(None)
    }

    /// One attempt, on another thread, so that the caller can end it.
    fn attempt(&self, body: &[u8], watch: &mut Watch<'_>) -> Result<Option<Answer>, Failure> {
        let (client, url, body) = (self.client.clone(), self.url.clone(), body.to_vec());
        let bearer = self.options.key.as_ref().map(|key| format!("Bearer {key}"));
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let mut headers =
                vec![("Content-Type", "application/json"), ("Accept", "text/event-stream")];
            headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
            // Nobody waits for it after the caller has ended it.
            let _ = sender.send(client.post(&url, &headers, &body));
        };
        spawn(work)?;
        let answer = loop {
            match receiver.recv_timeout(POLL) {
                Ok(answer) => break answer.map_err(Failure::Unreachable)?,
                Err(RecvTimeoutError::Timeout) if watch.is_over() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Unreachable("its thread ended".to_owned()));
                }
            }
        };
        if answer.status == 200 {
            return Ok(Some(answer));
        }
        let (status, wait) = (answer.status, answer.header("Retry-After").map(str::to_owned));
        let mut said = Vec::new();
        let _ = answer.into_reader().take(1 << 16).read_to_end(&mut said);
        Err(Failure::status(status, wait.as_deref(), &String::from_utf8_lossy(&said)))
    }

    fn refuse(&self, failure: &Failure, attempts: u32) -> Error {
        let tried = if attempts > 1 { format!(", {attempts} times") } else { String::new() };
        Error::Remote { url: self.url.clone(), reason: format!("{failure}{tried}") }
    }
}

impl Generator for RemoteGenerator {
    fn context(&self) -> usize {
        self.options.context
    }

    fn count(&self, prompt: &Prompt) -> Result<usize> {
        let messages = request::messages(prompt);
        Ok(messages.iter().map(|message| 4 + message.content.len().div_ceil(3)).sum())
    }

    fn prompt(&self, messages: &[Message]) -> Result<Prompt> {
        Ok(request::prompt(messages))
    }

    fn generate(
        &self,
        prompt: &Prompt,
        options: &GenerateOptions,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let began = Instant::now();
        let prompt_tokens = self.count(prompt)?;
        if prompt_tokens >= self.options.context {
            let context = self.options.context;
            return Err(Error::ContextExceeded { tokens: prompt_tokens, context });
        }
        let body = request::body(&self.options.model, prompt, options)?;
        let mut pieces = Pieces::new(Stops::new(&options.stop)?);
        let mut watch = Watch::new(on_text, options.time_limit.map(|limit| began + limit));
        let mut done = Generation { prompt_tokens, ..Generation::default() };
        let answer = self.ask(&body, &mut watch)?;
        let finish = match answer {
            None => Some(watch.finish()),
            Some(answer) => {
                let events = events(answer).map_err(|failure| self.refuse(&failure, 1))?;
                self.read(&events, began, &mut pieces, &mut watch, &mut done)?
            }
        };
        let rest = pieces.finish();
        done.text.push_str(&rest);
        if !rest.is_empty() {
            let _ = watch.tell(&rest);
        }
        done.finish = finish.unwrap_or(done.finish);
        done.total = began.elapsed();
        if done.first_token.is_zero() {
            done.first_token = done.total;
        }
        Ok(done)
    }
}

impl RemoteGenerator {
    /// Takes in what the server sends; says why it was ended, where it was not by the server.
    fn read(
        &self,
        events: &Receiver<Result<Event, Failure>>,
        began: Instant,
        pieces: &mut Pieces,
        watch: &mut Watch<'_>,
        done: &mut Generation,
    ) -> Result<Option<Finish>> {
        loop {
            let event = match events.recv_timeout(POLL) {
                Ok(event) => event.map_err(|failure| self.refuse(&failure, 1))?,
                Err(RecvTimeoutError::Timeout) if watch.is_over() => {
                    return Ok(Some(watch.finish()));
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.refuse(&Failure::CutShort, 1));
                }
            };
            match event {
                Event::Text(text) => {
                    if done.first_token.is_zero() {
                        done.first_token = began.elapsed();
                    }
                    done.generated_tokens += 1;
                    let text = pieces.push(text.as_bytes());
                    done.text.push_str(&text);
                    if watch.tell(&text).is_break() || watch.is_late() {
                        return Ok(Some(watch.finish()));
                    }
                    if pieces.is_stopped() {
                        return Ok(Some(Finish::Stop));
                    }
                }
                Event::Finish(finish) => done.finish = finish,
                Event::Usage { prompt, generated } => {
                    done.prompt_tokens = prompt;
                    done.generated_tokens = generated;
                }
                Event::End => return Ok(None),
            }
        }
    }
}

/// The events of an answer, read by a thread of its own.
fn events(answer: Answer) -> Result<Receiver<Result<Event, Failure>>, Failure> {
    let kind = answer.header("Content-Type").unwrap_or_default().to_ascii_lowercase();
    let (sender, receiver) = sync_channel(WAITING);
    let work = move || {
        let body = BufReader::new(answer.into_reader().take(MAX_ANSWER));
        let mut send = |event| sender.send(event).is_ok();
        if kind.starts_with("text/event-stream") {
            events::stream(body, &mut send);
        } else {
            events::whole(body, &kind, &mut send);
        }
    };
    spawn(work)?;
    Ok(receiver)
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = std::thread::Builder::new().name("vdb-remote".to_owned());
    thread.spawn(work).map(drop).map_err(|e| Failure::Unreachable(format!("no thread: {e}")))
}

/// A line, without its end; none at the end of the input.
fn line(body: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if body.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(Some(line))
}
