//! How good answers are: evidence, retrieval, refusals, citations, and what a decoder writes, on
//! questions about tales whose answers are known.
//!
//! `cargo bench --bench answers -- evidence retrieved unanswerable citations generated` measures on
//! the questions that nothing was tuned on; `-- calibrate calibrate-evidence` fits the constants of
//! `rag::citations`, `rag::confidence` and `rag::evidence` on others and prints them.
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

#[path = "answers/fit.rs"]
mod fit;
#[path = "answers/planted.rs"]
mod planted;
mod support;
#[path = "answers/tales.rs"]
mod tales;

use planted::Planter;
use std::fs::File;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::time::Instant;
use tales::{Tale, contains, f1, normal};
use vdb::generate::Generator;
use vdb::model::Precision;
use vdb::rag::{Answer, Answered, AskOptions, Context, Passage, Rag, Style, measure};
use vdb::{Collection, CollectionOptions, Database, Document};

/// Threads of the figures that are published.
const THREADS: usize = 2;

fn main() {
    let mut parts: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if parts.is_empty() {
        parts = ["evidence", "retrieved", "unanswerable", "citations"].map(str::to_owned).to_vec();
    }
    let Some(val) = tales::read("val") else {
        println!("the shared data is not there: nothing is measured");
        return;
    };
    let encoder = support::encoder(Precision::Int8, THREADS);
    for part in &parts {
        let rag = Rag::without_collection(encoder.clone()).unwrap();
        match part.as_str() {
            "evidence" => evidence(&rag, &val),
            "retrieved" => retrieved(&encoder.clone().into(), &val),
            "unanswerable" => unanswerable(&encoder.clone().into(), &val),
            "citations" => citations(&rag, &val),
            "generated" => generated(rag, &val),
            "calibrate" => calibrate(&rag, &encoder.clone().into()),
            "calibrate-evidence" => calibrate_evidence(&rag),
            other => panic!("no part {other:?}"),
        }
    }
}

fn ask(rag: &Rag<'_>, question: &str, passages: Vec<Passage>, options: &AskOptions) -> Answer {
    let mut go_on = |_: vdb::rag::AskEvent<'_>| ControlFlow::Continue(());
    rag.ask_passages(question, passages, options, &mut go_on).unwrap()
}

fn gold(tale: &Tale) -> Vec<Passage> {
    vec![Passage::new("gold", tale.context.as_str())]
}

/// The evidence, whatever the confidence.
fn evidence_only(sentences: usize) -> AskOptions {
    AskOptions {
        evidence: sentences,
        style: Style::Extractive,
        min_confidence: 0.0,
        ..AskOptions::default()
    }
}

/// Does the first sentence of the gold passage hold the answer, or one of the first two?
fn evidence(rag: &Rag<'_>, tales: &[Tale]) {
    let (mut first, mut second, mut all, mut times) = (0, 0, 0, Vec::new());
    let (mut early, mut fifth) = ([0; 2], [0; 2]);
    for (i, tale) in tales.iter().enumerate() {
        let wanted = normal(&tale.answer);
        let start = Instant::now();
        let answer = ask(rag, &tale.question, gold(tale), &evidence_only(3));
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let holds = |n: usize| answer.evidence.iter().take(n).any(|e| contains(&e.text, &wanted));
        first += usize::from(holds(1));
        second += usize::from(holds(2));
        for (part, is_in) in [(&mut early, i < 200), (&mut fifth, i % 5 == 0)] {
            part[0] += usize::from(is_in && holds(1));
            part[1] += usize::from(is_in && holds(2));
        }
        all += usize::from(contains(&tale.context, &wanted));
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("evidence, gold passage, {} questions", tales.len());
    println!("  the passage holds the answer word for word: {}", share(all, tales.len()));
    println!("  the first sentence holds it: {}", share(first, tales.len()));
    println!("  one of the first two: {}", share(second, tales.len()));
    let fifths = tales.len().div_ceil(5);
    println!("  of the first 200: {}, {}", share(early[0], 200), share(early[1], 200));
    println!("  of every fifth: {}, {}", share(fifth[0], fifths), share(fifth[1], fifths));
    println!("  ms a question: p50 {:.1}, p95 {:.1}", at(0.5), at(0.95));
}

/// A collection of the passages of these tales, each once.
fn collection(options: &CollectionOptions, tales: &[Tale]) -> (tempfile::TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("db")).unwrap();
    let collection = database.collection("tales", options).unwrap();
    let mut known = std::collections::HashSet::new();
    let documents: Vec<Document> = tales
        .iter()
        .filter(|tale| known.insert(tale.passage))
        .map(|tale| Document::new(tale.passage.to_string(), tale.context.as_str()))
        .collect();
    for some in documents.chunks(256) {
        collection.add(some.iter().cloned()).unwrap();
    }
    (folder, collection)
}

