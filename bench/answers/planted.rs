//! Sentences that are true of a passage, and the same with one false claim in each: a number, a name
//! or a word in the place of another of its kind, or a denial.
//!
//! What is of a kind is not looked up anywhere: two words are where both stand between the same two
//! words somewhere in the tales, as "king" and "fox" in "the _ said".

#![allow(dead_code, reason = "each user takes a part")]

use crate::tales::{self, Tale, contains, normal};
use std::collections::{HashMap, HashSet};
use vdb::text::sentences;

/// What is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Name,
    Word,
    Denial,
    /// Two names of a sentence change places.
    Exchange,
    /// The answer to another question alone.
    Answer,
    /// A sentence of another passage.
    Foreign,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Number,
        Self::Name,
        Self::Word,
        Self::Denial,
        Self::Exchange,
        Self::Answer,
        Self::Foreign,
    ];
}

/// How a true sentence is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// As it stands in the passage.
    Verbatim,
    /// Its first clause.
    Clause,
    /// The answer with the rest of a question that begins with "who".
    Composed,
    /// The answer alone.
    Answer,
}

impl Truth {
    pub const ALL: [Self; 4] = [Self::Verbatim, Self::Clause, Self::Composed, Self::Answer];
}

pub struct Claim<'a, K> {
    pub tale: &'a Tale,
    pub text: String,
    pub kind: K,
}

const NUMBERS: [&str; 14] = [
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty",
    "thirty", "forty", "hundred",
];
const AUXILIARIES: [&str; 13] = [
    "was", "were", "is", "are", "had", "has", "have", "could", "would", "did", "can", "will",
    "must",
];
const FUNCTION: &str = "a about after again all also am an and any are as at away back be because \
    been before being but by came can come could did do does down each even ever every few for from \
    get go got had has have he her here him his how i if in into is it its just know let like little \
    made make many may me might more most much must my never no nor not now of off on once one only \
    or other our out over own quite said same saw see shall she should so some still such than that \
    the their them then there these they this those though through till to too two under until up \
    upon us very was way we well went were what when where which while who whom whose why will with \
    without would yet you your";

pub struct Planter {
    /// Names of all tales.
    names: Vec<String>,
    /// The words that stand between two words.
    frames: HashMap<(String, String), Vec<String>>,
    function: HashSet<&'static str>,
    state: u64,
}

fn lower_words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let inside = c.is_alphanumeric();
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from, &text[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    words
}

impl Planter {
    pub fn new(own: &[Tale], seed: u64) -> Self {
        let mut names = HashSet::new();
        let mut frames: HashMap<(String, String), HashSet<String>> = HashMap::new();
        let function: HashSet<&str> = FUNCTION.split_ascii_whitespace().collect();
        let others = tales::read("train").unwrap_or_default();
        let mut seen = HashSet::new();
        for tale in others.iter().chain(own) {
            if !seen.insert(tale.context.as_str()) {
                continue;
            }
            for span in sentences(&tale.context) {
                let words = lower_words(&tale.context[span]);
                for three in words.windows(3) {
                    let [(_, a), (_, b), (_, c)] = three else { continue };
                    let small = b.chars().all(char::is_lowercase);
                    if small && b.len() > 2 && !function.contains(b) {
                        let frame = (a.to_lowercase(), c.to_lowercase());
                        frames.entry(frame).or_default().insert((*b).to_owned());
                    } else if !small && is_name(b) && a.chars().all(char::is_lowercase) {
                        names.insert((*b).to_owned());
                    }
                }
            }
        }
        let mut names: Vec<String> = names.into_iter().collect();
        names.sort();
        let sorted = |set: HashSet<String>| {
            let mut words: Vec<String> = set.into_iter().collect();
            words.sort();
            words
        };
        let frames = frames.into_iter().map(|(frame, set)| (frame, sorted(set))).collect();
        Self { names, frames, function, state: seed }
    }

    fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % n.max(1) as u64) as usize
    }

    /// `each` claims of every kind, on tales spread over all.
    pub fn claims<'a>(&mut self, tales: &'a [Tale], each: usize) -> Vec<Claim<'a, Kind>> {
        let mut claims = Vec::new();
        for kind in Kind::ALL {
            let mut made = 0;
            let mut texts = HashSet::new();
            for _ in 0..tales.len() * 4 {
                if made == each {
                    break;
                }
                let tale = &tales[self.below(tales.len())];
                let other = &tales[self.below(tales.len())];
                let planted = match kind {
                    Kind::Answer => Some(other.answer.clone()).filter(|a| is_foreign(a, tale)),
                    Kind::Foreign => self.sentence(other).filter(|_| other.passage != tale.passage),
                    _ => self.sentence(tale).and_then(|s| self.plant(kind, &s, tale)),
                };
                let Some(text) = planted else { continue };
                if texts.insert(text.clone()) {
                    claims.push(Claim { tale, text, kind });
                    made += 1;
                }
            }
        }
        claims
    }

    /// `each` true sentences of every kind.
    pub fn truths<'a>(&mut self, tales: &'a [Tale], each: usize) -> Vec<Claim<'a, Truth>> {
        let mut truths = Vec::new();
        for kind in Truth::ALL {
            let mut made = 0;
            let mut texts = HashSet::new();
            for _ in 0..tales.len() * 4 {
                if made == each {
                    break;
                }
                let tale = &tales[self.below(tales.len())];
                let there = contains(&tale.context, &normal(&tale.answer));
                let text = match kind {
                    Truth::Verbatim => self.sentence(tale),
                    Truth::Clause => self.sentence(tale).and_then(|s| self.clause(&s)),
                    Truth::Composed => composed(tale).filter(|_| there),
                    Truth::Answer => Some(tale.answer.clone()).filter(|_| there),
                };
                let Some(text) = text.filter(|text| texts.insert(text.clone())) else { continue };
                truths.push(Claim { tale, text, kind });
                made += 1;
            }
        }
        truths
    }

    /// A sentence of the passage that says something.
    fn sentence(&mut self, tale: &Tale) -> Option<String> {
        let spans = sentences(&tale.context);
        let span = spans.get(self.below(spans.len()))?.clone();
        let text = &tale.context[span];
        (6..=30).contains(&lower_words(text).len()).then(|| text.to_owned())
    }

    fn clause(&self, sentence: &str) -> Option<String> {
        let end = sentence.find([',', ';'])?;
        let words = lower_words(&sentence[..end]);
        let content =
            words.iter().filter(|(_, w)| !self.function.contains(w.to_lowercase().as_str()));
        (words.len() >= 4 && content.count() >= 2).then(|| format!("{}.", &sentence[..end]))
    }

    fn plant(&mut self, kind: Kind, sentence: &str, tale: &Tale) -> Option<String> {
        let words = lower_words(sentence);
        let lower: Vec<String> = words.iter().map(|(_, word)| word.to_lowercase()).collect();
        let context: HashSet<String> =
            lower_words(&tale.context).iter().map(|(_, w)| w.to_lowercase()).collect();
        let replaced = |at: usize, by: &str| {
            let (start, word) = words[at];
            format!("{}{by}{}", &sentence[..start], &sentence[start + word.len()..])
        };
        match kind {
            Kind::Number => {
                let at = lower.iter().position(|word| {
                    NUMBERS.contains(&word.as_str()) || word.chars().all(|c| c.is_ascii_digit())
                })?;
                let others: Vec<&str> =
                    NUMBERS.iter().copied().filter(|n| !context.contains(*n)).collect();
                let by = others.get(self.below(others.len()))?;
                Some(replaced(at, by))
            }
            Kind::Name => {
                let at = (1..words.len()).find(|at| {
                    is_name(words[*at].1) && words[at - 1].1.chars().all(char::is_lowercase)
                })?;
                // Half of them are names of the same passage.
                let same = self.below(2) == 0;
                let choice: Vec<&String> = self
                    .names
                    .iter()
                    .filter(|n| context.contains(&n.to_lowercase()) == same)
                    .filter(|n| !lower.contains(&n.to_lowercase()))
                    .collect();
                let by = choice.get(self.state as usize % choice.len().max(1))?.to_string();
                self.below(2);
                Some(replaced(at, &by))
            }
            Kind::Word => {
                let start = 1 + self.below(words.len().saturating_sub(2));
                let at = (start..words.len() - 1).find(|at| {
                    let word = words[*at].1;
                    word.chars().all(char::is_lowercase)
                        && word.len() > 3
                        && !self.function.contains(word)
                })?;
                let frame = (lower[at - 1].clone(), lower[at + 1].clone());
                let stem: String = lower[at].chars().take(4).collect();
                let choice: Vec<String> = self
                    .frames
                    .get(&frame)?
                    .iter()
                    .filter(|w| !context.contains(*w) && !w.starts_with(&stem) && w.len() > 3)
                    .cloned()
                    .collect();
                let by = choice.get(self.below(choice.len()))?;
                Some(replaced(at, by))
            }
            Kind::Exchange => {
                let names: Vec<usize> =
                    (0..words.len()).filter(|at| is_name(words[*at].1)).collect();
                // The first word may have its capital from its place.
                let sure = |at: &usize| {
                    *at > 0 || self.names.binary_search(&words[0].1.to_owned()).is_ok()
                };
                let names: Vec<usize> = names.into_iter().filter(sure).collect();
                let [.., a, b] = names[..] else { return None };
                if lower[a] == lower[b] || b == a + 1 || sentence.contains(" and ") {
                    return None;
                }
                let between = &lower[a + 1..b];
                if between.iter().any(|w| w == "or" || w == "by" || w == "nor") {
                    return None;
                }
                let ((i, first), (j, second)) = (words[a], words[b]);
                let middle = &sentence[i + first.len()..j];
                let rest = &sentence[j + second.len()..];
                Some(format!("{}{second}{middle}{first}{rest}", &sentence[..i]))
            }
            // Made without the sentence.
            Kind::Answer | Kind::Foreign => None,
            Kind::Denial => {
                let at = lower.iter().position(|word| AUXILIARIES.contains(&word.as_str()))?;
                if sentence.contains("not ") || sentence.contains("n't") || at == 0 {
                    return None;
                }
                let (start, word) = words[at];
                let end = start + word.len();
                Some(format!("{} not{}", &sentence[..end], &sentence[end..]))
            }
        }
    }
}

