//! Pairs to train on, made of a collection: `vdb train contrastive --from-collection`

use super::super::options::Global;
use super::super::output::{Out, count};
use super::super::progress::Progress;
use crate::db::{CollectionOptions, Database, PairKind, PairOptions, PairReport};
use crate::error::{Error, Result};
use crate::model::DEFAULT_DECODER;
use crate::rag::{QuestionOptions, QuestionReport, write_questions};
use crate::train::{read_record, write_record};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const TRAIN: &str = "pairs-train.jsonl.gz";
const DEV: &str = "pairs-dev.jsonl.gz";
/// What they were made of and how; written last.
const RECORD: &str = "pairs.json";

#[derive(Debug, Args)]
#[command(next_help_heading = "Pairs from a collection")]
pub(super) struct FromCollection {
    /// Make the pairs of this collection's documents, in place of PAIRS and --dev, and keep them in
    /// the output folder. Without --model, the collection's encoder is trained
    #[arg(long, value_name = "NAME", conflicts_with = "train")]
    pub(super) from_collection: Option<String>,
    /// What they are made of: title, heading, sentence, neighbour
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        default_value = "title,heading,sentence",
        requires = "from_collection"
    )]
    pair_kinds: Vec<PairKind>,
    /// Pairs of one document at most
    #[arg(long, default_value_t = 16, value_name = "N", requires = "from_collection")]
    pairs_per_document: usize,
    /// Pairs in all at most
    #[arg(long, default_value_t = 20_000, value_name = "N", requires = "from_collection")]
    max_pairs: usize,
    /// Share of the documents whose pairs are kept to measure by
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", requires = "from_collection")]
    dev_share: f64,
    /// Let a decoder write a question for each of N passages, and keep those that find their passage
    /// again among the first ten hits
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "500",
        requires = "from_collection"
    )]
    questions: Option<usize>,
    /// The decoder: a name from `vdb models list`, a GGUF file or a folder
    #[arg(long, value_name = "NAME|FILE|DIR", default_value = DEFAULT_DECODER, requires = "questions")]
    decoder: String,
}

/// What a run of `vdb train contrastive` starts with.
pub(super) struct Prepared {
    pub(super) train: PathBuf,
    pub(super) dev: Option<PathBuf>,
    /// The encoder of the collection.
    pub(super) model: Option<String>,
}

/// What was made before.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Collection and options, in words.
    made: String,
    /// Whether there are pairs to measure by.
    dev: bool,
    model: Option<String>,
}

impl FromCollection {
    fn options(&self, seed: u64) -> PairOptions {
        let mut options = PairOptions::default();
        options.kinds.clone_from(&self.pair_kinds);
        options.per_document = self.pairs_per_document;
        options.most = self.max_pairs;
        options.dev_share = self.dev_share;
        options.seed = seed;
        options
    }

    /// The pairs of the collection `name`, made now, or by the run that is resumed.
    pub(super) fn prepare(
        &self,
        global: &Global,
        name: &str,
        (output, resume, seed): (&Path, bool, u64),
        (stop, progress, out): (&AtomicBool, &Progress, Out),
    ) -> Result<Prepared> {
        let options = self.options(seed);
        let record = output.join(RECORD);
        let writer = self.questions.map(|n| format!("{n} questions by {}", self.decoder));
        let made = format!("{name:?} {options:?} {}", writer.unwrap_or_default());
        let refuse = |reason: &str| {
            Err(Error::parameter("output", format!("{} holds {reason}", output.display())))
        };
        if let Some(earlier) = read_record::<Record>(&record)? {
            if !resume {
                return refuse("the pairs of a run; add --resume to go on, or name another folder");
            }
            if earlier.made != made {
                return refuse(
                    "pairs of another collection or made in another way; name those again, or \
                     another folder",
                );
            }
            return Ok(earlier.prepared(output));
        }
        if output.join("model.safetensors").exists() {
            return refuse("a model already; name another folder");
        }
        let database = Database::open_to_look(&global.db)?;
        let stored = database.collections()?.into_iter().find(|c| c.name == name);
        let fingerprint = stored.and_then(|stored| stored.fingerprint);
        let encoder = match (&fingerprint, self.questions) {
            // Only questions are searched for.
            (Some(fingerprint), Some(_)) => {
                CollectionOptions::encoder(global.models()?.encoder_of(fingerprint)?)
            }
            _ => CollectionOptions::default(),
        };
        let model = fingerprint.map(|fingerprint| fingerprint.model);
        let collection = database.existing_collection(name, &encoder)?;
        let go_on = || {
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let mut pairs = collection.training_pairs(&options, &mut |documents| {
            progress.say(format!("{documents} documents are read"));
            go_on()
        })?;
        if let Some(passages) = self.questions {
            let decoder = global.models()?.decoder(&self.decoder)?;
            let questions = QuestionOptions { passages, ..QuestionOptions::default() };
            let written = write_questions(
                &collection,
                &decoder,
                &options,
                &questions,
                &mut pairs,
                &mut |report| {
                    let QuestionReport { passages, of, kept, .. } = report;
                    progress.say(format!("questions for {passages} of {of} passages, {kept} kept"));
                    go_on()
                },
            )?;
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let QuestionReport { passages, kept, lost, unfit, .. } = written;
            progress.above(|| {
                out.note(&format!(
                    "questions for {}: {kept} kept, {lost} did not find their passage again, {unfit} \
                     were no new question",
                    count(passages, "passage")
                ));
            });
        }
        progress.above(|| tell(name, &pairs.report, out));
        fs::create_dir_all(output).map_err(Error::io("create", output))?;
        pairs.train.write(&output.join(TRAIN))?;
        if !pairs.dev.is_empty() {
            pairs.dev.write(&output.join(DEV))?;
        }
        let written = Record { made, dev: !pairs.dev.is_empty(), model };
        write_record(&record, &written)?;
        Ok(written.prepared(output))
    }
}

fn tell(name: &str, report: &PairReport, out: Out) {
    let kinds = |all: &BTreeMap<PairKind, usize>| {
        let sum: usize = all.values().sum();
        let each: Vec<String> = all.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        if each.is_empty() { "0".to_owned() } else { format!("{sum} ({})", each.join(", ")) }
    };
    out.note(&format!(
        "pairs of {name}: {} to learn from, {} to measure by, of {} ({} to measure by)",
        kinds(&report.train),
        kinds(&report.dev),
        count(report.documents, "document"),
        report.dev_documents
    ));
    let left: Vec<String> = [
        (report.short, "too short"),
        (report.ambiguous, "of a query that several documents have"),
        (report.overlap, "to measure by with a text that is learnt from"),
        (report.beyond, "beyond what one document may give"),
    ]
    .iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, why)| format!("{n} {why}"))
    .collect();
    if !left.is_empty() {
        out.note(&format!("left out: {}", left.join(", ")));
    }
}

impl Record {
    fn prepared(self, output: &Path) -> Prepared {
        let dev = self.dev.then(|| output.join(DEV));
        Prepared { train: output.join(TRAIN), dev, model: self.model }
    }
}
