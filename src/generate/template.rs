//! Chat templates: from messages to a prompt in which the messages stay apart.
//!
//! A template is a Jinja program that comes with a model. It is rendered as `transformers` does it
//! (blocks trimmed, loop controls, `raise_exception`, `strftime_now`, `tojson` in Python's manner,
//! methods of Python's strings and dictionaries), by the minijinja crate.
//!
//! What people and documents say must not become part of the program's output that is obeyed. So a
//! template never sees contents, but contents in a veil: other characters, which the template
//! cannot write and which become the content again, and [`Piece::Content`](crate::tokenize::Piece),
//! in what comes out. It can trim, slice, measure and join them; a template that looks at letters
//! finds none. It does see white space, and those words that it names itself in quotes (Qwen3's asks
//! for `</think>`), as long as no special token could be made of them.

mod python;
mod text;
mod veil;

pub use text::TextTemplate;

use crate::error::{Error, Result};
use crate::panics;
use crate::tokenize::{Prompt, SpecialTokens};
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest known template has some 20,000 bytes.
const MAX_SOURCE: usize = 256 << 10;

/// Bytes that one template may write. A content is up to four times as long in its veil.
const MAX_OUTPUT: usize = 64 << 20;

/// Steps of the template's program that one rendering may take, and more for each message. Qwen3's
/// template takes some 300 for a message.
const STEPS: u64 = 1_000_000;
const STEPS_A_MESSAGE: u64 = 10_000;

/// Calls within calls.
const MAX_DEPTH: usize = 100;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Who sets the rules.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that templates know: `system`, `user`, `assistant`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said. Never taken for more than text.
    pub content: String,
}

impl Message {
    /// A message of the system.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// A message of the user.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A message of the model.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// A message as templates know it, in the order of its keys.
#[derive(Serialize)]
struct Turn<'a> {
    role: &'static str,
    content: &'a str,
}

/// A model's way to write a conversation. Can be shared by threads.
pub struct ChatTemplate {
    name: String,
    environment: Environment<'static>,
    words: veil::Words,
    variables: BTreeMap<String, Value>,
}

impl ChatTemplate {
    /// A template from its source; `name` is the model's, for messages.
    ///
    /// # Errors
    /// [`Error::Model`] where it is not a Jinja template, or is far too long.
    pub fn new(name: &str, source: &str, special: &SpecialTokens) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        if source.len() > MAX_SOURCE {
            return Err(refuse(format!(
                "its chat template has {} bytes; one has at most {MAX_SOURCE}",
                source.len()
            )));
        }
        let words = veil::Words::new(source, &special.control);
        let source = python::without_generation_tags(source);
        let made = panics::catch(|| {
            let mut environment = environment();
            environment.add_template_owned("chat", source).map(|()| environment)
        });
        let environment = match made {
            Ok(Ok(environment)) => environment,
            Ok(Err(e)) => return Err(refuse(format!("its chat template does not load: {e}"))),
            Err(_) => return Err(refuse("its chat template is malformed".to_owned())),
        };
        let token = |text: &Option<String>| text.as_deref().map_or(Value::UNDEFINED, Value::from);
        let variables = BTreeMap::from([
            ("bos_token".to_owned(), token(&special.bos)),
            ("eos_token".to_owned(), token(&special.eos)),
        ]);
        Ok(Self { name: name.to_owned(), environment, words, variables })
    }

    /// Sets a variable that the template asks for, such as Qwen3's `enable_thinking`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: bool) -> Self {
        self.variables.insert(name.to_owned(), Value::from(value));
        self
    }

    /// The prompt of a conversation; with `add_generation_prompt`, up to where the model's next
    /// answer begins.
    ///
    /// The contents are [`Piece::Content`](crate::tokenize::Piece) in it. Two things of theirs can be
    /// in a template's pieces: white space around them, and words that the template names itself,
    /// where it took the content apart at these. Neither can hold a special token, or a part of one
    /// that the template would complete.
    ///
    /// Templates that ask for the date (`strftime_now`) get that of Greenwich.
    ///
    /// # Errors
    /// [`Error::Model`] where the template fails, refuses the conversation (some have no place for a
    /// system message), or does not end. Its memory is not watched: a template, like a model's
    /// weights, should come from someone.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Prompt> {
        let refuse = |reason: String| Error::Model { name: self.name.clone(), reason };
        let veil = veil::Veil::new(&self.words, messages.iter().map(|m| m.content.as_str()));
        let veil = veil.map_err(&refuse)?;
        let turns: Vec<Turn<'_>> = messages
            .iter()
            .zip(veil.contents())
            .map(|(message, content)| Turn { role: message.role.as_str(), content })
            .collect();
        let mut context = self.variables.clone();
        context.insert("messages".to_owned(), Value::from_serialize(&turns));
        context.insert("add_generation_prompt".to_owned(), Value::from(add_generation_prompt));

        let rendered = panics::catch(|| {
            let mut environment = self.environment.clone();
            let turns = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            environment.set_fuel(Some(STEPS.saturating_add(STEPS_A_MESSAGE.saturating_mul(turns))));
            let mut written = Capped(Vec::new());
            environment.get_template("chat")?.render_captured_to(&context, &mut written)?;
            Ok::<_, minijinja::Error>(written.0)
        });
        let rendered = match rendered {
            Ok(Ok(bytes)) => String::from_utf8(bytes)
                .map_err(|_| refuse("its chat template writes what is not UTF-8".to_owned()))?,
            Ok(Err(e)) => return Err(refuse(told(&e))),
            Err(_) => return Err(refuse("its chat template gives up".to_owned())),
        };
        Ok(veil.lift(&rendered))
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(MAX_DEPTH);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: &str| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        python::strftime(format, since.as_secs()).map_err(operation)
    });
    environment.add_filter("tojson", |value: &Value, options: Kwargs| {
        let indent = options.get::<Option<usize>>("indent")?;
        let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
        options.assert_all_used()?;
        if ascii {
            return Err(operation("tojson with ensure_ascii is not supported".to_owned()));
        }
        python::dumps(value, indent).map_err(operation)
    });
    environment
}

fn operation(reason: String) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, reason)
}

/// What went wrong, in words that do not show a veiled content.
fn told(error: &minijinja::Error) -> String {
    match error.kind() {
        ErrorKind::OutOfFuel => "its chat template does not come to an end".to_owned(),
        ErrorKind::WriteFailure => {
            format!("its chat template writes more than {MAX_OUTPUT} bytes")
        }
        _ => {
            let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
            let detail = error.detail().unwrap_or("it gives no reason");
            let plain: String = detail.chars().filter(|c| !veil::is_veil(*c)).collect();
            format!("its chat template fails{line}: {} ({plain})", error.kind())
        }
    }
}

/// Bytes up to a limit.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
