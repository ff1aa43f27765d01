//! Training of a re-ranker: a cross-encoder that learns to tell a query's positive from its negatives.

use super::batches::batches;
use super::card::{self, Card, put};
use super::cross_encoder::{RerankerBase, TrainableCrossEncoder};
use super::encoder::{Sums, Text, TrainableEncoder};
use super::event::{DataSummary, Outcome, TrainEvent};
use super::gradient::{Work, gradient};
use super::measure::{Dev, DevQuality, best};
use super::negatives::with_negatives;
use super::options::RunOptions;
use super::random::mix;
use super::run::{End, Task, run};
use super::score_loss::RerankerLoss;
use crate::encode::EncoderSpec;
use crate::error::{Error, Result};
use crate::pairs::{Pair, Pairs};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Documents of a dev query that are re-ranked.
const DEPTH: usize = 50;

/// A training run of a re-ranker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RerankerOptions {
    /// How it goes. A window is of query and passage together, and may go up to the positions that the
    /// base has.
    pub run: RunOptions,
    /// What is made smaller. Default: binary cross entropy.
    pub loss: RerankerLoss,
    /// Negatives of a pair that brings none: documents of the data by chance that are not a positive of
    /// its query. Default: 4.
    pub negatives: usize,
    /// The encoder that finds the documents of dev queries, which are then re-ranked. Default: the
    /// base, where that is an encoder; a cross-encoder finds nothing, so with one and a dev set this is
    /// needed.
    pub retriever: Option<EncoderSpec>,
    /// Dev queries that are measured, evenly over all of them: each costs a pass for each of its
    /// documents. Default: 200.
    pub dev_queries: usize,
}

impl RerankerOptions {
    /// A run over `train` into the folder `output`, with the defaults of each field.
    pub fn new(train: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self {
            run: RunOptions::new(train.into(), output.into(), 16),
            loss: RerankerLoss::default(),
            negatives: 4,
            retriever: None,
            dev_queries: 200,
        }
    }

    /// What decides the weights of a run, summed up.
    fn identity(&self, base: &RerankerBase) -> Result<String> {
        let retriever = self.retriever.as_ref().map(|spec| spec.weights_sha256.as_str());
        let own = format!(
            "reranker {:?} {:?} {} {retriever:?} {} {}",
            self.run.decisive(),
            self.loss,
            self.negatives,
            self.dev_queries,
            base.identity()
        );
        self.run.identity(&own)
    }
}

