//! Fine-tuning of an encoder on pairs of texts that belong together.

use super::batches::batches;
use super::blend::blend;
use super::card::{self, Card};
use super::encoder::{Sums, Text, TrainableEncoder};
use super::event::{DataSummary, Outcome, TrainEvent};
use super::gradient::{Work, gradient};
use super::loss::{Loss, Targets};
use super::measure::{Dev, DevQuality};
use super::options::RunOptions;
use super::parallel;
use super::random::mix;
use super::run::{End, Task, run};
use super::suit::suit;
use crate::encode::{EncoderSpec, InputKind};
use crate::error::{Error, Result};
use crate::pairs::{Pair, Pairs};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// A fine-tuning run of an encoder.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ContrastiveOptions {
    /// How it goes.
    pub run: RunOptions,
    /// What is made smaller. Default: InfoNCE at temperature 0.05.
    pub loss: Loss,
    /// Also the loss of each vector's first so many elements, each as important as the whole
    /// (Matryoshka). Default: none.
    pub matryoshka: Vec<usize>,
    /// The share of the trained weights in the result, above 0; the rest is the base's. Half of each
    /// often finds more than either in documents that are unlike the training data (Wortsman et al.
    /// 2022). Default: 1.
    pub blend: f64,
}

impl ContrastiveOptions {
    /// A run over `train` into the folder `output`, with the defaults of each field.
    pub fn new(train: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            run: RunOptions::new(train.into(), output.into(), 64),
            loss: Loss::default(),
            matryoshka: Vec::new(),
            blend: 1.0,
        }
    }

    fn check(&self, spec: &EncoderSpec) -> Result<()> {
        self.run.check(spec.window)?;
        if !(self.blend > 0.0 && self.blend <= 1.0) {
            return Err(Error::parameter("blend", format!("{}; above 0, to 1", self.blend)));
        }
        let fits = |n: &&usize| !(1..=spec.dimensions).contains(*n);
        if let Some(n) = self.matryoshka.iter().find(fits) {
            let reason = format!("{n}; the encoder has {} dimensions", spec.dimensions);
            return Err(Error::parameter("matryoshka", reason));
        }
        let own = match self.loss {
            Loss::InfoNce { temperature, .. } => temperature,
            Loss::Triplet { margin } => margin,
            Loss::Cosent { scale } => scale,
            Loss::MarginMse => 1.0,
        };
        if !(own.is_finite() && own > 0.0) {
            return Err(Error::parameter("loss", format!("{own}; more than 0")));
        }
        Ok(())
    }

    /// What decides the weights of a run, summed up.
    fn identity(&self, spec: &EncoderSpec) -> Result<String> {
        let own = Self { run: self.run.decisive(), ..self.clone() };
        self.run.identity(&format!("{own:?} {} {}", spec.weights_sha256, spec.tokenizer_sha256))
    }
}

/// Fine-tunes the encoder that `spec` describes, and writes the result, a model folder, into the
/// output folder. `on_event` is told how it goes, and stops the run by returning
/// [`ControlFlow::Break`]: a checkpoint is written then, from which a run with `resume` goes on to the
/// same result.
///
/// # Errors
/// [`Error::Parameter`] for options or data that cannot be, [`Error::Parse`] naming the line of the
/// data that is bad, [`Error::Io`], and [`Error::Model`] where the base is not an encoder that can be
/// trained, or where the run diverges: then the last checkpoint and the best weights stay.
pub fn contrastive(
    spec: &EncoderSpec,
    options: &ContrastiveOptions,
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> Result<Outcome> {
    options.check(spec)?;
    let pairs = Pairs::read(&options.run.train, &options.run.fields)?;
    suit(&pairs, options.loss, options.run.batch)?;
    let dev = options.run.dev.as_deref();
    let dev = dev.map(|dev| Pairs::read(dev, &options.run.fields)).transpose()?;
    let encoder = TrainableEncoder::open(spec, options.run.lora.as_ref(), options.run.seed)?;
    let (task, data) = Contrastive::new(&encoder, options, &pairs, dev.as_ref())?;
    run(&task, data, options.identity(spec)?, on_event)
}

struct Contrastive<'a> {
    encoder: &'a TrainableEncoder,
    options: &'a ContrastiveOptions,
    pairs: &'a [Pair],
    /// All positives of each query.
    positives: HashMap<u32, Vec<u32>>,
    queries: Vec<Vec<u32>>,
    documents: Vec<Vec<u32>>,
    dev: Option<Dev>,
}

impl<'a> Contrastive<'a> {
    fn new(
        encoder: &'a TrainableEncoder,
        options: &'a ContrastiveOptions,
        pairs: &'a Pairs,
        dev: Option<&Pairs>,
    ) -> Result<(Self, DataSummary)> {
        let threads = options.run.threads();
        let window = options.run.window.unwrap_or(encoder.spec.window);
        let (queries, cut_queries) =
            tokens(encoder, &pairs.queries.all, InputKind::Query, window, threads)?;
        let (documents, cut_documents) =
            tokens(encoder, &pairs.documents.all, InputKind::Document, window, threads)?;
        let mut data = DataSummary::of(pairs, dev);
        data.cut = cut_queries + cut_documents;
        let by_score = matches!(options.loss, Loss::Cosent { .. });
        let dev = dev.map(|pairs| {
            let dev = Dev::new(encoder, pairs, window)?;
            Ok(if by_score { dev.by_score(pairs) } else { dev })
        });
        let dev = dev.transpose()?;
        let mut positives: HashMap<u32, Vec<u32>> = HashMap::new();
        for pair in &pairs.pairs {
            positives.entry(pair.query).or_default().push(pair.positive);
        }
        let pairs = &pairs.pairs;
        Ok((Self { encoder, options, pairs, positives, queries, documents, dev }, data))
    }
}

