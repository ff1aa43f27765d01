//! Which tokens are left by top-k, top-p and min-p, without sorting the vocabulary.
//!
//! Every filter keeps the tokens from some rank upwards, so that each is a limit, and the strictest
//! one holds. The limit of top-k is the k-th of the greatest logits. The k-th of the greatest *blocks*,
//! by their own greatest, is no greater than it, so only the blocks above need be looked into: at most k
//! of them (more where logits are equal). The limit of top-p is first looked for among a few hundred
//! tokens; where these do not hold the share, the weights are added up by steps of the logit, and the
//! step in which the share is reached is divided around one of its tokens, the side kept on which it is
//! reached, and so on.

use super::weights::{BLOCK, Weights, exponential};

/// A token's place in the order of logits: greater for the greater logit, and of equal logits for the
/// lower id. No two are the same.
type Rank = u64;

fn rank(id: u32, logit: f32) -> Rank {
    // Adding zero makes one zero of both. Then floats of one sign are in the order of their bits.
    let bits = (logit + 0.0).to_bits();
    let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(ordered) << 32 | u64::from(!id)
}

fn parts(rank: Rank) -> (u32, f32) {
    let [id, ordered] = [rank, rank >> 32].map(|half| u32::try_from(half & LOWER).unwrap_or(0));
    let bits = if ordered >> 31 == 1 { ordered ^ 1 << 31 } else { !ordered };
    (!id, f32::from_bits(bits))
}

const LOWER: u64 = u32::MAX as u64;

/// What a look at all logits says.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// The greatest of each block.
    greatest: Vec<f32>,
    /// The greatest of all; −∞ where all are masked.
    pub(super) peak: f32,
    /// Whether none is NaN or +∞.
    pub(super) usable: bool,
}

/// Maxima that are kept beside each other, so that the compiler compares several at once.
const LANES: usize = 16;

impl Survey {
    pub(super) fn take(&mut self, logits: &[f32]) {
        let mut bad = [0u32; LANES];
        self.greatest.clear();
        self.greatest.extend(logits.chunks(BLOCK).map(|block| greatest(block, &mut bad)));
        self.peak = self.greatest.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
        self.usable = bad.iter().all(|b| *b == 0);
    }

    /// The lowest id of those with the greatest logit.
    pub(super) fn first_at_peak(&self, logits: &[f32]) -> Option<usize> {
        let block = self.greatest.iter().position(|x| *x >= self.peak)?;
        let start = block * BLOCK;
        logits.get(start..)?.iter().position(|x| *x >= self.peak).map(|at| start + at)
    }
}

fn greatest(block: &[f32], bad: &mut [u32; LANES]) -> f32 {
    let mut best = [f32::NEG_INFINITY; LANES];
    let mut look = |chunk: &[f32]| {
        for ((best, bad), x) in best.iter_mut().zip(bad.iter_mut()).zip(chunk) {
            *best = if *x > *best { *x } else { *best };
            #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN is bad too")]
            let unusable = !(*x < f32::INFINITY);
            *bad |= u32::from(unusable);
        }
    };
    let (chunks, rest) = block.as_chunks::<LANES>();
    chunks.iter().for_each(|chunk| look(chunk));
    look(rest);
    best.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// The filters that are on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filters {
    pub(super) top_k: Option<usize>,
    pub(super) top_p: Option<f32>,
    pub(super) min_p: Option<f32>,
}

impl Filters {
    pub(super) fn none(&self) -> bool {
        self.top_k.is_none() && self.top_p.is_none() && self.min_p.is_none()
    }
}

/// Tokens that are left, in the order of their ids, with their logits.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) ids: Vec<u32>,
    pub(super) logits: Vec<f32>,
    ranks: Vec<Rank>,
    upper: Vec<Rank>,
    lower: Vec<Rank>,
    copy: Vec<f32>,
    sums: Vec<f64>,
    weights: Weights,
}

/// Steps of the logit below the peak, 32 to one; further below, weights are 0 to 64 bits.
const STEPS: usize = 8192;

/// The step at a distance below the peak: the greater, the later, and the last for all the rest.
fn step(below: f32) -> usize {
    const LAST: f32 = (STEPS - 1) as f32;
    /// A float of this size has no fraction; what is added to it stands in its low bits.
    const WHOLE: f32 = 8_388_608.0;
    let steps = below * 32.0;
    let bounded = if steps < LAST { steps } else { LAST };
    (bounded + WHOLE).to_bits() as usize % STEPS
}

/// The nucleus is first looked for among so many; in text it is hardly ever larger.
const NUCLEUS: usize = 256;

impl Selection {
    /// Applies `filters`, in the order top-k, top-p, min-p. The token with the greatest logit is
    /// always left.
    pub(super) fn apply(&mut self, logits: &[f32], survey: &Survey, filters: Filters) {
        let peak = survey.peak;
        let mut limit = filters.top_k.map_or(0, |k| self.kth(logits, survey, k));
        if let Some(share) = filters.top_p {
            limit = limit.max(self.nucleus(logits, survey, limit, share));
        }
        let least = filters.min_p.unwrap_or(0.0);
        // By the logarithm roughly, with room for its rounding; then by the weight itself.
        let room = 1e-3 + peak.abs() * 1e-5;
        let floor = if least > 0.0 { peak + least.ln() - room } else { f32::NEG_INFINITY };
        self.gather(logits, survey, floor, limit);
        self.ids.clear();
        self.logits.clear();
        for rank in &self.ranks {
            let (id, logit) = parts(*rank);
            if least <= 0.0 || exponential(logit - peak) >= least {
                self.ids.push(id);
                self.logits.push(logit);
            }
        }
    }

