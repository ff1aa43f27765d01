//! A cross-encoder that can be trained: an encoder of the BERT family with a head, and a tokenizer that
//! joins two texts.

use super::adapter::LoraOptions;
use super::encoder::{Text, TrainableEncoder};
use super::parallel;
use super::parameters::{HEAD_DENSE, HEAD_OUTPUT};
use super::random::Random;
use crate::encode::{CrossEncoderSpec, EncoderSpec, LEAST_WINDOW, Pooling, check_pairs};
use crate::error::{Error, Result};
use crate::model::Models;
use crate::model::import::{
    BertConfig, HeadNames, HeadWeights, NamedTensor, is_cross_encoder, published_as,
};
use crate::tokenize::EncoderTokenizer;
use serde_json::{Value, json};
use std::path::Path;

/// The deviation of a fresh head's weights, as BERT's own begin (Devlin et al. 2018).
const DEVIATION: f32 = 0.02;

/// What a re-ranker is trained from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RerankerBase {
    /// An encoder; its head begins by chance.
    Encoder(EncoderSpec),
    /// A cross-encoder, which goes on learning.
    CrossEncoder(CrossEncoderSpec),
}

impl RerankerBase {
    /// The encoder or re-ranker of this name, or in this folder.
    ///
    /// # Errors
    /// Those of [`Models::encoder_spec`] and [`Models::reranker_spec`].
    pub fn find(models: &Models, name: &str) -> Result<Self> {
        let json = std::fs::read_to_string(Path::new(name).join("config.json"));
        let reranker = models.registry().reranker(name).is_ok()
            || json.is_ok_and(|json| is_cross_encoder(&json));
        if reranker {
            return models.reranker_spec(name).map(Self::CrossEncoder);
        }
        models.encoder_spec(name).map(Self::Encoder)
    }

    /// sha256 of weights and tokenizer, and the window.
    pub(super) fn identity(&self) -> String {
        match self {
            Self::Encoder(s) => format!("{} {}", s.weights_sha256, s.tokenizer_sha256),
            Self::CrossEncoder(s) => {
                format!("{} {} {}", s.weights_sha256, s.tokenizer_sha256, s.window)
            }
        }
    }
}

/// The ids of two texts that are read together, and the type of each.
pub(super) type PairTokens = (Vec<u32>, Vec<u32>);

/// A cross-encoder in the form that is trained: in 32-bit floats, on the processors.
pub struct TrainableCrossEncoder {
    pub(super) encoder: TrainableEncoder,
    /// Whether its head began by chance.
    pub(super) fresh: bool,
    /// Tokens of an input.
    pub(super) window: usize,
    /// It cuts at the window.
    tokenizer: EncoderTokenizer,
    /// It does not.
    whole: EncoderTokenizer,
}

impl TrainableCrossEncoder {
    /// The most tokens that an input of this base can have.
    ///
    /// # Errors
    /// [`Error::Model`] where it is no model of the BERT family in safetensors, [`Error::Io`].
    pub(super) fn positions(base: &RerankerBase) -> Result<usize> {
        let spec = spec(base);
        let Some(config) = &spec.config else {
            return Err(Error::Model {
                name: spec.name,
                reason: "training needs model.safetensors and config.json; it has no config.json"
                    .to_owned(),
            });
        };
        let json = std::fs::read_to_string(config).map_err(Error::io("read", config))?;
        Ok(BertConfig::parse(&spec.name, &json)?.positions())
    }

    /// Opens the base, with adapters beside its layers where `lora` wants them. `seed` decides their
    /// first values and those of a fresh head; inputs are cut at `window` tokens, by default the
    /// base's.
    ///
    /// # Errors
    /// Those of [`TrainableEncoder::open`]; [`Error::Parameter`] for a window that is too small or too
    /// large, and [`Error::Model`] where the tokenizer does not join two texts.
    pub fn open(
        base: &RerankerBase,
        lora: Option<&LoraOptions>,
        seed: u64,
        window: Option<usize>,
    ) -> Result<Self> {
        let spec = spec(base);
        let window = window.unwrap_or(spec.window);
        let fresh = matches!(base, RerankerBase::Encoder(_));
        let encoder = TrainableEncoder::open_with(&spec, lora, seed, |config, file| {
            let head =
                if fresh { self::fresh(config, seed) } else { HeadWeights::read(config, file)? };
            Ok(Some(head))
        })?;
        let positions = encoder.config.positions();
        if !(LEAST_WINDOW..=positions).contains(&window) {
            let reason = format!("{window}; from {LEAST_WINDOW} to the base's {positions}");
            return Err(Error::parameter("window", reason));
        }
        let open = || EncoderTokenizer::open(&spec.name, &spec.tokenizer);
        let tokenizer = open()?.cut_at(window)?;
        check_pairs(&tokenizer, &encoder.config)
            .map_err(|reason| Error::Model { name: spec.name.clone(), reason })?;
        Ok(Self { encoder, fresh, window, tokenizer, whole: open()? })
    }

