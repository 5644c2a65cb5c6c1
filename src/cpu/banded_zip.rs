//! out\[i,j\] = f(a\[i,j\], b\[i,j\], c\[i,j\]), each operand read as its fill outside its band.

use super::{View, for_slots, matrix};
use crate::device::cpu::{Args, Outputs};
use crate::ops::banded_zip::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let Params { rows, cols, flags, a_lower, a_upper, b_lower, b_upper, c_lower, c_upper, out_lower, out_upper, .. } = args.params();
    let Params { a_fill, b_fill, c_fill, out_fill, .. } = args.params();
    let view = |lower: i32, upper: i32, n: u32| View { rows, cols, stride: lower + upper, lower, upper, flags: flags >> (2 * n) };
    let views = [view(a_lower, a_upper, 0), view(b_lower, b_upper, 1), view(c_lower, c_upper, 2)];
    let fills = [a_fill, b_fill, c_fill];
    let function = args.function();
    for_slots(bytemuck::cast_slice_mut(&mut *out[0]), view(out_lower, out_upper, 3), out_fill, |batch, i, j| {
        let entry = |n: usize| f64::from(views[n].get(matrix(args, n, views[n], batch), i, j, fills[n]));
        function.eval([entry(0), entry(1), entry(2)]) as f32
    });
}
