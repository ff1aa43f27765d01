//! What training makes smaller.
//!
//! All work on vectors of unit length: anchors [n, dimensions], their positives [n, dimensions], and
//! hard negatives [k, dimensions], each of which belongs to one anchor.

use super::tensor::{D, Device, Result, Tensor, bail};

/// A loss over the vectors of one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// Each anchor must tell its positive from all other documents of the batch: cross entropy of
    /// cosine over `temperature` (InfoNCE: van den Oord et al. 2018; in-batch negatives: Henderson et
    /// al. 2017), negatives that any of its pairs brings among them. Copies of the positive and other
    /// positives of the anchor are left out. With `both_directions`, the mean of that and of each
    /// positive telling its anchor from the other anchors.
    InfoNce {
        /// Default: 0.05, a scale of 20.
        temperature: f32,
        /// Default: false.
        both_directions: bool,
    },
    /// Each negative must be farther than its anchor's positive by `margin`, in squared distance
    /// (FaceNet: Schroff et al. 2015).
    Triplet {
        /// Default: 0.2.
        margin: f32,
    },
    /// Pairs with a higher score must be nearer: log(1 + Σ exp(scale (cos j − cos i))) over all i that
    /// score higher than j (CoSENT: Su 2022).
    Cosent {
        /// Default: 20.
        scale: f32,
    },
    /// The product with the positive less that with the negative must be what a teacher's is, in mean
    /// squared error (Hofstätter et al. 2020).
    MarginMse,
}

impl Default for Loss {
    fn default() -> Self {
        Self::InfoNce { temperature: 0.05, both_directions: false }
    }
}

/// What belongs to what in a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Targets {
    /// The number of each anchor's text, and of each positive's and negative's: equal for equal texts.
    pub(super) anchors: Vec<u32>,
    pub(super) positives: Vec<u32>,
    pub(super) negatives: Vec<u32>,
    /// To which anchor each negative belongs.
    pub(super) owners: Vec<u32>,
    /// All documents that are known to be positives of each anchor, in this batch or not.
    pub(super) answers: Vec<Vec<u32>>,
    /// A pair's score, or how much nearer a teacher has the positive than the negative.
    pub(super) scores: Vec<f32>,
}

impl Loss {
    /// Whether one pair alone says nothing.
    pub(super) fn needs_company(self) -> bool {
        matches!(self, Self::InfoNce { .. } | Self::Cosent { .. })
    }

    /// Whether every pair needs a negative.
    pub(super) fn needs_negatives(self) -> bool {
        matches!(self, Self::Triplet { .. } | Self::MarginMse)
    }

    /// Whether every pair needs a score.
    pub(super) fn needs_scores(self) -> bool {
        matches!(self, Self::Cosent { .. } | Self::MarginMse)
    }

    /// The loss of a batch: one number.
    pub(super) fn of(
        self,
        anchors: &Tensor,
        positives: &Tensor,
        negatives: Option<&Tensor>,
        targets: &Targets,
    ) -> Result<Tensor> {
        match self {
            Self::InfoNce { temperature, both_directions } => {
                info_nce(anchors, positives, negatives, targets, temperature, both_directions)
            }
            Self::Triplet { margin } => {
                let (nearer, farther) = both_products(anchors, positives, negatives, targets)?;
                // |a − p|² = 2 − 2 a·p for vectors of unit length.
                (((farther - nearer)? * 2.0)? + f64::from(margin))?.relu()?.mean_all()
            }
            Self::Cosent { scale } => cosent(anchors, positives, &targets.scores, scale),
            Self::MarginMse => {
                let (nearer, farther) = both_products(anchors, positives, negatives, targets)?;
                let teacher = of_owners(&targets.scores, &targets.owners);
                let teacher = Tensor::new(teacher, &Device::Cpu)?;
                ((nearer - farther)? - teacher)?.sqr()?.mean_all()
            }
        }
    }

