//! What a server can do wrong, and what is to be done about it.

use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// Longest pause that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// No connection, or none that lasted until the head of an answer.
    Unreachable(String),
    /// An answer that is none.
    Status { status: u16, wait: Option<Duration>, said: String },
    /// The stream ended in the middle.
    CutShort,
    /// Nothing came for too long, or the connection broke.
    Silent(String),
    /// Something came that is not of the protocol.
    Garbage(String),
    /// The server says in the middle of its answer that it failed.
    Failed(String),
}

impl Failure {
    pub(super) fn status(status: u16, wait: Option<&str>, body: &str) -> Self {
        let wait = wait.and_then(|seconds| seconds.trim().parse().ok());
        let wait = wait.map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT));
        Self::Status { status, wait, said: said(body) }
    }

    /// Whether another attempt may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the server asks to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => {
                write!(f, "it cannot be reached ({reason}); is the server running there?")
            }
            Self::Status { status, said, .. } => {
                let advice = match status {
                    401 | 403 => "the key is missing or wrong",
                    404 => "there is no such address or no such model; name the address up to /v1",
                    429 => "it has more to do than it can; try again later",
                    400 | 413 | 422 => "it does not take this request",
                    500.. => "it failed; its own log says why",
                    _ => "that is no answer",
                };
                write!(f, "it answered with HTTP status {status}{said}: {advice}")
            }
            Self::CutShort => f.write_str("its answer ended in the middle"),
            Self::Silent(reason) => write!(f, "its answer did not go on: {reason}"),
            Self::Garbage(found) => {
                write!(f, "expected an answer of the chat protocol, found {found}")
            }
            Self::Failed(said) => write!(f, "it failed in the middle of its answer: {said}"),
        }
    }
}

/// What a body says of a failure, in parentheses: the message of a JSON error, or the start of a text.
fn said(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(message);
    let text = match message {
        Some(message) => message,
        None if body.trim_start().starts_with('<') => "a page of HTML".to_owned(),
        None => shown(body),
    };
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

/// The message of an error as servers write it: `{"error": {"message": …}}`, `{"error": …}`.
pub(super) fn message(value: &Value) -> Option<String> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let text = error.get("message").unwrap_or(error);
    Some(text.as_str().map_or_else(|| shown(&text.to_string()), shown))
}

/// The start of a text, on one line.
pub(super) fn shown(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    line.join(" ").chars().filter(|c| !c.is_control()).take(200).collect()
}
