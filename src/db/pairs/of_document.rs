//! The pairs of one document.

use super::{PairKind, PairOptions};
use crate::random::unit;
use crate::text::{Heading, sentences};
use std::ops::Range;

/// A query of fewer words than this says nothing: a title of one word, a heading "Introduction".
const QUERY_WORDS: usize = 2;

/// A passage of fewer sentences is no passage without one of them.
const SENTENCES: usize = 3;

/// Documents of up to so many passages are a group; of longer ones, each so many passages that follow
/// one another: near passages may answer each other's queries, far ones are told apart.
const SHORT: usize = 8;
const NEAR: usize = 4;

/// What is read of a document.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    pub(super) title: Option<String>,
    pub(super) text: String,
    pub(super) headings: Vec<Heading>,
    pub(super) chunks: Vec<Passage>,
}

/// A chunk of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Passage {
    #[cfg_attr(not(all(feature = "models", feature = "keyword")), expect(dead_code))]
    pub(super) number: u32,
    /// Bytes of the text.
    pub(super) span: Range<usize>,
    /// What stands in front of it where it is embedded.
    pub(super) context: String,
}

/// A passage that a query can be written for.
#[cfg(all(feature = "models", feature = "keyword"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SomePassage {
    /// Number of its chunk.
    pub(crate) number: u32,
    /// As it is embedded: behind its title and headings.
    pub(crate) text: String,
    pub(crate) group: String,
    pub(crate) is_dev: bool,
}

/// The passage `nth` of the document `id`; none where it is too short.
#[cfg(all(feature = "models", feature = "keyword"))]
pub(super) fn passage(
    id: &str,
    nth: usize,
    is_dev: bool,
    part: &Part,
    options: &PairOptions,
) -> Option<SomePassage> {
    let chunk = part.chunks.get(nth)?;
    let text = part.text.get(chunk.span.clone())?;
    if words(text) < options.min_words {
        return None;
    }
    let text = format!("{}{text}", chunk.context);
    let group = group(id, nth, part.chunks.len());
    Some(SomePassage { number: chunk.number, text, group, is_dev })
}

/// A pair, perhaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) kind: PairKind,
    pub(super) query: String,
    pub(super) positive: String,
    pub(super) group: String,
}

/// The pairs of the document `id`, and how many were left out since a text was too short.
pub(super) fn candidates(id: &str, part: &Part, options: &PairOptions) -> (Vec<Candidate>, usize) {
    let mut made = Made { id, part, options, candidates: Vec::new(), short: 0 };
    for kind in [PairKind::Title, PairKind::Heading, PairKind::Sentence, PairKind::Neighbour] {
        if !options.kinds.contains(&kind) {
            continue;
        }
        match kind {
            PairKind::Title => made.title(),
            PairKind::Heading => made.headings(),
            PairKind::Sentence => made.sentences(),
            PairKind::Neighbour => made.neighbours(),
            PairKind::Question => {}
        }
    }
    (made.candidates, made.short)
}

struct Made<'a> {
    id: &'a str,
    part: &'a Part,
    options: &'a PairOptions,
    candidates: Vec<Candidate>,
    short: usize,
}

impl<'a> Made<'a> {
    fn add(&mut self, kind: PairKind, chunk: usize, query: &str, positive: &str) {
        let (query, positive) = (query.trim(), positive.trim());
        let least = match kind {
            PairKind::Title | PairKind::Heading => QUERY_WORDS,
            _ => self.options.min_words,
        };
        if words(query) < least || words(positive) < self.options.min_words {
            self.short += 1;
            return;
        }
        let group = group(self.id, chunk, self.part.chunks.len());
        let (query, positive) = (query.to_owned(), positive.to_owned());
        self.candidates.push(Candidate { kind, query, positive, group });
    }

