//! Y\[t,o\] = act(Σₖ X\[t,k\] · V\[k,o\] + bias\[o\]), block after block.

use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::block_matmul::{Params, turned::Params as Turned};

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (x, v, index, bias) = (args.f32(0), args.f32(1), args.u32(2), args.f32(3));
    let flag = |bit: u32| p.flags & bit != 0;
    let (depth, width) = (p.depth as usize, p.width as usize);
    let x_at = |b: usize, t: usize, k: usize| {
        let (outer, inner) = if flag(1) { (t, k) } else { (k, t) };
        f64::from(x[b * p.x_batch as usize + outer * p.x_stride as usize + inner])
    };
    let entry = |b: usize, t: usize, o: usize| {
        let (column, o_in) = (o / width, o % width);
        let mut sum = 0.0;
        for e in index[column]..index[column + 1] {
            let at = p.columns as usize + 1 + 2 * e as usize;
            let (row, block) = (index[at] as usize, &v[index[at + 1] as usize * depth * width..][..depth * width]);
            for k in 0..depth.min(p.inner as usize - row * depth) {
                let value = block[if flag(2) { o_in * depth + k } else { k * width + o_in }];
                sum += x_at(b, t, row * depth + k) * f64::from(value);
            }
        }
        if flag(8) {
            sum += f64::from(bias[o]);
        }
        activate(p.flags >> 4, sum) as f32
    };
    let (tokens, outputs, per_matrix) = (p.tokens as usize, p.outputs as usize, p.y_batch as usize);
    let line = if flag(4) { outputs } else { tokens };
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_chunks_mut(line).enumerate().for_each(|(n, values)| {
        let (b, n) = (n / (per_matrix / line), n % (per_matrix / line));
        for (m, value) in values.iter_mut().enumerate() {
            *value = if flag(4) { entry(b, n, m) } else { entry(b, m, n) };
        }
    });
}

/// Φ, the normal distribution function.
fn normal(z: f64) -> f64 {
    0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2)
}

/// The activation of this number at z: none, ReLU, GELU.
pub(crate) fn activate(kind: u32, z: f64) -> f64 {
    match kind {
        1 if z <= 0.0 => 0.0,
        2 if z < -40.0 => 0.0, // −∞ too
        2 => z * normal(z),
        _ => z,
    }
}

/// Its derivative.
pub(crate) fn slope(kind: u32, z: f64) -> f64 {
    match kind {
        1 if z <= 0.0 => 0.0,
        2 if z.abs() > 40.0 => f64::from(z > 0.0),
        2 => normal(z) + z * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        _ => 1.0,
    }
}

/// Every block's columns as lines. As many words as values say that these are f32, else halves.
pub(crate) fn turned(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Turned = args.params();
    let (lines, length) = (p.lines as usize, p.length as usize);
    let values = p.blocks as usize * lines * length;
    fn turn<T: Copy + Send + Sync>(from: &[T], to: &mut [T], [lines, length]: [usize; 2]) {
        from.par_chunks(lines * length).zip(to.par_chunks_mut(lines * length)).for_each(|(from, to)| {
            for (n, value) in to.iter_mut().enumerate() {
                *value = from[n % lines * length + n / lines];
            }
        });
    }
    let words = args.u32(0);
    if words.len() >= values {
        turn(&words[..values], &mut out[0][..values], [lines, length]);
    } else {
        turn::<u16>(&bytemuck::cast_slice(words)[..values], &mut bytemuck::cast_slice_mut(&mut *out[0])[..values], [lines, length]);
    }
}
