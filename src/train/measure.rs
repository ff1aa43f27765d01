//! How well an encoder finds the documents of pairs that it was not trained on.

use super::encoder::{Text, TrainableEncoder, row};
use super::product::{Matrix, product};
use super::tensor::told;
use crate::encode::InputKind;
use crate::encode::similarity::dot;
use crate::error::Result;
use crate::pairs::{Pair, Pairs};
use crate::ranking;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Mean figures over the distinct queries of pairs, where each distinct positive is a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DevQuality {
    /// nDCG@10, from 0 to 1.
    pub ndcg_10: f64,
    /// MRR@10, from 0 to 1.
    pub mrr_10: f64,
    /// Spearman's correlation of cosine and score over the pairs, from -1 to 1, where a run is to bring
    /// these together.
    #[serde(default)]
    pub spearman: Option<f64>,
    /// Distinct queries.
    pub queries: usize,
    /// Distinct positives.
    pub documents: usize,
}

impl DevQuality {
    /// The figure by which weights are better than others: Spearman's correlation where there is one, else
    /// nDCG@10.
    #[must_use]
    pub fn figure(&self) -> f64 {
        self.spearman.unwrap_or(self.ndcg_10)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.spearman.is_some() { "Spearman" } else { "nDCG@10" }
    }
}

/// Held-out pairs, ready to be measured again and again.
pub(super) struct Dev {
    queries: Vec<Vec<u32>>,
    documents: Vec<Vec<u32>>,
    /// The documents of each query.
    relevant: Vec<BTreeSet<usize>>,
    /// Places of each pair's query and document, and its score; none where scores are not measured by.
    scored: Vec<(usize, usize, f32)>,
    /// The numbers of these texts.
    pub(super) query_numbers: Vec<u32>,
    pub(super) document_numbers: Vec<u32>,
}

impl Dev {
    pub(super) fn new(encoder: &TrainableEncoder, pairs: &Pairs, window: usize) -> Result<Self> {
        let mut relevant: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut places: BTreeMap<u32, usize> = BTreeMap::new();
        for pair in &pairs.pairs {
            relevant.entry(pair.query).or_default().insert(pair.positive);
            let next = places.len();
            places.entry(pair.positive).or_insert(next);
        }
        let ids = |text: &str, kind| encoder.tokens(text, kind, window).map(|t| t.ids);
        let mut ordered: Vec<(usize, u32)> = places.iter().map(|(n, place)| (*place, *n)).collect();
        ordered.sort_unstable();
        let document_numbers: Vec<u32> = ordered.into_iter().map(|(_, n)| n).collect();
        let documents = document_numbers
            .iter()
            .map(|n| ids(pairs.documents.text(*n), InputKind::Document))
            .collect::<Result<_>>()?;
        let query_numbers: Vec<u32> = relevant.keys().copied().collect();
        let queries = query_numbers
            .iter()
            .map(|n| ids(pairs.queries.text(*n), InputKind::Query))
            .collect::<Result<_>>()?;
        let relevant = relevant
            .values()
            .map(|own| own.iter().filter_map(|n| places.get(n).copied()).collect())
            .collect();
        let scored = Vec::new();
        Ok(Self { queries, documents, relevant, scored, query_numbers, document_numbers })
    }

    /// Measures by the scores of `pairs`, of which this was made, where each has one.
    pub(super) fn by_score(mut self, pairs: &Pairs) -> Self {
        if pairs.pairs.iter().any(|pair| pair.score.is_nan()) {
            return self;
        }
        let place = |all: &[u32], number| all.iter().position(|n| *n == number);
        let of = |pair: &Pair| {
            let query = place(&self.query_numbers, pair.query)?;
            Some((query, place(&self.document_numbers, pair.positive)?, pair.score))
        };
        self.scored = pairs.pairs.iter().filter_map(of).collect();
        self
    }

