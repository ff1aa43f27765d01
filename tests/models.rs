//! What only shows with the real model: vectors against a reference, and the command line end to
//! end. Runtime and model are fetched as a user's set-up does; with `VDB_OFFLINE=1` every test here
//! is reported as ignored.
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

mod reference;
mod support;

use libtest_mimic::Arguments;
use std::fs;
use support::{needs_models, needs_models_and_data, vdb};
use vdb::encode::{Encoder, InputKind};
use vdb::model::Precision;

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        needs_models("fp32_equals_the_reference", fp32_equals_the_reference),
        needs_models("int8_is_close_and_independent_of_the_batch", int8_is_close),
        needs_models("imported_graphs_equal_a_plain_forward_pass", imported_graphs),
        needs_models("a_ready_onnx_model_needs_no_importer", a_ready_onnx_model),
        needs_models("another_configuration_is_another_graph", another_configuration),
        needs_models("threads_may_build_one_graph_at_once", threads_may_build_one_graph),
        needs_models("token_spans_are_bytes_of_the_text", token_spans_are_bytes),
        needs_models("a_long_text_says_what_was_cut", a_long_text_says_what_was_cut),
        needs_models("from_files_to_passages", from_files_to_passages),
        needs_models("input_that_is_bad_in_part", input_that_is_bad_in_part),
        needs_models("a_second_ingest_embeds_only_what_changed", a_second_ingest),
        needs_models("another_model_is_refused", another_model_is_refused),
        needs_models("a_damaged_model_file_is_noticed", a_damaged_model_file_is_noticed),
        needs_models("decoder_weights_equal_the_gguf_package", decoder_weights),
        needs_models_and_data("retrieval_quality_holds", retrieval_quality_holds),
        needs_models_and_data("reranking_pays", reranking_pays),
        needs_models("two_models_are_compared_on_pairs", two_models_are_compared_on_pairs),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// The texts of `golden/minilm.py`, in its order; the later ones only where the shared data is.
fn texts() -> Vec<String> {
    let own = include_str!("golden/texts.jsonl");
    let mut texts: Vec<String> =
        own.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if let Some(shared) = support::shared_data() {
        for name in ["cranfield", "med", "cisi"] {
            for (file, count) in [("corpus", 30), ("queries", 29)] {
                let path = shared.join(format!("retrieval/{name}/{file}.jsonl"));
                let lines = fs::read_to_string(path).unwrap();
                texts.extend(lines.lines().take(count).map(|line| {
                    let row: serde_json::Value = serde_json::from_str(line).unwrap();
                    row["text"].as_str().unwrap().to_owned()
                }));
            }
        }
    }
    texts.truncate(200);
    texts
}

