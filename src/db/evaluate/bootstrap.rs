//! Whether a difference between two systems is more than chance: the paired bootstrap.

use crate::error::{Error, Result};
use crate::random::SplitMix64;
use std::fmt;

/// Resamples; the ends of the interval are then good to a fortieth of its width.
const RESAMPLES: usize = 10_000;
/// The same figures for the same runs.
const SEED: u64 = 20_260;
/// Chance that the interval leaves out on each side.
const TAIL: f64 = 0.025;

/// What a difference of two systems on the same queries says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// Mean difference: above 0 where the first system is the better one.
    pub difference: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// In words.
    pub verdict: Verdict,
}

/// Whether one system is better than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval is above 0.
    Better,
    /// The whole interval is below 0.
    Worse,
    /// 0 is in the interval: the queries do not tell the two apart.
    NoDifference,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifference => "no difference",
        })
    }
}

impl Comparison {
    /// The paired bootstrap (Efron 1979; for retrieval and translation Koehn 2004): queries are drawn
    /// with replacement, as many as there are, 10,000 times; the interval is from the 2.5th to the
    /// 97.5th percentile of the mean difference. The seed is fixed, so that the same differences
    /// have the same interval.
    ///
    /// ```
    /// use vdb::db::{Comparison, Verdict};
    ///
    /// // Three of four queries gain a tenth; the fourth loses as much.
    /// let found = Comparison::paired(&[0.1, 0.1, 0.1, -0.1])?;
    /// assert!((found.difference - 0.05).abs() < 1e-9);
    /// assert_eq!(found.verdict, Verdict::NoDifference);
    /// # Ok::<(), vdb::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Parameter`] for no differences, or one that is not finite.
    pub fn paired(differences: &[f64]) -> Result<Self> {
        if differences.is_empty() || differences.iter().any(|d| !d.is_finite()) {
            return Err(Error::parameter(
                "differences",
                format!("{} of them; finite ones, at least one, are needed", differences.len()),
            ));
        }
        let count = differences.len() as f64;
        let mut random = SplitMix64(SEED);
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let drawn = (0..differences.len())
                    .filter_map(|_| differences.get(below(&mut random, differences.len())));
                drawn.sum::<f64>() / count
            })
            .collect();
        means.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of the number of resamples"
        )]
        let at = |part: f64| {
            let place = (part * (RESAMPLES - 1) as f64).round() as usize;
            means.get(place).copied().unwrap_or_default()
        };
        let (low, high) = (at(TAIL), at(1.0 - TAIL));
        let verdict = if low > 0.0 {
            Verdict::Better
        } else if high < 0.0 {
            Verdict::Worse
        } else {
            Verdict::NoDifference
        };
        Ok(Self { difference: differences.iter().sum::<f64>() / count, low, high, verdict })
    }
}

/// From 0 to below `n`.
fn below(random: &mut SplitMix64, n: usize) -> usize {
    // The high half of the product (Lemire 2019): less than 2^-32 from even for any n here.
    let wide = u128::from(random.next()) * n as u128;
    usize::try_from(wide >> 64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for seed 0 as published with the reference implementation (Vigna,
    /// splitmix64.c); `below` of 2^32 is their upper half.
    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = SplitMix64(0);
        let upper: Vec<usize> = (0..2).map(|_| below(&mut random, 1 << 32)).collect();
        assert_eq!(upper, [0xe220_a839, 0x6e78_9e6a]);
    }

    #[test]
    fn equal_differences_have_no_width() {
        let found = Comparison::paired(&[0.25; 7]).unwrap();
        assert_eq!((found.difference, found.low, found.high), (0.25, 0.25, 0.25));
        assert_eq!(found.verdict, Verdict::Better);
        assert_eq!(Comparison::paired(&[-0.25; 3]).unwrap().verdict, Verdict::Worse);
        assert_eq!(Comparison::paired(&[0.0; 3]).unwrap().verdict, Verdict::NoDifference);
        assert_eq!(Verdict::NoDifference.to_string(), "no difference");
    }

    /// By hand: of two differences, both are drawn alike with chance 1/4 on each side, so that the
    /// percentiles are the two themselves.
    #[test]
    fn two_queries_say_little() {
        let found = Comparison::paired(&[0.0, 1.0]).unwrap();
        assert_eq!((found.low, found.high), (0.0, 1.0));
        assert_eq!(found.verdict, Verdict::NoDifference);
    }

    /// The mean of n draws of a fair coin has the deviation 1 / (2 sqrt(n)): for 400 queries the
    /// normal interval is 0.5 plus and minus 1.96 * 0.025 = 0.049.
    #[test]
    fn many_queries_come_to_the_normal_interval() {
        let differences: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let found = Comparison::paired(&differences).unwrap();
        assert!(
            (found.low - 0.451).abs() < 0.003 && (found.high - 0.549).abs() < 0.003,
            "{found:?}"
        );
        assert_eq!(Comparison::paired(&differences).unwrap(), found, "the seed is fixed");
    }

    #[test]
    fn nothing_is_not_compared() {
        assert!(Comparison::paired(&[]).is_err());
        assert!(Comparison::paired(&[f64::NAN]).is_err());
    }
}
