//! Which p makes an entry of a product: the first largest term, or a draw.

use super::matmul::{Terms, product};
use crate::device::cpu::{Args, Outputs};
use crate::ops::matmul::Params;
use crate::ops::matmul_index::{NONE, STEP};

/// (max, +).
pub(crate) fn max(args: &Args<'_>, out: Outputs<'_, '_>) {
    product(args, out, NONE, |_, terms, _| first_largest(terms.iter().map(|(p, a, b)| (p, a as f32 + b as f32))));
}

/// (max, ×).
pub(crate) fn prodmax(args: &Args<'_>, out: Outputs<'_, '_>) {
    product(args, out, NONE, |_, terms, _| first_largest(terms.iter().map(|(p, a, b)| (p, a as f32 * b as f32))));
}

/// One p with probability softmaxₚ(a + b).
pub(crate) fn sample(args: &Args<'_>, out: Outputs<'_, '_>) {
    let params: Params = args.params();
    product(args, out, NONE, |matrix, terms, [i, j]| {
        let bits = random([i as u32, j as u32, params.tiles.wrapping_add((matrix as u32).wrapping_mul(STEP))]);
        draw(terms, (f64::from(bits >> 9) + 0.5) / f64::from(1 << 23))
    });
}

/// The first p of the largest term, NaN counting as the largest. Terms are f32, as on every device:
/// two that differ beyond its precision are a tie.
fn first_largest(terms: impl Iterator<Item = (i32, f32)>) -> u32 {
    let mut best: Option<(i32, f32)> = None;
    for (p, value) in terms {
        if value.is_nan() {
            return p as u32;
        }
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((p, value));
        }
    }
    best.map_or(NONE, |(p, _)| p as u32)
}

/// The p at which the sum of softmax passes `u`.
pub(crate) fn draw(terms: &Terms<'_>, u: f64) -> u32 {
    let values = || terms.iter().map(|(p, a, b)| (p as u32, a + b));
    if let Some((p, _)) = values().find(|(_, value)| value.is_nan()) {
        return p;
    }
    let largest = values().map(|(_, value)| value).fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return NONE;
    }
    if largest == f64::INFINITY {
        return values().find(|(_, value)| *value == largest).map_or(NONE, |(p, _)| p);
    }
    let goal = u * values().map(|(_, value)| (value - largest).exp()).sum::<f64>();
    let (mut upto, mut last) = (0.0, NONE);
    for (p, value) in values() {
        let mass = (value - largest).exp();
        upto += mass;
        if upto > goal {
            return p;
        }
        last = if mass > 0.0 { p } else { last };
    }
    last
}

/// A counter-based generator (Jarzynski and Olano's pcg3d): the same counter, the same number.
pub(crate) fn random(counter: [u32; 3]) -> u32 {
    let mix = |[mut x, mut y, mut z]: [u32; 3]| {
        x = x.wrapping_add(y.wrapping_mul(z));
        y = y.wrapping_add(z.wrapping_mul(x));
        z = z.wrapping_add(x.wrapping_mul(y));
        [x, y, z]
    };
    let start = counter.map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    mix(mix(start).map(|x| x ^ x >> 16))[0]
}
