//! An encoder of the BERT family (Devlin et al. 2018) that can be trained.
//!
//! It reads the same safetensors as the importer does and gives the same vectors as the graph that
//! the importer makes of them. Texts are not padded: their tokens lie one after the other.

use super::adapter::LoraOptions;
use super::ops::{
    Activation, Adapted, Dropout, Offsets, activate, adapted, attention, layer_norm, linear, pool,
};
use super::parallel;
use super::parameters::{Parameters, Part, TABLES, activation};
use super::random::{Random, mix};
use super::tensor::{self, D, Tensor, Var, bail, told, with};
use crate::encode::{EncoderSpec, InputKind, Pooling};
use crate::error::{Error, Result};
use crate::model::import::{BertConfig, HeadWeights, NamedTensor, PREFIXES, PROBE, WeightFile};
use crate::tokenize::EncoderTokenizer;

/// An encoder in the form that is trained: in 32-bit floats, on the processors.
pub struct TrainableEncoder {
    pub(super) spec: EncoderSpec,
    pub(super) config: BertConfig,
    pub(super) parameters: Parameters,
    pub(super) lora: Option<LoraOptions>,
    tokenizer: Option<EncoderTokenizer>,
    activation: Activation,
}

/// A text as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// Tokens beyond the window.
    pub(super) cut: usize,
}

/// The ids of a text, or of two that are read together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) ids: &'a [u32],
    /// Where the second of two texts begins: from there on, tokens are of the second type.
    second: usize,
}

impl<'a> Text<'a> {
    pub(super) const fn one(ids: &'a [u32]) -> Self {
        Self { ids, second: ids.len() }
    }

    /// Two texts by the type of each token.
    pub(super) fn two(ids: &'a [u32], types: &[u32]) -> Self {
        let second = types.iter().position(|kind| *kind > 0).unwrap_or(ids.len());
        Self { ids, second }
    }
}

/// What a forward pass leaves for the backward pass.
pub(super) struct Pass {
    /// [texts, dimensions], of unit length; of a cross-encoder its figures, [texts, 1].
    pub(super) vectors: Tensor,
    /// The sums of word, position and type, where these are trained.
    input: Option<Var>,
    ids: Vec<u32>,
    /// The type of each token.
    types: Vec<usize>,
    offsets: Offsets,
}

impl TrainableEncoder {
    /// Opens the encoder that `spec` describes, with adapters beside its layers where `lora` wants
    /// them; `seed` decides their first values.
    ///
    /// # Errors
    /// [`Error::Model`] where it is no encoder of the BERT family in safetensors, [`Error::Io`],
    /// [`Error::Parameter`] for adapters that cannot be.
    pub fn open(spec: &EncoderSpec, lora: Option<&LoraOptions>, seed: u64) -> Result<Self> {
        Self::open_with(spec, lora, seed, |_, _| Ok(None))
    }

    /// The same with the head that `head` makes, of the configuration and the weights.
    pub(super) fn open_with(
        spec: &EncoderSpec,
        lora: Option<&LoraOptions>,
        seed: u64,
        head: impl FnOnce(&BertConfig, &WeightFile) -> Result<Option<HeadWeights>>,
    ) -> Result<Self> {
        let refuse =
            |reason: &str| Error::Model { name: spec.name.clone(), reason: reason.to_owned() };
        let Some(config) = &spec.config else {
            return Err(refuse(
                "training needs model.safetensors and config.json; it has no config.json",
            ));
        };
        if spec.weights.extension().is_none_or(|e| e != "safetensors") {
            return Err(refuse(
                "training needs model.safetensors; this is a ready ONNX file, which has no weights \
                 that can be trained",
            ));
        }
        let json = std::fs::read_to_string(config).map_err(Error::io("read", config))?;
        let config = BertConfig::parse(&spec.name, &json)?;
        let file = WeightFile::read(&spec.name, &spec.weights)?;
        let tokenizer = EncoderTokenizer::open(&spec.name, &spec.tokenizer)?;
        let head = head(&config, &file)?;
        let mut encoder = Self::of(spec.clone(), config, &file, head, lora, seed)?;
        encoder.tokenizer = Some(tokenizer);
        Ok(encoder)
    }

