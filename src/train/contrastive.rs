//! Fine-tuning of an encoder on pairs of texts that belong together.

use super::adapter::LoraOptions;
use super::batches::batches;
use super::blend::blend;
use super::card;
use super::checkpoint::{self, Best, State};
use super::encoder::{Sums, TrainableEncoder};
use super::gradient::{Work, gradient};
use super::loss::{Loss, Targets};
use super::measure::{Dev, DevQuality};
use super::mine::MiningReport;
use super::optimizer::{AdamW, Moments, norm};
use super::parallel;
use super::random::mix;
use super::schedule::Schedule;
use super::suit::suit;
use crate::encode::{EncoderSpec, InputKind};
use crate::error::{Error, Result};
use crate::hash::{Sha256, sha256_of};
use crate::pairs::{Fields, Pair, Pairs};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A fine-tuning run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ContrastiveOptions {
    /// Pairs to learn from: JSON lines, CSV or TSV, also packed with gzip (`.gz`). Each record has a
    /// query and a positive, and may have negatives and a score.
    pub train: PathBuf,
    /// Pairs to measure by, in the same form. Default: none; then nothing is measured and the last
    /// weights are the result.
    pub dev: Option<PathBuf>,
    /// Where the result goes, and checkpoints on the way: a folder.
    pub output: PathBuf,
    /// Names of the records' fields.
    pub fields: Fields,
    /// What is made smaller. Default: InfoNCE at temperature 0.05.
    pub loss: Loss,
    /// Also the loss of each vector's first so many elements, each as important as the whole
    /// (Matryoshka). Default: none.
    pub matryoshka: Vec<usize>,
    /// Train adapters of low rank instead of the whole model. Default: none.
    pub lora: Option<LoraOptions>,
    /// How often all pairs are seen. Default: 1.
    pub epochs: u64,
    /// Pairs of a batch; with in-batch negatives, more make the task harder. Default: 64.
    pub batch: usize,
    /// Batches whose gradients are averaged for one step. Default: 1.
    pub accumulate: usize,
    /// The highest learning rate. Default: 2e-5, with adapters 5e-4.
    pub learning_rate: Option<f64>,
    /// The share of steps in which the learning rate rises. Default: 0.1.
    pub warmup: f64,
    /// What becomes of it then. Default: linear.
    pub schedule: Schedule,
    /// The optimiser. Default: AdamW with a weight decay of 0.01 and gradients clipped at 1.
    pub optimizer: AdamW,
    /// Tokens of a text, special tokens included; the rest is cut. Default: the encoder's window.
    pub window: Option<usize>,
    /// Decides every choice by chance: the same seed on one thread gives the same weights. Default: 0.
    pub seed: u64,
    /// Default: all processors.
    pub threads: Option<usize>,
    /// Bytes of a batch's intermediate values that are kept for the way back; what is beyond is
    /// computed twice instead. Default: 2 GiB; with adapters, whose point is to take less, 512 MiB.
    pub memory: Option<usize>,
    /// Steps between two measurements on the dev set. Default: once an epoch.
    pub evaluate_every: Option<u64>,
    /// Steps between two checkpoints. Default: once an epoch.
    pub checkpoint_every: Option<u64>,
    /// Measurements in a row without a better nDCG@10 after which the run ends. Default: none.
    pub patience: Option<usize>,
    /// The run ends after so many steps, as if there were no more data. Default: none.
    pub max_steps: Option<u64>,
    /// The share of the trained weights in the result, above 0; the rest is the base's. Half of each
    /// often finds more than either in documents that are unlike the training data (Wortsman et al.
    /// 2022). Default: 1.
    pub blend: f64,
    /// Go on from the last checkpoint in the output folder, where there is one. Default: false.
    pub resume: bool,
    /// The base's licence, for the card. Default: unknown.
    pub licence: Option<String>,
}