/// Whether a passage and its question have none of the answer's words that say something.
fn is_foreign(answer: &str, tale: &Tale) -> bool {
    let function: HashSet<&str> = FUNCTION.split_ascii_whitespace().collect();
    let there = normal(&format!("{} {}", tale.context, tale.question));
    let words = normal(answer);
    let mut said = words.iter().filter(|word| !function.contains(word.as_str())).peekable();
    let stem = |word: &str| word.chars().take(4).collect::<String>();
    let stems: HashSet<String> = there.iter().map(|word| stem(word)).collect();
    said.peek().is_some() && said.all(|word| !stems.contains(&stem(word)))
}

fn is_name(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next().is_some_and(char::is_uppercase)
        && word.len() > 2
        && letters.all(char::is_lowercase)
}

/// "Who had seven sons?" and "a farmer" become "a farmer had seven sons."
fn composed(tale: &Tale) -> Option<String> {
    let rest = tale.question.trim().strip_prefix("Who ")?;
    let rest = rest.trim_end_matches(['?', ' ']);
    let verb = rest.split(' ').next()?;
    if ["did", "does", "do", "else", "will", "would"].contains(&verb) {
        return None;
    }
    let answer = tale.answer.trim().trim_end_matches(['.', ' ']);
    Some(format!("{answer} {rest}."))
}