    /// The same from what is in memory, without a tokenizer.
    pub(super) fn of(
        spec: EncoderSpec,
        config: BertConfig,
        file: &WeightFile,
        head: Option<HeadWeights>,
        lora: Option<&LoraOptions>,
        seed: u64,
    ) -> Result<Self> {
        let weights = file.weights(&PREFIXES, PROBE)?;
        let mut parameters = Parameters::read(&config, &weights, lora.is_none())?;
        if let Some(head) = head {
            parameters.add_head(&config, head)?;
        }
        if let Some(lora) = lora {
            parameters.adapt(&config, lora, &mut Random::of(seed, 1))?;
        }
        let activation = activation(&config);
        Ok(Self { spec, config, parameters, lora: lora.cloned(), tokenizer: None, activation })
    }

    /// Elements of what is trained, and of the whole model.
    #[must_use]
    pub fn parameters(&self) -> (usize, usize) {
        self.parameters.counts()
    }

    /// The weights under their published names, adapters merged.
    pub(super) fn published(&self) -> Result<Vec<NamedTensor>> {
        let scale = self.lora.as_ref().map_or(1.0, LoraOptions::scale);
        self.parameters.published(&self.config, scale)
    }

    /// Elements of what the model gives for an input: of a vector, or one figure.
    pub(super) fn width(&self) -> usize {
        if self.parameters.head.is_some() { 1 } else { self.config.hidden_size }
    }

    /// What one token leaves behind for the way back, in all layers.
    pub(super) fn bytes_per_token(&self) -> usize {
        let floats = 10 * self.config.hidden_size + 2 * self.config.intermediate_size;
        size_of::<f32>() * floats * self.config.num_hidden_layers
    }

    /// A text with its prefix as ids, cut to `window` tokens.
    pub(super) fn tokens(&self, text: &str, kind: InputKind, window: usize) -> Result<Tokens> {
        let prefix = match kind {
            InputKind::Query => &self.spec.query_prefix,
            InputKind::Document => &self.spec.document_prefix,
        };
        let Some(tokenizer) = &self.tokenizer else {
            return Err(Error::Model {
                name: self.spec.name.clone(),
                reason: "it has no tokenizer".to_owned(),
            });
        };
        let mut ids = if prefix.is_empty() {
            tokenizer.ids(text)?
        } else {
            tokenizer.ids(&format!("{prefix}{text}"))?
        };
        let cut = ids.len().saturating_sub(window.max(1));
        if cut > 0
            && let Some(last) = ids.last().copied()
        {
            ids.truncate(window.max(1) - 1);
            ids.push(last);
        }
        if ids.is_empty() {
            // A tokenizer without special tokens gives none for an empty text.
            ids.push(0);
        }
        Ok(Tokens { ids, cut })
    }

