//! What a layer's gradient needs around its products.

use rayon::prelude::*;

use super::block_matmul::slope;
use super::total;
use crate::device::cpu::{Args, Outputs};
use crate::ops::block_linear::Params;

/// Where entry (t, feature) is.
fn index(p: &Params, along: bool, t: usize, feature: usize) -> usize {
    if along { t * p.features as usize + feature } else { feature * p.tokens as usize + t }
}

/// g · act′(z), row-major.
pub(crate) fn run(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let (z, g) = (args.f32(0), args.f32(1));
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_iter_mut().enumerate().for_each(|(n, value)| {
        let (t, feature) = (n / p.features as usize, n % p.features as usize);
        let at = |bit: u32| index(&p, p.flags & bit != 0, t, feature);
        *value = (f64::from(g[at(2)]) * slope(p.flags >> 4, f64::from(z[at(1)]))) as f32;
    });
}

/// Sums over the tokens, 64 at a time.
pub(crate) fn sums(args: &Args<'_>, out: Outputs<'_, '_>) {
    let p: Params = args.params();
    let g = args.f32(0);
    bytemuck::cast_slice_mut::<u32, f32>(out[0]).par_iter_mut().enumerate().for_each(|(n, value)| {
        let (first, feature) = (n / p.features as usize * 64, n % p.features as usize);
        let tokens = first..(p.tokens as usize).min(first + 64);
        *value = total(tokens.map(|t| f64::from(g[index(&p, p.flags & 2 != 0, t, feature)]))) as f32;
    });
}