/// Trains a re-ranker from `base`, and writes the result, a folder that
/// [`crate::model::Models::reranker`] opens by its path, into the output folder. `on_event` is told how
/// it goes, and stops the run by returning [`ControlFlow::Break`], as in [`super::contrastive`].
///
/// What is measured on the dev set is the order of the 50 documents of the dev set that the retriever
/// finds for each query: its own order before the run (for a cross-encoder as base, the order that the
/// base makes of them), and the re-ranker's afterwards.
///
/// # Errors
/// [`Error::Parameter`] for options or data that cannot be, [`Error::Parse`] naming the line of the
/// data that is bad, [`Error::Io`], and [`Error::Model`] where the base cannot be trained, or where the
/// run diverges: then the last checkpoint and the best weights stay.
pub fn reranker(
    base: &RerankerBase,
    options: &RerankerOptions,
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> Result<Outcome> {
    let run_options = &options.run;
    run_options.check(TrainableCrossEncoder::positions(base)?)?;
    if options.dev_queries == 0 {
        return Err(Error::parameter("dev-queries", "0; at least 1 is needed"));
    }
    let retriever = retriever(base, options)?;
    let pairs = Pairs::read(&run_options.train, &run_options.fields)?;
    let (with_negatives, without) = with_negatives(&pairs, options.negatives, run_options.seed);
    suit(options.loss, with_negatives.len(), without)?;
    let dev = run_options.dev.as_deref();
    let dev = dev.map(|dev| Pairs::read(dev, &run_options.fields)).transpose()?;
    let (lora, seed) = (run_options.lora.as_ref(), run_options.seed);
    let model = TrainableCrossEncoder::open(base, lora, seed, run_options.window)?;
    let mut data = DataSummary::of(&pairs, dev.as_ref());
    let threads = run_options.threads();
    let asked = |pair: &Pair| (pairs.queries.text(pair.query), pairs.documents.text(pair.positive));
    data.texts = pairs.pairs.len();
    data.cut = model.cut(&pairs.pairs.iter().map(asked).collect::<Vec<_>>(), threads)?;
    let dev = match (&dev, &retriever) {
        (Some(dev), Some(retriever)) => {
            Some(Candidates::new(retriever, dev, options.dev_queries, threads)?)
        }
        _ => None,
    };
    let task = Reranking { model, options, texts: &pairs, pairs: with_negatives, dev };
    run(&task, data, options.identity(base)?, on_event)
}

/// The encoder that finds documents for dev queries, where there are any.
fn retriever(base: &RerankerBase, options: &RerankerOptions) -> Result<Option<EncoderSpec>> {
    if options.run.dev.is_none() {
        return Ok(None);
    }
    match (&options.retriever, base) {
        (Some(spec), _) | (None, RerankerBase::Encoder(spec)) => Ok(Some(spec.clone())),
        (None, RerankerBase::CrossEncoder(spec)) => Err(Error::parameter(
            "retriever",
            format!(
                "{} is a cross-encoder, which finds no documents for the dev queries by itself; name \
                 an encoder that does",
                spec.name
            ),
        )),
    }
}

/// Whether there is something to tell apart, where `without` of `pairs` pairs have no negative.
fn suit(loss: RerankerLoss, pairs: usize, without: usize) -> Result<()> {
    let told = "negatives are drawn from the documents of the data that do not answer a query, so it \
                needs other documents, pairs with negatives of their own, or more negatives than 0";
    if without == pairs {
        return Err(Error::parameter("train", format!("no pair has a negative; {told}")));
    }
    if loss == RerankerLoss::Margin && without > 0 {
        return Err(Error::parameter(
            "train",
            format!("{without} of {pairs} pairs have no negative, which this loss needs; {told}"),
        ));
    }
    Ok(())
}

struct Reranking<'a> {
    model: TrainableCrossEncoder,
    options: &'a RerankerOptions,
    texts: &'a Pairs,
    /// Each with negatives.
    pairs: Vec<Pair>,
    dev: Option<Candidates>,
}

impl Task for Reranking<'_> {
    fn options(&self) -> &RunOptions {
        &self.options.run
    }

    fn encoder(&self) -> &TrainableEncoder {
        &self.model.encoder
    }

    fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        batches(&self.pairs, self.options.run.batch, 1, self.options.run.seed, epoch)
    }

    fn gradient(&self, chance: u64, batch: &[usize]) -> Result<(f64, Sums)> {
        let members: Vec<&Pair> = batch.iter().filter_map(|i| self.pairs.get(*i)).collect();
        let texts =
            |query, document| (self.texts.queries.text(query), self.texts.documents.text(document));
        let mut asked: Vec<(&str, &str)> =
            members.iter().map(|pair| texts(pair.query, pair.positive)).collect();
        let mut owners = Vec::new();
        for (owner, pair) in (0u32..).zip(&members) {
            for negative in &pair.negatives {
                asked.push(texts(pair.query, *negative));
                owners.push(owner);
            }
        }
        let options = &self.options.run;
        let tokens = self.model.tokens(&asked, options.threads())?;
        let texts: Vec<Text<'_>> = tokens.iter().map(|tokens| self.model.text(tokens)).collect();
        let seed = mix(options.seed ^ chance);
        let work = Work { threads: options.threads(), memory: options.room(), seed };
        gradient(&self.model.encoder, &texts, work, |scores| {
            self.options.loss.of(scores, members.len(), &owners)
        })
    }

    fn before(&self) -> Result<Option<DevQuality>> {
        match &self.dev {
            Some(dev) if self.model.fresh => Ok(Some(dev.first)),
            _ => self.measure(),
        }
    }

    fn measure(&self) -> Result<Option<DevQuality>> {
        let threads = self.options.run.threads();
        self.dev.as_ref().map(|dev| dev.measure(&self.model, threads)).transpose()
    }

    fn write(&self, end: &End<'_>) -> Result<()> {
        let folder = &self.options.run.output;
        let spec = &self.model.encoder.spec;
        card::copy(&spec.tokenizer, &folder.join("tokenizer.json"))?;
        put(&folder.join("config.json"), &self.model.config_json()?)?;
        put(&folder.join("tokenizer_config.json"), &self.model.tokenizer_json())?;
        let loss = match self.options.loss {
            RerankerLoss::CrossEntropy => "bce",
            RerankerLoss::Margin => "margin",
        };
        let first = self.dev.as_ref().map(|dev| dev.first);
        let card = Card {
            heading: format!(
                "A re-ranker (cross-encoder) with a window of {} tokens",
                self.model.window
            ),
            training: json!({
                "loss": loss,
                "window": self.model.window,
                "negatives": self.options.negatives,
                "fresh_head": self.model.fresh,
            }),
            texts: (self.texts.queries.all.len(), self.texts.documents.all.len()),
            dev: json!({
                "first_search": first.map(|q| json!({"ndcg@10": q.ndcg_10, "mrr@10": q.mrr_10})),
                "depth": DEPTH,
            }),
            tensors: self.model.published()?,
        };
        card::write(&self.model.encoder, &self.options.run, end, &card)
    }
}