fn options(encoder: &Encoder) -> CollectionOptions {
    CollectionOptions::encoder(encoder.0.clone())
}

/// The encoder under a name that is not one of the library's.
struct Encoder(vdb::encode::EncoderHandle);

impl From<vdb::encode::EncoderHandle> for Encoder {
    fn from(handle: vdb::encode::EncoderHandle) -> Self {
        Self(handle)
    }
}

/// Whether what was found has a part of the question's passage. Some passages are made of others, and
/// a long one is cut, so that the document alone does not tell.
fn holds_passage(found: &str, tale: &Tale) -> bool {
    tales::long(&tale.context).any(|sentence| found.contains(sentence))
}

/// All passages as the collection.
fn retrieved(encoder: &Encoder, tales: &[Tale]) {
    let (_folder, collection) = collection(&options(encoder), tales);
    let rag = Rag::new(&collection).unwrap();
    let (mut found, mut best, mut first, mut second, mut refused) = (0, 0, 0, 0, 0);
    let hits = |tale: &Tale| collection.query(&tale.question).top_k(20).run().unwrap();
    let rank = |tale: &Tale| {
        let is_gold = |hit: &vdb::Hit| holds_passage(&hit.text, tale);
        hits(tale).iter().position(is_gold).unwrap_or(usize::MAX)
    };
    let ranks: Vec<usize> = tales.iter().map(rank).collect();
    let within = |n: usize| share(ranks.iter().filter(|rank| **rank < n).count(), ranks.len());
    println!(
        "hits as they are found: the gold passage is the first: {}, among 5: {}, among 20: {}",
        within(1),
        within(5),
        within(20)
    );
    for tale in tales {
        let wanted = normal(&tale.answer);
        let mut go_on = |_: vdb::rag::AskEvent<'_>| ControlFlow::Continue(());
        let answer = rag.ask(&tale.question, &evidence_only(3), &mut go_on).unwrap();
        let is_gold = |passage: &Passage| holds_passage(&passage.text, tale);
        found += usize::from(answer.passages.iter().any(is_gold));
        best += usize::from(answer.passages.first().is_some_and(is_gold));
        let holds = |n: usize| answer.evidence.iter().take(n).any(|e| contains(&e.text, &wanted));
        first += usize::from(holds(1));
        second += usize::from(holds(2));
        refused += usize::from(answer.confidence < vdb::rag::ANSWERABLE);
    }
    let n = tales.len();
    println!(
        "evidence, retrieved passages, {n} questions, {} passages",
        collection.stats().documents
    );
    println!(
        "  the gold passage is the first: {}, among the first 5: {}",
        share(best, n),
        share(found, n)
    );
    println!("  the first sentence holds the answer: {}", share(first, n));
    println!("  one of the first two: {}", share(second, n));
    println!("  refused: {}", share(refused, n));
}

