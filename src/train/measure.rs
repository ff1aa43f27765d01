//! How well an encoder finds the documents of pairs that it was not trained on.

use super::data::Pairs;
use super::encoder::TrainableEncoder;
use super::product::{Matrix, product};
use super::tensor::told;
use crate::encode::InputKind;
use crate::error::Result;
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
    /// Distinct queries.
    pub queries: usize,
    /// Distinct positives.
    pub documents: usize,
}

/// Held-out pairs, ready to be measured again and again.
pub(super) struct Dev {
    queries: Vec<Vec<u32>>,
    documents: Vec<Vec<u32>>,
    /// The documents of each query.
    relevant: Vec<BTreeSet<usize>>,
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
        let ids = |text: Option<&String>, kind| {
            encoder.tokens(text.map_or("", String::as_str), kind, window).map(|t| t.ids)
        };
        let at = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let mut ordered: Vec<(usize, u32)> = places.iter().map(|(n, place)| (*place, *n)).collect();
        ordered.sort_unstable();
        let documents = ordered
            .iter()
            .map(|(_, n)| ids(pairs.documents.all.get(at(*n)), InputKind::Document))
            .collect::<Result<_>>()?;
        let queries = relevant
            .keys()
            .map(|n| ids(pairs.queries.all.get(at(*n)), InputKind::Query))
            .collect::<Result<_>>()?;
        let relevant = relevant
            .values()
            .map(|own| own.iter().filter_map(|n| places.get(n).copied()).collect())
            .collect();
        Ok(Self { queries, documents, relevant })
    }

    /// nDCG@10 and MRR@10 of the encoder as it is.
    pub(super) fn measure(&self, encoder: &TrainableEncoder, threads: usize) -> Result<DevQuality> {
        let flat = |texts: &[Vec<u32>]| -> Result<Vec<f32>> {
            let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
            Ok(encoder.vectors(&texts, threads)?.concat())
        };
        let width = encoder.config.hidden_size;
        let (queries, documents) = (flat(&self.queries)?, flat(&self.documents)?);
        let documents = Matrix::new(&documents, self.documents.len(), width, width);
        let mut quality = DevQuality {
            queries: self.queries.len(),
            documents: self.documents.len(),
            ..DevQuality::default()
        };
        let mut scores = vec![0f32; self.documents.len()];
        for (query, relevant) in queries.chunks_exact(width).zip(&self.relevant) {
            let query = Matrix::new(query, 1, width, width);
            told(product(
                &mut scores,
                self.documents.len(),
                false,
                1.0,
                query,
                documents.turned(),
            ))?;
            let (ndcg, mrr) = figures(&scores, relevant);
            quality.ndcg_10 += ndcg;
            quality.mrr_10 += mrr;
        }
        let n = self.queries.len().max(1) as f64;
        quality.ndcg_10 /= n;
        quality.mrr_10 /= n;
        Ok(quality)
    }
}

/// nDCG@10 and MRR@10 of one ranking; equal scores go by place.
fn figures(scores: &[f32], relevant: &BTreeSet<usize>) -> (f64, f64) {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let score = |i: usize| scores.get(i).copied().unwrap_or(f32::NEG_INFINITY);
    let first = |a: &usize, b: &usize| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
    if order.len() > 10 {
        order.select_nth_unstable_by(9, first);
        order.truncate(10);
    }
    order.sort_unstable_by(first);
    let gain = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let hits = order.iter().enumerate().filter(|(_, i)| relevant.contains(i));
    let dcg: f64 = hits.clone().map(|(rank, _)| gain(rank)).sum();
    let ideal: f64 = (0..relevant.len().min(10)).map(gain).sum();
    let mrr = hits.map(|(rank, _)| 1.0 / (rank + 1) as f64).next();
    (if ideal > 0.0 { dcg / ideal } else { 0.0 }, mrr.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranks 2 and 4 of a ranking that misses the third: (1/log2 3 + 1/log2 5) over the best three.
    #[test]
    fn figures_are_the_formulas() {
        let mut scores = vec![0.0; 20];
        for (rank, place) in [7, 3, 9, 4, 11, 12, 13, 14, 15, 16].into_iter().enumerate() {
            scores[place] = 1.0 - 0.01 * rank as f32;
        }
        let (ndcg, mrr) = figures(&scores, &BTreeSet::from([3, 4, 0]));
        let best = 1.0 + 1.0 / 3f64.log2() + 0.5;
        assert!((ndcg - (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / best).abs() < 1e-9);
        assert!((mrr - 0.5).abs() < 1e-9);
        assert_eq!(figures(&[0.5], &BTreeSet::from([0])), (1.0, 1.0));
    }
}