/// Half precision, one row of 384 per text.
fn golden() -> Vec<Vec<f32>> {
    let bytes = include_bytes!("golden/minilm.f16");
    let widen = |b: &[u8; 2]| {
        let bits = u32::from(u16::from_le_bytes(*b));
        let (sign, exponent, fraction) = (bits >> 15, bits >> 10 & 31, bits & 1023);
        let magnitude = if exponent == 0 {
            fraction as f32 * 2f32.powi(-24)
        } else {
            (1.0 + fraction as f32 / 1024.0) * 2f32.powi(exponent.cast_signed() - 15)
        };
        if sign == 1 { -magnitude } else { magnitude }
    };
    let values: Vec<f32> = bytes.as_chunks::<2>().0.iter().map(widen).collect();
    values.chunks_exact(384).map(<[f32]>::to_vec).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn alone(encoder: &dyn Encoder, texts: &[String]) -> Vec<Vec<f32>> {
    let one = |text: &String| encoder.encode(&[text], InputKind::Document).unwrap().remove(0);
    texts.iter().map(|text| one(text).vector).collect()
}

fn together(encoder: &dyn Encoder, texts: &[String]) -> Vec<Vec<f32>> {
    let batches = texts.chunks(64).flat_map(|batch| {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        encoder.encode(&batch, InputKind::Document).unwrap()
    });
    batches.map(|embedding| embedding.vector).collect()
}

fn cosines(a: &[Vec<f32>], b: &[Vec<f32>]) -> (f64, f64) {
    let all: Vec<f64> = a.iter().zip(b).map(|(a, b)| cosine(a, b)).collect();
    (all.iter().copied().fold(1.0, f64::min), all.iter().sum::<f64>() / all.len() as f64)
}

fn fp32_equals_the_reference() {
    let handle = support::encoder(Precision::Fp32);
    let encoder = handle.get().unwrap();
    let texts = texts();
    let alone = alone(encoder, &texts);
    let (worst, _) = cosines(&alone, &golden());
    println!("fp32 to the reference: worst cosine {worst:.6} of {} texts", texts.len());
    assert!(worst >= 0.9999, "{worst}");
    for (i, (a, b)) in alone.iter().zip(together(encoder, &texts)).enumerate() {
        let difference = a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(difference <= 1e-5, "text {i} differs by {difference} in a batch");
    }
}

fn int8_is_close() {
    let handle = support::encoder(Precision::Int8);
    let encoder = handle.get().unwrap();
    let texts = texts();
    let alone = alone(encoder, &texts);
    let (worst, mean) = cosines(&alone, &golden());
    println!("int8 to the reference: mean cosine {mean:.5}, worst {worst:.5}");
    assert!(mean >= 0.99, "{mean}");
    let (worst, _) = cosines(&alone, &together(encoder, &texts));
    println!("int8 alone and in a batch: worst cosine {worst:.7}");
    assert!(worst >= 0.9995, "{worst}");
}

fn a_long_text_says_what_was_cut() {
    let handle = support::encoder(Precision::Int8);
    let encoder = handle.get().unwrap();
    // "word" is one token; two special tokens and a window of 256 leave 254.
    let text = "word ".repeat(300);
    let embeddings = encoder.encode(&[&text, "word"], InputKind::Document).unwrap();
    assert_eq!(embeddings[0].truncated_tokens, 300 - 254);
    assert_eq!(embeddings[1].truncated_tokens, 0);
}

/// A folder of files of every format.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join("notes").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("bread.md", "# Baking\n\n## Sourdough\n\nFeed the starter with flour and water.\n");
    write("sea.txt", "The tide follows the moon, twice a day.\n");
    write(
        "page.html",
        "<html><title>Cats</title><body><h1>Cats</h1><p>Cats purr.</p></body></html>",
    );
    write("code.rs", "fn fibonacci(n: u64) -> u64 {\n    if n < 2 { n } else { 1 }\n}\n");
    write(
        "rows.csv",
        "id,text,year\nr1,\"Volcanoes erupt molten rock.\",1999\nr2,Glaciers carve valleys.,2021\n",
    );
    write(
        "records.jsonl",
        "{\"_id\": \"j1\", \"text\": \"Honey bees dance to point at flowers.\", \"lang\": \"en\"}\n",
    );
    write("deep/er/list.json", "[{\"id\": \"k1\", \"text\": \"Owls hunt at night.\"}]");
    folder
}

fn from_files_to_passages() {
    let folder = files();
    let at = folder.path();
    let (status, out, err) = vdb(at, &["ingest", "notes", "--json"]);
    assert_eq!(status, 0, "{err}");
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(last["documents"], 8);

    let ask = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let (status, out, err) = vdb(at, &[&["query", "--json"], arguments].concat());
        assert_eq!(status, 0, "{err}");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let first = |arguments: &[&str]| ask(arguments)[0].clone();
    // By meaning, with no word in common.
    let hit = first(&["insects that tell each other where food is", "--mode", "dense"]);
    assert_eq!(hit["document"], "j1");
    assert_eq!(hit["lines"], serde_json::json!([1, 1]));
    // By keyword, in another form, with the lines of the file.
    let hit = first(&["feeding starters", "--mode", "keyword"]);
    assert_eq!(hit["document"], "notes/bread.md");
    assert_eq!(hit["heading"], serde_json::json!(["Baking"]));
    let hit = first(&["why does the water rise at the coast", "--explain"]);
    assert_eq!(hit["document"], "notes/sea.txt");
    assert_eq!(hit["explain"]["dense_rank"], 1);
    let hits = ask(&["rock", "--filter", "year > 2000 and exists(year)"]);
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["document"], "r2");

    let (_, out, _) = vdb(at, &["query", "a cat that purrs"]);
    assert!(out.contains("notes/page.html") && out.contains("**purr**"), "{out}");
    let (status, out, _) = vdb(at, &["get", "notes/sea.txt"]);
    assert_eq!((status, out.as_str()), (0, "The tide follows the moon, twice a day.\n"));
    let (status, out, _) = vdb(at, &["list", "--json"]);
    assert_eq!((status, out.lines().count()), (0, 8));
    let (status, ..) = vdb(at, &["remove", "j1"]);
    assert_eq!(status, 0);
    assert!(ask(&["bees dance"]).iter().all(|hit| hit["document"] != "j1"));
    let (status, _, err) = vdb(at, &["verify", "--full"]);
    assert_eq!(status, 0, "{err}");
}

