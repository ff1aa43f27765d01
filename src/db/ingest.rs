//! Many documents: read and cut on one thread, embed on another, commit on a third.

use super::collection::{Collection, Inner};
use super::write::{Committed, Pending, Prepared};
use crate::error::{Error, Result};
use crate::text::Document;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

/// Chunks of one commit: enough to sort by length and to make the sync cheap, few enough to be
/// durable within seconds.
const BATCH_CHUNKS: usize = 256;
/// Documents of one commit, where they have few or no chunks.
const BATCH_DOCUMENTS: usize = 1000;
/// A slow source (a pipe) is committed at least this often.
const BATCH_AGE: Duration = Duration::from_secs(2);
/// Prepared documents that may wait for the encoder.
const QUEUE: usize = 64;

/// What [`Collection::ingest`] tells as it goes.
#[derive(Debug)]
#[non_exhaustive]
pub enum IngestEvent<'a> {
    /// A document was read.
    Read {
        /// Its id.
        id: &'a str,
    },
    /// A file was left out, and nothing is wrong with that: binary, empty.
    Skipped {
        /// The file.
        origin: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A file was read, with a reservation.
    Warning {
        /// The file.
        origin: &'a str,
        /// What to know about it.
        message: &'a str,
    },
    /// An input failed; the rest goes on.
    Failed {
        /// What is wrong with it.
        error: &'a Error,
    },
    /// Documents became durable and searchable.
    Committed {
        /// The commit.
        generation: u64,
        /// Documents that this run has made durable so far.
        documents: usize,
        /// Chunks of these documents.
        chunks: usize,
    },
}

/// What an ingest did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IngestReport {
    /// Documents that were new.
    pub added: usize,
    /// Documents whose content had changed.
    pub replaced: usize,
    /// Documents that were stored already, word for word.
    pub unchanged: usize,
    /// Documents that were removed, by pruning.
    pub removed: usize,
    /// Inputs that failed.
    pub failed: usize,
    /// Chunks of the added and replaced documents.
    pub chunks: usize,
    /// Texts that were embedded; a text that occurs twice is embedded once.
    pub embedded: usize,
    /// The caller stopped it; what is counted is durable.
    pub stopped: bool,
}

impl IngestReport {
    pub(super) fn count(&mut self, done: &Committed) {
        self.added += done.added;
        self.replaced += done.replaced;
        self.removed += done.removed;
        self.chunks += done.chunks;
    }
}

/// One batch on its way from the encoder to the store.
type Batch = Vec<Pending>;

/// What the reading thread hands on.
enum Step {
    Changed(Box<Pending>),
    Unchanged,
    Failed,
    /// Nothing more can be stored: no encoder, a damaged database.
    Fatal(Error),
}

