//! Gradients of a tiny encoder against finite differences.

mod reranker;

use super::adapter::{LoraOptions, LoraTarget};
use super::contrastive::{ContrastiveOptions, contrastive};
use super::encoder::{Sums, Text, TrainableEncoder};
use super::event::{Outcome, TrainEvent};
use super::loss::Loss;
use super::random::Random;
use super::tensor::{tensor, with};
use crate::encode::{EncoderSpec, Pooling};
use crate::model::import::{BertConfig, HeadWeights, WeightFile, write_weights};
use crate::pairs::{Fields, Pairs};
use std::ops::ControlFlow;
use std::path::Path;

const HIDDEN: usize = 16;
const INNER: usize = 24;
const WORDS: usize = 30;
const POSITIONS: usize = 12;

/// An encoder of two layers whose weights come by chance, and neither norms nor biases are trivial.
pub(super) fn tiny(
    pooling: Pooling,
    activation: &str,
    lora: Option<&LoraOptions>,
) -> TrainableEncoder {
    tiny_with(pooling, activation, None, lora)
}

fn tiny_with(
    pooling: Pooling,
    activation: &str,
    head: Option<HeadWeights>,
    lora: Option<&LoraOptions>,
) -> TrainableEncoder {
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path(), activation);
    let json = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let path = folder.path().join("model.safetensors");
    let config = BertConfig::parse("tiny", &json).unwrap();
    let spec = EncoderSpec {
        name: "tiny".to_owned(),
        weights: path.clone(),
        config: None,
        tokenizer: folder.path().join("tokenizer.json"),
        pooling,
        query_prefix: String::new(),
        document_prefix: String::new(),
        window: POSITIONS,
        dimensions: HIDDEN,
        weights_sha256: String::new(),
        tokenizer_sha256: String::new(),
    };
    let file = WeightFile::read("tiny", &path).unwrap();
    TrainableEncoder::of(spec, config, &file, head, lora, 7).unwrap()
}

/// Its files, tokenizer included.
pub(super) fn write_tiny(folder: &std::path::Path, activation: &str) {
    let config = serde_json::json!({
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS, "vocab_size": WORDS, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": activation,
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
            .into_iter()
            .map(str::to_owned)
            .chain((b'a'..=b'z').map(|c| char::from(c).to_string()))
            .enumerate()
            .map(|(i, word)| (word, i.into()))
            .collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let mut random = Random::of(3, 0);
    let mut tensors = Vec::new();
    let mut add = |name: String, dims: &[usize]| {
        let n = dims.iter().product();
        let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let values = (0..n).map(|_| centre + 0.3 * random.normal()).collect::<Vec<f32>>();
        tensors.push((name, dims.to_vec(), values));
    };
    add("embeddings.word_embeddings.weight".to_owned(), &[WORDS, HIDDEN]);
    add("embeddings.position_embeddings.weight".to_owned(), &[POSITIONS, HIDDEN]);
    add("embeddings.token_type_embeddings.weight".to_owned(), &[2, HIDDEN]);
    add("embeddings.LayerNorm.weight".to_owned(), &[HIDDEN]);
    add("embeddings.LayerNorm.bias".to_owned(), &[HIDDEN]);
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
            add(format!("encoder.layer.{layer}.{name}.weight"), &dims);
            add(format!("encoder.layer.{layer}.{name}.bias"), &dims[..1]);
        }
    }
    write_weights(
        &folder.join("model.safetensors"),
        &tensors,
        std::iter::once(("format".to_owned(), "pt".to_owned())).collect(),
    )
    .unwrap();
}

