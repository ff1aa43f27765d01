//! Passages: what was found, with neighbours joined and repetitions left out, numbered for prompt,
//! evidence and citations alike.

use crate::db::Hit;
use crate::hash::checksum;
use crate::text::{LineIndex, Origin};
use std::collections::HashSet;
use std::ops::Range;

/// White space between two chunks of a document that are joined; more of it is a gap.
const MOST_GAP: usize = 256;

/// Part of a passage's words that an earlier one has, from which it says nothing new.
const SAME: f64 = 0.95;

/// Triples of words from which a text that stands within another document's is no chance: eight words.
/// A shorter one repeats only an equal one.
const LEAST_WITHIN: usize = 6;

/// A stretch of a document that an answer is drawn from.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Passage {
    /// From 1, in the order of relevance; what citations name.
    pub number: usize,
    /// The document's id.
    pub document: String,
    /// The document's title.
    pub title: Option<String>,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// Headings that it stands under, outermost first.
    pub heading: Vec<String>,
    /// The text of these bytes. Where two chunks were joined, white space between them may be
    /// another than the document's, of the same length.
    pub text: String,
    /// Where the document came from.
    pub origin: Origin,
    /// Of the best hit in it: how well its words and its own score stand out among the hits of the
    /// question; higher is better. Says nothing across questions.
    pub score: f32,
    /// Places in `text` at which a hit begins, and the lines of the document at which they stand.
    starts: Vec<(usize, u64)>,
}

impl Passage {
    /// The whole text of a document, for questions about a text in hand.
    pub fn new(document: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            number: 1,
            document: document.into(),
            title: None,
            span: 0..text.len(),
            heading: Vec::new(),
            text,
            origin: Origin::default(),
            score: 0.0,
            starts: vec![(0, 1)],
        }
    }

    /// The line of the document, from 1, of a byte of `text`.
    fn line(&self, at: usize) -> u64 {
        let at = self.text.floor_char_boundary(at);
        let first = self.starts.iter().rev().find(|(start, _)| *start <= at);
        let (start, line) = first.copied().unwrap_or((0, 1));
        let before = self.text.get(start..at).unwrap_or_default();
        line + LineIndex::new(before).line(before.len()) - 1
    }

    /// The lines, from 1 and both ends included, of a part of `text`: of the file that the document
    /// came from, where the stored text is the file's own; of its record in a file of records; of
    /// the document's text where there is no file.
    #[must_use]
    pub fn lines(&self, within: &Range<usize>) -> (u64, u64) {
        let (first, last) = (self.line(within.start), self.line(within.end.max(1) - 1));
        match self.origin.line {
            Some(line) if self.origin.verbatim => (line + first - 1, line + last - 1),
            Some(line) => (line, line),
            None => (first, last),
        }
    }

    /// The path of its file, or else the id of its document.
    #[must_use]
    pub fn place(&self) -> &str {
        self.origin.path.as_deref().unwrap_or(&self.document)
    }
}

/// A passage that an answer was not drawn from, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The document's id.
    pub document: String,
    /// Bytes of the document's text.
    pub span: Range<usize>,
    /// Why.
    pub reason: DropReason,
}

/// Why a passage was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropReason {
    /// Another passage says the same.
    Duplicate,
    /// It was the least relevant, and there was no room.
    Budget,
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "another passage says the same",
            Self::Budget => "no room for it",
        })
    }
}

impl Dropped {
    pub(super) fn new(passage: &Passage, reason: DropReason) -> Self {
        Self { document: passage.document.clone(), span: passage.span.clone(), reason }
    }
}

/// Hits, best first, as passages: those that follow each other in a document become one, which
/// stands where the best of them stood.
pub(super) fn from_hits(hits: Vec<Hit>) -> (Vec<Passage>, Vec<Dropped>) {
    let mut groups: Vec<Vec<Hit>> = Vec::new();
    for hit in hits {
        // It may lie between two groups and close the gap.
        let (touching, apart): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|group| group.iter().any(|other| follow(other, &hit)));
        groups = apart;
        let place = touching.first().map(|group| best(group));
        let mut joined: Vec<Hit> = touching.into_iter().flatten().collect();
        joined.push(hit);
        let at = place.map_or(groups.len(), |score| {
            groups.iter().position(|group| best(group) < score).unwrap_or(groups.len())
        });
        groups.insert(at, joined);
    }
    let passages = groups.into_iter().filter_map(join).collect();
    without_repetitions(passages)
}

