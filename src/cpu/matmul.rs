//! C\[i,j\] = ⊕ₚ A\[i,p\] ⊗ B\[p,j\], entry by entry.

use super::{View, for_slots, matrix, total};
use crate::device::cpu::{Args, Outputs};
use crate::ops::matmul::Params;

impl Params {
    pub(crate) fn a(&self) -> View {
        View { rows: self.rows, cols: self.inner, stride: self.a_stride, lower: self.a_lower, upper: self.a_upper, flags: self.flags }
    }

    pub(crate) fn b(&self) -> View {
        View { rows: self.inner, cols: self.cols, stride: self.b_stride, lower: self.b_lower, upper: self.b_upper, flags: self.flags >> 2 }
    }

    pub(crate) fn c(&self) -> View {
        View { rows: self.rows, cols: self.cols, stride: self.c_stride, lower: self.c_lower, upper: self.c_upper, flags: self.flags >> 4 }
    }

    /// The p whose terms make up C\[i,j\].
    pub(crate) fn terms(&self, i: i32, j: i32) -> std::ops::Range<i32> {
        let from = 0.max(i - self.a_lower).max(j - self.b_upper);
        let to = self.inner.min(i + self.a_upper + 1).min(j + self.b_lower + 1);
        from..to.max(from)
    }
}

/// The pairs that make up one entry of C.
pub(crate) struct Terms<'a> {
    params: &'a Params,
    a: &'a [f32],
    b: &'a [f32],
    i: i32,
    j: i32,
}

impl Terms<'_> {
    /// (p, A\[i,p\], B\[p,j\]) in the order of p.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, f64, f64)> {
        let (a, b) = (self.params.a(), self.params.b());
        self.params.terms(self.i, self.j).map(move |p| (p, f64::from(self.a[a.index(self.i, p)]), f64::from(self.b[b.index(p, self.j)])))
    }
}

/// Writes every entry of C as what `reduce` makes of its terms.
pub(crate) fn product<T: bytemuck::Pod + Send + Sync>(
    args: &Args<'_>,
    out: Outputs<'_, '_>,
    fill: T,
    reduce: impl Fn(usize, &Terms<'_>, [i32; 2]) -> T + Sync,
) {
    let params: Params = args.params();
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), params.c(), fill, |matrix_index, i, j| {
        let terms =
            Terms { params: &params, a: matrix(args, 0, params.a(), matrix_index), b: matrix(args, 1, params.b(), matrix_index), i, j };
        reduce(matrix_index, &terms, [i, j])
    });
}

/// (+, ×).
pub(crate) fn sum(args: &Args<'_>, out: Outputs<'_, '_>) {
    product(args, out, 0.0, |_, terms, _| total(terms.iter().map(|(_, a, b)| a * b)) as f32);
}

/// (logsumexp, +): ln Σ exp(x - m) + m with m the largest term.
pub(crate) fn log(args: &Args<'_>, out: Outputs<'_, '_>) {
    product(args, out, f32::NEG_INFINITY, |_, terms, _| logsumexp(terms) as f32);
}

pub(crate) fn logsumexp(terms: &Terms<'_>) -> f64 {
    let largest = terms.iter().map(|(_, a, b)| a + b).fold(f64::NEG_INFINITY, largest);
    if !largest.is_finite() {
        return largest;
    }
    largest + terms.iter().map(|(_, a, b)| (a + b - largest).exp()).sum::<f64>().ln()
}

/// (max, +).
pub(crate) fn max(args: &Args<'_>, out: Outputs<'_, '_>) {
    product(args, out, f32::NEG_INFINITY, |_, terms, _| terms.iter().map(|(_, a, b)| a + b).fold(f64::NEG_INFINITY, largest) as f32);
}

/// (max, ×); 0 where there is no term.
pub(crate) fn prodmax(args: &Args<'_>, out: Outputs<'_, '_>) {
    product(args, out, 0.0, |_, terms, _| terms.iter().map(|(_, a, b)| a * b).reduce(largest).unwrap_or(0.0) as f32);
}

/// The larger of the two; NaN if either is.
fn largest(x: f64, y: f64) -> f64 {
    if x.is_nan() || x > y { x } else { y }
}
