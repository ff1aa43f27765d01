//! The questions, and what counts as holding an answer.
#![allow(dead_code, reason = "each user takes a part")]

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;

/// A question about a passage.
#[derive(Debug, Clone)]
pub struct Tale {
    pub passage: usize,
    pub context: String,
    pub question: String,
    pub answer: String,
}

/// `train` or `val`; none where the shared data is not there.
pub fn read(part: &str) -> Option<Vec<Tale>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/qa");
    let mut text = String::new();
    let file = std::fs::File::open(folder.join(format!("fairytaleqa_{part}.jsonl.gz"))).ok()?;
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut passages: HashMap<String, usize> = HashMap::new();
    let tale = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| row[name].as_str().unwrap().to_owned();
        let context = field("context");
        let next = passages.len();
        Tale {
            passage: *passages.entry(context.clone()).or_insert(next),
            context,
            question: field("question"),
            answer: row["answers"][0].as_str().unwrap().to_owned(),
        }
    };
    Some(text.lines().map(tale).collect())
}

/// About `count` questions, spread over all, and the questions about other passages than theirs. Some
/// passages are made of others: one that shares a sentence with theirs is theirs too, or else what
/// answers them would still be there.
pub fn apart(tales: &[Tale], count: usize) -> (Vec<Tale>, Vec<Tale>) {
    let step = (tales.len() / count).max(1);
    let asked: Vec<Tale> = tales.iter().step_by(step).take(count).cloned().collect();
    let rest = about_others(tales, &asked);
    (asked, rest)
}

fn about_others(tales: &[Tale], asked: &[Tale]) -> Vec<Tale> {
    let theirs: HashSet<&str> = asked.iter().flat_map(|tale| long(&tale.context)).collect();
    let is_apart = |tale: &&Tale| !long(&tale.context).any(|sentence| theirs.contains(sentence));
    tales.iter().filter(is_apart).cloned().collect()
}

/// The last `count` questions, with which whole tales go, and the questions about other passages.
pub fn whole_apart(tales: &[Tale], count: usize) -> (Vec<Tale>, Vec<Tale>) {
    let asked = tales[tales.len().saturating_sub(count)..].to_vec();
    let rest = about_others(tales, &asked);
    (asked, rest)
}

/// The sentences that are no "Yes, said the king".
pub fn long(text: &str) -> impl Iterator<Item = &str> {
    let sentences = text.split_inclusive(['.', '!', '?']).map(str::trim);
    sentences.filter(|sentence| sentence.len() > 40)
}

/// Lower case, without punctuation and articles, as SQuAD's evaluation has it (Rajpurkar 2016).
pub fn normal(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace(['\'', '’'], "");
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.filter(|word| !["a", "an", "the"].contains(word)).map(str::to_owned).collect()
}

/// Whether the words of `wanted` follow each other in `text`.
pub fn contains(text: &str, wanted: &[String]) -> bool {
    !wanted.is_empty() && normal(text).windows(wanted.len()).any(|window| window == wanted)
}

/// Words in common: the harmonic mean of precision and recall, as SQuAD's evaluation has it.
pub fn f1(text: &str, wanted: &[String]) -> f64 {
    let mut left: Vec<&String> = wanted.iter().collect();
    let words = normal(text);
    let common = words.iter().filter(|word| {
        let at = left.iter().position(|other| other == word);
        at.map(|at| left.swap_remove(at)).is_some()
    });
    let common = common.count() as f64;
    if common == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (common / words.len() as f64, common / wanted.len() as f64);
    2.0 * precision * recall / (precision + recall)
}
