//! Encoders of the BERT family: safetensors and config.json to an ONNX graph.
//!
//! The graph is the fastest form that was measured (docs/benchmarks.md): one fused `Attention` per
//! layer, then MatMul and bias, the residual, a plain `LayerNormalization`, a plain `Gelu`; token
//! types folded into the positions. In 8 bits, `QAttention` and `MatMulIntegerToFloat` with
//! constant activation scales, smoothed between channels. A cross-encoder reads token types as well
//! and has a head (`head`).

mod head;

pub(crate) use head::{Head, check_cross_encoder};
#[cfg(feature = "train")]
pub(crate) use head::{HeadNames, HeadWeights, is_cross_encoder, published_as};

use super::weights::Weights;
use crate::error::{Error, Result};
use crate::model::onnx::{DataType, GraphBuilder, MICROSOFT, Value};
use crate::model::quantize::{Range, largest_of_rows, quantize_columns, smoothing};
use serde::Deserialize;
use std::io::Write;

/// What `config.json` says of a model of the family.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BertConfig {
    model_type: String,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) vocab_size: usize,
    #[serde(default)]
    pub(crate) type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    pub(crate) layer_norm_eps: f32,
    #[serde(default = "default_activation")]
    pub(crate) hidden_act: String,
    #[serde(default)]
    pad_token_id: usize,
    #[serde(default = "default_positions")]
    position_embedding_type: String,
}

fn default_epsilon() -> f32 {
    1e-12
}
fn default_activation() -> String {
    "gelu".to_owned()
}
fn default_positions() -> String {
    "absolute".to_owned()
}

/// In which form the graph is wanted.
pub(crate) enum Form<'a> {
    /// 32-bit floats.
    Fp32,
    /// 32-bit floats, with every value that 8 bits would quantise as an output, for calibration.
    Watched,
    /// 8 bits: activations by these ranges (by value, then channel), weights up to this magnitude.
    Int8(&'a [Vec<Range>], i8),
}

impl BertConfig {
    /// Parses and checks `config.json`.
    pub(crate) fn parse(name: &str, json: &str) -> Result<Self> {
        let refuse = |reason: String| Error::Model { name: name.to_owned(), reason };
        let raw: serde_json::Value = serde_json::from_str(json)
            .map_err(|e| refuse(format!("config.json is not JSON: {e}")))?;
        let kind = raw.get("model_type").and_then(|v| v.as_str()).unwrap_or("nothing");
        if !["bert", "xlm-roberta", "roberta"].contains(&kind) {
            return Err(refuse(format!(
                "config.json says model_type {kind:?}; bert, roberta and xlm-roberta are \
                 supported, and any encoder that is exported to ONNX"
            )));
        }
        let config: Self = serde_json::from_value(raw)
            .map_err(|e| refuse(format!("config.json is incomplete: {e}")))?;
        config.check().map_err(refuse)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, n: usize, max: usize| {
            if (1..=max).contains(&n) {
                Ok(())
            } else {
                Err(format!("config.json says {name} {n}; from 1 to {max} are supported"))
            }
        };
        within("hidden_size", self.hidden_size, 8192)?;
        within("num_hidden_layers", self.num_hidden_layers, 128)?;
        within("num_attention_heads", self.num_attention_heads, 256)?;
        within("intermediate_size", self.intermediate_size, 65_536)?;
        within("max_position_embeddings", self.max_position_embeddings, 65_536)?;
        within("vocab_size", self.vocab_size, 4_000_000)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "config.json says hidden_size {} and {} heads, which do not divide",
                self.hidden_size, self.num_attention_heads
            ));
        }
        if self.position_embedding_type != "absolute" {
            return Err(format!(
                "position_embedding_type {:?}; absolute is supported",
                self.position_embedding_type
            ));
        }
        if self.activation().is_none() {
            return Err(format!(
                "hidden_act {:?}; gelu, gelu_new, gelu_pytorch_tanh and relu are supported",
                self.hidden_act
            ));
        }
        if self.position_offset() >= self.max_position_embeddings {
            return Err("config.json leaves no positions".to_owned());
        }
        Ok(())
    }

    /// RoBERTa counts positions from the padding token's id plus one.
    pub(crate) fn position_offset(&self) -> usize {
        if self.model_type == "bert" { 0 } else { self.pad_token_id.saturating_add(1) }
    }

    /// Tokens of the longest input.
    pub(crate) fn positions(&self) -> usize {
        self.max_position_embeddings - self.position_offset()
    }

    /// Elements of a token's vector.
    pub(crate) fn dimensions(&self) -> usize {
        self.hidden_size
    }

    /// Elements of a token's vector inside a layer, where it is widest.
    #[cfg(all(any(test, fuzzing), feature = "cli"))]
    pub(crate) fn inner_dimensions(&self) -> usize {
        self.intermediate_size
    }

    /// The operator and its `approximate` attribute.
    fn activation(&self) -> Option<(&'static str, Option<&'static str>)> {
        match self.hidden_act.as_str() {
            "gelu" => Some(("Gelu", None)),
            "gelu_new" | "gelu_pytorch_tanh" => Some(("Gelu", Some("tanh"))),
            "relu" => Some(("Relu", None)),
            _ => None,
        }
    }
}

