//! The second derivative of (logsumexp, +), entry by entry.

use super::matmul_backward::share;
use super::{View, for_slots, matrix, total};
use crate::device::cpu::{Args, Outputs};
use crate::ops::matmul::Params;

/// S\[i,j\] = Σₚ P · (VA\[i,p\] + VB\[p,j\]).
pub(crate) fn mean(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let (a, b, c) = (params.a(), params.b(), params.c());
    let (va, vb) = (params.like(a, 8), params.like(b, 10));
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), c, 0.0f32, |m, i, j| {
        let value = |input, view: View, i, j| matrix(args, input, view, m)[view.index(i, j)];
        let z = value(4, c, i, j);
        let apart = |p| f64::from(value(2, va, i, p)) + f64::from(value(3, vb, p, j));
        total(params.terms(i, j).map(|p| share(value(0, a, i, p), value(1, b, p, j), z) * apart(p))) as f32
    });
}

/// ha\[i,p\] = Σⱼ G · P · (VA\[i,p\] + VB\[p,j\] − S\[i,j\]).
pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let (a, b, c) = (params.a(), params.b(), params.c());
    let (va, vb, g) = (params.like(a, 8), params.like(b, 10), params.like(c, 6));
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), a, 0.0f32, |m, i, p| {
        let value = |input, view: View, i, j| matrix(args, input, view, m)[view.index(i, j)];
        let (x, v) = (value(0, a, i, p), f64::from(value(2, va, i, p)));
        let terms = params.reached(i, p).map(|j| {
            let apart = v + f64::from(value(3, vb, p, j)) - f64::from(value(6, c, i, j));
            f64::from(value(5, g, i, j)) * share(x, value(1, b, p, j), value(4, c, i, j)) * apart
        });
        total(terms) as f32
    });
}
