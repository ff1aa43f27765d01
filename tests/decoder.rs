//! What only shows when a decoder runs: logits against float64 programs, and text under every kind of
//! limit. Runtime and model are fetched as a user's set-up does; with `VDB_OFFLINE=1` every test here
//! is reported as ignored. `VDB_LONG=1` makes the one with many generations longer.
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
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Random, models_with_decoder, needs_models, vdb};
use vdb::Error;
use vdb::generate::{
    Constraint, Decoder, DecoderOptions, DecoderSpec, Finish, GenerateOptions, Generation,
    Generator, Message, Role, Sampling,
};
use vdb::model::{DEFAULT_DECODER, Device, Precision};
use vdb::tokenize::Prompt;

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        needs_models("tiny_models_of_every_family_equal_a_float64_program", tiny_models),
        needs_models("a_ready_onnx_decoder_runs_as_it_is", ready_decoder),
        needs_models("the_default_model_in_fp32_equals_a_float64_program", default_model_fp32),
        needs_models("smoothing_leaves_fp32_as_it_was", smoothing_leaves_fp32),
        needs_models("int8_is_close_to_fp32", int8_is_close),
        needs_models("a_tokenizer_that_does_not_match_is_refused", tokenizer_does_not_match),
        needs_models("calls_of_any_size_give_the_same", calls_of_any_size),
        needs_models("it_writes_what_llama_cpp_writes", it_writes),
        needs_models("a_prompt_read_before_gives_the_same_text", reuse_gives_the_same),
        needs_models("text_comes_in_pieces_that_make_the_whole", pieces_make_the_whole),
        needs_models("limits_are_checked_before_anything_runs", limits_are_checked),
        needs_models("it_stops_when_told_at_any_token", it_stops_when_told),
        needs_models("time_limits_hold_while_a_prompt_is_read", time_limits_hold),
        needs_models("constraints_hold", constraints_hold),
        needs_models("many_generations_on_many_threads", many_generations),
        needs_models("generate_from_the_command_line", command_line),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

fn open(precision: Precision) -> Decoder {
    models_with_decoder().clone().precision(Some(precision)).decoder(DEFAULT_DECODER).unwrap()
}

/// The default decoder in its default form, loaded once.
fn decoder() -> &'static Decoder {
    static DECODER: OnceLock<Decoder> = OnceLock::new();
    DECODER.get_or_init(|| open(Precision::Int8))
}

fn rows(decoder: &Decoder, tokens: &[u32], at_once: usize) -> Vec<Vec<f32>> {
    let mut rows = Vec::new();
    let mut read = |at: usize, row: &[f32]| {
        assert_eq!(at, rows.len());
        rows.push(row.to_vec());
    };
    decoder.logits(tokens, at_once, &mut read).unwrap();
    assert_eq!(rows.len(), tokens.len());
    rows
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

fn best(row: &[f32]) -> usize {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]).then(b.cmp(a))).unwrap()
}

fn numbers<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn question(text: &str) -> Prompt {
    decoder().prompt(&[Message { role: Role::User, content: text.to_owned() }]).unwrap()
}

fn silent(_: &str) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn generate(prompt: &Prompt, options: &GenerateOptions) -> Generation {
    decoder().generate(prompt, options, &mut silent).unwrap()
}

fn short(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens, ..GenerateOptions::default() }
}

// ---- logits ----

