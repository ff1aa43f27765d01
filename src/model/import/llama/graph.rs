//! The ONNX graph of a decoder of the Llama family.
//!
//! Inputs: `input_ids` int64 [1, s], the tokens to read; `seqlens_k` int32 [1], the tokens that are
//! in the cache after this call, less one; `total` int32, the tokens that are in the cache after this
//! call; `logits_start` int64 [1], -k for the logits of the last k tokens; `past.L.key` and
//! `past.L.value` f32 [1, key-value heads, room, head dimensions] of every layer L. Outputs: `logits`
//! f32 [1, k, vocabulary]; `present.L.key` and `present.L.value`, which must be the same memory as
//! `past.L.*`: only the rows of the new tokens are written.
//!
//! One `GroupQueryAttention` a layer rotates queries and keys, keeps the cache and attends; each norm
//! is fused with the residual sum before it. In 8 bits the weights are whole numbers around 128 with
//! a scale for each block, and activations are rounded block by block when they are multiplied, so
//! that no token depends on those beside it. A model's last layer works on the rows that are asked
//! for alone, once attention has written its keys and values.
//!
//! In the watched form the graph has the one input `input_ids`, of a number of tokens that is settled,
//! and gives out what the layers' products are fed with.

use super::smooth::{Folded, Smoothing};
use super::{DecoderConfig, DecoderWeights, Pairs, Part};
use crate::error::{Error, Result};
use crate::model::onnx::{DataType, GraphBuilder, MICROSOFT, Value};
use std::io::Write;

/// Tokens of the longest input, whatever a model's own limit is: the tables of rotations have this
/// many rows.
const MAX_CONTEXT: usize = 32_768;

/// Weights that share a scale, where they are rounded to 8 bits here. Smaller blocks are slower. Larger
/// ones go by another kernel where a call's rows are odd in number, so that the last row would depend
/// on the size of the call (docs/benchmarks.md).
const BLOCK: usize = 64;
/// Weights that share a scale in files that have 8 bits already, and in embeddings.
const FILE_BLOCK: usize = 32;
/// What stands for zero in 8 bits.
const ZERO: u8 = 128;

/// In which form a decoder's graph is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecoderForm {
    /// 32-bit floats.
    Fp32,
    /// Weights in 8 bits.
    Int8,
}

/// What one must know of a decoder's graph to run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecoderShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) vocabulary: usize,
    /// Tokens of the longest input.
    pub(crate) context: usize,
}

impl DecoderShape {
    /// That of the graph that [`build`] makes.
    pub(crate) fn of(config: &DecoderConfig) -> Self {
        Self {
            layers: config.layers,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            vocabulary: config.vocabulary,
            context: config.context.min(MAX_CONTEXT),
        }
    }
}

/// Builds the graph, writes its large tensors to `sink` (a file that will lie beside the model under
/// the name `weights_name`) and returns the model.
///
/// # Errors
/// [`Error::Model`] where the attention operator cannot do what the configuration says; those of
/// reading the weights and of writing.
pub(crate) fn build(
    weights: &DecoderWeights,
    form: DecoderForm,
    smoothing: Option<&Smoothing>,
    weights_name: &str,
    sink: &mut dyn Write,
) -> Result<Vec<u8>> {
    let mut import = Import::new(weights, form, smoothing, weights_name, sink)?;
    import.constants()?;
    let y = import.layers()?;
    import.head(&y)?;
    import.outlets();
    Ok(import.graph.finish())
}

/// Builds the graph in 8 bits and in the watched form, for inputs of `tokens` tokens. The names of its
/// outputs are returned, [`WATCHED`](super::smooth::WATCHED) of each layer.
///
/// # Errors
/// As [`build`].
pub(crate) fn watched(
    weights: &DecoderWeights,
    tokens: usize,
    weights_name: &str,
    sink: &mut dyn Write,
) -> Result<(Vec<u8>, Vec<String>)> {
    let mut import = Import::new(weights, DecoderForm::Int8, None, weights_name, sink)?;
    import.watched = Some(Vec::new());
    import.constants()?;
    let count = i32::try_from(tokens).unwrap_or(i32::MAX);
    import.graph.tensor("seqlens_k", DataType::Int32, &[1], &(count - 1).to_le_bytes())?;
    import.graph.tensor("total", DataType::Int32, &[], &count.to_le_bytes())?;
    import.layers()?;
    import.graph.input("input_ids", DataType::Int64, &["1", &tokens.to_string()]);
    let names = import.watched.take().unwrap_or_default();
    for name in &names {
        import.graph.output(name, DataType::Float, &["1", "tokens", "width"]);
    }
    Ok((import.graph.finish(), names))
}