fn best(group: &[Hit]) -> f32 {
    group.iter().map(|hit| hit.score).fold(f32::NEG_INFINITY, f32::max)
}

/// Whether two hits are neighbours in one document.
fn follow(a: &Hit, b: &Hit) -> bool {
    if a.document != b.document {
        return false;
    }
    let (first, second) = if a.span.start <= b.span.start { (a, b) } else { (b, a) };
    // Chunks of a document have numbers in a row, and nothing but white space lies between two.
    let next = second.chunk == first.chunk.saturating_add(1);
    second.span.start <= first.span.end || (next && second.span.start - first.span.end <= MOST_GAP)
}

/// One passage of hits that follow each other.
fn join(mut hits: Vec<Hit>) -> Option<Passage> {
    let score = best(&hits);
    hits.sort_by_key(|hit| (hit.span.start, hit.span.end));
    let mut rest = hits.into_iter();
    let first = rest.next()?;
    let mut passage = Passage {
        number: 0,
        document: first.document,
        title: first.title,
        span: first.span,
        heading: first.heading,
        text: first.text,
        origin: first.origin,
        score,
        starts: vec![(0, first.lines.0)],
    };
    for hit in rest {
        if hit.span.start > passage.span.end {
            let gap = hit.span.start - passage.span.end;
            passage.text.push_str(if gap > 1 { "\n\n" } else { "\n" });
            passage.text.extend(std::iter::repeat_n(' ', gap.saturating_sub(2)));
            passage.starts.push((passage.text.len(), hit.lines.0));
            passage.text.push_str(&hit.text);
        } else if let Some(new) = hit.text.get(passage.span.end - hit.span.start..) {
            passage.text.push_str(new);
        } else {
            continue;
        }
        passage.span.end = hit.span.end;
        let common = passage.heading.iter().zip(&hit.heading).take_while(|(a, b)| a == b).count();
        passage.heading.truncate(common);
    }
    Some(passage)
}

/// Leaves out what an earlier passage says, and numbers the rest.
pub(super) fn without_repetitions(passages: Vec<Passage>) -> (Vec<Passage>, Vec<Dropped>) {
    let mut kept: Vec<Passage> = Vec::new();
    let mut known: Vec<HashSet<[u64; 3]>> = Vec::new();
    let mut dropped = Vec::new();
    for mut passage in passages {
        let own = triples(&passage.text);
        let repeats = |(earlier, triples): (&Passage, &HashSet<[u64; 3]>)| {
            let common = own.iter().filter(|triple| triples.contains(*triple)).count();
            let tells = own.len() >= LEAST_WITHIN
                || own.len() == triples.len()
                || earlier.document == passage.document;
            tells && common as f64 >= SAME * own.len() as f64
        };
        if !own.is_empty() && kept.iter().zip(&known).any(repeats) {
            dropped.push(Dropped::new(&passage, DropReason::Duplicate));
            continue;
        }
        passage.number = kept.len() + 1;
        kept.push(passage);
        known.push(own);
    }
    (kept, dropped)
}

