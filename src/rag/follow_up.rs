//! Follow-up questions, made to stand alone: what is searched for must be in the question.

use super::words::{Kind, Vocabulary, Word, stems};
use crate::error::Result;
use crate::generate::{GenerateOptions, Generator, Message, Role};
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

const INSTRUCTION: &str = "Rewrite the last question so that it can be understood without the \
                           conversation: put the names in the place of words like he, she, it and \
                           they. Write only the question.";

/// A question has not more.
const MOST_TOKENS: usize = 64;

/// Words that point to what was said before, and beginnings that go on from it.
const POINTERS: [&str; 24] = [
    "he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs",
    "this", "that", "these", "those", "there", "then", "one", "ones", "such", "same", "other",
    "else",
];
/// English words that a rewritten question may add: they name nothing, and search drops none of them.
const JOINING: [&str; 24] = [
    "against", "about", "above", "across", "along", "among", "around", "behind", "beside",
    "between", "beyond", "despite", "inside", "near", "outside", "since", "though", "toward",
    "towards", "upon", "within", "yet", "much", "ever",
];
const BEGINNINGS: [&str; 7] = ["and ", "but ", "or ", "so ", "also ", "what about", "how about"];

/// A question as it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question<'q> {
    /// It stands alone: this is searched for, shown, and read by the decoder.
    pub(super) text: Cow<'q, str>,
    /// Sentences are ranked by this. Where words of the last question were added, it is the question
    /// without them: they say where to look, but the sentence that has most of them is the one that
    /// answered the last question.
    pub(super) ranked_by: Cow<'q, str>,
}

impl<'q> Question<'q> {
    /// One that needs nothing else.
    pub(super) fn alone(text: &'q str) -> Self {
        Self { text: Cow::Borrowed(text), ranked_by: Cow::Borrowed(text) }
    }
}

/// A question of a conversation and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    /// As it stands alone.
    pub(super) question: String,
    /// What was shown.
    pub(super) answer: String,
}

/// Whether a question points to what was said before. In languages whose pointers are not known:
/// whether it says too little by itself.
pub(super) fn depends(question: &str, vocabulary: &Vocabulary) -> bool {
    let words = vocabulary.words(question);
    let lower = question.trim().to_lowercase();
    let counted = words.iter().filter(|word| word.counts()).count();
    counted < 2
        || BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
        || words.iter().any(|word| {
            let surface = question.get(word.span.clone()).unwrap_or_default().to_lowercase();
            POINTERS.contains(&surface.as_str())
        })
}

/// `question` with what it needs of the conversation: by the generator where there is one and it
/// does not lose or invent anything, else with the words of the last question behind it.
///
/// # Errors
/// Where the generator fails.
pub(super) fn standalone<'q>(
    question: &'q str,
    turns: &[Turn],
    vocabulary: &Vocabulary,
    generator: Option<&dyn Generator>,
    stopped: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Question<'q>> {
    let alone = Question::alone(question);
    let Some(last) = turns.last().filter(|_| depends(question, vocabulary)) else {
        return Ok(alone);
    };
    if let Some(generator) = generator {
        let prompt = generator.prompt(&messages(question, last))?;
        let options = GenerateOptions {
            max_tokens: MOST_TOKENS,
            stop: vec!["\n".to_owned()],
            ..GenerateOptions::default()
        };
        if generator.count(&prompt)? + MOST_TOKENS <= generator.context() {
            let written = generator.generate(&prompt, &options, &mut |_| stopped())?;
            let rewritten = written.text.trim().trim_matches('"').trim();
            if is_faithful(rewritten, question, last, vocabulary) {
                let text: Cow<'q, str> = Cow::Owned(rewritten.to_owned());
                return Ok(Question { ranked_by: text.clone(), text });
            }
        }
    }
    let text: Cow<'q, str> = Cow::Owned(joined(question, last, vocabulary));
    let says_something = vocabulary.words(question).iter().any(Word::counts);
    let ranked_by = if says_something { alone.ranked_by } else { text.clone() };
    Ok(Question { text, ranked_by })
}

fn messages(question: &str, last: &Turn) -> Vec<Message> {
    let example = "Question: Who built the old mill?\nAnswer: Anna built it.\nLast question: When \
                   did she sell it?";
    let own = format!(
        "Question: {}\nAnswer: {}\nLast question: {}",
        last.question,
        last.answer,
        question.trim()
    );
    let message = |role, content: &str| Message { role, content: content.to_owned() };
    vec![
        message(Role::System, INSTRUCTION),
        message(Role::User, example),
        message(Role::Assistant, "When did Anna sell the old mill?"),
        message(Role::User, &own),
    ]
}

