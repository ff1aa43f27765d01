//! Queries against comparing with all, and their pages against one long ranking.
#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test or benchmark may fail loudly"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::words;
use vdb::db::Collection;
use vdb::encode::{Embedding, Encoder, Fingerprint, InputKind, Reranker, TokenEmbedding};
use vdb::text::tokenizer::TokenSpans;
use vdb::{CollectionOptions, Database, Document, Error, Filter, Hit, Mode, Query};

/// Numbers of a small generator of its own, below `n`.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    /// A direction near one of 32, like an embedding.
    fn vector(&mut self) -> Vec<f32> {
        let mut centre = Random(1 + self.below(32) as u64 * 0x9e37_79b9);
        (0..DIMENSIONS)
            .map(|_| centre.below(1000) as f32 - 500.0 + 0.6 * (self.below(1000) as f32 - 500.0))
            .collect()
    }

    /// Words of a small vocabulary: many passages have the same score.
    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| format!("word{} ", self.below(40))).collect()
    }
}

const DIMENSIONS: usize = 16;

/// More points than are compared one by one, part of them in a file and part of them not.
fn points(path: &Path) -> (Database, Collection, Vec<Vec<f32>>) {
    let database = Database::open(path).unwrap();
    let collection =
        database.collection("points", &CollectionOptions::dimensions(DIMENSIONS)).unwrap();
    let mut random = Random(7);
    let vectors: Vec<Vec<f32>> = (0..5000).map(|_| random.vector()).collect();
    let documents = vectors.iter().enumerate().map(|(i, vector)| {
        Document::new(format!("d{i}"), random.text(6)).vector(vector.clone()).field("n", i as i64)
    });
    let documents: Vec<Document> = documents.collect();
    let (sealed, live) = documents.split_at(4500);
    collection.add(sealed.to_vec()).unwrap();
    collection.save_indexes().unwrap();
    collection.add(live.to_vec()).unwrap();
    collection.remove(&(0..5000).step_by(97).map(|i| format!("d{i}")).collect::<Vec<_>>()).unwrap();
    (database, collection, vectors)
}

/// Documents of several chunks each.
fn texts(path: &Path) -> (Database, Collection) {
    let database = Database::open(path).unwrap();
    let collection = database.collection("texts", &words()).unwrap();
    let mut random = Random(11);
    let text = |i: usize| Document::new(format!("d{i}"), random.text(40 + 60 * (i % 5)));
    collection.add((0..900).map(text).collect::<Vec<_>>()).unwrap();
    collection.save_indexes().unwrap();
    assert!(collection.stats().chunks > 2000, "so that graphs are walked");
    (database, collection)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Ids of the points that `may` be found, nearest first, with their cosines.
fn nearest(vectors: &[Vec<f32>], query: &[f32], may: impl Fn(usize) -> bool) -> Vec<(String, f64)> {
    let mut all: Vec<(String, f64)> = (0..vectors.len())
        .filter(|i| i % 97 != 0 && may(*i))
        .map(|i| (format!("d{i}"), cosine(&vectors[i], query)))
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.document.as_str()).collect()
}

/// Pages of every size are the parts of one ranking of `depth` hits.
fn pages_agree(query: &Query<'_>, depth: usize, told: &str) -> Vec<Hit> {
    let long = query.clone().top_k(depth).run().unwrap();
    for size in [1, 3, 7, 10, 50] {
        // One by one where the ranking begins and where a deeper search goes on.
        let edge = |at: usize| [0, 40, 100, 300].iter().any(|edge| at.abs_diff(*edge) < 4);
        for offset in (0..=long.len()).step_by(size).filter(|at| size > 7 || edge(*at)) {
            let page = query.clone().offset(offset).top_k(size).run().unwrap();
            let end = (offset + size).min(long.len());
            if page.len() > end - offset {
                assert_eq!(end, depth, "{told}");
            }
            let same = page.len().min(end - offset);
            assert_eq!(page[..same], long[offset..end], "{told}: {size} at {offset}");
        }
    }
    let mut seen: Vec<u32> = long.iter().map(|hit| hit.chunk).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), long.len(), "{told}: each passage once");
    long
}

