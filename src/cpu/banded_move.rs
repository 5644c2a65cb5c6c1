//! C\[i,j\] = A\[i + di, j + dj\], or the fill where A does not store it.

use super::{View, for_slots};
use crate::device::cpu::{Args, Outputs};
use crate::ops::banded_move::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let Params { rows, cols, flags, a_rows, a_cols, a_stride, a_lower, a_upper, c_stride, c_lower, c_upper, di, dj, fill, .. } =
        args.params();
    let a = View { rows: a_rows, cols: a_cols, stride: a_stride, lower: a_lower, upper: a_upper, flags };
    let c = View { rows, cols, stride: c_stride, lower: c_lower, upper: c_upper, flags: flags >> 2 };
    for_slots(&mut *out[0], c, fill, |batch, i, j| {
        let (i, j) = (i + di, j + dj);
        if a.holds(i, j) { args.u32(0)[batch * a.len() + a.index(i, j)] } else { fill }
    });
}
