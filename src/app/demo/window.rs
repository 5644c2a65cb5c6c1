//! Windowed attention over a text.

use bandsaw::{
    Band, Banded, Dense, DenseShape, Device, Result, Semiring, WindowAttention, banded_matmul_dense, banded_softmax,
    banded_softmax_backward, window_attention, window_attention_backward, window_matmul,
};

use super::cases::Cases;
use super::oracle::{Oracle, full};

/// Where the text comes from is told in `assets/README.md`.
const TEXT: &[u8] = include_bytes!("../../../assets/us_constitution.txt");

/// The characters shown: from the preamble on.
const FROM: usize = 66;
const COUNT: usize = 96;
const DEPTH: usize = 32;

/// A number in −1 … 1 that stands for one feature of a character.
fn feature(letter: u8, p: usize) -> f32 {
    let mut x = (u64::from(letter) << 32 | p as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((x ^ x >> 32) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// The characters of the text as rows of features, `back` before their place.
fn letters(device: &Device, back: usize) -> Result<Dense> {
    Dense::from_fn(device, DenseShape::new(COUNT, DEPTH), |_, i, p| feature(TEXT[FROM + i - back], p))
}

/// A query is a character, a key the character before it: each place attends to what followed the
/// same character earlier.
pub fn all(cases: &mut Cases, device: &Device) -> Result<()> {
    let (q, k) = (letters(device, 0)?, letters(device, 1)?);
    let (of_q, of_k) = (Oracle::of_dense(&q)?, Oracle::of_dense(&k)?);
    let causal = Band::new(24, 0)?;
    let scale = 0.5;
    let in_band = move |band: Band| move |i: usize, j: usize| band.contains(i, j);
    let probabilities = move |q: &Dense, k: &Dense, band: Band| banded_softmax(&window_matmul(q, k, band)?, scale);

    for (file, title, band) in [
        ("attention-causal", "attention to the last 24 characters", causal),
        ("attention-window", "attention to 12 characters on each side", Band::window(12)?),
    ] {
        let (q, k, of_q, of_k) = (q.clone(), k.clone(), of_q.clone(), of_k.clone());
        cases.banded(file, title, move || probabilities(&q, &k, band), move || Oracle::attention(&of_q, &of_k, scale, band, in_band(band)));
    }

    // Values that are the identity make the result the probabilities themselves.
    let identity = Dense::from_fn(device, DenseShape::new(COUNT, COUNT), |_, i, j| f32::from(u8::from(i == j)))?;
    let window = WindowAttention::new(Band::window(6)?).scale(scale);
    for (file, title, options) in [
        ("attention-dilated", "attention with dilation 4", window.clone().dilation(4)),
        ("attention-global", "attention with global places 0 and 40", window.clone().global([0, 40])),
        ("attention-padded", "attention with 70 of 96 keys", window.lengths([70])),
    ] {
        let (q, k, of_q, of_k, v) = (q.clone(), k.clone(), of_q.clone(), of_k.clone(), identity.clone());
        let (of_v, whole, mask) = (Oracle::of_dense(&v)?, full(COUNT, COUNT)?, options.clone());
        cases.dense(
            file,
            title,
            move || Ok(window_attention(&q, &k, &v, &options)?.0),
            move || {
                let p = Oracle::attention(&of_q, &of_k, scale, whole, |i, j| mask.attends(0, i, j));
                p.product_onto(&of_v, Semiring::Sum, whole)
            },
        );
    }
    results(cases, [q, k], [of_q, of_k], causal, scale)
}

/// The result, in one pass and in three, and gradients.
fn results(cases: &mut Cases, [q, k]: [Dense; 2], [of_q, of_k]: [Oracle; 2], band: Band, scale: f32) -> Result<()> {
    let options = WindowAttention::new(band).scale(scale);
    let whole = full(COUNT, DEPTH)?;
    let weights = {
        let (of_q, of_k) = (of_q.clone(), of_k.clone());
        move || Oracle::attention(&of_q, &of_k, scale, band, move |i, j| band.contains(i, j))
    };
    let want = {
        let (weights, of_q) = (weights.clone(), of_q.clone());
        move || weights().product_onto(&of_q, Semiring::Sum, whole)
    };
    let (x, y, one) = (q.clone(), k.clone(), options.clone());
    cases.dense("attention", "attention in one pass", move || Ok(window_attention(&x, &y, &x, &one)?.0), want.clone());
    let (x, y) = (q.clone(), k.clone());
    let three = move || banded_matmul_dense(&banded_softmax(&window_matmul(&x, &y, band)?, scale)?, &x, Semiring::Sum);
    cases.dense("attention-in-three", "attention in three passes", three, want);

    // dV = Pᵀ·g, with the queries as upstream gradient.
    let (of_v, (out, lse)) = (of_q, window_attention(&q, &k, &q, &options)?);
    let (x, y) = (q.clone(), k.clone());
    let transposed = weights.clone();
    cases.dense(
        "attention-backward",
        "gradient of attention by V",
        move || Ok(window_attention_backward(&x, &y, &x, &out, &lse, &x, &options)?.2),
        move || transposed().t().product_onto(&of_v, Semiring::Sum, whole),
    );
    let p: Banded = banded_softmax(&window_matmul(&q, &k, band)?, scale)?;
    let of_p = Oracle::of(&p)?;
    cases.banded(
        "softmax-backward",
        "gradient of the softmax",
        move || banded_softmax_backward(&p, &p, scale),
        move || of_p.softmax_gradient(scale),
    );
    Ok(())
}
