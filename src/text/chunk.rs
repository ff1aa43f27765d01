//! Cutting a document into chunks that an encoder can read whole.
//!
//! Cuts follow, in this order of preference, headings, paragraphs, sentences (UAX #29), lines, words
//! and characters. Sizes are counted in the encoder's own tokens and balanced: a text of 300 tokens
//! with room for 256 becomes two of about 150. What stands above a chunk (title, heading path) is
//! embedded with it, and counted.

use super::breaks::{Breaks, Level};
use super::document::{Document, Heading};
use super::tokenizer::TokenSpans;
use crate::error::Result;
use std::ops::Range;

/// How documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// Tokens of a chunk as it is embedded: special tokens, prefix, title and headings included.
    pub max_tokens: usize,
    /// Tokens that a chunk repeats of the one before it under the same heading. Default: 0.
    pub overlap_tokens: usize,
    /// A section of fewer tokens is joined with the next one below or beside it. Default: 32.
    pub min_tokens: usize,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { max_tokens: 256, overlap_tokens: 0, min_tokens: 32 }
    }
}

/// A part of a document's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Bytes of the document's text; no white space at either end.
    pub span: Range<usize>,
    /// Headings that it stands under, outermost first.
    pub heading: Vec<String>,
    /// What is put in front of the text when it is embedded: title and headings, or nothing. Ends
    /// with a line break.
    pub context: String,
    /// Tokens of context and text together, special tokens and prefix left out.
    pub tokens: usize,
}

/// One token of a text can stand for any number of bytes (an unknown word); a chunk must not.
const MAX_BYTES_PER_TOKEN: usize = 32;

/// Cuts `document` into chunks of at most `options.max_tokens` tokens as `tokens` counts them,
/// `overhead` of them spent on special tokens and prefix.
///
/// Together the chunks cover all of the text but white space; they overlap by what was asked for and
/// no more. A text without anything but white space gives none.
///
/// # Errors
/// Where the tokenizer fails.
pub fn chunk(
    document: &Document,
    tokens: &dyn TokenSpans,
    overhead: usize,
    options: &ChunkOptions,
) -> Result<Vec<Chunk>> {
    let text = &document.text;
    let room = options.max_tokens.saturating_sub(overhead).max(2);
    let cutter = Cutter {
        text,
        spans: tokens.token_spans(text)?,
        tokens,
        room,
        overlap: options.overlap_tokens.min(room / 2),
        breaks: Breaks::new(text, document.source_code),
    };
    let title = document.title.as_deref().filter(|title| !title.trim().is_empty());
    let repeated = title.is_some_and(|title| stands_at_start(text, title));
    let mut chunks = Vec::new();
    for section in sections(document, &cutter, options.min_tokens) {
        // The first chunk of a text that begins with its title has it already.
        let first_title = title.filter(|_| !(repeated && chunks.is_empty()));
        cutter.cut(&section, first_title, title, &mut chunks)?;
    }
    Ok(chunks)
}

/// Collections exist whose texts begin with their titles; twice would be noise.
fn stands_at_start(text: &str, title: &str) -> bool {
    let title = title.trim();
    let start = text.trim_start();
    start.get(..title.len()).is_some_and(|s| s.eq_ignore_ascii_case(title))
        || start.trim_start_matches(['#', ' ']).starts_with(title)
}

/// What stands under one heading, or several small ones joined.
struct Section {
    span: Range<usize>,
    /// Headings above it.
    parents: Vec<String>,
    /// Its own heading, which stands at its start.
    own: Option<String>,
    level: u8,
}