/// How much of the difference between channels the weights take over. `SmoothQuant`'s paper has 0.5;
/// here 0.75 measured best (docs/benchmarks.md).
const MIGRATION: f32 = 0.75;

/// Prefixes under which published weights keep the encoder.
pub(crate) const PREFIXES: [&str; 4] = ["", "bert.", "roberta.", "model."];
/// A tensor that every model of the family has.
pub(crate) const PROBE: &str = "embeddings.word_embeddings.weight";

/// Builds the graph: inputs `input_ids` and `attention_mask`, int64 [batch, sequence]; output
/// `last_hidden_state`, f32 [batch, sequence, dimensions], or of a cross-encoder, which where it has
/// several types also reads `token_type_ids`, `logits`, f32 [batch, 1]. In the watched form, also the
/// values to calibrate; their names are returned.
pub(crate) fn build(
    config: &BertConfig,
    file: &super::WeightFile,
    head: Head,
    form: &Form<'_>,
    weights_name: &str,
    sink: &mut dyn Write,
) -> Result<(Vec<u8>, Vec<String>)> {
    let weights = file.weights(&PREFIXES, PROBE)?;
    let mut import = Import {
        config,
        weights: &weights,
        head,
        form,
        graph: GraphBuilder::new("encoder", weights_name, sink),
        watched: Vec::new(),
    };
    import.graph.input("input_ids", DataType::Int64, &["batch", "sequence"]);
    import.graph.input("attention_mask", DataType::Int64, &["batch", "sequence"]);
    let int32 = Value::Int(DataType::Int32 as i64);
    let mask = import.graph.node("Cast", &["attention_mask"], &[("to", int32)]);
    let mut x = import.embeddings()?;
    for layer in 0..config.num_hidden_layers {
        x = import.layer(layer, &x, &mask)?;
    }
    match head {
        Head::Tokens => {
            import.graph.rename(&x, "last_hidden_state");
            let dims = ["batch", "sequence", &config.hidden_size.to_string()];
            import.graph.output("last_hidden_state", DataType::Float, &dims);
        }
        Head::Score => {
            let score = import.score(&x, file)?;
            import.graph.rename(&score, "logits");
            import.graph.output("logits", DataType::Float, &["batch", "1"]);
        }
    }
    if matches!(form, Form::Watched) {
        for name in &import.watched {
            import.graph.output(name, DataType::Float, &["batch", "sequence", "width"]);
        }
    }
    Ok((import.graph.finish(), import.watched))
}

struct Import<'a> {
    config: &'a BertConfig,
    weights: &'a Weights<'a>,
    head: Head,
    form: &'a Form<'a>,
    graph: GraphBuilder<'a>,
    /// The values that 8 bits quantise, in the order in which the graph makes them; the order is the
    /// same in every form, so it ties a range to its value.
    watched: Vec<String>,
}

/// An activation in 8 bits: the names of its values, its scale and its zero point.
struct Quantized {
    values: String,
    scale: String,
    zero: String,
}