#[test]
fn pages_are_parts_of_one_ranking_of_points() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, vectors) = points(&folder.path().join("db"));
    let mut random = Random(3);
    let filter = Filter::parse("n >= 500 and n < 4900").unwrap();
    for _ in 0..3 {
        let (vector, text) = (random.vector(), random.text(3));
        let dense = collection.query_vector(&vector);
        let exact = pages_agree(&dense.clone().exact(true), 350, "exact");
        let right = nearest(&vectors, &vector, |_| true);
        for (hit, (id, score)) in exact.iter().zip(&right) {
            assert_eq!(hit.document, *id);
            assert!((f64::from(hit.score) - score).abs() < 1e-5);
        }
        let graph = pages_agree(&dense, 350, "graph");
        let found = ids(&graph).iter().filter(|id| ids(&exact).contains(id)).count();
        assert!(found >= 340, "{found} of 350");
        pages_agree(&dense.clone().filter(filter.clone()), 350, "filter");
        pages_agree(&dense.ef_search(50), 350, "narrow");
        let keyword = collection.query(&text).mode(Mode::Keyword);
        let keyword = pages_agree(&keyword, 350, "keyword");
        assert!(keyword.windows(2).any(|w| w[0].score == w[1].score), "ties are part of it");
        let hybrid = collection.query(&text).with_vector(&vector).mode(Mode::Hybrid);
        let long = pages_agree(&hybrid, 350, "hybrid");
        assert_eq!(long.len(), 350);
        pages_agree(&hybrid.clone().exact(true), 350, "exact hybrid");
        pages_agree(&hybrid.min_score(long[60].score), 350, "hybrid, least score");
    }
}

#[test]
fn pages_are_parts_of_one_ranking_of_documents() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection) = texts(&folder.path().join("db"));
    let mut random = Random(5);
    for (mode, exact) in
        [(Mode::Dense, false), (Mode::Dense, true), (Mode::Keyword, false), (Mode::Hybrid, false)]
    {
        let text = random.text(4);
        let query = collection.query(&text).mode(mode).exact(exact).by_document(true);
        let long = pages_agree(&query, 160, &format!("{mode}, exact: {exact}"));
        assert_eq!(long.len(), 160);
        let mut documents = ids(&long);
        documents.sort_unstable();
        documents.dedup();
        assert_eq!(documents.len(), 160, "{mode}: each document once");
        // All there is, and no more.
        let all = query.clone().top_k(2000).run().unwrap();
        if mode == Mode::Dense {
            assert_eq!(all.len(), 900);
        }
        assert_eq!(all[..160], long);
        let beyond = query.offset(all.len() - 2).top_k(10).run().unwrap();
        assert_eq!(beyond, all[all.len() - 2..]);
    }
}

#[test]
fn numbers_are_paged_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, _) = points(&folder.path().join("db"));
    let vector = Random(9).vector();
    for exact in [true, false] {
        let query = collection.query_vector(&vector).exact(exact);
        let hits = query.clone().top_k(30).run().unwrap();
        let page = query.clone().offset(10).top_k(20).run_numbers().unwrap();
        assert_eq!(page.len(), 20);
        let same = page.iter().zip(&hits[10..]).filter(|(n, hit)| n.0 == hit.chunk).count();
        assert!(if exact { same == 20 } else { same >= 10 }, "{same}");
        let high = query.top_k(30).min_score(hits[9].score).run_numbers().unwrap();
        assert!(high.len().abs_diff(10) <= usize::from(!exact), "{}", high.len());
    }
}

/// Codes tell a score to within a thousandth; who asks for more than that gets what the vectors say.
#[test]
fn a_thorough_search_goes_by_the_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let (database, collection, _) = points(&folder.path().join("db"));
    database.compact().unwrap();
    let vector = Random(9).vector();
    let query = collection.query_vector(&vector).top_k(30);
    let right = query.clone().exact(true).run_numbers().unwrap();
    let by_codes = query.clone().run_numbers().unwrap();
    assert_ne!(by_codes, right, "the points are in no file");
    assert_eq!(query.clone().ef_search(1024).run_numbers().unwrap(), right);
    assert_eq!(query.recall(0.995).run_numbers().unwrap(), right);
}

