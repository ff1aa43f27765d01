//! From what a server sends to text: server-sent events (WHATWG HTML, 9.2), or one JSON object.

use super::failure::{Failure, message, shown};
use super::{Finish, line};
use serde_json::Value;
use std::io::{BufRead, Read};

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    Text(String),
    Finish(Finish),
    Usage { prompt: usize, generated: usize },
    End,
}

/// Hands the events of a stream to `send` until it ends or says false.
pub(super) fn stream(mut body: impl BufRead, send: &mut dyn FnMut(Result<Event, Failure>) -> bool) {
    let mut finished = false;
    loop {
        let line = match line(&mut body) {
            Ok(Some(line)) => line,
            Ok(None) => {
                // Some servers say why it ended, and do not say that it did.
                let end = if finished { Ok(Event::End) } else { Err(Failure::CutShort) };
                send(end);
                return;
            }
            Err(error) => {
                send(Err(Failure::Silent(error.to_string())));
                return;
            }
        };
        let line = String::from_utf8_lossy(&line);
        // Comments keep the connection alive; other fields say nothing here.
        let Some(data) = line.strip_prefix("data:").map(str::trim) else {
            if !line.is_empty() && !line.contains(':') {
                send(Err(Failure::Garbage(shown(&line))));
                return;
            }
            continue;
        };
        if data == "[DONE]" {
            send(Ok(Event::End));
            return;
        }
        let Ok(value) = serde_json::from_str::<Value>(data) else {
            send(Err(Failure::Garbage(shown(data))));
            return;
        };
        for event in taken(&value, "delta") {
            finished |= matches!(event, Ok(Event::Finish(_)));
            let is_failure = event.is_err();
            if !send(event) || is_failure {
                return;
            }
        }
    }
}

/// The same of an answer in one piece, from a server that does not stream.
pub(super) fn whole(
    mut body: impl Read,
    kind: &str,
    send: &mut dyn FnMut(Result<Event, Failure>) -> bool,
) {
    let mut bytes = Vec::new();
    if let Err(error) = body.read_to_end(&mut bytes) {
        send(Err(Failure::Silent(error.to_string())));
        return;
    }
    let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
        let found = if kind.contains("html") || bytes.trim_ascii_start().starts_with(b"<") {
            "a page of HTML".to_owned()
        } else if bytes.is_empty() {
            "nothing".to_owned()
        } else {
            shown(&String::from_utf8_lossy(&bytes))
        };
        send(Err(Failure::Garbage(found)));
        return;
    };
    let events = taken(&value, "message");
    let has_text = events.iter().any(|event| !matches!(event, Ok(Event::Usage { .. })));
    for event in events {
        if !send(event) {
            return;
        }
    }
    let end = if has_text {
        Ok(Event::End)
    } else {
        Err(Failure::Garbage(format!("{} without choices", shown(&value.to_string()))))
    };
    send(end);
}

/// What a JSON object of the protocol holds; the text stands under `name`.
fn taken(value: &Value, name: &str) -> Vec<Result<Event, Failure>> {
    if let Some(said) = message(value) {
        return vec![Err(Failure::Failed(said))];
    }
    let mut events = Vec::new();
    let choice = value.get("choices").and_then(|choices| choices.get(0));
    let text = choice.and_then(|choice| choice.get(name)).and_then(|part| part.get("content"));
    if let Some(text) = text.and_then(Value::as_str).filter(|text| !text.is_empty()) {
        events.push(Ok(Event::Text(text.to_owned())));
    }
    match choice.and_then(|choice| choice.get("finish_reason")).and_then(Value::as_str) {
        Some("length") => events.push(Ok(Event::Finish(Finish::Length))),
        Some(_) => events.push(Ok(Event::Finish(Finish::Stop))),
        None => {}
    }
    let count = |name: &str| {
        let number = value.get("usage").and_then(|usage| usage.get(name)).and_then(Value::as_u64);
        number.and_then(|n| usize::try_from(n).ok())
    };
    if let (Some(prompt), Some(generated)) = (count("prompt_tokens"), count("completion_tokens")) {
        events.push(Ok(Event::Usage { prompt, generated }));
    }
    events
}
