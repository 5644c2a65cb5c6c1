//! GA\[i,j\] = scale · P\[i,j\] · (G\[i,j\] − Σ P\[i,·\]·G\[i,·\]) over the stored entries of row i.

use super::banded_softmax::of_rows;
use super::{View, for_slots, matrix};
use crate::device::cpu::{Args, Outputs};
use crate::ops::banded_softmax::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
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
