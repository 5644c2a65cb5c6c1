//! What the demonstration runs on block-sparse matrices.

use bandsaw::{
    Activation, Band, BigBird, BlockPattern, BlockSparse, Dense, DenseShape, Device, PatternUpdate, Result, Semiring, block_add,
    block_from_dense, block_from_dense_by_magnitude, block_linear, block_linear_backward, block_matmul, block_matmul_backward,
    block_matmul_left, block_norms, block_sparse_matmul, block_to_dense,
};

use super::cases::Cases;
use super::oracle::{Oracle, full};
use crate::app::Matrix;

/// Sides of the matrices; blocks stick out at the right.
const SHAPE: [usize; 2] = [64, 76];
const BLOCK: [usize; 2] = [8, 8];

fn wave(device: &Device, rows: usize, cols: usize, step: f32) -> Result<Dense> {
    Dense::from_fn(device, DenseShape::new(rows, cols), |_, i, j| ((i * 3 + j * 5) as f32 / step).sin())
}

fn of(w: &BlockSparse) -> Result<Oracle> {
    Oracle::of_dense(&block_to_dense(&w.to_device(&Device::cpu())?)?)
}

/// What a pattern stores of a matrix, 0 elsewhere.
fn at_blocks(oracle: &Oracle, pattern: &BlockPattern) -> Result<Oracle> {
    let [r, c] = pattern.block();
    let (rows, cols) = (pattern.rows(), pattern.cols());
    let stored = |i: usize, j: usize| pattern.slot(i / r, j / c).is_some();
    Ok(Oracle::new(rows, cols, full(rows, cols)?, 0.0, |i, j| if stored(i, j) { oracle.at(i, j) } else { (0.0, 0.0) }))
}

impl Cases {
    fn blocks(
        &mut self,
        file: &'static str,
        title: &str,
        run: impl Fn() -> Result<BlockSparse> + 'static,
        want: impl Fn() -> Oracle + 'static,
    ) -> &mut super::cases::Case {
        self.add(file, title, move || run().map(Matrix::Blocks), want)
    }
}

pub fn all(cases: &mut Cases, device: &Device) -> Result<()> {
    patterns(cases, device)?;
    values(cases, device)?;
    products(cases, device)
}

/// Patterns by rule, over the same wave.
fn patterns(cases: &mut Cases, device: &Device) -> Result<()> {
    let dense = wave(device, SHAPE[0], SHAPE[1], 19.0)?;
    let whole = Oracle::of_dense(&dense)?;
    let bird = BigBird { window: 1, global: 1, random: 1 };
    for (file, title, pattern) in [
        ("blocks-random", "40 random blocks of a wave", BlockPattern::random(SHAPE, BLOCK, 40, 1)?),
        ("blocks-banded", "a band of blocks", BlockPattern::banded(SHAPE, BLOCK, Band::new(1, 2)?)?),
        ("blocks-big-bird", "BigBird: window, global, random", BlockPattern::big_bird(SHAPE, BLOCK, bird, 2)?),
    ] {
        let (d, want) = (dense.clone(), at_blocks(&whole, &pattern)?);
        cases.blocks(file, title, move || block_from_dense(&d, &pattern), move || want.clone());
    }
    Ok(())
}