#[test]
fn hits_below_the_least_score_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, vectors) = points(&folder.path().join("db"));
    let vector = Random(2).vector();
    let right = nearest(&vectors, &vector, |_| true);
    for least in [0.95f32, 0.8, 0.5, -1.0] {
        let expected = right.iter().filter(|(_, score)| *score >= f64::from(least)).count();
        for exact in [true, false] {
            let query = collection.query_vector(&vector).exact(exact).min_score(least);
            let hits = query.top_k(5000).run().unwrap();
            assert!(hits.iter().all(|hit| hit.score >= least));
            if exact {
                assert_eq!(hits.len(), expected, "{least}");
            } else {
                assert!(hits.len() * 100 >= expected * 97, "{} of {expected}", hits.len());
            }
        }
    }
    let all = collection.query("word3 word4").mode(Mode::Keyword).top_k(5000).run().unwrap();
    let least = all[all.len() / 3].score;
    let high = collection.query("word3 word4").mode(Mode::Keyword).min_score(least);
    let high = high.top_k(5000).run().unwrap();
    let expected: Vec<Hit> = all.iter().filter(|hit| hit.score >= least).cloned().collect();
    assert!(high.len() < all.len());
    assert_eq!(high, expected);

    let nan = collection.query_vector(&vector).min_score(f32::NAN).run().unwrap_err();
    assert!(nan.to_string().contains("min_score"), "{nan}");
    let query = collection.query_vector(&vector);
    for (offset, top_k) in [(99_991, 10), (usize::MAX, 10)] {
        let error = query.clone().offset(offset).top_k(top_k).run().unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "offset", .. }), "{error}");
    }
    assert!(query.clone().offset(99_990).run().unwrap().is_empty());
    assert!(query.offset(4948).top_k(10).exact(true).run().unwrap().is_empty(), "52 are gone");
}

#[test]
fn what_is_like_a_document_is_near_it_and_not_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, vectors) = points(&folder.path().join("db"));
    for i in [1usize, 1000, 4700] {
        let id = format!("d{i}");
        let right = nearest(&vectors, &vectors[i], |other| other != i);
        let hits = collection.similar(&id).exact(true).top_k(50).run().unwrap();
        assert_eq!(ids(&hits), right[..50].iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>());
        let walked = collection.similar(&id).top_k(50).run().unwrap();
        assert!(ids(&walked).iter().filter(|id| ids(&hits).contains(id)).count() >= 47);
        pages_agree(&collection.similar(&id), 120, "similar");
        // The document is among what the filter matches, and left out all the same.
        let filter = Filter::field("n").le(i as i64);
        let hits = collection.similar(&id).filter(filter).exact(true).top_k(20).run().unwrap();
        let right = nearest(&vectors, &vectors[i], |other| other < i);
        let right: Vec<&str> = right.iter().take(20).map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids(&hits), right);
    }
    let alone = Filter::field("n").eq(1);
    assert!(collection.similar("d1").filter(alone).run().unwrap().is_empty());
    // d97 was removed.
    for unknown in ["nothing", "d97"] {
        let error = collection.similar(unknown).run().unwrap_err();
        assert!(matches!(error, Error::NotFound { what: "document", .. }), "{error}");
        assert!(error.to_string().contains("vdb list"), "{error}");
    }
    let error = collection.similar("d1").mode(Mode::Hybrid).run().unwrap_err();
    assert!(error.to_string().contains("it needs a text"), "{error}");
}