impl Collection {
    /// Adds a stream of documents, committing every few hundred chunks. An `Err` item, and a
    /// document that cannot be stored, is reported as [`IngestEvent::Failed`] and left out; the
    /// rest goes on. Where `stop` becomes true, reading ends, the commit under way is finished, and
    /// the report says what is in.
    ///
    /// `on_event` is called from several threads.
    ///
    /// # Errors
    /// What ends the whole run: the encoder or the store fails. What was committed stays.
    pub fn ingest<I>(
        &self,
        documents: I,
        on_event: &(dyn Fn(IngestEvent<'_>) + Sync),
        stop: &AtomicBool,
    ) -> Result<IngestReport>
    where
        I: Iterator<Item = Result<Document>> + Send,
    {
        self.ingest_seen(documents, on_event, stop).map(|(report, _)| report)
    }

    /// [`Collection::ingest`], which also returns the ids that were read.
    pub(super) fn ingest_seen<I>(
        &self,
        documents: I,
        on_event: &(dyn Fn(IngestEvent<'_>) + Sync),
        stop: &AtomicBool,
    ) -> Result<(IngestReport, HashSet<String>)>
    where
        I: Iterator<Item = Result<Document>> + Send,
    {
        // Opened before the threads start, so that an index that must be brought up to date does
        // so once and in peace.
        self.inner.vectors()?;
        #[cfg(feature = "keyword")]
        self.inner.keywords()?;
        let (prepared, incoming) = mpsc::sync_channel(QUEUE);
        let (embedded, outgoing) = mpsc::sync_channel(1);
        let failed = AtomicBool::new(false);
        let halt = || stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed);
        let (mut report, seen) = std::thread::scope(|scope| {
            let send = prepared_to(prepared);
            let reader = scope.spawn(|| {
                // Moved in, so that the channel closes when reading ends.
                let send = send;
                self.read(documents, &send, on_event, &halt)
            });
            let committer = scope.spawn(|| {
                let done = commit_all(&self.inner, &outgoing, on_event);
                if done.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                // Unblocks an encoder that waits to hand over its batch.
                drop(outgoing);
                done
            });
            let encoded = self.encode_all(&incoming, &embedded, &halt);
            // Closed, so that the other two threads end, whatever became of this one.
            drop((incoming, embedded));
            if encoded.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            let committed = join(committer)?;
            let seen = join(reader);
            // A failed commit is the cause of whatever failed after it.
            let committed = committed?;
            let mut report = encoded?;
            report.count(&committed);
            Ok::<_, Error>((report, seen?))
        })?;
        report.stopped = stop.load(Ordering::Relaxed);
        self.inner.save_indexes()?;
        Ok((report, seen))
    }

    fn read(
        &self,
        documents: impl Iterator<Item = Result<Document>>,
        send: &dyn Fn(Step) -> bool,
        on_event: &(dyn Fn(IngestEvent<'_>) + Sync),
        halt: &dyn Fn() -> bool,
    ) -> HashSet<String> {
        let mut seen = HashSet::new();
        for document in documents {
            if halt() {
                break;
            }
            let prepared = document.and_then(|document| {
                on_event(IngestEvent::Read { id: &document.id });
                seen.insert(document.id.clone());
                self.prepare(document)
            });
            let step = match prepared {
                Ok(Prepared::Changed(pending)) => Step::Changed(pending),
                Ok(Prepared::Unchanged) => Step::Unchanged,
                Err(error) if self.is_fatal(&error) => Step::Fatal(error),
                Err(error) => {
                    on_event(IngestEvent::Failed { error: &error });
                    Step::Failed
                }
            };
            let fatal = matches!(step, Step::Fatal(_));
            if !send(step) || fatal {
                break;
            }
        }
        seen
    }

    /// Whether nothing more can be stored, whatever comes next. A model that loads and fails on
    /// one text is that document's matter.
    fn is_fatal(&self, error: &Error) -> bool {
        match error {
            Error::NoEncoder { .. }
            | Error::Corrupted { .. }
            | Error::NotSetUp { .. }
            | Error::Offline { .. }
            | Error::Device { .. } => true,
            Error::Model { .. } => self.encoder.as_ref().is_some_and(|e| e.get().is_err()),
            _ => false,
        }
    }

    fn encode_all(
        &self,
        incoming: &Receiver<Step>,
        outgoing: &SyncSender<Batch>,
        halt: &dyn Fn() -> bool,
    ) -> Result<IngestReport> {
        let mut report = IngestReport::default();
        let mut open = true;
        while open && !halt() {
            let mut batch = Vec::new();
            open = gather(incoming, &mut batch, &mut report)?;
            if batch.is_empty() || halt() {
                continue;
            }
            report.embedded += self.embed(&mut batch)?;
            if outgoing.send(batch).is_err() {
                // The committer has failed and says why.
                break;
            }
        }
        Ok(report)
    }
}

fn prepared_to(channel: SyncSender<Step>) -> impl Fn(Step) -> bool {
    move |step| channel.send(step).is_ok()
}

/// Fills `batch` until it is full or old; false where the input has ended.
fn gather(incoming: &Receiver<Step>, batch: &mut Batch, report: &mut IngestReport) -> Result<bool> {
    let mut chunks = 0;
    let deadline = Instant::now() + BATCH_AGE;
    while chunks < BATCH_CHUNKS && batch.len() < BATCH_DOCUMENTS {
        let left = deadline.saturating_duration_since(Instant::now());
        match incoming.recv_timeout(left) {
            Ok(Step::Changed(pending)) => {
                chunks += pending.chunk_count();
                batch.push(*pending);
            }
            Ok(Step::Unchanged) => report.unchanged += 1,
            Ok(Step::Failed) => report.failed += 1,
            Ok(Step::Fatal(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout) => return Ok(true),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
        }
    }
    Ok(true)
}

fn commit_all(
    inner: &Inner,
    outgoing: &Receiver<Batch>,
    on_event: &(dyn Fn(IngestEvent<'_>) + Sync),
) -> Result<Committed> {
    let mut total = Committed::default();
    while let Ok(batch) = outgoing.recv() {
        let done = inner.commit(batch, &[])?;
        total.generation = done.generation;
        total.added += done.added;
        total.replaced += done.replaced;
        total.chunks += done.chunks;
        on_event(IngestEvent::Committed {
            generation: done.generation,
            documents: total.added + total.replaced,
            chunks: total.chunks,
        });
    }
    Ok(total)
}

fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    thread.join().map_err(|_| {
        Error::corrupted(
            "the ingest",
            "one of its threads ended by a defect in vdb; please report it",
        )
    })
}
