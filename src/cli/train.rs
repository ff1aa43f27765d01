//! `vdb train contrastive|merge`, and what all of `vdb train` has in common

mod pairs;
mod reranker;

use super::options::Global;
use super::output::{Out, count, printable};
use super::progress::Progress;
use super::{Status, interrupt};
use crate::encode::EncoderSpec;
use crate::error::{Error, Result};
use crate::model::{DEFAULT_ENCODER, Device, Models};
use crate::pairs::Fields;
use crate::train::{
    AdamW, ContrastiveOptions, LoraOptions, LoraTarget, Loss, Mining, Outcome, RunOptions,
    Schedule, StepSummary, TrainEvent, contrastive, merge, with_hard_negatives,
};
use clap::{Args, Subcommand, ValueEnum};
use pairs::{FromCollection, Prepared};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// What suits pairs that stand in for questions: to learn from what is near as well, and to stay near
/// the base (`docs/benchmarks.md`).
const NEGATIVES: usize = 1;
const BLEND: f64 = 0.5;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fine-tune an encoder on pairs of texts that belong together
    Contrastive(Box<Arguments>),
    /// Train a re-ranker (cross-encoder) on pairs of a query and what answers it
    Reranker(Box<reranker::Arguments>),
    /// Put adapters, several of them at once if you like, into the weights of their base
    Merge(MergeArguments),
}