/// What a first search finds for dev queries.
struct Candidates {
    dev: Dev,
    queries: Vec<Asked>,
    documents: Vec<String>,
    /// How good the order is in which the documents were found.
    first: DevQuality,
}

/// A dev query.
struct Asked {
    /// Its place among all.
    place: usize,
    text: String,
    /// The places of its documents, the nearest first.
    found: Vec<usize>,
}

impl Candidates {
    /// Of `most` queries of `pairs`, evenly over all of them.
    fn new(retriever: &EncoderSpec, pairs: &Pairs, most: usize, threads: usize) -> Result<Self> {
        let encoder = TrainableEncoder::open(retriever, None, 0)?;
        let dev = Dev::new(&encoder, pairs, retriever.window)?;
        let found = dev.ranked(&encoder, threads, DEPTH)?;
        let all = found.len();
        let chosen = |place: &usize| {
            let before = |place: usize| place * most.min(all) / all.max(1);
            before(*place + 1) > before(*place)
        };
        let numbered = dev.query_numbers.iter().zip(found).enumerate();
        let queries: Vec<Asked> = numbered
            .filter(|(place, _)| chosen(place))
            .map(|(place, (number, found))| Asked {
                place,
                text: pairs.queries.text(*number).to_owned(),
                found,
            })
            .collect();
        let numbers = dev.document_numbers.iter();
        let documents = numbers.map(|n| pairs.documents.text(*n).to_owned()).collect();
        let first = dev.figures(queries.iter().map(|query| (query.place, query.found.as_slice())));
        Ok(Self { dev, queries, documents, first })
    }

    /// How good the order is that the model makes of what was found.
    fn measure(&self, model: &TrainableCrossEncoder, threads: usize) -> Result<DevQuality> {
        let mut ranked = Vec::with_capacity(self.queries.len());
        for Asked { place, text, found } in &self.queries {
            let passages = found.iter().filter_map(|place| self.documents.get(*place));
            let asked: Vec<(&str, &str)> =
                passages.map(|passage| (text.as_str(), passage.as_str())).collect();
            let scores = model.score(&asked, threads)?;
            let order = best(&scores, scores.len());
            let order = order.iter().filter_map(|i| found.get(*i).copied()).collect::<Vec<_>>();
            ranked.push((*place, order));
        }
        Ok(self.dev.figures(ranked.iter().map(|(place, order)| (*place, order.as_slice()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::base;

    #[test]
    fn queries_are_measured_evenly() {
        let folder = base();
        let spec = EncoderSpec::from_folder(folder.path()).unwrap();
        let mut pairs = Pairs::default();
        for c in b'a'..=b'p' {
            let c = char::from(c);
            pairs.push(&format!("{c} w"), &format!("{c} {c}"), &[], None);
        }
        let places = |most: usize| -> Vec<usize> {
            let found = Candidates::new(&spec, &pairs, most, 1).unwrap();
            assert_eq!(found.first.queries, found.queries.len());
            assert!(found.queries.iter().all(|query| query.found.len() == 16));
            found.queries.iter().map(|query| query.place).collect()
        };
        assert_eq!(places(4), [3, 7, 11, 15]);
        assert_eq!(places(1), [15]);
        assert_eq!(places(16), (0..16).collect::<Vec<_>>());
        assert_eq!(places(usize::MAX), (0..16).collect::<Vec<_>>());
    }
}
