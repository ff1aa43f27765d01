//! The one place that names simsimd: SIMD kernels behind plain functions.

use simsimd::SpatialSimilarity;

/// Dot product of two vectors of the same length.
///
/// The bits of the result depend on the processor, so ties are broken by id wherever order matters.
///
/// # Panics
/// In debug builds, where the lengths differ; in release builds the shorter length counts.
#[inline]
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    #[expect(clippy::cast_possible_truncation, reason = "an f32 product, widened by the interface")]
    match <f32 as SpatialSimilarity>::dot(a, b) {
        Some(product) => product as f32,
        None => a.iter().zip(b).map(|(x, y)| x * y).sum(),
    }
}

/// Squared Euclidean distance of two vectors of the same length: the sum of squared differences, so
/// that vectors that are near each other and far from zero lose nothing.
#[inline]
pub(crate) fn squared(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    #[expect(clippy::cast_possible_truncation, reason = "an f32 sum, widened by the interface")]
    match <f32 as SpatialSimilarity>::l2sq(a, b) {
        Some(sum) => sum as f32,
        None => a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum(),
    }
}

/// Dot product of two vectors of small whole numbers.
#[inline]
pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    #[expect(clippy::cast_possible_truncation, reason = "a whole number, widened by the interface")]
    match <i8 as SpatialSimilarity>::dot(a, b) {
        Some(product) => product as f32,
        None => a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum::<i32>() as f32,
    }
}

/// The instruction sets that the kernels can use on this processor, for diagnosis.
#[must_use]
pub fn kernels() -> Vec<&'static str> {
    [
        ("haswell (AVX2)", simsimd::capabilities::uses_haswell()),
        ("skylake (AVX-512)", simsimd::capabilities::uses_skylake()),
        ("ice lake (AVX-512 VNNI)", simsimd::capabilities::uses_ice()),
        ("genoa (AVX-512 BF16)", simsimd::capabilities::uses_genoa()),
        ("sapphire rapids (AVX-512 FP16)", simsimd::capabilities::uses_sapphire()),
        ("neon", simsimd::capabilities::uses_neon()),
        ("sve", simsimd::capabilities::uses_sve()),
    ]
    .into_iter()
    .filter_map(|(name, used)| used.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the same sum in f64, the oracle; tolerance for f32 accumulation.
        #[test]
        fn dot_agrees_with_f64(pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 1..2000)) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5 * a.len() as f64);
        }

        #[test]
        fn squared_agrees_with_f64(pairs in proptest::collection::vec((-1f32..1.0, -1f32..1.0), 1..2000)) {
            // Far from zero, where a difference of squares would be lost.
            let (a, b): (Vec<f32>, Vec<f32>) =
                pairs.into_iter().map(|(x, y)| (1000.0 + x, 1000.0 + y)).unzip();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            prop_assert!((f64::from(squared(&a, &b)) - exact).abs() <= 1e-5 * exact);
        }
    }
}
