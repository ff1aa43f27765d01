//! Hard negatives: documents that stand near a query and do not answer it.
//!
//! Every distinct query and document is encoded once, by the base, and every query is compared with
//! all documents. What stands nearer than nearly as near as the positive is likely to be an answer that
//! nobody marked, so it is left out: a negative scores below a share of its positive (NV-Retriever,
//! Moreira et al. 2024, "TopK-PercPos").

use super::event::TrainEvent;
use super::options::RunOptions;
use super::parallel;
use super::product::{Matrix, product};
use super::record::{read_record, write_record};
use super::tensor::told;
use crate::encode::{Encoder, EncoderHandle, InputKind};
use crate::error::{Error, Result};
use crate::hash::{Sha256, sha256_of};
use crate::pairs::{Pair, Pairs, Texts};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

/// Texts that are handed to the encoder at once.
const TEXTS: usize = 512;
/// Queries that are compared with all documents at once.
const QUERIES: usize = 32;
/// What was mined, in the output folder.
const MINED: &str = "mined.jsonl.gz";
/// What it was mined from and how; written last.
const RECORD: &str = "mined.json";

/// How hard negatives are chosen.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Mining {
    /// Hard negatives of a pair, at least 1. Default: 1.
    pub negatives: usize,
    /// A negative's cosine with the query is below that of the positive by this share of it, from 0 to
    /// 1. Default: 0.05, which Moreira et al. found best.
    pub margin: f32,
    /// So many of the nearest documents, positives left out, are passed over. Default: 0.
    pub skip: usize,
    /// Only so many of the nearest documents, positives left out, are looked at. Default: 100.
    pub depth: usize,
    /// Threads that compare. Default: all processors.
    pub threads: Option<usize>,
}

impl Default for Mining {
    fn default() -> Self {
        Self { negatives: 1, margin: 0.05, skip: 0, depth: 100, threads: None }
    }
}

impl Mining {
    fn check(&self) -> Result<()> {
        let refuse = |name, reason: String| Err(Error::parameter(name, reason));
        if self.negatives == 0 {
            return refuse("hard-negatives", "0; at least 1 is needed".to_owned());
        }
        if !(0.0..=1.0).contains(&self.margin) {
            return refuse("negative-margin", format!("{}; from 0 to 1", self.margin));
        }
        if self.skip >= self.depth {
            let reason = format!(
                "{} of the {} documents that are looked at; fewer must be passed over",
                self.skip, self.depth
            );
            return refuse("negative-skip", reason);
        }
        if self.threads == Some(0) {
            return refuse("threads", "0; at least 1 is needed".to_owned());
        }
        Ok(())
    }
}

/// What came of mining.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MiningReport {
    /// Pairs.
    pub pairs: usize,
    /// Pairs that brought negatives and kept them.
    pub own: usize,
    /// Negatives that were found.
    pub mined: usize,
    /// Pairs that got fewer than were asked for.
    pub short: usize,
}