/// The weights that `golden/tiny_decoders.py` makes, as a folder of safetensors.
fn write_tiny(folder: &Path, model: &serde_json::Value) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for tensor in model["tensors"].as_array().unwrap() {
        let name = tensor[0].as_str().unwrap();
        let shape: Vec<usize> = numbers(&tensor[1]);
        let start = data.len();
        for _ in 0..shape.iter().product() {
            random.below(1);
            let x = ((random.0 >> 40) as f64 - 8_388_608.0) / 8_388_608.0;
            let w = if name.contains("norm") { 1.0 + x / 4.0 } else { x / 4.0 };
            data.extend((w as f32).to_le_bytes());
        }
        let entry = serde_json::json!({
            "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()],
        });
        header.insert(name.to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let file = [&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat();
    fs::write(folder.join("model.safetensors"), file).unwrap();
    fs::write(folder.join("config.json"), model["config"].to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tiny_tokenizer().to_string()).unwrap();
}

/// Sixty-four tokens of one byte each, the first three of them special.
fn tiny_tokenizer() -> serde_json::Value {
    let special = ["<unk>", "<s>", "</s>"];
    let plain = ('!'..='~').filter(|c| c.is_ascii_alphanumeric()).take(61).map(String::from);
    let all: Vec<String> = special.iter().map(|s| (*s).to_owned()).chain(plain).collect();
    let vocabulary: serde_json::Map<_, _> =
        all.iter().enumerate().map(|(id, text)| (text.clone(), id.into())).collect();
    let added: Vec<_> = special
        .iter()
        .enumerate()
        .map(|(id, text)| {
            serde_json::json!({
                "id": id, "content": text, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let byte_level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": false, "vocab": vocabulary, "merges": [],
        },
    })
}

/// Llama with a head of its own, Llama with scaled rotation and a tied head, Qwen2 with biases, Qwen3
/// with norms of its heads.
fn tiny_models() {
    let models: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("golden/tiny_decoders.json")).unwrap();
    assert_eq!(models.len(), 4);
    for model in models {
        let folder = tempfile::tempdir().unwrap();
        write_tiny(folder.path(), &model);
        let open = |precision| {
            let models = support::models_with_decoder().clone().precision(Some(precision));
            models.decoder(folder.path().to_str().unwrap()).unwrap()
        };
        let tokens: Vec<u32> = numbers(&model["tokens"]);
        let golden: Vec<Vec<f32>> = numbers(&model["logits"]);
        for (precision, tolerance) in [(Precision::Fp32, 1e-4), (Precision::Int8, 0.12)] {
            let decoder = open(precision);
            for at_once in [tokens.len(), 1, 5] {
                for (at, row) in rows(&decoder, &tokens, at_once).iter().enumerate() {
                    let difference = difference(row, &golden[at]);
                    assert!(
                        difference <= tolerance,
                        "{} {precision}, {at_once} at once, token {at}: {difference}",
                        model["name"]
                    );
                }
            }
        }
    }
}

/// The tiny Llama as exporters write it (`golden/ready_decoder.py`): the same logits in calls of any
/// size, and a text that does not depend on what was read before.
fn ready_decoder() {
    let models: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("golden/tiny_decoders.json")).unwrap();
    let model = &models[0];
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path(), model);
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let file = folder.path().join("model.onnx");
    fs::write(&file, include_bytes!("golden/ready_decoder.onnx")).unwrap();
    let open = || support::models().decoder(folder.path().to_str().unwrap());
    let decoder = open().unwrap();
    assert_eq!(decoder.context(), 128);
    let tokens: Vec<u32> = numbers(&model["tokens"]);
    let golden: Vec<Vec<f32>> = numbers(&model["logits"]);
    for at_once in [tokens.len(), 1, 5] {
        for (at, row) in rows(&decoder, &tokens, at_once).iter().enumerate() {
            let difference = difference(row, &golden[at]);
            assert!(difference <= 1e-4, "{at_once} at once, token {at}: {difference}");
        }
    }
    let write = |decoder: &Decoder, text: &str| {
        let prompt = Prompt::new().content(text);
        decoder.generate(&prompt, &short(20), &mut silent).unwrap()
    };
    let alone = write(&open().unwrap(), "abcdefgh2");
    assert_eq!(write(&decoder, "abcdefgh1").reused_tokens, 0);
    let again = write(&decoder, "abcdefgh2");
    assert_eq!((again.reused_tokens, &again.text), (7, &alone.text));
    // What else is called model.onnx.
    fs::write(&file, b"no model").unwrap();
    assert!(matches!(open(), Err(Error::Model { .. })));
}

