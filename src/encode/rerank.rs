//! Re-ranking: a second, closer look at the passages that a search has found.

use super::similarity::{best_matches, max_sim};
use super::{Encoder, InputKind, TokenEmbedding};
use crate::error::{Error, Result};
use std::fmt;
use std::ops::Range;

/// Says how well each of a few passages answers a query.
pub trait Reranker: Send + Sync + fmt::Debug {
    /// One figure a passage, in their order; higher is better. Figures of one query are compared with
    /// each other and with nothing else.
    ///
    /// # Errors
    /// Where the model fails.
    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>>;

    /// What its figures count beside the first search's scores, from 0 to 1, when both are z-scores.
    /// Default: 0.35, that of late interaction.
    fn weight(&self) -> f32 {
        LATE_INTERACTION_WEIGHT
    }
}

/// What late interaction counts beside the first search: the middle of what was better on each of three
/// collections (docs/benchmarks.md). Alone, without the mix, it is worse than the first search.
const LATE_INTERACTION_WEIGHT: f32 = 0.35;

/// What a token counts whose word has no weight: as much as a word that an eighth of the passages have.
/// Function words say little themselves, but their vectors know what stands around them; counted less,
/// or not at all, they take more from retrieval than they give (docs/benchmarks.md).
const OTHER: f32 = 2.0;

/// Words of a query by their bytes, and how much each of them counts.
pub type WordWeights = Vec<(Range<usize>, f32)>;

/// Late interaction (Khattab and Zaharia 2020) over an encoder's own token vectors: for each token of
/// the query its cosine with the passage's token that is most like it, and of these the mean, each
/// weighed by the word that the token is a part of. Special tokens are left out on both sides.
pub struct LateInteraction<'a> {
    encoder: &'a dyn Encoder,
    weigh: &'a (dyn Fn(&str) -> Result<WordWeights> + Send + Sync),
}

impl<'a> LateInteraction<'a> {
    /// By the token vectors of `encoder`. `weigh` says how much the words of a query count, as
    /// inverse document frequencies; what it leaves out counts 2.
    #[must_use]
    pub fn new(
        encoder: &'a dyn Encoder,
        weigh: &'a (dyn Fn(&str) -> Result<WordWeights> + Send + Sync),
    ) -> Self {
        Self { encoder, weigh }
    }
}

/// A passage as late interaction takes it.
pub(crate) enum Passage {
    /// To be encoded.
    Text(String),
    /// With its token vectors.
    Encoded(TokenEmbedding),
}

impl Reranker for LateInteraction<'_> {
    fn score(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>> {
        let passages = passages.iter().map(|passage| Passage::Text((*passage).to_owned()));
        self.score_passages(query, passages.collect())
    }
}

impl LateInteraction<'_> {
    /// [`Reranker::score`] of passages some of which are encoded already.
    ///
    /// # Errors
    /// Where the model fails.
    pub(crate) fn score_passages(&self, query: &str, passages: Vec<Passage>) -> Result<Vec<f32>> {
        let mut texts = vec![(query, InputKind::Query)];
        texts.extend(passages.iter().filter_map(|passage| match passage {
            Passage::Text(text) => Some((text.as_str(), InputKind::Document)),
            Passage::Encoded(_) => None,
        }));
        let mut embedded = self.encoder.encode_tokens(&texts)?.into_iter();
        let refused = |reason: &str| Error::Model {
            name: self.encoder.fingerprint().model.clone(),
            reason: reason.to_owned(),
        };
        let Some(query_tokens) = embedded.next() else {
            return Err(refused("it returned no vector for the query"));
        };
        let words = (self.weigh)(query)?;
        let weights: Vec<f32> =
            query_tokens.spans.iter().map(|span| weight(span, &words)).collect();
        let mut scores = Vec::with_capacity(passages.len());
        let mut any = false;
        for passage in passages {
            let encoded = match passage {
                Passage::Encoded(encoded) => Some(encoded),
                Passage::Text(_) => embedded.next(),
            };
            let Some(passage) = encoded else {
                return Err(refused("it returned fewer vectors than there were texts"));
            };
            let score = max_sim(&best_matches(&query_tokens, &passage), &weights);
            any |= score.is_some();
            scores.push(score.unwrap_or(0.0));
        }
        if !any && !scores.is_empty() {
            return Err(refused(
                "it gives no vectors of tokens, which late interaction needs; query without \
                 re-ranking",
            ));
        }
        Ok(scores)
    }
}

/// What a token counts: as much as the word that it is a part of.
fn weight(token: &Range<usize>, words: &WordWeights) -> f32 {
    let within = |word: &&(Range<usize>, f32)| token.start < word.0.end && word.0.start < token.end;
    words.iter().find(within).map_or(OTHER, |(_, weight)| *weight)
}

impl fmt::Debug for LateInteraction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateInteraction")
            .field("encoder", self.encoder.fingerprint())
            .finish_non_exhaustive()
    }
}
