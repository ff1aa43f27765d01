//! From text to embeddings: the seam that every encoder stands behind.

#[cfg(feature = "models")]
mod batch;
#[cfg(feature = "models")]
mod cross_encoder;
#[cfg(feature = "models")]
mod export;
mod handle;
#[cfg(feature = "models")]
mod onnx;
#[cfg(feature = "models")]
mod pooling;
pub(crate) mod rerank;
#[cfg(feature = "models")]
mod sessions;
pub(crate) mod similarity;
pub(crate) mod tokens;

#[cfg(feature = "models")]
pub use cross_encoder::{CrossEncoder, CrossEncoderSpec};
#[cfg(feature = "train")]
pub(crate) use cross_encoder::{LEAST_WINDOW, check_pairs};
pub use handle::EncoderHandle;
#[cfg(feature = "models")]
pub use onnx::{EncoderOptions, EncoderSpec, OnnxEncoder};
#[cfg(feature = "models")]
pub use pooling::Pooling;
pub use rerank::{LateInteraction, Reranker, WordWeights};

use crate::error::Result;
use crate::text::tokenizer::TokenSpans;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a text is for; some encoders put a different prefix in front of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// A question or search text.
    Query,
    /// A passage to be found.
    Document,
}

/// One text's vector, and how much of the text did not fit the encoder's window.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Unit length, [`Encoder::dimensions`] elements.
    pub vector: Vec<f32>,
    /// Tokens beyond the window, which the vector knows nothing of. Zero unless the caller passed
    /// a text longer than [`Encoder::window`].
    pub truncated_tokens: usize,
}

/// One text's vector, and those of its tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEmbedding {
    /// As [`Encoder::encode`] gives it.
    pub embedding: Embedding,
    /// Rows of [`Encoder::dimensions`] elements, each of unit length: one a token that the window
    /// holds, special tokens and prefix left out. Empty where the encoder gives no such vectors.
    pub vectors: Vec<f32>,
    /// The bytes of the text that each row stands for.
    pub spans: Vec<Range<usize>>,
}

/// Everything that decides an encoder's vectors. Stored with a collection; two encoders with the
/// same fingerprint give the same vectors, up to the rounding of the processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The model's name, for people.
    pub model: String,
    /// sha256 of the weights.
    pub weights: String,
    /// sha256 of the tokenizer.
    pub tokenizer: String,
    /// Pooling of token vectors: `mean` or `cls`.
    pub pooling: String,
    /// Put in front of every query.
    pub query_prefix: String,
    /// Put in front of every document.
    pub document_prefix: String,
    /// Tokens of one input, special tokens included.
    pub window: usize,
    /// `fp32` or `int8`, and the version of the importer that made the graph.
    pub precision: String,
    /// Elements of a vector.
    pub dimensions: usize,
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = self.weights.get(..8).unwrap_or(&self.weights);
        write!(f, "{} ({}, window {}, weights {short})", self.model, self.precision, self.window)
    }
}

/// Turns texts into vectors. Shared by threads.
pub trait Encoder: Send + Sync {
    /// Elements of every vector.
    fn dimensions(&self) -> usize;

    /// Tokens of one input, special tokens and prefix included.
    fn window(&self) -> usize;

    /// What decides the vectors.
    fn fingerprint(&self) -> &Fingerprint;

    /// How this encoder counts tokens.
    fn tokens(&self) -> &dyn TokenSpans;

    /// Tokens that every document costs beside its own text: special tokens and prefix.
    fn overhead(&self) -> usize;

    /// What it really runs on, for diagnosis. Default: `unknown`.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn provider(&self) -> Result<String> {
        Ok("unknown".to_owned())
    }

    /// One embedding per text, in the order of the texts. A text's vector does not depend on the
    /// other texts.
    ///
    /// # Errors
    /// Where the model fails.
    fn encode(&self, texts: &[&str], kind: InputKind) -> Result<Vec<Embedding>>;

    /// The same with the vectors of each text's tokens, by which texts are compared word for word
    /// (late interaction, Khattab and Zaharia 2020): for the few texts of one question, since tokens
    /// take a hundred times the room. Default: no vectors of tokens.
    ///
    /// # Errors
    /// Where the model fails.
    fn encode_tokens(&self, texts: &[(&str, InputKind)]) -> Result<Vec<TokenEmbedding>> {
        let one = |(text, kind): &(&str, InputKind)| {
            let embedded = self.encode(&[*text], *kind)?.into_iter().next();
            let embedding = embedded.ok_or_else(|| crate::Error::Model {
                name: self.fingerprint().model.clone(),
                reason: "it returned no vector for a text".to_owned(),
            })?;
            Ok(TokenEmbedding { embedding, vectors: Vec::new(), spans: Vec::new() })
        };
        texts.iter().map(one).collect()
    }
}