/// The bar is 1e-3.
fn default_model_fp32() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("golden/smollm2.json")).unwrap();
    let tokens: Vec<u32> = numbers(&golden["tokens"]);
    let decoder = open(Precision::Fp32);
    let at_once = rows(&decoder, &tokens, tokens.len());
    let mut worst = 0f32;
    for (row, golden) in at_once.iter().zip(golden["rows"].as_array().unwrap()) {
        let some: Vec<f32> = row.iter().skip(5).step_by(768).copied().collect();
        worst = worst.max(difference(&some, &numbers::<Vec<f32>>(&golden["logits"])));
        assert_eq!(best(row) as u64, golden["best"].as_u64().unwrap());
    }
    println!("fp32 to the float64 program: {worst:.6} at most");
    assert!(worst <= 1e-3, "{worst}");
    // One token at a time equals one call.
    let one_by_one = rows(&decoder, &tokens, 1);
    let worst = at_once.iter().zip(&one_by_one).map(|(a, b)| difference(a, b)).fold(0.0, f32::max);
    println!("one token at a time to one call: {worst:.6} at most");
    assert!(worst <= 1e-3, "{worst}");
}

/// Outliers that were moved from the activations into the weights, with nothing rounded: the same
/// function. The bar is 1e-3.
fn smoothing_leaves_fp32() {
    let home = models_with_decoder().home();
    let manifest = models_with_decoder().registry().decoder(DEFAULT_DECODER).unwrap();
    let file = manifest.files().into_iter().find(|file| file.name.ends_with(".gguf")).unwrap();
    let spec = DecoderSpec {
        name: DEFAULT_DECODER.to_owned(),
        weights: home.place(manifest).join(&file.name),
        identity: file.sha256.clone(),
    };
    let graphs = tempfile::tempdir().unwrap();
    let options = DecoderOptions {
        precision: Precision::Fp32,
        device: Device::Cpu,
        threads: None,
        graphs: graphs.path().to_owned(),
    };
    let smooth =
        Decoder::open_smoothed(&models_with_decoder().runtime().unwrap(), &spec, &options).unwrap();
    let tokens = smooth.tokenizer().encode(PROSE).unwrap();
    let tokens = &tokens[..64];
    let plain = rows(&open(Precision::Fp32), tokens, tokens.len());
    let smooth = rows(&smooth, tokens, tokens.len());
    let worst = plain.iter().zip(&smooth).map(|(a, b)| difference(a, b)).fold(0.0, f32::max);
    println!("smoothed fp32 to fp32: {worst:.6} at most");
    assert!(worst > 0.0 && worst <= 1e-3, "{worst}");
}

/// More tokens than the embedding has rows.
fn tokenizer_does_not_match() {
    let tinies: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("golden/tiny_decoders.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path(), &tinies[0]);
    let open = || support::models().decoder(folder.path().to_str().unwrap());
    open().unwrap();
    let rows = tinies[0]["config"]["vocab_size"].as_u64().unwrap();
    let mut tokenizer = tiny_tokenizer();
    tokenizer["model"]["vocab"]["ab"] = rows.into();
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let Err(Error::Model { reason, .. }) = open() else { panic!("it is refused") };
    let [expected, found] = [format!("at most {rows} tokens"), format!("found {}", rows + 1)];
    assert!(reason.contains(&expected) && reason.contains(&found), "{reason}");
}

const PROSE: &str = "The lighthouse at the end of the pier had been dark for eleven years when Marta \
    bought it. She had never climbed more than four flights of stairs in one go, and there were a \
    hundred and ninety-two steps. In the first winter she repaired the windows, one pane at a time, \
    and learned that putty freezes. In the second she found the logbooks, written in three hands, \
    which recorded every ship that had passed since 1871, and the names of those that had not. By \
    then the harbour master had stopped asking when she would leave. Water boils at a lower \
    temperature on a mountain than at the sea, because the pressure of the air is lower there; this \
    is why an egg takes longer. The committee shall meet at least twice a year, and its minutes shall \
    be kept by the secretary. To install the package, run the command below, then open a new \
    terminal so that the changes take effect.";

/// KL divergence to fp32, and the top token, as the bars have them.
fn int8_is_close() {
    let tokens = decoder().tokenizer().encode(PROSE).unwrap();
    let exact = rows(&open(Precision::Fp32), &tokens, tokens.len());
    let eight = rows(decoder(), &tokens, tokens.len());
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
        row.iter().map(|x| f64::from(x - max) - sum.ln()).collect()
    };
    let (mut kl, mut same) = (0.0, 0);
    for (a, b) in exact.iter().zip(&eight) {
        let (p, q) = (log_softmax(a), log_softmax(b));
        kl += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>() / tokens.len() as f64;
        same += usize::from(best(a) == best(b));
    }
    let same = same as f64 / tokens.len() as f64;
    println!("int8 to fp32 on {} tokens: KL {kl:.5}, top token the same {same:.3}", tokens.len());
    assert!(kl <= 0.01, "{kl}");
    assert!(same >= 0.94, "{same}");
}