const TEXTS: [Text<'_>; 3] =
    [Text::one(&[2, 5, 9, 11, 3]), Text::one(&[2, 7, 3]), Text::one(&[2, 5, 5, 20, 21, 22, 3])];

/// The sum of all vectors' elements, each times a number by chance.
fn value(
    encoder: &TrainableEncoder,
    texts: &[Text<'_>],
    factors: &[f32],
    dropout: Option<u64>,
) -> f64 {
    let pass = encoder.forward(texts, false, dropout).unwrap();
    let sum = |v: &[f32]| v.iter().zip(factors).map(|(v, f)| f64::from(*v) * f64::from(*f)).sum();
    with(&pass.vectors, |v| Ok(sum(v))).unwrap()
}

fn agrees_with_finite_differences(
    encoder: &TrainableEncoder,
    texts: &[Text<'_>],
    dropout: Option<u64>,
) {
    let mut random = Random::of(11, 0);
    let dims = [texts.len(), encoder.width()];
    let factors: Vec<f32> = (0..dims[0] * dims[1]).map(|_| random.normal()).collect();
    let pass = encoder.forward(texts, true, dropout).unwrap();
    let mut sums = Sums::zero(&encoder.parameters);
    encoder.backward(&pass, &tensor(factors.clone(), &dims).unwrap(), &mut sums).unwrap();
    for (parameter, gradient) in encoder.parameters.all.iter().zip(&sums.0) {
        if !parameter.trained {
            assert!(gradient.is_empty());
            continue;
        }
        let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm.is_finite() && norm > 0.0, "{}: {norm}", parameter.name);
        let old = parameter.to_vec().unwrap();
        // Along the gradient, and along two directions by chance.
        for nth in 0..3 {
            let mut direction: Vec<f32> = gradient.clone();
            if nth > 0 {
                direction.iter_mut().for_each(|d| *d = random.normal());
            }
            let length = direction.iter().map(|d| f64::from(*d).powi(2)).sum::<f64>().sqrt();
            let expected: f64 = direction
                .iter()
                .zip(gradient)
                .map(|(d, g)| f64::from(*d) / length * f64::from(*g))
                .sum();
            let at = |step: f64| {
                let moved = old.iter().zip(&direction);
                #[expect(clippy::cast_possible_truncation, reason = "parameters are 32-bit floats")]
                let moved =
                    moved.map(|(w, d)| (f64::from(*w) + step * f64::from(*d) / length) as f32);
                parameter.set(moved.collect()).unwrap();
                value(encoder, texts, &factors, dropout)
            };
            // Richardson: the error of the third derivative drops out.
            let slope = |h: f64| (at(h) - at(-h)) / (2.0 * h);
            let found = (4.0 * slope(0.01) - slope(0.02)) / 3.0;
            let error = (found - expected).abs();
            assert!(error < 2e-3 * norm + 3e-4, "{}: {found} {expected}", parameter.name);
        }
        parameter.set(old).unwrap();
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    // relu has no derivative at its kink, which a step of a difference may cross.
    for (pooling, activation) in [(Pooling::Mean, "gelu"), (Pooling::Cls, "gelu_new")] {
        agrees_with_finite_differences(&tiny(pooling, activation, None), &TEXTS, None);
    }
}

#[test]
fn gradients_of_adapters_agree_with_finite_differences() {
    use LoraTarget::{Down, Key, Output, Query, Up, Value};
    for targets in [vec![Query, Value], vec![Query, Key, Value, Output, Up, Down]] {
        let lora = LoraOptions { rank: 2, alpha: 3.0, dropout: 0.3, targets, last_layers: None };
        let encoder = tiny(Pooling::Mean, "gelu", Some(&lora));
        let mut random = Random::of(5, 0);
        for parameter in encoder.parameters.all.iter().filter(|p| p.name.ends_with("lora_up")) {
            parameter.set((0..parameter.len()).map(|_| 0.3 * random.normal()).collect()).unwrap();
        }
        agrees_with_finite_differences(&encoder, &TEXTS, None);
        agrees_with_finite_differences(&encoder, &TEXTS, Some(9));
    }
}

#[test]
fn an_adapter_changes_nothing_at_first_and_merges_into_the_weights() {
    let lora =
        LoraOptions { targets: vec![LoraTarget::Value, LoraTarget::Down], ..Default::default() };
    let encoder = tiny(Pooling::Mean, "gelu", Some(&lora));
    let plain = tiny(Pooling::Mean, "gelu", None);
    assert_eq!(encoder.vectors(&TEXTS, 1).unwrap(), plain.vectors(&TEXTS, 1).unwrap());
    let mut random = Random::of(5, 0);
    for parameter in encoder.parameters.all.iter().filter(|p| p.trained) {
        parameter.set((0..parameter.len()).map(|_| 0.3 * random.normal()).collect()).unwrap();
    }
    let adapted = encoder.vectors(&TEXTS, 1).unwrap();
    let merged = encoder.parameters.published(&encoder.config, lora.scale()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write_weights(&path, &merged, std::collections::HashMap::new()).unwrap();
    let file = WeightFile::read("merged", &path).unwrap();
    let again =
        TrainableEncoder::of(plain.spec.clone(), plain.config.clone(), &file, None, None, 0)
            .unwrap();
    let found = again.vectors(&TEXTS, 2).unwrap();
    for (a, b) in adapted.iter().flatten().zip(found.iter().flatten()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    assert_ne!(adapted, plain.vectors(&TEXTS, 1).unwrap());
}

/// Runs a few steps on eight pairs of letters and returns the bytes of the result.
fn trained(
    folder: &Path,
    base: &Path,
    change: impl FnOnce(&mut ContrastiveOptions),
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> crate::Result<Outcome> {
    let line = |c: u8| {
        let (c, d) = (char::from(c), char::from(c + 8));
        format!("{{\"query\":\"{c} w\",\"positive\":\"{d} {d} z\",\"negative\":\"y {c}\"}}")
    };
    let pairs = (b'a'..=b'h').map(line).collect::<Vec<_>>().join("\n");
    let data = base.join("pairs.jsonl");
    std::fs::write(&data, pairs).unwrap();
    let mut options = ContrastiveOptions::new(&data, folder);
    options.run.dev = Some(data);
    options.run.batch = 4;
    options.run.epochs = 3;
    options.run.learning_rate = Some(1e-2);
    options.run.threads = Some(1);
    change(&mut options);
    contrastive(&EncoderSpec::from_folder(base).unwrap(), &options, on_event)
}

pub(super) fn base() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_tiny(folder.path(), "gelu");
    folder
}

fn weights(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("model.safetensors")).unwrap()
}

#[test]
fn one_step_changes_everything_that_is_trained() {
    let base = base();
    let out = base.path().join("out");
    let run = |change: &dyn Fn(&mut ContrastiveOptions)| {
        std::fs::remove_dir_all(&out).unwrap_or_default();
        let change = |options: &mut ContrastiveOptions| {
            options.run.max_steps = Some(1);
            options.run.warmup = 0.0;
            // Eight pairs use most words and positions.
            options.run.batch = 8;
            change(options);
        };
        trained(&out, base.path(), change, &mut |_| ControlFlow::Continue(())).unwrap();
        let read = |folder: &Path| WeightFile::read("", &folder.join("model.safetensors")).unwrap();
        let (before, after) = (read(base.path()), read(&out));
        let config = tiny(Pooling::Mean, "gelu", None).config;
        let parameters = |file: &WeightFile| {
            let weights = file.weights(&[""], crate::model::import::PROBE).unwrap();
            super::parameters::Parameters::read(&config, &weights, true).unwrap().all
        };
        let (before, after) = (parameters(&before), parameters(&after));
        before
            .iter()
            .zip(&after)
            .filter(|(a, b)| a.to_vec().unwrap() == b.to_vec().unwrap())
            .map(|(a, _)| a.name.clone())
            .collect::<Vec<String>>()
    };
    assert_eq!(run(&|_| {}), Vec::<String>::new());
    let lora = LoraOptions { last_layers: Some(1), ..LoraOptions::default() };
    let unchanged = run(&|options| options.run.lora = Some(lora.clone()));
    assert!(!unchanged.iter().any(|name| name == "encoder.layer.1.attention.self.qkv.weight"));
    // Five tensors before the layers, twelve a layer; one of these has an adapter.
    assert_eq!(unchanged.len(), 5 + 2 * 12 - 1);
    assert!(out.join("adapter.safetensors").is_file());
}

#[test]
fn a_run_that_is_stopped_anywhere_and_resumed_ends_the_same() {
    for lora in [None, Some(LoraOptions { dropout: 0.2, ..LoraOptions::default() })] {
        let base = base();
        let whole = base.path().join("whole");
        let change = |options: &mut ContrastiveOptions| options.run.lora.clone_from(&lora);
        let outcome =
            trained(&whole, base.path(), change, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((outcome.steps, outcome.stopped), (6, false));
        let again = base.path().join("again");
        trained(&again, base.path(), change, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(weights(&whole), weights(&again), "the same seed");
        for at in 1..=5 {
            let broken = base.path().join(format!("broken-{at}"));
            let mut until = |event| match event {
                TrainEvent::Step(step) if step.step == at => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            let outcome = trained(&broken, base.path(), change, &mut until).unwrap();
            assert!(outcome.stopped && !broken.join("model.safetensors").exists());
            let error = trained(&broken, base.path(), change, &mut |_| ControlFlow::Continue(()));
            assert!(error.unwrap_err().to_string().contains("holds a checkpoint"));
            let resume = |options: &mut ContrastiveOptions| {
                change(options);
                options.run.resume = true;
            };
            let other = |options: &mut ContrastiveOptions| {
                resume(options);
                options.run.seed = 1;
            };
            let error = trained(&broken, base.path(), other, &mut |_| ControlFlow::Continue(()));
            assert!(error.unwrap_err().to_string().contains("other settings"));
            trained(&broken, base.path(), resume, &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(weights(&whole), weights(&broken), "stopped after step {at}");
        }
    }
}

/// Corrections are sums: base + (first − base) + (second − base).
#[test]
fn adapters_of_one_base_are_merged_together_or_alone() {
    let base = base();
    let all = |folder: &Path| {
        let file = WeightFile::read("", &folder.join("model.safetensors")).unwrap();
        let weights = file.weights(&[""], crate::model::import::PROBE).unwrap();
        let config = tiny(Pooling::Mean, "gelu", None).config;
        let parameters = super::parameters::Parameters::read(&config, &weights, true).unwrap();
        parameters.all.iter().flat_map(|p| p.to_vec().unwrap()).collect::<Vec<f32>>()
    };
    let mut folders = Vec::new();
    for (rank, target) in [(2, LoraTarget::Query), (3, LoraTarget::Down)] {
        let out = base.path().join(format!("adapter-{rank}"));
        let lora = LoraOptions {
            rank,
            targets: vec![target, LoraTarget::Value],
            ..LoraOptions::default()
        };
        let change = |options: &mut ContrastiveOptions| options.run.lora = Some(lora.clone());
        trained(&out, base.path(), change, &mut |_| ControlFlow::Continue(())).unwrap();
        folders.push(out);
    }
    let spec = EncoderSpec::from_folder(base.path()).unwrap();
    let merged = |name: &str, adapters: &[&Path]| {
        let out = base.path().join(name);
        super::merge(&spec, adapters, &out).unwrap();
        all(&out)
    };
    let (first, second) = (folders[0].as_path(), folders[1].as_path());
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let (own, one, two) = (all(base.path()), all(first), all(second));
    assert!(!near(&one, &own) && !near(&two, &own) && !near(&one, &two));
    assert!(near(&merged("alone", &[first]), &one));
    let sums: Vec<f32> =
        own.iter().zip(&one).zip(&two).map(|((own, one), two)| one + two - own).collect();
    assert!(near(&merged("together", &[first, second]), &sums));
    let again = super::merge(&spec, &[first], &base.path().join("alone")).unwrap_err();
    assert!(again.to_string().contains("holds a model already"));
    let other = EncoderSpec::from_folder(first).unwrap();
    let error = super::merge(&other, &[second], &base.path().join("other")).unwrap_err();
    assert!(error.to_string().contains("whose weights are other ones"), "{error}");
}

#[test]
fn training_finds_what_belongs_together_and_the_best_weights_are_kept() {
    let base = base();
    let out = base.path().join("out");
    let mut seen = Vec::new();
    let change = |options: &mut ContrastiveOptions| {
        options.run.epochs = 20;
        options.run.lora = None;
    };
    let outcome = trained(&out, base.path(), change, &mut |event| {
        if let TrainEvent::Dev { quality, .. } = event {
            seen.push(quality.ndcg_10);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let best = seen[1..].iter().copied().fold(0.0, f64::max);
    let after = outcome.after.unwrap().ndcg_10;
    assert!((after - best).abs() < 1e-9, "{after} {seen:?}");
    assert!(after > outcome.before.unwrap().ndcg_10, "{seen:?}");
    // What is in the folder has the quality that is said.
    let spec = EncoderSpec::from_folder(&out).unwrap();
    assert_eq!((spec.window, spec.dimensions, spec.pooling), (POSITIONS, HIDDEN, Pooling::Mean));
    let encoder = TrainableEncoder::open(&spec, None, 0).unwrap();
    let pairs = Pairs::read(&base.path().join("pairs.jsonl"), &Fields::default());
    let dev = super::measure::Dev::new(&encoder, &pairs.unwrap(), POSITIONS).unwrap();
    assert!((dev.measure(&encoder, 1).unwrap().ndcg_10 - best).abs() < 1e-6);
    let card: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("card.json")).unwrap()).unwrap();
    assert_eq!(card["data"]["pairs"], 8);
    assert!(
        !std::fs::read_dir(&out)
            .unwrap()
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().contains("checkpoint") })
    );
}

/// A blend is the mean of base and result, weight by weight, as the result's own files have them.
#[test]
fn a_blend_lies_between_the_base_and_the_result() {
    let read = |folder: &Path, name: &str| {
        let file = WeightFile::read("tiny", &folder.join("model.safetensors")).unwrap();
        let weights = file.weights(&[""], "embeddings.word_embeddings.weight").unwrap();
        weights.get(name, &[HIDDEN, HIDDEN]).unwrap()
    };
    for lora in [None, Some(LoraOptions { dropout: 0.0, ..LoraOptions::default() })] {
        let base = base();
        let run = |name: &str, blend: f64| {
            let out = base.path().join(name);
            let change = |options: &mut ContrastiveOptions| {
                options.run.lora.clone_from(&lora);
                options.blend = blend;
            };
            trained(&out, base.path(), change, &mut |_| ControlFlow::Continue(())).unwrap();
            out
        };
        let (whole, part) = (run("whole", 1.0), run("part", 0.3));
        let mut largest = 0f32;
        for part_of in ["query", "value"] {
            let name = format!("encoder.layer.1.attention.self.{part_of}.weight");
            let [base, whole, part] = [base.path(), &whole, &part].map(|f| read(f, &name));
            for ((base, whole), part) in base.iter().zip(&whole).zip(&part) {
                largest = largest.max((whole - base).abs());
                let right = 0.7 * f64::from(*base) + 0.3 * f64::from(*whole);
                assert!((f64::from(*part) - right).abs() < 1e-6, "{base} {whole} {part}");
            }
        }
        assert!(largest > 1e-4, "{largest}");
        let out = base.path().join("none");
        let none = |options: &mut ContrastiveOptions| options.blend = 0.0;
        let error = trained(&out, base.path(), none, &mut |_| ControlFlow::Continue(()));
        assert!(error.unwrap_err().to_string().contains("above 0"));
    }
}

#[test]
fn computing_twice_and_more_threads_change_nothing_but_rounding() {
    let base = base();
    let run = |name: &str, memory: usize, threads: usize| {
        let out = base.path().join(name);
        let change = |options: &mut ContrastiveOptions| {
            options.run.memory = Some(memory);
            options.run.threads = Some(threads);
            options.matryoshka = vec![4, 8];
            options.run.accumulate = 2;
            options.loss = Loss::InfoNce { temperature: 0.05, both_directions: true };
        };
        trained(&out, base.path(), change, &mut |_| ControlFlow::Continue(())).unwrap();
        weights(&out)
    };
    let kept = run("kept", usize::MAX, 1);
    assert_eq!(kept, run("twice", 0, 1));
    assert_eq!(kept.len(), run("threads", 0, 2).len());
}

#[test]
fn a_run_that_diverges_says_so_and_bad_input_is_refused() {
    let base = base();
    let out = base.path().join("out");
    let run = |change: &dyn Fn(&mut ContrastiveOptions)| {
        std::fs::remove_dir_all(&out).unwrap_or_default();
        let on_event = &mut |_| ControlFlow::Continue(());
        trained(&out, base.path(), change, on_event).unwrap_err().to_string()
    };
    let error = run(&|options| {
        options.run.learning_rate = Some(1e30);
        options.run.checkpoint_every = Some(1);
        options.run.warmup = 0.0;
    });
    assert!(
        error.contains("diverged at step") && error.contains("the checkpoint of step"),
        "{error}"
    );
    assert!(run(&|options| options.run.batch = 1).contains("at least 2 pairs"));
    assert!(run(&|options| options.run.learning_rate = Some(0.0)).contains("lr"));
    assert!(run(&|options| options.matryoshka = vec![17]).contains("16 dimensions"));
    assert!(run(&|options| options.run.window = Some(13)).contains("window"));
    assert!(run(&|options| options.loss = Loss::MarginMse).contains("have no score"));
    assert!(run(&|options| options.run.train = "nowhere.jsonl".into()).contains("no such file"));
}

#[test]
fn a_text_alone_equals_itself_among_others() {
    let encoder = tiny(Pooling::Mean, "gelu", None);
    let together = encoder.vectors(&TEXTS, 2).unwrap();
    for (text, vector) in TEXTS.iter().zip(&together) {
        let alone = encoder.vectors(&[*text], 1).unwrap().remove(0);
        for (a, b) in alone.iter().zip(vector) {
            assert!((a - b).abs() < 1e-6);
        }
    }
    assert!(
        encoder.vectors(&[Text::one(&[2, 99, 3])], 1).is_err(),
        "a token that the model does not have"
    );
}