    /// The vectors of `texts`, of unit length, by `threads` threads.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn encode(&self, texts: &[&str], kind: InputKind, threads: usize) -> Result<Vec<Vec<f32>>> {
        let tokens = texts
            .iter()
            .map(|text| self.tokens(text, kind, self.spec.window))
            .collect::<Result<Vec<_>>>()?;
        let ids: Vec<Text<'_>> = tokens.iter().map(|t| Text::one(&t.ids)).collect();
        self.vectors(&ids, threads)
    }

    /// The vectors of texts that are ids; of a cross-encoder, each has one element.
    pub(super) fn vectors(&self, texts: &[Text<'_>], threads: usize) -> Result<Vec<Vec<f32>>> {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let chunks = parallel::chunks(&lengths);
        let costs: Vec<usize> = chunks.iter().map(|chunk| cost(&lengths, chunk)).collect();
        let width = self.width();
        let found = parallel::each(parallel::shares(&costs, threads), |share| {
            let mut found = Vec::new();
            for chunk in share.iter().filter_map(|i| chunks.get(*i)) {
                let own: Vec<Text<'_>> =
                    chunk.iter().filter_map(|i| texts.get(*i).copied()).collect();
                let pass = told(self.forward(&own, false, None))?;
                let rows = told(with(&pass.vectors, |all| {
                    Ok(all.chunks_exact(width).map(<[f32]>::to_vec).collect::<Vec<_>>())
                }))?;
                found.extend(chunk.iter().copied().zip(rows));
            }
            Ok(found)
        })?;
        let mut vectors = vec![Vec::new(); texts.len()];
        for (i, vector) in found.into_iter().flatten() {
            if let Some(place) = vectors.get_mut(i) {
                *place = vector;
            }
        }
        Ok(vectors)
    }

    /// Runs the model on texts without padding; with `track`, so that [`Self::backward`] can follow.
    /// `dropout` seeds what the adapters leave out; without it, nothing is.
    pub(super) fn forward(
        &self,
        texts: &[Text<'_>],
        track: bool,
        dropout: Option<u64>,
    ) -> tensor::Result<Pass> {
        let config = &self.config;
        let p = &self.parameters;
        let mut offsets = vec![0];
        let mut ids = Vec::new();
        let mut types = Vec::new();
        for text in texts {
            types.resize(ids.len() + text.second, 0);
            ids.extend_from_slice(text.ids);
            types.resize(ids.len(), 1);
            offsets.push(ids.len());
        }
        let offsets: Offsets = offsets.into();
        let sums = self.embed(&ids, &types, &offsets)?;
        let sums = tensor::tensor(sums, &[ids.len(), config.hidden_size])?;
        let input =
            if track && self.lora.is_none() { Some(Var::from_tensor(&sums)?) } else { None };
        let x = input.as_ref().map_or(&sums, |input| input.as_tensor());
        let norm = |x: &Tensor, at: usize| {
            layer_norm(x, &p.tensor(at, track)?, &p.tensor(at + 1, track)?, config.layer_norm_eps)
        };
        let mut x = norm(x, TABLES)?;
        for layer in 0..config.num_hidden_layers {
            let through = |x: &Tensor, part| self.linear(x, layer, part, track, dropout);
            let qkv = through(&x, Part::Qkv)?;
            let attended = attention(&qkv, &offsets, config.num_attention_heads)?;
            let sum = (through(&attended, Part::Output)? + &x)?;
            let y = norm(&sum, Parameters::of(layer, Part::AttentionNorm))?;
            let wide = activate(&through(&y, Part::Up)?, self.activation)?;
            let sum = (through(&wide, Part::Down)? + &y)?;
            x = norm(&sum, Parameters::of(layer, Part::OutputNorm))?;
        }
        let vectors = match p.head {
            None => unit(&pool(&x, &offsets, self.spec.pooling)?)?,
            Some(at) => {
                let part = |nth: usize| p.tensor(at + nth, track);
                let first = pool(&x, &offsets, Pooling::Cls)?;
                let dense = linear(&first, &part(0)?, &part(1)?)?.tanh()?;
                linear(&dense, &part(2)?, &part(3)?)?
            }
        };
        Ok(Pass { vectors, input, ids, types, offsets })
    }

    /// Word, position and type of each token, added.
    fn embed(&self, ids: &[u32], types: &[usize], offsets: &Offsets) -> tensor::Result<Vec<f32>> {
        let width = self.config.hidden_size;
        let table = |nth: usize| self.parameters.tensor(nth, false);
        let mut sums = Vec::with_capacity(ids.len() * width);
        with(&table(0)?, |words| {
            with(&table(1)?, |positions| {
                with(&table(2)?, |kinds| {
                    let places = self.positions(offsets).zip(types);
                    for (id, (position, kind)) in ids.iter().zip(places) {
                        let word = usize::try_from(*id).unwrap_or(usize::MAX);
                        let (Some(word), Some(place), Some(kind)) = (
                            row(words, word, width),
                            row(positions, position, width),
                            row(kinds, *kind, width),
                        ) else {
                            bail!("token {id} at {position} is beyond the model's tables")
                        };
                        sums.extend(word.iter().zip(place).zip(kind).map(|((w, p), t)| w + p + t));
                    }
                    Ok(())
                })
            })
        })?;
        Ok(sums)
    }

    /// The row of the table of positions of each token.
    fn positions(&self, offsets: &Offsets) -> impl Iterator<Item = usize> {
        let first = self.config.position_offset();
        offsets.windows(2).flat_map(move |pair| first..first + pair[1] - pair[0])
    }

    fn linear(
        &self,
        x: &Tensor,
        layer: usize,
        part: Part,
        track: bool,
        dropout: Option<u64>,
    ) -> tensor::Result<Tensor> {
        let p = &self.parameters;
        let at = Parameters::of(layer, part);
        let (weight, bias) = (p.tensor(at, track)?, p.tensor(at + 1, track)?);
        let place = p.adapters.iter().find(|place| place.layer == layer && place.part == part);
        let (Some(lora), Some(place)) = (&self.lora, place) else {
            return linear(x, &weight, &bias);
        };
        let dropout = dropout
            .filter(|_| lora.dropout > 0.0)
            .map(|seed| Dropout { share: lora.dropout, seed: mix(seed.wrapping_add(at as u64)) });
        let (rank, scale) = (lora.rank, lora.scale());
        let frozen = Adapted { weight, bias, blocks: place.blocks.clone(), rank, scale, dropout };
        adapted(x, &p.tensor(place.down, track)?, &p.tensor(place.down + 1, track)?, frozen)
    }

    /// Adds the gradients of what is trained to `sums`, given that of the vectors.
    pub(super) fn backward(
        &self,
        pass: &Pass,
        gradient: &Tensor,
        sums: &mut Sums,
    ) -> tensor::Result<()> {
        let found = (&pass.vectors * gradient)?.sum_all()?.backward()?;
        for (parameter, sum) in self.parameters.all.iter().zip(&mut sums.0).skip(TABLES) {
            if let Some(own) = found.get(parameter.values.as_tensor()).filter(|_| parameter.trained)
            {
                with(own, |own| {
                    sum.iter_mut().zip(own).for_each(|(s, g)| *s += g);
                    Ok(())
                })?;
            }
        }
        let width = self.config.hidden_size;
        let (Some(input), [words, positions, types, ..]) = (&pass.input, sums.0.as_mut_slice())
        else {
            return Ok(());
        };
        let Some(gradient) = found.get(input.as_tensor()) else { return Ok(()) };
        with(gradient, |gradient| {
            let tokens = pass.ids.iter().zip(self.positions(&pass.offsets)).zip(&pass.types);
            for (((id, position), kind), g) in tokens.zip(gradient.chunks_exact(width)) {
                let word = usize::try_from(*id).unwrap_or(0) * width;
                for (table, start) in [
                    (&mut *words, word),
                    (&mut *positions, position * width),
                    (&mut *types, kind * width),
                ] {
                    let row = table.iter_mut().skip(start);
                    row.zip(g).for_each(|(s, g)| *s += g);
                }
            }
            Ok(())
        })
    }
}

/// Sums of gradients, by parameter; empty for what is frozen.
pub(super) struct Sums(pub(super) Vec<Vec<f32>>);

impl Sums {
    pub(super) fn zero(parameters: &Parameters) -> Self {
        let zero =
            |p: &super::parameters::Parameter| vec![0f32; if p.trained { p.len() } else { 0 }];
        Self(parameters.all.iter().map(zero).collect())
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.iter_mut().zip(other).for_each(|(s, g)| *s += g);
        }
    }
}

/// What a chunk costs, nearly: its tokens.
pub(super) fn cost(lengths: &[usize], chunk: &[usize]) -> usize {
    chunk.iter().filter_map(|i| lengths.get(*i)).sum()
}

pub(super) fn row(table: &[f32], at: usize, width: usize) -> Option<&[f32]> {
    table.get(at.checked_mul(width)?..)?.get(..width)
}

/// Rows of unit length. A row of zeros stays one, and has no gradient to speak of.
fn unit(x: &Tensor) -> tensor::Result<Tensor> {
    let length = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
    x.broadcast_div(&length)
}
