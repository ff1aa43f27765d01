//! Models: where they come from, how they become graphs, and the runtime that runs them.

mod calibrate;
mod device;
mod fetch;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzzing;
pub(crate) mod graph;
mod home;
pub(crate) mod import;
mod manifest;
pub(crate) mod onnx;
mod open;
pub(crate) mod quantize;
mod registry;
pub(crate) mod runtime;

pub use device::{Device, Precision};
pub use fetch::{FetchEvent, FetchOptions, Fetched, fetch};
pub use home::Home;
pub use manifest::{EncoderSection, FileEntry, Manifest, ModelKind, Source};
pub use open::Models;
pub use registry::{DEFAULT_ENCODER, Registry};
pub use runtime::Runtime;
