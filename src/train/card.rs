//! The result of a run: a model folder that every command takes by its path, and that
//! sentence-transformers reads too, with a card and a picture of how it came about.

use super::checkpoint;
use super::encoder::TrainableEncoder;
use super::measure::DevQuality;
use super::options::RunOptions;
use super::run::End;
use crate::encode::{EncoderSpec, Pooling};
use crate::error::{Error, Result};
use crate::model::import::{NamedTensor, write_weights};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The file without which a folder is no model.
pub(super) const WEIGHTS: &str = "model.safetensors";

/// An adapter alone, and what it belongs to.
pub(super) const ADAPTER: &str = "adapter.safetensors";
pub(super) const ADAPTER_NOTES: &str = "adapter.json";

/// What a task adds to the card, and its weights.
pub(super) struct Card {
    /// What the model is, as the beginning of a sentence.
    pub(super) heading: String,
    /// Settings that are the task's own.
    pub(super) training: Value,
    /// Distinct queries and documents.
    pub(super) texts: (usize, usize),
    /// Dev figures that are the task's own.
    pub(super) dev: Value,
    /// Under their published names.
    pub(super) tensors: Vec<NamedTensor>,
}

/// Writes what an encoder's folder holds beside weights and card, for us and for
/// sentence-transformers.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write_encoder_files(spec: &EncoderSpec, folder: &Path) -> Result<()> {
    copy(&spec.tokenizer, &folder.join("tokenizer.json"))?;
    if let Some(config) = &spec.config {
        copy(config, &folder.join("config.json"))?;
    }
    let pooling = folder.join("1_Pooling");
    fs::create_dir_all(&pooling).map_err(Error::io("create", &pooling))?;
    put(
        &pooling.join("config.json"),
        &json!({
            "word_embedding_dimension": spec.dimensions,
            "pooling_mode_cls_token": spec.pooling == Pooling::Cls,
            "pooling_mode_mean_tokens": spec.pooling == Pooling::Mean,
            "pooling_mode_max_tokens": false,
            "pooling_mode_mean_sqrt_len_tokens": false,
        }),
    )?;
    put(
        &folder.join("sentence_bert_config.json"),
        &json!({"max_seq_length": spec.window, "do_lower_case": false}),
    )?;
    put(
        &folder.join("config_sentence_transformers.json"),
        &json!({
            "prompts": {"query": spec.query_prefix, "document": spec.document_prefix},
            "similarity_fn_name": "cosine",
        }),
    )?;
    let part = |nth: usize, path: &str, kind: &str| {
        json!({"idx": nth, "name": nth.to_string(), "path": path,
            "type": format!("sentence_transformers.models.{kind}")})
    };
    put(
        &folder.join("modules.json"),
        &json!([
            part(0, "", "Transformer"),
            part(1, "1_Pooling", "Pooling"),
            part(2, "2_Normalize", "Normalize")
        ]),
    )
}

/// Writes card, picture and weights into the output folder. The weights come last, so that a folder
/// with weights is whole.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write(
    encoder: &TrainableEncoder,
    options: &RunOptions,
    end: &End<'_>,
    card: &Card,
) -> Result<()> {
    let folder = &options.output;
    let spec = &encoder.spec;
    let described = described(encoder, options, end, card);
    put(&folder.join("card.json"), &described)?;
    let path = folder.join("README.md");
    let readme = readme(encoder, options, end, card, &described);
    fs::write(&path, readme).map_err(Error::io("write", &path))?;
    let path = folder.join("train.svg");
    let curves = super::plot::curves(&end.state.losses, end.state.before, &end.state.dev);
    fs::write(&path, curves).map_err(Error::io("write", &path))?;
    if let Some(lora) = &encoder.lora {
        put(
            &folder.join(ADAPTER_NOTES),
            &json!({"base": spec.name, "base_sha256": spec.weights_sha256, "lora": lora}),
        )?;
        let own = checkpoint::trained(&encoder.parameters)?;
        write_weights(&folder.join(ADAPTER), &own, HashMap::new())?;
    }
    weights(folder, &card.tensors)
}

