//! Contents that a template can handle but not read.
//!
//! Every character of a content is replaced by one of the private-use characters beyond the Basic
//! Multilingual Plane, the same for the same. In what the template writes, they are told from its own
//! text by what they are, wherever they went, and no special token can be made of them.
//!
//! Three kinds of characters stay as they are, for templates to do their work: white space (to be
//! trimmed), quotes, backslashes and control characters (to be escaped), and words that the template
//! has in quotes itself (to be asked for). Where these, with each other or with text beside the
//! content, could be a special token's text, they are veiled as well.

use crate::tokenize::{Piece, Prompt};
use std::collections::{HashMap, HashSet};

/// The private-use characters of planes 15 and 16.
fn alphabet() -> impl Iterator<Item = char> {
    ('\u{F0000}'..='\u{FFFFD}').chain('\u{100000}'..='\u{10FFFD}')
}

/// Whether a character is of the alphabet.
pub(super) fn is_veil(c: char) -> bool {
    matches!(c, '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}')
}

fn stays(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\')
}

/// What a template can say: what of a content it may see follows from it.
pub(super) struct Words {
    /// What it has in quotes, the longest first.
    quoted: Vec<String>,
    /// Characters of the alphabet that it uses itself.
    own: HashSet<char>,
    /// Texts of control tokens.
    control: Vec<String>,
}

impl Words {
    pub(super) fn new(source: &str, control: &[String]) -> Self {
        let mut quoted: Vec<String> = quoted(source)
            .into_iter()
            .filter(|word| word.chars().any(|c| !stays(c) && !is_veil(c)))
            .collect();
        quoted.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        quoted.dedup();
        Self {
            quoted,
            own: source.chars().filter(|c| is_veil(*c)).collect(),
            control: control.iter().filter(|token| !token.is_empty()).cloned().collect(),
        }
    }

    /// Which bytes of a content stay as they are.
    fn seen(&self, content: &str) -> Vec<bool> {
        let mut seen = vec![false; content.len()];
        let mut mark = |start: usize, len: usize, value: bool| {
            seen.iter_mut().skip(start).take(len).for_each(|s| *s = value);
        };
        for (at, c) in content.char_indices() {
            if stays(c) {
                mark(at, c.len_utf8(), true);
            }
        }
        for word in &self.quoted {
            for (at, _) in content.match_indices(word.as_str()) {
                mark(at, word.len(), true);
            }
        }
        // No control token within the content: its first character, at least, is veiled.
        for token in &self.control {
            let first = token.chars().next().map_or(0, char::len_utf8);
            let mut from = 0;
            while let Some(at) = content.get(from..).and_then(|rest| rest.find(token.as_str())) {
                mark(from + at, first, false);
                from += at + first;
            }
        }
        // Nor one across its borders, nor around it.
        let (first, last) = (content.chars().next(), content.chars().next_back());
        let begins = |token: &String| {
            token.char_indices().skip(1).any(|(at, _)| {
                let end = token.get(at..).unwrap_or_default();
                content.starts_with(end)
            })
        };
        let ends = |token: &String| {
            token.char_indices().skip(1).any(|(at, _)| {
                let start = token.get(..at).unwrap_or_default();
                content.ends_with(start)
            })
        };
        let around = |token: &String| token.contains(content);
        if let (Some(first), Some(last)) = (first, last)
            && !content.trim().is_empty()
        {
            if self.control.iter().any(|token| begins(token) || around(token)) {
                mark(0, first.len_utf8(), false);
            }
            if self.control.iter().any(ends) {
                mark(content.len() - last.len_utf8(), last.len_utf8(), false);
            }
        }
        seen
    }
}

/// The contents of one conversation, veiled.
pub(super) struct Veil {
    contents: Vec<String>,
    back: HashMap<char, char>,
}

