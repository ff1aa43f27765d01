//! The head of a cross-encoder: from the first token's vector to one figure.
//!
//! A dense layer with tanh over the first token's vector, then one linear output: BERT's pooler and
//! classifier (Devlin et al. 2018, as re-rankers: Nogueira and Cho 2019). RoBERTa has the same two
//! layers under other names.

use super::{BertConfig, Import};
use crate::error::{Error, Result};
use crate::model::import::WeightFile;
use crate::model::onnx::{DataType, Value};

/// What a graph gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// One vector a token: an encoder.
    Tokens,
    /// One figure for two texts that are read together: a cross-encoder.
    Score,
}

impl Head {
    /// Whether the graph is told which text each token belongs to. An encoder reads one text, so all
    /// its tokens are of the first type; RoBERTa has one type only.
    pub(crate) fn reads_types(self, config: &BertConfig) -> bool {
        self == Self::Score && config.type_vocab_size > 1
    }
}

/// The names under which a published model keeps its head.
pub(crate) struct HeadNames {
    /// The dense layer.
    pub(crate) dense: &'static str,
    /// The output.
    pub(crate) output: &'static str,
}

impl HeadNames {
    pub(crate) fn of(config: &BertConfig) -> Self {
        let (dense, output) = match config.model_type.as_str() {
            "bert" => ("bert.pooler.dense", "classifier"),
            _ => ("classifier.dense", "classifier.out_proj"),
        };
        Self { dense, output }
    }
}

/// The class that transformers has for a cross-encoder of this configuration, and what stands in front
/// of the names of its encoder's tensors.
#[cfg(feature = "train")]
pub(crate) fn published_as(config: &BertConfig) -> (&'static str, &'static str) {
    match config.model_type.as_str() {
        "bert" => ("BertForSequenceClassification", "bert."),
        "roberta" => ("RobertaForSequenceClassification", "roberta."),
        _ => ("XLMRobertaForSequenceClassification", "roberta."),
    }
}

/// The weights of a head, as they are stored: outputs by inputs.
pub(crate) struct HeadWeights {
    /// [hidden, hidden]
    pub(crate) dense: Vec<f32>,
    /// [hidden]
    pub(crate) dense_bias: Vec<f32>,
    /// [1, hidden]
    pub(crate) output: Vec<f32>,
    /// [1]
    pub(crate) output_bias: Vec<f32>,
}

impl HeadWeights {
    /// Reads the head of a published cross-encoder.
    ///
    /// # Errors
    /// [`Error::Model`] naming the tensor that is missing or has another shape: a classifier of more
    /// than one label is no re-ranker.
    pub(crate) fn read(config: &BertConfig, file: &WeightFile) -> Result<Self> {
        let HeadNames { dense, output, .. } = HeadNames::of(config);
        let hidden = config.hidden_size;
        let weights = file.weights(&[""], &format!("{output}.weight"))?;
        Ok(Self {
            dense: weights.get(&format!("{dense}.weight"), &[hidden, hidden])?,
            dense_bias: weights.get(&format!("{dense}.bias"), &[hidden])?,
            output: weights.get(&format!("{output}.weight"), &[1, hidden])?,
            output_bias: weights.get(&format!("{output}.bias"), &[1])?,
        })
    }
}

/// Whether `config.json` describes a classifier with one label.
pub(crate) fn is_cross_encoder(json: &str) -> bool {
    let raw: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    architecture(&raw).ends_with("ForSequenceClassification") && labels(&raw) == 1
}

/// Refuses what is no cross-encoder, saying what it is.
///
/// # Errors
/// [`Error::Model`].
pub(crate) fn check_cross_encoder(name: &str, json: &str) -> Result<()> {
    if is_cross_encoder(json) {
        return Ok(());
    }
    let raw: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    let found = match architecture(&raw) {
        "" => "config.json names no architecture".to_owned(),
        class if class.ends_with("ForSequenceClassification") => {
            format!("config.json says {} labels", labels(&raw))
        }
        class => format!("config.json describes a {class}"),
    };
    Err(Error::Model {
        name: name.to_owned(),
        reason: format!(
            "{found}; a re-ranker is a BertForSequenceClassification (or RoBERTa's) with one label; \
             `vdb train reranker` makes one of an encoder"
        ),
    })
}

fn architecture(config: &serde_json::Value) -> &str {
    config.pointer("/architectures/0").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// transformers writes the names of labels rather than their number; without either there are two.
fn labels(config: &serde_json::Value) -> u64 {
    let named = || config.get("id2label")?.as_object().map(|labels| labels.len() as u64);
    let counted = config.get("num_labels").and_then(serde_json::Value::as_u64);
    counted.or_else(named).unwrap_or(2)
}

impl Import<'_> {
    /// The figure of each text: [batch, 1]. In 32 bits in every form: it is one row a text.
    pub(super) fn score(&mut self, x: &str, file: &WeightFile) -> Result<String> {
        let hidden = self.config.hidden_size;
        let head = HeadWeights::read(self.config, file)?;
        let graph = &mut self.graph;
        let first = graph.int64s("first", &[], &[0])?;
        let first = graph.node("Gather", &[x, &first], &[("axis", Value::Int(1))]);
        let transposed = [("transB", Value::Int(1))];
        let weight = graph.floats("head.dense.weight", &[hidden, hidden], &head.dense)?;
        let bias = graph.floats("head.dense.bias", &[hidden], &head.dense_bias)?;
        let dense = graph.node("Gemm", &[&first, &weight, &bias], &transposed);
        let active = graph.node("Tanh", &[&dense], &[]);
        let weight = graph.floats("head.output.weight", &[1, hidden], &head.output)?;
        let bias = graph.floats("head.output.bias", &[1], &head.output_bias)?;
        Ok(graph.node("Gemm", &[&active, &weight, &bias], &transposed))
    }

    /// The rows of the table of token types that the graph is told, [batch, sequence, hidden].
    pub(super) fn types(&mut self) -> Result<String> {
        let (count, hidden) = (self.config.type_vocab_size, self.config.hidden_size);
        let types = self.weights.get(TYPES, &[count, hidden])?;
        self.graph.input("token_type_ids", DataType::Int64, &["batch", "sequence"]);
        let types = self.graph.floats("types", &[count, hidden], &types)?;
        Ok(self.graph.node("Gather", &[&types, "token_type_ids"], &[]))
    }
}

/// The table of token types.
pub(super) const TYPES: &str = "embeddings.token_type_embeddings.weight";
