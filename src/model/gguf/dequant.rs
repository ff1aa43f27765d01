//! Quantised blocks, widened to f32.
//!
//! Layouts are those of ggml (`ggml-common.h`, `dequantize_row_*`); sums and products come in the
//! order of the `gguf` package's `dequantize`, so that results equal its to the bit. Scales are halves
//! (d), some blocks have an offset (m). Of two values that share a byte, the one in the low four bits
//! is in the first half of its row of 32, the other in the second.

use crate::model::half::{bfloat_to_f32, half_to_f32};

/// Hands out blocks of `B` bytes with the room for their `V` values.
fn each<const B: usize, const V: usize>(
    bytes: &[u8],
    values: &mut [f32],
    widen: impl Fn(&[u8; B], &mut [f32; V]),
) {
    let blocks = bytes.as_chunks::<B>().0.iter();
    blocks.zip(values.as_chunks_mut::<V>().0).for_each(|(block, values)| widen(block, values));
}

pub(super) fn f32(bytes: &[u8], values: &mut [f32]) {
    each::<4, 1>(bytes, values, |block, [value]| *value = f32::from_le_bytes(*block));
}

pub(super) fn f16(bytes: &[u8], values: &mut [f32]) {
    each::<2, 1>(bytes, values, |block, [value]| *value = half_to_f32(*block));
}

pub(super) fn bf16(bytes: &[u8], values: &mut [f32]) {
    each::<2, 1>(bytes, values, |block, [value]| *value = bfloat_to_f32(*block));
}

/// d, 16 bytes of codes: d (code - 8).
pub(super) fn q4_0(bytes: &[u8], values: &mut [f32]) {
    each::<18, 32>(bytes, values, |[d0, d1, codes @ ..], values| {
        let d = half_to_f32([*d0, *d1]);
        nibbles(codes, values, |_, code| d * (f32::from(code) - 8.0));
    });
}

/// d, m, 16 bytes of codes: d code + m.
pub(super) fn q4_1(bytes: &[u8], values: &mut [f32]) {
    each::<20, 32>(bytes, values, |[d0, d1, m0, m1, codes @ ..], values| {
        let (d, m) = (half_to_f32([*d0, *d1]), half_to_f32([*m0, *m1]));
        nibbles(codes, values, |_, code| d * f32::from(code) + m);
    });
}

/// d, the fifth bits of all codes, 16 bytes of codes: d (code - 16).
pub(super) fn q5_0(bytes: &[u8], values: &mut [f32]) {
    each::<22, 32>(bytes, values, |[d0, d1, h0, h1, h2, h3, codes @ ..], values| {
        let d = half_to_f32([*d0, *d1]);
        let high = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
        nibbles(codes, values, |at, code| d * (f32::from(code | fifth(high, at)) - 16.0));
    });
}

/// d, m, the fifth bits of all codes, 16 bytes of codes: d code + m.
pub(super) fn q5_1(bytes: &[u8], values: &mut [f32]) {
    each::<24, 32>(bytes, values, |[d0, d1, m0, m1, h0, h1, h2, h3, codes @ ..], values| {
        let (d, m) = (half_to_f32([*d0, *d1]), half_to_f32([*m0, *m1]));
        let high = u32::from_le_bytes([*h0, *h1, *h2, *h3]);
        nibbles(codes, values, |at, code| d * f32::from(code | fifth(high, at)) + m);
    });
}

/// The fifth bit of the code at `at`, where it belongs.
fn fifth(high: u32, at: usize) -> u8 {
    if high >> at & 1 == 1 { 16 } else { 0 }
}

/// Widens 32 codes of four bits; `widen` gets the place of each and its code.
fn nibbles(codes: &[u8; 16], values: &mut [f32; 32], widen: impl Fn(usize, u8) -> f32) {
    let (first, second) = values.split_at_mut(16);
    for (at, ((code, first), second)) in codes.iter().zip(first).zip(second).enumerate() {
        *first = widen(at, code & 15);
        *second = widen(at + 16, code >> 4);
    }
}

/// d, 32 bytes of codes with a sign: code d.
pub(super) fn q8_0(bytes: &[u8], values: &mut [f32]) {
    each::<34, 32>(bytes, values, |[d0, d1, codes @ ..], values| {
        let d = half_to_f32([*d0, *d1]);
        for (code, value) in codes.iter().zip(values) {
            *value = f32::from(code.cast_signed()) * d;
        }
    });
}