    /// nDCG@10 and MRR@10 of the encoder as it is, and Spearman's correlation where that is measured.
    pub(super) fn measure(&self, encoder: &TrainableEncoder, threads: usize) -> Result<DevQuality> {
        let (queries, documents) = self.vectors(encoder, threads)?;
        let ranked = self.ranked_by(&queries, &documents, encoder.config.hidden_size, CUT)?;
        let mut quality = self.figures(ranked.iter().map(Vec::as_slice).enumerate());
        if !self.scored.is_empty() {
            let width = encoder.config.hidden_size;
            let cosine = |(query, document, _): &(usize, usize, f32)| {
                let rows = row(&queries, *query, width).zip(row(&documents, *document, width));
                rows.map_or(0.0, |(a, b)| dot(a, b))
            };
            let cosines: Vec<f32> = self.scored.iter().map(cosine).collect();
            let scores: Vec<f32> = self.scored.iter().map(|(.., score)| *score).collect();
            quality.spearman = Some(ranking::spearman(&cosines, &scores));
        }
        Ok(quality)
    }

    /// nDCG@10 and MRR@10 of some queries, by their places, where their documents come in this order, by
    /// theirs.
    pub(super) fn figures<'r>(
        &self,
        ranked: impl Iterator<Item = (usize, &'r [usize])>,
    ) -> DevQuality {
        let mut quality = DevQuality { documents: self.documents.len(), ..DevQuality::default() };
        for (query, order) in ranked {
            let Some(relevant) = self.relevant.get(query) else { continue };
            let grade = |i: &usize| u32::from(relevant.contains(i));
            let (ndcg, mrr) = ranking::figures(order.iter().map(grade), relevant.iter().map(|_| 1));
            quality.ndcg_10 += ndcg;
            quality.mrr_10 += mrr;
            quality.queries += 1;
        }
        let n = quality.queries.max(1) as f64;
        quality.ndcg_10 /= n;
        quality.mrr_10 /= n;
        quality
    }

    /// The places of each query's `depth` nearest documents, the nearest first.
    pub(super) fn ranked(
        &self,
        encoder: &TrainableEncoder,
        threads: usize,
        depth: usize,
    ) -> Result<Vec<Vec<usize>>> {
        let (queries, documents) = self.vectors(encoder, threads)?;
        self.ranked_by(&queries, &documents, encoder.config.hidden_size, depth)
    }

    /// The vectors of all queries and of all documents.
    fn vectors(&self, encoder: &TrainableEncoder, threads: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let flat = |texts: &[Vec<u32>]| -> Result<Vec<f32>> {
            let texts: Vec<Text<'_>> = texts.iter().map(|ids| Text::one(ids)).collect();
            Ok(encoder.vectors(&texts, threads)?.concat())
        };
        Ok((flat(&self.queries)?, flat(&self.documents)?))
    }

    fn ranked_by(
        &self,
        queries: &[f32],
        documents: &[f32],
        width: usize,
        depth: usize,
    ) -> Result<Vec<Vec<usize>>> {
        let documents = Matrix::new(documents, self.documents.len(), width, width);
        let mut scores = vec![0f32; self.documents.len()];
        let mut ranked = Vec::with_capacity(self.queries.len());
        for query in queries.chunks_exact(width) {
            let query = Matrix::new(query, 1, width, width);
            told(product(
                &mut scores,
                self.documents.len(),
                false,
                1.0,
                query,
                documents.turned(),
            ))?;
            ranked.push(best(&scores, depth));
        }
        Ok(ranked)
    }
}

/// Documents that count for the figures.
const CUT: usize = 10;

/// The places of the `depth` highest scores, the highest first; equal ones go by place.
pub(super) fn best(scores: &[f32], depth: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |i: usize| scores.get(i).copied().unwrap_or(f32::NEG_INFINITY);
    let first = |a: &usize, b: &usize| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
    if order.len() > depth && depth > 0 {
        order.select_nth_unstable_by(depth - 1, first);
        order.truncate(depth);
    }
    order.sort_unstable_by(first);
    order
}