/// In 8 bits, all calls of two tokens or more agree to the bit.
fn calls_of_any_size() {
    let tokens = decoder().tokenizer().encode(PROSE).unwrap();
    let tokens = &tokens[..96];
    let whole = rows(decoder(), tokens, 96);
    for at_once in [2, 3, 48] {
        assert!(rows(decoder(), tokens, at_once) == whole, "{at_once} at once");
    }
    for (a, b) in whole.iter().zip(rows(decoder(), tokens, 1)) {
        assert!(difference(a, &b) < 4.0);
    }
}

// ---- text ----

/// Of llama.cpp (llama-cpp-python 0.3.36) on the same file and prompt, greedy; it goes on otherwise
/// where two tokens are as good as equal. The model is small: this is not what one would like to hear.
const WRITTEN: &str = "L'Étoile, la ";

fn it_writes() {
    let generation = generate(&question("What is the capital of France?"), &short(12));
    assert!(generation.text.starts_with(WRITTEN), "{}", generation.text);
    assert_eq!(generation.finish, Finish::Length);
    assert_eq!((generation.generated_tokens, generation.prompt_tokens), (12, 37));
    assert!(generation.first_token <= generation.total);
}

/// The same prompt again, one with the same beginning, and one after others: the same text as alone.
fn reuse_gives_the_same() {
    let decoder = open(Precision::Int8);
    let ask = |decoder: &Decoder, text: &str| {
        let message = |role, content: String| Message { role, content };
        let passages = message(Role::System, format!("Answer from this text: {PROSE}"));
        let prompt = decoder.prompt(&[passages, message(Role::User, text.to_owned())]).unwrap();
        decoder.generate(&prompt, &short(24), &mut silent).unwrap()
    };
    let questions =
        ["How many steps are there?", "Who bought the lighthouse?", "Why does an egg take longer?"];
    let alone: Vec<Generation> = questions.iter().map(|q| ask(&open(Precision::Int8), q)).collect();
    for round in 0..2 {
        for (question, alone) in questions.iter().zip(&alone) {
            let again = ask(&decoder, question);
            assert_eq!(again.text, alone.text);
            if round > 0 {
                let read = again.prompt_tokens - again.reused_tokens;
                assert!(read < 30, "{read} of {} tokens read again", again.prompt_tokens);
            }
        }
    }
    assert!(alone.iter().all(|g| g.reused_tokens == 0));
}