struct Import<'a> {
    config: &'a DecoderConfig,
    weights: Folded<'a>,
    form: DecoderForm,
    graph: GraphBuilder<'a>,
    /// What the products of the layers are fed with, in the watched form.
    watched: Option<Vec<String>>,
}

/// A matrix in 8 bits, row by row: codes around 128, and one scale for each block of a row. The last
/// block of a row is filled up.
struct Quantized {
    rows: usize,
    columns: usize,
    block: usize,
    codes: Vec<u8>,
    scales: Vec<f32>,
}

impl Quantized {
    fn blocks(&self) -> usize {
        self.columns.div_ceil(self.block)
    }
}

impl<'a> Import<'a> {
    fn new(
        weights: &'a DecoderWeights,
        form: DecoderForm,
        smoothing: Option<&'a Smoothing>,
        weights_name: &str,
        sink: &'a mut dyn Write,
    ) -> Result<Self> {
        let config = weights.config();
        if !config.head_dim.is_multiple_of(16) {
            return Err(Error::Model {
                name: weights.name().to_owned(),
                reason: format!(
                    "its heads have {} dimensions; multiples of 16 are supported",
                    config.head_dim
                ),
            });
        }
        let graph = GraphBuilder::new("decoder", weights_name, sink);
        let weights = Folded { weights, smoothing };
        Ok(Self { config, weights, form, graph, watched: None })
    }

    /// All layers, from the embedding to the last norm.
    fn layers(&mut self) -> Result<String> {
        let mut x = self.embedding()?;
        let mut y = self.norm(&x, Part::AttentionNorm(0))?;
        for layer in 0..self.config.layers {
            (y, x) = self.layer(layer, &y, &x)?;
        }
        Ok(y)
    }

    fn watch(&mut self, value: &str) {
        self.watched.iter_mut().for_each(|names| names.push(value.to_owned()));
    }
    /// Tables of rotations by position, and small numbers.
    fn constants(&mut self) -> Result<()> {
        let context = DecoderShape::of(self.config).context;
        let frequencies = self.config.rotary.frequencies(self.config.head_dim);
        let table = |turn: fn(f64) -> f64| -> Vec<f32> {
            let angles = (0..context).flat_map(|at| frequencies.iter().map(move |f| at as f64 * f));
            #[expect(clippy::cast_possible_truncation, reason = "the table is in single precision")]
            let table = angles.map(|angle| turn(angle) as f32).collect();
            table
        };
        let dims = [context, frequencies.len()];
        self.graph.floats("cos", &dims, &table(f64::cos))?;
        self.graph.floats("sin", &dims, &table(f64::sin))?;
        self.graph.int64s("token_axis", &[1], &[1])?;
        self.graph.int64s("to_end", &[1], &[i64::from(i32::MAX)])?;
        if self.config.qk_norm {
            let (heads, kv_heads, size) = self.attention_sizes();
            let widths = [heads * size, kv_heads * size, kv_heads * size];
            self.graph.int64s("attention_widths", &[3], &widths)?;
            self.graph.int64s("query_heads", &[4], &[0, 0, heads, size])?;
            self.graph.int64s("key_heads", &[4], &[0, 0, kv_heads, size])?;
            self.graph.int64s("query_row", &[3], &[0, 0, heads * size])?;
            self.graph.int64s("key_row", &[3], &[0, 0, kv_heads * size])?;
        }
        Ok(())
    }

    /// Heads, key-value heads and dimensions of a head, as attributes want them.
    fn attention_sizes(&self) -> (i64, i64, i64) {
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        (size(self.config.heads), size(self.config.kv_heads), size(self.config.head_dim))
    }

    fn embedding(&mut self) -> Result<String> {
        let (rows, columns) = (self.config.vocabulary, self.config.hidden);
        if self.form == DecoderForm::Fp32 {
            let matrix = self.weights.matrix(Part::Embedding)?;
            self.graph.floats("embedding", &[rows, columns], &matrix.values)?;
            return Ok(self.graph.node("Gather", &["embedding", "input_ids"], &[]));
        }
        let q = self.quantized(&[Part::Embedding], FILE_BLOCK)?;
        let mut codes = q.codes;
        let width = columns.next_multiple_of(q.block);
        if width != columns {
            let cut = codes.chunks_exact(width).flat_map(|row| row.iter().take(columns));
            codes = cut.copied().collect();
        }
        let blocks = columns.div_ceil(q.block);
        self.graph.tensor("embedding", DataType::Uint8, &[rows, columns], &codes)?;
        self.graph.floats("embedding.scales", &[rows, blocks], &q.scales)?;
        let attributes = [
            ("bits", Value::Int(8)),
            ("block_size", integer(q.block)),
            ("quantize_axis", Value::Int(1)),
            ("gather_axis", Value::Int(0)),
        ];
        let inputs = ["embedding", "input_ids", "embedding.scales"];
        Ok(self.graph.domain_node(MICROSOFT, "GatherBlockQuantized", &inputs, &attributes))
    }