#[test]
fn a_document_of_several_chunks_is_searched_for_by_their_mean() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection) = texts(&folder.path().join("db"));
    let chunks = collection.get("d4").unwrap().unwrap().chunks;
    assert!(chunks.len() > 1);
    // Chunks' own vectors are got back by export.
    let mut exported = Vec::new();
    collection.export(&mut exported).unwrap();
    let line = String::from_utf8(exported).unwrap();
    let line = line.lines().find(|line| line.contains("\"d4\"")).unwrap().to_owned();
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    let mut mean = vec![0.0f32; 64];
    for chunk in record["chunks"].as_array().unwrap() {
        for (total, element) in mean.iter_mut().zip(chunk["vector"].as_array().unwrap()) {
            *total += element.as_f64().unwrap() as f32;
        }
    }
    let by_vector = collection.query_vector(&mean).exact(true).top_k(40).run().unwrap();
    let expected: Vec<u32> =
        by_vector.iter().filter(|hit| hit.document != "d4").map(|hit| hit.chunk).collect();
    let found = collection.similar("d4").exact(true).top_k(expected.len()).run().unwrap();
    assert_eq!(found.iter().map(|hit| hit.chunk).collect::<Vec<_>>(), expected);
    let documents = collection.similar("d4").by_document(true).top_k(899).run().unwrap();
    assert_eq!(documents.len(), 899);
    assert!(!ids(&documents).contains(&"d4"));
}

#[test]
fn many_queries_at_once_have_the_answers_of_each_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection) = texts(&folder.path().join("db"));
    let (_other, points, vectors) = points(&folder.path().join("other"));
    let mut random = Random(13);
    let asked: Vec<String> = (0..60).map(|_| random.text(3)).collect();
    let mut queries = Vec::new();
    for (i, text) in asked.iter().enumerate() {
        let query = collection.query(text).top_k(1 + i % 7).offset(i % 3);
        queries.push(match i % 6 {
            0 => query.mode(Mode::Dense),
            1 => query.mode(Mode::Keyword),
            2 => query.top_k(0),
            3 => collection.similar("d7"),
            4 => points.query_vector(&vectors[i]).by_document(true),
            _ => query,
        });
    }
    // No encoder there: an error of this one alone.
    queries.push(points.query("word1").mode(Mode::Dense));
    let together = Query::run_all(&queries);
    assert_eq!(together.len(), queries.len());
    for (query, hits) in queries.iter().zip(together) {
        match (query.run(), hits) {
            (Ok(alone), Ok(hits)) => assert_eq!(hits, alone),
            (Err(alone), Err(error)) => assert_eq!(error.to_string(), alone.to_string()),
            (alone, hits) => panic!("{alone:?} and {hits:?}"),
        }
    }
    assert!(Query::run_all(&[]).is_empty());
}

#[test]
fn figures_of_the_index_are_those_of_its_files_and_of_what_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let index = path.join("index/0/vectors");
    let bytes = |end: &str| -> u64 {
        let files = support::files(&index).into_iter();
        let files = files.filter(|file| file.to_string_lossy().ends_with(end));
        files.map(|file| file.metadata().unwrap().len()).sum()
    };
    let (database, collection, _) = points(&path);
    let open = collection.index_stats().unwrap();
    assert!(open.up_to_date);
    assert_eq!((open.segments, open.sealed_points, open.live_points), (1, 4500, 500));
    assert_eq!(open.tombstones, 52);
    assert_eq!(open.disk_bytes, bytes(""));
    assert_eq!(open.mapped_bytes, bytes(".segment"));
    assert_eq!(open.bytes_per_vector, bytes(".segment") / 4500);
    let live = 500 * DIMENSIONS as u64 * 4;
    assert!((live..live + 4096).contains(&open.memory_bytes), "{open:?}");
    collection.save_indexes().unwrap();
    let saved = collection.index_stats().unwrap();
    assert_eq!((saved.live_points, saved.disk_bytes), (0, bytes("")));
    assert_eq!(saved.sealed_points - saved.tombstones, 4948);
    assert!(saved.memory_bytes < 4096, "{saved:?}");
    drop((collection, database));

    // Without opening it: the same figures, and files that are not up to date are left alone.
    let database = Database::open_existing(&path).unwrap();
    let collection = database.existing_collection("points", &CollectionOptions::default()).unwrap();
    assert_eq!(collection.index_stats().unwrap(), saved);
    let state = std::fs::read(index.join("SEGMENTS")).unwrap();
    collection.add([Document::new("new", "").vector([1.0; DIMENSIONS])]).unwrap();
    collection.save_indexes().unwrap();
    drop((collection, database));
    std::fs::write(index.join("SEGMENTS"), &state).unwrap();
    let database = Database::open_existing(&path).unwrap();
    let collection = database.existing_collection("points", &CollectionOptions::default()).unwrap();
    let before = support::files(&index);
    match collection.index_stats() {
        Ok(stale) => assert!(!stale.up_to_date),
        // The segments that it names may have been merged away.
        Err(error) => assert!(matches!(error, Error::Corrupted { .. } | Error::Io { .. })),
    }
    assert_eq!(support::files(&index), before);
    assert_eq!(collection.query_vector(&[1.0; DIMENSIONS]).run().unwrap()[0].document, "new");
    assert!(collection.index_stats().unwrap().up_to_date);
}

