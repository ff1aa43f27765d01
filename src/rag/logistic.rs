//! A probability out of a few figures: logistic regression, fitted elsewhere.

/// Weights of `N` figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Logistic<const N: usize> {
    pub(super) bias: f32,
    pub(super) weights: [f32; N],
}

impl<const N: usize> Logistic<N> {
    /// 0 to 1.
    pub(super) fn probability(&self, figures: &[f32; N]) -> f32 {
        let sum: f32 = self.weights.iter().zip(figures).map(|(w, x)| w * x).sum();
        1.0 / (1.0 + (-(sum + self.bias)).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_logistic_function() {
        let model = Logistic { bias: -1.0, weights: [2.0, 0.5] };
        // 1 / (1 + e^-1) and 1 / (1 + e^1).
        assert!((model.probability(&[1.0, 0.0]) - 0.731_058_6).abs() < 1e-6);
        assert!((model.probability(&[0.0, 0.0]) - 0.268_941_4).abs() < 1e-6);
    }
}