    /// From a layer's normalised input and the sum that runs beside the layers to the next one's.
    fn layer(&mut self, layer: usize, y: &str, x: &str) -> Result<(String, String)> {
        let last = layer + 1 == self.config.layers;
        self.watch(y);
        let mut attended = self.attention(layer, y)?;
        let mut x = x.to_owned();
        if last && self.watched.is_none() {
            attended = self.wanted_rows(&attended);
            x = self.wanted_rows(&x);
        }
        let o = self.linear(&attended, &[Part::Output(layer)], None)?;
        let (y, x) = self.sum_and_norm(&o, &x, Part::FeedForwardNorm(layer), layer, "middle")?;
        // Two products instead of one with a Split behind it: that would copy both halves.
        self.watch(&y);
        let gate = self.linear(&y, &[Part::Gate(layer)], None)?;
        let up = self.linear(&y, &[Part::Up(layer)], None)?;
        // x sigmoid(x), which is SiLU.
        let alpha = [("alpha", Value::Float(1.0))];
        let gate = self.graph.domain_node(MICROSOFT, "QuickGelu", &[&gate], &alpha);
        let gated = self.graph.node("Mul", &[&gate, &up], &[]);
        self.watch(&gated);
        let down = self.linear(&gated, &[Part::Down(layer)], None)?;
        let next = if last { Part::FinalNorm } else { Part::AttentionNorm(layer + 1) };
        self.sum_and_norm(&down, &x, next, layer, "end")
    }

    fn attention(&mut self, layer: usize, y: &str) -> Result<String> {
        let parts = [Part::Query(layer), Part::Key(layer), Part::Value(layer)];
        let bias = if self.config.qkv_bias {
            let mut bias = self.weights.vector(Part::QueryBias(layer))?;
            bias.extend(self.weights.vector(Part::KeyBias(layer))?);
            bias.extend(self.weights.vector(Part::ValueBias(layer))?);
            Some(self.graph.floats(&format!("{layer}.qkv.bias"), &[bias.len()], &bias)?)
        } else {
            None
        };
        let packed = self.linear(y, &parts, bias.as_deref())?;
        let [query, key, value] = if self.config.qk_norm {
            self.normed_heads(layer, &packed)?
        } else {
            // All three side by side in the first input.
            [packed, String::new(), String::new()]
        };
        let cache = |when: &str, what: &str| format!("{when}.{layer}.{what}");
        let (past_key, past_value) = match self.watched {
            // There are none.
            Some(_) => (String::new(), String::new()),
            None => (cache("past", "key"), cache("past", "value")),
        };
        let attended = format!("attended.{layer}");
        let outputs = [&attended, &cache("present", "key"), &cache("present", "value")];
        let (heads, kv_heads, _) = self.attention_sizes();
        let neighbours = i64::from(self.config.rotary.pairs == Pairs::Neighbours);
        let attributes = [
            ("num_heads", Value::Int(heads)),
            ("kv_num_heads", Value::Int(kv_heads)),
            ("do_rotary", Value::Int(1)),
            ("rotary_interleaved", Value::Int(neighbours)),
        ];
        let inputs: [&str; 9] =
            [&query, &key, &value, &past_key, &past_value, "seqlens_k", "total", "cos", "sin"];
        self.graph.named_node(
            MICROSOFT,
            "GroupQueryAttention",
            &inputs,
            &outputs.map(String::as_str),
            &attributes,
        );
        Ok(attended)
    }

    /// Query, key and value apart, and each head of query and key normalised (Qwen3).
    fn normed_heads(&mut self, layer: usize, packed: &str) -> Result<[String; 3]> {
        let names = ["query", "key", "value"].map(|what| format!("{layer}.{what}"));
        self.graph.named_node(
            "",
            "Split",
            &[packed, "attention_widths"],
            &names.each_ref().map(String::as_str),
            &[("axis", Value::Int(-1))],
        );
        let [query, key, value] = names;
        let mut normed = |x: &str, heads: &str, row: &str, part: Part| -> Result<String> {
            let apart = self.graph.node("Reshape", &[x, heads], &[]);
            let apart = self.norm(&apart, part)?;
            Ok(self.graph.node("Reshape", &[&apart, row], &[]))
        };
        let query = normed(&query, "query_heads", "query_row", Part::QueryNorm(layer))?;
        let key = normed(&key, "key_heads", "key_row", Part::KeyNorm(layer))?;
        Ok([query, key, value])
    }

