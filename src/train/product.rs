//! Products of matrices that lie anywhere in memory. The one place that names gemm.
//!
//! Each call stays on its thread: the trainer gives every thread texts of its own, which keeps all
//! processors busy through the whole layer and not in its products alone.

use super::tensor::{Result, bail};

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// From one row to the next, and from one column to the next.
    steps: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// `rows` by `columns`, rows `step` apart.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize, step: usize) -> Self {
        Self { values, rows, columns, steps: (step, 1) }
    }

    /// Its rows as columns.
    pub(super) fn turned(self) -> Self {
        let (rows, columns) = (self.columns, self.rows);
        Self { values: self.values, rows, columns, steps: (self.steps.1, self.steps.0) }
    }
}

/// Values that one matrix, whose rows lie `step` apart, spans.
fn span(rows: usize, columns: usize, steps: (usize, usize)) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * steps.0 + (columns - 1) * steps.1 + 1 }
}

/// `out = scale · a · b`, or `out += …` with `add`. `out` has the rows of `a`, `step` apart, and the
/// columns of `b`.
pub(super) fn product(
    out: &mut [f32],
    step: usize,
    add: bool,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) -> Result<()> {
    let fits = a.columns == b.rows
        && span(a.rows, a.columns, a.steps) <= a.values.len()
        && span(b.rows, b.columns, b.steps) <= b.values.len()
        && span(a.rows, b.columns, (step, 1)) <= out.len()
        && (a.rows <= 1 || step >= b.columns);
    if !fits {
        bail!(
            "a product of {} × {} and {} × {} does not fit its matrices",
            a.rows,
            a.columns,
            b.rows,
            b.columns
        )
    }
    let signed = |n: usize| isize::try_from(n).unwrap_or(isize::MAX);
    #[expect(unsafe_code, reason = "gemm takes pointers and strides")]
    // SAFETY: the last element of each matrix was found to lie inside its slice, `out` is borrowed
    // alone, its rows do not overlap, and f32 is a type that gemm knows.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            signed(step),
            add,
            a.values.as_ptr(),
            signed(a.steps.1),
            signed(a.steps.0),
            b.values.as_ptr(),
            signed(b.steps.1),
            signed(b.steps.0),
            1.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    fn products_inside_larger_matrices() {
        // [1 2; 3 4] and [5 6; 7 8], in rows of three.
        let a = [1.0, 2.0, 9.0, 3.0, 4.0, 9.0];
        let b = [5.0, 6.0, 9.0, 7.0, 8.0, 9.0];
        let (a, b) = (Matrix::new(&a, 2, 2, 3), Matrix::new(&b, 2, 2, 3));
        let mut out = [0.0; 5];
        product(&mut out, 3, false, 1.0, a, b).unwrap();
        assert_eq!(out, [19.0, 22.0, 0.0, 43.0, 50.0]);
        product(&mut out, 3, true, 2.0, a.turned(), b).unwrap();
        assert_eq!(out, [19.0 + 52.0, 22.0 + 60.0, 0.0, 43.0 + 76.0, 50.0 + 88.0]);
        assert!(product(&mut out[..4], 3, false, 1.0, a, b).is_err());
        assert!(product(&mut out, 1, false, 1.0, a, b).is_err());
    }
}
