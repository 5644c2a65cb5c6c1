//! Storage types into each other.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::device::cpu::{Args, Outputs};
use crate::ops::cast::Params;

/// Halves, two to a word, as f32.
pub(crate) fn widen(args: &Args<'_>, out: Outputs<'_, '_>) {
    let brain = args.params::<Params>().brain != 0;
    let halves: &[u16] = bytemuck::cast_slice(args.u32(0));
    let wide = |bits: u16| if brain { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() };
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_iter_mut().zip(halves).for_each(|(value, half)| *value = wide(*half));
}

/// f32 rounded to the nearest half, ties to even, two to a word.
pub(crate) fn narrow(args: &Args<'_>, out: Outputs<'_, '_>) {
    let brain = args.params::<Params>().brain != 0;
    let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut *out[0]);
    let narrow = |value: f32| if brain { bf16::from_f32(value).to_bits() } else { f16::from_f32(value).to_bits() };
    halves.par_iter_mut().zip(args.f32(0)).for_each(|(half, value)| *half = narrow(*value));
}

/// The same words.
pub(crate) fn copy(args: &Args<'_>, out: Outputs<'_, '_>) {
    out[0].copy_from_slice(args.u32(0));
}
