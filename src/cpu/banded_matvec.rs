//! y\[i\] = Σ_j A\[i,j\] · x\[j\], row by row.

use rayon::prelude::*;

use super::{View, matrix, total};
use crate::device::cpu::{Args, Outputs};
use crate::operand::RowParams;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let RowParams { rows, cols, flags, stride, lower, upper, .. } = args.params();
    let view = View { rows, cols, stride, lower, upper, flags };
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_iter_mut().enumerate().for_each(|(line, sum)| {
        let (b, i) = (line / rows as usize, (line % rows as usize) as i32);
        let (a, x) = (matrix(args, 0, view, b), &args.f32(1)[b * cols as usize..][..cols as usize]);
        let stored = 0.max(i - lower)..cols.min(i + upper + 1);
        *sum = total(stored.map(|j| f64::from(a[view.index(i, j)]) * f64::from(x[j as usize]))) as f32;
    });
}
