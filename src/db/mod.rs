//! The database: collections of documents that are found by meaning and by keyword.

mod batch;
mod catalogue;
mod collection;
mod database;
mod evaluate;
#[cfg(feature = "files")]
mod files;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzzing;
mod index_stats;
mod ingest;
mod nearest;
mod options;
mod paging;
#[cfg(feature = "files")]
mod pairs;
mod query;
mod read;
mod reembed;
mod rerank;
mod similar;
mod transfer;
mod verify;
mod whole;
mod write;

pub use collection::{Collection, Stats};
pub use database::{CollectionInfo, Database};
pub use evaluate::{Benchmark, Comparison, Quality, Ranker, Reranking, Run, Verdict, evaluate};
#[cfg(feature = "files")]
pub use files::{FileOptions, document_id};
pub use index_stats::IndexStats;
pub use ingest::{IngestEvent, IngestReport};
pub use options::CollectionOptions;
#[cfg(all(feature = "files", feature = "models", feature = "keyword"))]
pub(crate) use pairs::fold;
#[cfg(feature = "files")]
pub use pairs::{PairKind, PairOptions, PairReport, TrainingPairs};
pub use query::{Explanation, Hit, Mode, Query};
pub use read::{DocumentInfo, StoredChunk, StoredDocument};
pub use reembed::{ReembedEvent, ReembedPlan, ReembedReport};
#[cfg(feature = "arrow")]
pub use transfer::ARROW_MAGIC;
pub use transfer::Repaired;
