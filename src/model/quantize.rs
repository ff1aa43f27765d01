//! Eight-bit integers for weights and activations.
//!
//! Weights are symmetric per output channel; activations are affine with one constant scale and
//! zero point per tensor, so that a text's vector cannot depend on what else is in its batch
//! (a scale taken from the whole batch, ONNX's dynamic quantisation, makes it do so).

/// A matrix of `rows` inputs by `columns` outputs in 8 bits.
pub(crate) struct QuantizedMatrix {
    /// Row by row, as the operators want it.
    pub(crate) values: Vec<i8>,
    /// One scale per column.
    pub(crate) scales: Vec<f32>,
}

/// Quantises a row-major matrix of `columns` columns, each column by its own largest magnitude.
pub(crate) fn quantize_columns(matrix: &[f32], columns: usize, limit: i8) -> QuantizedMatrix {
    let largest = largest_of_columns(matrix, columns);
    let limit = f32::from(limit);
    let scales: Vec<f32> =
        largest.iter().map(|max| if *max > 0.0 { max / limit } else { 1.0 }).collect();
    let mut values = Vec::with_capacity(matrix.len());
    for row in matrix.chunks_exact(columns) {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to 8 bits")]
        values.extend(
            row.iter().zip(&scales).map(|(x, s)| (x / s).round().clamp(-limit, limit) as i8),
        );
    }
    QuantizedMatrix { values, scales }
}

/// The largest weight magnitude that is exact on this processor.
///
/// Without a dot-product instruction (VNNI), x86 multiplies unsigned by signed bytes and adds two
/// products into 16 bits, which saturates above 7-bit weights; the runtime documents the same
/// advice as "reduce range".
pub(crate) fn weight_limit() -> i8 {
    #[cfg(target_arch = "x86_64")]
    {
        if !std::arch::is_x86_feature_detected!("avx512vnni")
            && !std::arch::is_x86_feature_detected!("avxvnni")
        {
            return 63;
        }
    }
    127
}

/// Smallest and largest value of an activation over the calibration texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f32,
    pub(crate) high: f32,
}

impl Range {
    /// Of no value yet.
    pub(crate) const EMPTY: Self = Self { low: f32::INFINITY, high: f32::NEG_INFINITY };

    /// Widens it to `value`.
    pub(crate) fn include(&mut self, value: f32) {
        self.low = self.low.min(value);
        self.high = self.high.max(value);
    }

    /// The range that all span.
    pub(crate) fn of_all(ranges: impl IntoIterator<Item = Self>) -> Self {
        ranges.into_iter().fold(Self::EMPTY, |all, range| Self {
            low: all.low.min(range.low),
            high: all.high.max(range.high),
        })
    }

    /// The largest magnitude of its values.
    pub(crate) fn magnitude(self) -> f32 {
        self.low.abs().max(self.high.abs())
    }

    /// The range of the values divided by `scale`.
    pub(crate) fn divided(self, scale: f32) -> Self {
        Self { low: self.low / scale, high: self.high / scale }
    }

    /// Scale and zero point of an unsigned byte; zero is exact, as padding needs.
    pub(crate) fn affine(self) -> (f32, u8) {
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=255"
        )]
        let zero = (-low / scale).round().clamp(0.0, 255.0) as u8;
        (scale, zero)
    }
}

/// By what to divide each channel of an activation, and multiply the weights that it meets, so that a
/// few channels with large values do not take the resolution of all others (`SmoothQuant`, Xiao 2023).
/// Their geometric mean is 1.
///
/// `activations` and `weights` are the largest magnitudes of each channel; `migration` is how much of
/// the difference between channels the weights take over.
pub(crate) fn smoothing(activations: &[f32], weights: &[f32], migration: f32) -> Vec<f32> {
    let magnitude = |x: f32| x.clamp(1e-5, 1e5);
    let mut scales: Vec<f32> = activations
        .iter()
        .zip(weights)
        .map(|(a, w)| magnitude(*a).powf(migration) / magnitude(*w).powf(1.0 - migration))
        .collect();
    let logs: f32 = scales.iter().map(|s| s.ln()).sum();
    let mean = (logs / scales.len().max(1) as f32).exp();
    scales.iter_mut().for_each(|s| *s /= mean);
    scales
}

/// The largest magnitude in each row of a row-major matrix of `columns` columns.
pub(crate) fn largest_of_rows(matrix: &[f32], columns: usize) -> Vec<f32> {
    matrix.chunks_exact(columns.max(1)).map(|row| largest(row.iter())).collect()
}

/// The largest magnitude in each column.
pub(crate) fn largest_of_columns(matrix: &[f32], columns: usize) -> Vec<f32> {
    let mut found = vec![0f32; columns];
    for row in matrix.chunks_exact(columns.max(1)) {
        found.iter_mut().zip(row).for_each(|(max, x)| *max = max.max(x.abs()));
    }
    found
}

fn largest<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    values.fold(0f32, |max, x| max.max(x.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Rounding to the nearest step errs by half a step at most.
        #[test]
        fn weights_come_back_within_half_a_step(
            matrix in proptest::collection::vec(-10f32..10.0, 12..=12), limit in 1i8..) {
            let q = quantize_columns(&matrix, 3, limit);
            for (i, (value, original)) in q.values.iter().zip(&matrix).enumerate() {
                let scale = q.scales[i % 3];
                prop_assert!((f32::from(*value) * scale - original).abs() <= scale * 0.5001);
                prop_assert!(value.abs() <= limit);
            }
        }

        #[test]
        fn activations_keep_zero_and_their_ends(a in -50f32..50.0, b in -50f32..50.0) {
            let range = Range { low: a.min(b), high: a.max(b) };
            let (scale, zero) = range.affine();
            for x in [0.0, range.low, range.high] {
                let q = (x / scale).round() + f32::from(zero);
                prop_assert!((-0.51..=255.51).contains(&q), "{x} becomes {q}");
            }
        }
    }

    proptest! {
        /// Dividing the activation and multiplying the weights leaves the product as it was.
        #[test]
        fn smoothing_changes_no_product(
            x in proptest::collection::vec(-40f32..40.0, 3..=3),
            weight in proptest::collection::vec(-2f32..2.0, 6..=6)) {
            let scales = smoothing(&largest_of_rows(&x, 1), &largest_of_rows(&weight, 2), 0.75);
            for column in 0..2 {
                let plain: f32 = (0..3).map(|i| x[i] * weight[i * 2 + column]).sum();
                let smooth: f32 =
                    (0..3).map(|i| (x[i] / scales[i]) * (weight[i * 2 + column] * scales[i])).sum();
                prop_assert!((plain - smooth).abs() < 1e-3);
            }
            let product: f32 = scales.iter().product();
            prop_assert!((product - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn a_column_of_zeros_has_a_usable_scale() {
        let q = quantize_columns(&[0.0, 1.0, 0.0, -2.0], 2, 127);
        assert_eq!(q.values, [0, 64, 0, -127]);
        assert!(q.scales.iter().all(|s| *s > 0.0));
        assert_eq!(Range { low: 0.0, high: 0.0 }.affine(), (1.0, 0));
    }
}