impl ContrastiveOptions {
    /// A run over `train` into the folder `output`, with the defaults of each field.
    pub fn new(train: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            train: train.into(),
            dev: None,
            output: output.into(),
            fields: Fields::default(),
            loss: Loss::default(),
            matryoshka: Vec::new(),
            lora: None,
            epochs: 1,
            batch: 64,
            accumulate: 1,
            learning_rate: None,
            warmup: 0.1,
            schedule: Schedule::default(),
            optimizer: AdamW::default(),
            window: None,
            seed: 0,
            threads: None,
            memory: None,
            evaluate_every: None,
            checkpoint_every: None,
            patience: None,
            max_steps: None,
            blend: 1.0,
            resume: false,
            licence: None,
        }
    }

    /// The learning rate at its highest.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.learning_rate.unwrap_or(if self.lora.is_some() { 5e-4 } else { 2e-5 })
    }

    fn room(&self) -> usize {
        self.memory.unwrap_or(if self.lora.is_some() { 512 << 20 } else { 2 << 30 })
    }

    fn check(&self, spec: &EncoderSpec) -> Result<()> {
        let positive = |name, n: usize| {
            if n == 0 { Err(Error::parameter(name, "0; at least 1 is needed")) } else { Ok(()) }
        };
        positive("batch", self.batch)?;
        positive("accumulate", self.accumulate)?;
        positive("epochs", usize::from(self.epochs > 0))?;
        positive("threads", self.threads.unwrap_or(1))?;
        positive("evaluate-every", usize::from(self.evaluate_every != Some(0)))?;
        positive("checkpoint-every", usize::from(self.checkpoint_every != Some(0)))?;
        if !(self.rate().is_finite() && self.rate() > 0.0) {
            return Err(Error::parameter("lr", format!("{}; more than 0", self.rate())));
        }
        if !(0.0..=1.0).contains(&self.warmup) {
            return Err(Error::parameter("warmup", format!("{}; from 0 to 1", self.warmup)));
        }
        if !(self.blend > 0.0 && self.blend <= 1.0) {
            return Err(Error::parameter("blend", format!("{}; above 0, to 1", self.blend)));
        }
        if let Some(window) = self.window.filter(|n| !(8..=spec.window).contains(n)) {
            let reason = format!("{window}; from 8 to the encoder's {}", spec.window);
            return Err(Error::parameter("window", reason));
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

    /// What decides the weights of a run, summed up: threads, memory and intervals do not.
    fn identity(&self, spec: &EncoderSpec) -> Result<String> {
        let mut all = Sha256::default();
        let own = Self {
            train: PathBuf::new(),
            dev: None,
            output: PathBuf::new(),
            threads: None,
            memory: None,
            checkpoint_every: None,
            resume: false,
            licence: None,
            ..self.clone()
        };
        all.update(format!("{own:?} {} {}", spec.weights_sha256, spec.tokenizer_sha256));
        all.update(sha256_of(&self.train)?);
        if let Some(dev) = &self.dev {
            all.update(sha256_of(dev)?);
        }
        Ok(all.hex())
    }
}

/// What a run tells while it goes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TrainEvent {
    /// Texts were encoded, to be compared with each other.
    Encoded {
        /// Distinct texts that are done.
        texts: usize,
        /// Distinct texts in all.
        of: usize,
    },
    /// Hard negatives were found.
    Mined(MiningReport),
    /// What the data is like, once.
    Data(DataSummary),
    /// Something that the user should know.
    Warning(String),
    /// The run goes on from a checkpoint after this step.
    Resumed {
        /// Steps that were made.
        step: u64,
    },
    /// A step was made.
    Step(StepSummary),
    /// The dev set was measured; before the first step as step 0.
    Dev {
        /// Steps that were made.
        step: u64,
        /// What was found.
        quality: DevQuality,
        /// Whether these are the best weights so far.
        best: bool,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps that were made.
        step: u64,
    },
}

/// What a run is to learn from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataSummary {
    /// Pairs to learn from.
    pub pairs: usize,
    /// Pairs that were there twice, and left out.
    pub repeated: usize,
    /// Pairs to measure by.
    pub dev_pairs: usize,
    /// Dev pairs whose query or positive is in the training data too.
    pub overlap: usize,
    /// Distinct texts that are longer than the window.
    pub cut: usize,
    /// Distinct texts.
    pub texts: usize,
    /// Elements of what is trained.
    pub trained: usize,
    /// Elements of the whole model.
    pub parameters: usize,
    /// Steps of the whole run.
    pub steps: u64,
}