/// The same filters over and over, while documents come, change and go: what they allow is told by the
/// documents as they are.
#[test]
fn a_filter_that_is_used_again_sees_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let options = CollectionOptions::dimensions(DIMENSIONS);
    let collection = database.collection("points", &options).unwrap();
    let mut random = Random(5);
    let mut fields: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for round in 0..40 {
        let id = format!("d{}", random.below(12));
        if random.below(4) == 0 {
            collection.remove(&[&id]).unwrap();
            fields.remove(&id);
        } else {
            let n = random.below(6) as i64;
            let document = Document::new(id.as_str(), "").vector(random.vector()).field("n", n);
            collection.add([document]).unwrap();
            fields.insert(id, n);
        }
        for bound in [1, 3, 5] {
            let query = random.vector();
            let asked =
                collection.query_vector(&query).top_k(20).filter(Filter::field("n").lt(bound));
            let found = match asked.run() {
                // No document is left that has the field.
                Err(Error::UnknownField { .. }) => Vec::new(),
                found => found.unwrap(),
            };
            let mut found = ids(&found);
            found.sort_unstable();
            let right: Vec<&str> =
                fields.iter().filter(|(_, n)| **n < bound).map(|(id, _)| id.as_str()).collect();
            assert_eq!(found, right, "round {round}, below {bound}");
        }
    }
}

/// Scores passages by the number that they end with.
#[derive(Debug)]
struct ByNumber;

impl Reranker for ByNumber {
    fn score(&self, _: &str, passages: &[&str]) -> vdb::Result<Vec<f32>> {
        Ok(passages.iter().map(|p| p.rsplit(' ').next().unwrap().parse().unwrap()).collect())
    }
}

/// A mean of 0 and a deviation of 1, as a population.
fn z(scores: &[f32]) -> Vec<f32> {
    let n = scores.len() as f32;
    let mean = scores.iter().sum::<f32>() / n;
    let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / n).sqrt();
    scores.iter().map(|s| (s - mean) / deviation).collect()
}

