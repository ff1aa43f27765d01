//! AdamW (Loshchilov and Hutter 2019), with a state of our own, so that it can be kept and taken up
//! again.

use super::encoder::Sums;
use super::parameters::{Parameter, Parameters};
use crate::error::Result;

/// How AdamW moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// How long the mean of gradients remembers. Default: 0.9.
    pub beta_1: f64,
    /// How long the mean of their squares remembers. Default: 0.999.
    pub beta_2: f64,
    /// Keeps the quotient finite. Default: 1e-8.
    pub epsilon: f64,
    /// How much of a weight is taken away in each step, times the learning rate; of biases and norms
    /// nothing is. Default: 0.01.
    pub weight_decay: f64,
    /// The largest length of the gradient of all parameters together; a longer one is shortened to
    /// it. Default: 1.
    pub clip: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.01, clip: 1.0 }
    }
}

/// Means of gradients and of their squares, by parameter; empty for what is frozen.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moments {
    pub(super) first: Vec<Vec<f32>>,
    pub(super) second: Vec<Vec<f32>>,
    /// Steps that were made.
    pub(super) steps: u64,
}

impl Moments {
    pub(super) fn zero(parameters: &Parameters) -> Self {
        let zero = || Sums::zero(parameters).0;
        Self { first: zero(), second: zero(), steps: 0 }
    }
}

/// The length of all gradients together.
pub(super) fn norm(gradients: &Sums) -> f64 {
    let squares = |g: &Vec<f32>| g.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
    gradients.0.iter().map(squares).sum::<f64>().sqrt()
}

impl AdamW {
    /// Moves the parameters against their gradients, which have the length `norm`.
    pub(super) fn step(
        &self,
        parameters: &Parameters,
        gradients: &Sums,
        norm: f64,
        rate: f64,
        moments: &mut Moments,
    ) -> Result<()> {
        moments.steps += 1;
        let shorter = if norm > self.clip { self.clip / norm } else { 1.0 };
        let both = moments.first.iter_mut().zip(&mut moments.second);
        for ((parameter, gradient), (first, second)) in
            parameters.all.iter().zip(&gradients.0).zip(both)
        {
            if parameter.trained {
                let update = Update::new(self, rate, moments.steps, shorter, parameter);
                let mut values = parameter.to_vec()?;
                update.apply(&mut values, gradient, first, second);
                parameter.set(values)?;
            }
        }
        Ok(())
    }
}

/// The constants of one step, in the precision of the weights.
struct Update {
    beta_1: f32,
    beta_2: f32,
    /// The learning rate over 1 − β₁ᵗ.
    rate: f32,
    /// √(1 − β₂ᵗ)
    second: f32,
    epsilon: f32,
    kept: f32,
    shorter: f32,
}

impl Update {
    #[expect(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
    fn new(adam: &AdamW, rate: f64, steps: u64, shorter: f64, parameter: &Parameter) -> Self {
        let power = i32::try_from(steps).unwrap_or(i32::MAX);
        let decay = if parameter.decays { adam.weight_decay } else { 0.0 };
        Self {
            beta_1: adam.beta_1 as f32,
            beta_2: adam.beta_2 as f32,
            rate: (rate / (1.0 - adam.beta_1.powi(power))) as f32,
            second: (1.0 - adam.beta_2.powi(power)).sqrt() as f32,
            epsilon: adam.epsilon as f32,
            kept: (1.0 - rate * decay) as f32,
            shorter: shorter as f32,
        }
    }

    fn apply(&self, values: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let state = first.iter_mut().zip(second);
        for ((w, g), (m, v)) in values.iter_mut().zip(gradient).zip(state) {
            let g = g * self.shorter;
            *m = self.beta_1 * *m + (1.0 - self.beta_1) * g;
            *v = self.beta_2 * *v + (1.0 - self.beta_2) * g * g;
            *w = *w * self.kept - self.rate * *m / (v.sqrt() / self.second + self.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Pooling;

    /// Algorithm 2 of the paper, in 64 bits, on the first weight, which decays, and on a bias, which
    /// does not.
    #[test]
    fn steps_are_those_of_the_paper() {
        let encoder = super::super::tests::tiny(Pooling::Mean, "gelu", None);
        let all = &encoder.parameters.all;
        let adam = AdamW { weight_decay: 0.1, clip: 2.0, ..AdamW::default() };
        let mut moments = Moments::zero(&encoder.parameters);
        let bias = 4;
        assert!(all[0].decays && !all[bias].decays && !all[3].decays);
        let mut right: Vec<(f64, f64, f64)> =
            [0, bias].iter().map(|i| (f64::from(all[*i].to_vec().unwrap()[0]), 0.0, 0.0)).collect();
        for step in 1..=5u32 {
            let mut gradients = Sums::zero(&encoder.parameters);
            let halves = f32::from(u8::try_from(step).unwrap()) / 2.0;
            gradients.0[0][0] = halves;
            gradients.0[bias][0] = -0.75 / halves;
            let own = [f64::from(halves), f64::from(-0.75 / halves)];
            let length = norm(&gradients);
            assert!((length - (own[0].powi(2) + own[1].powi(2)).sqrt()).abs() < 1e-6);
            let rate = 0.01 / f64::from(step);
            adam.step(&encoder.parameters, &gradients, length, rate, &mut moments).unwrap();
            let shorter = (2.0 / length).min(1.0);
            for (nth, (w, m, v)) in right.iter_mut().enumerate() {
                let g = own[nth] * shorter;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let power = step.cast_signed();
                let (mean, square) =
                    (*m / (1.0 - 0.9f64.powi(power)), *v / (1.0 - 0.999f64.powi(power)));
                let decay = if nth == 0 { 0.1 } else { 0.0 };
                *w -= rate * (mean / (square.sqrt() + 1e-8) + decay * *w);
            }
        }
        for ((w, _, _), i) in right.iter().zip([0, bias]) {
            let found = f64::from(all[i].to_vec().unwrap()[0]);
            assert!((found - w).abs() < 1e-6, "{found} {w}");
        }
        assert_eq!(moments.steps, 5);
    }
}