    /// The last rows, whose logits are asked for.
    fn wanted_rows(&mut self, x: &str) -> String {
        self.graph.node("Slice", &[x, "logits_start", "to_end", "token_axis"], &[])
    }

    fn head(&mut self, y: &str) -> Result<()> {
        let part = if self.config.tied { Part::Embedding } else { Part::Head };
        let logits = match self.form {
            DecoderForm::Fp32 if self.config.tied => self.product(y, "embedding"),
            DecoderForm::Fp32 => self.linear(y, &[part], None)?,
            DecoderForm::Int8 => {
                let (rows, columns) = (self.config.vocabulary, self.config.hidden);
                // The same bytes as the embedding's, where no block of those is short.
                let same = self.config.tied && columns.is_multiple_of(FILE_BLOCK);
                let dims = [rows, columns.div_ceil(FILE_BLOCK), FILE_BLOCK];
                match same.then(|| self.graph.reshaped("head", &dims, "embedding")).flatten() {
                    Some(codes) => {
                        let names = [codes.as_str(), "embedding.scales"];
                        self.product_of_blocks(y, names, (rows, columns, FILE_BLOCK), None)
                    }
                    None => self.linear(y, &[part], None)?,
                }
            }
        };
        self.graph.rename(&logits, "logits");
        Ok(())
    }

    /// `y` times the matrices `parts`, whose outputs come side by side.
    fn linear(&mut self, y: &str, parts: &[Part], bias: Option<&str>) -> Result<String> {
        let name = parts.iter().map(|part| format!("{part:?}")).collect::<Vec<_>>().join("+");
        if self.form == DecoderForm::Int8 {
            let q = self.quantized(parts, BLOCK)?;
            let (codes, scales) = (format!("{name}.codes"), format!("{name}.scales"));
            let dims = [q.rows, q.blocks(), q.block];
            self.graph.tensor(&codes, DataType::Uint8, &dims, &q.codes)?;
            self.graph.floats(&scales, &[q.rows, q.blocks()], &q.scales)?;
            let sizes = (q.rows, q.columns, q.block);
            return Ok(self.product_of_blocks(y, [&codes, &scales], sizes, bias));
        }
        let (mut rows, mut columns, mut values) = (0, 0, Vec::new());
        for part in parts {
            let matrix = self.weights.matrix(*part)?;
            rows += matrix.rows;
            columns = matrix.columns;
            values.extend(matrix.values);
        }
        self.graph.floats(&name, &[rows, columns], &values)?;
        let product = self.product(y, &name);
        Ok(match bias {
            Some(bias) => self.graph.node("Add", &[&product, bias], &[]),
            None => product,
        })
    }

    /// `y` times the matrix `name`, stored outputs by inputs as files have it.
    fn product(&mut self, y: &str, name: &str) -> String {
        let turned = [("transB", Value::Int(1))];
        self.graph.domain_node(MICROSOFT, "FusedMatMul", &[y, name], &turned)
    }

    /// The same in 8 bits, of `codes` and `scales`; with products of whole numbers.
    fn product_of_blocks(
        &mut self,
        y: &str,
        [codes, scales]: [&str; 2],
        (rows, columns, block): (usize, usize, usize),
        bias: Option<&str>,
    ) -> String {
        let attributes = [
            ("K", integer(columns)),
            ("N", integer(rows)),
            ("bits", Value::Int(8)),
            ("block_size", integer(block)),
            ("accuracy_level", Value::Int(4)),
        ];
        let mut inputs = vec![y, codes, scales];
        // Between them: zero points, which are 128, and an order of groups, which there is not.
        inputs.extend(bias.into_iter().flat_map(|bias| ["", "", bias]));
        self.graph.domain_node(MICROSOFT, "MatMulNBits", &inputs, &attributes)
    }

    /// The matrices `parts` one below the other in 8 bits: as the file has them where it has 8 bits
    /// for all, else rounded in blocks of `block`.
    fn quantized(&self, parts: &[Part], block: usize) -> Result<Quantized> {
        let mut all =
            Quantized { rows: 0, columns: 0, block: FILE_BLOCK, codes: vec![], scales: vec![] };
        for part in parts {
            let Some(blocks) = self.weights.blocks(*part)? else {
                return self.rounded(parts, block);
            };
            all.rows += blocks.rows;
            all.columns = blocks.columns;
            all.codes.extend(blocks.codes);
            all.scales.extend(blocks.scales);
        }
        Ok(all)
    }