#[test]
fn the_first_hits_are_put_in_a_better_order_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("texts", &words()).unwrap();
    let text = |i: usize| format!("{}{} {}", "apple ".repeat(9 - i), "pear ".repeat(i), i * i % 5);
    collection.add((0..8).map(|i| Document::new(format!("d{i}"), text(i)))).unwrap();
    let query = collection.query("apple").mode(Mode::Keyword).top_k(8);
    let before = query.run().unwrap();
    assert_eq!(before.len(), 8);
    let scores: Vec<f32> = before.iter().take(5).map(|hit| hit.score).collect();
    let said = |hit: &Hit| hit.text.rsplit(' ').next().unwrap().parse::<f32>().unwrap();
    let again: Vec<f32> = before.iter().take(5).map(said).collect();
    let mut right: Vec<(f32, &str)> = z(&scores)
        .iter()
        .zip(z(&again))
        .zip(&before)
        .map(|((a, b), hit)| (0.65 * a + 0.35 * b, hit.document.as_str()))
        .collect();
    right.sort_by(|a, b| b.0.total_cmp(&a.0));
    let query = query.rerank_by(5, &ByNumber);
    let after = query.run().unwrap();
    for (hit, (score, id)) in after.iter().zip(&right) {
        assert_eq!(hit.document, *id);
        assert!((hit.score - score).abs() < 1e-5, "{hit:?} {score}");
        assert_eq!(hit.explanation.reranker_score, Some(said(hit)));
    }
    assert_ne!(ids(&after)[..5], ids(&before)[..5]);
    assert_eq!(after[5..], before[5..]);
    // Pages are parts of it, also one that begins inside.
    for (offset, top_k) in [(0, 2), (2, 2), (4, 3), (7, 5)] {
        let page = query.clone().offset(offset).top_k(top_k).run().unwrap();
        assert_eq!(page, after[offset..(offset + top_k).min(8)]);
    }
    let numbers: Vec<u32> = query.run_numbers().unwrap().iter().map(|(id, _)| *id).collect();
    assert_eq!(numbers, after.iter().map(|hit| hit.chunk).collect::<Vec<_>>());
    for first in [0, 1001] {
        let error = collection.query("apple").rerank(first).run().unwrap_err();
        assert!(matches!(error, Error::Parameter { name: "rerank", .. }), "{error}");
    }
    let vector = [1.0; 64];
    let error = collection.query_vector(&vector).rerank(5).run().unwrap_err();
    assert!(error.to_string().contains("it needs a text"), "{error}");
    let plain = database.existing_collection("texts", &CollectionOptions::default()).unwrap();
    let error = plain.query("apple").mode(Mode::Keyword).rerank(5).run().unwrap_err();
    assert!(matches!(error, Error::NoEncoder { .. }), "{error}");
    assert!(collection.query("plum").mode(Mode::Keyword).rerank(5).run().unwrap().is_empty());
}

/// The words' vectors are at right angles or alike, so that a passage has of a query the part that its
/// words weigh: by Lucene's idf, ln(1 + (4 - 3 + 0.5) / (3 + 0.5)) for "apple", which three of four
/// texts have, and ln(1 + (4 - 1 + 0.5) / (1 + 0.5)) for "quince". "the", which the index leaves out,
/// counts 2.
#[test]
fn late_interaction_weighs_words_by_how_rare_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("texts", &words()).unwrap();
    let texts = ["apple pear", "apple plum", "the apple cherry", "quince cherry"];
    collection
        .add((0..).zip(texts).map(|(i, t): (u32, _)| Document::new(format!("d{i}"), t)))
        .unwrap();
    let (common, rare) = ((1.0f32 + 1.5 / 3.5).ln(), (1.0f32 + 3.5 / 1.5).ln());
    let hits = collection.query("the apple quince").top_k(4).rerank(4).run().unwrap();
    assert_eq!(hits.len(), 4);
    for hit in &hits {
        let has = match hit.document.as_str() {
            "d2" => 2.0 + common,
            "d3" => rare,
            _ => common,
        };
        let part = has / (2.0 + common + rare);
        let found = hit.explanation.reranker_score.unwrap();
        assert!((found - part).abs() < 1e-5, "{hit:?} {part}");
    }
    // In batches they are the same.
    let query = collection.query("the apple quince").top_k(4).rerank(4);
    assert_eq!(Query::run_all(&[query])[0].as_ref().unwrap(), &hits);
}

/// Counts what is encoded.
struct Counted(support::HashedWords, Arc<AtomicUsize>);

impl Encoder for Counted {
    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }
    fn window(&self) -> usize {
        self.0.window()
    }
    fn fingerprint(&self) -> &Fingerprint {
        self.0.fingerprint()
    }
    fn tokens(&self) -> &dyn TokenSpans {
        self.0.tokens()
    }
    fn overhead(&self) -> usize {
        self.0.overhead()
    }
    fn encode(&self, texts: &[&str], kind: InputKind) -> vdb::Result<Vec<Embedding>> {
        self.1.fetch_add(texts.len(), Ordering::Relaxed);
        self.0.encode(texts, kind)
    }
    fn encode_tokens(&self, texts: &[(&str, InputKind)]) -> vdb::Result<Vec<TokenEmbedding>> {
        self.1.fetch_add(texts.len(), Ordering::Relaxed);
        self.0.encode_tokens(texts)
    }
}

