//! How two vectors are compared, and what a vector must be for it.
//!
//! Inside, everything goes by a *rank* that is least for the nearest: what a kernel gives without
//! another step. What people are told, a distance and a score, is made of it at the end, so that a
//! root which brings two ranks together cannot change their order.

use super::{check_dimensions, check_unit, dot, is_unit, normalise, squared};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The longest vector that [`Metric::Dot`] and [`Metric::Euclidean`] take. Squares and products of two
/// such, times what sums of 4,096 of them come to, are still far from the largest f32.
const MAX_LENGTH: f64 = 1e15;

/// How far apart two vectors are. A collection has one from the beginning
/// ([`crate::CollectionOptions::metric`]) and keeps it.
///
/// For vectors of unit length, which encoders give, all three put everything in the same order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Metric {
    /// The angle between them, whatever their lengths: vectors are stored with unit length, and one
    /// of length zero is refused. The default.
    #[default]
    Cosine,
    /// Their product, largest first: the longer a vector, the nearer it is to what it points to.
    /// Vectors are stored as they are given.
    Dot,
    /// The length of their difference. Vectors are stored as they are given.
    Euclidean,
}

impl Metric {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::Dot, Self::Euclidean];

    /// Its name, as [`FromStr`] reads it: `cosine`, `dot` or `euclidean`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
        }
    }

    /// What stands in files for it.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Cosine => 0,
            Self::Dot => 1,
            Self::Euclidean => 2,
        }
    }

    /// The vector as it is stored and searched for: of unit length for [`Metric::Cosine`], else as
    /// it is. One that is so already is not copied.
    ///
    /// # Errors
    /// [`Error::Dimensions`]; [`Error::Vector`] for a NaN, an infinity, a vector without a direction
    /// where that counts, or one whose products would be too large.
    pub(crate) fn admit(self, vector: &[f32], dimensions: usize) -> Result<Cow<'_, [f32]>> {
        if self == Self::Cosine {
            return if is_unit(vector) && vector.len() == dimensions {
                Ok(Cow::Borrowed(vector))
            } else {
                normalise(vector, dimensions).map(Cow::Owned)
            };
        }
        self.check(vector, dimensions)?;
        Ok(Cow::Borrowed(vector))
    }

    /// Checks that `vector` is what [`Metric::admit`] gives.
    pub(crate) fn check(self, vector: &[f32], dimensions: usize) -> Result<()> {
        if self == Self::Cosine {
            return check_unit(vector, dimensions);
        }
        check_dimensions(vector, dimensions)?;
        let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        if length <= MAX_LENGTH {
            return Ok(());
        }
        // As few digits as tell it.
        #[expect(clippy::cast_possible_truncation, reason = "for people")]
        let length = length as f32;
        Err(Error::Vector {
            reason: format!(
                "its length is {length:e}; at most {MAX_LENGTH:e} can be compared by {self}, so \
                 divide all vectors of the collection by one number"
            ),
        })
    }

    /// Least for the nearest: cosine distance, minus the product, or squared Euclidean distance.
    #[inline]
    pub(crate) fn rank(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Self::Cosine => super::distance(a, b),
            Self::Dot => -dot(a, b),
            Self::Euclidean => squared(a, b),
        }
    }

    /// The rank of two vectors by their product and their squared lengths.
    #[inline]
    pub(crate) fn rank_of(self, product: f32, squares: [f32; 2]) -> f32 {
        match self {
            Self::Cosine => (1.0 - product).max(0.0),
            Self::Dot => -product,
            Self::Euclidean => (squares[0] + squares[1] - 2.0 * product).max(0.0),
        }
    }

    /// How far a rank may be off where a product of two vectors of these lengths is off by
    /// `product`; rounding included.
    pub(crate) fn rank_error(self, product: f32, [a, b]: [f32; 2]) -> f32 {
        // What a rotation, sums of 4,096 products and the last steps may round away, by a bound
        // that takes every rounding to fall to the same side.
        const ROUNDING: f32 = 4e-5;
        match self {
            Self::Cosine | Self::Dot => product + ROUNDING * a * b,
            Self::Euclidean => 2.0 * product + ROUNDING * (a * a + b * b),
        }
    }

    /// The distance that a rank stands for: cosine distance, minus the product, or Euclidean
    /// distance.
    #[must_use]
    pub(crate) fn distance(self, rank: f32) -> f32 {
        match self {
            Self::Cosine | Self::Dot => rank,
            Self::Euclidean => rank.sqrt(),
        }
    }

    /// The score of a distance, higher for what is nearer: cosine similarity, the product, or
    /// Euclidean distance with a minus sign.
    #[must_use]
    pub(crate) fn score(self, distance: f32) -> f32 {
        match self {
            Self::Cosine => 1.0 - distance,
            Self::Dot | Self::Euclidean => -distance,
        }
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| {
            Error::parameter("metric", format!("{name:?}; there are cosine, dot and euclidean"))
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the vectors of an index are: how many elements each has, and how they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) dimensions: usize,
    pub(crate) metric: Metric,
}

