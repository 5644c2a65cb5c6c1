//! Operations that between them launch every kernel with the values of its constants, on small matrices.

use bandsaw::*;

use crate::common::noise;

const RINGS: [Semiring; 5] = [Semiring::Sum, Semiring::Log, Semiring::Max, Semiring::ProdMax, Semiring::Sample { seed: 7 }];
const LAYOUTS: [Layout; 2] = [Layout::Rows, Layout::Columns];

pub fn everything(device: &Device) -> Result<()> {
    products(device)?;
    gradients(device)?;
    elementwise(device)?;
    attention(device)?;
    blocks(device)
}

fn band(device: &Device, seed: u64, n: usize, [lower, upper]: [i64; 2], layout: Layout) -> Result<Banded> {
    let shape = BandedShape::new(n, n, Band::new(lower, upper)?).batch(2).layout(layout);
    Banded::from_fn(device, shape, |b, i, j| noise(seed, b, i, j))
}

fn dense(device: &Device, seed: u64, [batch, rows, cols]: [usize; 3]) -> Result<Dense> {
    Dense::from_fn(device, DenseShape::new(rows, cols).batch(batch), |b, i, j| noise(seed, b, i, j))
}

/// Every number of columns of an invocation, with a window that slides and one that stands still. The rings are
/// one text each in all of these: beyond the first, the least and the most.
fn products(device: &Device) -> Result<()> {
    for ring in RINGS {
        let all = ring == Semiring::Sum;
        for beside in if all { &[5, 12, 20, 30, 50][..] } else { &[5, 50] } {
            let (a, b) = (band(device, 1, 70, [2, 3], Layout::Rows)?, band(device, 2, 70, [*beside, *beside], Layout::Columns)?);
            banded_matmul(&a, &b, ring)?;
        }
        for cols in if all { &[32, 48, 64, 96, 144][..] } else { &[32, 144] } {
            semiring_matmul(&dense(device, 3, [1, 20, 33])?, &dense(device, 4, [1, 33, *cols])?, ring)?;
        }
    }
    // The scales of (logsumexp, +) by wider and wider rows.
    for cols in [9, 33, 65, 129] {
        semiring_matmul(&dense(device, 5, [1, 10, cols])?, &dense(device, 6, [1, cols, 10])?, Semiring::Log)?;
    }
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let shape = DenseShape::new(60, 32).dtype(dtype);
        let x = Dense::from_fn(device, shape, |b, i, j| noise(7, b, i, j))?;
        let scores = window_matmul(&x, &x, Band::window(4)?)?;
        banded_matmul_dense(&scores, &x, Semiring::Sum)?;
        semiring_matmul(&x, &x.t(), Semiring::Sum)?;
    }
    Ok(())
}

fn gradients(device: &Device) -> Result<()> {
    for (layout, ring) in LAYOUTS.into_iter().flat_map(|layout| RINGS.map(|ring| (layout, ring))) {
        let (a, b) = (band(device, 11, 40, [2, 1], layout)?, band(device, 12, 40, [1, 3], layout)?);
        let c = banded_matmul(&a, &b, ring)?;
        let g = Banded::from_fn(device, c.shape().fill(0.0), |b, i, j| noise(13, b, i, j))?;
        banded_matmul_backward(&a, &b, &c, &g, ring)?;
        if ![Semiring::Sum, Semiring::Log].contains(&ring) {
            banded_matmul_index(&a, &b, ring)?;
        }
        if ring == Semiring::Log {
            banded_matmul_double_backward(&a, &b, &c, &g, &a, &b)?;
        }
    }
    let (a, b) = (dense(device, 14, [2, 20, 70])?, dense(device, 15, [2, 70, 24])?);
    let c = semiring_matmul(&a, &b, Semiring::Max)?;
    semiring_matmul_backward(&a, &b, &c, &c, Semiring::Max)?;
    Ok(())
}

fn elementwise(device: &Device) -> Result<()> {
    for layout in LAYOUTS {
        let (m, n) = (band(device, 21, 50, [2, 3], layout)?, band(device, 22, 50, [1, 4], layout)?);
        banded_matvec(&m, &dense(device, 23, [2, 50, 1])?)?;
        let p = banded_softmax(&m, 0.7)?;
        banded_softmax_backward(&p, &p, 0.7)?;
        banded_shift_rows(&m, 2)?;
        banded_shift_cols(&m, -1)?;
        banded_shift_band(&m, 1)?;
        banded_from_dense(&banded_to_dense(&m)?, Band::window(2)?, layout, 0.0)?;
        m.to_device(device)?;
        // Every function and operator that an expression can have.
        for text in EXPRESSIONS {
            let f: Expr = text.parse()?;
            banded_zip(&m, &n, &f)?;
            banded_zip_backward(&m, &n, &f, &banded_zip(&m, &n, &f)?)?;
        }
    }
    Ok(())
}

