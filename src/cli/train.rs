//! `vdb train contrastive`

mod pairs;

use super::options::Global;
use super::output::{Out, count, printable};
use super::progress::Progress;
use super::{Status, interrupt};
use crate::error::{Error, Result};
use crate::model::{DEFAULT_ENCODER, Device};
use crate::pairs::Fields;
use crate::train::{
    AdamW, ContrastiveOptions, LoraOptions, LoraTarget, Loss, Mining, MiningReport, Outcome,
    Schedule, StepSummary, TrainEvent, contrastive, with_hard_negatives,
};
use clap::{Args, Subcommand, ValueEnum};
use pairs::{FromCollection, Prepared};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// What suits pairs that stand in for questions: to learn from what is near as well, and to stay near
/// the base (`docs/benchmarks.md`).
const NEGATIVES: usize = 1;
const BLEND: f64 = 0.5;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Fine-tune an encoder on pairs of texts that belong together
    Contrastive(Box<Arguments>),
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
    /// Encoder to start from: a name from `vdb models list`, or a folder [default: all-MiniLM-L6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,
    /// Go on from the last checkpoint in the output folder
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    source: FromCollection,
    #[command(flatten)]
    fields: FieldArguments,
    #[command(flatten)]
    objective: ObjectiveArguments,
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
    /// How to mine, where `usual` negatives are mined unless another number is named.
    fn mining(&self, global: &Global, usual: usize) -> Option<Mining> {
        let negatives = self.hard_negatives.unwrap_or(usual);
        (negatives > 0).then(|| Mining {
            negatives,
            margin: self.negative_margin,
            skip: self.negative_skip,
            depth: self.negative_depth,
            threads: global.threads.map(usize::from),
        })
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Steps")]
struct StepArguments {
    /// How often all pairs are seen
    #[arg(long, default_value_t = 1, value_name = "N")]
    epochs: u64,
    /// Pairs of a batch
    #[arg(long, default_value_t = 64, value_name = "N")]
    batch: usize,
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
    /// Tokens of a text [default: the encoder's window]
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Decides every choice by chance
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// MiB of a batch's intermediate values that are kept; a larger batch is computed twice
    #[arg(long, default_value_t = 2048, value_name = "MIB")]
    memory_mib: usize,
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
    /// Share of the trained weights in the result; the rest is the base's [default: 1; with
    /// --from-collection 0.5]
    #[arg(long, value_name = "SHARE")]
    blend: Option<f64>,
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
    }
}

