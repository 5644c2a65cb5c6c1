//! The gradients of windowed attention, line by line: with P the probabilities and g the gradient of
//! the result, the slope of a score is S\[i,j\] = P\[i,j\] · (g\[i\]·v\[j\] − delta\[i\]) · scale.

use rayon::prelude::*;

use super::window_attention::{Head, dot, matrix, row};
use crate::device::cpu::{Args, Outputs};
use crate::ops::window_attention::Params;
use crate::ops::window_attention_backward::DeltaParams;

/// delta\[i\] = Σ g\[i\] · out\[i\].
pub(crate) fn delta(args: &Args<'_>, out: Outputs<'_, '_>) {
    let DeltaParams { depth, .. } = args.params();
    let rows = args.f32(0).par_chunks(depth as usize).zip(args.f32(1).par_chunks(depth as usize));
    let deltas = bytemuck::cast_slice_mut::<u32, f32>(out[0]);
    deltas.par_iter_mut().zip(rows).for_each(|(delta, (out, grad))| *delta = dot(out, grad) as f32);
}

/// One query matrix with the gradient of its result.
struct Side<'a> {
    head: Head<'a>,
    grad: &'a [f32],
    lse: &'a [f32],
    delta: &'a [f32],
}

impl<'a> Side<'a> {
    fn new(args: &'a Args<'_>, head: usize) -> Self {
        let Params { rows, value_depth, .. } = args.params();
        let of_rows = |input| matrix(args.f32(input), head, rows, 1);
        Self { head: Head::new(args, head), grad: matrix(args.f32(4), head, rows, value_depth), lse: of_rows(5), delta: of_rows(6) }
    }

    fn grad(&self, i: i32) -> &'a [f32] {
        row(self.grad, i, self.head.params.value_depth)
    }

    fn probability(&self, i: i32, j: i32) -> f64 {
        let lse = self.lse[i as usize];
        if lse == f32::NEG_INFINITY { 0.0 } else { (self.head.score(i, j) - f64::from(lse)).exp() }
    }

    fn slope(&self, i: i32, j: i32) -> f64 {
        let upstream = dot(self.grad(i), self.head.v(j)) - f64::from(self.delta[i as usize]);
        self.probability(i, j) * upstream * f64::from(self.head.params.scale)
    }
}

/// Writes the lines of a result, `sum(matrix, line, sums)` those that it wants.
fn lines(out: &mut [u32], lines: i32, width: i32, sum: impl Fn(usize, i32, &mut [f64]) -> bool + Sync) {
    let values = bytemuck::cast_slice_mut::<u32, f32>(out);
    values.par_chunks_mut(width as usize).enumerate().for_each(|(n, values)| {
        let mut sums = vec![0.0; width as usize];
        if sum(n / lines as usize, (n % lines as usize) as i32, &mut sums) {
            values.iter_mut().zip(sums).for_each(|(value, sum)| *value = sum as f32);
        }
    });
}

fn add(sums: &mut [f64], weight: f64, values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * f64::from(*value));
}

/// dQ\[i\] = Σⱼ S\[i,j\] · K\[j\].
pub(crate) fn q(args: &Args<'_>, out: Outputs<'_, '_>) {
    q_lines(args, out, false);
}

/// The same for the rows of global positions.
pub(crate) fn q_line(args: &Args<'_>, out: Outputs<'_, '_>) {
    q_lines(args, out, true);
}

/// dK\[j\] = Σᵢ S\[i,j\] · Q\[i\], over all heads that share the keys.
pub(crate) fn k(args: &Args<'_>, out: Outputs<'_, '_>) {
    k_lines(args, out, false);
}

/// The same for the keys of global positions.
pub(crate) fn k_line(args: &Args<'_>, out: Outputs<'_, '_>) {
    k_lines(args, out, true);
}

/// dV\[j\] = Σᵢ P\[i,j\] · g\[i\], over all heads that share the values.
pub(crate) fn v(args: &Args<'_>, out: Outputs<'_, '_>) {
    v_lines(args, out, false);
}

/// The same for the keys of global positions.
pub(crate) fn v_line(args: &Args<'_>, out: Outputs<'_, '_>) {
    v_lines(args, out, true);
}

fn q_lines(args: &Args<'_>, out: Outputs<'_, '_>, global: bool) {
    let Params { rows, depth, offset, .. } = args.params();
    lines(out[0], rows, depth, |head, i, sums| {
        let side = Side::new(args, head);
        if global && !side.head.is_global(i + offset) {
            return false;
        }
        side.head.keys_of(i).for_each(|j| add(sums, side.slope(i, j), side.head.k(j)));
        true
    });
}

fn k_lines(args: &Args<'_>, out: Outputs<'_, '_>, global: bool) {
    let Params { keys, depth, .. } = args.params();
    lines(out[0], keys, depth, |kv, j, sums| over_heads(args, kv, j, global, |side, i| add(sums, side.slope(i, j), side.head.q(i))));
}

fn v_lines(args: &Args<'_>, out: Outputs<'_, '_>, global: bool) {
    let Params { keys, value_depth, .. } = args.params();
    lines(out[0], keys, value_depth, |kv, j, sums| {
        over_heads(args, kv, j, global, |side, i| add(sums, side.probability(i, j), side.grad(i)))
    });
}

/// Calls `term` for every query of every head that attends to key j, if j is wanted.
fn over_heads(args: &Args<'_>, kv: usize, j: i32, global: bool, mut term: impl FnMut(&Side<'_>, i32)) -> bool {
    let Params { group, .. } = args.params();
    (0..group as usize).map(|n| Side::new(args, kv * group as usize + n)).all(|side| {
        let wanted = !global || side.head.is_global(j);
        if wanted {
            side.head.rows_of(j).for_each(|i| term(&side, i));
        }
        wanted
    })
}