fn input_that_is_bad_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("in")).unwrap();
    fs::write(at.join("in/bad.jsonl"), "{\"text\": \"good\"}\nnot json\n{\"text\": \"fine\"}\n")
        .unwrap();
    fs::write(at.join("in/empty.txt"), "").unwrap();
    fs::write(at.join("in/picture.png"), b"\x89PNG\r\n\x1a\n\0\0").unwrap();
    fs::write(at.join("in/ragged.csv"), "text,n\na,1\nb\nc,3\n").unwrap();
    fs::write(at.join("in/latin.txt"), b"caf\xe9 cr\xe8me").unwrap();
    let (status, _, err) = vdb(at, &["ingest", "in"]);
    assert_eq!(status, 3, "{err}");
    for said in [
        "bad.jsonl:2: not JSON",
        "empty.txt: skipped: it is empty",
        "picture.png: skipped: it is a picture",
        "ragged.csv:3: 1 fields where the header has 2",
        "latin.txt: it is not UTF-8; read as windows-1252",
        "5 documents added",
    ] {
        assert!(err.contains(said), "{said:?} in {err}");
    }
    let (status, _, err) = vdb(at, &["query", "x", "--filter", "year >"]);
    assert_eq!(status, 2);
    assert!(err.contains("filter syntax, at character 7"), "{err}");
    let (status, _, err) = vdb(at, &["query", "x", "--filter", "nothing = 1"]);
    assert_eq!(status, 2);
    assert!(err.contains("no document has the metadata field \"nothing\""), "{err}");
    let (status, _, err) = vdb(at, &["query", "x", "-k", "0"]);
    assert_eq!(status, 2, "{err}");
    let (status, out, _) = vdb(at, &["query", "coffee", "-k", "1000", "--json"]);
    assert_eq!((status, out.lines().count()), (0, 5));
}

fn a_second_ingest() {
    let folder = files();
    let at = folder.path();
    vdb(at, &["ingest", "notes"]);
    let (_, _, err) = vdb(at, &["ingest", "notes"]);
    assert!(err.contains("0 documents added, 8 unchanged; 0 chunks, 0 embedded"), "{err}");
    fs::write(at.join("notes/sea.txt"), "The tide follows the moon, once a month.\n").unwrap();
    fs::remove_file(at.join("notes/page.html")).unwrap();
    fs::copy(at.join("notes/bread.md"), at.join("notes/again.md")).unwrap();
    let (status, _, err) = vdb(at, &["ingest", "notes", "--prune"]);
    assert_eq!(status, 0);
    // The copy's chunk has a vector already.
    let said = "1 document added, 1 replaced, 6 unchanged, 1 removed; 2 chunks, 1 embedded";
    assert!(err.contains(said), "{err}");
    let (_, out, _) = vdb(at, &["list"]);
    assert!(!out.contains("page.html") && out.contains("again.md"));
}

fn another_model_is_refused() {
    let folder = files();
    let at = folder.path();
    vdb(at, &["ingest", "notes/sea.txt"]);
    let (status, _, err) = vdb(at, &["query", "x", "--precision", "fp32"]);
    assert_eq!(status, 1);
    assert!(err.contains("was embedded with all-MiniLM-L6-v2 (int8"), "{err}");
}