/// The same blocks as they are: codes around 128, and their scales.
pub(super) fn codes(bytes: &[u8]) -> (Vec<u8>, Vec<f32>) {
    let blocks = bytes.as_chunks::<34>().0;
    let mut codes = Vec::with_capacity(blocks.len() * 32);
    let mut scales = Vec::with_capacity(blocks.len());
    for [d0, d1, signed @ ..] in blocks {
        scales.push(half_to_f32([*d0, *d1]));
        codes.extend(signed.iter().map(|code| code ^ 128));
    }
    (codes, scales)
}

/// Eight rows of 32 values: d and m of the block, 12 bytes with a scale and an offset for each row,
/// 128 bytes of codes: (d scale) code - (m offset).
pub(super) fn q4_k(bytes: &[u8], values: &mut [f32]) {
    each::<144, 256>(bytes, values, |[d0, d1, m0, m1, rest @ ..], values| {
        let scales = rows_of(rest.first_chunk(), [*d0, *d1], [*m0, *m1]);
        let codes = rest.get(12..).unwrap_or_default();
        rows(codes, values, |row, _, code| {
            let (d, m) = scales[row];
            d * f32::from(code) - m
        });
    });
}

/// As [`q4_k`], with 32 bytes before the codes: byte i has the fifth bits of all rows' codes i.
pub(super) fn q5_k(bytes: &[u8], values: &mut [f32]) {
    each::<176, 256>(bytes, values, |[d0, d1, m0, m1, rest @ ..], values| {
        let scales = rows_of(rest.first_chunk(), [*d0, *d1], [*m0, *m1]);
        let (high, codes) = rest.get(12..).unwrap_or_default().split_at(32);
        rows(codes, values, |row, at, code| {
            let (d, m) = scales[row];
            let fifth = (high[at] >> row & 1) << 4;
            d * f32::from(code | fifth) - m
        });
    });
}

/// Scale and offset of each of eight rows, 6 bits each in 12 bytes, times those of the block.
fn rows_of(packed: Option<&[u8; 12]>, d: [u8; 2], m: [u8; 2]) -> [(f32, f32); 8] {
    let p = packed.unwrap_or(&[0; 12]);
    let (d, m) = (half_to_f32(d), half_to_f32(m));
    std::array::from_fn(|row| {
        let (scale, offset) = if row < 4 {
            (p[row] & 63, p[row + 4] & 63)
        } else {
            // Four bits of both in one byte, the upper two of each beside the first rows'.
            (p[row + 4] & 15 | p[row - 4] >> 6 << 4, p[row + 4] >> 4 | p[row] >> 6 << 4)
        };
        (d * f32::from(scale), m * f32::from(offset))
    })
}

/// Widens eight rows of 32 codes of four bits: each 32 bytes hold a row in their low bits and the next
/// in their high ones. `widen` gets row, place in the row, and code.
fn rows(codes: &[u8], values: &mut [f32; 256], widen: impl Fn(usize, usize, u8) -> f32) {
    let pairs = codes.as_chunks::<32>().0.iter().zip(values.as_chunks_mut::<64>().0);
    for (pair, (codes, values)) in pairs.enumerate() {
        let (first, second) = values.split_at_mut(32);
        for (at, ((code, first), second)) in codes.iter().zip(first).zip(second).enumerate() {
            *first = widen(2 * pair, at, code & 15);
            *second = widen(2 * pair + 1, at, code >> 4);
        }
    }
}

/// Two halves of four rows of 32 values; 128 bytes with the low four bits of the codes, 64 with the
/// upper two, 16 scales with a sign (one for 16 values), d: (d scale) (code - 32).
pub(super) fn q6_k(bytes: &[u8], values: &mut [f32]) {
    each::<210, 256>(bytes, values, |block, values| {
        let (low, rest) = block.split_at(128);
        let (high, rest) = rest.split_at(64);
        let (scales, d) = rest.split_at(16);
        let d = half_to_f32(d.first_chunk().copied().unwrap_or_default());
        for (at, value) in values.iter_mut().enumerate() {
            let (half, row, column) = (at / 128, at / 32 % 4, at % 32);
            // Rows 0 and 1 are in the low bits of 64 bytes, rows 2 and 3 in the high ones.
            let four = low[64 * half + 32 * (row % 2) + column] >> (4 * (row / 2)) & 15;
            let two = high[32 * half + column] >> (2 * row) & 3;
            let scale = d * f32::from(scales[at / 16].cast_signed());
            *value = scale * (f32::from(four | two << 4) - 32.0);
        }
    });
}
