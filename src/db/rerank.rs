//! The first hits of a query in a better order.

use super::query::{Hit, Query};
use crate::encode::{LateInteraction, Reranker, WordWeights};
use crate::error::{Error, Result};
use crate::index::z_scores;

/// Passages that are re-ranked at most: each is encoded for it.
const MOST: usize = 1000;

impl Query<'_> {
    pub(super) fn check_rerank(&self) -> Result<()> {
        let Some(first) = self.rerank else { return Ok(()) };
        if !(1..=MOST).contains(&first) {
            return Err(Error::parameter(
                "rerank",
                format!("{first}; from 1 to {MOST} passages are re-ranked"),
            ));
        }
        if self.text.is_none() {
            return Err(Error::parameter("rerank", "it needs a text, and the query has none"));
        }
        Ok(())
    }

    /// The first `first` of `hits` in a better order, then the rest.
    pub(super) fn reranked(&self, mut hits: Vec<Hit>, first: usize) -> Result<Vec<Hit>> {
        let rest = hits.split_off(first.min(hits.len()));
        let inner = &self.collection.inner;
        let record = inner.record();
        let mut passages = Vec::with_capacity(hits.len());
        for hit in &hits {
            let passage = match inner.embedded_text(&record, hit.chunk) {
                // Removed since it was found.
                Err(Error::Corrupted { .. }) if inner.find(&hit.document)?.is_none() => {
                    hit.text.clone()
                }
                read => read?,
            };
            passages.push(passage);
        }
        let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
        let (scores, weight) = self.reranker_scores(&passages)?;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::parameter("reranker", format!("a weight of {weight}; from 0 to 1")));
        }
        if scores.len() != hits.len() || scores.iter().any(|score| !score.is_finite()) {
            return Err(Error::parameter(
                "reranker",
                format!("{} finite scores for {} passages", scores.len(), hits.len()),
            ));
        }
        let before = z_scores(hits.iter().map(|hit| hit.score).collect());
        let after = z_scores(scores.clone());
        for (((hit, score), before), after) in hits.iter_mut().zip(scores).zip(before).zip(after) {
            hit.score = (1.0 - weight) * before + weight * after;
            hit.explanation.reranker_score = Some(score);
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.chunk.cmp(&b.chunk)));
        hits.extend(rest);
        Ok(hits)
    }

    /// A figure for each passage, and what these figures count.
    fn reranker_scores(&self, passages: &[&str]) -> Result<(Vec<f32>, f32)> {
        let text = self.text.unwrap_or_default();
        if passages.is_empty() {
            return Ok((Vec::new(), 0.0));
        }
        if let Some(reranker) = self.reranker {
            return Ok((reranker.score(text, passages)?, reranker.weight()));
        }
        let Some(encoder) = &self.collection.encoder else {
            return Err(Error::NoEncoder {
                collection: self.collection.name(),
                hint: "open the collection with its encoder, or query without re-ranking"
                    .to_owned(),
            });
        };
        let weigh = |query: &str| self.word_weights(query);
        let reranker = LateInteraction::new(encoder.get()?, &weigh);
        Ok((reranker.score(text, passages)?, reranker.weight()))
    }

    /// By the keyword index: what is rare among the chunks says more.
    #[cfg(feature = "keyword")]
    fn word_weights(&self, query: &str) -> Result<WordWeights> {
        self.collection.inner.keywords()?.word_weights(query)
    }

    #[cfg(not(feature = "keyword"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "stands in for the real one")]
    fn word_weights(&self, _: &str) -> Result<WordWeights> {
        Ok(WordWeights::new())
    }
}