fn sections(document: &Document, cutter: &Cutter<'_>, min_tokens: usize) -> Vec<Section> {
    let end = document.text.len();
    let mut sections: Vec<Section> = Vec::new();
    let mut path: Vec<&Heading> = Vec::new();
    let mut starts: Vec<Option<&Heading>> = vec![None];
    let mut headings: Vec<&Heading> = document.headings.iter().collect();
    // A caller's own may be in any order and anywhere; none may cost the text that follows it.
    headings.retain(|h| h.span.start < end && document.text.is_char_boundary(h.span.start));
    headings.sort_by_key(|h| h.span.start);
    starts.extend(headings.into_iter().map(Some));
    for (i, heading) in starts.iter().enumerate() {
        let start = heading.map_or(0, |h| h.span.start);
        let stop = starts.get(i + 1).and_then(|h| *h).map_or(end, |h| h.span.start);
        if start >= stop {
            continue;
        }
        let level = heading.map_or(0, |h| h.level);
        path.retain(|above| above.level < level);
        let section = Section {
            span: start..stop,
            parents: path.iter().map(|h| h.text.clone()).collect(),
            own: heading.map(|h| h.text.clone()),
            level,
        };
        path.extend(heading);
        match sections.last_mut() {
            Some(before)
                if cutter.count(&before.span) < min_tokens
                    && before.level <= level
                    && cutter.count(&(before.span.start..stop)) <= cutter.room / 2 =>
            {
                before.span.end = stop;
            }
            // A heading with nothing under it belongs to what follows, whatever that is.
            Some(before)
                if before.own.is_some()
                    && before.level < level
                    && cutter.count(&before.span) < min_tokens =>
            {
                before.span.end = stop;
            }
            _ => sections.push(section),
        }
    }
    sections
}

struct Cutter<'a> {
    text: &'a str,
    /// The text's tokens.
    spans: Vec<Range<usize>>,
    tokens: &'a dyn TokenSpans,
    /// Tokens for context and text.
    room: usize,
    overlap: usize,
    breaks: Breaks,
}

