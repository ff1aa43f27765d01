//! What a sentence shows that answers of one sort have: a name, a place, a reason.

use super::question::Asks;
use super::words::{Kind, Word};
use std::collections::HashSet;

const PLACES: [&str; 27] = [
    "in", "at", "to", "into", "on", "under", "near", "from", "by", "beside", "behind", "through",
    "upon", "over", "toward", "towards", "across", "above", "below", "beneath", "within", "where",
    "home", "inside", "outside", "among", "along",
];
const CAUSES: [&str; 12] = [
    "because",
    "for",
    "so",
    "that",
    "since",
    "therefore",
    "thus",
    "order",
    "lest",
    "as",
    "cause",
    "reason",
];
/// Stems of Snowball's English stemmer.
const FEELINGS: [&str; 55] = [
    "afraid",
    "fear",
    "frighten",
    "angri",
    "anger",
    "sad",
    "sorri",
    "sorrow",
    "happi",
    "glad",
    "joy",
    "delight",
    "pleas",
    "surpris",
    "astonish",
    "amaz",
    "wonder",
    "asham",
    "proud",
    "jealous",
    "envi",
    "grief",
    "griev",
    "miser",
    "weep",
    "cri",
    "laugh",
    "terrifi",
    "terror",
    "disappoint",
    "excit",
    "worri",
    "anxious",
    "lone",
    "love",
    "hate",
    "furious",
    "rage",
    "merri",
    "content",
    "tire",
    "weari",
    "curious",
    "pain",
    "troubl",
    "upset",
    "hope",
    "despair",
    "wretch",
    "relief",
    "reliev",
    "shock",
    "confus",
    "scare",
    "cheer",
];

/// How much a sentence shows of what the question asks for; 0 for what has no sign.
pub(super) fn count(asks: Asks, text: &str, words: &[Word], asked: &HashSet<&str>) -> f32 {
    let surface = |word: &Word| text.get(word.span.clone()).unwrap_or_default().to_lowercase();
    let some = |yes: bool| f32::from(u8::from(yes));
    match asks {
        Asks::Person => {
            let names = words.iter().filter(|word| word.kind == Kind::Name);
            let new: HashSet<&str> =
                names.map(|word| word.stem.as_str()).filter(|stem| !asked.contains(stem)).collect();
            new.len().min(3) as f32
        }
        Asks::Place => {
            let places = words.iter().filter(|word| PLACES.contains(&surface(word).as_str()));
            places.count().min(4) as f32
        }
        Asks::Reason => some(words.iter().any(|word| CAUSES.contains(&surface(word).as_str()))),
        Asks::Feeling => some(words.iter().any(|word| FEELINGS.contains(&word.stem.as_str()))),
        Asks::Number => some(words.iter().any(|word| word.kind == Kind::Number)),
        Asks::Speech | Asks::Deed => some(quotes(text)),
        Asks::Event | Asks::Thing => 0.0,
    }
}

pub(super) fn quotes(text: &str) -> bool {
    text.contains(['"', '“', '”'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rag::words::Vocabulary;

    #[test]
    fn signs_are_those_of_what_is_asked_for() {
        let text = "Then Anna and Merlin fled into the 3 caves, for they feared \"the troll\".";
        let words = Vocabulary::new("english").unwrap().words(text);
        let asked = HashSet::from(["anna"]);
        for (asks, expected) in [
            (Asks::Person, 1.0),
            (Asks::Place, 1.0),
            (Asks::Reason, 1.0),
            (Asks::Feeling, 1.0),
            (Asks::Number, 1.0),
            (Asks::Speech, 1.0),
            (Asks::Thing, 0.0),
        ] {
            assert!((count(asks, text, &words, &asked) - expected).abs() < 1e-6, "{asks:?}");
        }
    }
}
