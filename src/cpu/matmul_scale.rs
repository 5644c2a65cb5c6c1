//! The largest entry of each row, or 0 where that is not finite.

use rayon::prelude::*;

use super::{View, matrix};
use crate::device::cpu::{Args, Outputs};
use crate::operand::RowParams;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let RowParams { rows, cols, flags, stride, lower, upper, .. } = args.params();
    let view = View { rows, cols, stride, lower, upper, flags };
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_iter_mut().enumerate().for_each(|(line, scale)| {
        let (b, i) = (line / rows as usize, (line % rows as usize) as i32);
        let a = matrix(args, 0, view, b);
        let stored = 0.max(i - lower)..cols.min(i + upper + 1);
        let largest = stored.map(|j| a[view.index(i, j)]).fold(f32::NEG_INFINITY, f32::max);
        *scale = if largest.is_finite() { largest } else { 0.0 };
    });
}
