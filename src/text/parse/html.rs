//! HTML: the readable text, with its headings. The one place that names scraper and its tree.
//!
//! The tree is walked with its own iterator, without recursion: its depth is the file's choice.

mod effort;

use super::Source;
use crate::error::Result;
use crate::text::{Document, Heading};
use ego_tree::iter::Edge;
use scraper::node::Node;
use scraper::{Html, Selector};

/// Elements whose text is not for reading.
const SKIPPED: [&str; 12] = [
    "script", "style", "noscript", "template", "svg", "iframe", "nav", "footer", "head", "select",
    "button", "form",
];

/// Elements that begin and end on lines of their own.
const BLOCKS: [&str; 34] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "caption",
    "center",
    "dd",
    "details",
    "dialog",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "html",
    "li",
    "main",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

pub(super) fn parse(text: &str, source: &Source) -> Result<Document> {
    if let Some(reason) = effort::too_much(text) {
        return Err(source.error(None, reason));
    }
    let html = Html::parse_document(text);
    let mut out = Writer::default();
    let mut skipping = 0usize;
    let mut preformatted = 0usize;
    let mut open_heading = None;
    for edge in html.root_element().traverse() {
        match edge {
            Edge::Open(node) => match node.value() {
                Node::Element(element) => {
                    let name = element.name();
                    if SKIPPED.contains(&name) {
                        skipping += 1;
                    }
                    if skipping > 0 {
                        continue;
                    }
                    if BLOCKS.contains(&name) {
                        out.line_break(if is_paragraph(name) { 2 } else { 1 });
                    }
                    match name {
                        "br" => out.line_break(1),
                        "td" | "th" => out.cell(),
                        "pre" => preformatted += 1,
                        _ => {}
                    }
                    if let Some(level) = heading_level(name) {
                        open_heading = Some((level, out.next_start()));
                    }
                }
                Node::Text(text) if skipping == 0 => out.text(text, preformatted > 0),
                _ => {}
            },
            Edge::Close(node) => {
                let Node::Element(element) = node.value() else { continue };
                let name = element.name();
                if SKIPPED.contains(&name) {
                    skipping = skipping.saturating_sub(1);
                    continue;
                }
                if skipping > 0 {
                    continue;
                }
                if name == "pre" {
                    preformatted = preformatted.saturating_sub(1);
                }
                if heading_level(name).is_some()
                    && let Some((level, start)) = open_heading.take()
                {
                    out.heading(level, start);
                }
                if BLOCKS.contains(&name) {
                    out.line_break(if is_paragraph(name) { 2 } else { 1 });
                }
            }
        }
    }
    if out.text.trim().is_empty() {
        return Err(source.skipped("it holds no readable text"));
    }
    let mut document = Document::new(source.id.clone(), out.text);
    document.headings = out.headings;
    document.title = title(&html);
    let attribute = |selector: &str, name: &str| {
        let selector = Selector::parse(selector).ok()?;
        let value = html.select(&selector).next()?.value().attr(name)?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    for (field, selector, name) in [
        ("lang", "html[lang]", "lang"),
        ("description", "meta[name=description]", "content"),
        ("author", "meta[name=author]", "content"),
    ] {
        if let Some(value) = attribute(selector, name) {
            document = document.field(field, value);
        }
    }
    document.origin = source.origin(1, false);
    document.origin.line = None;
    Ok(document)
}

fn title(html: &Html) -> Option<String> {
    let selector = Selector::parse("title").ok()?;
    let text: String = html.select(&selector).next()?.text().collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        _ => None,
    }
}

fn is_paragraph(name: &str) -> bool {
    matches!(
        name,
        "p" | "pre" | "blockquote" | "table" | "ul" | "ol" | "dl" | "section" | "article"
    ) || heading_level(name).is_some()
}

/// Readable text under construction: white space collapses, line breaks do not pile up.
#[derive(Default)]
struct Writer {
    text: String,
    headings: Vec<Heading>,
    /// Line breaks that are due before the next word.
    breaks: usize,
    /// A space is due before the next word.
    space: bool,
    tab: bool,
}

impl Writer {
    fn line_break(&mut self, count: usize) {
        self.breaks = self.breaks.max(count);
    }

    fn cell(&mut self) {
        self.tab = !self.text.is_empty() && self.breaks == 0 && !self.text.ends_with('\n');
    }

    /// Where the next word will stand.
    fn next_start(&mut self) -> usize {
        self.flush();
        self.text.len()
    }

    fn flush(&mut self) {
        if self.text.is_empty() {
            // Nothing comes before the first word.
        } else if self.breaks > 0 {
            self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
            let there = self.text.bytes().rev().take_while(|b| *b == b'\n').count();
            let missing = self.breaks.saturating_sub(there);
            self.text.extend(std::iter::repeat_n('\n', missing));
        } else if self.tab {
            self.text.push('\t');
        } else if self.space && !self.text.ends_with(char::is_whitespace) {
            self.text.push(' ');
        }
        (self.breaks, self.space, self.tab) = (0, false, false);
    }

    fn text(&mut self, text: &str, preformatted: bool) {
        if preformatted {
            self.flush();
            self.text.push_str(text);
            return;
        }
        for (i, word) in text.split(char::is_whitespace).enumerate() {
            self.space |= i > 0;
            if !word.is_empty() {
                self.flush();
                self.text.push_str(word);
            }
        }
    }

    fn heading(&mut self, level: u8, start: usize) {
        let words = self.text.get(start..).unwrap_or_default().trim();
        if !words.is_empty() {
            let text = words.split_whitespace().collect::<Vec<_>>().join(" ");
            self.headings.push(Heading { level, text, span: start..self.text.len() });
        }
    }
}