/// Gives every pair without negatives those documents of `pairs` that are nearest to its query by
/// `encoder`, and neither a positive of that query or of an equal one, nor of the pair's group, nor
/// too near ([`Mining::margin`]). Texts are equal that differ in white space or case alone.
///
/// `on_event` is told [`TrainEvent::Encoded`] on the way and [`TrainEvent::Mined`] at the end.
///
/// # Errors
/// [`Error::Parameter`] for options that cannot be, [`Error::Stopped`] where `on_event` stops it, and
/// whatever the encoder fails with. The pairs are as before then.
pub fn mine(
    pairs: &mut Pairs,
    encoder: &dyn Encoder,
    options: &Mining,
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> Result<MiningReport> {
    options.check()?;
    let of = pairs.queries.all.len() + pairs.documents.all.len();
    let mut texts = 0;
    let mut encode = |all: &[String], kind| -> Result<Vec<f32>> {
        let mut rows = Vec::with_capacity(all.len() * encoder.dimensions());
        for some in all.chunks(TEXTS) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            for embedding in encoder.encode(&some, kind)? {
                rows.extend(embedding.vector);
            }
            texts += some.len();
            if on_event(TrainEvent::Encoded { texts, of }).is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(rows)
    };
    let queries = encode(&pairs.queries.all, InputKind::Query)?;
    let documents = encode(&pairs.documents.all, InputKind::Document)?;
    let found = choose(pairs, &queries, &documents, encoder.dimensions(), options)?;
    let mut report = MiningReport { pairs: pairs.len(), ..MiningReport::default() };
    for (pair, negatives) in pairs.pairs.iter_mut().zip(found) {
        if !pair.negatives.is_empty() {
            report.own += 1;
            continue;
        }
        report.mined += negatives.len();
        report.short += usize::from(negatives.len() < options.negatives);
        pair.negatives = negatives;
    }
    if on_event(TrainEvent::Mined(report)).is_break() {
        return Err(Error::Stopped);
    }
    Ok(report)
}

/// Mines hard negatives for the pairs of a run and lets it train on the result, which it writes to
/// `mined.jsonl.gz` in the output folder. Where an earlier run left that file there, mined from the
/// same pairs in the same way, it is used again, so that a run can be resumed.
///
/// # Errors
/// As [`mine`], and as reading the pairs; [`Error::Parameter`] where the folder holds what was mined
/// from other pairs or in another way; [`Error::Io`].
pub fn with_hard_negatives(
    options: &mut RunOptions,
    encoder: &EncoderHandle,
    mining: &Mining,
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> Result<MiningReport> {
    mining.check()?;
    let folder = options.output.clone();
    options.refuse_a_model()?;
    let (place, record) = (folder.join(MINED), folder.join(RECORD));
    let identity = identity(&options.train, encoder, mining)?;
    let report = if let Some(earlier) = read_record::<Record>(&record)? {
        if earlier.identity != identity || !place.exists() {
            let reason = format!(
                "{} holds hard negatives of other pairs, another base or other settings; name \
                 those again, or another folder",
                folder.display()
            );
            return Err(Error::parameter("output", reason));
        }
        if on_event(TrainEvent::Mined(earlier.report)).is_break() {
            return Err(Error::Stopped);
        }
        earlier.report
    } else {
        let mut pairs = Pairs::read(&options.train, &options.fields)?;
        let report = mine(&mut pairs, encoder.get()?, mining, on_event)?;
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        pairs.write_as(&place, &options.fields)?;
        write_record(&record, &Record { identity, report })?;
        report
    };
    options.train = place;
    Ok(report)
}

/// What decides the negatives, summed up.
fn identity(train: &Path, encoder: &EncoderHandle, mining: &Mining) -> Result<String> {
    let mut all = Sha256::default();
    let own = Mining { threads: None, ..mining.clone() };
    all.update(format!("{own:?} {:?} ", encoder.fingerprint()));
    all.update(sha256_of(train)?);
    Ok(all.hex())
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    identity: String,
    report: MiningReport,
}

/// The negatives of each pair, given the vectors of all queries and documents, rows of `width`.
fn choose(
    pairs: &Pairs,
    queries: &[f32],
    documents: &[f32],
    width: usize,
    options: &Mining,
) -> Result<Vec<Vec<u32>>> {
    let related = Related::new(pairs);
    let n = pairs.documents.all.len();
    // Pairs by their query, so that each query is compared once.
    let mut of_query: Vec<Vec<(usize, &Pair)>> = vec![Vec::new(); pairs.queries.all.len()];
    for (nth, pair) in pairs.pairs.iter().enumerate().filter(|(_, p)| p.negatives.is_empty()) {
        if let Some(own) = of_query.get_mut(index(pair.query)) {
            own.push((nth, pair));
        }
    }
    let asked: Vec<usize> = (0..of_query.len())
        .filter(|query| of_query.get(*query).is_some_and(|own| !own.is_empty()))
        .collect();
    let threads = options.threads.unwrap_or_else(crate::threads::all);
    let share = asked.len().div_ceil(threads).max(1);
    let all = Matrix::new(documents, n, width, width).turned();
    let found = parallel::each(asked.chunks(share).collect(), |share| {
        let mut found = Vec::new();
        let mut rows = Vec::with_capacity(QUERIES * width);
        let mut scores = vec![0f32; QUERIES * n];
        for some in share.chunks(QUERIES) {
            rows.clear();
            for query in some {
                rows.extend(queries.get(query * width..(query + 1) * width).unwrap_or_default());
            }
            let rows = Matrix::new(&rows, some.len(), width, width);
            told(product(&mut scores, n, false, 1.0, rows, all))?;
            for (query, scores) in some.iter().zip(scores.chunks_exact(n.max(1))) {
                let near = related.nearest(*query, scores, options);
                for (nth, pair) in of_query.get(*query).into_iter().flatten() {
                    let positive = scores.get(index(pair.positive)).copied().unwrap_or(0.0);
                    found.push((*nth, related.below(&near, positive, options)));
                }
            }
        }
        Ok(found)
    })?;
    let mut negatives = vec![Vec::new(); pairs.pairs.len()];
    for (nth, own) in found.into_iter().flatten() {
        if let Some(place) = negatives.get_mut(nth) {
            *place = own;
        }
    }
    Ok(negatives)
}

/// Which documents cannot be negatives of which queries.
struct Related {
    /// The documents that are, or may be, answers to each query.
    of_query: Vec<HashSet<u32>>,
    /// The number of each document without regard to white space and case.
    folded: Vec<u32>,
}

impl Related {
    fn new(pairs: &Pairs) -> Self {
        let (queries, _) = fold(&pairs.queries);
        let (folded, documents) = fold(&pairs.documents);
        let mut of_group: HashMap<u32, HashSet<u32>> = HashMap::new();
        for pair in &pairs.pairs {
            if let Some(group) = pair.group {
                of_group.entry(group).or_default().insert(pair.positive);
            }
        }
        let mut of_folded: HashMap<u32, HashSet<u32>> = HashMap::new();
        for pair in &pairs.pairs {
            let Some(query) = queries.get(index(pair.query)) else { continue };
            let own = of_folded.entry(*query).or_default();
            let equal = folded.get(index(pair.positive)).and_then(|f| documents.get(index(*f)));
            own.extend(equal.into_iter().flatten());
            own.extend(pair.group.and_then(|group| of_group.get(&group)).into_iter().flatten());
        }
        let of_query =
            queries.iter().map(|query| of_folded.get(query).cloned().unwrap_or_default());
        Self { of_query: of_query.collect(), folded }
    }

    /// The documents nearest to a query that are not related to it, nearest first; equal ones by
    /// number. `scores` are those of all documents.
    fn nearest(&self, query: usize, scores: &[f32], options: &Mining) -> Vec<(u32, f32)> {
        let none = HashSet::new();
        let related = self.of_query.get(query).unwrap_or(&none);
        let mut near: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).collect();
        let first = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let most = options.depth.saturating_add(related.len());
        if near.len() > most {
            near.select_nth_unstable_by(most, first);
            near.truncate(most);
        }
        near.sort_unstable_by(first);
        near.retain(|(document, _)| !related.contains(document));
        near.truncate(options.depth);
        near.drain(..options.skip.min(near.len()));
        near
    }

    /// The first of `near` that are far enough below the positive's score, no two of them equal.
    fn below(&self, near: &[(u32, f32)], positive: f32, options: &Mining) -> Vec<u32> {
        let most = positive - options.margin * positive.abs();
        let mut seen = HashSet::new();
        let mut fresh = |document: u32| {
            self.folded.get(index(document)).is_none_or(|folded| seen.insert(*folded))
        };
        near.iter()
            .filter(|(_, score)| *score < most)
            .map(|(document, _)| *document)
            .filter(|document| fresh(*document))
            .take(options.negatives)
            .collect()
    }
}

/// The number of each text without regard to white space and case, and the texts of each such number.
fn fold(texts: &Texts) -> (Vec<u32>, Vec<Vec<u32>>) {
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut members: Vec<Vec<u32>> = Vec::new();
    let mut folded = Vec::with_capacity(texts.all.len());
    for (number, text) in (0u32..).zip(&texts.all) {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let own = *numbers.entry(words.join(" ")).or_insert(next);
        folded.push(own);
        match members.get_mut(index(own)) {
            Some(members) => members.push(number),
            None => members.push(vec![number]),
        }
    }
    (folded, members)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Embedding, Fingerprint};
    use crate::pairs::Fields;
    use crate::random::SplitMix64;
    use crate::text::tokenizer::{TokenSpans, Words};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts letters, and how many texts it was asked for.
    struct Letters {
        fingerprint: Fingerprint,
        asked: Arc<AtomicUsize>,
    }

    impl Encoder for Letters {
        fn dimensions(&self) -> usize {
            26
        }
        fn window(&self) -> usize {
            256
        }
        fn fingerprint(&self) -> &Fingerprint {
            &self.fingerprint
        }
        fn tokens(&self) -> &dyn TokenSpans {
            &Words
        }
        fn overhead(&self) -> usize {
            0
        }
        fn encode(&self, texts: &[&str], _: InputKind) -> Result<Vec<Embedding>> {
            self.asked.fetch_add(texts.len(), Ordering::Relaxed);
            let embed = |text: &&str| {
                let mut vector = vec![0f32; 26];
                for letter in text.bytes().filter(u8::is_ascii_lowercase) {
                    vector[usize::from(letter - b'a')] += 1.0;
                }
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-9);
                vector.iter_mut().for_each(|x| *x /= length);
                Embedding { vector, truncated_tokens: 0 }
            };
            Ok(texts.iter().map(embed).collect())
        }
    }

    fn letters() -> (EncoderHandle, Arc<AtomicUsize>) {
        let fingerprint = Fingerprint {
            model: "letters".to_owned(),
            weights: String::new(),
            tokenizer: String::new(),
            pooling: "mean".to_owned(),
            query_prefix: String::new(),
            document_prefix: String::new(),
            window: 256,
            precision: "fp32".to_owned(),
            dimensions: 26,
        };
        let asked = Arc::new(AtomicUsize::new(0));
        (Letters { fingerprint, asked: Arc::clone(&asked) }.into(), asked)
    }

    /// A run that is begun again trains on what was mined before.
    #[test]
    fn what_was_mined_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let mut pairs = Pairs::default();
        pairs.push("aab", "aaab", &[], None);
        pairs.push("ccd", "cccd", &["aaab"], None);
        pairs.push("abc", "abbc", &[], None);
        pairs.push("zz", "zzz", &[], None);
        let fields = Fields { query: Some("ask".to_owned()), ..Fields::default() };
        pairs.write_as(&file("pairs.jsonl"), &fields).unwrap();
        let (encoder, asked) = letters();
        let run = |mining: &Mining| {
            let mut options = RunOptions::new(file("pairs.jsonl"), file("out"), 64);
            options.fields = fields.clone();
            let mut events = Vec::new();
            let report = with_hard_negatives(&mut options, &encoder, mining, &mut |event| {
                events.push(event);
                ControlFlow::Continue(())
            });
            report.map(|report| (options, report, events))
        };
        let (options, report, events) = run(&Mining::default()).unwrap();
        assert_eq!(report, MiningReport { pairs: 4, own: 1, mined: 3, short: 0 });
        assert_eq!(events.last(), Some(&TrainEvent::Mined(report)));
        assert_eq!(asked.load(Ordering::Relaxed), 8);
        assert_eq!(options.train, file("out").join(MINED));
        let mined = Pairs::read(&options.train, &fields).unwrap();
        let negatives = |n: usize| {
            let own = mined.pairs[n].negatives.iter();
            own.map(|n| mined.documents.text(*n)).collect::<Vec<_>>()
        };
        // By cosine: of aab with abbc 4 / √30, with cccd 0; of abc with aaab 4 / √30, with cccd 3 / √30.
        assert_eq!((negatives(0), negatives(1)), (vec!["abbc"], vec!["aaab"]));
        assert_eq!(negatives(2), ["aaab"]);
        let (again, same, _) = run(&Mining { threads: Some(1), ..Mining::default() }).unwrap();
        assert_eq!((again.train, same), (options.train, report));
        assert_eq!(asked.load(Ordering::Relaxed), 8);
        let error = run(&Mining { margin: 0.1, ..Mining::default() }).unwrap_err().to_string();
        assert!(error.contains("other settings"), "{error}");
        std::fs::write(file("out").join("model.safetensors"), "").unwrap();
        let error = run(&Mining::default()).unwrap_err().to_string();
        assert!(error.contains("holds a model already"), "{error}");
    }

    #[test]
    fn mining_is_stopped_and_leaves_the_pairs() {
        let mut pairs = Pairs::default();
        pairs.push("aab", "aaab", &[], None);
        pairs.push("ccd", "cccd", &[], None);
        let (encoder, _) = letters();
        let stop = &mut |_| ControlFlow::Break(());
        let stopped = mine(&mut pairs, encoder.get().unwrap(), &Mining::default(), stop);
        assert!(matches!(stopped, Err(Error::Stopped)));
        assert!(pairs.pairs.iter().all(|pair| pair.negatives.is_empty()));
    }

    /// Vectors of unit length, from the texts' numbers.
    fn vectors(n: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        let mut rows = Vec::new();
        for _ in 0..n {
            let row: Vec<f64> =
                (0..width).map(|_| crate::random::unit(random.next()) - 0.35).collect();
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            #[expect(clippy::cast_possible_truncation, reason = "a test")]
            rows.extend(row.iter().map(|x| (x / length) as f32));
        }
        rows
    }

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// Sorting all documents for every pair, with the rules written out.
    fn plain(pairs: &Pairs, queries: &[f32], documents: &[f32], options: &Mining) -> Vec<Vec<u32>> {
        let same = |a: &str, b: &str| {
            let fold = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
            fold(a) == fold(b)
        };
        let row = |rows: &[f32], n: u32| rows[n as usize * 8..][..8].to_vec();
        let mut all = Vec::new();
        for pair in &pairs.pairs {
            let query = row(queries, pair.query);
            let score = |n: u32| dot(&query, &row(documents, n));
            let mut order: Vec<u32> = (0..).take(pairs.documents.all.len()).collect();
            order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
            order.retain(|n| {
                !pairs.pairs.iter().any(|other| {
                    same(pairs.queries.text(other.query), pairs.queries.text(pair.query))
                        && (same(pairs.documents.text(other.positive), pairs.documents.text(*n))
                            || pairs.pairs.iter().any(|member| {
                                member.group.is_some()
                                    && member.group == other.group
                                    && member.positive == *n
                            }))
                })
            });
            order.truncate(options.depth);
            let mut order = order.split_off(options.skip.min(order.len()));
            order.retain(|n| score(*n) < (1.0 - options.margin) * score(pair.positive));
            order.truncate(options.negatives);
            all.push(order);
        }
        all
    }

    fn sample() -> Pairs {
        let mut pairs = Pairs::default();
        for i in 0..60 {
            let query = format!("query {}", i % 45);
            let positive = format!("document {i}");
            match i % 3 {
                0 => pairs.push(&query, &positive, &[], None),
                _ => pairs.push_of(&format!("group {}", i / 6), &query, &positive),
            };
        }
        // A query that was asked before in other letters, and a positive that was there.
        pairs.push("Query  7", "another answer", &[], None);
        pairs.push("query 8", "ANOTHER\nanswer", &[], None);
        pairs
    }

    #[test]
    fn negatives_are_those_of_a_plain_comparison() {
        let pairs = sample();
        let queries = vectors(pairs.queries.all.len(), 8, 1);
        let documents = vectors(pairs.documents.all.len(), 8, 2);
        let mut met = HashSet::new();
        for (negatives, margin, skip, depth) in
            [(1, 0.05, 0, 100), (3, 0.05, 0, 100), (2, 0.3, 2, 12), (5, 0.0, 1, 6)]
        {
            let options = Mining { negatives, margin, skip, depth, threads: Some(3) };
            let found = choose(&pairs, &queries, &documents, 8, &options).unwrap();
            let right = plain(&pairs, &queries, &documents, &options);
            // Where the positive's score is below zero the share goes the other way.
            for (pair, (found, right)) in pairs.pairs.iter().zip(found.iter().zip(&right)) {
                let (q, p) = (pair.query as usize * 8, pair.positive as usize * 8);
                if dot(&queries[q..q + 8], &documents[p..p + 8]) > 0.0 {
                    assert_eq!(found, right, "{pair:?} {options:?}");
                    met.insert(found.len());
                }
            }
        }
        assert!(met.contains(&0) && met.contains(&5), "{met:?}");
    }

    #[test]
    fn positives_of_equal_queries_and_groups_are_no_negatives() {
        let mut pairs = Pairs::default();
        pairs.push("what is a cat", "a cat is an animal", &[], None);
        pairs.push("What is  a cat", "the cat purrs", &[], None);
        pairs.push("a dog", "A cat is an  animal", &[], None);
        pairs.push_of("birds", "a robin", "robins sing");
        pairs.push_of("birds", "a wren", "wrens sing");
        // All documents score the same but the positives, so that only the rules decide.
        let queries = [1.0f32, 0.0].repeat(pairs.queries.all.len());
        let documents = [0.5f32, 0.5].repeat(pairs.documents.all.len());
        let options = Mining { negatives: 9, margin: 0.0, ..Mining::default() };
        let related = Related::new(&pairs);
        let near = |query: usize| -> Vec<u32> {
            let scores: Vec<f32> = documents.chunks(2).map(|d| dot(&queries[..2], d)).collect();
            related.nearest(query, &scores, &options).iter().map(|(n, _)| *n).collect()
        };
        // 0 and 2 are one text, 1 answers an equal query.
        assert_eq!(near(0), [3, 4]);
        assert_eq!(near(1), [3, 4]);
        assert_eq!(near(2), [1, 3, 4]);
        assert_eq!(near(3), [0, 1, 2]);
        // Of two that are one text, one is taken; and only what is below the positive.
        assert_eq!(related.below(&[(0, 0.5), (2, 0.5), (1, 0.4)], 0.6, &options), [0, 1]);
        assert_eq!(related.below(&[(0, 0.5), (1, 0.4)], 0.5, &options), [1]);
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        for (options, words) in [
            (Mining { negatives: 0, ..Mining::default() }, "at least 1"),
            (Mining { margin: 1.5, ..Mining::default() }, "from 0 to 1"),
            (Mining { margin: f32::NAN, ..Mining::default() }, "from 0 to 1"),
            (Mining { skip: 5, depth: 5, ..Mining::default() }, "fewer must be passed over"),
        ] {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(Mining::default().check().is_ok());
    }
}
