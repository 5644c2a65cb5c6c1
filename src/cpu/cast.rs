//! Storage types into each other.

use half::f16;
use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};

/// Halves, two to a word, as f32.
pub(crate) fn widen(args: &Args<'_>, out: Outputs<'_, '_>) {
    let halves: &[f16] = bytemuck::cast_slice(args.u32(0));
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_iter_mut().zip(halves).for_each(|(wide, half)| *wide = half.to_f32());
}

/// f32 rounded to the nearest half, ties to even, two to a word.
pub(crate) fn narrow(args: &Args<'_>, out: Outputs<'_, '_>) {
    let halves: &mut [f16] = bytemuck::cast_slice_mut(&mut *out[0]);
    halves.par_iter_mut().zip(args.f32(0)).for_each(|(half, wide)| *half = f16::from_f32(*wide));
}

/// The same words.
pub(crate) fn copy(args: &Args<'_>, out: Outputs<'_, '_>) {
    out[0].copy_from_slice(args.u32(0));
}
