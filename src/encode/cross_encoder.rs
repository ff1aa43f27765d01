//! Cross-encoders on ONNX Runtime: a query and a passage are read together.

use super::batch::{mask, padded, plan_close};
use super::onnx::{EncoderOptions, number};
use super::rerank::Reranker;
use super::sessions::Sessions;
use crate::error::{Error, Result};
use crate::hash::sha256_of;
use crate::model::Runtime;
use crate::model::calibrate::{inputs, pairs};
use crate::model::graph::{Recipe, graph};
use crate::model::import::{BertConfig, Head, check_cross_encoder};
use crate::threads;
use crate::tokenize::EncoderTokenizer;
use std::path::{Path, PathBuf};

/// What a cross-encoder counts beside the first search, of 1 for both. It reads query and passage
/// together and is trained to rank, so it says more than the search that found the passages, and more
/// than late interaction, which compares vectors that were made apart. A starting point: it is to be
/// fitted on collections as that of late interaction was (docs/benchmarks.md).
const WEIGHT: f32 = 0.7;

/// The smallest window: special tokens and a few words of both texts.
pub(crate) const LEAST_WINDOW: usize = 8;

/// Where the files of a cross-encoder are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrossEncoderSpec {
    /// The model's name, for people.
    pub name: String,
    /// `model.safetensors`.
    pub weights: PathBuf,
    /// `config.json`.
    pub config: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// Tokens of query and passage together, special tokens included; what is longer is cut, the
    /// longer text first.
    pub window: usize,
    /// sha256 of the weights, in hexadecimal.
    pub weights_sha256: String,
    /// sha256 of the tokenizer, in hexadecimal.
    pub tokenizer_sha256: String,
}

impl CrossEncoderSpec {
    /// Reads a folder that holds `model.safetensors`, `config.json` and `tokenizer.json` of a
    /// cross-encoder of the BERT family, as transformers and sentence-transformers write it. The window
    /// is `model_max_length` of `tokenizer_config.json` where it is there, else 512 tokens, and no more
    /// than the model has positions.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming the missing file; [`Error::Model`] for what is no cross-encoder.
    pub fn from_folder(folder: &Path) -> Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let find = |file: &str| {
            let path = folder.join(file);
            if path.is_file() {
                return Ok(path);
            }
            Err(Error::NotFound {
                what: "model file",
                name: path.display().to_string(),
                hint: "the folder of a re-ranker holds model.safetensors, config.json and \
                       tokenizer.json"
                    .to_owned(),
            })
        };
        let (weights, config) = (find("model.safetensors")?, find("config.json")?);
        let tokenizer = find("tokenizer.json")?;
        let json = std::fs::read_to_string(&config).map_err(Error::io("read", &config))?;
        check_cross_encoder(&name, &json)?;
        let positions = BertConfig::parse(&name, &json)?.positions();
        let settings = std::fs::read(folder.join("tokenizer_config.json")).unwrap_or_default();
        let settings: serde_json::Value = serde_json::from_slice(&settings).unwrap_or_default();
        let window = number(&settings, "model_max_length").unwrap_or(512).min(positions);
        Ok(Self {
            weights_sha256: sha256_of(&weights)?,
            tokenizer_sha256: sha256_of(&tokenizer)?,
            name,
            weights,
            config,
            tokenizer,
            window,
        })
    }
}

/// A cross-encoder (Nogueira and Cho 2019) on ONNX Runtime: it reads the query and a passage together,
/// each token of one beside each of the other, and says in one figure how well the passage answers. It
/// costs a pass through the model for each passage of each query, so it re-ranks what a search found.
pub struct CrossEncoder {
    spec: CrossEncoderSpec,
    tokenizer: EncoderTokenizer,
    sessions: Sessions,
    reads_types: bool,
}

