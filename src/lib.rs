//! **vdb**: an embedded vector database with the models built in.

pub mod encode;
pub mod error;
pub mod index;
#[cfg(feature = "models")]
pub mod model;
pub mod store;
pub mod text;
pub mod vector;

pub use error::{Error, Result};
pub use index::{Filter, Fusion, filter};
pub use text::{Document, Metadata, Value};