/// Questions asked of a collection that lacks their passages, and of one that has them: questions
/// spread over all tales, so that other passages of the same tales remain, and questions in a row, with
/// which whole tales go.
fn unanswerable(encoder: &Encoder, tales: &[Tale]) {
    let (_b, with) = collection(&options(encoder), tales);
    let refused = |collection: &Collection, asked: &[Tale]| {
        let rag = Rag::new(collection).unwrap();
        let mut go_on = |_: vdb::rag::AskEvent<'_>| ControlFlow::Continue(());
        let extractive = AskOptions { style: Style::Extractive, ..AskOptions::default() };
        let is_refused = |tale: &&Tale| {
            let answer = rag.ask(&tale.question, &extractive, &mut go_on).unwrap();
            answer.answered == Answered::NotFound
        };
        share(asked.iter().filter(is_refused).count(), asked.len())
    };
    for (name, (asked, rest)) in [
        ("spread over all tales", tales::apart(tales, 200)),
        ("in a row", tales::whole_apart(tales, 200)),
    ] {
        let (_a, without) = collection(&options(encoder), &rest);
        println!("no answer, {} questions {name}", asked.len());
        println!("  without their passages, refused: {}", refused(&without, &asked));
        println!("  with them, refused: {}", refused(&with, &asked));
    }
    println!("  all questions with their passages, refused: {}", refused(&with, tales));
}

/// True sentences and the same with a false claim planted.
fn citations(rag: &Rag<'_>, tales: &[Tale]) {
    let mut planter = Planter::new(tales, 7);
    let claims = planter.claims(tales, 50);
    println!("citations, gold passage");
    let supported = |tale: &Tale, text: &str| {
        let sentences = rag.check(&tale.question, &gold(tale), text).unwrap();
        sentences.iter().all(|sentence| sentence.citation.is_some())
    };
    let (mut caught, mut planted_count) = (0, 0);
    for kind in planted::Kind::ALL {
        let of_kind: Vec<_> = claims.iter().filter(|claim| claim.kind == kind).collect();
        let found = of_kind.iter().filter(|claim| !supported(claim.tale, &claim.text)).count();
        caught += found;
        planted_count += of_kind.len();
        println!("  false {kind:?}: unsupported {}", share(found, of_kind.len()));
    }
    println!("  all false: unsupported {}", share(caught, planted_count));
    let truths = planter.truths(tales, 200);
    for kind in planted::Truth::ALL {
        let of_kind: Vec<_> = truths.iter().filter(|claim| claim.kind == kind).collect();
        let kept = of_kind.iter().filter(|claim| supported(claim.tale, &claim.text)).count();
        println!("  true {kind:?}: supported {}", share(kept, of_kind.len()));
    }
}

/// What the default decoder writes. `ANSWERS_PROMPTS` names a file for what it read and wrote, with which
/// `bench/peers/answers.py` asks llama.cpp the same.
fn generated(rag: Rag<'_>, tales: &[Tale]) {
    let models = vdb::model::Models::from_env().unwrap().threads(Some(THREADS));
    let decoder = match models.decoder(vdb::model::DEFAULT_DECODER) {
        Ok(decoder) => decoder,
        Err(error) => return println!("generated: {error}"),
    };
    let limit = std::env::var("ANSWERS_LIMIT").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    let step = (tales.len() / limit).max(1);
    let tales: Vec<&Tale> = tales.iter().step_by(step).take(limit).collect();
    let generator: &dyn Generator = &decoder;
    let rag = rag.generator(generator);
    let mut prompts = std::env::var("ANSWERS_PROMPTS").ok().map(|f| File::create(f).unwrap());
    for (name, style, context) in [
        ("free, evidence", Style::Free, Context::Evidence),
        ("free, passages", Style::Free, Context::Passages),
        ("quote, evidence", Style::Quote, Context::Evidence),
    ] {
        let options = AskOptions { style, context, min_confidence: 0.0, ..AskOptions::default() };
        let (mut written, mut exact, mut shown, mut alone) = (0, 0, 0, 0);
        let (mut cited, mut held, mut uncited) = (0, 0, 0);
        let (mut kept, mut overlap, mut seconds) = (0, 0.0, 0.0);
        for tale in &tales {
            let wanted = normal(&tale.answer);
            let answer = ask(&rag, &tale.question, gold(tale), &options);
            let Some(text) = &answer.generated else { continue };
            if let (Some(file), Some(prompt)) = (&mut prompts, &answer.prompt) {
                let line = serde_json::json!({
                    "part": name,
                    "prompt": prompt.text(),
                    "answer": tale.answer,
                    "written": text.text,
                    "max_tokens": options.generate.max_tokens,
                });
                writeln!(file, "{line}").unwrap();
            }
            seconds += answer.timings.generation.as_secs_f64();
            overlap += f1(&text.text, &wanted);
            exact += usize::from(normal(&text.text) == wanted);
            let holds = contains(&text.text, &wanted);
            let first = answer.evidence.first().is_some_and(|e| contains(&e.text, &wanted));
            written += usize::from(holds);
            alone += usize::from(first);
            shown += usize::from(first || holds || contains(&answer.text, &wanted));
            kept += usize::from(answer.answered != Answered::Evidence);
            // Where the answer is there to be cited: in a sentence, and in the passage.
            for sentence in &text.sentences {
                if contains(&sentence.text, &wanted) && contains(&tale.context, &wanted) {
                    match &sentence.citation {
                        Some(citation) => {
                            cited += 1;
                            held += usize::from(contains(&citation.text, &wanted));
                        }
                        None => uncited += 1,
                    }
                }
            }
        }
        let n = tales.len();
        println!("generated, {name}, {n} questions, {:.2} s each", seconds / n as f64);
        println!(
            "  contains the answer: {}, exact {}, F1 {:.3}",
            share(written, n),
            share(exact, n),
            overlap / n as f64
        );
        println!("  the first evidence does: {}, either {}", share(alone, n), share(shown, n));
        println!("  supported in part: {}", share(kept, n));
        println!(
            "  where a sentence has it: cited {}, the span holds it {}",
            share(cited, cited + uncited),
            share(held, cited)
        );
    }
}

