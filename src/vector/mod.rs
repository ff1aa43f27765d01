//! Vectors at the door and their kernels: validation, normalisation, products and distances.
//!
//! Every vector that enters the database is admitted by its [`Metric`]. For the default that is
//! [`normalise`]; after it, cosine similarity is the dot product of unit vectors, and no later stage
//! meets a zero vector (for which simsimd's `cos` would answer 0, that is: closest). No metric admits
//! a NaN, an infinity, or a vector so long that a product would overflow.

pub(crate) mod code;
pub(crate) mod fastscan;
mod kernel;
mod memory;
mod metric;
mod rotation;
pub(crate) mod sketch;

pub use kernel::{dot, kernels};
pub(crate) use kernel::{dot_i8, squared};
pub use memory::Memory;
pub use metric::Metric;
pub(crate) use metric::Space;
pub(crate) use rotation::Rotation;

use crate::error::{Error, Result};

/// Dimensions that a collection may have.
pub const MAX_DIMENSIONS: usize = 4096;

/// Checks `vector` and scales it to unit length.
///
/// # Errors
/// [`Error::Dimensions`] where the length differs from `dimensions`; [`Error::Vector`] for a NaN,
/// an infinity, or a vector whose length is zero.
pub fn normalise(vector: &[f32], dimensions: usize) -> Result<Vec<f32>> {
    check_dimensions(vector, dimensions)?;
    // Scaling by the largest magnitude first keeps the sum of squares from overflowing or
    // vanishing, so that any finite non-zero vector has a direction.
    let largest = vector.iter().fold(0f32, |m, x| m.max(x.abs()));
    if largest == 0.0 {
        return Err(Error::Vector {
            reason: "all elements are zero, so it has no direction".to_owned(),
        });
    }
    let scaled = || vector.iter().map(|&x| f64::from(x) / f64::from(largest));
    let norm = scaled().map(|x| x * x).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "a unit vector's elements fit f32")]
    Ok(scaled().map(|x| (x / norm) as f32).collect())
}

/// Checks that `vector` has `dimensions` elements, all of them finite.
fn check_dimensions(vector: &[f32], dimensions: usize) -> Result<()> {
    if vector.len() != dimensions {
        return Err(Error::Dimensions { expected: dimensions, found: vector.len() });
    }
    match vector.iter().position(|x| !x.is_finite()) {
        Some(i) => Err(Error::Vector {
            reason: format!("element {i} is {}; every element must be finite", vector[i]),
        }),
        None => Ok(()),
    }
}

/// Whether [`normalise`] would change nothing but the last bits.
fn is_unit(vector: &[f32]) -> bool {
    // NaN and infinities are not.
    (vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() - 1.0).abs() < 2.5e-7
}

/// How far the squared length of a stored vector may be from 1: rounding of 4,096 elements is far less.
const UNIT_TOLERANCE: f32 = 1e-3;

/// Checks that `vector` is what [`normalise`] gives: of `dimensions` elements and of unit length.
pub(crate) fn check_unit(vector: &[f32], dimensions: usize) -> Result<()> {
    if vector.len() != dimensions {
        return Err(Error::Dimensions { expected: dimensions, found: vector.len() });
    }
    let length = dot(vector, vector);
    if length.is_nan() || (length - 1.0).abs() > UNIT_TOLERANCE {
        return Err(Error::Vector {
            reason: format!("its squared length is {length} where 1 was expected"),
        });
    }
    Ok(())
}

/// Cosine distance of two unit vectors: 0 (same direction) to 2 (opposite).
#[must_use]
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    (1.0 - dot(a, b)).max(0.0)
}

/// Asks for memory before it is needed.
#[inline]
pub(crate) fn prefetch<T>(memory: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in memory.chunks(64 / size_of::<T>().clamp(1, 64)) {
            #[expect(unsafe_code, reason = "the prefetch instruction has no safe form")]
            // SAFETY: the pointer lies in the slice; a prefetch reads nothing in any case.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = memory;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_has_no_direction() {
        for (bad, word) in [
            (vec![0.0, 0.0], "zero"),
            (vec![-0.0, 0.0], "zero"),
            (vec![f32::NAN, 1.0], "element 0"),
            (vec![1.0, f32::INFINITY], "element 1"),
            (vec![1.0, f32::NEG_INFINITY], "element 1"),
        ] {
            let message = normalise(&bad, 2).unwrap_err().to_string();
            assert!(message.contains(word), "{bad:?}: {message}");
        }
        assert!(matches!(normalise(&[1.0], 2), Err(Error::Dimensions { expected: 2, found: 1 })));
    }

    #[test]
    fn extreme_magnitudes_keep_their_direction() {
        for scale in [f32::MIN_POSITIVE, 1e-45, 1e-20, 1e20, f32::MAX] {
            let unit = normalise(&[scale, -scale], 2).unwrap();
            let expected = std::f32::consts::FRAC_1_SQRT_2;
            assert!((unit[0] - expected).abs() < 1e-6 && (unit[1] + expected).abs() < 1e-6);
        }
    }

    proptest! {
        #[test]
        fn normalised_vectors_have_length_one(v in proptest::collection::vec(-1e6f32..1e6, 1..600)) {
            prop_assume!(v.iter().any(|x| *x != 0.0));
            let unit = normalise(&v, v.len()).unwrap();
            let norm = unit.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            prop_assert!((norm - 1.0).abs() < 1e-5);
            prop_assert!(distance(&unit, &unit) < 1e-5);
        }
    }
}
