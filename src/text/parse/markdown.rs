//! Markdown: the text stays as it is, so that lines and spans are the file's; headings, title and
//! front matter are read out of it.

use super::Source;
use crate::text::{Document, Heading, Value};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

pub(super) fn parse(text: String, source: &Source) -> Document {
    let mut headings = Vec::new();
    let mut open: Option<Heading> = None;
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, span) in Parser::new_ext(&text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                open = Some(Heading { level: depth(level), text: String::new(), span });
            }
            Event::End(TagEnd::Heading(_)) => {
                headings
                    .extend(open.take().map(|h| Heading { text: h.text.trim().to_owned(), ..h }));
            }
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut open {
                    heading.text.push_str(&part);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut open {
                    heading.text.push(' ');
                }
            }
            _ => {}
        }
    }
    let mut document = Document::new(source.id.clone(), text);
    for (name, value) in front_matter(&document.text) {
        if name == "title" {
            document.title = Some(value);
        } else {
            document.metadata.insert(name, Value::Text(value));
        }
    }
    let first = headings.iter().find(|h| h.level == 1).map(|h| h.text.clone());
    document.title = document.title.or(first).filter(|title| !title.is_empty());
    document.headings = headings;
    document.origin = source.origin(1, true);
    document
}

fn depth(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

/// The plain `name: value` lines between two lines of `---` at the start; other YAML is left alone.
fn front_matter(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Vec::new();
    }
    let mut fields = Vec::new();
    for line in lines {
        if line.trim_end() == "---" || line.trim_end() == "..." {
            return fields;
        }
        if let Some((name, value)) = line.split_once(':')
            && !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        {
            let value = value.trim().trim_matches(['"', '\'']);
            if !value.is_empty() {
                fields.push((name.to_lowercase(), value.to_owned()));
            }
        }
    }
    // Never closed: not front matter.
    Vec::new()
}
