//! Prompts as files that a person can edit.
//!
//! A file has sections, each after a line `=== system`, `=== user` or `=== assistant`, and each a Jinja
//! template. Section by section becomes a message: first the system's; then for each example the user's
//! and the assistant's; then the user's for the question itself. So a text that is put into a section
//! cannot begin another one.

use super::{Example, Task};
use crate::error::{Error, Result};
use crate::generate::template::TextTemplate;
use crate::generate::{Message, Role};
use serde::Serialize;
use std::path::Path;

/// What a section may use.
const KNOWN: [&str; 7] =
    ["question", "context", "answer", "reasoning", "program", "error", "examples"];

const DEFAULTS: [(&str, &str); 5] = [
    ("direct", include_str!("templates/direct.prompt")),
    ("chain-of-thought", include_str!("templates/chain-of-thought.prompt")),
    ("conclusion", include_str!("templates/conclusion.prompt")),
    ("program", include_str!("templates/program.prompt")),
    ("repair", include_str!("templates/repair.prompt")),
];

/// The messages of one kind of prompt.
#[derive(Debug, Clone)]
pub struct PromptTemplate {
    system: Option<TextTemplate>,
    user: TextTemplate,
    assistant: Option<TextTemplate>,
}

/// The values of a section.
#[derive(Debug, Default, Serialize)]
pub(super) struct Values<'v> {
    pub(super) question: &'v str,
    pub(super) context: &'v str,
    pub(super) answer: &'v str,
    pub(super) reasoning: &'v str,
    pub(super) program: &'v str,
    pub(super) error: &'v str,
    /// How many examples there are.
    pub(super) examples: usize,
}

impl PromptTemplate {
    /// A template from the text of its file; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Parse`] for a section that is unknown, missing or there twice, and those of
    /// [`TextTemplate::new`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let refuse = |line: u64, reason: String| Error::Parse {
            origin: name.to_owned(),
            line: Some(line),
            reason,
        };
        let mut sections: Vec<(&str, String)> = Vec::new();
        for (number, line) in (1u64..).zip(text.lines()) {
            match (line.strip_prefix("=== "), sections.last_mut()) {
                (Some(section), _) => {
                    let section = section.trim();
                    if !["system", "user", "assistant"].contains(&section) {
                        let reason =
                            format!("section {section:?}; there are system, user and assistant");
                        return Err(refuse(number, reason));
                    }
                    if sections.iter().any(|(known, _)| *known == section) {
                        return Err(refuse(number, format!("section {section:?} is there twice")));
                    }
                    sections.push((section, String::new()));
                }
                (None, Some((_, body))) => {
                    body.push_str(line);
                    body.push('\n');
                }
                (None, None) if line.trim().is_empty() => {}
                (None, None) => {
                    let reason =
                        "expected a line \"=== system\", \"=== user\" or \"=== assistant\"";
                    return Err(refuse(number, reason.to_owned()));
                }
            }
        }
        let section = |wanted: &str| {
            let found = sections.iter().find(|(section, _)| *section == wanted);
            let made = found.map(|(section, body)| {
                TextTemplate::new(&format!("{name}, section {section}"), body, &KNOWN)
            });
            made.transpose()
        };
        let user = section("user")?
            .ok_or_else(|| refuse(1, "it has no section \"=== user\"".to_owned()))?;
        Ok(Self { system: section("system")?, user, assistant: section("assistant")? })
    }

    /// The messages of a task with these examples.
    ///
    /// # Errors
    /// Those of [`TextTemplate::render`].
    pub fn messages(&self, task: &Task<'_>, examples: &[Example]) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let own = Values {
            question: task.question.trim(),
            context: task.context.unwrap_or_default().trim(),
            examples: examples.len(),
            ..Values::default()
        };
        self.begin(&own, &mut messages)?;
        if let Some(assistant) = &self.assistant {
            for example in examples {
                let values = Values {
                    question: example.question.trim(),
                    context: example.context.as_deref().unwrap_or_default().trim(),
                    answer: example.answer.trim(),
                    reasoning: example.reasoning.as_deref().unwrap_or_default().trim(),
                    program: example.program.as_deref().unwrap_or_default().trim(),
                    examples: examples.len(),
                    ..Values::default()
                };
                messages.push(Message::user(self.user.render(&values)?));
                let content = assistant.render(&values)?;
                messages.push(Message { role: Role::Assistant, content });
            }
        }
        messages.push(Message::user(self.user.render(&own)?));
        Ok(messages)
    }

    fn begin(&self, values: &Values<'_>, messages: &mut Vec<Message>) -> Result<()> {
        let Some(system) = &self.system else { return Ok(()) };
        let content = system.render(values)?;
        if !content.is_empty() {
            messages.push(Message { role: Role::System, content });
        }
        Ok(())
    }

    /// What is said next, after something of the model's.
    pub(super) fn next(&self, values: &Values<'_>) -> Result<Message> {
        self.user.render(values).map(Message::user)
    }
}

/// The prompts of all methods.
#[derive(Debug, Clone)]
pub struct Templates {
    all: Vec<(&'static str, PromptTemplate)>,
}

impl Templates {
    /// Those that come with vdb.
    ///
    /// # Errors
    /// None, unless they are damaged.
    pub fn built_in() -> Result<Self> {
        let parse = |(name, text): (&'static str, &str)| {
            Ok((name, PromptTemplate::parse(&format!("{name}.prompt"), text)?))
        };
        Ok(Self { all: DEFAULTS.into_iter().map(parse).collect::<Result<_>>()? })
    }

    /// The same, but for those that a file `NAME.prompt` in `folder` takes the place of.
    ///
    /// # Errors
    /// [`Error::Io`]; those of [`PromptTemplate::parse`].
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let mut templates = Self::built_in()?;
        std::fs::metadata(folder).map_err(Error::io("read", folder))?;
        for (name, template) in &mut templates.all {
            let path = folder.join(format!("{name}.prompt"));
            match std::fs::read_to_string(&path) {
                Ok(text) => *template = PromptTemplate::parse(&path.display().to_string(), &text)?,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", &path)(e)),
            }
        }
        Ok(templates)
    }

    /// Writes those that come with vdb into `folder`, to be edited; files that are there stay as they
    /// are. Returns the names of the files that were written.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(folder: &Path) -> Result<Vec<String>> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let mut written = Vec::new();
        for (name, text) in DEFAULTS {
            let path = folder.join(format!("{name}.prompt"));
            if !path.exists() {
                std::fs::write(&path, text).map_err(Error::io("write", &path))?;
                written.push(format!("{name}.prompt"));
            }
        }
        Ok(written)
    }

    pub(super) fn get(&self, name: &str) -> Result<&PromptTemplate> {
        let found = self.all.iter().find(|(known, _)| *known == name);
        found.map(|(_, template)| template).ok_or_else(|| Error::NotFound {
            what: "prompt",
            name: name.to_owned(),
            hint: "this is a defect of vdb".to_owned(),
        })
    }
}
