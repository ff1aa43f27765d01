//! `vdb train reranker`

use super::pairs::Prepared;
use super::{RunArguments, finish, follow, refuse_cuda};
use crate::cli::Status;
use crate::cli::options::Global;
use crate::cli::output::Out;
use crate::error::Result;
use crate::model::{DEFAULT_ENCODER, Models};
use crate::train::{RerankerBase, RerankerLoss, RerankerOptions, reranker};
use clap::{Args, ValueEnum};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Objective {
    /// Binary cross entropy: positives of the label 1, negatives of the label 0
    Bce,
    /// Negatives below the positive of their query
    Margin,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Encoder or re-ranker to start from: a name from `vdb models list`, or a folder
    #[arg(long, value_name = "NAME|DIR", default_value = DEFAULT_ENCODER)]
    model: String,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    own: OwnArguments,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "What is learnt")]
struct OwnArguments {
    /// The loss
    #[arg(long, value_enum, default_value = "bce")]
    loss: Objective,
    /// Negatives by chance for a pair that brings none
    #[arg(long, default_value_t = 4, value_name = "K")]
    negatives: usize,
    /// Encoder that mines hard negatives, and finds the 50 documents of each dev query that are re-ranked
    /// [default: --model where that is an encoder, else all-MiniLM-L6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    retriever: Option<String>,
    /// Dev queries that are measured, evenly over all of them
    #[arg(long, default_value_t = 200, value_name = "N")]
    dev_queries: usize,
}

pub(super) fn train(global: &Global, arguments: &Arguments, out: Out) -> Result<Status> {
    refuse_cuda(global)?;
    let models = global.models()?;
    let base = RerankerBase::find(&models, &arguments.model)?;
    let run = &arguments.run;
    let Some(prepared) = run.prepare(global, out)? else { return Ok(Status::Interrupted) };
    let mut options = options(global, &models, &base, arguments, &prepared)?;
    // Negatives are mined by an encoder: the base, where it is one.
    let miner = match (&arguments.own.retriever, &base) {
        (Some(name), _) => name.as_str(),
        (None, RerankerBase::Encoder(_)) => &arguments.model,
        (None, RerankerBase::CrossEncoder(_)) => DEFAULT_ENCODER,
    };
    let outcome = follow(&run.output, out, |on_event| {
        let mining = (miner, run.usual_negatives());
        run.negatives.mine((global, &models), mining, &mut options.run, on_event)?;
        reranker(&base, &options, on_event)
    })?;
    match outcome {
        Some(outcome) => finish(&outcome, "vdb query TEXT --rerank --reranker", None, out),
        None => Ok(Status::Interrupted),
    }
}

fn options(
    global: &Global,
    models: &Models,
    base: &RerankerBase,
    arguments: &Arguments,
    prepared: &Prepared,
) -> Result<RerankerOptions> {
    let Arguments { model, run, own } = arguments;
    let mut options = RerankerOptions::new(&prepared.train, &run.output);
    run.fill(global, prepared, &mut options.run);
    options.run.licence = models.registry().get(model).ok().map(|m| m.licence.clone());
    options.loss = match own.loss {
        Objective::Bce => RerankerLoss::CrossEntropy,
        Objective::Margin => RerankerLoss::Margin,
    };
    options.negatives = own.negatives;
    options.dev_queries = own.dev_queries;
    let retriever = match (&own.retriever, base) {
        (Some(name), _) if prepared.dev.is_some() => Some(name.as_str()),
        (None, RerankerBase::CrossEncoder(_)) if prepared.dev.is_some() => Some(DEFAULT_ENCODER),
        _ => None,
    };
    options.retriever = retriever.map(|name| models.encoder_spec(name)).transpose()?;
    Ok(options)
}