/// Whether a rewritten question keeps every word of the question, adds some of the conversation, and
/// none from elsewhere.
fn is_faithful(rewritten: &str, question: &str, last: &Turn, vocabulary: &Vocabulary) -> bool {
    let (mut new, old) = (vocabulary.words(rewritten), vocabulary.words(question));
    new.retain(|word| {
        let surface = rewritten.get(word.span.clone()).unwrap_or_default().to_lowercase();
        !JOINING.contains(&surface.as_str()) || old.iter().any(|known| known.stem == word.stem)
    });
    let said = vocabulary.words(&format!("{} {}", last.question, last.answer));
    let (new, old, said) = (stems(&new), stems(&old), stems(&said));
    let adds = new.iter().any(|stem| !old.contains(stem));
    adds && old.is_subset(&new)
        && new.iter().all(|stem| old.contains(stem) || said.contains(stem))
        && !depends_still(rewritten, &vocabulary.words(rewritten))
}

fn depends_still(text: &str, words: &[Word]) -> bool {
    let pronouns = ["he", "she", "it", "they", "him", "them"];
    words.iter().any(|word| {
        let surface = text.get(word.span.clone()).unwrap_or_default().to_lowercase();
        word.kind == Kind::Function && pronouns.contains(&surface.as_str())
    })
}

/// The question, and in brackets the words of the last one that it lacks.
fn joined(question: &str, last: &Turn, vocabulary: &Vocabulary) -> String {
    let own = vocabulary.words(question);
    let mut known: HashSet<&str> = stems(&own);
    let before = vocabulary.words(&last.question);
    let mut lacking = Vec::new();
    for word in before.iter().filter(|word| word.counts()) {
        if known.insert(&word.stem) {
            lacking.extend(last.question.get(word.span.clone()));
        }
    }
    if lacking.is_empty() {
        return question.to_owned();
    }
    format!("{} ({})", question.trim(), lacking.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english() -> Vocabulary {
        Vocabulary::new("english").unwrap()
    }

    fn last() -> Turn {
        Turn {
            question: "Who killed the dragon of Orkney?".to_owned(),
            answer: "Assipattle killed it with a burning peat.".to_owned(),
        }
    }

    #[test]
    fn questions_that_point_back_are_known() {
        for (question, expected) in [
            ("Why did he do it?", true),
            ("And the second dragon?", true),
            ("When?", true),
            ("Where did the king of Orkney live?", false),
            ("How many sons had the farmer?", false),
        ] {
            assert_eq!(depends(question, &english()), expected, "{question}");
        }
    }

    #[test]
    fn without_a_decoder_the_last_questions_words_are_added() {
        let mut go_on = || ControlFlow::Continue(());
        let mut ask = |question: &str, turns: &[Turn]| {
            let asked = standalone(question, turns, &english(), None, &mut go_on).unwrap();
            (asked.text.into_owned(), asked.ranked_by.into_owned())
        };
        let both = |text: &str| (text.to_owned(), text.to_owned());
        assert_eq!(ask("Why did he do it?", &[]), both("Why did he do it?"));
        // It says nothing by itself.
        let joined = "Why did he do it? (killed dragon Orkney)";
        assert_eq!(ask("Why did he do it?", &[last()]), both(joined));
        let (text, ranked_by) = ask("What did he throw?", &[last()]);
        assert_eq!(text, "What did he throw? (killed dragon Orkney)");
        assert_eq!(ranked_by, "What did he throw?");
        let alone = "How many sons had the farmer?";
        assert_eq!(ask(alone, &[last()]), both(alone));
    }

    #[test]
    fn a_rewritten_question_neither_loses_nor_invents() {
        let faithful = |rewritten: &str| {
            is_faithful(rewritten, "What did he use as a weapon?", &last(), &english())
        };
        assert!(faithful("What did Assipattle use as a weapon against the dragon?"));
        // Loses "weapon", invents "sword", points back still, adds nothing.
        assert!(!faithful("What did Assipattle use?"));
        assert!(!faithful("What did Assipattle use as a weapon, a sword?"));
        assert!(!faithful("What did he use as a weapon against the dragon?"));
        assert!(!faithful("What did use as a weapon?"));
    }
}
