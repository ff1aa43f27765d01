//! Answers with the real encoder, and with the default decoder: what `bench/answers.rs` measures on all
//! questions, on a part of them; and the command line from files to an answer. With `VDB_OFFLINE=1`
//! every test here is reported as ignored.
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

#[path = "answers/injection.rs"]
mod injection;
#[path = "../bench/answers/planted.rs"]
mod planted;
mod support;
#[path = "../bench/answers/tales.rs"]
mod tales;

use libtest_mimic::{Arguments, Trial};
use planted::{Kind, Planter, Truth};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use support::{needs_models, needs_models_and_data, vdb};
use tales::{Tale, contains, normal};
use vdb::encode::InputKind;
use vdb::generate::Decoder;
use vdb::model::{DEFAULT_DECODER, Precision};
use vdb::rag::{Answer, Answered, AskEvent, AskOptions, Passage, Rag, Style};
use vdb::{Collection, CollectionOptions, Database, Document};

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        needs_models("token_vectors_make_the_texts_vector", token_vectors),
        needs_models("ask_from_the_command_line", ask_from_the_command_line),
        needs_models("chat_from_the_command_line", chat_from_the_command_line),
        needs_models("ask_with_the_default_decoder", ask_with_the_default_decoder),
        needs_models("planted_instructions_change_nothing", injection::planted_instructions),
        long("the_first_sentences_hold_the_answer", first_sentences),
        long("planted_claims_are_unsupported", planted_claims),
        long("questions_without_their_passages_are_refused", refusals),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// Minutes of work: with `VDB_LONG=1` only.
fn long(name: &str, run: fn()) -> Trial {
    if std::env::var_os("VDB_LONG").is_some_and(|v| v == "1") {
        needs_models_and_data(name, run)
    } else {
        Trial::test(name, || Ok(())).with_ignored_flag(true)
    }
}

