//! The kernel for any processor, and what the others are compared with.

use super::{Block, DEGREE, Found, Lookup};

pub(super) fn estimate(
    table: Lookup<'_>,
    block: Block<'_>,
    distance: f32,
    bound: f32,
    found: &mut Found,
) {
    let mut sums = [0u16; DEGREE];
    let (low, high) = sums.split_at_mut(DEGREE / 2);
    let groups = block.signs.as_chunks::<16>().0.iter().zip(table.sums.as_chunks::<16>().0);
    for (signs, sums) in groups {
        for ((signs, low), high) in signs.iter().zip(&mut *low).zip(&mut *high) {
            *low += u16::from(sums[usize::from(signs & 15)]);
            *high += u16::from(sums[usize::from(signs >> 4)]);
        }
    }
    pick(table, block, &sums, distance, bound, found);
}

/// From what was looked up to the neighbours below `bound`.
#[inline(always)]
pub(super) fn pick(
    table: Lookup<'_>,
    block: Block<'_>,
    sums: &[u16; DEGREE],
    distance: f32,
    bound: f32,
    found: &mut Found,
) {
    for (j, sum) in sums.iter().enumerate() {
        let product = f32::from(*sum) * table.step + table.least;
        let add = Block::factor(block.add, j);
        let mul = Block::factor(block.mul, j);
        let estimate = (distance + add - mul * product).max(0.0);
        if estimate < bound {
            found.rows[found.len] = block.row(j);
            found.estimates[found.len] = estimate;
            found.len += 1;
        }
    }
}
