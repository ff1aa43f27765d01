//! The first hits of a query in a better order.

use super::query::{Hit, Query};
use crate::encode::rerank::Passage;
use crate::encode::{LateInteraction, Reranker as _, TokenEmbedding, WordWeights, tokens};
use crate::error::{Error, Result};
use crate::index::z_scores;
use crate::store::records::CollectionRecord;

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
        let (scores, weight) = self.reranker_scores(&hits)?;
        if !(0.0..=1.0).contains(&weight) {
            return Err(Error::parameter("reranker", format!("a weight of {weight}; from 0 to 1")));
        }
        if scores.len() != hits.len() || scores.iter().any(|score| !score.is_finite()) {
            return Err(Error::parameter(
                "reranker",
                format!(
                    "{} scores, not all of them finite, for {} passages",
                    scores.len(),
                    hits.len()
                ),
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

    /// A figure for each hit, and what these figures count.
    fn reranker_scores(&self, hits: &[Hit]) -> Result<(Vec<f32>, f32)> {
        let text = self.text.unwrap_or_default();
        if hits.is_empty() {
            return Ok((Vec::new(), 0.0));
        }
        let record = self.collection.inner.record();
        if let Some(reranker) = self.reranker {
            let passages =
                hits.iter().map(|hit| self.passage(&record, hit)).collect::<Result<Vec<_>>>()?;
            let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
            return Ok((reranker.score(text, &passages)?, reranker.weight()));
        }
        let Some(encoder) = &self.collection.encoder else {
            return Err(Error::NoEncoder {
                collection: self.collection.name(),
                hint: "open the collection with its encoder, or query without re-ranking"
                    .to_owned(),
            });
        };
        let mut passages = Vec::with_capacity(hits.len());
        for hit in hits {
            passages.push(match self.stored_tokens(&record, hit.chunk)? {
                Some(tokens) => Passage::Encoded(tokens),
                None => Passage::Text(self.passage(&record, hit)?),
            });
        }
        let weigh = |query: &str| self.word_weights(query);
        let reranker = LateInteraction::new(encoder.get()?, &weigh);
        Ok((reranker.score_passages(text, passages)?, reranker.weight()))
    }

    /// What was embedded of a hit.
    fn passage(&self, record: &CollectionRecord, hit: &Hit) -> Result<String> {
        let inner = &self.collection.inner;
        match inner.embedded_text(record, hit.chunk) {
            // Removed since it was found.
            Err(Error::Corrupted { .. }) if inner.find(&hit.document)?.is_none() => {
                Ok(hit.text.clone())
            }
            read => read,
        }
    }

    fn stored_tokens(
        &self,
        record: &CollectionRecord,
        chunk: u32,
    ) -> Result<Option<TokenEmbedding>> {
        let Some(bytes) = self.collection.inner.token_bytes(record, chunk)? else {
            return Ok(None);
        };
        let dimensions = record.dimensions as usize;
        tokens::unpooled(&bytes, dimensions).map(Some).ok_or_else(|| {
            Error::corrupted(
                format!("token vectors of chunk {chunk}"),
                format!("{} bytes for rows of {dimensions} dimensions", bytes.len()),
            )
        })
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