/// Every three words that follow each other, as hashes; a short text is filled up.
fn triples(text: &str) -> HashSet<[u64; 3]> {
    let words: Vec<u64> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| checksum([word.to_lowercase().as_bytes()]))
        .collect();
    match words.as_slice() {
        [] => HashSet::new(),
        [one] => HashSet::from([[*one, 0, 0]]),
        [one, two] => HashSet::from([[*one, *two, 0]]),
        more => more.windows(3).filter_map(|w| <[u64; 3]>::try_from(w).ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Explanation;
    use crate::text::Metadata;

    const TEXT: &str = "The first line.\nThe second line.\n\n\nThe third part.\nThe end of it.";

    fn hit(document: &str, chunk: u32, span: Range<usize>, score: f32) -> Hit {
        Hit {
            document: document.to_owned(),
            title: None,
            chunk,
            lines: (LineIndex::new(TEXT).line(span.start), LineIndex::new(TEXT).line(span.end - 1)),
            text: TEXT[span.clone()].to_owned(),
            span,
            heading: vec!["Part".to_owned(), format!("of {chunk}")],
            origin: Origin::default(),
            metadata: Metadata::new(),
            score,
            explanation: Explanation::default(),
        }
    }

    #[test]
    fn neighbours_become_one_passage() {
        let third = TEXT.find("The third").unwrap();
        let end = TEXT.find("The end").unwrap();
        let (passages, dropped) = from_hits(vec![
            hit("a", 2, third..end - 1, 0.9),
            hit("b", 9, 0..15, 0.8),
            hit("a", 1, 0..32, 0.7),
            hit("a", 3, end..TEXT.len(), 0.1),
        ]);
        assert_eq!(dropped, []);
        let [a, b] = passages.as_slice() else { panic!("{passages:?}") };
        assert_eq!((a.number, a.document.as_str(), a.span.clone()), (1, "a", 0..TEXT.len()));
        assert_eq!((b.number, b.document.as_str(), b.score), (2, "b", 0.8));
        assert_eq!(a.heading, ["Part"]);
        assert_eq!(a.text.len(), TEXT.len());
        // Places are those of the document, and so are lines.
        for words in ["The second line.", "The third part.", "The end of it."] {
            let at = a.text.find(words).unwrap();
            assert_eq!(Some(at), TEXT.find(words));
            let line = LineIndex::new(TEXT).line(at);
            assert_eq!(a.lines(&(at..at + words.len())), (line, line), "{words}");
        }
    }

    #[test]
    fn chunks_that_overlap_are_joined_without_repeating() {
        let (passages, _) = from_hits(vec![hit("a", 1, 0..32, 0.2), hit("a", 2, 16..52, 0.3)]);
        let [only] = passages.as_slice() else { panic!("{passages:?}") };
        assert_eq!((only.text.as_str(), only.score), (&TEXT[..52], 0.3));
    }

    #[test]
    fn chunks_apart_stay_apart() {
        let (passages, _) = from_hits(vec![hit("a", 1, 0..15, 0.2), hit("a", 3, 36..51, 0.3)]);
        assert_eq!(passages.len(), 2);
    }

    #[test]
    fn what_is_said_twice_is_told_once() {
        let passage = |id: &str, text: &str| Passage::new(id, text);
        let (kept, dropped) = without_repetitions(vec![
            passage("a", "The fox ran over the hill and sat down."),
            passage("b", "the fox ran over the hill, and SAT down!"),
            passage("c", "Fox ran over the hill and sat down."),
            passage("d", "The fox ran under the hill and sat down."),
            passage("e", "The fox ran over the hill."),
            passage("f", "the fox ran over the hill"),
            passage("a", "over the hill"),
        ]);
        let numbered: Vec<(usize, &str)> =
            kept.iter().map(|p| (p.number, p.document.as_str())).collect();
        assert_eq!(numbered, [(1, "a"), (2, "d"), (3, "e")]);
        let left: Vec<(&str, DropReason)> =
            dropped.iter().map(|d| (d.document.as_str(), d.reason)).collect();
        assert_eq!(left, ["b", "c", "f", "a"].map(|id| (id, DropReason::Duplicate)));
    }

    #[test]
    fn lines_are_those_of_the_file_where_it_is_known() {
        let mut passage = Passage::new("a", TEXT);
        let at = TEXT.find("The third").unwrap();
        assert_eq!(passage.lines(&(at..TEXT.len())), (5, 6));
        passage.origin = Origin { path: Some("a.txt".to_owned()), line: Some(1), verbatim: true };
        assert_eq!(passage.lines(&(at..at + 3)), (5, 5));
        passage.origin =
            Origin { path: Some("a.jsonl".to_owned()), line: Some(7), verbatim: false };
        assert_eq!(passage.lines(&(at..TEXT.len())), (7, 7));
    }
}