/// A step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct StepSummary {
    /// Its number, from 1.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The loss before it.
    pub loss: f64,
    /// Its learning rate.
    pub rate: f64,
    /// Length of the gradient before clipping.
    pub norm: f64,
    /// Pairs a second, over this session.
    pub pairs_per_second: f64,
    /// Seconds that are left, measurements aside.
    pub seconds_left: f64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Steps that were made.
    pub steps: u64,
    /// The caller stopped it; a checkpoint is there, the result is not.
    pub stopped: bool,
    /// Dev figures of the base.
    pub before: Option<DevQuality>,
    /// Dev figures of the result.
    pub after: Option<DevQuality>,
    /// The result.
    pub folder: PathBuf,
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
    let pairs = Pairs::read(&options.train, &options.fields)?;
    suit(&pairs, options.loss, options.batch)?;
    let dev = options.dev.as_deref().map(|dev| Pairs::read(dev, &options.fields)).transpose()?;
    let encoder = TrainableEncoder::open(spec, options.lora.as_ref(), options.seed)?;
    let mut run = Run::new(&encoder, options, &pairs, dev.as_ref())?;
    let mut stopped = on_event(TrainEvent::Data(run.summary.clone())).is_break();
    for warning in run.warnings() {
        stopped |= on_event(TrainEvent::Warning(warning)).is_break();
    }
    if stopped {
        return Err(Error::Stopped);
    }
    run.begin(on_event)?;
    if run.go(on_event)?.is_break() {
        return Ok(run.outcome(true));
    }
    run.finish(&pairs)
}

struct Run<'a> {
    encoder: &'a TrainableEncoder,
    options: &'a ContrastiveOptions,
    pairs: &'a [Pair],
    /// All positives of each query.
    positives: HashMap<u32, Vec<u32>>,
    queries: Vec<Vec<u32>>,
    documents: Vec<Vec<u32>>,
    dev: Option<Dev>,
    threads: usize,
    summary: DataSummary,
    state: State,
    moments: Moments,
    started: Instant,
    /// Pairs and seconds of this session's steps.
    seen: (usize, f64),
    after: Option<DevQuality>,
}

impl<'a> Run<'a> {
    fn new(
        encoder: &'a TrainableEncoder,
        options: &'a ContrastiveOptions,
        pairs: &'a Pairs,
        dev: Option<&Pairs>,
    ) -> Result<Self> {
        let threads = options.threads.unwrap_or_else(crate::threads::all);
        let window = options.window.unwrap_or(encoder.spec.window);
        let (queries, cut_queries) =
            tokens(encoder, &pairs.queries.all, InputKind::Query, window, threads)?;
        let (documents, cut_documents) =
            tokens(encoder, &pairs.documents.all, InputKind::Document, window, threads)?;
        let (trained, parameters) = encoder.parameters();
        let mut summary = DataSummary {
            pairs: pairs.pairs.len(),
            repeated: pairs.repeated,
            dev_pairs: dev.map_or(0, |dev| dev.pairs.len()),
            overlap: dev.map_or(0, |dev| dev.overlap(pairs)),
            cut: cut_queries + cut_documents,
            texts: queries.len() + documents.len(),
            trained,
            parameters,
            steps: 0,
        };
        let state = State {
            step: 0,
            identity: options.identity(&encoder.spec)?,
            before: None,
            best: None,
            without_gain: 0,
            losses: Vec::new(),
            dev: Vec::new(),
            seconds: 0.0,
        };
        let dev = dev.map(|dev| Dev::new(encoder, dev, window)).transpose()?;
        let moments = Moments::zero(&encoder.parameters);
        let mut steps = 0;
        for epoch in 0..options.epochs {
            steps += groups(options, &pairs.pairs, epoch).len() as u64;
        }
        summary.steps = steps.min(options.max_steps.unwrap_or(u64::MAX));
        if summary.steps == 0 {
            return Err(Error::parameter(
                "train",
                "no batch of two different pairs can be made of these; there is nothing to learn",
            ));
        }
        let mut positives: HashMap<u32, Vec<u32>> = HashMap::new();
        for pair in &pairs.pairs {
            positives.entry(pair.query).or_default().push(pair.positive);
        }
        Ok(Self {
            encoder,
            options,
            pairs: &pairs.pairs,
            positives,
            queries,
            documents,
            dev,
            threads,
            summary,
            state,
            moments,
            started: Instant::now(),
            seen: (0, 0.0),
            after: None,
        })
    }

    fn warnings(&self) -> Vec<String> {
        let DataSummary { overlap, dev_pairs, cut, texts, repeated, .. } = self.summary;
        let mut warnings = Vec::new();
        if overlap > 0 {
            warnings.push(format!(
                "{overlap} of {dev_pairs} dev pairs have a query or a positive that is in the \
                 training data too; what is measured on them says little about other data"
            ));
        }
        if cut > 0 {
            warnings.push(format!(
                "{cut} of {texts} texts are longer than the window; what is beyond it is not learnt"
            ));
        }
        if repeated > 0 {
            warnings.push(format!("{repeated} pairs were there twice and are used once"));
        }
        warnings
    }