    /// The ids of each of `pairs`, by `threads` threads.
    pub(super) fn tokens(&self, pairs: &[(&str, &str)], threads: usize) -> Result<Vec<PairTokens>> {
        let share = pairs.len().div_ceil(threads.max(1)).max(1);
        let done = parallel::each(pairs.chunks(share).collect(), |pairs| {
            let read = |(query, passage): &(&str, &str)| self.tokenizer.pair(query, passage);
            pairs.iter().map(read).collect::<Result<Vec<_>>>()
        })?;
        Ok(done.into_iter().flatten().collect())
    }

    /// How many of `pairs` are longer than the window.
    pub(super) fn cut(&self, pairs: &[(&str, &str)], threads: usize) -> Result<usize> {
        let share = pairs.len().div_ceil(threads.max(1)).max(1);
        let done = parallel::each(pairs.chunks(share).collect(), |pairs| {
            let mut cut = 0;
            for (query, passage) in pairs {
                cut += usize::from(self.whole.pair(query, passage)?.0.len() > self.window);
            }
            Ok(cut)
        })?;
        Ok(done.into_iter().sum())
    }

    /// What the model reads.
    pub(super) fn text<'t>(&self, (ids, types): &'t PairTokens) -> Text<'t> {
        // Models with one type have it for both texts.
        if self.encoder.config.type_vocab_size > 1 { Text::two(ids, types) } else { Text::one(ids) }
    }

    /// The figure of each of `pairs` of a query and a passage, by `threads` threads.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn score(&self, pairs: &[(&str, &str)], threads: usize) -> Result<Vec<f32>> {
        let tokens = self.tokens(pairs, threads)?;
        let texts: Vec<Text<'_>> = tokens.iter().map(|tokens| self.text(tokens)).collect();
        Ok(self.encoder.vectors(&texts, threads)?.concat())
    }

    /// The weights under the names that transformers has for a model of this kind.
    pub(super) fn published(&self) -> Result<Vec<NamedTensor>> {
        let names = HeadNames::of(&self.encoder.config);
        let (_, prefix) = published_as(&self.encoder.config);
        let renamed = |(name, dims, values): NamedTensor| {
            let name = if let Some(rest) = name.strip_prefix(HEAD_DENSE) {
                format!("{}{rest}", names.dense)
            } else if let Some(rest) = name.strip_prefix(HEAD_OUTPUT) {
                format!("{}{rest}", names.output)
            } else {
                format!("{prefix}{name}")
            };
            (name, dims, values)
        };
        Ok(self.encoder.published()?.into_iter().map(renamed).collect())
    }

    /// `config.json` of the result: the base's, as a classifier with one label whose figure is used as
    /// it is.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Model`].
    pub(super) fn config_json(&self) -> Result<Value> {
        let spec = &self.encoder.spec;
        let Some(path) = &spec.config else { return Ok(json!({})) };
        let json = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let refuse = |e: serde_json::Error| Error::Model {
            name: spec.name.clone(),
            reason: format!("config.json is not JSON: {e}"),
        };
        let mut config: Value = serde_json::from_str(&json).map_err(refuse)?;
        config["architectures"] = json!([published_as(&self.encoder.config).0]);
        config["num_labels"] = json!(1);
        config["id2label"] = json!({"0": "LABEL_0"});
        config["label2id"] = json!({"LABEL_0": 0});
        config["sentence_transformers"] =
            json!({"activation_fn": "torch.nn.modules.linear.Identity"});
        Ok(config)
    }

    /// `tokenizer_config.json` of the result: the base's where it has one, with the window.
    pub(super) fn tokenizer_json(&self) -> Value {
        let path = self.encoder.spec.tokenizer.with_file_name("tokenizer_config.json");
        let known = std::fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let mut settings = known.filter(Value::is_object).unwrap_or_else(|| json!({}));
        settings["model_max_length"] = json!(self.window);
        settings
    }
}

/// The base as an encoder. A cross-encoder reads pairs as they are, without prefixes.
fn spec(base: &RerankerBase) -> EncoderSpec {
    let plain = |spec: EncoderSpec| EncoderSpec {
        pooling: Pooling::Cls,
        query_prefix: String::new(),
        document_prefix: String::new(),
        ..spec
    };
    match base.clone() {
        RerankerBase::Encoder(spec) => plain(spec),
        RerankerBase::CrossEncoder(spec) => EncoderSpec {
            name: spec.name,
            weights: spec.weights,
            config: Some(spec.config),
            tokenizer: spec.tokenizer,
            pooling: Pooling::Cls,
            query_prefix: String::new(),
            document_prefix: String::new(),
            window: spec.window,
            dimensions: 1,
            weights_sha256: spec.weights_sha256,
            tokenizer_sha256: spec.tokenizer_sha256,
        },
    }
}

/// A head that knows nothing yet.
fn fresh(config: &BertConfig, seed: u64) -> HeadWeights {
    let hidden = config.hidden_size;
    let mut random = Random::of(seed, 2);
    let mut drawn = |n: usize| (0..n).map(|_| DEVIATION * random.normal()).collect::<Vec<f32>>();
    HeadWeights {
        dense: drawn(hidden * hidden),
        dense_bias: vec![0.0; hidden],
        output: drawn(hidden),
        output_bias: vec![0.0],
    }
}
