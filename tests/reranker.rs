//! Cross-encoders: their figures against transformers', and the commands that take them. The runtime is
//! fetched as a user's set-up does; with `VDB_OFFLINE=1` every test here is reported as ignored.
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

use libtest_mimic::Arguments;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use support::{needs_models, vdb};
use vdb::encode::{CrossEncoder, CrossEncoderSpec, EncoderOptions, EncoderSpec, Reranker as _};
use vdb::model::{Device, Precision};
use vdb::train::{RerankerBase, TrainableCrossEncoder};

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        needs_models("logits_are_those_of_transformers", logits),
        needs_models("roberta_has_the_same_head_under_other_names", roberta),
        needs_models("int8_keeps_the_figures_and_a_batch_changes_none", int8),
        needs_models("what_is_no_cross_encoder_is_refused", refused),
        needs_models("a_query_is_reranked_by_a_cross_encoder", a_query_is_reranked),
        needs_models("the_trained_form_has_the_same_figures", trained_form),
        needs_models("a_reranker_is_trained_from_an_encoder_and_used", trained_and_used),
        needs_models("bad_input_has_its_exit_status_and_reason", bad_input),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

const HIDDEN: usize = 32;
const INNER: usize = 64;
const POSITIONS: usize = 24;
const WORDS: [&str; 12] = [
    "the", "kettle", "harbour", "violin", "boil", "water", "ship", "music", "of", "a", "where",
    "is",
];

/// Numbers from -1 to 1 by number of the tensor and of the element: a hash of 32 bits.
fn number(tensor: usize, element: usize) -> f32 {
    let mut x =
        (element as u32).wrapping_mul(0x9e37_79b1) ^ (tensor as u32).wrapping_mul(0x85eb_ca77);
    for _ in 0..2 {
        x = (x ^ (x >> 16)).wrapping_mul(0x045d_9f3b);
    }
    (f64::from(x ^ (x >> 16)) / 2f64.powi(31) - 1.0) as f32
}

