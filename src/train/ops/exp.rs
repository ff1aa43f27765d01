//! exp in a form that compilers turn into wide instructions.

/// e to the `x`, to 2 units in the last place, for `x` from −87 to 0; below that, 0.
///
/// Range reduction by ln 2 in two parts and a polynomial of degree 6, as Cephes' `expf` does it
/// (Moshier 1989).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and subtracting it rounds to an integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    // The integer stands in the low bits of the shifted number; moved into the exponent it is 2^n.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "the reference is rounded once")]
    fn exp_equals_the_standard_library() {
        for i in -870_000..100_000 {
            let x = i as f32 * 1e-4;
            let right = f64::from(x).exp() as f32;
            assert!((super::exp(x) - right).abs() <= right * 3e-7, "{x}");
        }
        assert_eq!(super::exp(f32::NEG_INFINITY).to_bits(), 0);
        assert_eq!(super::exp(0.0).to_bits(), 1.0f32.to_bits());
    }
}
