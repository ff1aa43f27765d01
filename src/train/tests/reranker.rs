//! The same of a tiny cross-encoder, and runs that train one.

use super::{
    HIDDEN, INNER, POSITIONS, agrees_with_finite_differences, base, tiny_with, weights, write_tiny,
};
use crate::encode::{CrossEncoderSpec, EncoderSpec, Pooling};
use crate::model::import::HeadWeights;
use crate::train::adapter::LoraOptions;
use crate::train::cross_encoder::{RerankerBase, TrainableCrossEncoder};
use crate::train::encoder::{Text, TrainableEncoder};
use crate::train::event::{Outcome, TrainEvent};
use crate::train::random::Random;
use crate::train::reranker::{RerankerOptions, reranker};
use crate::train::score_loss::RerankerLoss;
use std::ops::ControlFlow;
use std::path::Path;

fn head() -> HeadWeights {
    let mut random = Random::of(17, 0);
    let mut drawn = |n: usize| (0..n).map(|_| 0.3 * random.normal()).collect::<Vec<f32>>();
    HeadWeights {
        dense: drawn(HIDDEN * HIDDEN),
        dense_bias: drawn(HIDDEN),
        output: drawn(HIDDEN),
        output_bias: drawn(1),
    }
}

fn cross_encoder(lora: Option<&LoraOptions>) -> TrainableEncoder {
    tiny_with(Pooling::Cls, "gelu", Some(head()), lora)
}

/// Both texts of each have tokens of their own type.
fn pairs() -> [Text<'static>; 3] {
    [
        Text::two(&[2, 5, 9, 3, 11, 12, 3], &[0, 0, 0, 0, 1, 1, 1]),
        Text::two(&[2, 7, 3, 8, 3], &[0, 0, 0, 1, 1]),
        Text::two(&[2, 5, 5, 20, 3, 21, 22, 3], &[0, 0, 0, 0, 0, 1, 1, 1]),
    ]
}

#[test]
fn gradients_of_a_head_agree_with_finite_differences() {
    let encoder = cross_encoder(None);
    assert_eq!(encoder.width(), 1);
    agrees_with_finite_differences(&encoder, &pairs(), None);
    let lora = LoraOptions { rank: 2, alpha: 3.0, dropout: 0.3, ..LoraOptions::default() };
    let encoder = cross_encoder(Some(&lora));
    let mut random = Random::of(5, 0);
    for parameter in encoder.parameters.all.iter().filter(|p| p.name.ends_with("lora_up")) {
        parameter.set((0..parameter.len()).map(|_| 0.3 * random.normal()).collect()).unwrap();
    }
    agrees_with_finite_differences(&encoder, &pairs(), Some(9));
}

#[test]
fn types_and_both_texts_count() {
    let encoder = cross_encoder(None);
    let score = |text: Text<'_>| encoder.vectors(&[text], 1).unwrap()[0][0];
    let ids = [2, 5, 9, 3, 11, 12, 3];
    let right = score(Text::two(&ids, &[0, 0, 0, 0, 1, 1, 1]));
    assert!((score(Text::one(&ids)) - right).abs() > 1e-3, "other types");
    let other = [2, 6, 9, 3, 11, 12, 3];
    assert!((score(Text::two(&other, &[0, 0, 0, 0, 1, 1, 1])) - right).abs() > 1e-3);
    let all = encoder.vectors(&pairs(), 2).unwrap();
    for (pair, found) in pairs().into_iter().zip(all) {
        assert!((score(pair) - found[0]).abs() < 1e-6, "alone as among others");
    }
}