/// A home whose model has been changed: named, with what to do, and never used.
fn a_damaged_model_file_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let models = support::models();
    for manifest in models.defaults().unwrap() {
        let from = models.home().place(manifest);
        let to = home.path().join(from.strip_prefix(models.home().folder()).unwrap());
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_vdb"))
            .args(arguments)
            .current_dir(home.path())
            .env("VDB_HOME", home.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    fs::write(home.path().join("a.txt"), "text").unwrap();
    let weights = home.path().join("models/all-minilm-l6-v2/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    for damage in ["cut", "changed", "gone"] {
        match damage {
            "cut" => fs::write(&weights, &whole[..1000]).unwrap(),
            "changed" => {
                let mut bytes = whole.clone();
                bytes[50_000_000] ^= 1;
                fs::write(&weights, bytes).unwrap();
            }
            _ => fs::remove_file(&weights).unwrap(),
        }
        let (status, err) = run(&["--offline", "ingest", "a.txt"]);
        assert_eq!(status, Some(1), "{damage}: {err}");
        assert!(err.contains("vdb models pull all-MiniLM-L6-v2"), "{damage}: {err}");
    }
}

/// The bars of the main job, on collections with judgements; the figures are nDCG@10. Processors
/// without dot products of bytes have weights of 7 bits, which cost 0.006 of one of them
/// (docs/benchmarks.md).
fn retrieval_quality_holds() {
    let folder = tempfile::tempdir().unwrap();
    #[cfg(target_arch = "x86_64")]
    let whole = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    let whole = true;
    for (name, dense, keyword, hybrid) in [
        ("cranfield", 0.503, 0.521, if whole { 0.565 } else { 0.56 }),
        ("med", 0.785, 0.683, 0.795),
        ("cisi", 0.417, 0.358, 0.446),
    ] {
        let path = support::shared_data().unwrap().join("retrieval").join(name);
        let (status, out, err) = vdb(folder.path(), &["eval", path.to_str().unwrap(), "--json"]);
        assert_eq!(status, 0, "{err}");
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        println!("{name}: {out}");
        for (mode, bar) in [("dense", dense), ("keyword", keyword), ("hybrid", hybrid)] {
            let ndcg = found[mode]["ndcg@10"].as_f64().unwrap();
            assert!(ndcg >= bar, "{name} {mode}: {ndcg} is below {bar}");
        }
    }
}

/// The bars of late interaction on the first 50 hits of a hybrid search: nDCG@10 at least 0.005 higher
/// on the mean of three collections, and none lower by more than 0.002. The short form asks the
/// smallest one alone.
fn reranking_pays() {
    let long = std::env::var_os("VDB_LONG").is_some_and(|v| v == "1");
    let names: &[&str] = if long { &["med", "cranfield", "cisi"] } else { &["med"] };
    let folder = tempfile::tempdir().unwrap();
    let mut gains = Vec::new();
    for name in names {
        let path = support::shared_data().unwrap().join("retrieval").join(name);
        let path = path.to_str().unwrap();
        let (status, out, err) = vdb(folder.path(), &["eval", path, "--rerank", "--json"]);
        assert_eq!(status, 0, "{err}");
        let found: serde_json::Value = serde_json::from_str(&out).unwrap();
        let ndcg = |ranker: &str| found[ranker]["ndcg@10"].as_f64().unwrap();
        let gain = ndcg("reranked") - ndcg("hybrid");
        println!("{name}: {gain:+.4}, {:.0} ms a query", found["reranked"]["ms"].as_f64().unwrap());
        assert!(gain >= -0.002, "{name}: {gain}");
        gains.push(gain);
    }
    let mean = gains.iter().sum::<f64>() / gains.len() as f64;
    assert!(!long || mean >= 0.005, "{mean}");
}

/// The default encoder against small random weights: who is better is no question.
fn two_models_are_compared_on_pairs() {
    let (random, ..) = small_model("bert");
    let folder = tempfile::tempdir().unwrap();
    let pairs: String = texts()
        .iter()
        .filter(|text| text.split_whitespace().count() > 12)
        .take(40)
        .map(|text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let query = words[..words.len() / 2].join(" ");
            format!("{}\n", serde_json::json!({"query": query, "positive": text}))
        })
        .collect();
    fs::write(folder.path().join("pairs.jsonl"), pairs).unwrap();
    let random = random.path().to_str().unwrap();
    let arguments = ["eval", "pairs.jsonl", "--precision", "fp32", "--against", random];
    let (status, out, err) = vdb(folder.path(), &arguments);
    assert_eq!(status, 0, "{err}");
    let told = |ranker: &str| out.lines().rfind(|l| l.starts_with(ranker)).unwrap();
    assert!(told("dense").ends_with(": better"), "{out}");
    assert!(told("keyword").ends_with(": no difference"), "{out}");
    assert!(out.contains("\ndense     0."), "columns stand under their heads: {out}");
    let (_, out, _) = vdb(folder.path(), &[&arguments[..], &["--json"]].concat());
    let found: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["difference"]["dense"]["verdict"], "better");
    assert_eq!(found["queries"], found["against"]["queries"]);
    fs::write(folder.path().join("pairs.jsonl"), "{\"query\": \"a\"}\n").unwrap();
    let (status, _, err) = vdb(folder.path(), &arguments);
    assert!(status == 1 && err.contains("pairs.jsonl:1"), "{err}");
}

