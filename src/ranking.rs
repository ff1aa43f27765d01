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

#[cfg(test)]
mod tests {
    use super::figures;

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
