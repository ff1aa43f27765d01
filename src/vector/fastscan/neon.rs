//! The kernel for NEON: a table of 16 bytes is what one lookup reads.

use super::{Block, DEGREE, Estimate, Found, Lookup, plain};
use std::arch::aarch64::{
    uint8x16_t, uint16x8_t, vaddq_u8, vaddw_high_u8, vaddw_u8, vandq_u8, vdupq_n_u8, vdupq_n_u16,
    vget_low_u8, vld1q_u8, vqtbl1q_u8, vshrq_n_u8, vst1q_u16,
};

/// Every kernel that this processor can run, the fastest first.
pub(super) fn all() -> Vec<Estimate> {
    let mut kernels: Vec<Estimate> = Vec::new();
    if std::arch::is_aarch64_feature_detected!("neon") {
        kernels.push(neon);
    }
    kernels
}

fn neon(table: Lookup<'_>, block: Block<'_>, distance: f32, bound: f32, found: &mut Found) {
    #[expect(unsafe_code, reason = "a kernel for processors that have these instructions")]
    // SAFETY: `all` gives it out only where they are.
    unsafe {
        with_neon(table, block, distance, bound, found);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    #[expect(unsafe_code, reason = "there is no safe load")]
    // SAFETY: 16 bytes are there, and the load asks for no alignment.
    unsafe {
        vld1q_u8(bytes.as_ptr())
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(sums: uint16x8_t, out: &mut [u16; 8]) {
    #[expect(unsafe_code, reason = "there is no safe store")]
    // SAFETY: 16 bytes are there, and the store asks for no alignment.
    unsafe {
        vst1q_u16(out.as_mut_ptr(), sums);
    }
}

#[target_feature(enable = "neon")]
fn with_neon(table: Lookup<'_>, block: Block<'_>, distance: f32, bound: f32, found: &mut Found) {
    let nibble = vdupq_n_u8(15);
    // Sums of neighbours 0 to 7, 8 to 15, 16 to 23 and 24 to 31.
    let mut sums = [vdupq_n_u16(0); 4];
    let runs = block.signs.as_chunks::<64>().0.iter().zip(table.sums.as_chunks::<64>().0);
    for (signs, looked_up) in runs {
        let (mut low, mut high) = (vdupq_n_u8(0), vdupq_n_u8(0));
        let parts = signs.as_chunks::<16>().0.iter().zip(looked_up.as_chunks::<16>().0);
        for (signs, looked_up) in parts {
            let (signs, looked_up) = (load(signs), load(looked_up));
            low = vaddq_u8(low, vqtbl1q_u8(looked_up, vandq_u8(signs, nibble)));
            high = vaddq_u8(high, vqtbl1q_u8(looked_up, vshrq_n_u8::<4>(signs)));
        }
        sums[0] = vaddw_u8(sums[0], vget_low_u8(low));
        sums[1] = vaddw_high_u8(sums[1], low);
        sums[2] = vaddw_u8(sums[2], vget_low_u8(high));
        sums[3] = vaddw_high_u8(sums[3], high);
    }
    let mut all = [0u16; DEGREE];
    for (sums, out) in sums.into_iter().zip(all.as_chunks_mut::<8>().0) {
        store(sums, out);
    }
    plain::pick(table, block, &all, distance, bound, found);
}