/// BERT and XLM-RoBERTa with small random weights, each with its own kind of tokenizer, against the
/// forward pass in `reference.rs`.
fn imported_graphs() {
    use vdb::encode::{EncoderOptions, EncoderSpec, OnnxEncoder};
    use vdb::model::Device;
    let runtime = support::models().runtime().unwrap();
    for kind in ["bert", "xlm-roberta"] {
        let folder = tempfile::tempdir().unwrap();
        let model = reference::Model::random(kind);
        model.write(folder.path());
        let spec = EncoderSpec::from_folder(folder.path()).unwrap();
        assert_eq!(spec.window, model.window());
        let options = |precision| EncoderOptions {
            precision,
            device: Device::Cpu,
            threads: Some(1),
            graphs: folder.path().join("graphs"),
        };
        let fp32 = OnnxEncoder::open(&runtime, &spec, &options(Precision::Fp32)).unwrap();
        let int8 = OnnxEncoder::open(&runtime, &spec, &options(Precision::Int8)).unwrap();
        for text in
            ["a", "red green blue", "blue blue a red green red blue green a", "unknown word"]
        {
            let expected = model.embed(text);
            let found = &fp32.encode(&[text], InputKind::Document).unwrap()[0].vector;
            let cosine32 = cosine(found, &expected);
            assert!(cosine32 > 0.999_999, "{kind} {text:?}: {cosine32}");
            let found = &int8.encode(&[text], InputKind::Document).unwrap()[0].vector;
            let cosine8 = cosine(found, &expected);
            assert!(cosine8 > 0.98, "{kind} {text:?} in 8 bits: {cosine8}");
        }
    }
}

/// Small random weights in a folder of their own, ready to be opened in 32 bits.
fn small_model(
    kind: &'static str,
) -> (tempfile::TempDir, reference::Model, vdb::encode::EncoderOptions) {
    let folder = tempfile::tempdir().unwrap();
    let model = reference::Model::random(kind);
    model.write(folder.path());
    let options = vdb::encode::EncoderOptions {
        precision: Precision::Fp32,
        device: vdb::model::Device::Cpu,
        threads: Some(1),
        graphs: folder.path().join("graphs"),
    };
    (folder, model, options)
}

const WORDS: &str = "red green blue a";

/// A folder with a graph and a tokenizer and nothing else, as exporters write it: the importer's own
/// graph stands in for theirs. Its vectors are those of the plain forward pass.
fn a_ready_onnx_model() {
    use vdb::encode::{EncoderSpec, OnnxEncoder};
    let runtime = support::models().runtime().unwrap();
    let (folder, model, options) = small_model("xlm-roberta");
    let spec = EncoderSpec::from_folder(folder.path()).unwrap();
    OnnxEncoder::open(&runtime, &spec, &options).unwrap();

    let ready = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(&options.graphs).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        // The graph names its weights file, which keeps its name.
        let name = if name.ends_with(".onnx") { "model.onnx" } else { &name };
        fs::copy(entry.path(), ready.path().join(name)).unwrap();
    }
    let missing = EncoderSpec::from_folder(ready.path()).unwrap_err().to_string();
    assert!(missing.contains("tokenizer.json"), "{missing}");
    fs::copy(folder.path().join("tokenizer.json"), ready.path().join("tokenizer.json")).unwrap();

    let spec = EncoderSpec::from_folder(ready.path()).unwrap();
    let encoder = OnnxEncoder::open(&runtime, &spec, &options).unwrap();
    let expected = model.embed(WORDS);
    assert_eq!(encoder.dimensions(), expected.len());
    let found = encoder.encode(&[WORDS, "blue"], InputKind::Document).unwrap();
    let cosine = cosine(&found[0].vector, &expected);
    assert!(cosine > 0.999_999, "{cosine}");
    assert!(encoder.encode(&[], InputKind::Document).unwrap().is_empty());
}