impl Veil {
    /// Fails where contents have more different characters than there are private ones.
    pub(super) fn new<'a>(
        words: &Words,
        contents: impl Iterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let mut free = alphabet().filter(|c| !words.own.contains(c));
        let mut veils: HashMap<char, char> = HashMap::new();
        let mut veiled = Vec::new();
        for content in contents {
            let seen = words.seen(content);
            let mut text = String::with_capacity(content.len() * 2);
            for (at, c) in content.char_indices() {
                // A private character of a content must not be taken for another's veil.
                if seen.get(at) == Some(&true) && !is_veil(c) {
                    text.push(c);
                    continue;
                }
                let veil = if let Some(veil) = veils.get(&c) {
                    *veil
                } else {
                    let veil =
                        free.next().ok_or("the messages have too many different characters")?;
                    veils.insert(c, veil);
                    veil
                };
                text.push(veil);
            }
            veiled.push(text);
        }
        let back = veils.into_iter().map(|(c, veil)| (veil, c)).collect();
        Ok(Self { contents: veiled, back })
    }

    /// The veiled contents, in their order.
    pub(super) fn contents(&self) -> impl Iterator<Item = &str> {
        self.contents.iter().map(String::as_str)
    }

    /// What a template wrote, with the contents in it told apart.
    pub(super) fn lift(&self, rendered: &str) -> Prompt {
        let mut content = vec![false; rendered.len()];
        // Contents that went through whole are whole: what was seen of them is theirs, too.
        let different: HashSet<&str> = self.contents.iter().map(|veiled| veiled.trim()).collect();
        for veiled in different {
            if veiled.chars().any(|c| self.back.contains_key(&c)) {
                for (at, _) in rendered.match_indices(veiled) {
                    content.iter_mut().skip(at).take(veiled.len()).for_each(|c| *c = true);
                }
            }
        }
        let mut prompt = Prompt::new();
        let mut run = String::new();
        let mut of_content = false;
        for (at, c) in rendered.char_indices() {
            let original = self.back.get(&c);
            let is_content = original.is_some() || content.get(at) == Some(&true);
            if is_content != of_content {
                prompt.push(piece(of_content, std::mem::take(&mut run)));
                of_content = is_content;
            }
            run.push(*original.unwrap_or(&c));
        }
        prompt.push(piece(of_content, run));
        prompt
    }
}

fn piece(of_content: bool, text: String) -> Piece {
    if of_content { Piece::Content(text) } else { Piece::Template(text) }
}

/// The strings in quotes within a template's tags, unescaped.
fn quoted(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if rest.starts_with('#') {
            rest = rest.split_once("#}").map_or("", |(_, after)| after);
        } else if let Some(tag) = rest.strip_prefix(['{', '%']) {
            rest = quoted_in_tag(tag, &mut found);
        }
    }
    found
}