/// A matrix with strong and weak blocks: what pruning, norms, sums and pattern learning make of it.
fn values(cases: &mut Cases, device: &Device) -> Result<()> {
    let hill = |i: usize, j: usize| (-((i as f32 - 20.0).powi(2) + (j as f32 - 50.0).powi(2)) / 400.0).exp();
    let ridge = |i: usize, j: usize| 0.6 * (-(i as f32 - j as f32 * 0.8).powi(2) / 60.0).exp();
    let dense = Dense::from_fn(device, DenseShape::new(SHAPE[0], SHAPE[1]), |_, i, j| {
        (hill(i, j) + ridge(i, j)) * (1.0 + 0.3 * ((i * 7 + j * 11) as f32).sin())
    })?;
    let whole = Oracle::of_dense(&dense)?;
    cases
        .dense(
            "blocks-dense",
            "D, a dense matrix",
            {
                let d = dense.clone();
                move || Ok(d.clone())
            },
            {
                let whole = whole.clone();
                move || whole.clone()
            },
        )
        .free = true;

    // The blocks of largest norm, found apart from the library.
    let grid = BlockPattern::full(SHAPE, BLOCK)?.grid();
    let energy = |row: usize, col: usize| -> f64 {
        let rows = row * BLOCK[0]..SHAPE[0].min((row + 1) * BLOCK[0]);
        rows.flat_map(|i| (col * BLOCK[1]..SHAPE[1].min((col + 1) * BLOCK[1])).map(move |j| (i, j)))
            .map(|(i, j)| whole.at(i, j).0.powi(2))
            .sum()
    };
    let mut order: Vec<[usize; 2]> = (0..grid[0] * grid[1]).map(|n| [n / grid[1], n % grid[1]]).collect();
    order.sort_by(|x, y| energy(y[0], y[1]).total_cmp(&energy(x[0], x[1])));
    order.truncate(order.len() * 3 / 10);
    let strongest = BlockPattern::new(SHAPE, BLOCK, &order)?;
    let (d, want) = (dense.clone(), at_blocks(&whole, &strongest)?);
    cases.blocks(
        "blocks-magnitude",
        "the 30% of D's blocks of largest norm",
        move || block_from_dense_by_magnitude(&d, BLOCK, 0.3),
        move || want.clone(),
    );

    let norms: Vec<(f64, f64)> =
        (0..grid[0] * grid[1]).map(|n| energy(n / grid[1], n % grid[1]).sqrt()).map(|norm| (norm, 1e-5 * norm)).collect();
    let (d, all) = (dense.clone(), BlockPattern::full(SHAPE, BLOCK)?);
    let run = move || {
        let norms = block_norms(&block_from_dense(&d, &all)?, 2.0)?;
        Dense::from_slice(d.device(), DenseShape::new(grid[0], grid[1]), &norms)
    };
    let want = Oracle::new(grid[0], grid[1], full(grid[0], grid[1])?, 0.0, |i, j| norms[i * grid[1] + j]);
    cases.dense("blocks-norms", "the norms of D's blocks", run, move || want.clone());

    let diagonal = BlockPattern::banded(SHAPE, BLOCK, Band::new(0, 0)?)?;
    let (x, y) = (block_from_dense(&dense, &strongest)?, block_from_dense(&wave(device, SHAPE[0], SHAPE[1], 19.0)?, &diagonal)?);
    let (of_x, of_y) = (of(&x)?, of(&y)?);
    let sum = bandsaw::a() + bandsaw::b();
    cases.blocks(
        "blocks-add",
        "the sum with a diagonal of blocks",
        {
            let x = x.clone();
            move || block_add(&x, &y)
        },
        {
            let of_x = of_x.clone();
            move || of_x.zip(&of_y, &sum)
        },
    );

    // A quarter of the blocks goes; those that stay keep their values, those that come are 0.
    let update = PatternUpdate { fraction: 0.25, seed: 3, ..PatternUpdate::default() };
    let slots = update.apply(&x, None)?.slots;
    let kept: Vec<_> = strongest.blocks().enumerate().filter(|(slot, _)| !slots.contains(slot)).map(|(_, block)| block).collect();
    let want = at_blocks(&of_x, &BlockPattern::new(SHAPE, BLOCK, &kept)?)?;
    cases.blocks(
        "blocks-update",
        "pattern learning: a quarter elsewhere",
        move || Ok(update.apply(&x, None)?.weight),
        move || want.clone(),
    );
    Ok(())
}

fn products(cases: &mut Cases, device: &Device) -> Result<()> {
    let pattern = BlockPattern::random(SHAPE, BLOCK, 24, 5)?;
    let w = block_from_dense(&wave(device, SHAPE[0], SHAPE[1], 23.0)?, &pattern)?;
    let o = of(&w)?;
    let (x, g, z) = (wave(device, 40, 76, 11.0)?, wave(device, 40, 64, 13.0)?, wave(device, 76, 40, 17.0)?);
    let (of_x, of_g, of_z) = (Oracle::of_dense(&x)?, Oracle::of_dense(&g)?, Oracle::of_dense(&z)?);
    let product = |a: &Oracle, b: &Oracle, [rows, cols]: [usize; 2]| Ok(a.product_onto(b, Semiring::Sum, full(rows, cols)?));

    let (v, want) = (w.clone(), o.clone());
    cases.blocks("blocks-w", "W, 24 random blocks", move || Ok(v.clone()), move || want.clone()).free = true;
    let (v, want) = (w.clone(), o.t());
    cases.blocks("blocks-transpose", "Wᵀ", move || Ok(v.t()), move || want.clone()).free = true;
    let (v, y, want) = (w.clone(), x.clone(), product(&of_x, &o.t(), [40, 64])?);
    let sums = want.clone();
    cases.dense("blocks-matmul", "X · Wᵀ", move || block_matmul(&y, &v.t()), move || want.clone());
    let (v, y) = (w.clone(), x.clone());
    // Φ is right to 2e-7, GELU's slope at most 1.13.
    let want = Oracle::new(40, 64, full(40, 64)?, 0.0, |i, j| {
        let (z, bound) = sums.at(i, j);
        (0.5 * z * libm::erfc(-z / 2f64.sqrt()), 1.13 * bound + 4e-7 * z.abs())
    });
    cases.dense("blocks-gelu", "GELU(X · Wᵀ) in one pass", move || block_linear(&y, &v, None, Activation::Gelu), move || want.clone());
    let (v, want) = (w.clone(), product(&o, &of_z, [64, 40])?);
    cases.dense("blocks-matmul-left", "W · X", move || block_matmul_left(&v, &z), move || want.clone());
    let (v, y, h, want) = (w.clone(), x.clone(), g.clone(), product(&of_g, &o, [40, 76])?);
    cases.dense("blocks-backward-x", "dX = dY · W", move || Ok(block_matmul_backward(&y, &v.t(), &h)?.0), move || want.clone());
    let want = at_blocks(&product(&of_g.t(), &of_x, SHAPE)?, &pattern)?;
    let (v, y, h) = (w.clone(), x, g);
    let run = move || {
        let none = Activation::None;
        Ok(block_linear_backward(&y, &v, None, none, &block_linear(&y, &v, None, none)?, &h)?.w)
    };
    cases.blocks("blocks-backward-w", "dW = dYᵀ · X at W's blocks", run, move || want.clone());
    let want = product(&o, &o.t(), [64, 64])?;
    cases.blocks("blocks-square", "W · Wᵀ, all block-sparse", move || block_sparse_matmul(&w, &w.t()), move || want.clone());
    Ok(())
}
