//! How good a ranking is: nDCG and MRR as trec_eval and BEIR compute them, with linear gain and a
//! discount of log2(rank + 1).

/// How far down a ranking counts.
const CUT: usize = 10;

/// nDCG@10 and MRR@10 of the grades of what was ranked, in their order, where `all` are the grades of
/// everything relevant. A grade of 0 is not relevant.
pub(crate) fn figures(
    ranked: impl IntoIterator<Item = u32>,
    all: impl IntoIterator<Item = u32>,
) -> (f64, f64) {
    let gain = |(rank, grade): (usize, u32)| f64::from(grade) / ((rank + 2) as f64).log2();
    let ranked: Vec<u32> = ranked.into_iter().take(CUT).collect();
    let dcg: f64 = ranked.iter().copied().enumerate().map(gain).sum();
    let mut best: Vec<u32> = all.into_iter().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    let ideal: f64 = best.into_iter().take(CUT).enumerate().map(gain).sum();
    let first = ranked.iter().position(|grade| *grade > 0);
    let mrr = first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64);
    (if ideal > 0.0 { dcg / ideal } else { 0.0 }, mrr)
}

/// Spearman's correlation of two figures of the same things, from -1 to 1: that of their ranks, equal
/// ones with the mean of theirs. 0 where one of them is the same for all.
#[cfg(feature = "train")]
pub(crate) fn spearman(left: &[f32], right: &[f32]) -> f64 {
    let (left, right) = (ranks(left), ranks(right));
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let (a, b) = (mean(&left), mean(&right));
    let (mut both, mut one, mut other) = (0.0, 0.0, 0.0);
    for (x, y) in left.iter().zip(&right) {
        both += (x - a) * (y - b);
        one += (x - a) * (x - a);
        other += (y - b) * (y - b);
    }
    if one > 0.0 && other > 0.0 { both / (one * other).sqrt() } else { 0.0 }
}

#[cfg(feature = "train")]
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let value = |i: &usize| values.get(*i).copied().unwrap_or(f32::NAN);
    order.sort_by(|a, b| value(a).total_cmp(&value(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0.0;
    for equal in order.chunk_by(|a, b| value(a).total_cmp(&value(b)).is_eq()) {
        let last = first + (equal.len() - 1) as f64;
        for i in equal {
            if let Some(rank) = ranks.get_mut(*i) {
                *rank = f64::midpoint(first, last);
            }
        }
        first = last + 1.0;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::figures;

    /// The first by the example in scipy's documentation of spearmanr, the second by numpy with average
    /// ranks: (0, 1.5, 1.5, 3) and (3, 0.5, 0.5, 2).
    #[cfg(feature = "train")]
    #[test]
    fn spearman_is_that_of_scipy() {
        let rho = super::spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]);
        assert!((rho - 0.820_782_681_668_123_3).abs() < 1e-12, "{rho}");
        let rho = super::spearman(&[0.1, 0.2, 0.2, 0.3], &[9.0, 1.0, 1.0, 5.0]);
        assert!((rho - TIED).abs() < 1e-12, "{rho}");
        assert!((super::spearman(&[1.0, 2.0], &[3.0, 3.0])).abs() < 1e-12);
        assert!((super::spearman(&[1.0, 2.0], &[2.0, 1.0]) + 1.0).abs() < 1e-12);
    }
    #[cfg(feature = "train")]
    const TIED: f64 = -0.333_333_333_333_333_3;

    /// Computed with pytrec_eval-terrier 0.5.11 for this ranking and these judgements.
    #[test]
    fn figures_are_those_of_trec_eval() {
        let (ndcg, mrr) = figures([0, 3, 0, 1], [3, 1, 2]);
        assert!((ndcg - 0.487_932_459_011_548_9).abs() < 1e-6, "{ndcg}");
        assert!((mrr - 0.5).abs() < 1e-9);
    }

    /// Ranks 2 and 4 of a ranking that misses the third: (1/log2 3 + 1/log2 5) over the best three.
    #[test]
    fn figures_are_the_formulas() {
        let (ndcg, mrr) = figures([0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1], [1, 1, 1]);
        let best = 1.0 + 1.0 / 3f64.log2() + 0.5;
        assert!((ndcg - (1.0 / 3f64.log2() + 1.0 / 5f64.log2()) / best).abs() < 1e-9);
        assert!((mrr - 0.5).abs() < 1e-9);
        assert_eq!(figures([1], [1]), (1.0, 1.0));
        assert_eq!(figures([0], [0]), (0.0, 0.0));
    }
}