/// A cross-encoder of two layers whose weights are [`number`]s, in the form in which transformers
/// publishes it.
fn write_tiny(folder: &Path, kind: &str) {
    let bert = kind == "bert";
    let specials =
        if bert { ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] } else { ["<s>", "<pad>", "</s>", "<unk>"] };
    let letters = (b'a'..=b'z').map(|c| char::from(c).to_string());
    let pieces = (b'a'..=b'z').map(|c| format!("##{}", char::from(c)));
    let words = specials.into_iter().chain(WORDS).map(str::to_owned);
    let words: Vec<String> = words.chain(letters).chain(pieces).collect();
    // "a" is a word and a letter.
    let mut vocabulary = serde_json::Map::new();
    for word in words {
        let next = vocabulary.len();
        vocabulary.entry(word).or_insert(next.into());
    }
    let (cls, sep, unknown) = if bert { (2, 3, 1) } else { (0, 2, 3) };
    let post = if bert { "BertProcessing" } else { "RobertaProcessing" };
    let mut post = json!({"type": post, "sep": [specials[sep], sep], "cls": [specials[cls], cls]});
    if !bert {
        post["trim_offsets"] = true.into();
        post["add_prefix_space"] = false.into();
    }
    let special = |(id, text): (usize, &&str)| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": specials.iter().enumerate().map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": post, "decoder": null,
        "model": {"type": "WordPiece", "vocab": vocabulary, "unk_token": specials[unknown],
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
    });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let class = if bert { "Bert" } else { "XLMRoberta" };
    let types = if bert { 2 } else { 1 };
    let config = json!({
        "architectures": [format!("{class}ForSequenceClassification")], "model_type": kind,
        "hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": INNER, "max_position_embeddings": POSITIONS,
        "vocab_size": vocabulary.len(), "type_vocab_size": types, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "pad_token_id": if bert { 0 } else { 1 },
        "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let settings = json!({"tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": POSITIONS - if bert { 0 } else { 2 },
        "pad_token": specials[if bert { 0 } else { 1 }]});
    fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();

    let prefix = if bert { "bert." } else { "roberta." };
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, dims: &[usize]| shapes.push((name, dims.to_vec()));
    let embeddings = format!("{prefix}embeddings.");
    add(format!("{embeddings}word_embeddings.weight"), &[vocabulary.len(), HIDDEN]);
    add(format!("{embeddings}position_embeddings.weight"), &[POSITIONS, HIDDEN]);
    add(format!("{embeddings}token_type_embeddings.weight"), &[types, HIDDEN]);
    add(format!("{embeddings}LayerNorm.weight"), &[HIDDEN]);
    add(format!("{embeddings}LayerNorm.bias"), &[HIDDEN]);
    let mut layers = Vec::new();
    for layer in 0..2 {
        for (name, dims) in [
            ("attention.self.query", vec![HIDDEN, HIDDEN]),
            ("attention.self.key", vec![HIDDEN, HIDDEN]),
            ("attention.self.value", vec![HIDDEN, HIDDEN]),
            ("attention.output.dense", vec![HIDDEN, HIDDEN]),
            ("attention.output.LayerNorm", vec![HIDDEN]),
            ("intermediate.dense", vec![INNER, HIDDEN]),
            ("output.dense", vec![HIDDEN, INNER]),
            ("output.LayerNorm", vec![HIDDEN]),
        ] {
            layers.push((format!("{prefix}encoder.layer.{layer}.{name}"), dims));
        }
    }
    let (dense, output) = if bert {
        ("bert.pooler.dense", "classifier")
    } else {
        ("classifier.dense", "classifier.out_proj")
    };
    layers.push((dense.to_owned(), vec![HIDDEN, HIDDEN]));
    layers.push((output.to_owned(), vec![1, HIDDEN]));
    for (name, dims) in layers {
        add(format!("{name}.weight"), &dims);
        add(format!("{name}.bias"), &dims[..1]);
    }
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut bytes: Vec<u8> = Vec::new();
    for (nth, (name, dims)) in shapes.iter().enumerate() {
        let (centre, spread) =
            if name.ends_with("LayerNorm.weight") { (1.0, 0.4) } else { (0.0, 0.4) };
        let start = bytes.len();
        for i in 0..dims.iter().product() {
            bytes.extend((centre + spread * number(nth, i)).to_le_bytes());
        }
        let place = json!({"dtype": "F32", "shape": dims, "data_offsets": [start, bytes.len()]});
        header.insert(name.clone(), place);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(bytes);
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

const QUERY: &str = "where is the kettle";
/// One of them is empty, one is longer than the window.
const PASSAGES: [&str; 5] = [
    "the kettle is where a ship is",
    "music of a violin",
    "boil the water of the kettle of the harbour of the ship of the violin and the music of it all",
    "",
    "harbour xylophone",
];
/// By `tests/golden/cross_encoder.py`: transformers 5.24.0 with torch 2.15.0, in 32 bits.
const LOGITS: [f32; 5] = [0.938_734, 0.371_012, 1.070_108, 0.446_12, 0.936_01];
const ROBERTA_LOGITS: [f32; 5] = [0.798_801, 0.579_392, 0.685_308, 0.333_648, 0.582_382];

fn options(folder: &Path, precision: Precision) -> EncoderOptions {
    let graphs = folder.join("graphs");
    EncoderOptions { precision, device: Device::Cpu, threads: Some(1), graphs }
}

fn open(folder: &Path, precision: Precision) -> CrossEncoder {
    let runtime = support::models().runtime().unwrap();
    let spec = CrossEncoderSpec::from_folder(folder).unwrap();
    CrossEncoder::open(&runtime, &spec, &options(folder, precision)).unwrap()
}

fn equal_to_transformers(kind: &str, right: [f32; 5]) {
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path(), kind);
    // To make the expected values again: python tests/golden/cross_encoder.py FOLDER/*
    if let Some(keep) = std::env::var_os("VDB_KEEP_TINY") {
        let keep = Path::new(&keep).join(kind);
        fs::create_dir_all(&keep).unwrap();
        write_tiny(&keep, kind);
    }
    let encoder = open(folder.path(), Precision::Fp32);
    let found = encoder.score(QUERY, &PASSAGES).unwrap();
    println!("{kind}: {found:?}");
    for (found, right) in found.iter().zip(right) {
        assert!((found - right).abs() < 1e-4, "{found} {right}");
    }
    assert!(encoder.score(QUERY, &[]).unwrap().is_empty());
}

fn logits() {
    equal_to_transformers("bert", LOGITS);
}

fn roberta() {
    equal_to_transformers("xlm-roberta", ROBERTA_LOGITS);
}

