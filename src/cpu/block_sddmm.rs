//! C\[i,j\] = Σ over tokens of A\[t,i\] · B\[t,j\] at stored blocks.

use rayon::prelude::*;

use super::total;
use crate::device::cpu::{Args, Outputs};
use crate::ops::block_sddmm::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (a, b, index) = (args.f32(0), args.f32(1), args.u32(2));
    let (height, width) = (p.height as usize, p.width as usize);
    let at = |values: &[f32], along: bool, stride: u32, t: usize, feature: usize| {
        let (outer, inner) = if along { (t, feature) } else { (feature, t) };
        f64::from(values[outer * stride as usize + inner])
    };
    // The block row and column of each slot.
    let mut blocks = vec![(0, 0); p.length as usize / (height * width)];
    for row in 0..p.grid_rows as usize {
        for e in index[row]..index[row + 1] {
            let entry = p.grid_rows as usize + 1 + 2 * e as usize;
            blocks[index[entry + 1] as usize] = (row, index[entry] as usize);
        }
    }
    let tokens_of = |part: usize| {
        let start = part * p.part_tokens as usize;
        start..(p.tokens as usize).min(start + p.part_tokens as usize)
    };
    let values = &mut bytemuck::cast_slice_mut::<u32, f32>(out[0])[..p.length as usize * p.parts as usize];
    values.par_chunks_mut(height * width).enumerate().for_each(|(n, values)| {
        let (part, (row, col)) = (n / blocks.len(), blocks[n % blocks.len()]);
        for (n, value) in values.iter_mut().enumerate() {
            let (i, j) = (row * height + n / width, col * width + n % width);
            let mut sum = 0.0;
            if i < p.rows as usize && j < p.cols as usize {
                let term = |t| at(a, p.flags & 1 != 0, p.a_stride, t, i) * at(b, p.flags & 2 != 0, p.b_stride, t, j);
                sum = total(tokens_of(part).map(term));
            }
            *value = if p.flags & 4 != 0 { (f64::from(*value) + sum) as f32 } else { sum as f32 };
        }
    });
}
