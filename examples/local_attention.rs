//! A layer of causal local attention over a real text: in one pass, in three, and as dense attention
//! with a mask; how far they are apart, how long they take, and how much memory.
//!
//! The query of head h at place i is the character h places before it, the key at place j the one
//! h + 1 places before that, the value the character itself: so a head attends to what came next where
//! the text was the same before. Together they guess the next character.

use std::time::Duration;

use bandsaw::*;

const TEXT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/us_constitution.txt");
const HEADS: usize = 4;
const DEPTH: usize = 64;
const WINDOW: i64 = 127;
/// Sharp enough that equal characters win.
const SCALE: f32 = 0.4;

/// One of the features that stand for a byte: a number in −1 … 1 that looks random.
fn feature(byte: u8, p: usize) -> f32 {
    let mut x = (u64::from(byte) << 32 | p as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    ((x ^ x >> 32) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// What one way to compute the layer needed and gave.
struct Way {
    name: &'static str,
    time: Duration,
    bytes: u64,
    out: Vec<f32>,
    gradients: Option<[Vec<f32>; 3]>,
}

struct Layer {
    q: Dense,
    k: Dense,
    v: Dense,
    /// The gradient of the result: what a loss would send back.
    g: Dense,
}

impl Layer {
    /// On a device of its own, so that its memory can be told.
    fn new(text: &[u8]) -> Result<(Device, Self, u64)> {
        let device = Device::from_env()?;
        let before = device.allocated_bytes();
        let shape = DenseShape::new(text.len(), DEPTH).batch(HEADS);
        let shifted = |back: usize| Dense::from_fn(&device, shape, move |h, i, p| feature(text[i.saturating_sub(h + back)], p));
        let (q, k, v) = (shifted(0)?, shifted(1)?, Dense::from_fn(&device, shape, |_, i, p| feature(text[i], p))?);
        let g = Dense::from_fn(&device, shape, |h, i, p| feature((h + i) as u8, p))?;
        Ok((device, Self { q, k, v, g }, before))
    }

    fn fused(&self, options: &WindowAttention) -> Result<(Dense, [Dense; 3])> {
        let Self { q, k, v, g } = self;
        let (out, lse) = window_attention(q, k, v, options)?;
        let (dq, dk, dv) = window_attention_backward(q, k, v, &out, &lse, g, options)?;
        Ok((out, [dq, dk, dv]))
    }

    /// The scores and the probabilities stay in memory: the price of three passes.
    fn unfused(&self, band: Band) -> Result<(Dense, [Dense; 3], [Banded; 2])> {
        let Self { q, k, v, g } = self;
        let scores = window_matmul(q, k, band)?;
        let p = banded_softmax(&scores, SCALE)?;
        let out = banded_matmul_dense(&p, v, Semiring::Sum)?;
        let (gp, dv) = banded_matmul_dense_backward(&p, v, &out, g, Semiring::Sum)?;
        let (dq, dk) = window_matmul_backward(q, k, &banded_softmax_backward(&p, &gp, SCALE)?)?;
        Ok((out, [dq, dk, dv], [scores, p]))
    }

    /// Every score, then a mask.
    fn dense(&self, band: Band) -> Result<(Dense, [Dense; 2])> {
        let scores = semiring_matmul(&self.q, &self.k.t(), Semiring::Sum)?;
        let masked = banded_from_dense(&scores, band, Layout::Rows, 0.0)?;
        let p = banded_to_dense(&banded_softmax(&masked, SCALE)?)?;
        Ok((semiring_matmul(&p, &self.v, Semiring::Sum)?, [scores, p]))
    }
}

/// The largest difference of two results.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// How often the byte whose features are most like the mean of the heads is the next one.
fn guessed(text: &[u8], out: &[f32]) -> usize {
    let n = text.len();
    let right = |i: &usize| {
        let mean: Vec<f32> = (0..DEPTH).map(|p| (0..HEADS).map(|h| out[(h * n + i) * DEPTH + p]).sum()).collect();
        let likeness = |byte: u8| (0..DEPTH).map(|p| mean[p] * feature(byte, p)).sum::<f32>();
        (b'\n'..=b'z').max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))) == Some(text[i + 1])
    };
    (0..n - 1).filter(right).count()
}

fn main() -> Result<()> {
    let text = std::fs::read(TEXT).map_err(|error| Error::Io { path: TEXT.into(), message: error.to_string() })?;
    let software = matches!(Device::from_env()?.info().kind.as_str(), "cpu" | "software");
    // A whole dense matrix of scores for each head must fit.
    let text = &text[..text.len().min(if software { 1024 } else { 8192 })];
    let band = Band::new(WINDOW, 0)?;
    let options = WindowAttention::new(band).heads(HEADS, HEADS).scale(SCALE);
    println!("{}: {} characters, {HEADS} heads of {DEPTH}, the last {} of them attended to", Device::from_env()?, text.len(), WINDOW + 1);

    let mut ways = Vec::new();
    for name in ["one pass", "three passes", "dense, masked"] {
        let (device, layer, before) = Layer::new(text)?;
        let run = || match name {
            "one pass" => layer.fused(&options).map(|(out, gradients)| (out, Some(gradients), vec![], vec![])),
            "three passes" => layer.unfused(band).map(|(out, gradients, kept)| (out, Some(gradients), kept.into(), vec![])),
            _ => layer.dense(band).map(|(out, kept)| (out, None, vec![], kept.into())),
        };
        run()?; // compiles the kernels
        device.sync()?;
        let ((out, gradients, _banded, _dense), time) = device.time(run)?;
        let bytes = device.allocated_bytes() - before;
        let read =
            |gradients: [Dense; 3]| -> Result<[Vec<f32>; 3]> { Ok([gradients[0].read()?, gradients[1].read()?, gradients[2].read()?]) };
        ways.push(Way { name, time, bytes, out: out.read()?, gradients: gradients.map(read).transpose()? });
    }

    for way in &ways {
        let with = if way.gradients.is_some() { "forward and backward" } else { "forward" };
        let off = apart(&way.out, &ways[0].out);
        println!(
            "{:<14} {with:<21} {:9.3} ms {:8.1} MiB, {off:.1e} from one pass",
            way.name,
            way.time.as_secs_f64() * 1e3,
            way.bytes as f64 / 1048576.0
        );
    }
    if let [Some(one), Some(three)] = [&ways[0].gradients, &ways[1].gradients] {
        let off: Vec<_> =
            ["q", "k", "v"].iter().zip(one.iter().zip(three)).map(|(name, (a, b))| format!("{name} {:.1e}", apart(a, b))).collect();
        println!("gradients of one pass and of three are apart by {}", off.join(", "));
    }
    let right = guessed(text, &ways[0].out);
    println!("the next character is guessed in {right} of {} places", text.len() - 1);
    Ok(())
}
