//! From a prompt to what a server is asked.

use super::super::{Message, Role};
use super::GenerateOptions;
use crate::error::{Error, Result};
use crate::tokenize::{Piece, Prompt};
use serde_json::{Value, json};

/// Stop texts that servers take; more than these are looked for here alone.
const STOPS: usize = 4;
/// Begins a message in a prompt's template pieces, which no content can.
const MARK: char = '\u{1e}';

/// Messages as a prompt that [`messages`] takes apart again: the server has the template.
pub(super) fn prompt(messages: &[Message]) -> Prompt {
    messages.iter().fold(Prompt::new(), |prompt, message| {
        prompt.template(format!("{MARK}{}", message.role.as_str())).content(&message.content)
    })
}

/// The messages of a prompt; one that was not made of messages is what the user says.
pub(super) fn messages(prompt: &Prompt) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for piece in prompt.pieces() {
        match piece {
            Piece::Template(marks) if marks.starts_with(MARK) => {
                let roles = marks.split(MARK).skip(1);
                messages
                    .extend(roles.map(|role| Message { role: of(role), content: String::new() }));
            }
            piece => match messages.last_mut() {
                Some(last) => last.content.push_str(piece.text()),
                None => messages.push(Message::user(piece.text())),
            },
        }
    }
    messages
}

fn of(name: &str) -> Role {
    let all = [Role::System, Role::Assistant];
    all.into_iter().find(|role| role.as_str() == name).unwrap_or(Role::User)
}

/// The body of a request.
///
/// # Errors
/// [`Error::Parameter`] for a constraint that the protocol cannot say.
pub(super) fn body(model: &str, prompt: &Prompt, options: &GenerateOptions) -> Result<Vec<u8>> {
    let messages: Vec<Value> = messages(prompt)
        .iter()
        .map(|message| json!({"role": message.role.as_str(), "content": message.content}))
        .collect();
    options.sampling.check()?;
    let mut body = json!({
        "model": model,
        "messages": messages,
        "max_tokens": options.max_tokens,
        "temperature": options.sampling.temperature,
        "top_p": options.sampling.top_p,
        "seed": options.sampling.seed,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    if !options.stop.is_empty() {
        let stops: Vec<&String> = options.stop.iter().take(STOPS).collect();
        body["stop"] = json!(stops);
    }
    if let Some(constraint) = &options.constraint {
        let Some(schema) = constraint.schema() else {
            return Err(Error::parameter(
                "constraint",
                "a server can be held to a JSON schema only, not to an expression, choices or a \
                 quotation; use a decoder that runs here",
            ));
        };
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": true},
        });
    }
    serde_json::to_vec(&body).map_err(|e| Error::parameter("prompt", e.to_string()))
}
