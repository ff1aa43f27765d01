//! The weights of a model by name: read, trained, written.

use super::adapter::{LoraOptions, LoraTarget};
use super::ops::Activation;
use super::random::Random;
use super::tensor::{Tensor, Var, told, with};
use crate::error::Result;
use crate::model::import::{BertConfig, HeadWeights, NamedTensor, Weights};
use std::ops::Range;

/// A tensor of the model.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) values: Var,
    /// Biases and norms are not drawn to zero.
    pub(super) decays: bool,
    pub(super) trained: bool,
}

impl Parameter {
    fn new(name: String, values: Vec<f32>, dims: &[usize], trained: bool) -> Result<Self> {
        let decays = dims.len() > 1;
        let values = told(super::tensor::tensor(values, dims).and_then(|t| Var::from_tensor(&t)))?;
        Ok(Self { name, values, decays, trained })
    }

    pub(super) fn len(&self) -> usize {
        self.values.elem_count()
    }

    /// A copy of its values.
    pub(super) fn to_vec(&self) -> Result<Vec<f32>> {
        told(with(self.values.as_tensor(), |values| Ok(values.to_vec())))
    }

    /// Takes other values of the same shape.
    pub(super) fn set(&self, values: Vec<f32>) -> Result<()> {
        told(
            super::tensor::tensor(values, self.values.dims())
                .and_then(|values| self.values.set(&values)),
        )
    }
}

/// A linear layer or a norm inside a layer; where its weight stands in [`PER_LAYER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Qkv = 0,
    Output = 2,
    AttentionNorm = 4,
    Up = 6,
    Down = 8,
    OutputNorm = 10,
}

/// Query, key and value lie side by side as one matrix; the rest has its published name.
const PER_LAYER: [(&str, Part); 6] = [
    ("attention.self.qkv", Part::Qkv),
    ("attention.output.dense", Part::Output),
    ("attention.output.LayerNorm", Part::AttentionNorm),
    ("intermediate.dense", Part::Up),
    ("output.dense", Part::Down),
    ("output.LayerNorm", Part::OutputNorm),
];

/// The layers of a head, which every architecture publishes under other names.
pub(super) const HEAD_DENSE: &str = "head.dense";
pub(super) const HEAD_OUTPUT: &str = "head.output";

/// Words, positions and token types.
pub(super) const TABLES: usize = 3;
/// Tables and their norm, before the first layer.
const BEFORE: usize = TABLES + 2;

/// An adapter of one linear layer.
#[derive(Debug, Clone)]
pub(super) struct AdapterPlace {
    pub(super) layer: usize,
    pub(super) part: Part,
    /// Outputs that are corrected.
    pub(super) blocks: Vec<Range<usize>>,
    /// Where its `down` stands among the parameters; `up` follows.
    pub(super) down: usize,
}

/// All of them, tables first, then the layers, then a head, then adapters.
pub(super) struct Parameters {
    pub(super) all: Vec<Parameter>,
    /// Where the head of a cross-encoder begins: dense layer and output, each with its bias.
    pub(super) head: Option<usize>,
    pub(super) adapters: Vec<AdapterPlace>,
}

/// Outputs and inputs of a linear layer.
fn size(config: &BertConfig, part: Part) -> (usize, usize) {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    match part {
        Part::Qkv => (3 * hidden, hidden),
        Part::Up => (inner, hidden),
        Part::Down => (hidden, inner),
        _ => (hidden, hidden),
    }
}

