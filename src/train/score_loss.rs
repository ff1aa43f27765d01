//! What training a re-ranker makes smaller: losses over its figures.

use super::loss::log_sum_exp;
use super::tensor::{Device, Result, Tensor, bail};

/// A loss over a re-ranker's figures for the documents of one batch of queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RerankerLoss {
    /// Binary cross entropy: each positive is of the label 1, each negative of the label 0, and the
    /// figure is the logit (monoBERT: Nogueira and Cho 2019).
    #[default]
    CrossEntropy,
    /// Each negative below its query's positive: log(1 + exp(negative − positive)), with no margin but
    /// the growing flatness of the logarithm (RankNet: Burges et al. 2005).
    Margin,
}

impl RerankerLoss {
    /// The loss of a batch: one number. `scores` is [n + k, 1]: of n positives, then of k negatives, the
    /// positive of each of which is `owners`.
    pub(super) fn of(self, scores: &Tensor, n: usize, owners: &[u32]) -> Result<Tensor> {
        let k = owners.len();
        if scores.elem_count() != n + k {
            bail!("{} figures for {n} positives and {k} negatives", scores.elem_count())
        }
        let positives = scores.narrow(0, 0, n)?;
        if k == 0 {
            return match self {
                Self::CrossEntropy => softplus(&positives.neg()?)?.mean_all(),
                Self::Margin => bail!("this loss needs a negative"),
            };
        }
        let negatives = scores.narrow(0, n, k)?;
        match self {
            Self::CrossEntropy => {
                let right = Tensor::cat(&[&positives.neg()?, &negatives], 0)?;
                softplus(&right)?.mean_all()
            }
            Self::Margin => {
                let owners = Tensor::new(owners, &Device::Cpu)?;
                softplus(&(negatives - positives.index_select(&owners, 0)?)?)?.mean_all()
            }
        }
    }
}

/// log(1 + exp(x)) of a column, also where exp(x) is infinite.
fn softplus(x: &Tensor) -> Result<Tensor> {
    // The 1 is exp(0).
    log_sum_exp(&Tensor::cat(&[x, &x.zeros_like()?], 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tensor::{Var, tensor, with};

    const SCORES: [f32; 6] = [0.7, -1.2, 3.0, 0.7, -0.4, 90.0];
    const OWNERS: [u32; 4] = [0, 1, 1, 0];

    fn value_and_gradient(loss: RerankerLoss, scores: &[f32], n: usize) -> (f64, Vec<f32>) {
        let scores =
            Var::from_tensor(&tensor(scores.to_vec(), &[scores.len(), 1]).unwrap()).unwrap();
        let owners = &OWNERS[..scores.elem_count() - n];
        let value = loss.of(scores.as_tensor(), n, owners).unwrap();
        let found = value.backward().unwrap();
        let gradient = found.get(scores.as_tensor()).unwrap();
        let gradient = with(gradient, |g| Ok(g.to_vec())).unwrap();
        (f64::from(value.to_scalar::<f32>().unwrap()), gradient)
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    fn close(found: f64, right: f64) {
        assert!((found - right).abs() < 1e-5 * right.abs().max(1.0), "{found} {right}");
    }

    #[test]
    fn cross_entropy_is_the_formula_in_64_bits() {
        let s = SCORES.map(f64::from);
        let label = |i: usize| f64::from(u8::from(i < 2));
        let (value, gradient) = value_and_gradient(RerankerLoss::CrossEntropy, &SCORES, 2);
        // −log σ(x) of positives, −log(1 − σ(x)) of negatives; for 90 the second is 90.
        let own =
            |i: usize| if label(i) > 0.0 { -sigmoid(s[i]).ln() } else { s[i] - sigmoid(s[i]).ln() };
        close(value, (0..6).map(own).sum::<f64>() / 6.0);
        for (i, g) in gradient.iter().enumerate() {
            close(f64::from(*g), (sigmoid(s[i]) - label(i)) / 6.0);
        }
        let (value, gradient) = value_and_gradient(RerankerLoss::CrossEntropy, &SCORES[..1], 1);
        close(value, -sigmoid(s[0]).ln());
        close(f64::from(gradient[0]), sigmoid(s[0]) - 1.0);
    }

    #[test]
    fn margin_is_the_formula_in_64_bits() {
        let s = SCORES.map(f64::from);
        let (value, gradient) = value_and_gradient(RerankerLoss::Margin, &SCORES, 2);
        let pairs = [(0, 2), (1, 3), (1, 4), (0, 5)];
        let own = |(p, n): (usize, usize)| {
            let x: f64 = s[n] - s[p];
            x.max(0.0) + (1.0 + (-x.abs()).exp()).ln()
        };
        close(value, pairs.map(own).iter().sum::<f64>() / 4.0);
        let mut right = [0.0; 6];
        for (p, n) in pairs {
            right[n] += sigmoid(s[n] - s[p]) / 4.0;
            right[p] -= sigmoid(s[n] - s[p]) / 4.0;
        }
        for (g, right) in gradient.iter().zip(right) {
            close(f64::from(*g), right);
        }
        let scores = tensor(vec![1.0, 2.0], &[2, 1]).unwrap();
        assert!(RerankerLoss::Margin.of(&scores, 2, &[]).is_err());
        assert!(RerankerLoss::Margin.of(&scores, 2, &[0]).is_err());
    }

    /// Where a negative stands as high as its positive, both move by half.
    #[test]
    fn equal_figures_have_a_gradient() {
        let (value, gradient) = value_and_gradient(RerankerLoss::Margin, &[0.0, 0.0], 1);
        close(value, 2f64.ln());
        assert_eq!(gradient, [-0.5, 0.5]);
    }
}
