//! Logits as weights, and a draw from them.
//!
//! Weights are e^((logit − peak) / temperature): the peak weighs 1, and a probability is a weight over
//! their sum (softmax). The exponential is made of additions and multiplications alone, in a fixed
//! order, so that the same logits and seed give the same token on every machine; the system's own
//! differs from one to another in the last bit.

/// Logits are looked at in blocks of so many.
pub(super) const BLOCK: usize = 64;

/// Sums that are kept beside each other, so that the compiler adds several at once.
const LANES: usize = 8;

/// Weights, and their sums by block and in all.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    values: Vec<f32>,
    blocks: Vec<f64>,
    total: f64,
}

impl Weights {
    /// Weighs `logits`, of which `peak` is the greatest and finite; none is NaN.
    pub(super) fn fill(&mut self, logits: &[f32], peak: f32, temperature: f32) {
        self.values.clear();
        self.values.extend(logits.iter().map(|x| exponential((x - peak) / temperature)));
        self.blocks.clear();
        self.blocks.extend(self.values.chunks(BLOCK).map(sum));
        self.total = self.blocks.iter().sum();
    }

    /// The weight at a place.
    pub(super) fn at(&self, place: usize) -> f32 {
        self.values.get(place).copied().unwrap_or(0.0)
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn total(&self) -> f64 {
        self.total
    }

    /// The place that `unit`, from 0 to below 1, falls on when the weights are laid side by side.
    /// `None` where nothing has a weight.
    pub(super) fn draw(&self, unit: f64) -> Option<usize> {
        let mut rest = unit * self.total;
        let mut chosen = None;
        for (number, sum) in self.blocks.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            // Rounding may lead beyond the end: then it is the last.
            chosen = Some((number * BLOCK, rest));
            if rest < *sum {
                break;
            }
            rest -= sum;
        }
        let (start, rest) = chosen?;
        let end = self.values.len().min(start + BLOCK);
        within(self.values.get(start..end)?, rest).map(|at| start + at)
    }
}

/// The place in a block that `rest` falls on; the last with a weight where it lies beyond.
fn within(block: &[f32], mut rest: f64) -> Option<usize> {
    let mut last = None;
    for (at, weight) in block.iter().enumerate() {
        if *weight > 0.0 {
            if rest < f64::from(*weight) {
                return Some(at);
            }
            rest -= f64::from(*weight);
            last = Some(at);
        }
    }
    last
}

fn sum(block: &[f32]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = block.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, weight) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(*weight);
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|w| f64::from(*w)).sum::<f64>()
}

/// Below this a weight is 0.
const LEAST: f32 = -87.0;
/// 1.5 · 2²³: a float of this size has no fraction, so that adding it rounds to a whole number, which
/// then stands in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The upper bits of ln 2 (so few that a multiple of it is exact), and what is left of it.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// e^x for x ≤ 0, to 3 parts in 10⁷; 0 for the least.
///
/// x = n ln 2 + r with |r| ≤ ln 2 / 2, so that e^x = 2^n e^r; the series of e^r ends after r⁷, the
/// first term left out being below 10⁻⁸.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    let bounded = if x > LEAST { x } else { LEAST };
    let rounded = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (bounded - n * LN_2[0]) - n * LN_2[1];
    let series = 1.0
        + r * (1.0
            + r * (1.0 / 2.0
                + r * (1.0 / 6.0
                    + r * (1.0 / 24.0
                        + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5_040.0)))))));
    // n in the low bits becomes the exponent; ROUND's own bits are shifted out.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    if x > LEAST { series * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library's exponential of 64 bits is the reference.
    #[test]
    fn the_exponential_is_right_to_the_last_bits() {
        let mut worst = 0f64;
        for i in 0..870_000u32 {
            let x = -(i as f32) * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exponential(x)) - exact).abs() / exact);
        }
        assert!(worst < 3e-7, "{worst:e}");
        let ends = [0.0, -87.0, -1e9, f32::NEG_INFINITY].map(|x| exponential(x).to_bits());
        assert_eq!(ends, [1f32.to_bits(), 0, 0, 0]);
    }

    #[test]
    fn a_draw_falls_on_what_has_a_weight() {
        let mut weights = Weights::default();
        weights.fill(&[], 0.0, 1.0);
        assert_eq!(weights.draw(0.5), None);
        // Two that weigh the same, in different blocks, nothing elsewhere.
        let mut logits = vec![f32::NEG_INFINITY; 3 * BLOCK];
        logits[1] = 4.0;
        logits[2 * BLOCK] = 4.0;
        weights.fill(&logits, 4.0, 1.0);
        let below = |unit: f64| f64::from_bits(unit.to_bits() - 1);
        assert_eq!(weights.draw(0.0), Some(1));
        assert_eq!(weights.draw(below(0.5)), Some(1));
        assert_eq!(weights.draw(0.5), Some(2 * BLOCK));
        assert_eq!(weights.draw(below(1.0)), Some(2 * BLOCK));
        // Rounding that goes beyond the end falls on the last.
        assert_eq!(weights.draw(1.0), Some(2 * BLOCK));
    }
}