impl Parameters {
    /// The weights of `config`'s architecture; frozen where an adapter is to be trained.
    ///
    /// # Errors
    /// [`crate::Error::Model`] naming the tensor that is missing or has another shape.
    pub(super) fn read(config: &BertConfig, weights: &Weights<'_>, trained: bool) -> Result<Self> {
        let hidden = config.hidden_size;
        let mut all = Vec::new();
        let mut add = |name: String, values: Vec<f32>, dims: &[usize]| -> Result<()> {
            all.push(Parameter::new(name, values, dims, trained)?);
            Ok(())
        };
        let types = config.type_vocab_size;
        for (name, rows) in [
            ("word", config.vocab_size),
            ("position", config.max_position_embeddings),
            ("token_type", types),
        ] {
            let name = format!("embeddings.{name}_embeddings.weight");
            // A model without token types gets a row of zeros, which is not written back.
            let values =
                if rows == 0 { vec![0.0; hidden] } else { weights.get(&name, &[rows, hidden])? };
            add(name, values, &[rows.max(1), hidden])?;
        }
        for end in ["weight", "bias"] {
            let name = format!("embeddings.LayerNorm.{end}");
            let values = weights.get(&name, &[hidden])?;
            add(name, values, &[hidden])?;
        }
        for layer in 0..config.num_hidden_layers {
            for (name, part) in PER_LAYER {
                let name = format!("encoder.layer.{layer}.{name}");
                let norm = matches!(part, Part::AttentionNorm | Part::OutputNorm);
                let (outputs, inputs) = size(config, part);
                let dims = if norm { vec![hidden] } else { vec![outputs, inputs] };
                for (end, dims) in [("weight", dims), ("bias", vec![outputs])] {
                    let values = match part {
                        Part::Qkv => {
                            let mut rows = Vec::new();
                            let mut dims = dims.clone();
                            if let Some(first) = dims.first_mut() {
                                *first = hidden;
                            }
                            for one in ["query", "key", "value"] {
                                let name = format!("{}.{end}", name.replace("qkv", one));
                                rows.extend(weights.get(&name, &dims)?);
                            }
                            rows
                        }
                        _ => weights.get(&format!("{name}.{end}"), &dims)?,
                    };
                    add(format!("{name}.{end}"), values, &dims)?;
                }
            }
        }
        Ok(Self { all, head: None, adapters: Vec::new() })
    }

    /// Puts the head of a cross-encoder on top, which is trained in any case.
    ///
    /// # Errors
    /// [`crate::Error::Model`] where the weights do not fit the configuration.
    pub(super) fn add_head(&mut self, config: &BertConfig, head: HeadWeights) -> Result<()> {
        let hidden = config.hidden_size;
        self.head = Some(self.all.len());
        for (name, values, dims) in [
            (HEAD_DENSE, head.dense, vec![hidden, hidden]),
            (HEAD_DENSE, head.dense_bias, vec![hidden]),
            (HEAD_OUTPUT, head.output, vec![1, hidden]),
            (HEAD_OUTPUT, head.output_bias, vec![1]),
        ] {
            let end = if dims.len() > 1 { "weight" } else { "bias" };
            self.all.push(Parameter::new(format!("{name}.{end}"), values, &dims, true)?);
        }
        Ok(())
    }

    /// Puts adapters beside the layers that `options` names: `down` by chance, `up` zero, so that the
    /// model is unchanged at first.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] for what no adapter can have.
    pub(super) fn adapt(
        &mut self,
        config: &BertConfig,
        options: &LoraOptions,
        random: &mut Random,
    ) -> Result<()> {
        options.check()?;
        let first = config.num_hidden_layers
            - options.last_layers.unwrap_or(usize::MAX).min(config.num_hidden_layers);
        let hidden = config.hidden_size;
        let mut targets = options.targets.clone();
        targets.sort_unstable();
        targets.dedup();
        for layer in first..config.num_hidden_layers {
            let mut places: Vec<(Part, Vec<Range<usize>>)> = Vec::new();
            for target in &targets {
                let (part, block) = match target {
                    LoraTarget::Query => (Part::Qkv, 0..hidden),
                    LoraTarget::Key => (Part::Qkv, hidden..2 * hidden),
                    LoraTarget::Value => (Part::Qkv, 2 * hidden..3 * hidden),
                    LoraTarget::Output => (Part::Output, 0..hidden),
                    LoraTarget::Up => (Part::Up, 0..config.intermediate_size),
                    LoraTarget::Down => (Part::Down, 0..hidden),
                };
                match places.iter_mut().find(|(known, _)| *known == part) {
                    Some((_, blocks)) => blocks.push(block),
                    None => places.push((part, vec![block])),
                }
            }
            for (part, blocks) in places {
                let (_, inputs) = size(config, part);
                let ranks = options.rank * blocks.len();
                let corrected: usize = blocks.iter().map(Range::len).sum();
                let name = PER_LAYER.iter().find(|(_, p)| *p == part).map_or("", |(name, _)| name);
                let name = format!("encoder.layer.{layer}.{name}");
                // Kaiming's uniform bound for a = √5, as the reference implementation has it.
                let bound = 1.0 / (inputs as f32).sqrt();
                #[expect(clippy::cast_possible_truncation, reason = "a weight has 32 bits")]
                let mut chance = || (random.unit() as f32 * 2.0 - 1.0) * bound;
                let down = (0..ranks * inputs).map(|_| chance()).collect();
                let place = AdapterPlace { layer, part, blocks, down: self.all.len() };
                self.all.push(Parameter::new(
                    format!("{name}.lora_down"),
                    down,
                    &[ranks, inputs],
                    true,
                )?);
                let up = vec![0.0; corrected * options.rank];
                let dims = [corrected, options.rank];
                self.all.push(Parameter::new(format!("{name}.lora_up"), up, &dims, true)?);
                self.adapters.push(place);
            }
        }
        Ok(())
    }