    fn rounded(&self, parts: &[Part], block: usize) -> Result<Quantized> {
        let mut all = Quantized { rows: 0, columns: 0, block, codes: vec![], scales: vec![] };
        for part in parts {
            let matrix = self.weights.matrix(*part)?;
            all.rows += matrix.rows;
            all.columns = matrix.columns;
            for row in matrix.values.chunks_exact(matrix.columns.max(1)) {
                for some in row.chunks(block) {
                    let scale = round_block(some, block, &mut all.codes);
                    all.scales.push(scale);
                }
            }
        }
        Ok(all)
    }

    fn norm(&mut self, x: &str, part: Part) -> Result<String> {
        let weight = self.norm_weight(part)?;
        let epsilon = Value::Float(self.config.norm_epsilon);
        let attributes = [("axis", Value::Int(-1)), ("epsilon", epsilon)];
        Ok(self.graph.node("SimplifiedLayerNormalization", &[x, &weight], &attributes))
    }

    /// The norm of a sum, and the sum.
    fn sum_and_norm(
        &mut self,
        a: &str,
        b: &str,
        part: Part,
        layer: usize,
        place: &str,
    ) -> Result<(String, String)> {
        let weight = self.norm_weight(part)?;
        let (normed, sum) = (format!("{layer}.{place}.normed"), format!("{layer}.{place}.sum"));
        self.graph.named_node(
            MICROSOFT,
            "SkipSimplifiedLayerNormalization",
            &[a, b, &weight],
            // Mean and deviation are left out.
            &[&normed, "", "", &sum],
            &[("epsilon", Value::Float(self.config.norm_epsilon))],
        );
        Ok((normed, sum))
    }

    fn norm_weight(&mut self, part: Part) -> Result<String> {
        let weight = self.weights.vector(part)?;
        self.graph.floats(&format!("{part:?}"), &[weight.len()], &weight)
    }

    fn outlets(&mut self) {
        let graph = &mut self.graph;
        graph.input("input_ids", DataType::Int64, &["1", "tokens"]);
        graph.input("seqlens_k", DataType::Int32, &["1"]);
        graph.input("total", DataType::Int32, &[]);
        graph.input("logits_start", DataType::Int64, &["1"]);
        let vocabulary = self.config.vocabulary.to_string();
        graph.output("logits", DataType::Float, &["1", "rows", &vocabulary]);
        let (heads, size) = (self.config.kv_heads.to_string(), self.config.head_dim.to_string());
        for layer in 0..self.config.layers {
            for what in ["key", "value"] {
                let dims = |room| ["1", heads.as_str(), room, size.as_str()];
                graph.input(&format!("past.{layer}.{what}"), DataType::Float, &dims("room"));
                let present = format!("present.{layer}.{what}");
                graph.output(&present, DataType::Float, &dims("present_room"));
            }
        }
    }
}

/// Appends a block in 8 bits, filled up to `block` codes, and returns its scale. The largest magnitude
/// becomes 127 steps, so that zero is exact.
fn round_block(values: &[f32], block: usize, codes: &mut Vec<u8>) -> f32 {
    let largest = values.iter().fold(0f32, |max, x| max.max(x.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1..=255"
    )]
    codes.extend(
        values
            .iter()
            .map(|x| (x / scale + f32::from(ZERO)).round_ties_even().clamp(1.0, 255.0) as u8),
    );
    codes.extend(std::iter::repeat_n(ZERO, block.saturating_sub(values.len())));
    scale
}

fn integer(n: usize) -> Value<'static> {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Rounding to the nearest of 255 steps errs by half a step at most, and zero is exact.
        #[test]
        fn blocks_come_back_within_half_a_step(values in proptest::collection::vec(-9f32..9.0, 1..40)) {
            let mut codes = Vec::new();
            let scale = round_block(&values, 40, &mut codes);
            prop_assert_eq!(codes.len(), 40);
            let back: Vec<f32> = codes.iter().map(|c| (f32::from(*c) - f32::from(ZERO)) * scale).collect();
            for (value, back) in values.iter().zip(&back) {
                prop_assert!((value - back).abs() <= scale * 0.501, "{value} becomes {back}");
            }
            prop_assert!(back[values.len()..].iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn a_block_of_zeros_has_a_usable_scale() {
        let mut codes = Vec::new();
        assert!(round_block(&[0.0, -0.0], 2, &mut codes) > 0.0);
        assert_eq!(codes, [128, 128]);
    }
}