impl Space {
    /// Checks that `vector` is one that is stored.
    pub(crate) fn check(self, vector: &[f32]) -> Result<()> {
        self.metric.check(vector, self.dimensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{metric}\""));
        }
        let error = "l2".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("cosine, dot and euclidean"), "{error}");
    }

    #[test]
    fn only_an_angle_needs_a_direction() {
        for metric in [Metric::Dot, Metric::Euclidean] {
            for good in [[0.0, 0.0], [3.0, -4.0], [7e14, -7e14], [1e-40, 0.0]] {
                assert_eq!(metric.admit(&good, 2).unwrap().as_ref(), good);
            }
            for bad in [[f32::NAN, 0.0], [0.0, f32::INFINITY], [1e15, 1e15], [f32::MAX, 0.0]] {
                assert!(matches!(metric.admit(&bad, 2), Err(Error::Vector { .. })), "{bad:?}");
            }
            let error = metric.admit(&[0.0, 2e15], 2).unwrap_err().to_string();
            assert!(error.contains("2e15") && error.contains("at most 1e15"), "{error}");
            assert!(matches!(metric.admit(&[1.0], 2), Err(Error::Dimensions { .. })));
        }
        assert!(Metric::Cosine.admit(&[0.0, 0.0], 2).is_err());
        assert_eq!(Metric::Cosine.admit(&[0.0, f32::MAX], 2).unwrap().as_ref(), [0.0, 1.0]);
    }

    /// The longest vectors there may be.
    #[test]
    fn nothing_overflows() {
        let longest: Vec<f32> = vec![1.56e13; 4096];
        let opposite: Vec<f32> = longest.iter().map(|x| -x).collect();
        for metric in [Metric::Dot, Metric::Euclidean] {
            metric.check(&longest, 4096).unwrap();
            assert!(metric.rank(&longest, &opposite).is_finite());
        }
    }

    proptest! {
        /// By hand, in f64: tolerance for f32 accumulation.
        #[test]
        fn ranks_distances_and_scores_are_the_formulas(
            pairs in proptest::collection::vec((-9f32..9.0, -9f32..9.0), 1..300),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let sum = |f: fn(f64, f64) -> f64| -> f64 {
                pairs.iter().map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum()
            };
            let (product, apart) = (sum(|a, b| a * b), sum(|a, b| (a - b).powi(2)).sqrt());
            let lengths = [sum(|a, _| a * a).sqrt(), sum(|_, b| b * b).sqrt()];
            let tolerance = 1e-5 * (lengths[0] * lengths[1]).max(1.0);
            let dot = Metric::Dot.distance(Metric::Dot.rank(&a, &b));
            prop_assert!((f64::from(dot) + product).abs() < tolerance);
            prop_assert_eq!(Metric::Dot.score(dot).to_bits(), (-dot).to_bits());
            let euclidean = Metric::Euclidean.distance(Metric::Euclidean.rank(&a, &b));
            prop_assert!((f64::from(euclidean) - apart).abs() < 1e-5 * apart.max(1.0));
            let score = Metric::Euclidean.score(euclidean);
            prop_assert_eq!(score.to_bits(), (-euclidean).to_bits());
            // By products and squares, as codes are compared.
            #[expect(clippy::cast_possible_truncation, reason = "as the codes have them")]
            let (product, squares) = (product as f32, lengths.map(|x| (x * x) as f32));
            let metric = Metric::Euclidean;
            let off = (metric.rank_of(product, squares) - metric.rank(&a, &b)).abs();
            prop_assert!(off <= metric.rank_error(0.0, squares.map(f32::sqrt)));
        }
    }
}
