//! Whether two texts deny the same things.

use crate::rag::words::{Kind, Word};

/// Words that count behind a negation and that it may deny.
const SCOPE: usize = 3;

/// Negations that stand behind what they deny as well: "he saw nothing".
const OBJECTS: [&str; 5] = ["noth", "nobodi", "none", "nowher", "nothing"];

/// A text's words, and where clauses end in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clauses<'a> {
    text: &'a str,
    words: &'a [Word],
}

impl<'a> Clauses<'a> {
    pub(super) fn new(text: &'a str, words: &'a [Word]) -> Self {
        Self { text, words }
    }

    /// Whether a clause ends between a word and the one after it.
    fn ends_after(&self, at: usize) -> bool {
        let (Some(word), Some(next)) = (self.words.get(at), self.words.get(at + 1)) else {
            return true;
        };
        let gap = self.text.get(word.span.end..next.span.start).unwrap_or_default();
        gap.contains([',', ';', ':', '.', '!', '?', '"', '“', '”', '(', ')', '—'])
            || matches!(next.stem.as_str(), "but" | "becaus" | "because")
    }

    /// The words that the negation at `at` may deny, nearest first.
    fn denied(&self, at: usize) -> impl Iterator<Item = &'a Word> {
        let mut last = at;
        while last + 1 < self.words.len() && !self.ends_after(last) {
            last += 1;
        }
        let ahead = self.words.get(at + 1..=last).unwrap_or_default().iter();
        let object = self.words.get(at).is_some_and(|w| OBJECTS.contains(&w.stem.as_str()));
        let mut first = at;
        while first > 0 && !self.ends_after(first - 1) {
            first -= 1;
        }
        let behind = self.words.get(first..at).unwrap_or_default().iter().rev();
        let behind = behind.filter(|w| w.counts()).take(usize::from(object));
        ahead.filter(|word| word.counts()).take(SCOPE).chain(behind)
    }

    fn negations(&self) -> impl Iterator<Item = usize> {
        let negation = |(at, word): (usize, &Word)| (word.kind == Kind::Negation).then_some(at);
        self.words.iter().enumerate().filter_map(negation)
    }

    /// Whether a word with this stem is denied somewhere, and whether one is not.
    fn stands(&self, stem: &str) -> (bool, bool) {
        let denied: Vec<usize> =
            self.negations().flat_map(|at| self.denied(at)).map(|word| word.span.start).collect();
        let mut stands = (false, false);
        for word in self.words.iter().filter(|word| word.counts() && word.stem == stem) {
            if denied.contains(&word.span.start) { stands.0 = true } else { stands.1 = true }
        }
        stands
    }
}

/// Whether `claim` denies what `source` says, or says what it denies.
pub(super) fn opposed(claim: Clauses<'_>, source: Clauses<'_>) -> bool {
    let any = source.negations().next().is_some();
    for at in claim.negations() {
        let Some(word) = claim.denied(at).next() else {
            // "No." and the like.
            continue;
        };
        match source.stands(&word.stem) {
            (false, true) => return true,
            (false, false) if !any => return true,
            _ => {}
        }
    }
    source.negations().any(|at| {
        source.denied(at).next().is_some_and(|word| {
            let twofold = source.stands(&word.stem).1;
            claim.stands(&word.stem) == (false, true) && !twofold
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rag::words::Vocabulary;

    fn are_opposed(claim: &str, source: &str) -> bool {
        let vocabulary = Vocabulary::new("english").unwrap();
        let (a, b) = (vocabulary.words(claim), vocabulary.words(source));
        opposed(Clauses::new(claim, &a), Clauses::new(source, &b))
    }

    #[test]
    fn what_one_denies_the_other_must_not_say() {
        let source = "The king, who never slept, gave his horse to the fox.";
        assert!(!are_opposed("The king gave his horse away.", source));
        assert!(!are_opposed("The king did not sleep.", source));
        assert!(are_opposed("The king did not give his horse to the fox.", source));
        assert!(are_opposed("The king slept.", source));
        assert!(are_opposed("The king didn't ride.", "The king rode."));
        assert!(!are_opposed("He saw nothing.", "But the fox could not see the light."));
        assert!(are_opposed("He saw nothing.", "The fox saw the light."));
    }
}