    /// Puts into `ranks` the tokens that are not masked, have a logit of `floor` or more, and the
    /// rank `limit` or a higher one; in the order of their ids.
    fn gather(&mut self, logits: &[f32], survey: &Survey, floor: f32, limit: Rank) {
        let floor = if limit > 0 { floor.max(parts(limit).1) } else { floor };
        self.ranks.clear();
        for (number, block) in logits.chunks(BLOCK).enumerate() {
            if survey.greatest.get(number).is_none_or(|greatest| *greatest < floor) {
                continue;
            }
            for (at, logit) in block.iter().enumerate() {
                if *logit >= floor && *logit > f32::NEG_INFINITY {
                    // There are fewer logits than u32 has numbers.
                    let id = u32::try_from(number * BLOCK + at).unwrap_or(u32::MAX);
                    let rank = rank(id, *logit);
                    if rank >= limit {
                        self.ranks.push(rank);
                    }
                }
            }
        }
    }

    /// The rank of the k-th of the greatest; 0 where there are fewer.
    fn kth(&mut self, logits: &[f32], survey: &Survey, k: usize) -> Rank {
        let Some(before) = k.checked_sub(1) else { return 0 };
        let mut floor = f32::NEG_INFINITY;
        if k < survey.greatest.len() {
            self.copy.clear();
            self.copy.extend_from_slice(&survey.greatest);
            floor = *self.copy.select_nth_unstable_by(before, |a, b| b.total_cmp(a)).1;
        }
        self.gather(logits, survey, floor, 0);
        if self.ranks.len() < k {
            return 0;
        }
        *self.ranks.select_nth_unstable_by(before, |a, b| b.cmp(a)).1
    }

    /// The rank of the last token of the least set of likeliest ones, among those from `limit`
    /// upwards, that together have `share` of the probability.
    fn nucleus(&mut self, logits: &[f32], survey: &Survey, limit: Rank, share: f32) -> Rank {
        self.weights.fill(logits, survey.peak, 1.0);
        if limit > 0 {
            self.gather(logits, survey, f32::NEG_INFINITY, limit);
            let target = weight(&self.ranks, &self.weights) * f64::from(share);
            return self.reach(target, limit);
        }
        let target = self.weights.total() * f64::from(share);
        let head = self.kth(logits, survey, NUCLEUS);
        self.gather(logits, survey, f32::NEG_INFINITY, head);
        if head == 0 || weight(&self.ranks, &self.weights) >= target {
            return self.reach(target, head);
        }
        self.steps(logits, survey.peak, target)
    }

    /// The same in the whole vocabulary, by steps below the peak. The weights are known.
    fn steps(&mut self, logits: &[f32], peak: f32, target: f64) -> Rank {
        self.sums.clear();
        self.sums.resize(STEPS, 0.0);
        for (logit, weight) in logits.iter().zip(self.weights.values()) {
            if let Some(sum) = self.sums.get_mut(step(peak - logit)) {
                *sum += f64::from(*weight);
            }
        }
        let mut rest = target;
        let within = self.sums.iter().position(|sum| {
            let reached = *sum >= rest;
            if !reached {
                rest -= sum;
            }
            reached
        });
        // Rounding may let all of them fall short.
        let Some(within) = within else { return 0 };
        self.ranks.clear();
        let ranks = (0..).zip(logits).filter(|(_, logit)| step(peak - *logit) == within);
        self.ranks.extend(ranks.map(|(id, logit)| rank(id, *logit)));
        let lowest = self.ranks.iter().copied().min().unwrap_or(0);
        self.reach(rest, lowest)
    }

    /// Of `ranks`, the one at which the sum of weights, from the highest down, reaches `target`;
    /// `all`, which is no higher than any of them, where rounding lets it fall short.
    fn reach(&mut self, mut target: f64, all: Rank) -> Rank {
        let mut reached = all;
        let mut draw = 0u64;
        while !self.ranks.is_empty() {
            // Any will do, so long as no order of logits makes it the worst each time: the upper bits
            // of Knuth's generator (MMIX).
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(draw >> 33).unwrap_or(0) % self.ranks.len();
            let Some(pivot) = self.ranks.get(at).copied() else { break };
            self.upper.clear();
            self.lower.clear();
            let mut sum = 0.0;
            for rank in &self.ranks {
                if *rank >= pivot {
                    sum += one(*rank, &self.weights);
                    // Of its own side it is the lowest, and is done with.
                    if *rank > pivot {
                        self.upper.push(*rank);
                    }
                } else {
                    self.lower.push(*rank);
                }
            }
            if sum >= target {
                reached = pivot;
                std::mem::swap(&mut self.ranks, &mut self.upper);
            } else {
                target -= sum;
                std::mem::swap(&mut self.ranks, &mut self.lower);
            }
        }
        reached
    }
}

fn one(rank: Rank, weights: &Weights) -> f64 {
    usize::try_from(parts(rank).0).map_or(0.0, |place| f64::from(weights.at(place)))
}

fn weight(ranks: &[Rank], weights: &Weights) -> f64 {
    ranks.iter().map(|rank| one(*rank, weights)).sum()
}
