//! Kernels for AVX2 and AVX-512: a table of 16 bytes is what one shuffle looks up.

use super::{Block, DEGREE, Estimate, Found, Lookup, plain};
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_add_epi16, _mm_storeu_si128, _mm_unpackhi_epi16,
    _mm_unpacklo_epi16, _mm256_add_epi8, _mm256_add_epi16, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_set_m128i,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_srli_epi16, _mm512_add_epi8, _mm512_add_epi16, _mm512_add_ps, _mm512_and_si512,
    _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cmplt_ps_mask, _mm512_cvtepi32_ps,
    _mm512_cvtepu16_epi32, _mm512_extracti64x4_epi64, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_si512, _mm512_maskz_compress_ps, _mm512_max_ps, _mm512_set1_epi8,
    _mm512_set1_epi16, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_slli_epi32, _mm512_srli_epi16, _mm512_storeu_ps,
};

/// Every kernel that this processor can run, the fastest first.
pub(super) fn all() -> Vec<Estimate> {
    let mut kernels: Vec<Estimate> = Vec::new();
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        kernels.push(avx512);
    }
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        kernels.push(avx2);
    }
    kernels
}

fn avx512(table: Lookup<'_>, block: Block<'_>, distance: f32, bound: f32, found: &mut Found) {
    #[expect(unsafe_code, reason = "a kernel for processors that have these instructions")]
    // SAFETY: `all` gives it out only where they are.
    unsafe {
        with_avx512(table, block, distance, bound, found);
    }
}