impl Task for Contrastive<'_> {
    fn options(&self) -> &RunOptions {
        &self.options.run
    }

    fn encoder(&self) -> &TrainableEncoder {
        self.encoder
    }

    fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        let least = if self.options.loss.needs_company() { 2 } else { 1 };
        batches(self.pairs, self.options.run.batch, least, self.options.run.seed, epoch)
    }

    fn gradient(&self, chance: u64, batch: &[usize]) -> Result<(f64, Sums)> {
        let members: Vec<&Pair> = batch.iter().filter_map(|i| self.pairs.get(*i)).collect();
        let mut targets = Targets::default();
        for (owner, pair) in (0u32..).zip(&members) {
            targets.anchors.push(pair.query);
            targets.positives.push(pair.positive);
            targets.answers.push(self.positives.get(&pair.query).cloned().unwrap_or_default());
            targets.scores.push(pair.score);
            for negative in &pair.negatives {
                targets.negatives.push(*negative);
                targets.owners.push(owner);
            }
        }
        let anchors = targets.anchors.iter().map(ids(&self.queries));
        let documents = targets.positives.iter().chain(&targets.negatives);
        let documents = documents.map(ids(&self.documents));
        let texts: Vec<Text<'_>> = anchors.chain(documents).map(Text::one).collect();
        let (n, k) = (members.len(), targets.negatives.len());
        let options = &self.options.run;
        let seed = mix(options.seed ^ chance);
        let work = Work { threads: options.threads(), memory: options.room(), seed };
        let mut nested = self.options.matryoshka.clone();
        if !nested.is_empty() {
            nested.push(self.encoder.config.hidden_size);
            nested.sort_unstable();
            nested.dedup();
        }
        gradient(self.encoder, &texts, work, |vectors| {
            let anchors = vectors.narrow(0, 0, n)?;
            let positives = vectors.narrow(0, n, n)?;
            let negatives = if k > 0 { Some(vectors.narrow(0, 2 * n, k)?) } else { None };
            self.options.loss.nested(&anchors, &positives, negatives.as_ref(), &targets, &nested)
        })
    }

    fn measure(&self) -> Result<Option<DevQuality>> {
        let threads = self.options.run.threads();
        self.dev.as_ref().map(|dev| dev.measure(self.encoder, threads)).transpose()
    }

    fn settle(&self) -> Result<bool> {
        if self.options.blend < 1.0 {
            blend(self.encoder, self.options.blend)?;
        }
        Ok(self.options.blend < 1.0)
    }

    fn write(&self, end: &End<'_>) -> Result<()> {
        card::write_encoder_files(&self.encoder.spec, &self.options.run.output)?;
        let spec = &self.encoder.spec;
        let heading = format!(
            "An encoder of {} dimensions with {} pooling and a window of {} tokens",
            spec.dimensions, spec.pooling, spec.window
        );
        let training = json!({
            "loss": loss(self.options.loss),
            "matryoshka": self.options.matryoshka,
            "blend": self.options.blend,
        });
        let texts = (self.queries.len(), self.documents.len());
        let tensors = self.encoder.published()?;
        let card = Card { heading, training, texts, dev: json!({}), tensors };
        card::write(self.encoder, &self.options.run, end, &card)
    }
}

fn loss(loss: Loss) -> Value {
    match loss {
        Loss::InfoNce { temperature, both_directions } => {
            json!({"name": "infonce", "temperature": temperature, "both_directions": both_directions})
        }
        Loss::Triplet { margin } => json!({"name": "triplet", "margin": margin}),
        Loss::Cosent { scale } => json!({"name": "cosent", "scale": scale}),
        Loss::MarginMse => json!({"name": "margin-mse"}),
    }
}

/// The ids of all texts, and how many texts were cut.
fn tokens(
    encoder: &TrainableEncoder,
    texts: &[String],
    kind: InputKind,
    window: usize,
    threads: usize,
) -> Result<(Vec<Vec<u32>>, usize)> {
    let share = texts.len().div_ceil(threads).max(1);
    let done = parallel::each(texts.chunks(share).collect(), |texts| {
        texts.iter().map(|text| encoder.tokens(text, kind, window)).collect::<Result<Vec<_>>>()
    })?;
    let cut = done.iter().flatten().filter(|tokens| tokens.cut > 0).count();
    Ok((done.into_iter().flatten().map(|tokens| tokens.ids).collect(), cut))
}

/// The ids of a text by its number.
fn ids<'t>(all: &'t [Vec<u32>]) -> impl Fn(&u32) -> &'t [u32] {
    move |number| {
        let found = usize::try_from(*number).ok().and_then(|i| all.get(i));
        found.map(Vec::as_slice).unwrap_or_default()
    }
}