/// The same weights under another `config.json`: the graph of the first must not be taken.
fn another_configuration() {
    use vdb::encode::{EncoderSpec, OnnxEncoder};
    let runtime = support::models().runtime().unwrap();
    let (folder, _, options) = small_model("bert");
    let embed = || {
        let spec = EncoderSpec::from_folder(folder.path()).unwrap();
        let encoder = OnnxEncoder::open(&runtime, &spec, &options).unwrap();
        encoder.encode(&[WORDS], InputKind::Document).unwrap().remove(0).vector
    };
    let gelu = embed();
    let path = folder.path().join("config.json");
    let config = fs::read_to_string(&path).unwrap().replace("\"gelu\"", "\"relu\"");
    fs::write(&path, config).unwrap();
    let relu = embed();
    assert!(cosine(&gelu, &relu) < 0.9999, "the activation changed and the vector did not");
}

fn threads_may_build_one_graph() {
    use vdb::encode::{EncoderSpec, OnnxEncoder};
    let runtime = support::models().runtime().unwrap();
    for _ in 0..20 {
        let (folder, model, options) = small_model("bert");
        let spec = EncoderSpec::from_folder(folder.path()).unwrap();
        let expected = model.embed(WORDS);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let encoder = OnnxEncoder::open(&runtime, &spec, &options).unwrap();
                    let found = encoder.encode(&[WORDS], InputKind::Document).unwrap();
                    assert!(cosine(&found[0].vector, &expected) > 0.999_999);
                });
            }
        });
        let left = fs::read_dir(&options.graphs).unwrap().count();
        assert_eq!(left, 2, "only the graph and its weights remain");
    }
}

/// Normalisers fold case, strip accents and take ligatures apart; the spans still count bytes of the
/// text as it was given: whole characters, in order, leaving out no letter and no digit.
fn token_spans_are_bytes() {
    let handle = support::encoder(Precision::Int8);
    let tokens = handle.get().unwrap().tokens();
    let long = "Ærø, naïve Straße 3.14! ".repeat(9000);
    for text in texts().iter().map(String::as_str).chain([long.as_str()]) {
        let mut covered = 0;
        for span in tokens.token_spans(text).unwrap() {
            let token = text.get(span.clone()).unwrap_or_else(|| panic!("{span:?} in {text:?}"));
            assert!(!token.is_empty() && span.end >= covered, "{span:?} in {text:?}");
            let skipped = text.get(covered..span.start).unwrap_or_default();
            assert!(!skipped.contains(char::is_alphanumeric), "{skipped:?} is lost of {text:?}");
            covered = span.end;
        }
        assert!(!text[covered..].contains(char::is_alphanumeric), "the end of {text:?} is lost");
    }
    let words = |text: &'static str| -> Vec<&str> {
        tokens.token_spans(text).unwrap().into_iter().map(|span| &text[span]).collect()
    };
    assert_eq!(words("Naïve café, 日本"), ["Naïve", "café", ",", "日", "本"]);
}

/// Of every weight of the default decoder, the sum of the values that `golden/blocks.py` found with the
/// `gguf` package: equal to the bit.
fn decoder_weights() {
    let path = support::decoder_file();
    let found = vdb::model::weight_sums(&path).unwrap();
    let lines: Vec<String> = found.iter().map(|(name, sum)| format!("{name} {sum}")).collect();
    let wanted: Vec<&str> = include_str!("golden/smollm2.sums").lines().collect();
    assert_eq!(lines.len(), 272);
    assert_eq!(lines, wanted);
}