/// Fits on other tales by what a sentence is ranked as evidence.
fn calibrate_evidence(rag: &Rag<'_>) {
    let tales = tales::read("train").unwrap();
    let mut groups = Vec::new();
    for tale in &tales {
        let wanted = normal(&tale.answer);
        let rows = measure::evidence(rag, &tale.question, &gold(tale)).unwrap();
        let told = |(text, row): (String, _)| (row, contains(&text, &wanted));
        groups.push(rows.into_iter().map(told).collect::<Vec<_>>());
    }
    fit::report_choice("evidence", &groups, 5.0);
}

/// Fits the constants of citations and confidence on other tales.
fn calibrate(rag: &Rag<'_>, encoder: &Encoder) {
    let tales = tales::read("train").unwrap();
    // Support.
    let mut planter = Planter::new(&tales, 11);
    let mut rows = Vec::new();
    for claim in planter.claims(&tales, 400) {
        let found = measure::support(rag, &claim.tale.question, &gold(claim.tale), &[&claim.text]);
        rows.extend(found.unwrap().into_iter().flatten().map(|row| (row, false)));
    }
    for claim in planter.truths(&tales, 400) {
        let found = measure::support(rag, &claim.tale.question, &gold(claim.tale), &[&claim.text]);
        rows.extend(found.unwrap().into_iter().flatten().map(|row| (row, true)));
    }
    fit::report("support", &rows, fit::Limit::False(0.95));
    // Confidence: tales in parts of about 400 passages, as many as a small collection has.
    let mut rows = Vec::new();
    for part in tales.chunks(1000).take(4) {
        let (asked, rest) = tales::apart(part, 200);
        for (passages, answerable) in [(&rest, false), (&part.to_vec(), true)] {
            let (_folder, collection) = collection(&options(encoder), passages);
            let found = Rag::new(&collection).unwrap();
            for tale in &asked {
                let mut go_on = |_: vdb::rag::AskEvent<'_>| ControlFlow::Continue(());
                let answer = found.ask(&tale.question, &evidence_only(1), &mut go_on).unwrap();
                let signs = measure::signs(&found, &tale.question, &answer.passages).unwrap();
                rows.extend(signs.map(|row| (row, answerable)));
            }
        }
    }
    fit::report("confidence", &rows, fit::Limit::True(0.08));
}

/// `78.5 % (72.3 to 83.6)`: Wilson's interval of 95 % (Wilson 1927).
fn share(count: usize, of: usize) -> String {
    if of == 0 {
        return "none".to_owned();
    }
    let (n, z) = (of as f64, 1.96_f64);
    let p = count as f64 / n;
    let centre = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let (low, high) = (100.0 * (centre - half), 100.0 * (centre + half));
    format!("{:.1} % ({low:.1} to {high:.1}, n {of})", 100.0 * p)
}
