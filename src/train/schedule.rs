//! The learning rate of each step.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What becomes of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Down to 0 in a straight line.
    #[default]
    Linear,
    /// Down to 0 along half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// It stays.
    Constant,
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            "constant" => Ok(Self::Constant),
            _ => Err(Error::parameter(
                "schedule",
                format!("{name:?}; there are linear, cosine and constant"),
            )),
        }
    }
}

impl Schedule {
    /// By what the learning rate of `step`, from 0, is multiplied: rising to 1 in the first `warmup`
    /// of `total` steps, then as the schedule says.
    pub(super) fn factor(self, step: u64, warmup: u64, total: u64) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let left = total.saturating_sub(step) as f64 / total.saturating_sub(warmup).max(1) as f64;
        match self {
            Self::Linear => left,
            Self::Cosine => 0.5 * (1.0 - (std::f64::consts::PI * left).cos()),
            Self::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall() {
        let rates = |schedule: Schedule| -> Vec<f64> {
            (0..=8).map(|step| schedule.factor(step, 3, 8)).collect()
        };
        let close = |found: Vec<f64>, right: [f64; 9]| {
            for (a, b) in found.iter().zip(right) {
                assert!((a - b).abs() < 1e-6, "{found:?}");
            }
        };
        close(rates(Schedule::Linear), [0.25, 0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0]);
        close(rates(Schedule::Constant), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        // (1 + cos(π k / 5)) / 2
        close(
            rates(Schedule::Cosine),
            [0.25, 0.5, 0.75, 1.0, 0.904_508_5, 0.654_508_5, 0.345_491_5, 0.095_491_5, 0.0],
        );
        assert!((Schedule::Linear.factor(0, 0, 1) - 1.0).abs() < 1e-12);
        assert!("exponential".parse::<Schedule>().is_err());
    }
}
