//! (Σ |x|ᵖ)^(1/p) over each block.

use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::block_norms::Params;

pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let norms = &mut bytemuck::cast_slice_mut::<u32, f32>(out[0])[..p.blocks as usize];
    norms.par_iter_mut().zip(args.f32(0).par_chunks(p.size as usize)).for_each(|(norm, values)| {
        let values = || values.iter().map(|value| f64::from(value.abs()));
        let largest = values().fold(0.0, |x: f64, y| if x.is_nan() || x > y { x } else { y });
        let power = f64::from(p.p);
        *norm = if p.p == 0.0 || largest == 0.0 || !largest.is_finite() {
            largest as f32
        } else {
            (values().map(|value| (value / largest).powf(power)).sum::<f64>().powf(1.0 / power) * largest) as f32
        };
    });
}