/// Reads a tag to its end and gives what is behind it.
fn quoted_in_tag<'a>(tag: &'a str, found: &mut Vec<String>) -> &'a str {
    let mut chars = tag.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '}' => {
                // A brace within a tag is a dictionary's, and may be followed by another string.
                let rest = tag.get(at + 1..).unwrap_or_default();
                let closes = tag.get(..at).is_some_and(|t| t.ends_with(['%', '}']));
                if closes {
                    return rest;
                }
            }
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => return "",
                        Some((_, end)) if end == c => break,
                        Some((_, '\\')) => match chars.next() {
                            Some((_, 'n')) => word.push('\n'),
                            Some((_, 't')) => word.push('\t'),
                            Some((_, 'r')) => word.push('\r'),
                            Some((_, other)) => word.push(other),
                            None => return "",
                        },
                        Some((_, other)) => word.push(other),
                    }
                }
                found.push(word);
            }
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(source: &str, control: &[&str]) -> Words {
        Words::new(source, &control.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn strings_of_a_template() {
        let source =
            "{# 'no' #} 'no' {{ 'a' + \"b\\n'\" }} 'no' {%- if x == '}}' and {'k': 1} %}{{'c\\'d'";
        assert_eq!(quoted(source), ["a", "b\n'", "}}", "k", "c'd"]);
        assert_eq!(quoted("{{ 'open"), Vec::<String>::new());
        assert_eq!(quoted("{"), Vec::<String>::new());
    }

    #[test]
    fn a_template_sees_white_space_and_its_own_words() {
        let words = words("{{ '</think>' }}", &["<|end|>"]);
        let contents = [" a b\n", "x</think>y"];
        let veil = Veil::new(&words, contents.into_iter()).unwrap();
        let veiled: Vec<&str> = veil.contents().collect();
        assert!(veiled[0].starts_with(' ') && veiled[0].ends_with('\n'));
        assert!(veiled[1].contains("</think>"));
        assert!(!veiled.concat().contains(['a', 'b', 'x', 'y']));
        let back = veil.lift(&format!("<{}|{}>", veiled[0].trim(), veiled[1]));
        assert_eq!(back.text(), "<a b|x</think>y>");
        assert_eq!(back.pieces()[1], Piece::Content("a b".to_owned()));
        assert_eq!(back.pieces()[3], Piece::Content("x</think>y".to_owned()));
    }

    #[test]
    fn words_that_could_be_a_special_token_are_veiled() {
        let words = words("{{ '<|' + 'end' + '|>' + '<|end|>' + '>' }}", &["<|end|>", "[END]"]);
        for content in ["<|end|>", "a<|end|><|end|>", "|>x", "x<", "end", "<|", ">", "x <|end"] {
            let veil = Veil::new(&words, std::iter::once(content)).unwrap();
            let veiled: String = veil.contents().collect();
            // Whatever is beside it.
            for (before, after) in
                [("", ""), ("<", "|>"), ("<|", "|>"), ("<|end", ""), ("", "|end|>")]
            {
                let rendered = format!("{before}{veiled}{after}");
                assert!(!rendered.contains("<|end|>"), "{content} {before} {after}");
                assert_eq!(veil.lift(&rendered).text(), format!("{before}{content}{after}"));
            }
        }
    }

    /// Private characters of a content and of a template are nobody's veil.
    #[test]
    fn private_characters_are_kept_apart() {
        let words = words("\u{F0000}{{ '\u{F0001}' }}", &[]);
        let content = "\u{F0000}\u{F0001}\u{F0002}a\u{10FFFD}";
        let veil = Veil::new(&words, std::iter::once(content)).unwrap();
        let veiled: String = veil.contents().collect();
        let prompt = veil.lift(&format!("\u{F0001}\u{F0000}{veiled}"));
        assert_eq!(
            prompt.pieces(),
            [Piece::Template("\u{F0001}\u{F0000}".to_owned()), Piece::Content(content.to_owned())]
        );
    }

    proptest! {
        /// Whole, sliced and joined: the characters are the content's, and no special token's text
        /// is there that was not in the template's own.
        #[test]
        fn contents_come_back(
            content in "([<|>a-z ]|<\\|end\\|>|</think>|\\PC){0,30}",
            cut in 0usize..30,
        ) {
            let words = words("{{ '</think>' + '<|' + 'en' + 'd' + '|>' }}", &["<|end|>"]);
            let veil = Veil::new(&words, std::iter::once(content.as_str())).unwrap();
            let veiled: String = veil.contents().collect();
            prop_assert!(!veiled.contains("<|end|>"));
            let rendered = format!("<|end|>{veiled}<|end|>");
            let prompt = veil.lift(&rendered);
            prop_assert_eq!(prompt.text(), format!("<|end|>{content}<|end|>"));
            let template: Vec<&str> = prompt.pieces().iter().map(|piece| match piece {
                Piece::Template(text) => text.as_str(),
                Piece::Content(_) => "\u{0}",
            }).collect();
            prop_assert_eq!(template.concat().matches("<|end|>").count(), 2);
            let sliced: String = veiled.chars().skip(cut).collect();
            let expected: String = content.chars().skip(cut).collect();
            prop_assert_eq!(veil.lift(&sliced).text(), expected);
        }
    }
}
