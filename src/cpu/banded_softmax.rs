//! P\[i,j\] = exp(scale · A\[i,j\] − m) / Σ exp(scale · A\[i,·\] − m) over the stored entries of row i,
//! m the largest; zeros where that is −∞ or there is none.

use super::{View, for_slots, matrix};
use crate::device::cpu::{Args, Outputs};
use crate::ops::banded_softmax::Params;

impl Params {
    fn view(&self) -> View {
        let Params { rows, cols, stride, lower, upper, flags, .. } = *self;
        View { rows, cols, stride, lower, upper, flags }
    }

    /// The columns of row i that are stored.
    fn stored(&self, i: i32) -> std::ops::Range<i32> {
        let first = 0.max(i - self.lower);
        first..self.cols.min(i + self.upper + 1).max(first)
    }
}

/// Something of each row, computed once.
fn of_rows<T: Copy + Send + Sync>(params: &Params, of: impl Fn(usize, i32) -> T + Sync) -> Vec<T> {
    use rayon::prelude::*;
    let rows = params.rows as usize;
    (0..params.batch as usize * rows).into_par_iter().map(|line| of(line / rows, (line % rows) as i32)).collect()
}

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let view = params.view();
    let score = |b: usize, i: i32, j: i32| f64::from(params.scale) * f64::from(matrix(args, 0, view, b)[view.index(i, j)]);
    let totals = of_rows(&params, |b, i| {
        let scores = || params.stored(i).map(|j| score(b, i, j));
        let top = scores().fold(f64::NEG_INFINITY, |x, y| if x.is_nan() || x > y { x } else { y });
        (top, scores().map(|score| (score - top).exp()).sum::<f64>())
    });
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), view, 0.0f32, |b, i, j| {
        let (top, total) = totals[b * params.rows as usize + i as usize];
        if top == f64::NEG_INFINITY { 0.0 } else { ((score(b, i, j) - top).exp() / total) as f32 }
    });
}

/// GA\[i,j\] = scale · P\[i,j\] · (G\[i,j\] − Σ P\[i,·\]·G\[i,·\]) over the stored entries of row i.
pub(crate) fn backward(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    let view = params.view();
    let of_g = View { flags: view.flags >> 2, ..view };
    let p = |b: usize, i: i32, j: i32| f64::from(matrix(args, 0, view, b)[view.index(i, j)]);
    let g = |b: usize, i: i32, j: i32| f64::from(matrix(args, 1, of_g, b)[of_g.index(i, j)]);
    let means = of_rows(&params, |b, i| params.stored(i).map(|j| p(b, i, j) * g(b, i, j)).sum::<f64>());
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), view, 0.0f32, |b, i, j| {
        (f64::from(params.scale) * p(b, i, j) * (g(b, i, j) - means[b * params.rows as usize + i as usize])) as f32
    });
}
