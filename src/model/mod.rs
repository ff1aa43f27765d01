//! Models: where they come from, how they become graphs, and the runtime that runs them.

mod add;
mod bytes;
pub(crate) mod calibrate;
pub(crate) mod decoder_graph;
mod device;
mod fetch;
#[cfg(all(any(test, fuzzing), feature = "cli"))]
pub(crate) mod fuzzing;
pub(crate) mod gguf;
pub(crate) mod graph;
mod half;
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
#[doc(hidden)]
pub use import::weight_sums;
pub use manifest::{EncoderSection, FileEntry, Manifest, ModelKind, RerankerSection, Source};
pub use open::Models;
pub use registry::{DEFAULT_DECODER, DEFAULT_ENCODER, Registry};
pub use runtime::Runtime;