impl Import<'_> {
    /// Word and position embeddings, then layer norm. Where types are not read, the first one is every
    /// token's, so its row is added to the positions beforehand.
    fn embeddings(&mut self) -> Result<String> {
        let BertConfig {
            hidden_size, vocab_size, max_position_embeddings, type_vocab_size, ..
        } = *self.config;
        let words = self.weights.get(PROBE, &[vocab_size, hidden_size])?;
        let name = "embeddings.position_embeddings.weight";
        let positions = self.weights.get(name, &[max_position_embeddings, hidden_size])?;
        let offset = self.config.position_offset();
        let mut positions = positions[offset * hidden_size..].to_vec();
        let reads_types = self.head.reads_types(self.config);
        if type_vocab_size > 0 && !reads_types {
            let types = self.weights.get(head::TYPES, &[type_vocab_size, hidden_size])?;
            for row in positions.chunks_exact_mut(hidden_size) {
                row.iter_mut().zip(&types).for_each(|(p, t)| *p += t);
            }
        }
        let count = self.config.positions();
        let graph = &mut self.graph;
        let words = graph.floats("words", &[vocab_size, hidden_size], &words)?;
        let positions = graph.floats("positions", &[count, hidden_size], &positions)?;
        let zero = graph.int64s("zero", &[1], &[0])?;
        let word = graph.node("Gather", &[&words, "input_ids"], &[]);
        let length = graph.node(
            "Shape",
            &["input_ids"],
            &[("start", Value::Int(1)), ("end", Value::Int(2))],
        );
        let position = graph.node("Slice", &[&positions, &zero, &length, &zero], &[]);
        let mut sum = graph.node("Add", &[&word, &position], &[]);
        if reads_types {
            let types = self.types()?;
            sum = self.graph.node("Add", &[&sum, &types], &[]);
        }
        self.layer_norm("embeddings.LayerNorm", &sum)
    }

    fn layer(&mut self, layer: usize, x: &str, mask: &str) -> Result<String> {
        let p = format!("encoder.layer.{layer}.");
        let attended = self.attention(&p, x, mask)?;
        let size = self.config.hidden_size;
        let inner = self.config.intermediate_size;
        let projected =
            self.linear(&format!("{p}attention.output.dense"), &attended, size, size, false)?;
        let sum = self.graph.node("Add", &[&projected, x], &[]);
        let y = self.layer_norm(&format!("{p}attention.output.LayerNorm"), &sum)?;
        let wide = self.linear(&format!("{p}intermediate.dense"), &y, size, inner, true)?;
        let active = match self.config.activation() {
            Some((op, Some(how))) => {
                self.graph.node(op, &[&wide], &[("approximate", Value::Text(how))])
            }
            Some((op, None)) => self.graph.node(op, &[&wide], &[]),
            None => wide,
        };
        let narrow = self.linear(&format!("{p}output.dense"), &active, inner, size, true)?;
        let sum = self.graph.node("Add", &[&narrow, &y], &[]);
        self.layer_norm(&format!("{p}output.LayerNorm"), &sum)
    }

    /// Self-attention of all heads in one operator, query, key and value weights side by side.
    fn attention(&mut self, prefix: &str, x: &str, mask: &str) -> Result<String> {
        let size = self.config.hidden_size;
        // Read before there is room for all: the configuration may say anything.
        let mut parts = Vec::new();
        let mut bias = Vec::new();
        for name in ["query", "key", "value"] {
            let name = format!("{prefix}attention.self.{name}");
            parts.push(self.weights.matrix(&format!("{name}.weight"), size, size)?);
            bias.extend(self.weights.get(&format!("{name}.bias"), &[size])?);
        }
        let mut weight = vec![0.0; size * size * 3];
        for (which, part) in parts.iter().enumerate() {
            for (row, out) in part.chunks_exact(size).zip(weight.chunks_exact_mut(size * 3)) {
                out[which * size..(which + 1) * size].copy_from_slice(row);
            }
        }
        let heads = Value::Int(i64::try_from(self.config.num_attention_heads).unwrap_or(1));
        let attributes = [("num_heads", heads)];
        let bias = self.graph.floats(&format!("{prefix}qkv.bias"), &[size * 3], &bias)?;
        let name = format!("{prefix}qkv.weight");
        match self.quantized(x, &mut weight, size * 3, true)? {
            None => {
                let weight = self.graph.floats(&name, &[size, size * 3], &weight)?;
                let inputs = [x, &weight, &bias, mask];
                Ok(self.graph.domain_node(MICROSOFT, "Attention", &inputs, &attributes))
            }
            Some(x) => {
                let (weight, scale) = self.weight(&name, &weight, size, size * 3)?;
                let inputs = [&x.values, &weight, &bias, &x.scale, &scale, mask, &x.zero];
                Ok(self.graph.domain_node(MICROSOFT, "QAttention", &inputs, &attributes))
            }
        }
    }

    fn linear(
        &mut self,
        name: &str,
        x: &str,
        inputs: usize,
        outputs: usize,
        smooth: bool,
    ) -> Result<String> {
        let weight_name = format!("{name}.weight");
        let mut weight = self.weights.matrix(&weight_name, inputs, outputs)?;
        let bias_name = format!("{name}.bias");
        let bias = self.weights.get(&bias_name, &[outputs])?;
        let bias = self.graph.floats(&bias_name, &[outputs], &bias)?;
        match self.quantized(x, &mut weight, outputs, smooth)? {
            None => {
                let weight = self.graph.floats(&weight_name, &[inputs, outputs], &weight)?;
                let product = self.graph.node("MatMul", &[x, &weight], &[]);
                Ok(self.graph.node("Add", &[&product, &bias], &[]))
            }
            Some(x) => {
                let (weight, scale) = self.weight(&weight_name, &weight, inputs, outputs)?;
                let inputs = [&x.values, &weight, &x.scale, &scale, &x.zero, "", &bias];
                Ok(self.graph.domain_node(MICROSOFT, "MatMulIntegerToFloat", &inputs, &[]))
            }
        }
    }

    /// Adds a weight in 8 bits and its scales.
    fn weight(
        &mut self,
        name: &str,
        weight: &[f32],
        inputs: usize,
        outputs: usize,
    ) -> Result<(String, String)> {
        let limit = if let Form::Int8(_, limit) = self.form { *limit } else { 127 };
        let q = quantize_columns(weight, outputs, limit);
        let bytes: Vec<u8> = q.values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let values = self.graph.tensor(name, DataType::Int8, &[inputs, outputs], &bytes)?;
        let scales = self.graph.floats(&format!("{name}.scale"), &[outputs], &q.scales)?;
        Ok((values, scales))
    }

    /// The value `x` in 8 bits where the form wants that; else it is only noted. With `smooth`, its
    /// channels are evened out and the rows of `weight`, which it will be multiplied by, take over
    /// the difference. (What attention gives out is even already; there it gained nothing.)
    fn quantized(
        &mut self,
        x: &str,
        weight: &mut [f32],
        outputs: usize,
        smooth: bool,
    ) -> Result<Option<Quantized>> {
        let nth = self.watched.len();
        self.watched.push(x.to_owned());
        let Form::Int8(ranges, _) = self.form else { return Ok(None) };
        let inputs = weight.len() / outputs;
        let Some(channels) = ranges.get(nth).filter(|channels| channels.len() == inputs) else {
            return Err(Error::Model {
                name: "encoder".to_owned(),
                reason: format!("calibration has no range for value {nth}, {x:?}"),
            });
        };
        let mut range = Range::of_all(channels.iter().copied());
        let mut source = x.to_owned();
        if smooth {
            let activations: Vec<f32> = channels.iter().map(|c| c.magnitude()).collect();
            let scales = smoothing(&activations, &largest_of_rows(weight, outputs), MIGRATION);
            range = Range::of_all(channels.iter().zip(&scales).map(|(c, s)| c.divided(*s)));
            for (row, scale) in weight.chunks_exact_mut(outputs).zip(&scales) {
                row.iter_mut().for_each(|w| *w *= scale);
            }
            let inverse: Vec<f32> = scales.iter().map(|s| 1.0 / s).collect();
            let inverse = self.graph.floats(&format!("{x}.smoothing"), &[inputs], &inverse)?;
            source = self.graph.node("Mul", &[x, &inverse], &[]);
        }
        let (scale, zero) = range.affine();
        let scale = self.graph.floats(&format!("{x}.scale"), &[], &[scale])?;
        let zero = self.graph.tensor(&format!("{x}.zero"), DataType::Uint8, &[], &[zero])?;
        let values = self.graph.node("QuantizeLinear", &[&source, &scale, &zero], &[]);
        Ok(Some(Quantized { values, scale, zero }))
    }

    fn layer_norm(&mut self, name: &str, x: &str) -> Result<String> {
        let size = self.config.hidden_size;
        let weight = self.weights.get(&format!("{name}.weight"), &[size])?;
        let bias = self.weights.get(&format!("{name}.bias"), &[size])?;
        let weight = self.graph.floats(&format!("{name}.weight"), &[size], &weight)?;
        let bias = self.graph.floats(&format!("{name}.bias"), &[size], &bias)?;
        let attributes =
            [("axis", Value::Int(-1)), ("epsilon", Value::Float(self.config.layer_norm_eps))];
        Ok(self.graph.node("LayerNormalization", &[x, &weight, &bias], &attributes))
    }
}
