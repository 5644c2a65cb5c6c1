//! Blocks from a dense matrix, and back.

use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::block_move::Params;

/// The values of given blocks.
pub(crate) fn from_dense(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (dense, blocks, width) = (args.f32(0), args.u32(1), p.width as usize);
    let values = &mut bytemuck::cast_slice_mut::<u32, f32>(out[0])[..p.lines as usize];
    values.par_chunks_mut(p.height as usize * width).zip(blocks.par_chunks(2)).for_each(|(block, place)| {
        for (n, value) in block.iter_mut().enumerate() {
            let (i, j) = ((place[0] * p.height) as usize + n / width, place[1] as usize * width + n % width);
            let (outer, inner) = if p.flags & 1 != 0 { (j, i) } else { (i, j) };
            let inside = i < p.rows as usize && j < p.cols as usize;
            *value = if inside { dense[outer * p.stride as usize + inner] } else { 0.0 };
        }
    });
}

/// Every entry, row-major.
pub(crate) fn to_dense(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (values, index) = (args.f32(0), args.u32(1));
    let (cols, height, width) = (p.cols as usize, p.height as usize, p.width as usize);
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_chunks_mut(cols).enumerate().for_each(|(i, line)| {
        line.fill(0.0);
        for e in index[i / height]..index[i / height + 1] {
            let at = (p.lines + 1 + 2 * e) as usize;
            let (first, block) = (index[at] as usize * width, &values[index[at + 1] as usize * height * width..]);
            for j in 0..width.min(cols - first) {
                line[first + j] = block[if p.flags & 2 != 0 { j * height + i % height } else { i % height * width + j }];
            }
        }
    });
}