fn int8() {
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path(), "bert");
    let spread = {
        let mean = LOGITS.iter().sum::<f32>() / 5.0;
        (LOGITS.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 5.0).sqrt()
    };
    let encoder = open(folder.path(), Precision::Int8);
    let found = encoder.score(QUERY, &PASSAGES).unwrap();
    println!("int8: {found:?}, spread {spread}");
    for (found, right) in found.iter().zip(LOGITS) {
        assert!((found - right).abs() < spread / 4.0, "{found} {right}");
    }
    for precision in [Precision::Int8, Precision::Fp32] {
        let encoder = open(folder.path(), precision);
        let together = encoder.score(QUERY, &PASSAGES).unwrap();
        for (passage, score) in PASSAGES.iter().zip(together) {
            let alone = encoder.score(QUERY, &[passage]).unwrap()[0];
            assert!((alone - score).abs() < 1e-5, "{alone} {score}");
        }
    }
    // Built once, each under a name of its own.
    let graphs = fs::read_dir(folder.path().join("graphs")).unwrap().flatten();
    let names: Vec<String> = graphs.map(|f| f.file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.ends_with(".onnx")).count(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.contains("-score-")), "{names:?}");
}

fn refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_tiny(path, "bert");
    let config = fs::read_to_string(path.join("config.json")).unwrap();
    let opened = |config: &str| {
        fs::write(path.join("config.json"), config).unwrap();
        CrossEncoderSpec::from_folder(path).unwrap_err().to_string()
    };
    let change = |from: &str, to: &str| {
        assert!(config.contains(from), "{config}");
        opened(&config.replace(from, to))
    };
    let told = change("BertForSequenceClassification", "BertModel");
    assert!(told.contains("describes a BertModel") && told.contains("train reranker"), "{told}");
    let labels = r#"{"0":"LABEL_0","1":"b","2":"c"}"#;
    let told = change(r#"{"0":"LABEL_0"}"#, labels);
    assert!(told.contains("says 3 labels"), "{told}");
    let told = change(r#""model_type":"bert""#, r#""model_type":"gpt2""#);
    assert!(told.contains("gpt2"), "{told}");
    // One label is said, and the weights have another shape.
    fs::write(path.join("config.json"), config.replace("\"hidden_size\":32", "\"hidden_size\":16"))
        .unwrap();
    let runtime = support::models().runtime().unwrap();
    let spec = CrossEncoderSpec::from_folder(path).unwrap();
    let options = options(path, Precision::Fp32);
    let told = CrossEncoder::open(&runtime, &spec, &options).unwrap_err().to_string();
    assert!(told.contains("the configuration says"), "{told}");
    fs::write(path.join("config.json"), &config).unwrap();
    for window in [7, POSITIONS + 1] {
        let spec = CrossEncoderSpec { window, ..CrossEncoderSpec::from_folder(path).unwrap() };
        let told = CrossEncoder::open(&runtime, &spec, &options).unwrap_err().to_string();
        assert!(told.contains(&format!("a window of {window} tokens; from 8 to its 24")), "{told}");
    }
    // A tokenizer that puts nothing between two texts.
    let spec = CrossEncoderSpec::from_folder(path).unwrap();
    let tokenizer = fs::read_to_string(path.join("tokenizer.json")).unwrap();
    let mut tokenizer: Value = serde_json::from_str(&tokenizer).unwrap();
    tokenizer["post_processor"] = Value::Null;
    fs::write(path.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let told = CrossEncoder::open(&runtime, &spec, &options).unwrap_err().to_string();
    assert!(told.contains("0 special tokens around two texts"), "{told}");
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    let told = CrossEncoderSpec::from_folder(path).unwrap_err().to_string();
    assert!(told.contains("no model file") && told.contains("tokenizer.json"), "{told}");
    // An encoder's folder is one without a head.
    let spec = support::models().encoder_spec(vdb::model::DEFAULT_ENCODER).unwrap();
    assert!(EncoderSpec::from_folder(spec.weights.parent().unwrap()).is_ok());
    let told = CrossEncoderSpec::from_folder(spec.weights.parent().unwrap()).unwrap_err();
    assert!(told.to_string().contains("describes a BertModel"), "{told}");
}

/// A mean of 0 and a deviation of 1, as a population.
fn z(scores: &[f64]) -> Vec<f64> {
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let deviation = (scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n).sqrt();
    scores.iter().map(|s| (s - mean) / deviation).collect()
}

fn a_query_is_reranked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("tiny")).unwrap();
    write_tiny(&path.join("tiny"), "bert");
    for (nth, passage) in PASSAGES.iter().filter(|p| !p.is_empty()).enumerate() {
        fs::write(path.join(format!("{nth}.txt")), passage).unwrap();
    }
    let run = |arguments: &[&str]| {
        let (status, out, err) = vdb(path, arguments);
        assert_eq!(status, 0, "{arguments:?}: {err}");
        out
    };
    run(&["ingest", "0.txt", "1.txt", "2.txt", "3.txt", "--precision", "fp32"]);
    let hits = |more: &[&str]| -> Vec<Value> {
        let all = [&["query", QUERY, "--json", "--explain", "--precision", "fp32"], more].concat();
        let out = run(&all);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let before = hits(&[]);
    let reranked = ["--rerank", "--reranker", "./tiny"];
    let after = hits(&reranked);
    assert_eq!(before.len(), 4);
    let text = |hit: &Value| hit["text"].as_str().unwrap().to_owned();
    let scores: Vec<f64> = before.iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    let logit = |hit: &Value| {
        let passage = PASSAGES.iter().position(|p| *p == text(hit)).unwrap();
        f64::from(LOGITS[passage])
    };
    let logits: Vec<f64> = before.iter().map(logit).collect();
    let mut right: Vec<(f64, String)> = z(&scores)
        .iter()
        .zip(z(&logits))
        .zip(&before)
        .map(|((a, b), hit)| (0.3 * a + 0.7 * b, text(hit)))
        .collect();
    right.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (hit, (score, passage)) in after.iter().zip(&right) {
        assert_eq!(text(hit), *passage);
        assert!((hit["score"].as_f64().unwrap() - score).abs() < 1e-3, "{hit} {score}");
        let own = hit["explain"]["reranker_score"].as_f64().unwrap();
        assert!((own - logit(hit)).abs() < 1e-4, "{own}");
    }
    fs::write(path.join("queries.txt"), format!("{QUERY}\n")).unwrap();
    let batch = ["query", "--batch", "queries.txt", "--json", "--precision", "fp32"];
    let together = run(&[&batch, &reranked[..]].concat());
    let together: Value = serde_json::from_str(together.trim()).unwrap();
    let passages = |hits: &[Value]| hits.iter().map(text).collect::<Vec<_>>();
    assert_eq!(passages(together["hits"].as_array().unwrap()), passages(&after));

    let pairs = "{\"query\":\"where is the kettle\",\"positive\":\"the kettle is here\"}\n\
                 {\"query\":\"a violin\",\"positive\":\"music of a violin\"}\n";
    fs::write(path.join("pairs.jsonl"), pairs).unwrap();
    let measured = run(&["eval", "pairs.jsonl", "--rerank", "--reranker", "./tiny", "--json"]);
    let measured: Value = serde_json::from_str(measured.trim()).unwrap();
    assert!(measured["reranked"]["ndcg@10"].as_f64().unwrap() > 0.0, "{measured}");

    for (more, status, words) in [
        (&["--reranker", "./tiny"][..], 2, "--rerank"),
        (&["--rerank", "--reranker", "nothing"], 1, "there are: "),
        (&["--rerank", "--reranker", "all-MiniLM-L6-v2"], 1, "re-ranker"),
        (&["--rerank", "--reranker", "."], 1, "model.safetensors"),
    ] {
        let (found, _, err) = vdb(path, &[&["query", QUERY], more].concat());
        assert!(found == status && err.contains(words), "{more:?}: {found} {err}");
    }
    let listed = run(&["models", "list"]);
    let line = listed.lines().find(|line| line.starts_with("ms-marco-MiniLM-L6-v2")).unwrap();
    assert!(line.contains("reranker"), "{line}");
    let told = run(&["models", "info", "ms-marco-minilm-l6-v2"]);
    assert!(told.contains("window of 512 tokens"), "{told}");
}

/// Also after it was read, trained by nothing to speak of, and written again.
fn trained_form() {
    for (kind, right) in [("bert", LOGITS), ("xlm-roberta", ROBERTA_LOGITS)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("tiny")).unwrap();
        write_tiny(&path.join("tiny"), kind);
        fs::write(path.join("pairs.jsonl"), PAIRS).unwrap();
        let command = [
            "train",
            "reranker",
            "pairs.jsonl",
            "--output",
            "again",
            "--model",
            "./tiny",
            "--lr",
            "1e-30",
            "--max-steps",
            "1",
            "--quiet",
        ];
        let (status, _, err) = vdb(path, &command);
        assert_eq!(status, 0, "{err}");
        for name in ["tiny", "again"] {
            let spec = CrossEncoderSpec::from_folder(&path.join(name)).unwrap();
            let model =
                TrainableCrossEncoder::open(&RerankerBase::CrossEncoder(spec), None, 0, None)
                    .unwrap();
            let pairs: Vec<(&str, &str)> =
                PASSAGES.iter().map(|passage| (QUERY, *passage)).collect();
            let found = model.score(&pairs, 2).unwrap();
            let graph = open(&path.join(name), Precision::Fp32).score(QUERY, &PASSAGES).unwrap();
            for ((found, graph), right) in found.iter().zip(graph).zip(right) {
                assert!((found - right).abs() < 1e-4, "{kind} {name}: {found} {right}");
                assert!((graph - right).abs() < 1e-4, "{kind} {name}: {graph} {right}");
            }
        }
    }
}

