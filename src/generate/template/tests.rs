//! Expected texts: jinja2 3.1.6 in the environment of transformers (tests/golden/templates.py).

use super::*;
use crate::tokenize::Piece;
use serde::Deserialize;
use std::collections::HashMap;

const CONTROL: [&str; 10] = [
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
];

const GOLDEN: &str = include_str!("../../../tests/golden/templates.json");

fn special() -> SpecialTokens {
    SpecialTokens {
        bos: Some("<s>".to_owned()),
        eos: Some("</s>".to_owned()),
        control: CONTROL.iter().map(|token| (*token).to_owned()).collect(),
    }
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new("toy", source, &special()).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    templates: HashMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    roles: Vec<String>,
    contents: Vec<String>,
    add: bool,
    flags: HashMap<String, bool>,
    expected: Option<String>,
}

impl Case {
    fn messages(&self, content: impl Fn(&str) -> String) -> Vec<Message> {
        let message = |(role, text): (&String, &String)| {
            let role = match role.as_str() {
                "system" => Role::System,
                "user" => Role::User,
                _ => Role::Assistant,
            };
            Message { role, content: content(text) }
        };
        self.roles.iter().zip(&self.contents).map(message).collect()
    }
}

fn golden() -> (HashMap<String, ChatTemplate>, Vec<Case>) {
    let golden: Golden = serde_json::from_str(GOLDEN).unwrap();
    let templates =
        golden.templates.iter().map(|(name, source)| (name.clone(), template(source))).collect();
    (templates, golden.cases)
}

/// The control tokens of the template's pieces, in order: the structure of the prompt.
fn structure(prompt: &Prompt) -> Vec<&str> {
    let mut found = Vec::new();
    for piece in prompt.pieces() {
        let Piece::Template(text) = piece else { continue };
        let mut here: Vec<(usize, &str)> = CONTROL
            .iter()
            .flat_map(|token| text.match_indices(token).map(|(at, _)| (at, *token)))
            .collect();
        here.sort_unstable();
        found.extend(here.into_iter().map(|(_, token)| token));
    }
    found
}

#[test]
fn texts_are_those_of_transformers() {
    let Golden { templates: sources, .. } = serde_json::from_str(GOLDEN).unwrap();
    let (templates, cases) = golden();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let today = python::strftime("%d %b %Y", now).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let with_flags = (!case.flags.is_empty()).then(|| {
            let chat = template(&sources[&case.template]);
            case.flags.iter().fold(chat, |chat, (name, value)| chat.flag(name, *value))
        });
        let chat = with_flags.as_ref().unwrap_or(&templates[&case.template]);
        let found = chat.render(&case.messages(ToOwned::to_owned), case.add);
        let expected = case.expected.as_ref().map(|text| text.replace("TODAY", &today));
        match (&found, &expected) {
            (Ok(prompt), Some(expected)) if prompt.text() == *expected => {}
            (Err(Error::Model { .. }), None) => {}
            _ => wrong.push(format!(
                "{} {:?} {:?}\n  expected {expected:?}\n  found    {found:?}",
                case.template, case.roles, case.contents
            )),
        }
    }
    assert!(cases.len() > 400);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The special tokens are those of the same conversation with harmless words, and a content that a
/// template does not take apart is one piece.
#[test]
fn contents_do_not_change_the_structure() {
    let (templates, cases) = golden();
    let mut whole = 0;
    for case in cases.iter().filter(|case| case.expected.is_some()) {
        let chat = &templates[&case.template];
        let messages = case.messages(ToOwned::to_owned);
        let prompt = chat.render(&messages, case.add).unwrap();
        let harmless =
            |text: &str| if text.trim().is_empty() { text } else { "harmless" }.to_owned();
        let neutral = chat.render(&case.messages(harmless), case.add).unwrap();
        assert_eq!(structure(&prompt), structure(&neutral), "{} {prompt:?}", case.template);
        if ["smollm2", "llama3", "qwen25", "gemma"].contains(&case.template.as_str()) {
            for message in messages.iter().filter(|m| !m.content.trim().is_empty()) {
                let content = message.content.trim();
                let is_whole =
                    |piece: &Piece| matches!(piece, Piece::Content(text) if text == content);
                assert!(prompt.pieces().iter().any(is_whole), "{content:?} in {prompt:?}");
                whole += 1;
            }
        }
    }
    assert!(whole > 200);
}

/// A private-use character in a content is not another's veil, and comes back.
#[test]
fn private_characters_come_back() {
    let chat = template("{{ messages[0].content }}\u{F0000}{{ messages[1].content }}");
    let contents = ["ab\u{F0000}\u{F0001}", "\u{F0001}b\u{10FFFD}"];
    let prompt = chat.render(&contents.map(Message::user), true).unwrap();
    assert_eq!(prompt.text(), format!("{}\u{F0000}{}", contents[0], contents[1]));
    assert_eq!(prompt.pieces().len(), 3);
}

#[test]
fn templates_that_fail_are_errors() {
    for source in ["{% for %}", "{{ 'open", "{% if x %}", "{{ x | nofilter }}"] {
        let error = match ChatTemplate::new("toy", source, &special()) {
            Err(error) => error,
            Ok(chat) => chat.render(&[], true).unwrap_err(),
        };
        assert!(matches!(error, Error::Model { .. }), "{error}");
    }
    let chat = template(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no place') }}{% endif %}",
    );
    let error = chat.render(&[Message::system("x")], true).unwrap_err().to_string();
    assert!(error.contains("no place") && error.contains("line 1"), "{error}");
    // Python's templates fail here, too; what is said does not show the veil.
    let chat = template("{{ raise_exception(messages[0].content) }}");
    let error = chat.render(&[Message::user("secret")], true).unwrap_err().to_string();
    assert!(!error.chars().any(veil::is_veil), "{error}");
    let long = "x".repeat(MAX_SOURCE + 1);
    assert!(ChatTemplate::new("toy", &long, &special()).is_err());
}

/// Loops, recursion and output without end come to one.
#[test]
fn templates_without_end_are_errors() {
    for (source, expected) in [
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}",
            "end",
        ),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "recursion"),
        ("{% for a in range(999) %}{{ 'xxxxxxxxxx' * 9999999 }}{% endfor %}", "bytes"),
        ("{{ 'x' * 99999999999 }}", "large"),
    ] {
        let error = template(source).render(&[Message::user("x")], true).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let nested = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(ChatTemplate::new("toy", &format!("{{{{ {nested} }}}}"), &special()).is_err());
}

#[test]
fn a_long_conversation_is_within_the_limits() {
    let (templates, _) = golden();
    let messages: Vec<Message> = (0..2000)
        .map(|i| if i % 2 == 0 { Message::user("q") } else { Message::assistant("a") })
        .collect();
    for name in ["smollm2", "llama31", "qwen3", "mistral"] {
        templates[name].render(&messages, true).unwrap();
    }
}