fn pieces_make_the_whole() {
    let mut pieces = String::new();
    let prompt = question("Write two sentences about the sea, with an emoji.");
    let sampling = Sampling { temperature: 0.8, seed: 7, ..Sampling::default() };
    let options = GenerateOptions { sampling, ..short(60) };
    let mut hear = |text: &str| {
        pieces.push_str(text);
        ControlFlow::Continue(())
    };
    let generation = decoder().generate(&prompt, &options, &mut hear).unwrap();
    assert_eq!(pieces, generation.text);
    assert_eq!(generate(&prompt, &options).text, generation.text, "the same seed");
    // A stop text in the middle of it ends it there and is not told.
    let middle = generation.text.char_indices().nth(generation.text.chars().count() / 2).unwrap().0;
    let stop: String = generation.text[middle..].chars().take(4).collect();
    let options = GenerateOptions { stop: vec![stop.clone()], ..options };
    let stopped = generate(&prompt, &options);
    assert_eq!(stopped.finish, Finish::Stop);
    assert_eq!(stopped.text, generation.text[..generation.text.find(&stop).unwrap()]);
}

fn limits_are_checked() {
    let long = question(&"word ".repeat(9000));
    let tokens = decoder().count(&long).unwrap();
    let error = decoder().generate(&long, &short(5), &mut |_| panic!("it ran")).unwrap_err();
    assert!(matches!(error, Error::ContextExceeded { context: 8192, .. }), "{error}");
    assert!(error.to_string().contains(&tokens.to_string()), "{error}");
    let empty = Prompt::new();
    assert!(decoder().generate(&empty, &short(5), &mut silent).is_err());
    assert!(decoder().generate(&question("hi"), &short(0), &mut silent).is_err());
    let exactly = generate(&question("Count from one to a hundred in words."), &short(9));
    assert_eq!((exactly.finish, exactly.generated_tokens), (Finish::Length, 9));
}

fn it_stops_when_told() {
    let prompt = question("Tell me a long story about a fox.");
    let whole = generate(&prompt, &short(30));
    for stop_after in [0, 1, 2, 7, 20] {
        let mut calls = 0;
        let generation = decoder()
            .generate(&prompt, &short(30), &mut |text| {
                calls += usize::from(!text.is_empty());
                if calls >= stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        assert_eq!(generation.finish, Finish::Cancelled);
        assert!(whole.text.starts_with(&generation.text));
        assert_eq!(generation.text.is_empty(), stop_after == 0);
        assert_eq!(generate(&prompt, &short(30)).text, whole.text, "after a cancel");
    }
}

/// Long prompts take seconds to read: a limit ends that, within a moment.
fn time_limits_hold() {
    let prompt = question(&"The fox went on and on, over hill and dale. ".repeat(500));
    for limit in [0, 1, 60, 300] {
        let limit = Duration::from_millis(limit);
        let options = GenerateOptions { time_limit: Some(limit), ..short(50) };
        let started = Instant::now();
        let generation = generate(&prompt, &options);
        assert_eq!(generation.finish, Finish::TimeLimit);
        assert_eq!(generation.generated_tokens, 0);
        assert!(started.elapsed() < limit + Duration::from_millis(1500), "{:?}", started.elapsed());
    }
    // A caller is asked while the prompt is read.
    let mut asked = 0;
    let generation = decoder()
        .generate(&prompt, &short(5), &mut |_| {
            asked += 1;
            if asked == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((generation.finish, generation.generated_tokens), (Finish::Cancelled, 0));
}

fn constraints_hold() {
    let with = |constraint| GenerateOptions { constraint: Some(constraint), ..short(60) };
    let prompt = question("Is water wet? Answer yes or no.");
    let choice = generate(&prompt, &with(Constraint::choice(["maybe so", "never"]).unwrap()));
    assert!(["maybe so", "never"].contains(&choice.text.as_str()), "{}", choice.text);
    assert_eq!(choice.finish, Finish::Stop);
    let digits = generate(&prompt, &with(Constraint::regex("[0-9]{4}-[0-9]{2}").unwrap()));
    assert_eq!(digits.text.len(), 7, "{}", digits.text);
    let schema = r#"{"type": "object", "properties": {"city": {"type": "string", "maxLength": 12},
        "big": {"type": "boolean"}}, "required": ["city", "big"], "additionalProperties": false}"#;
    let prompt = question("Describe Paris as JSON.");
    let json = generate(&prompt, &with(Constraint::json_schema(schema).unwrap()));
    let value: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    assert!(value["city"].is_string() && value["big"].is_boolean(), "{}", json.text);
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Random limits, cancels and time-outs on eight threads: no leak, no deadlock, and what was not cut
/// short by the clock is what it is alone.
fn many_generations() {
    let long = std::env::var_os("VDB_LONG").is_some();
    let total = if long { 1000 } else { 60 };
    let prompts = [
        "Name a colour.",
        "Name a colour and a fruit.",
        "Tell me about the moon.",
        PROSE,
        "What is two plus two?",
    ];
    let alone: Vec<String> =
        prompts.iter().map(|p| generate(&question(p), &short(16)).text).collect();
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= total {
                        return;
                    }
                    let mut random = Random(nth as u64 * 7919 + 12345);
                    (0..4).for_each(|_| {
                        let _ = random.below(2);
                    });
                    let which = random.below(prompts.len());
                    let mut options = short(1 + random.below(16));
                    if random.below(3) == 0 {
                        let limit = Duration::from_millis(random.below(400) as u64);
                        options.time_limit = Some(limit);
                    }
                    let patience = random.below(40);
                    let mut calls = 0;
                    let generation = decoder()
                        .generate(&question(prompts[which]), &options, &mut |_| {
                            calls += 1;
                            if calls > patience {
                                ControlFlow::Break(())
                            } else {
                                ControlFlow::Continue(())
                            }
                        })
                        .unwrap();
                    assert!(alone[which].starts_with(&generation.text), "{}", generation.text);
                    done.fetch_add(1, Ordering::Relaxed);
                    seen.lock().unwrap().push(resident());
                }
            });
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), total);
    let seen = seen.into_inner().unwrap();
    let (early, late) = (seen[seen.len() / 4..seen.len() / 2].iter().max(), seen.last());
    println!("resident: {early:?} KiB early, {late:?} KiB at the end");
    if long {
        assert!(*late.unwrap() < early.unwrap() + early.unwrap() / 10);
    }
}