/// Writes the weights of a result, whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn weights(folder: &Path, tensors: &[NamedTensor]) -> Result<()> {
    let notes = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let temporary = folder.join(".unfinished-model");
    let place = folder.join(WEIGHTS);
    let written = write_weights(&temporary, tensors, notes).and_then(|()| {
        fs::File::open(&temporary)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&temporary, &place))
            .map_err(Error::io("write", &place))
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Copies a file of the base.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(Error::io("copy", from))
}

/// Writes a JSON file.
pub(super) fn put(path: &Path, value: &Value) -> Result<()> {
    let mut text = crate::text::sorted(value).to_string();
    text.push('\n');
    fs::write(path, text).map_err(Error::io("write", path))
}

fn described(
    encoder: &TrainableEncoder,
    options: &RunOptions,
    end: &End<'_>,
    card: &Card,
) -> Value {
    let End { data, state, .. } = end;
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let quality = |q: Option<DevQuality>| {
        q.map(|q| json!({"ndcg@10": q.ndcg_10, "mrr@10": q.mrr_10, "spearman": q.spearman}))
    };
    let mut described = json!({
        "base": {
            "name": encoder.spec.name,
            "weights_sha256": encoder.spec.weights_sha256,
            "licence": options.licence,
        },
        "data": {
            "train": name(&options.train),
            "dev": options.dev.as_deref().and_then(name),
            "pairs": data.pairs,
            "queries": card.texts.0,
            "documents": card.texts.1,
            "dev_pairs": data.dev_pairs,
            "dev_overlap": data.overlap,
            "texts_cut": data.cut,
        },
        "training": {
            "lora": options.lora,
            "parameters_trained": data.trained,
            "parameters": data.parameters,
            "epochs": options.epochs,
            "steps": state.step,
            "batch": options.batch,
            "accumulate": options.accumulate,
            "learning_rate": options.rate(),
            "warmup": options.warmup,
            "schedule": options.schedule,
            "weight_decay": options.optimizer.weight_decay,
            "clip": options.optimizer.clip,
            "window": options.window.unwrap_or(encoder.spec.window),
            "seed": options.seed,
            "seconds": state.seconds.round(),
            "last_loss": state.losses.last(),
            "best_step": state.best.map(|best| best.step),
        },
        "dev": {"before": quality(state.before), "after": quality(end.after)},
        "made_by": concat!("vdb ", env!("CARGO_PKG_VERSION")),
    });
    for (section, own) in [("training", &card.training), ("dev", &card.dev)] {
        if let (Some(all), Some(own)) = (described[section].as_object_mut(), own.as_object()) {
            all.extend(own.clone());
        }
    }
    described
}

fn readme(
    encoder: &TrainableEncoder,
    options: &RunOptions,
    end: &End<'_>,
    card: &Card,
    described: &Value,
) -> String {
    let End { data, state, after } = end;
    let licence = options.licence.as_deref().unwrap_or("unknown; ask who gave you the base");
    let mut text = format!(
        "# {base}, fine-tuned\n\n{heading}, fine-tuned by vdb from {base}.\n\n- Licence of the base: \
         {licence}. The data may ask for more.\n- Data: {pairs} pairs ({queries} queries, {documents} \
         documents)\n- Steps: {steps} of {batch} pairs, learning rate {rate:e}\n",
        base = encoder.spec.name,
        heading = card.heading,
        pairs = data.pairs,
        queries = card.texts.0,
        documents = card.texts.1,
        steps = state.step,
        batch = options.batch * options.accumulate,
        rate = options.rate(),
    );
    if let (Some(before), Some(after)) = (state.before, after) {
        let _ = write!(
            text,
            "\n| dev, {} queries, {} documents | before | after |\n|---|---|---|\n| nDCG@10 | {:.4} | \
             {:.4} |\n| MRR@10 | {:.4} | {:.4} |\n",
            after.queries,
            after.documents,
            before.ndcg_10,
            after.ndcg_10,
            before.mrr_10,
            after.mrr_10
        );
        if let (Some(before), Some(after)) = (before.spearman, after.spearman) {
            let _ = writeln!(text, "| Spearman, cosine and score | {before:.4} | {after:.4} |");
        }
    }
    text.push_str("\nAll settings:\n\n```json\n");
    text.push_str(
        &serde_json::to_string_pretty(&crate::text::sorted(described)).unwrap_or_default(),
    );
    text.push_str("\n```\n");
    text
}