    /// Takes up the last checkpoint, or measures the base.
    fn begin(&mut self, on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>) -> Result<()> {
        let folder = &self.options.output;
        let occupied = |what: &str| {
            Error::parameter(
                "output",
                format!(
                    "{} holds {what}; resume that run, or name another folder",
                    folder.display()
                ),
            )
        };
        refuse_a_model(folder)?;
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        match checkpoint::last(folder)? {
            Some(_) if !self.options.resume => return Err(occupied("a checkpoint")),
            Some((place, state)) => {
                if state.identity != self.state.identity {
                    return Err(Error::parameter(
                        "resume",
                        format!(
                            "{} comes from a run with other settings, other data or another base; \
                             name those again, or another folder",
                            place.display()
                        ),
                    ));
                }
                checkpoint::load(&place, &state, &self.encoder.parameters, &mut self.moments)?;
                self.state = state;
                let _ = on_event(TrainEvent::Resumed { step: self.state.step });
            }
            None => {
                if let Some(dev) = &self.dev {
                    let quality = dev.measure(self.encoder, self.threads)?;
                    self.state.before = Some(quality);
                    let _ = on_event(TrainEvent::Dev { step: 0, quality, best: false });
                }
            }
        }
        self.started = Instant::now();
        Ok(())
    }