fn train(global: &Global, arguments: &Arguments, out: Out) -> Result<Status> {
    if global.device == Device::Cuda {
        return Err(Error::Device {
            device: "cuda".to_owned(),
            reason: "training runs on the processors; leave --device out".to_owned(),
        });
    }
    let models = global.models()?;
    let stop = interrupt::flag();
    let progress = Progress::new(out);
    let prepared = match prepare(global, arguments, (stop, &progress, out)) {
        Err(Error::Stopped) => return Ok(Status::Interrupted),
        other => other?,
    };
    let model = match (&arguments.model, &prepared.model) {
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) if arguments.source.from_collection.is_some() => {
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
    options.licence = models.registry().get(&model).ok().map(|m| m.licence.clone());
    let mut log = Log::new(&arguments.output);
    let mut failed = None;
    let mut on_event = |event: TrainEvent| {
        tell(&event, &progress, out);
        if let Err(error) = log.write(&event) {
            failed.get_or_insert(error);
        }
        if stop.load(Ordering::Relaxed) || failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let usual = if arguments.source.from_collection.is_some() { NEGATIVES } else { 0 };
    let mined = match arguments.negatives.mining(global, usual) {
        Some(mining) => models.encoder(&model).and_then(|encoder| {
            with_hard_negatives(&mut options, &encoder, &mining, &mut on_event)
        }),
        None => Ok(MiningReport::default()),
    };
    let outcome = mined.and_then(|_| contrastive(&spec, &options, &mut on_event));
    progress.finish();
    if let Some(error) = failed {
        return Err(error);
    }
    let outcome = match outcome {
        Err(Error::Stopped) => return Ok(Status::Interrupted),
        other => other?,
    };
    if outcome.stopped {
        out.note(&format!(
            "stopped after step {}; the same command with --resume goes on",
            outcome.steps
        ));
        return Ok(Status::Interrupted);
    }
    finish(&outcome, out)
}

/// Where the pairs are, which are made first with `--from-collection`.
fn prepare(
    global: &Global,
    arguments: &Arguments,
    told: (&AtomicBool, &Progress, Out),
) -> Result<Prepared> {
    let mut prepared = match (&arguments.source.from_collection, &arguments.train) {
        (Some(name), _) => {
            let run = (arguments.output.as_path(), arguments.resume, arguments.steps.seed);
            arguments.source.prepare(global, name, run, told)?
        }
        (None, train) => {
            Prepared { train: train.clone().unwrap_or_default(), dev: None, model: None }
        }
    };
    if let Some(dev) = &arguments.dev {
        prepared.dev = Some(dev.clone());
    }
    Ok(prepared)
}

fn finish(outcome: &Outcome, out: Out) -> Result<Status> {
    let ndcg = |quality: Option<crate::train::DevQuality>| quality.map(|q| q.ndcg_10);
    let (before, after) = (ndcg(outcome.before), ndcg(outcome.after));
    if out.json {
        out.json_line(&json!({
            "folder": outcome.folder,
            "steps": outcome.steps,
            "before": before,
            "after": after,
        }))?;
        return Ok(Status::Done);
    }
    if let (Some(before), Some(after)) = (before, after) {
        let words = if after > before { "" } else { "; no better than the base" };
        out.line(&format!("dev nDCG@10 {before:.4} before, {after:.4} after{words}"))?;
    }
    out.line(&outcome.folder.display().to_string())?;
    out.note(&format!("use it: vdb ingest --model {} PATH", outcome.folder.display()));
    Ok(Status::Done)
}

fn options(global: &Global, arguments: &Arguments, prepared: &Prepared) -> ContrastiveOptions {
    let Arguments { fields, objective, steps, lora, .. } = arguments;
    let mut options = ContrastiveOptions::new(&prepared.train, &arguments.output);
    options.dev.clone_from(&prepared.dev);
    options.resume = arguments.resume;
    options.fields = Fields {
        query: fields.query_field.clone(),
        positive: fields.positive_field.clone(),
        negative: fields.negative_field.clone(),
        score: fields.score_field.clone(),
        group: fields.group_field.clone(),
    };
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
    options.lora = lora.lora.then(|| LoraOptions {
        rank: lora.rank,
        alpha: lora.alpha,
        dropout: lora.lora_dropout,
        targets: lora.lora_targets.clone(),
        last_layers: lora.lora_layers,
    });
    options.epochs = steps.epochs;
    options.batch = steps.batch;
    options.accumulate = steps.accumulate;
    options.learning_rate = steps.lr;
    options.warmup = steps.warmup;
    options.schedule = steps.schedule;
    options.optimizer =
        AdamW { weight_decay: steps.weight_decay, clip: steps.clip, ..AdamW::default() };
    options.window = steps.window;
    options.seed = steps.seed;
    options.threads = global.threads.map(usize::from);
    options.memory = steps.memory_mib.saturating_mul(1 << 20);
    options.evaluate_every = steps.evaluate_every;
    options.checkpoint_every = steps.checkpoint_every;
    options.patience = steps.patience;
    options.max_steps = steps.max_steps;
    let usual = if arguments.source.from_collection.is_some() { BLEND } else { 1.0 };
    options.blend = steps.blend.unwrap_or(usual);
    options
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
            out.note(&format!("step {step}: dev nDCG@10 {:.4}{words}", quality.ndcg_10));
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
