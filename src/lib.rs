//! **vdb**: an embedded vector database with the models built in.
//!
//! A [`Database`] is a folder; a [`Collection`] in it holds [`Document`]s, cut into chunks that are
//! found by meaning, by keyword or by both. What `add` has returned from is durable and found at
//! once. Vectors come from an encoder (feature `models`, [`CollectionOptions::encoder`]) or from the
//! caller:
//!
//! ```
//! use vdb::{CollectionOptions, Database, Document, Filter};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("places.vdb");
//! let database = Database::open(path)?;
//! let places = database.collection("places", &CollectionOptions::dimensions(2))?;
//! places.add([
//!     Document::new("harbour", "where ships rest").vector([0.9, 0.1]).field("open", true),
//!     Document::new("summit", "where eagles rest").vector([0.1, 0.9]).field("open", false),
//! ])?;
//!
//! let hits = places.query_vector(&[1.0, 0.2]).top_k(1).run()?;
//! assert_eq!(hits[0].document, "harbour");
//!
//! let closed = Filter::parse("open = false")?;
//! let hits = places.query_vector(&[1.0, 0.2]).filter(closed).run()?;
//! assert_eq!(hits[0].document, "summit");
//! # Ok::<(), vdb::Error>(())
//! ```
//!
//! Features: `keyword` (BM25 and hybrid search), `files` (parsers and folder walk), `models` (ONNX
//! Runtime encoders), `train` (fine-tuning of encoders), `sandbox` (Python programs
//! that a model wrote), `cli` (the binary; the default, and all of
//! these); `arrow` beside them (export and import of Arrow files). Without any, the crate is store
//! and vector index.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod db;
pub mod encode;
pub mod error;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "models")]
pub mod generate;
mod hash;
#[cfg(feature = "models")]
mod http;
mod index;
mod mapped;
#[cfg(feature = "models")]
pub mod model;
#[cfg(feature = "files")]
pub mod pairs;
mod panics;
#[cfg(feature = "models")]
pub mod prompting;
#[cfg(all(feature = "models", feature = "keyword"))]
pub mod rag;
mod random;
mod ranking;
#[cfg(feature = "sandbox")]
pub mod sandbox;
mod store;
pub mod text;
mod threads;
#[cfg(feature = "models")]
pub mod tokenize;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "files")]
mod unpack;
pub mod vector;

pub use db::{Collection, CollectionOptions, Database, Hit, Mode, Query};
pub use error::{Error, Result};
pub use index::{Filter, Fusion, filter};
pub use text::{Document, Metadata, Value};
pub use vector::{Memory, Metric};