impl Cutter<'_> {
    /// The first token that begins at `at` or later.
    fn token_at(&self, at: usize) -> usize {
        self.spans.partition_point(|span| span.start < at)
    }

    fn count(&self, span: &Range<usize>) -> usize {
        self.token_at(span.end) - self.token_at(span.start)
    }

    fn measure(&self, text: &str) -> Result<usize> {
        Ok(self.tokens.token_spans(text)?.len())
    }

    fn cut(
        &self,
        section: &Section,
        first_title: Option<&str>,
        title: Option<&str>,
        out: &mut Vec<Chunk>,
    ) -> Result<()> {
        let first_context = self.context(first_title, &section.parents, None)?;
        let later_context = self.context(title, &section.parents, section.own.as_ref())?;
        let mut heading = section.parents.clone();
        heading.extend(section.own.clone());
        let mut start = section.span.start;
        let mut before = None;
        while let Some(from) = self.next_word(start, section.span.end) {
            let context = if before.is_none() { &first_context } else { &later_context };
            let (chunk_start, end, tokens) =
                self.next_cut(from, section.span.end, context, before)?;
            before = Some(chunk_start);
            let body = &self.text[chunk_start..end];
            let span = chunk_start..chunk_start + body.trim_end().len();
            out.push(Chunk {
                span,
                heading: heading.clone(),
                context: context.text.clone(),
                tokens,
            });
            start = end;
        }
        Ok(())
    }

    /// The first byte from `start` on that is no white space.
    fn next_word(&self, start: usize, end: usize) -> Option<usize> {
        let rest = self.text.get(start..end)?;
        rest.find(|c: char| !c.is_whitespace()).map(|at| start + at)
    }

    /// Where the chunk that begins at `from` begins with its overlap, where it ends, and how many
    /// tokens it has. `before` is where the chunk before it begins, if it repeats some of that.
    fn next_cut(
        &self,
        from: usize,
        limit: usize,
        context: &Context,
        before: Option<usize>,
    ) -> Result<(usize, usize, usize)> {
        let mut room = self.room.saturating_sub(context.tokens).max(1);
        loop {
            // It may be shorter than the overlap.
            let start = before.map_or(from, |before| self.overlap_start(from, room).max(before));
            let end = self.end_of(start, from, limit, room);
            let counted = self.count(&(start..end));
            // Tokens do not quite add up across a cut. Well below the limit that cannot matter.
            if counted + context.tokens <= self.room / 2 {
                return Ok((start, end, counted + context.tokens));
            }
            let embedded = format!("{}{}", context.text, self.text[start..end].trim_end());
            let tokens = self.measure(&embedded)?;
            if tokens <= self.room || room <= 1 {
                return Ok((start, end, tokens));
            }
            room = room.min(counted.max(2)).saturating_sub((tokens - self.room).max(1)).max(1);
        }
    }

    /// The start moved back by the overlap, to the beginning of a word.
    fn overlap_start(&self, from: usize, room: usize) -> usize {
        let overlap = self.overlap.min(room / 2);
        if overlap == 0 {
            return from;
        }
        let token = self.token_at(from).saturating_sub(overlap);
        let Some(span) = self.spans.get(token).filter(|span| span.start < from) else {
            return from;
        };
        let at = self.text.floor_char_boundary(span.start);
        // Not in the middle of a word, unless the overlap is all one word.
        let mut words = self.text[at..from].match_indices(char::is_whitespace);
        let begins_word = self.text[..at].chars().next_back().is_none_or(char::is_whitespace);
        let start =
            if begins_word { at } else { words.next().map_or(at, |(i, gap)| at + i + gap.len()) };
        self.next_word(start, from).unwrap_or(from)
    }

    /// The best cut for a chunk from `start` with room for `room` tokens, after `from`.
    fn end_of(&self, start: usize, from: usize, limit: usize, room: usize) -> usize {
        let first = self.token_at(start);
        let rest = self.token_at(limit) - first;
        let most_bytes = self.text.floor_char_boundary(
            limit.min(start.saturating_add(room.saturating_mul(MAX_BYTES_PER_TOKEN))),
        );
        if rest <= room && most_bytes >= limit {
            return limit;
        }
        // Equal parts: as many tokens as each of the fewest possible chunks would have.
        let pieces = rest.div_ceil(room).max(1);
        let ideal = rest.div_ceil(pieces).min(room);
        let begin = |token: usize| self.spans.get(token).map_or(limit, |span| span.start);
        let last = begin(first + room).min(most_bytes).max(self.after_one_char(from));
        let wanted = begin(first + ideal).min(last);
        let earliest = begin(first + ideal / 2).max(self.after_one_char(from)).min(last);
        for level in [Level::Paragraph, Level::Sentence, Level::Line] {
            if let Some(at) = self.breaks.nearest(level, earliest, last, wanted) {
                return at;
            }
        }
        // A word, from where the chunk should end backwards and then forwards; else a character.
        let space = |range: Range<usize>, back: bool| {
            let text = self.text.get(range.clone())?;
            let found =
                if back { text.rfind(char::is_whitespace) } else { text.find(char::is_whitespace) };
            found.map(|at| range.start + at).filter(|at| *at > from)
        };
        let wanted = self.text.floor_char_boundary(wanted);
        let earliest = self.text.ceil_char_boundary(earliest);
        let last = self.text.floor_char_boundary(last).max(self.after_one_char(from));
        space(earliest..wanted, true)
            .or_else(|| space(wanted..last, false))
            .unwrap_or(if wanted > from { wanted } else { last })
    }

    /// The end of the character at `at`: every chunk holds at least one.
    fn after_one_char(&self, at: usize) -> usize {
        at + self.text[at..].chars().next().map_or(0, char::len_utf8)
    }

    /// Title and headings as one or two lines, cut to half of the room.
    fn context(
        &self,
        title: Option<&str>,
        parents: &[String],
        own: Option<&String>,
    ) -> Result<Context> {
        let mut path: Vec<&str> = parents.iter().chain(own).map(|heading| heading.trim()).collect();
        path.retain(|heading| !heading.is_empty() && Some(*heading) != title.map(str::trim));
        let mut text = String::new();
        for line in [title.unwrap_or_default().trim(), &path.join(" > ")] {
            if !line.is_empty() {
                text.push_str(line);
                text.push('\n');
            }
        }
        let most = self.room / 2;
        let mut tokens = 0;
        while !text.is_empty() {
            let spans = self.tokens.token_spans(&text)?;
            tokens = spans.len();
            if tokens <= most && text.len() <= most * MAX_BYTES_PER_TOKEN {
                break;
            }
            // At least one character goes each time, beside the line break at the end.
            let by_tokens = spans.get(most).map_or(text.len(), |span| span.start);
            let cut = by_tokens.min(most * MAX_BYTES_PER_TOKEN).min(text.len().saturating_sub(2));
            text.truncate(text.floor_char_boundary(cut));
            text.truncate(text.trim_end().len());
            if !text.is_empty() {
                text.push('\n');
            }
        }
        Ok(Context { tokens: if text.is_empty() { 0 } else { tokens }, text })
    }
}

#[derive(Clone)]
struct Context {
    text: String,
    tokens: usize,
}

#[cfg(any(test, fuzzing))]
pub(super) mod properties;
#[cfg(test)]
mod tests;