fn avx2(table: Lookup<'_>, block: Block<'_>, distance: f32, bound: f32, found: &mut Found) {
    #[expect(unsafe_code, reason = "a kernel for processors that have these instructions")]
    // SAFETY: `all` gives it out only where they are.
    unsafe {
        with_avx2(table, block, distance, bound, found);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load512(bytes: &[u8; 64]) -> __m512i {
    #[expect(unsafe_code, reason = "there is no safe load")]
    // SAFETY: 64 bytes are there, and the load asks for no alignment.
    unsafe {
        _mm512_loadu_si512(bytes.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load256(bytes: &[u8; 32]) -> __m256i {
    #[expect(unsafe_code, reason = "there is no safe load")]
    // SAFETY: 32 bytes are there, and the load asks for no alignment.
    unsafe {
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(sums: __m128i, out: &mut [u16; 8]) {
    #[expect(unsafe_code, reason = "there is no safe store")]
    // SAFETY: 16 bytes are there, and the store asks for no alignment.
    unsafe {
        _mm_storeu_si128(out.as_mut_ptr().cast(), sums);
    }
}

/// Adds up the four quarters, each of other dimensions of the same neighbours.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn fold(sums: __m512i) -> __m128i {
    let half = _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

#[target_feature(enable = "avx512f,avx512bw")]
fn with_avx512(table: Lookup<'_>, block: Block<'_>, distance: f32, bound: f32, found: &mut Found) {
    let (nibble, byte) = (_mm512_set1_epi8(15), _mm512_set1_epi16(255));
    // Sums of neighbours 0 to 15 and 16 to 31; of these the even and the odd ones.
    let mut sums = [_mm512_setzero_si512(); 4];
    let runs = block.signs.as_chunks::<256>().0.iter().zip(table.sums.as_chunks::<256>().0);
    for (signs, looked_up) in runs {
        let (mut low, mut high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        let parts = signs.as_chunks::<64>().0.iter().zip(looked_up.as_chunks::<64>().0);
        for (signs, looked_up) in parts {
            let (signs, looked_up) = (load512(signs), load512(looked_up));
            let below = _mm512_and_si512(signs, nibble);
            let above = _mm512_and_si512(_mm512_srli_epi16::<4>(signs), nibble);
            low = _mm512_add_epi8(low, _mm512_shuffle_epi8(looked_up, below));
            high = _mm512_add_epi8(high, _mm512_shuffle_epi8(looked_up, above));
        }
        sums[0] = _mm512_add_epi16(sums[0], _mm512_and_si512(low, byte));
        sums[1] = _mm512_add_epi16(sums[1], _mm512_srli_epi16::<8>(low));
        sums[2] = _mm512_add_epi16(sums[2], _mm512_and_si512(high, byte));
        sums[3] = _mm512_add_epi16(sums[3], _mm512_srli_epi16::<8>(high));
    }
    let (step, least) = (_mm512_set1_ps(table.step), _mm512_set1_ps(table.least));
    let (distance, limit) = (_mm512_set1_ps(distance), _mm512_set1_ps(bound));
    let add = load512(block.add);
    let mul = load512(block.mul);
    for half in 0..2 {
        let (even, odd) = (fold(sums[2 * half]), fold(sums[2 * half + 1]));
        let ordered =
            _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
        let product =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(ordered)), step, least);
        let add = widen(if half == 0 {
            _mm512_castsi512_si256(add)
        } else {
            _mm512_extracti64x4_epi64::<1>(add)
        });
        let mul = widen(if half == 0 {
            _mm512_castsi512_si256(mul)
        } else {
            _mm512_extracti64x4_epi64::<1>(mul)
        });
        let estimates = _mm512_max_ps(
            _mm512_fnmadd_ps(mul, product, _mm512_add_ps(add, distance)),
            _mm512_setzero_ps(),
        );
        let mut below = _mm512_cmplt_ps_mask(estimates, limit);
        let mut packed = [0f32; 16];
        #[expect(unsafe_code, reason = "there is no safe store")]
        // SAFETY: 64 bytes are there, and the store asks for no alignment.
        unsafe {
            _mm512_storeu_ps(packed.as_mut_ptr(), _mm512_maskz_compress_ps(below, estimates));
        }
        for estimate in packed.into_iter().take(below.count_ones() as usize) {
            let neighbour = 16 * half + below.trailing_zeros() as usize;
            below &= below - 1;
            found.rows[found.len] = block.row(neighbour);
            found.estimates[found.len] = estimate;
            found.len += 1;
        }
    }
}

/// Sixteen bfloat16 as floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widen(half: __m256i) -> std::arch::x86_64::__m512 {
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)))
}

#[target_feature(enable = "avx2,fma")]
fn with_avx2(table: Lookup<'_>, block: Block<'_>, distance: f32, bound: f32, found: &mut Found) {
    let (nibble, byte) = (_mm256_set1_epi8(15), _mm256_set1_epi16(255));
    let mut sums = [_mm256_setzero_si256(); 4];
    let runs = block.signs.as_chunks::<128>().0.iter().zip(table.sums.as_chunks::<128>().0);
    for (signs, looked_up) in runs {
        let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let parts = signs.as_chunks::<32>().0.iter().zip(looked_up.as_chunks::<32>().0);
        for (signs, looked_up) in parts {
            let (signs, looked_up) = (load256(signs), load256(looked_up));
            let below = _mm256_and_si256(signs, nibble);
            let above = _mm256_and_si256(_mm256_srli_epi16::<4>(signs), nibble);
            low = _mm256_add_epi8(low, _mm256_shuffle_epi8(looked_up, below));
            high = _mm256_add_epi8(high, _mm256_shuffle_epi8(looked_up, above));
        }
        sums[0] = _mm256_add_epi16(sums[0], _mm256_and_si256(low, byte));
        sums[1] = _mm256_add_epi16(sums[1], _mm256_srli_epi16::<8>(low));
        sums[2] = _mm256_add_epi16(sums[2], _mm256_and_si256(high, byte));
        sums[3] = _mm256_add_epi16(sums[3], _mm256_srli_epi16::<8>(high));
    }
    let folded =
        sums.map(|s| _mm_add_epi16(_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s)));
    let mut all = [0u16; DEGREE];
    for (half, out) in all.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let (even, odd) = (folded[2 * half], folded[2 * half + 1]);
        let (low, high) = out.split_at_mut(8);
        if let (Ok(low), Ok(high)) = (low.try_into(), high.try_into()) {
            store(_mm_unpacklo_epi16(even, odd), low);
            store(_mm_unpackhi_epi16(even, odd), high);
        }
    }
    plain::pick(table, block, &all, distance, bound, found);
}