    /// The weighted sum of the loss over the first `dimensions` elements of each vector, scaled to unit
    /// length again (Matryoshka: Kusupati et al. 2022); with none, over all.
    pub(super) fn nested(
        self,
        anchors: &Tensor,
        positives: &Tensor,
        negatives: Option<&Tensor>,
        targets: &Targets,
        dimensions: &[usize],
    ) -> Result<Tensor> {
        let first = |x: &Tensor, n: usize| -> Result<Tensor> {
            let x = x.narrow(D::Minus1, 0, n)?;
            let length = (x.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
            x.broadcast_div(&length)
        };
        let mut sum: Option<Tensor> = None;
        for n in dimensions {
            let negatives = negatives.map(|x| first(x, *n)).transpose()?;
            let own =
                self.of(&first(anchors, *n)?, &first(positives, *n)?, negatives.as_ref(), targets)?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        match sum {
            Some(sum) => Ok(sum),
            None => self.of(anchors, positives, negatives, targets),
        }
    }
}

/// The score of each negative's anchor.
fn of_owners(scores: &[f32], owners: &[u32]) -> Vec<f32> {
    let score = |owner: &u32| {
        usize::try_from(*owner).ok().and_then(|owner| scores.get(owner)).copied().unwrap_or(0.0)
    };
    owners.iter().map(score).collect()
}

/// What is added to a product that must not count.
const MASKED: f32 = -1e9;

fn info_nce(
    anchors: &Tensor,
    positives: &Tensor,
    negatives: Option<&Tensor>,
    targets: &Targets,
    temperature: f32,
    both_directions: bool,
) -> Result<Tensor> {
    let documents = match negatives {
        Some(negatives) => Tensor::cat(&[positives, negatives], 0)?,
        None => positives.clone(),
    };
    let scores = (anchors.matmul(&documents.t()?)? * f64::from(1.0 / temperature))?;
    let forward = diagonal_entropy(&scores, &forward_mask(targets)?)?;
    if !both_directions {
        return Ok(forward);
    }
    let own = scores.narrow(1, 0, targets.positives.len())?.t()?;
    let backward = diagonal_entropy(&own, &backward_mask(targets)?)?;
    (forward + backward)? * 0.5
}

/// A document that is the anchor's positive once more, or a positive of the same anchor elsewhere in
/// the batch or the data, is no negative.
fn forward_mask(targets: &Targets) -> Result<Tensor> {
    let documents = targets.positives.iter().chain(&targets.negatives);
    let mut mask = Vec::new();
    for (i, (anchor, positive)) in targets.anchors.iter().zip(&targets.positives).enumerate() {
        let answers = targets.answers.get(i).map(Vec::as_slice).unwrap_or_default();
        for (j, document) in documents.clone().enumerate() {
            let twin = targets.anchors.get(j) == Some(anchor);
            let known = document == positive || twin || answers.contains(document);
            mask.push(if i != j && known { MASKED } else { 0.0 });
        }
    }
    let columns = targets.positives.len() + targets.negatives.len();
    Tensor::from_vec(mask, (targets.anchors.len(), columns), &Device::Cpu)
}

fn backward_mask(targets: &Targets) -> Result<Tensor> {
    let pairs = || targets.anchors.iter().zip(&targets.positives).enumerate();
    let mut mask = Vec::new();
    for (i, (anchor, positive)) in pairs() {
        for (j, (other, document)) in pairs() {
            let same = i != j && (other == anchor || document == positive);
            mask.push(if same { MASKED } else { 0.0 });
        }
    }
    let n = targets.anchors.len();
    Tensor::from_vec(mask, (n, n), &Device::Cpu)
}

/// The mean over rows of log Σ exp(row) − the element on the diagonal.
fn diagonal_entropy(scores: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (rows, columns) = scores.dims2()?;
    let masked = (scores + mask)?;
    let sums = log_sum_exp(&masked)?;
    let mut one = vec![0f32; rows * columns];
    one.iter_mut().step_by(columns + 1).for_each(|x| *x = 1.0);
    let diagonal = (scores * Tensor::from_vec(one, (rows, columns), &Device::Cpu)?)?;
    (sums.sum_all()? - diagonal.sum_all()?)? * (1.0 / rows as f64)
}

/// log Σ exp of each row. The largest is taken out first and is a constant to the gradient, which it
/// does not change.
pub(super) fn log_sum_exp(x: &Tensor) -> Result<Tensor> {
    let largest = x.max_keepdim(D::Minus1)?.detach();
    let sum = x.broadcast_sub(&largest)?.exp()?.sum_keepdim(D::Minus1)?;
    sum.log()? + largest
}

/// Products of each negative's anchor with the positive, and with the negative: [k] each.
fn both_products(
    anchors: &Tensor,
    positives: &Tensor,
    negatives: Option<&Tensor>,
    targets: &Targets,
) -> Result<(Tensor, Tensor)> {
    let Some(negatives) = negatives else { bail!("this loss needs a negative for every pair") };
    let owners = Tensor::new(targets.owners.as_slice(), &Device::Cpu)?;
    let anchors = anchors.index_select(&owners, 0)?;
    let positives = positives.index_select(&owners, 0)?;
    Ok(((&anchors * positives)?.sum(D::Minus1)?, (anchors * negatives)?.sum(D::Minus1)?))
}

fn cosent(anchors: &Tensor, positives: &Tensor, scores: &[f32], scale: f32) -> Result<Tensor> {
    let n = scores.len();
    let products = ((anchors * positives)?.sum(D::Minus1)? * f64::from(scale))?;
    // Row i, column j: how much nearer j is than i, which must not be where i scores higher.
    let row = products.reshape((1, n))?;
    let differences = row.broadcast_sub(&products.reshape((n, 1))?)?;
    let mut mask = Vec::with_capacity(n * n);
    for i in scores {
        mask.extend(scores.iter().map(|j| if i > j { 0.0 } else { MASKED }));
    }
    let mask = Tensor::from_vec(mask, (n, n), &Device::Cpu)?;
    let all = (differences + mask)?.reshape((1, n * n))?;
    // The 1 under the logarithm is exp(0).
    let zero = Tensor::zeros((1, 1), all.dtype(), &Device::Cpu)?;
    log_sum_exp(&Tensor::cat(&[&all, &zero], 1)?)?.sum_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rows = Vec<[f32; 3]>;

    fn unit(rows: &[[f32; 3]]) -> Rows {
        let scaled = |row: &[f32; 3]| {
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.map(|x| x / length)
        };
        rows.iter().map(scaled).collect()
    }

    fn vectors() -> (Rows, Rows, Rows) {
        (
            unit(&[[1.0, 0.2, 0.1], [0.1, 1.0, -0.3], [-0.5, 0.4, 0.8]]),
            unit(&[[0.9, -0.1, 0.3], [0.3, 0.8, 0.2], [0.1, 0.2, 1.0]]),
            unit(&[[0.7, 0.6, 0.0], [-0.2, 0.5, 0.9]]),
        )
    }

    fn targets() -> Targets {
        Targets {
            anchors: vec![0, 1, 2],
            positives: vec![10, 11, 12],
            negatives: vec![20, 21],
            owners: vec![0, 2],
            answers: vec![],
            scores: vec![0.9, 0.2, 0.5],
        }
    }

    fn dot(a: &[f32; 3], b: &[f32; 3]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn loss(loss: Loss, targets: &Targets, dimensions: &[usize]) -> f64 {
        let (a, p, n) = vectors();
        let tensor =
            |rows: Rows| Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu).unwrap();
        let n = (!targets.negatives.is_empty()).then(|| tensor(n));
        let value = loss.nested(&tensor(a), &tensor(p), n.as_ref(), targets, dimensions).unwrap();
        f64::from(value.to_scalar::<f32>().unwrap())
    }

    fn close(found: f64, right: f64) {
        assert!((found - right).abs() < 2e-5 * right.abs().max(1.0), "{found} {right}");
    }

    /// Cross entropy of `scores` with `right`, leaving out what `masked` says.
    fn entropy(scores: &[f64], right: usize, masked: impl Fn(usize) -> bool) -> f64 {
        let kept = scores.iter().enumerate().filter(|(j, _)| !masked(*j));
        kept.map(|(_, s)| s.exp()).sum::<f64>().ln() - scores[right]
    }

    #[test]
    fn info_nce_is_the_formula_in_64_bits() {
        let (a, p, n) = vectors();
        let documents: Rows = p.iter().chain(&n).copied().collect();
        let row = |i: usize| documents.iter().map(|d| dot(&a[i], d) / 0.05).collect::<Vec<_>>();
        let right: f64 = (0..3).map(|i| entropy(&row(i), i, |_| false)).sum::<f64>() / 3.0;
        close(loss(Loss::default(), &targets(), &[]), right);
        let column = |j: usize| a.iter().map(|a| dot(a, &p[j]) / 0.05).collect::<Vec<_>>();
        let back: f64 = (0..3).map(|j| entropy(&column(j), j, |_| false)).sum::<f64>() / 3.0;
        let both = Loss::InfoNce { temperature: 0.05, both_directions: true };
        close(loss(both, &targets(), &[]), f64::midpoint(right, back));
        // The second negative is the first anchor's positive once more.
        let copied = Targets { negatives: vec![20, 10], ..targets() };
        let right: f64 =
            (0..3).map(|i| entropy(&row(i), i, |j| i == 0 && j == 4)).sum::<f64>() / 3.0;
        close(loss(Loss::default(), &copied, &[]), right);
        // A negative of the third anchor answers the second, as other pairs say.
        let answers = vec![vec![10], vec![11, 21], vec![12]];
        let answered = Targets { answers, ..targets() };
        let right: f64 =
            (0..3).map(|i| entropy(&row(i), i, |j| i == 1 && j == 4)).sum::<f64>() / 3.0;
        close(loss(Loss::default(), &answered, &[]), right);
        // The third anchor is the first once more: neither's positive is the other's negative.
        let twins = Targets { anchors: vec![0, 1, 0], ..targets() };
        let other = |i: usize, j: usize| i != j && i != 1 && j != 1 && j < 3;
        let right: f64 = (0..3).map(|i| entropy(&row(i), i, |j| other(i, j))).sum::<f64>() / 3.0;
        close(loss(Loss::default(), &twins, &[]), right);
    }

    #[test]
    fn triplet_margin_mse_and_cosent_are_their_formulas_in_64_bits() {
        let (a, p, n) = vectors();
        let pairs = [(0, 0), (2, 1)];
        let triplet = |(i, k): (usize, usize)| {
            let distance = |x: &[f32; 3], y: &[f32; 3]| dot(x, x) + dot(y, y) - 2.0 * dot(x, y);
            (distance(&a[i], &p[i]) - distance(&a[i], &n[k]) + 0.9).max(0.0)
        };
        let right = pairs.map(triplet).iter().sum::<f64>() / 2.0;
        assert!(right > 0.0);
        close(loss(Loss::Triplet { margin: 0.9 }, &targets(), &[]), right);
        let scores = [0.9, 0.2, 0.5];
        let mse =
            |(i, k): (usize, usize)| (dot(&a[i], &p[i]) - dot(&a[i], &n[k]) - scores[i]).powi(2);
        close(loss(Loss::MarginMse, &targets(), &[]), pairs.map(mse).iter().sum::<f64>() / 2.0);
        let mut sum = 1.0;
        for i in 0..3 {
            for j in 0..3 {
                if scores[i] > scores[j] {
                    sum += (20.0 * (dot(&a[j], &p[j]) - dot(&a[i], &p[i]))).exp();
                }
            }
        }
        close(loss(Loss::Cosent { scale: 20.0 }, &targets(), &[]), sum.ln());
    }

    #[test]
    fn matryoshka_is_the_sum_over_shortened_vectors() {
        let targets = Targets { negatives: vec![], owners: vec![], ..targets() };
        let (a, p, _) = vectors();
        let short =
            |rows: &[[f32; 3]]| unit(&rows.iter().map(|r| [r[0], r[1], 0.0]).collect::<Vec<_>>());
        let (a, p) = (short(&a), short(&p));
        let row = |i: usize| p.iter().map(|p| dot(&a[i], p) / 0.05).collect::<Vec<_>>();
        let right: f64 = (0..3).map(|i| entropy(&row(i), i, |_| false)).sum::<f64>() / 3.0;
        let whole = loss(Loss::default(), &targets, &[]);
        close(loss(Loss::default(), &targets, &[3, 2]), whole + right);
    }

    #[test]
    fn losses_without_what_they_need_are_refused() {
        let (a, p, _) = vectors();
        let tensor =
            |rows: Rows| Tensor::from_vec(rows.concat(), (rows.len(), 3), &Device::Cpu).unwrap();
        let loss = Loss::Triplet { margin: 0.2 };
        assert!(loss.of(&tensor(a), &tensor(p), None, &targets()).is_err());
        assert!(loss.needs_negatives() && !loss.needs_company() && !loss.needs_scores());
    }
}