/// Trains on eight queries of a letter, each answered by a text with the letter eight further on; a
/// part has a negative of its own.
fn trained(
    out: &Path,
    folder: &Path,
    change: impl FnOnce(&mut RerankerOptions),
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> crate::Result<Outcome> {
    let line = |c: u8| {
        let negative = if c.is_multiple_of(2) {
            format!(",\"negative\":\"y {}\"", char::from(c))
        } else {
            String::new()
        };
        let (c, d) = (char::from(c), char::from(c + 8));
        format!("{{\"query\":\"{c} w\",\"positive\":\"{d} {d} z\"{negative}}}")
    };
    let data = folder.join("pairs.jsonl");
    std::fs::write(&data, (b'a'..=b'h').map(line).collect::<Vec<_>>().join("\n")).unwrap();
    let mut options = RerankerOptions::new(&data, out);
    options.run.dev = Some(data);
    options.run.batch = 4;
    options.run.epochs = 3;
    options.run.learning_rate = Some(1e-2);
    options.run.threads = Some(1);
    options.negatives = 2;
    change(&mut options);
    reranker(&spec(folder), &options, on_event)
}

fn spec(folder: &Path) -> RerankerBase {
    RerankerBase::Encoder(EncoderSpec::from_folder(folder).unwrap())
}

fn on() -> impl FnMut(TrainEvent) -> ControlFlow<()> {
    |_| ControlFlow::Continue(())
}

#[test]
fn one_step_changes_everything_that_is_trained() {
    let folder = base();
    for lora in [None, Some(LoraOptions::default())] {
        let out = folder.path().join(format!("out-{}", lora.is_some()));
        let change = |options: &mut RerankerOptions| {
            options.run.max_steps = Some(1);
            options.run.warmup = 0.0;
            options.run.batch = 8;
            options.run.lora.clone_from(&lora);
        };
        trained(&out, folder.path(), change, &mut on()).unwrap();
        let before = TrainableCrossEncoder::open(&spec(folder.path()), None, 0, None).unwrap();
        let result = RerankerBase::CrossEncoder(CrossEncoderSpec::from_folder(&out).unwrap());
        let after = TrainableCrossEncoder::open(&result, None, 0, None).unwrap();
        assert!(before.fresh && !after.fresh);
        let both = before.encoder.parameters.all.iter().zip(&after.encoder.parameters.all);
        let unchanged: Vec<&str> = both
            .filter(|(a, b)| a.to_vec().unwrap() == b.to_vec().unwrap())
            .map(|(a, _)| a.name.as_str())
            .collect();
        if lora.is_none() {
            assert_eq!(unchanged, Vec::<&str>::new());
        } else {
            // The head and what has adapters: query and value of both layers.
            assert_eq!(unchanged.len(), 5 + 2 * 12 - 2, "{unchanged:?}");
            assert!(!unchanged.iter().any(|name| name.starts_with("head.")));
        }
        // Both token types are used.
        let types = |model: &TrainableCrossEncoder| {
            model.encoder.parameters.all[2]
                .to_vec()
                .unwrap()
                .chunks(HIDDEN)
                .map(<[f32]>::to_vec)
                .collect::<Vec<_>>()
        };
        if lora.is_none() {
            let (before, after) = (types(&before), types(&after));
            assert!(before[0] != after[0] && before[1] != after[1]);
        }
    }
}

#[test]
fn the_loss_falls_and_the_best_weights_are_kept() {
    let folder = base();
    for (nth, loss) in [RerankerLoss::CrossEntropy, RerankerLoss::Margin].into_iter().enumerate() {
        let out = folder.path().join(format!("out-{nth}"));
        let (mut losses, mut dev) = (Vec::new(), Vec::new());
        let change = |options: &mut RerankerOptions| {
            options.loss = loss;
            options.run.epochs = 30;
        };
        let outcome = trained(&out, folder.path(), change, &mut |event| {
            match event {
                TrainEvent::Step(step) => losses.push(step.loss),
                TrainEvent::Dev { quality, .. } => dev.push(quality.ndcg_10),
                _ => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(losses.len(), 60);
        let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
        assert!(mean(&losses[55..]) < 0.3 * mean(&losses[..5]), "{losses:?}");
        let (before, after) = (outcome.before.unwrap(), outcome.after.unwrap());
        let best = dev[1..].iter().copied().fold(0.0, f64::max);
        assert!((after.ndcg_10 - best).abs() < 1e-9 && after.ndcg_10 > before.ndcg_10, "{dev:?}");
        // Before the run the order is the encoder's.
        let plain = EncoderSpec::from_folder(folder.path()).unwrap();
        let plain = TrainableEncoder::open(&plain, None, 0).unwrap();
        let pairs = crate::pairs::Pairs::read(
            &folder.path().join("pairs.jsonl"),
            &crate::pairs::Fields::default(),
        );
        let first = crate::train::measure::Dev::new(&plain, &pairs.unwrap(), POSITIONS).unwrap();
        assert_eq!(first.measure(&plain, 1).unwrap(), before);
        // What is in the folder ranks as it is said, and goes on learning.
        let result = CrossEncoderSpec::from_folder(&out).unwrap();
        assert_eq!(result.window, POSITIONS);
        let result = RerankerBase::CrossEncoder(result);
        let mut options =
            RerankerOptions::new(folder.path().join("pairs.jsonl"), folder.path().join("on"));
        options.run.dev = Some(folder.path().join("pairs.jsonl"));
        options.run.max_steps = Some(1);
        options.run.threads = Some(1);
        let refused = reranker(&result, &options, &mut on()).unwrap_err().to_string();
        assert!(refused.contains("finds no documents"), "{refused}");
        options.retriever = Some(EncoderSpec::from_folder(folder.path()).unwrap());
        let outcome = reranker(&result, &options, &mut on()).unwrap();
        assert!((outcome.before.unwrap().ndcg_10 - best).abs() < 1e-6);
        std::fs::remove_dir_all(folder.path().join("on")).unwrap();
        let card: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.join("card.json")).unwrap()).unwrap();
        assert_eq!(card["training"]["fresh_head"], true);
        let told = card["dev"]["first_search"]["ndcg@10"].as_f64().unwrap();
        assert!((told - before.ndcg_10).abs() < 1e-9);
    }
}

#[test]
fn a_run_that_is_stopped_anywhere_and_resumed_ends_the_same() {
    let lora = Some(LoraOptions { dropout: 0.2, ..LoraOptions::default() });
    for (lora, loss) in [(None, RerankerLoss::CrossEntropy), (lora, RerankerLoss::Margin)] {
        let folder = base();
        let whole = folder.path().join("whole");
        let change = |options: &mut RerankerOptions| {
            options.run.lora.clone_from(&lora);
            options.loss = loss;
        };
        let outcome = trained(&whole, folder.path(), change, &mut on()).unwrap();
        assert_eq!((outcome.steps, outcome.stopped), (6, false));
        for at in 1..=5 {
            let broken = folder.path().join(format!("broken-{at}"));
            let mut until = |event| match event {
                TrainEvent::Step(step) if step.step == at => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            let outcome = trained(&broken, folder.path(), change, &mut until).unwrap();
            assert!(outcome.stopped && !broken.join("model.safetensors").exists());
            let resume = |options: &mut RerankerOptions| {
                change(options);
                options.run.resume = true;
            };
            let other = |options: &mut RerankerOptions| {
                resume(options);
                options.negatives = 3;
            };
            let error = trained(&broken, folder.path(), other, &mut on()).unwrap_err();
            assert!(error.to_string().contains("other settings"), "{error}");
            trained(&broken, folder.path(), resume, &mut on()).unwrap();
            assert_eq!(weights(&whole), weights(&broken), "stopped after step {at}");
        }
    }
}

#[test]
fn computing_twice_changes_nothing() {
    let folder = base();
    let run = |name: &str, memory: usize| {
        let out = folder.path().join(name);
        trained(&out, folder.path(), |options| options.run.memory = Some(memory), &mut on())
            .unwrap();
        weights(&out)
    };
    assert_eq!(run("kept", usize::MAX), run("twice", 0));
}

#[test]
fn bad_input_is_refused_with_its_reason() {
    let folder = base();
    let out = folder.path().join("out");
    let run = |change: &dyn Fn(&mut RerankerOptions)| {
        let told = trained(&out, folder.path(), change, &mut on()).unwrap_err().to_string();
        assert!(!out.join("model.safetensors").exists());
        std::fs::remove_dir_all(&out).unwrap_or_default();
        told
    };
    let told = run(&|options| {
        options.loss = RerankerLoss::Margin;
        options.negatives = 0;
    });
    assert!(told.contains("4 of 8 pairs have no negative, which this loss needs"), "{told}");
    let one = folder.path().join("one.jsonl");
    std::fs::write(&one, "{\"query\":\"a\",\"positive\":\"b\"}").unwrap();
    let told = run(&|options| options.run.train.clone_from(&one));
    assert!(told.contains("no pair has a negative"), "{told}");
    assert!(run(&|options| options.dev_queries = 0).contains("dev-queries"));
    let told = run(&|options| options.run.window = Some(POSITIONS + 1));
    assert!(told.contains("from 8 to the base's 12"), "{told}");
    for window in [7, POSITIONS + 1] {
        let opened = TrainableCrossEncoder::open(&spec(folder.path()), None, 0, Some(window));
        let told = opened.map(drop).unwrap_err().to_string();
        assert!(told.contains("from 8 to the base's 12"), "{told}");
    }
    let told = run(&|options| {
        options.run.learning_rate = Some(1e30);
        options.run.warmup = 0.0;
    });
    assert!(told.contains("diverged at step"), "{told}");
    assert!(run(&|options| options.run.train = "nowhere.jsonl".into()).contains("no such file"));

    let error = |change: &dyn Fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        write_tiny(folder.path(), "gelu");
        let base = spec(folder.path());
        change(folder.path());
        let options = RerankerOptions::new(&one, folder.path().join("out"));
        let model = TrainableCrossEncoder::open(&base, None, 0, None).map(drop);
        model.and_then(|()| reranker(&base, &options, &mut on()).map(drop)).unwrap_err().to_string()
    };
    let rewrite = |file: &str, from: &str, to: &str, folder: &Path| {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(path, text.replace(from, to)).unwrap();
    };
    let told = error(&|folder| rewrite("config.json", "\"bert\"", "\"gpt2\"", folder));
    assert!(told.contains("gpt2"), "{told}");
    let inner = format!("\"intermediate_size\":{INNER}");
    let told = error(&|folder| rewrite("config.json", &inner, "\"intermediate_size\":8", folder));
    assert!(told.contains("the configuration says"), "{told}");
    let told = error(&|folder| {
        let path = folder.join("tokenizer.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
        tokenizer["post_processor"] = serde_json::Value::Null;
        std::fs::write(path, tokenizer.to_string()).unwrap();
    });
    assert!(told.contains("special tokens around two texts"), "{told}");
}