fn go_on(_: AskEvent<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn options() -> CollectionOptions {
    CollectionOptions::encoder(support::encoder(Precision::Int8))
}

/// The same vector as `encode` gives, whatever is encoded beside it; rows of unit length, one for each
/// token of the text; the mean of the rows points where the text's vector does, but for the special
/// tokens.
fn token_vectors() {
    let handle = support::encoder(Precision::Int8);
    let encoder = handle.get().unwrap();
    let texts = ["Who had seven sons?", "A farmer, ö, had seven sons and one daughter.", "", "x"];
    let inputs: Vec<(&str, InputKind)> =
        texts.iter().map(|text| (*text, InputKind::Document)).collect();
    let together = encoder.encode_tokens(&inputs).unwrap();
    assert_eq!(together.len(), texts.len());
    for (text, given) in texts.iter().zip(&together) {
        let alone = encoder.encode(&[text], InputKind::Document).unwrap().remove(0);
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        assert!(near(&alone.vector, &given.embedding.vector) > 0.999, "{text}");
        let spans = encoder.tokens().token_spans(text).unwrap();
        assert_eq!(given.spans, spans, "{text}");
        let rows: Vec<&[f32]> = given.vectors.chunks_exact(encoder.dimensions()).collect();
        assert_eq!(rows.len(), spans.len(), "{text}");
        assert!(rows.iter().all(|row| (near(row, row) - 1.0).abs() < 1e-3), "{text}");
    }
    // The word that both have is nearest to itself.
    let row = |text: usize, word: &str| {
        let at = texts[text].find(word).unwrap();
        let nth = together[text].spans.iter().position(|span| span.start == at).unwrap();
        &together[text].vectors[nth * 384..(nth + 1) * 384]
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    assert!(near(row(0, "seven"), row(1, "seven")) > near(row(0, "seven"), row(1, "farmer")));
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let notes = folder.path().join("notes");
    fs::create_dir(&notes).unwrap();
    let write = |name: &str, text: &str| fs::write(notes.join(name), text).unwrap();
    write(
        "mill.md",
        "# The mill\n\nThe mill at Orton was built in 1743 by Anna Berg.\nIt burned down in 1802, and \
         nobody was hurt.\n\n# The bridge\n\nThe bridge over the river Eden has five arches.\n",
    );
    write("bread.txt", "Feed the sourdough starter twice a day. Rye flour makes it sour.\n");
    let (status, _, err) = vdb(folder.path(), &["ingest", "notes"]);
    assert_eq!(status, 0, "{err}");
    folder
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn ask_from_the_command_line() {
    support::models();
    let folder = folder();
    let at = folder.path();
    let (status, out, err) = vdb(at, &["ask", "Who built the mill?", "--extractive"]);
    assert_eq!(status, 0, "{err}");
    assert!(out.starts_with("The mill at Orton was built in 1743 by Anna Berg. [1]\n"), "{out}");
    assert!(out.contains("Sources\n[1] notes/mill.md:1-"), "{out}");

    let (_, out, _) = vdb(at, &["ask", "Who built the mill?", "--extractive", "--json", "-v"]);
    let answer = json(&out);
    assert_eq!(answer["answered"], "evidence");
    let citation = &answer["sentences"][0]["citation"];
    let document = fs::read_to_string(at.join("notes/mill.md")).unwrap();
    let bound = |i: usize| citation["span"][i].as_u64().unwrap() as usize;
    assert_eq!(&document[bound(0)..bound(1)], answer["answer"].as_str().unwrap());
    assert_eq!(answer["evidence"][0]["lines"], serde_json::json!([3, 3]));
    assert!(answer["confidence"].as_f64().unwrap() > 0.5);

    let (status, out, _) = vdb(at, &["ask", "Who won the chess match in Paris?", "--extractive"]);
    assert_eq!(status, 0);
    assert!(out.starts_with("The documents do not say."), "{out}");
    assert!(out.contains("Sources\n[1] "), "{out}");

    for (arguments, said) in [
        (&["ask"][..], "<QUESTION>"),
        (&["ask", " ", "--extractive"], "question"),
        (&["ask", "x", "--extractive", "-k", "0"], "top_k"),
        (&["ask", "x", "--extractive", "--filter", "a ="], "filter syntax"),
        (&["ask", "x", "--extractive", "--quote"], "--quote"),
        (&["ask", "x", "--extractive", "--min-confidence", "2"], "min_confidence"),
    ] {
        let (status, _, err) = vdb(at, arguments);
        assert_eq!(status, 2, "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
    vdb(at, &["remove", "notes/mill.md", "notes/bread.txt"]);
    let (status, out, err) = vdb(at, &["ask", "Who built the mill?", "--extractive"]);
    assert_eq!((status, out.as_str()), (0, "The documents do not say.\n"));
    assert!(err.contains("the collection is empty; `vdb ingest PATH`"), "{err}");
}

fn chat_from_the_command_line() {
    use std::io::Write as _;
    support::models();
    let folder = folder();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_vdb"))
        .args(["chat", "--extractive", "--json", "--quiet"])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let questions = "Who built the mill at Orton?\n\nWhen did it burn down?\n/quit\nnever asked\n";
    child.stdin.take().unwrap().write_all(questions.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<_> = answers.lines().map(json).collect();
    assert_eq!(answers.len(), 2);
    assert!(answers[1]["question"].as_str().unwrap().contains("mill Orton"), "{}", answers[1]);
    assert!(answers[1]["answer"].as_str().unwrap().contains("1802"), "{}", answers[1]);
}

fn decoder() -> Decoder {
    support::models_with_decoder().decoder(DEFAULT_DECODER).unwrap()
}

/// What a small model writes is not to be foreseen; what is shown of it is.
fn ask_with_the_default_decoder() {
    support::models_with_decoder();
    let folder = folder();
    let ask = |more: &[&str]| {
        let mut arguments = vec!["ask", "Who built the mill at Orton?", "--json", "--threads", "2"];
        arguments.extend(more);
        let (status, out, err) = vdb(folder.path(), &arguments);
        assert_eq!(status, 0, "{err}");
        json(&out)
    };
    let answer = ask(&[]);
    assert!(answer["tokens"]["prompt"].as_u64().unwrap() > 20, "{answer}");
    let generated = answer["generated"]["sentences"].as_array().unwrap();
    for sentence in generated.iter().filter(|sentence| !sentence["citation"].is_null()) {
        let number = sentence["citation"]["passage"].as_u64().unwrap() as usize;
        let passage = answer["passages"][number - 1]["text"].as_str().unwrap();
        assert!(passage.contains(sentence["citation"]["text"].as_str().unwrap()), "{answer}");
    }
    let supported = generated.iter().any(|sentence| !sentence["citation"].is_null());
    assert_eq!(answer["answered"] == "generated", supported, "{answer}");
    assert_eq!(answer["answered"] == "evidence", !supported, "{answer}");

    let quote = ask(&["--quote", "--max-tokens", "24"]);
    let text = quote["generated"]["text"].as_str().unwrap().trim();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let stands = quote["passages"]
        .as_array()
        .unwrap()
        .iter()
        .any(|passage| words(passage["text"].as_str().unwrap()).contains(&words(text)));
    assert!(stands, "{quote}");
}

fn gold(tale: &Tale) -> Vec<Passage> {
    vec![Passage::new("gold", tale.context.as_str())]
}

/// Every fifth question: 45.9 and 55.1 %. On all of them it is 38.0 and 48.9 % (docs/benchmarks.md).
fn first_sentences() {
    let tales = tales::read("val").unwrap();
    let rag = Rag::without_collection(support::encoder(Precision::Int8)).unwrap();
    let options = AskOptions {
        style: Style::Extractive,
        min_confidence: 0.0,
        evidence: 2,
        ..AskOptions::default()
    };
    let (mut first, mut second, mut all) = (0.0, 0.0, 0.0);
    for tale in tales.iter().step_by(5) {
        let wanted = normal(&tale.answer);
        let ask = rag.ask_passages(&tale.question, gold(tale), &options, &mut go_on);
        let evidence = ask.unwrap().evidence;
        let holds = |n: usize| evidence.iter().take(n).any(|one| contains(&one.text, &wanted));
        all += 1.0;
        first += f64::from(u8::from(holds(1)));
        second += f64::from(u8::from(holds(2)));
    }
    println!("first {:.3}, one of two {:.3} of {all}", first / all, second / all);
    assert!(first / all >= 0.44 && second / all >= 0.53);
}

fn planted_claims() {
    let tales = tales::read("val").unwrap();
    let rag = Rag::without_collection(support::encoder(Precision::Int8)).unwrap();
    let mut planter = Planter::new(&tales, 7);
    let supported = |tale: &Tale, text: &str| {
        let sentences = rag.check(&tale.question, &gold(tale), text).unwrap();
        sentences.iter().all(|sentence| sentence.citation.is_some())
    };
    let claims = planter.claims(&tales, 50);
    let caught = claims.iter().filter(|claim| !supported(claim.tale, &claim.text)).count();
    println!("{caught} of {} planted claims are unsupported", claims.len());
    assert_eq!(claims.len(), 50 * Kind::ALL.len());
    assert!(caught * 10 >= claims.len() * 9);
    let truths = planter.truths(&tales, 50);
    for kind in Truth::ALL {
        let own: Vec<_> = truths.iter().filter(|truth| truth.kind == kind).collect();
        let kept = own.iter().filter(|truth| supported(truth.tale, &truth.text)).count();
        println!("{kept} of {} true sentences ({kind:?}) are supported", own.len());
        assert!(kept * 10 >= own.len() * 8, "{kind:?}");
    }
}

fn collection(folder: &Path, tales: &[Tale]) -> Collection {
    let database = Database::open(folder.join("db")).unwrap();
    let collection = database.collection("tales", &options()).unwrap();
    let mut known = std::collections::HashSet::new();
    let documents = tales
        .iter()
        .filter(|tale| known.insert(tale.passage))
        .map(|tale| Document::new(tale.passage.to_string(), tale.context.as_str()));
    collection.add(documents).unwrap();
    collection
}

/// 60.5 % without and 12.5 % with them; of all questions with their passages 9.8 % (docs/benchmarks.md).
fn refusals() {
    let tales = tales::read("val").unwrap();
    // Whole tales go; where other passages of the same tale remain, less is refused
    // (docs/benchmarks.md).
    let (asked, rest) = tales::whole_apart(&tales, 200);
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, tales: &[Tale]| {
        let at = folder.path().join(name);
        fs::create_dir(&at).unwrap();
        let collection = collection(&at, tales);
        let rag = Rag::new(&collection).unwrap();
        let options = AskOptions { style: Style::Extractive, ..AskOptions::default() };
        let ask =
            |tale: &&Tale| -> Answer { rag.ask(&tale.question, &options, &mut go_on).unwrap() };
        let refused = asked.iter().filter(|tale| ask(tale).answered == Answered::NotFound).count();
        refused as f64 / asked.len() as f64
    };
    let (without, with) = (refused("without", &rest), refused("with", &tales));
    println!("refused without their passages {without:.3}, with them {with:.3}");
    assert!(without >= 0.7 && with <= 0.1);
}