const PAIRS: &str = "{\"query\":\"where is the kettle\",\"positive\":\"the kettle is here\"}\n\
    {\"query\":\"a violin\",\"positive\":\"music of a violin\",\"negative\":\"the music of a ship\"}\n\
    {\"query\":\"a ship\",\"positive\":\"a ship in the harbour\"}\n\
    {\"query\":\"boil water\",\"positive\":\"water in a kettle\"}\n";

fn trained_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("pairs.jsonl"), PAIRS).unwrap();
    let command = [
        "train",
        "reranker",
        "pairs.jsonl",
        "--output",
        "tuned",
        "--dev",
        "pairs.jsonl",
        "--batch",
        "2",
        "--negatives",
        "2",
        "--epochs",
        "2",
        "--window",
        "32",
        "--json",
    ];
    let (status, out, err) = vdb(path, &command);
    assert_eq!(status, 0, "{err}");
    let told: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(told["steps"], 4);
    assert!(told["before"].is_number() && told["after"].is_number(), "{told}");
    let log = fs::read_to_string(path.join("tuned/log.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"loss\"")).count(), 4);
    let card = fs::read_to_string(path.join("tuned/README.md")).unwrap();
    assert!(card.contains("re-ranker") && card.contains("window of 32 tokens"), "{card}");
    let config = fs::read_to_string(path.join("tuned/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["architectures"], json!(["BertForSequenceClassification"]));
    assert_eq!(config["num_labels"], 1);
    assert_eq!(CrossEncoderSpec::from_folder(&path.join("tuned")).unwrap().window, 32);
    fs::write(path.join("kettle.txt"), "the kettle is here").unwrap();
    fs::write(path.join("violin.txt"), "music of a violin").unwrap();
    let (status, _, err) = vdb(path, &["ingest", "kettle.txt", "violin.txt"]);
    assert_eq!(status, 0, "{err}");
    let query = ["query", "where is the kettle", "--rerank", "--reranker", "./tuned", "--explain"];
    let (status, out, err) = vdb(path, &query);
    assert!(status == 0 && out.contains("re-ranker"), "{out}{err}");
    // It goes on from there, measured by what the default encoder finds.
    let on = [
        "train",
        "reranker",
        "pairs.jsonl",
        "--output",
        "on",
        "--dev",
        "pairs.jsonl",
        "--model",
        "./tuned",
        "--max-steps",
        "1",
        "--json",
    ];
    let (status, out, err) = vdb(path, &on);
    assert_eq!(status, 0, "{err}");
    let on: Value = serde_json::from_str(out.trim()).unwrap();
    let (before, after) = (on["before"].as_f64().unwrap(), told["after"].as_f64().unwrap());
    assert!((before - after).abs() < 1e-9, "{before} {after}");
    let (status, _, err) = vdb(path, &command);
    assert!(status == 2 && err.contains("holds a model already"), "{err}");
}

fn bad_input() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("pairs.jsonl"), PAIRS).unwrap();
    fs::write(path.join("one.jsonl"), PAIRS.lines().next().unwrap()).unwrap();
    fs::create_dir(path.join("folder")).unwrap();
    for (more, status, words) in [
        (&["one.jsonl"][..], 2, "no pair has a negative"),
        (
            &["pairs.jsonl", "--negatives", "0", "--loss", "margin"],
            2,
            "3 of 4 pairs have no negative",
        ),
        (&["pairs.jsonl", "--model", "SmolLM2-135M-Instruct"], 1, "encoder"),
        (&["pairs.jsonl", "--model", "./folder"], 1, "tokenizer.json"),
        (&["pairs.jsonl", "--model", "ms-marco-MiniLM-L6-v2"], 1, "vdb models pull"),
        (&["pairs.jsonl", "--window", "513"], 2, "from 8 to the base's 512"),
        (&["pairs.jsonl", "--device", "cuda"], 1, "training runs on the processors"),
    ] {
        let command = [&["train", "reranker", "--output", "out"], more].concat();
        let (found, _, err) = vdb(path, &command);
        assert!(found == status && err.contains(words), "{more:?}: {found} {err}");
        assert!(!path.join("out/model.safetensors").exists());
    }
}
