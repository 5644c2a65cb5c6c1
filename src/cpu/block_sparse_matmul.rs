//! C = A · B, all block-sparse: the pairs of blocks that meet in each block of C.

use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::block_sparse_matmul::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (a, b, pairs, blocks) = (args.f32(0), args.f32(1), args.u32(2), args.u32(3));
    let (height, depth, width) = (p.height as usize, p.depth as usize, p.width as usize);
    let values = &mut bytemuck::cast_slice_mut::<u32, f32>(out[0])[..p.blocks as usize * height * width];
    values.par_chunks_mut(height * width).enumerate().for_each(|(slot, block)| {
        let (row, col) = (blocks[2 * slot] as usize, blocks[2 * slot + 1] as usize);
        for (n, value) in block.iter_mut().enumerate() {
            let (i, j) = (n / width, n % width);
            *value = 0.0;
            if row * height + i >= p.rows as usize || col * width + j >= p.cols as usize {
                continue;
            }
            let mut sum = 0.0;
            for pair in pairs[slot]..pairs[slot + 1] {
                let at = (p.blocks + 1 + 2 * pair) as usize;
                let x = &a[pairs[at] as usize * height * depth..];
                let y = &b[pairs[at + 1] as usize * depth * width..];
                for k in 0..depth {
                    let x = x[if p.flags & 1 != 0 { k * height + i } else { i * depth + k }];
                    let y = y[if p.flags & 2 != 0 { j * depth + k } else { k * width + j }];
                    sum += f64::from(x) * f64::from(y);
                }
            }
            *value = sum as f32;
        }
    });
}