#[derive(Debug, Args)]
pub(super) struct MergeArguments {
    /// Folders that training with --lora left
    #[arg(required = true)]
    adapters: Vec<PathBuf>,
    /// Folder for the result
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// The base over which they were trained
    #[arg(long, value_name = "NAME|DIR", default_value = DEFAULT_ENCODER)]
    model: String,
    /// Also take up the result under this name, so that every command knows it
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Objective {
    /// Tell the positive from all other documents of the batch
    Infonce,
    /// Negatives farther than positives by a margin
    Triplet,
    /// Pairs with a higher score nearer
    Cosent,
    /// Differences of products as a teacher has them
    MarginMse,
}

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Encoder to start from: a name from `vdb models list`, or a folder [default: the collection's, or
    /// all-MiniLM-L6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,
    /// Also take up the result under this name, so that every command knows it
    #[arg(long)]
    name: Option<String>,
    /// Share of the trained weights in the result; the rest is the base's [default: 1; with
    /// --from-collection 0.5]
    #[arg(long, value_name = "SHARE")]
    blend: Option<f64>,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    objective: ObjectiveArguments,
}

/// What every run is told.
#[derive(Debug, Args)]
struct RunArguments {
    /// Pairs to learn from: JSONL, CSV or TSV, also as .gz, each record with a query and a positive,
    /// perhaps with negatives and a score
    #[arg(value_name = "PAIRS", required_unless_present = "from_collection")]
    train: Option<PathBuf>,
    /// Folder for the result, and for checkpoints on the way
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// Pairs to measure by, in the same form
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Go on from the last checkpoint in the output folder
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    source: FromCollection,
    #[command(flatten)]
    fields: FieldArguments,
    #[command(flatten)]
    negatives: NegativeArguments,
    #[command(flatten)]
    steps: StepArguments,
    #[command(flatten)]
    lora: LoraArguments,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Fields of a record")]
struct FieldArguments {
    /// [default: query, anchor or question]
    #[arg(long, value_name = "FIELD")]
    query_field: Option<String>,
    /// [default: positive, passage, document or answer]
    #[arg(long, value_name = "FIELD")]
    positive_field: Option<String>,
    /// A text or a list of texts [default: negative or negatives]
    #[arg(long, value_name = "FIELD")]
    negative_field: Option<String>,
    /// [default: score or label]
    #[arg(long, value_name = "FIELD")]
    score_field: Option<String>,
    /// A text; pairs of one group may answer each other and never stand in one batch [default: group]
    #[arg(long, value_name = "FIELD")]
    group_field: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is made smaller")]
struct ObjectiveArguments {
    /// The loss
    #[arg(long, value_enum, default_value = "infonce")]
    loss: Objective,
    /// infonce: what cosines are divided by
    #[arg(long, default_value_t = 0.05, value_name = "T")]
    temperature: f32,
    /// infonce: also tell the query from the other queries
    #[arg(long)]
    both_directions: bool,
    /// triplet: how much farther, in squared distance
    #[arg(long, default_value_t = 0.2, value_name = "M")]
    margin: f32,
    /// Also for the first so many elements of each vector: 256,128,64
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    matryoshka: Vec<usize>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Hard negatives")]
struct NegativeArguments {
    /// Give every pair without negatives the K documents of the pairs that are nearest to its query
    /// and not its answer; K is 1 where it is left out [default: 0; with --from-collection 1]
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "1")]
    hard_negatives: Option<usize>,
    /// By what share of the positive's cosine theirs are lower
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", requires = "hard_negatives")]
    negative_margin: f32,
    /// Pass over the N nearest
    #[arg(long, default_value_t = 0, value_name = "N", requires = "hard_negatives")]
    negative_skip: usize,
    /// Look at the N nearest only
    #[arg(long, default_value_t = 100, value_name = "N", requires = "hard_negatives")]
    negative_depth: usize,
}

impl NegativeArguments {
    /// Mines hard negatives by the encoder `model`, `usual` for a pair unless another number is named,
    /// and lets `options` train on what was found.
    fn mine(
        &self,
        (global, models): (&Global, &Models),
        (model, usual): (&str, usize),
        options: &mut RunOptions,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<()> {
        let negatives = self.hard_negatives.unwrap_or(usual);
        if negatives == 0 {
            return Ok(());
        }
        let mining = Mining {
            negatives,
            margin: self.negative_margin,
            skip: self.negative_skip,
            depth: self.negative_depth,
            threads: global.threads.map(usize::from),
        };
        with_hard_negatives(options, &models.encoder(model)?, &mining, on_event).map(drop)
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Steps")]
struct StepArguments {
    /// How often all pairs are seen
    #[arg(long, default_value_t = 1, value_name = "N")]
    epochs: u64,
    /// Pairs of a batch [default: 64, of a re-ranker 16]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Batches whose gradients are averaged for one step
    #[arg(long, default_value_t = 1, value_name = "N")]
    accumulate: usize,
    /// Highest learning rate [default: 2e-5, with --lora 5e-4]
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Share of the steps in which the learning rate rises
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    warmup: f64,
    /// What becomes of it then: linear, cosine or constant
    #[arg(long, default_value = "linear", value_name = "NAME")]
    schedule: Schedule,
    /// Weight decay, not of biases and norms
    #[arg(long, default_value_t = 0.01, value_name = "X")]
    weight_decay: f64,
    /// Longest gradient
    #[arg(long, default_value_t = 1.0, value_name = "X")]
    clip: f64,
    /// Tokens of an input [default: the window of what it starts from]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Decides every choice by chance
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// MiB of a batch's intermediate values that are kept; the rest is computed twice [default: 2048,
    /// with --lora 512]
    #[arg(long, value_name = "MIB")]
    memory_mib: Option<usize>,
    /// Steps between two measurements [default: once an epoch]
    #[arg(long, value_name = "N")]
    evaluate_every: Option<u64>,
    /// Steps between two checkpoints [default: once an epoch]
    #[arg(long, value_name = "N")]
    checkpoint_every: Option<u64>,
    /// Measurements without a gain after which the run ends
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// End after so many steps
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Adapters")]
struct LoraArguments {
    /// Train adapters of low rank instead of the whole model
    #[arg(long)]
    lora: bool,
    /// Their rank
    #[arg(long, default_value_t = 8, value_name = "N", requires = "lora")]
    rank: usize,
    /// Their scale, over the rank
    #[arg(long, default_value_t = 16.0, value_name = "X", requires = "lora")]
    alpha: f32,
    /// Share of their inputs that each step leaves out
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", requires = "lora")]
    lora_dropout: f32,
    /// Which matrices: query, key, value, output, up, down
    #[arg(
        long,
        default_value = "query,value",
        value_delimiter = ',',
        value_name = "NAME,…",
        requires = "lora"
    )]
    lora_targets: Vec<LoraTarget>,
    /// Only in the last so many layers
    #[arg(long, value_name = "N", requires = "lora")]
    lora_layers: Option<usize>,
}

pub(super) fn run(global: &Global, command: &Command, out: &Out) -> Result<Status> {
    match command {
        Command::Contrastive(arguments) => train(global, arguments, *out),
        Command::Reranker(arguments) => reranker::train(global, arguments, *out),
        Command::Merge(arguments) => put_together(global, arguments, *out),
    }
}

fn train(global: &Global, arguments: &Arguments, out: Out) -> Result<Status> {
    refuse_cuda(global)?;
    let models = global.models()?;
    let Arguments { name, run, .. } = arguments;
    if let Some(name) = name {
        models.check_new(name, &run.output)?;
    }
    let Some(prepared) = run.prepare(global, out)? else { return Ok(Status::Interrupted) };
    let model = match (&arguments.model, &prepared.model) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) if run.source.from_collection.is_some() => {
            return Err(Error::parameter(
                "model",
                "the collection has no encoder, its vectors are the caller's; name the encoder to \
                 train",
            ));
        }
        (None, None) => DEFAULT_ENCODER.to_owned(),
    };
    let spec = models.encoder_spec(&model)?;
    let mut options = options(global, arguments, &prepared);
    options.run.licence = models.registry().get(&model).ok().map(|m| m.licence.clone());
    let licence = options.run.licence.clone();
    let outcome = follow(&run.output, out, |on_event| {
        let mining = (model.as_str(), run.usual_negatives());
        run.negatives.mine((global, &models), mining, &mut options.run, on_event)?;
        contrastive(&spec, &options, on_event)
    })?;
    let Some(outcome) = outcome else { return Ok(Status::Interrupted) };
    take_up(models, &outcome.folder, name.as_deref(), licence, out)?;
    finish(&outcome, "vdb ingest PATH --model", name.as_deref(), out)
}

fn put_together(global: &Global, arguments: &MergeArguments, out: Out) -> Result<Status> {
    let MergeArguments { adapters, output, model, name } = arguments;
    let models = global.models()?;
    let adapters: Vec<&Path> = adapters.iter().map(PathBuf::as_path).collect();
    merge(&models.encoder_spec(model)?, &adapters, output)?;
    let licence = models.registry().get(model).ok().map(|m| m.licence.clone());
    take_up(models, output, name.as_deref(), licence, out)?;
    if out.json {
        out.json_line(&json!({"folder": output, "name": name}))?;
    } else {
        out.line(&output.display().to_string())?;
    }
    Ok(Status::Done)
}

/// Adds ONNX files to the result, and takes it up under its name.
fn take_up(
    mut models: Models,
    folder: &Path,
    name: Option<&str>,
    licence: Option<String>,
    out: Out,
) -> Result<()> {
    let written = models.runtime().and_then(|runtime| {
        EncoderSpec::from_folder(folder)?.write_onnx(&runtime, &folder.join("onnx"))
    });
    match written {
        Ok(_) => {}
        // Training needs no runtime; the rest of the result is there.
        Err(error @ Error::NotSetUp { .. }) => out.note(&format!("note: no ONNX files: {error}")),
        Err(error) => return Err(error),
    }
    name.map_or(Ok(()), |name| models.add(folder, name, licence).map(drop))
}

fn refuse_cuda(global: &Global) -> Result<()> {
    if global.device == Device::Cuda {
        return Err(Error::Device {
            device: "cuda".to_owned(),
            reason: "training runs on the processors; leave --device out".to_owned(),
        });
    }
    Ok(())
}

/// Runs `work`, tells and logs what it tells, and stops it where the user does. `None` where it was
/// stopped, which is told.
fn follow(
    output: &Path,
    out: Out,
    work: impl FnOnce(&mut dyn FnMut(TrainEvent) -> ControlFlow<()>) -> Result<Outcome>,
) -> Result<Option<Outcome>> {
    let stop = interrupt::flag();
    let progress = Progress::new(out);
    let mut log = Log::new(output);
    let mut failed = None;
    let outcome = work(&mut |event| {
        tell(&event, &progress, out);
        if let Err(error) = log.write(&event) {
            failed.get_or_insert(error);
        }
        if stop.load(Ordering::Relaxed) || failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    progress.finish();
    if let Some(error) = failed {
        return Err(error);
    }
    let outcome = match outcome {
        Err(Error::Stopped) => return Ok(None),
        other => other?,
    };
    if outcome.stopped {
        out.note(&format!(
            "stopped after step {}; the same command with --resume goes on",
            outcome.steps
        ));
        return Ok(None);
    }
    Ok(Some(outcome))
}

/// Says what came of it; `usage` is the command that takes the folder, or the name.
fn finish(outcome: &Outcome, usage: &str, name: Option<&str>, out: Out) -> Result<Status> {
    let figure = |quality: Option<crate::train::DevQuality>| quality.map(|q| q.figure());
    let (before, after) = (figure(outcome.before), figure(outcome.after));
    if out.json {
        out.json_line(&json!({
            "folder": outcome.folder,
            "name": name,
            "steps": outcome.steps,
            "before": before,
            "after": after,
        }))?;
        return Ok(Status::Done);
    }
    if let (Some(before), Some(after)) = (before, after) {
        let words = if after > before { "" } else { "; no better than before" };
        let name = outcome.after.unwrap_or_default().name();
        out.line(&format!("dev {name} {before:.4} before, {after:.4} after{words}"))?;
    }
    out.line(&outcome.folder.display().to_string())?;
    let folder = outcome.folder.display().to_string();
    out.note(&format!("use it: {usage} {}", name.unwrap_or(&folder)));
    Ok(Status::Done)
}

fn options(global: &Global, arguments: &Arguments, prepared: &Prepared) -> ContrastiveOptions {
    let Arguments { run, objective, .. } = arguments;
    let mut options = ContrastiveOptions::new(&prepared.train, &run.output);
    run.fill(global, prepared, &mut options.run);
    let usual = if run.source.from_collection.is_some() { BLEND } else { 1.0 };
    options.blend = arguments.blend.unwrap_or(usual);
    options.loss = match objective.loss {
        Objective::Infonce => Loss::InfoNce {
            temperature: objective.temperature,
            both_directions: objective.both_directions,
        },
        Objective::Triplet => Loss::Triplet { margin: objective.margin },
        Objective::Cosent => Loss::Cosent { scale: 1.0 / objective.temperature },
        Objective::MarginMse => Loss::MarginMse,
    };
    options.matryoshka.clone_from(&objective.matryoshka);
    options
}

impl RunArguments {
    /// Hard negatives of a pair, where no number is named.
    fn usual_negatives(&self) -> usize {
        if self.source.from_collection.is_some() { NEGATIVES } else { 0 }
    }

    /// Where the pairs are, which are made first with `--from-collection`; `None` where the user stopped
    /// it.
    fn prepare(&self, global: &Global, out: Out) -> Result<Option<Prepared>> {
        let mut prepared = match (&self.source.from_collection, &self.train) {
            (Some(name), _) => {
                let stop = interrupt::flag();
                let progress = Progress::new(out);
                let run = (self.output.as_path(), self.resume, self.steps.seed);
                match self.source.prepare(global, name, run, (stop, &progress, out)) {
                    Err(Error::Stopped) => return Ok(None),
                    other => other?,
                }
            }
            (None, train) => {
                Prepared { train: train.clone().unwrap_or_default(), dev: None, model: None }
            }
        };
        if let Some(dev) = &self.dev {
            prepared.dev = Some(dev.clone());
        }
        Ok(Some(prepared))
    }

    /// Puts what was asked for into `options`, which has the task's defaults.
    fn fill(&self, global: &Global, prepared: &Prepared, options: &mut RunOptions) {
        let Self { fields, steps, lora, .. } = self;
        options.dev.clone_from(&prepared.dev);
        options.resume = self.resume;
        options.fields = Fields {
            query: fields.query_field.clone(),
            positive: fields.positive_field.clone(),
            negative: fields.negative_field.clone(),
            score: fields.score_field.clone(),
            group: fields.group_field.clone(),
        };
        options.lora = lora.lora.then(|| LoraOptions {
            rank: lora.rank,
            alpha: lora.alpha,
            dropout: lora.lora_dropout,
            targets: lora.lora_targets.clone(),
            last_layers: lora.lora_layers,
        });
        options.epochs = steps.epochs;
        options.batch = steps.batch.unwrap_or(options.batch);
        options.accumulate = steps.accumulate;
        options.learning_rate = steps.lr;
        options.warmup = steps.warmup;
        options.schedule = steps.schedule;
        options.optimizer =
            AdamW { weight_decay: steps.weight_decay, clip: steps.clip, ..AdamW::default() };
        options.window = steps.window;
        options.seed = steps.seed;
        options.threads = global.threads.map(usize::from);
        options.memory = steps.memory_mib.map(|mib| mib.saturating_mul(1 << 20));
        options.evaluate_every = steps.evaluate_every;
        options.checkpoint_every = steps.checkpoint_every;
        options.patience = steps.patience;
        options.max_steps = steps.max_steps;
    }
}

fn tell(event: &TrainEvent, progress: &Progress, out: Out) {
    match event {
        TrainEvent::Encoded { texts, of } => {
            progress.say(format!("hard negatives: {texts} of {of} texts are encoded"));
        }
        TrainEvent::Mined(mined) => progress.above(|| {
            let own = match mined.own {
                0 => String::new(),
                own => format!("; {own} brought their own"),
            };
            out.note(&format!(
                "{} for {}{own}; {} got fewer than were asked for",
                count(mined.mined, "hard negative"),
                count(mined.pairs, "pair"),
                mined.short
            ));
        }),
        TrainEvent::Data(data) => progress.above(|| {
            out.note(&format!(
                "{} ({} to measure by), {}; {} of {} parameters are trained",
                count(data.pairs, "pair"),
                data.dev_pairs,
                count(data.steps, "step"),
                data.trained,
                data.parameters
            ));
        }),
        TrainEvent::Warning(text) => {
            progress.above(|| out.note(&format!("note: {}", printable(text))));
        }
        TrainEvent::Resumed { step } => {
            progress.above(|| out.note(&format!("goes on after step {step}")));
        }
        TrainEvent::Step(step) => progress.say(line(step)),
        TrainEvent::Dev { step, quality, best } => progress.above(|| {
            let words = if *best { ", the best so far" } else { "" };
            let (name, figure) = (quality.name(), quality.figure());
            out.note(&format!("step {step}: dev {name} {figure:.4}{words}"));
        }),
        TrainEvent::Checkpoint { .. } => {}
    }
}

fn line(step: &StepSummary) -> String {
    format!(
        "step {} of {}: loss {:.4}, learning rate {:.2e}, gradient {:.2}, {:.1} pairs/s, {} left",
        step.step,
        step.steps,
        step.loss,
        step.rate,
        step.norm,
        step.pairs_per_second,
        duration(step.seconds_left)
    )
}

/// `40 s`, `12 min`, `3.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// `log.jsonl` in the output folder: a line for each step and each measurement.
struct Log {
    path: PathBuf,
}

impl Log {
    fn new(folder: &Path) -> Self {
        Self { path: folder.join("log.jsonl") }
    }

    fn write(&mut self, event: &TrainEvent) -> Result<()> {
        let value: Value = match event {
            TrainEvent::Step(s) => json!({
                "step": s.step, "epoch": s.epoch, "loss": s.loss, "learning_rate": s.rate,
                "gradient_norm": s.norm, "pairs_per_second": s.pairs_per_second,
            }),
            TrainEvent::Dev { step, quality, best } => json!({
                "step": step, "dev_ndcg@10": quality.ndcg_10, "dev_mrr@10": quality.mrr_10,
                "dev_spearman": quality.spearman,
                "best": best,
            }),
            TrainEvent::Resumed { step } => json!({"step": step, "resumed": true}),
            _ => return Ok(()),
        };
        let line = format!("{}\n", crate::text::sorted(&value));
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(Error::io("write", &self.path))
    }
}
