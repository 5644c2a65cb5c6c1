//! ga\[i,p\] = Σⱼ G\[i,j\] · ∂C\[i,j\]/∂A\[i,p\], entry by entry.

use super::{View, for_slots, matrix, total};
use crate::device::cpu::{Args, Outputs};
use crate::ops::matmul::Params;

impl Params {
    /// Like A, but of the layout that the flags from `bits` on say; so for B and C.
    pub(crate) fn like(&self, view: View, bits: u32) -> View {
        let flags = self.flags >> bits;
        let whole = if flags & 1 == 0 { view.cols } else { view.rows };
        View { flags, stride: if flags & 2 == 0 { view.stride } else { whole }, ..view }
    }

    /// The j whose C\[i,j\] the entry A\[i,p\] takes part in.
    pub(crate) fn reached(&self, i: i32, p: i32) -> std::ops::Range<i32> {
        let from = 0.max(i - self.c_lower).max(p - self.b_lower);
        let to = self.cols.min(i + self.c_upper + 1).min(p + self.b_upper + 1);
        from..to.max(from)
    }
}

/// The share that the term x + y has in a logsumexp of z.
pub(crate) fn share(x: f32, y: f32, z: f32) -> f64 {
    if z == f32::NEG_INFINITY { 0.0 } else { (f64::from(x) + f64::from(y) - f64::from(z)).exp() }
}

/// (logsumexp, +): G · exp(a + b − c). The scales and sums that GPUs go through are not looked at.
pub(crate) fn log(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let (va, vb, vc, vg) = (params.a(), params.b(), params.c(), params.like(params.c(), 6));
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), va, 0.0f32, |m, i, p| {
        let (a, b, c, g) = (matrix(args, 0, va, m), matrix(args, 1, vb, m), matrix(args, 2, vc, m), matrix(args, 3, vg, m));
        let x = a[va.index(i, p)];
        let terms = params.reached(i, p).map(|j| f64::from(g[vg.index(i, j)]) * share(x, b[vb.index(p, j)], c[vc.index(i, j)]));
        total(terms) as f32
    });
}

/// (max, +): G where the index says p.
pub(crate) fn max(args: &Args<'_>, out: Outputs<'_, '_>) {
    pick(args, out, |_| 1.0);
}

/// (max, ×): G · b where the index says p.
pub(crate) fn prodmax(args: &Args<'_>, out: Outputs<'_, '_>) {
    pick(args, out, f64::from);
}

fn pick(args: &Args<'_>, out: Outputs<'_, '_>, slope: impl Fn(f32) -> f64 + Sync) {
    let params: Params = args.params();
    let (va, vb, vc, vg) = (params.a(), params.b(), params.c(), params.like(params.c(), 6));
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), va, 0.0f32, |m, i, p| {
        let (b, index, g) = (matrix(args, 1, vb, m), &args.u32(2)[m * vc.len()..][..vc.len()], matrix(args, 3, vg, m));
        let won = params.reached(i, p).filter(|j| index[vc.index(i, *j)] == p as u32);
        total(won.map(|j| f64::from(g[vg.index(i, j)]) * slope(b[vb.index(p, j)]))) as f32
    });
}

/// W\[i,j\] = G · exp(row scale + column scale − C); NaN where scaling would lose terms.
pub(crate) fn weight(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let (rows, cols) = (params.rows as usize, params.cols as usize);
    let (vc, vg) = (params.c(), params.like(params.c(), 6));
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), vc, 0.0f32, |m, i, j| {
        let (z, slope) = (matrix(args, 2, vc, m)[vc.index(i, j)], matrix(args, 3, vg, m)[vg.index(i, j)]);
        let scales = f64::from(args.f32(0)[m * rows + i as usize]) + f64::from(args.f32(1)[m * cols + j as usize]);
        let below = scales - f64::from(z);
        match z {
            f32::NEG_INFINITY => 0.0,
            _ if below.abs() <= 41.0 && slope.is_finite() => (f64::from(slope) * below.exp()) as f32,
            _ => f32::NAN,
        }
    });
}

/// exp(A\[i,p\] − scale\[i\]).
pub(crate) fn exp(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let va = params.a();
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), va, 0.0f32, |m, i, p| {
        let scale = args.f32(1)[m * params.rows as usize + i as usize];
        (f64::from(matrix(args, 0, va, m)[va.index(i, p)]) - f64::from(scale)).exp() as f32
    });
}
