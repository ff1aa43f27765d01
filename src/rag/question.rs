//! What a question asks for, by its first words: a name, a place, a reason. English only; in other
//! languages every question is [`Asks::Thing`].

use super::words::Word;

/// What would answer a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// "Who": a name.
    Person,
    /// "Where".
    Place,
    /// "Why".
    Reason,
    /// "How did … feel".
    Feeling,
    /// "How many", "how old".
    Number,
    /// "What did … say": words that somebody speaks.
    Speech,
    /// "What did … do".
    Deed,
    /// "What happened".
    Event,
    /// Anything else.
    Thing,
}

const WHO: [&str; 3] = ["who", "whom", "whose"];
const OTHERS: [&str; 6] = ["what", "where", "why", "when", "how", "which"];
const AMOUNTS: [&str; 6] = ["many", "much", "long", "old", "far", "often"];
const SPEAKING: [&str; 11] =
    ["say", "said", "tell", "told", "ask", "asked", "answer", "reply", "cry", "call", "called"];
/// What a clause begins with that tells the time or the reason of what is asked for.
const TURNS: [&str; 8] = ["after", "when", "because", "before", "while", "if", "until", "once"];

impl Asks {
    pub(super) fn of(question: &str) -> Self {
        let lower = question.to_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let mut rest = words.iter().copied();
        let Some(first) = rest.find(|word| is_question_word(word)) else { return Self::Thing };
        let rest: Vec<&str> = rest.collect();
        let has = |list: &[&str]| rest.iter().any(|word| list.contains(word));
        let next = rest.first().copied().unwrap_or_default();
        match first {
            "where" => Self::Place,
            "why" => Self::Reason,
            "how" if has(&["feel", "felt"]) => Self::Feeling,
            "how" if AMOUNTS.contains(&next) => Self::Number,
            "what" if matches!(next, "happened" | "happens") => Self::Event,
            "what" if rest.starts_with(&["will", "happen"]) => Self::Event,
            "what" if words.iter().any(|word| SPEAKING.contains(word)) => Self::Speech,
            "what" if rest.iter().skip(2).any(|word| *word == "do") => Self::Deed,
            _ if WHO.contains(&first) => Self::Person,
            _ => Self::Thing,
        }
    }

    /// Whether the sentence after the one that the question repeats is likely to answer it.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, Self::Deed | Self::Event)
    }
}

pub(super) fn is_question_word(lower: &str) -> bool {
    WHO.contains(&lower) || OTHERS.contains(&lower)
}

/// The byte at which the clause begins that tells the time or the reason of what is asked for:
/// "What did he do | after the sun went down?" Its end where there is none.
pub(super) fn turn(question: &str, words: &[Word]) -> usize {
    let is_turn = |word: &&Word| {
        let surface = question.get(word.span.clone()).unwrap_or_default().to_lowercase();
        TURNS.contains(&surface.as_str())
    };
    words.iter().skip(1).find(is_turn).map_or(question.len(), |word| word.span.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rag::words::Vocabulary;

    #[test]
    fn questions_are_told_apart() {
        for (question, expected) in [
            ("Who had seven sons?", Asks::Person),
            ("Where did they live?", Asks::Place),
            ("In the end, why did he leave?", Asks::Reason),
            ("How did the king feel about it?", Asks::Feeling),
            ("How many sons had he?", Asks::Number),
            ("How did he escape?", Asks::Thing),
            ("What did the fox say?", Asks::Speech),
            ("What did the fox do when it rained?", Asks::Deed),
            ("What happened after that?", Asks::Event),
            ("Tell me", Asks::Thing),
        ] {
            assert_eq!(Asks::of(question), expected, "{question}");
        }
    }

    #[test]
    fn a_clause_of_time_is_found() {
        let english = Vocabulary::new("english").unwrap();
        let turn = |question: &str| turn(question, &english.words(question));
        assert_eq!(turn("What did he do after that?"), 15);
        assert_eq!(turn("When did he come?"), 17);
    }
}