impl CrossEncoder {
    /// Opens the cross-encoder that `spec` describes, building its graph if that was not done before.
    ///
    /// # Errors
    /// [`Error::Model`] where a file cannot be used, [`Error::Io`], [`Error::Device`].
    pub fn open(
        runtime: &Runtime,
        spec: &CrossEncoderSpec,
        options: &EncoderOptions,
    ) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: spec.name.clone(), reason };
        let json =
            std::fs::read_to_string(&spec.config).map_err(Error::io("read", &spec.config))?;
        check_cross_encoder(&spec.name, &json)?;
        let config = BertConfig::parse(&spec.name, &json)?;
        if !(LEAST_WINDOW..=config.positions()).contains(&spec.window) {
            return Err(refuse(format!(
                "a window of {} tokens; from {LEAST_WINDOW} to its {} positions",
                spec.window,
                config.positions()
            )));
        }
        let tokenizer = EncoderTokenizer::open(&spec.name, &spec.tokenizer)?.cut_at(spec.window)?;
        let reads_types = Head::Score.reads_types(&config);
        check_pairs(&tokenizer, &config).map_err(refuse)?;
        let recipe = Recipe {
            name: &spec.name,
            weights: &spec.weights,
            weights_sha256: &spec.weights_sha256,
            config: &config,
            head: Head::Score,
            precision: options.precision,
            tokenizer_sha256: &spec.tokenizer_sha256,
            window: spec.window,
        };
        let path = graph(runtime, &recipe, &options.graphs, &|texts| {
            let read = |(query, passage): (String, &str)| {
                let (ids, types) = tokenizer.pair(&query, passage)?;
                Ok(inputs(&ids, reads_types.then_some(types.as_slice())))
            };
            pairs(texts).into_iter().map(read).collect()
        })?;
        let threads = options.threads.unwrap_or_else(threads::all);
        let sessions = Sessions::new(runtime.clone(), path, options.device, threads);
        Ok(Self { spec: spec.clone(), tokenizer, sessions, reads_types })
    }

    /// What it was opened from.
    #[must_use]
    pub fn spec(&self) -> &CrossEncoderSpec {
        &self.spec
    }
}

impl Reranker for CrossEncoder {
    /// The logits.
    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let read = passages
            .iter()
            .map(|passage| self.tokenizer.pair(query, passage))
            .collect::<Result<Vec<_>>>()?;
        let lengths: Vec<usize> = read.iter().map(|(ids, _)| ids.len()).collect();
        let (order, batches) = plan_close(&lengths);
        let refuse = |reason| Error::Model { name: self.spec.name.clone(), reason };
        let mut scores = vec![f32::NAN; passages.len()];
        let mut session = self.sessions.take(passages.len() == 1)?;
        for batch in batches {
            let members = order.get(batch).unwrap_or_default();
            let rows = || members.iter().filter_map(|i| read.get(*i));
            let count = rows().count();
            let longest = rows().map(|(ids, _)| ids.len()).max().unwrap_or(0);
            let mut inputs = vec![
                ("input_ids", padded(rows().map(|(ids, _)| ids.as_slice()), longest)),
                ("attention_mask", mask(rows().map(|(ids, _)| ids.len()), longest)),
            ];
            if self.reads_types {
                let types = rows().map(|(_, types)| types.as_slice());
                inputs.push(("token_type_ids", padded(types, longest)));
            }
            let found = session
                .run(inputs, count, longest, "logits", |_, logits| logits.to_vec())
                .map_err(refuse)?;
            for (i, score) in members.iter().zip(found) {
                if let Some(place) = scores.get_mut(*i) {
                    *place = score;
                }
            }
        }
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(refuse("it gave no finite figure for a passage".to_owned()));
        }
        Ok(scores)
    }

    fn weight(&self) -> f32 {
        WEIGHT
    }
}

/// Whether the tokenizer joins two texts in the way that the model can read.
pub(crate) fn check_pairs(
    tokenizer: &EncoderTokenizer,
    config: &BertConfig,
) -> std::result::Result<(), String> {
    let (ids, types) = tokenizer.pair("", "").map_err(|e| e.to_string())?;
    if ids.len() < 3 {
        return Err(format!(
            "its tokenizer puts {} special tokens around two texts; at least 3 are needed to tell \
             them apart, so tokenizer.json needs a post-processor for pairs",
            ids.len()
        ));
    }
    let highest = types.iter().max().copied().unwrap_or(0);
    if Head::Score.reads_types(config)
        && usize::try_from(highest).unwrap_or(usize::MAX) >= config.type_vocab_size
    {
        return Err(format!(
            "its tokenizer gives token type {highest}; config.json says type_vocab_size {}",
            config.type_vocab_size
        ));
    }
    Ok(())
}

impl std::fmt::Debug for CrossEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrossEncoder").field("spec", &self.spec).finish_non_exhaustive()
    }
}