    /// Where the weight of a part of a layer stands; its bias follows.
    pub(super) fn of(layer: usize, part: Part) -> usize {
        BEFORE + layer * 2 * PER_LAYER.len() + part as usize
    }

    /// The tensor that stands there, with or without gradient.
    pub(super) fn tensor(&self, index: usize, track: bool) -> super::tensor::Result<Tensor> {
        match self.all.get(index) {
            Some(p) if track && p.trained => Ok(p.values.as_tensor().clone()),
            Some(p) => Ok(p.values.as_detached_tensor()),
            None => super::tensor::bail!("no parameter {index}"),
        }
    }

    /// Elements of what is trained, and of all.
    pub(super) fn counts(&self) -> (usize, usize) {
        let trained = self.all.iter().filter(|p| p.trained).map(Parameter::len).sum();
        (trained, self.all.iter().map(Parameter::len).sum())
    }

    /// The tensors under their published names, adapters merged. A head keeps the names that it has here.
    pub(super) fn published(&self, config: &BertConfig, scale: f32) -> Result<Vec<NamedTensor>> {
        let mut published = Vec::new();
        for (index, parameter) in self.all.iter().enumerate() {
            if parameter.name.contains(".lora_")
                || index == TABLES - 1 && config.type_vocab_size == 0
            {
                continue;
            }
            let mut values = parameter.to_vec()?;
            let here = |place: &&AdapterPlace| Self::of(place.layer, place.part) == index;
            if let Some(place) = self.adapters.iter().find(here) {
                self.merge(place, scale, &mut values)?;
            }
            let dims = parameter.values.dims().to_vec();
            if !parameter.name.contains(".qkv.") {
                published.push((parameter.name.clone(), dims, values));
                continue;
            }
            let mut own = dims;
            if let Some(first) = own.first_mut() {
                *first /= 3;
            }
            let third = values.len() / 3;
            for (name, part) in ["query", "key", "value"].iter().zip(values.chunks_exact(third)) {
                published.push((parameter.name.replace("qkv", name), own.clone(), part.to_vec()));
            }
        }
        Ok(published)
    }

    /// Puts the adapters into the weights that they correct, for good.
    pub(super) fn absorb(&mut self, scale: f32) -> Result<()> {
        for place in &self.adapters {
            if let Some(weight) = self.all.get(Self::of(place.layer, place.part)) {
                let mut values = weight.to_vec()?;
                self.merge(place, scale, &mut values)?;
                weight.set(values)?;
            }
        }
        self.adapters.clear();
        self.all.retain(|parameter| !parameter.name.contains(".lora_"));
        Ok(())
    }

    /// Adds scale · up · down to the rows of `weight` that it corrects.
    fn merge(&self, place: &AdapterPlace, scale: f32, weight: &mut [f32]) -> Result<()> {
        use super::product::{Matrix, product};
        let (Some(down), Some(up)) = (self.all.get(place.down), self.all.get(place.down + 1))
        else {
            return Ok(());
        };
        let (ranks, inputs) = told(down.values.dims2())?;
        let (_, rank) = told(up.values.dims2())?;
        debug_assert_eq!(ranks, rank * place.blocks.len());
        let (down, up) = (down.to_vec()?, up.to_vec()?);
        let (mut start, mut row) = (0, 0);
        for block in &place.blocks {
            let up =
                Matrix::new(up.get(start * rank..).unwrap_or_default(), block.len(), rank, rank);
            let down =
                Matrix::new(down.get(row * inputs..).unwrap_or_default(), rank, inputs, inputs);
            let rows = weight.get_mut(block.start * inputs..).unwrap_or_default();
            told(product(rows, inputs, true, scale, up, down))?;
            start += block.len();
            row += rank;
        }
        Ok(())
    }
}

/// The activation that a configuration names.
pub(super) fn activation(config: &BertConfig) -> Activation {
    match config.hidden_act.as_str() {
        "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        _ => Activation::Gelu,
    }
}