fn command_line() {
    models_with_decoder();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| vdb(folder.path(), &[&["generate"], arguments].concat());
    let question = "What is the capital of France?";
    let (status, out, err) = run(&[question, "--max-tokens", "20"]);
    assert_eq!(status, 0, "{err}");
    assert!(out.starts_with(WRITTEN) && out.ends_with('\n'), "{out}");
    let (status, json, err) = run(&[question, "--max-tokens", "20", "--json", "--verbose"]);
    assert_eq!(status, 0, "{err}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["text"].as_str().unwrap().trim_end(), out.trim_end());
    assert_eq!(json["finish"], "length");
    assert!(err.contains("tokens generated"), "{err}");
    let (status, out, _) = run(&["The colours are red,", "--raw", "--max-tokens", "4"]);
    assert!(status == 0 && !out.trim().is_empty());
    let (status, out, _) = run(&["Pick.", "--choice", "left side", "--choice", "right side"]);
    assert!(status == 0 && ["left side\n", "right side\n"].contains(&out.as_str()), "{out}");
    for wrong in [
        &["hi", "--temperature=-1"][..],
        &["hi", "--top-p", "0"],
        &["hi", "--max-tokens", "0"],
        &["hi", "--time-limit", "soon"],
        &["hi", "--choice", "a", "--regex", "b"],
        &["hi", "--raw", "--system", "x"],
    ] {
        assert_eq!(run(wrong).0, 2, "{wrong:?}");
    }
    let (status, _, err) = run(&["hi", "--model", "nothing"]);
    assert!(status == 1 && err.contains(DEFAULT_DECODER), "{err}");
    let (status, _, err) = run(&["hi", "--model", "all-MiniLM-L6-v2"]);
    assert!(status == 1 && err.contains("decoder"), "{err}");
}
