//! C = A + B on C's blocks, slot by slot.

use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::block_add::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (a, b, sources) = (args.f32(0), args.f32(1), args.u32(2));
    let (height, width) = (p.height as usize, p.width as usize);
    let values = &mut bytemuck::cast_slice_mut::<u32, f32>(out[0])[..p.length as usize];
    values.par_chunks_mut(height * width).zip(sources.par_chunks(4)).for_each(|(block, source)| {
        for (n, value) in block.iter_mut().enumerate() {
            let (i, j) = (n / width, n % width);
            let inside = source[2] as usize * height + i < p.rows as usize && source[3] as usize * width + j < p.cols as usize;
            let get = |values: &[f32], slot: u32, bit: u32| {
                let place = if p.flags & bit != 0 { j * height + i } else { n };
                if slot == u32::MAX || !inside { 0.0 } else { values[slot as usize * height * width + place] }
            };
            *value = get(a, source[0], 1) + get(b, source[1], 2);
        }
    });
}
