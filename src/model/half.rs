//! Floats of 16 bits.

/// IEEE 754 half precision, widened; every value is exact.
#[inline]
pub(crate) fn half_to_f32(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits & 0x8000) << 16;
    let fraction = bits & 0x3ff;
    match bits >> 10 & 31 {
        // Whole multiples of 2^-24.
        0 => {
            let magnitude = f32::from(u16::from_le_bytes(bytes) & 0x3ff) * SMALLEST;
            f32::from_bits(sign | magnitude.to_bits())
        }
        31 => f32::from_bits(sign | 0xff << 23 | fraction << 13),
        // The exponent counts from 15 there and from 127 here.
        exponent => f32::from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13),
    }
}

/// 2^-24, the smallest half above zero.
const SMALLEST: f32 = 1.0 / 16_777_216.0;

/// The upper half of a float of 32 bits, as "bfloat16" keeps it.
#[inline]
pub(crate) fn bfloat_to_f32(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit patterns and values from IEEE 754-2019, table of binary16 examples.
    #[test]
    fn half_precision_widens_exactly() {
        for (bits, value) in [
            (0x3c00u16, 1.0f32),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
            (0x8000, -0.0),
        ] {
            assert_eq!(half_to_f32(bits.to_le_bytes()).to_bits(), value.to_bits(), "{bits:#06x}");
        }
        assert!(half_to_f32(0x7e00u16.to_le_bytes()).is_nan());
    }

    /// Every half against the definition of the format: sign, exponent and fraction as numbers.
    #[test]
    fn every_half_is_what_its_parts_say() {
        for bits in 0..=u16::MAX {
            let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
            let exponent = i32::from(bits >> 10 & 31);
            let fraction = f64::from(bits & 1023) / 1024.0;
            let found = half_to_f32(bits.to_le_bytes());
            let value = match exponent {
                0 => sign * fraction * 2f64.powi(-14),
                31 if fraction > 0.0 => {
                    assert!(found.is_nan(), "{bits:#06x}");
                    continue;
                }
                31 => sign * f64::INFINITY,
                _ => sign * (1.0 + fraction) * 2f64.powi(exponent - 15),
            };
            assert_eq!(f64::from(found).to_bits(), value.to_bits(), "{bits:#06x}");
        }
    }

    /// By hand: the bits of these floats end in 16 zeros.
    #[test]
    fn bfloats_are_upper_halves() {
        for (bits, value) in [(0x3f80u16, 1.0f32), (0xc000, -2.0), (0x7f80, f32::INFINITY)] {
            assert_eq!(bfloat_to_f32(bits.to_le_bytes()).to_bits(), value.to_bits(), "{bits:#06x}");
        }
    }
}