    /// All steps that are left.
    fn go(
        &mut self,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut step = 0;
        for epoch in 0..self.options.epochs {
            let groups = groups(self.options, self.pairs, epoch);
            let last = step + groups.len() as u64;
            for group in groups {
                step += 1;
                if step <= self.state.step {
                    continue;
                }
                if step > self.summary.steps || self.is_patience_at_an_end() {
                    return Ok(ControlFlow::Continue(()));
                }
                let summary = self.step(step, epoch, &group)?;
                let mut flow = on_event(TrainEvent::Step(summary));
                let end = step == last || step == self.summary.steps;
                let due = |every: Option<u64>| every.map_or(end, |n| step.is_multiple_of(n) || end);
                if due(self.options.evaluate_every) && self.dev.is_some() {
                    flow = either(flow, self.evaluate(on_event)?);
                }
                if due(self.options.checkpoint_every) || flow.is_break() {
                    self.save()?;
                    flow = either(flow, on_event(TrainEvent::Checkpoint { step }));
                }
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn is_patience_at_an_end(&self) -> bool {
        self.options.patience.is_some_and(|patience| self.state.without_gain >= patience.max(1))
    }

    /// One step over the batches of `group`.
    fn step(&mut self, step: u64, epoch: u64, group: &[Vec<usize>]) -> Result<StepSummary> {
        let began = Instant::now();
        let mut loss = 0.0;
        let mut sums: Option<Sums> = None;
        for (nth, batch) in (0u64..).zip(group) {
            let (own, gradients) =
                self.batch(mix(step.wrapping_mul(4096).wrapping_add(nth)), batch)?;
            loss += own;
            match &mut sums {
                Some(sums) => sums.add(&gradients),
                None => sums = Some(gradients),
            }
        }
        let mut sums = sums.unwrap_or_else(|| Sums::zero(&self.encoder.parameters));
        let n = group.len().max(1);
        loss /= n as f64;
        if n > 1 {
            let share = 1.0 / n as f32;
            sums.0.iter_mut().flatten().for_each(|g| *g *= share);
        }
        let length = norm(&sums);
        if !loss.is_finite() || !length.is_finite() {
            return Err(self.diverged(step, loss, length)?);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of steps"
        )]
        let warmup = (self.summary.steps as f64 * self.options.warmup).ceil() as u64;
        let factor = self.options.schedule.factor(step - 1, warmup, self.summary.steps);
        let rate = self.options.rate() * factor;
        let optimizer = &self.options.optimizer;
        optimizer.step(&self.encoder.parameters, &sums, length, rate, &mut self.moments)?;
        self.state.step = step;
        self.state.losses.push(loss);
        self.seen.0 += group.iter().map(Vec::len).sum::<usize>();
        self.seen.1 += began.elapsed().as_secs_f64();
        let done = self.seen.0 as f64 / self.seen.1.max(1e-9);
        let left = (self.summary.steps - step) as f64;
        let per_step = self.options.batch as f64 * self.options.accumulate as f64;
        Ok(StepSummary {
            step,
            steps: self.summary.steps,
            epoch,
            loss,
            rate,
            norm: length,
            pairs_per_second: done,
            seconds_left: left * per_step / done.max(1e-9),
        })
    }

    /// The error of a run that has left the numbers, which says what of it is kept.
    fn diverged(&self, step: u64, loss: f64, length: f64) -> Result<Error> {
        let folder = self.options.output.display();
        let kept = match checkpoint::last(&self.options.output)? {
            Some((_, state)) => format!("the checkpoint of step {} is in {folder}", state.step),
            None => "there was no checkpoint yet".to_owned(),
        };
        Ok(Error::Model {
            name: self.encoder.spec.name.clone(),
            reason: format!(
                "training diverged at step {step}: loss {loss}, gradient norm {length}; {kept}; try a \
                 lower learning rate than {} or a longer warm-up",
                self.options.rate()
            ),
        })
    }

    /// Loss and gradients of one batch.
    fn batch(&self, chance: u64, batch: &[usize]) -> Result<(f64, Sums)> {
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
        let mut texts: Vec<&[u32]> = targets.anchors.iter().map(ids(&self.queries)).collect();
        let documents = targets.positives.iter().chain(&targets.negatives);
        texts.extend(documents.map(ids(&self.documents)));
        let (n, k) = (members.len(), targets.negatives.len());
        let seed = mix(self.options.seed ^ chance);
        let work = Work { threads: self.threads, memory: self.options.room(), seed };
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

    /// Measures the dev set and keeps the weights where they are the best so far.
    fn evaluate(
        &mut self,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let Some(dev) = &self.dev else { return Ok(ControlFlow::Continue(())) };
        let quality = dev.measure(self.encoder, self.threads)?;
        let step = self.state.step;
        let best = self.state.best.is_none_or(|best| quality.ndcg_10 > best.quality.ndcg_10);
        self.state.dev.push((step, quality));
        if best {
            checkpoint::save_best(&self.options.output, &self.encoder.parameters)?;
            self.state.best = Some(Best { step, quality });
            self.state.without_gain = 0;
        } else {
            self.state.without_gain += 1;
        }
        Ok(on_event(TrainEvent::Dev { step, quality, best }))
    }

    fn save(&mut self) -> Result<()> {
        self.state.seconds += self.started.elapsed().as_secs_f64();
        self.started = Instant::now();
        checkpoint::save(&self.options.output, &self.state, &self.encoder.parameters, &self.moments)
    }

    /// Writes the result and removes what only a run that goes on would need.
    fn finish(mut self, pairs: &Pairs) -> Result<Outcome> {
        self.state.seconds += self.started.elapsed().as_secs_f64();
        if let Some(best) = self.state.best {
            checkpoint::load_best(&self.options.output, &self.encoder.parameters)?;
            self.after = Some(best.quality);
        }
        if self.options.blend < 1.0 {
            blend(self.encoder, self.options.blend)?;
            if let Some(dev) = &self.dev {
                self.after = Some(dev.measure(self.encoder, self.threads)?);
            }
        }
        let facts = card::Facts {
            options: self.options,
            data: &self.summary,
            queries: pairs.queries.all.len(),
            documents: pairs.documents.all.len(),
            state: &self.state,
            after: self.after,
        };
        card::write(self.encoder, &facts)?;
        checkpoint::clear(&self.options.output)?;
        Ok(self.outcome(false))
    }

    fn outcome(&self, stopped: bool) -> Outcome {
        Outcome {
            steps: self.state.step,
            stopped,
            before: self.state.before,
            after: self.after.or(self.state.best.map(|best| best.quality)),
            folder: self.options.output.clone(),
        }
    }
}

/// Refuses a folder that holds a model.
pub(super) fn refuse_a_model(folder: &Path) -> Result<()> {
    if folder.join(card::WEIGHTS).exists() {
        let reason = format!("{} holds a model already; name another folder", folder.display());
        return Err(Error::parameter("output", reason));
    }
    Ok(())
}

fn either(a: ControlFlow<()>, b: ControlFlow<()>) -> ControlFlow<()> {
    if a.is_break() { a } else { b }
}

/// The batches of an epoch, as many together as make one step.
fn groups(options: &ContrastiveOptions, pairs: &[Pair], epoch: u64) -> Vec<Vec<Vec<usize>>> {
    let least = if options.loss.needs_company() { 2 } else { 1 };
    let all = batches(pairs, options.batch, least, options.seed, epoch);
    all.chunks(options.accumulate).map(<[Vec<usize>]>::to_vec).collect()
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