const EXPRESSIONS: [&str; 4] =
    ["(a + b) / 2", "sqrt(abs(a)) + exp(b) * tanh(a) + ln(abs(b) + 1)", "sin(a) - cos(b)", "max(a, b) * min(a, 0.5) - -a"];

fn attention(device: &Device) -> Result<()> {
    let options = WindowAttention::new(Band::new(9, 4)?).heads(4, 2).lengths([70, 61]);
    for (options, dtype) in [
        (options.clone(), Dtype::F32),
        (options.clone().global([0, 33]), Dtype::F32),
        (options.clone().dilation(3), Dtype::F32),
        (options, Dtype::F16),
    ] {
        let matrix = |seed, batch, cols| {
            let shape = DenseShape::new(70, cols).batch(batch).dtype(dtype);
            Dense::from_fn(device, shape, |b, i, j| noise(seed, b, i, j))
        };
        let (q, k, v) = (matrix(31, 8, 20)?, matrix(32, 4, 20)?, matrix(33, 4, 24)?);
        let (out, lse) = window_attention(&q, &k, &v, &options)?;
        window_attention_backward(&q, &k, &v, &out, &lse, &out, &options)?;
    }
    Ok(())
}

/// Every tile, with sides that are and are not multiples of 4, and every flag.
fn blocks(device: &Device) -> Result<()> {
    for (block, tokens) in [([64, 64], 70), ([64, 64], 40), ([32, 32], 70), ([32, 32], 40), ([16, 16], 40), ([17, 18], 40), ([4, 4], 40)] {
        let shape = [block[0] * 2, block[1] * 3];
        let pattern = BlockPattern::random(shape, block, 4, 3)?;
        let w = BlockSparse::from_fn(device, &pattern, |i, j| noise(41, 0, i, j))?;
        let x = dense(device, 42, [2, tokens, shape[1]])?;
        let y = block_matmul(&x, &w.t())?;
        block_matmul_backward(&x, &w.t(), &y)?;
        let z = dense(device, 43, [1, shape[1], tokens])?;
        block_matmul_left_backward(&w, &z, &block_matmul_left(&w, &z)?)?;
    }
    let pattern = BlockPattern::random([96, 64], [32, 32], 4, 3)?;
    let other = BlockPattern::random([96, 64], [32, 32], 3, 4)?;
    let w = BlockSparse::from_fn(device, &pattern, |i, j| noise(44, 0, i, j))?;
    let u = BlockSparse::from_fn(device, &other, |i, j| noise(45, 0, i, j))?;
    let (x, few, many) = (dense(device, 46, [1, 40, 64])?, dense(device, 47, [1, 9, 64])?, dense(device, 48, [1, 1100, 64])?);
    let bias = dense(device, 49, [1, 1, 96])?;
    for activation in [Activation::None, Activation::Relu, Activation::Gelu] {
        for x in [&x, &few] {
            let y = block_linear(x, &w, Some(&bias), activation)?;
            block_linear_backward(x, &w, Some(&bias), activation, &y, &y)?;
        }
    }
    // As many walks along a column as leave it to 8 lanes, or to 1.
    for tokens in [80, 528] {
        let pattern = BlockPattern::random([256, 8], [4, 4], 100, 3)?;
        let w = BlockSparse::from_fn(device, &pattern, |i, j| noise(50, 0, i, j))?;
        block_matmul(&dense(device, 51, [1, tokens, 8])?, &w.t())?;
        let pattern = BlockPattern::full([tokens / 4, 128], [4, 4])?;
        block_sddmm(&dense(device, 52, [1, 24, tokens / 4])?, &dense(device, 53, [1, 24, 128])?, &pattern)?;
    }
    block_matmul_backward(&many, &w.t(), &block_matmul(&many, &w.t())?)?;
    block_sparse_matmul_backward(&w, &u.t(), &block_sparse_matmul(&w, &u.t())?)?;
    block_add(&w, &u)?;
    block_select(&w, &other)?;
    block_to_dense_backward(&w, &block_to_dense(&w)?)?;
    block_from_dense_backward(&w)?;
    block_prune(&w, 0.5)?;
    block_norms(&w, 1.0)?;
    Ok(())
}