    fn span(&self, span: Range<usize>) -> &'a str {
        self.part.text.get(span).unwrap_or_default()
    }

    fn title_text(&self) -> Option<&'a str> {
        self.part.title.as_deref().map(str::trim).filter(|title| !title.is_empty())
    }

    fn title(&mut self) {
        let Some((title, first)) = self.title_text().zip(self.part.chunks.first()) else {
            return;
        };
        let start = self.after_title(&first.span);
        self.add(PairKind::Title, 0, title, self.span(start..first.span.end));
    }

    /// Where the text of the first passage begins behind the title, which many texts repeat.
    fn after_title(&self, first: &Range<usize>) -> usize {
        let text = self.span(first.clone());
        let Some(title) = self.title_text() else { return first.start };
        let body = text.trim_start().trim_start_matches(['#', ' ']);
        let repeats = body.get(..title.len()).is_some_and(|s| s.eq_ignore_ascii_case(title));
        if !repeats {
            return first.start;
        }
        let rest = body.get(title.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || "=-#.:".contains(c));
        first.end - rest.len()
    }

    fn headings(&mut self) {
        let end = self.part.text.len();
        let mut headings: Vec<&Heading> = self.part.headings.iter().collect();
        headings.sort_by_key(|heading| heading.span.start);
        for (nth, heading) in headings.iter().enumerate() {
            let own = heading.text.trim();
            // That is what the pair of the title says.
            if self.title_text().is_some_and(|title| title.eq_ignore_ascii_case(own)) {
                continue;
            }
            let holds = |passage: &Passage| passage.span.contains(&heading.span.start);
            let Some(chunk) = self.part.chunks.iter().position(holds) else { continue };
            let Some(Passage { span, .. }) = self.part.chunks.get(chunk) else { continue };
            let next = headings.get(nth + 1).map_or(end, |next| next.span.start);
            let query = match self.title_text() {
                Some(title) => format!("{title}: {own}"),
                None => own.to_owned(),
            };
            let below = self.span(heading.span.end..next.min(span.end));
            self.add(PairKind::Heading, chunk, &query, below);
        }
    }

    fn sentences(&mut self) {
        for (chunk, passage) in self.part.chunks.iter().enumerate() {
            let Passage { span, context, .. } = passage;
            let text = self.span(span.clone());
            let body = if chunk == 0 { self.after_title(span) - span.start } else { 0 };
            let all = sentences_of(text);
            if all.len() < SENTENCES {
                continue;
            }
            let is_heading = |sentence: &Range<usize>| {
                let (from, to) = (sentence.start + span.start, sentence.end + span.start);
                self.part.headings.iter().any(|h| h.span.start < to && from < h.span.end)
            };
            let fit: Vec<&Range<usize>> = all
                .iter()
                .filter(|s| s.start >= body && !is_heading(s))
                .filter(|s| {
                    words(text.get((*s).clone()).unwrap_or_default()) >= self.options.min_words
                })
                .collect();
            let chance = self.options.chance("sentence", &format!("{} {chunk}", self.id));
            let Some(place) = usize::try_from(chance % fit.len().max(1) as u64).ok() else {
                continue;
            };
            let Some(sentence) = fit.get(place) else { continue };
            let query = text.get((*sentence).clone()).unwrap_or_default();
            let keeps = self.options.chance("kept", &format!("{} {chunk}", self.id));
            let rest = if unit(keeps) < self.options.kept_sentences {
                text.to_owned()
            } else {
                let before = text.get(..sentence.start).unwrap_or_default();
                let after = text.get(sentence.end..).unwrap_or_default();
                format!("{before}{}", after.trim_start())
            };
            if words(&rest) < self.options.min_words {
                self.short += 1;
                continue;
            }
            self.add(PairKind::Sentence, chunk, query, &format!("{context}{rest}"));
        }
    }

    fn neighbours(&mut self) {
        let n = self.part.chunks.len();
        for (chunk, pair) in self.part.chunks.windows(2).enumerate() {
            let [Passage { span, .. }, Passage { span: next, .. }] = pair else { continue };
            // Only inside a group, which keeps either away from the other's other pairs.
            if group(self.id, chunk, n) == group(self.id, chunk + 1, n) {
                let (query, positive) = (self.span(span.clone()), self.span(next.clone()));
                self.add(PairKind::Neighbour, chunk, query, positive);
            }
        }
    }
}

/// The sentences of a passage. In a text without capitals no word tells that a sentence begins, so
/// every mark that can end one does.
fn sentences_of(text: &str) -> Vec<Range<usize>> {
    if text.contains(char::is_uppercase) {
        return sentences(text);
    }
    let mut spans = Vec::new();
    let mut start = 0;
    for (at, mark) in text.match_indices(['.', '?', '!']) {
        let end = at + mark.len();
        let rest = text.get(end..).unwrap_or_default();
        if rest.is_empty() || rest.starts_with(char::is_whitespace) {
            spans.push(start..end);
            start = end + rest.len() - rest.trim_start().len();
        }
    }
    if start < text.trim_end().len() {
        spans.push(start..text.trim_end().len());
    }
    spans
}

fn group(id: &str, chunk: usize, chunks: usize) -> String {
    if chunks <= SHORT { id.to_owned() } else { format!("{id} {}", chunk / NEAR) }
}

fn words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count()
}