/// Stored token vectors give the scores that encoding the passages gives, in 8 bits, through reopening,
/// replacing, re-embedding and removing; only the query is encoded.
#[test]
fn kept_token_vectors_rerank_without_encoding_passages() {
    let folder = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = |name: &str| -> Arc<dyn Encoder> {
        Arc::new(Counted(support::HashedWords::new(name), Arc::clone(&count)))
    };
    let texts = ["apple pear", "apple plum", "the apple cherry", "quince cherry", "apple pear"];
    let documents = || (0..).zip(texts).map(|(i, t): (u32, _)| Document::new(format!("d{i}"), t));
    let plain = Database::open(folder.path().join("plain")).unwrap();
    let ask = |collection: &Collection| {
        let hits = collection.query("the apple quince").top_k(5).rerank(5).run().unwrap();
        let mut scores: Vec<(String, f32)> = hits
            .into_iter()
            .map(|hit| (hit.document, hit.explanation.reranker_score.unwrap()))
            .collect();
        scores.sort_by(|a, b| a.0.cmp(&b.0));
        scores
    };
    let near = |found: &[(String, f32)], right: &[(String, f32)]| {
        assert_eq!(found.len(), right.len());
        for (found, right) in found.iter().zip(right) {
            assert!(found.0 == right.0 && (found.1 - right.1).abs() < 0.01, "{found:?} {right:?}");
        }
    };
    let collection = plain.collection("texts", &words()).unwrap();
    collection.add(documents()).unwrap();
    let right = ask(&collection);
    let path = folder.path().join("kept");
    {
        let database = Database::open(&path).unwrap();
        let options = CollectionOptions::encoder(counted("words")).late_interaction(1);
        let collection = database.collection("texts", &options).unwrap();
        // An equal text takes the vectors of the first.
        collection.add(documents()).unwrap();
        assert_eq!(count.swap(0, Ordering::Relaxed), 4);
    }
    let database = Database::open(&path).unwrap();
    let options = CollectionOptions::encoder(counted("words"));
    let collection = database.collection("texts", &options).unwrap();
    assert_eq!(database.collections().unwrap()[0].late_interaction, Some(1));
    near(&ask(&collection), &right);
    // Once for the first search, once for its tokens.
    assert_eq!(count.swap(0, Ordering::Relaxed), 2);
    collection.add([Document::new("d1", "the quince")]).unwrap();
    collection.remove(&["d0"]).unwrap();
    let (now, _) = (ask(&collection), count.swap(0, Ordering::Relaxed));
    assert_eq!(now.len(), 4);
    let plain_now = {
        plain.existing_collection("texts", &words()).unwrap().remove(&["d0"]).unwrap();
        let collection = plain.existing_collection("texts", &words()).unwrap();
        collection.add([Document::new("d1", "the quince")]).unwrap();
        ask(&collection)
    };
    near(&now, &plain_now);
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    let stop = std::sync::atomic::AtomicBool::new(false);
    database.reembed("texts", counted("another"), &|_| {}, &stop).unwrap();
    let options = CollectionOptions::encoder(counted("another"));
    let collection = database.existing_collection("texts", &options).unwrap();
    count.store(0, Ordering::Relaxed);
    near(&ask(&collection), &plain_now);
    assert_eq!(count.load(Ordering::Relaxed), 2);
    assert_eq!(database.verify(), Vec::<String>::new());
    assert_eq!(collection.verify().unwrap(), Vec::<String>::new());
    for (options, words) in [
        (CollectionOptions::dimensions(2).late_interaction(4), "needs an encoder"),
        (CollectionOptions::encoder(counted("words")).late_interaction(65), "from 1 to 64"),
    ] {
        let error = database.collection("other", &options).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}
