//! Two rankings into one.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::str::FromStr;

/// How the dense and the keyword ranking of a hybrid query become one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Fusion {
    /// Each list's scores are brought to mean 0 and standard deviation 1, then added with these
    /// weights; what a list lacks counts as its last. A keyword list that ends early is complete:
    /// what it lacks has the score 0. Measured better than reciprocal ranks on seven collections
    /// (docs/benchmarks.md).
    ZScore {
        /// Weight of the vectors, 0 to 1; the keywords have the rest. Default: 0.6.
        dense_weight: f32,
    },
    /// Reciprocal rank fusion (Cormack 2009): the sum of 1 / (k + rank).
    ReciprocalRank {
        /// Default: 60.
        k: f32,
    },
}

impl Default for Fusion {
    fn default() -> Self {
        Self::ZScore { dense_weight: 0.6 }
    }
}

impl FromStr for Fusion {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "zscore" => Ok(Self::default()),
            "rrf" => Ok(Self::ReciprocalRank { k: 60.0 }),
            _ => Err(Error::parameter("fusion", format!("{name:?}; there are zscore and rrf"))),
        }
    }
}

impl Fusion {
    /// Fuses two lists of points and scores, each best first and at most `depth` long; higher is
    /// better. Best first, equal scores by point.
    pub(crate) fn fuse(
        self,
        dense: &[(u32, f32)],
        keyword: &[(u32, f32)],
        depth: usize,
    ) -> Vec<(u32, f32)> {
        let mut fused: BTreeMap<u32, f32> = BTreeMap::new();
        match self {
            Self::ZScore { dense_weight } => {
                // Without a zero in it, the one passage that has a rare word would gain nothing by it: a
                // list of one has no deviation. With all the zeros there are, it would outweigh any
                // meaning.
                let zeros = usize::from(!keyword.is_empty() && keyword.len() < depth);
                for (list, weight, zeros) in
                    [(dense, dense_weight, 0), (keyword, 1.0 - dense_weight, zeros)]
                {
                    // Everyone starts with the list's last score and its members are raised from
                    // there, so that absence costs what the end of the list would.
                    let last = if zeros > 0 { 0.0 } else { list.last().map_or(0.0, |(_, s)| *s) };
                    let deviation = deviation(list, zeros);
                    for (id, score) in list {
                        let raised =
                            if deviation > 1e-9 { (score - last) / deviation } else { 0.0 };
                        *fused.entry(*id).or_default() += weight * raised;
                    }
                }
            }
            Self::ReciprocalRank { k } => {
                for list in [dense, keyword] {
                    for (rank, (id, _)) in (1u16..).zip(list) {
                        *fused.entry(*id).or_default() += 1.0 / (k + f32::from(rank));
                    }
                }
            }
        }
        let mut fused: Vec<(u32, f32)> = fused.into_iter().collect();
        fused.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        fused
    }
}

/// Brought to mean 0 and deviation 1; equal figures become 0.
pub(crate) fn z_scores(mut column: Vec<f32>) -> Vec<f32> {
    let count = (column.len() as f32).max(1.0);
    let mean = column.iter().sum::<f32>() / count;
    let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
    // What is left of equal figures after rounding is no deviation.
    let scale = if variance > 1e-10 { variance.sqrt().recip() } else { 0.0 };
    column.iter_mut().for_each(|x| *x = (*x - mean) * scale);
    column
}

/// The standard deviation of a list's scores and so many zeros, as a population. (A difference of two
/// z-scores is the difference of the scores over this; the mean drops out.)
fn deviation(list: &[(u32, f32)], zeros: usize) -> f32 {
    let n = (list.len() + zeros).max(1) as f64;
    let mean = list.iter().map(|(_, s)| f64::from(*s)).sum::<f64>() / n;
    let squares: f64 = list.iter().map(|(_, s)| (f64::from(*s) - mean).powi(2)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "of the size of a score")]
    let deviation = ((squares + zeros as f64 * mean * mean) / n).sqrt() as f32;
    deviation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[(u32, f32)], expected: &[(u32, f32)]) {
        assert_eq!(
            found.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            expected.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            "{found:?}"
        );
        for (f, e) in found.iter().zip(expected) {
            assert!((f.1 - e.1).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    /// By hand: the dense scores 3, 2, 1 have z ±sqrt(1.5), 0; the keyword scores 10, 4 have ±1.
    /// Raised so that each list's last is 0: dense 2·sqrt(1.5), sqrt(1.5), 0 and keyword 2, 0.
    #[test]
    fn z_scores_by_hand() {
        let root = 1.5f32.sqrt();
        let fused =
            Fusion::default().fuse(&[(1, 3.0), (2, 2.0), (3, 1.0)], &[(3, 10.0), (9, 4.0)], 2);
        close(&fused, &[(1, 1.2 * root), (3, 0.8), (2, 0.6 * root), (9, 0.0)]);
    }

    /// Cormack 2009, k = 60: 1/61 + 1/62, 1/61, 1/62.
    #[test]
    fn reciprocal_ranks_by_hand() {
        let rrf = Fusion::ReciprocalRank { k: 60.0 };
        let fused = rrf.fuse(&[(5, 0.9), (6, 0.8)], &[(6, 3.0)], 100);
        close(&fused, &[(6, 1.0 / 61.0 + 1.0 / 62.0), (5, 1.0 / 61.0)]);
    }

    /// By hand: the scores 8 and 0 have the deviation 4; a passage with the word is raised by
    /// 0.4 · 8 / 4.
    #[test]
    fn the_only_passage_with_a_word_gains_by_it() {
        let fused = Fusion::default().fuse(&[(1, 0.5), (2, 0.5)], &[(2, 8.0)], 4);
        close(&fused, &[(2, 0.8), (1, 0.0)]);
    }

    #[test]
    fn lists_that_say_nothing_do_no_harm() {
        for fusion in [Fusion::default(), Fusion::ReciprocalRank { k: 60.0 }] {
            assert!(fusion.fuse(&[], &[], 100).is_empty());
            assert_eq!(fusion.fuse(&[(4, 1.0), (2, 1.0)], &[], 100).len(), 2);
            assert!(fusion.fuse(&[(1, 0.5)], &[(1, 0.5)], 100)[0].1.is_finite());
        }
        close(&Fusion::default().fuse(&[(4, 1.0), (2, 1.0)], &[], 100), &[(2, 0.0), (4, 0.0)]);
    }

    #[test]
    fn z_scores_have_mean_0_and_deviation_1() {
        // Mean 5, deviation 2.
        let column = z_scores(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(column, [-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(z_scores(vec![0.3; 7]), [0.0; 7]);
        assert_eq!(z_scores(vec![]), Vec::<f32>::new());
    }
}
