//! Block-sparse matrices: patterns, and every operation on every device against naive dense loops in
//! f64.

mod common;

use bandsaw::{BlockPattern, BlockSparse, Dense, DenseShape, Device, Dtype, Layout, Semiring};
use common::{Bound, check_value, devices, devices_and_halves, noise, with_interpreter};

#[path = "ops/block_add.rs"]
mod block_add;
#[path = "ops/block_linear.rs"]
mod block_linear;
#[path = "ops/block_matmul.rs"]
mod block_matmul;
#[path = "ops/block_move.rs"]
mod block_move;
#[path = "ops/block_norms.rs"]
mod block_norms;
#[path = "ops/block_sddmm.rs"]
mod block_sddmm;
#[path = "ops/block_sparse_matmul.rs"]
mod block_sparse_matmul;
#[path = "blocks/layer.rs"]
mod layer;
#[path = "blocks/pattern.rs"]
mod pattern;

/// A matrix written out, with which entries are stored.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Full {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f64>,
    pub stored: Vec<bool>,
}

#[allow(missing_docs)]
impl Full {
    pub fn new(rows: usize, cols: usize, entry: impl Fn(usize, usize) -> Option<f64>) -> Self {
        let all: Vec<_> = (0..rows * cols).map(|n| entry(n / cols, n % cols)).collect();
        Self {
            rows,
            cols,
            values: all.iter().map(|entry| entry.unwrap_or(0.0)).collect(),
            stored: all.iter().map(Option::is_some).collect(),
        }
    }

    /// Entry (i, j) if it is stored.
    pub fn get(&self, i: usize, j: usize) -> Option<f64> {
        self.stored[i * self.cols + j].then(|| self.values[i * self.cols + j])
    }

    pub fn t(&self) -> Self {
        Self::new(self.cols, self.rows, |i, j| self.get(j, i))
    }
}

/// The layouts that blocks can be in.
const LAYOUTS: [Layout; 2] = [Layout::Rows, Layout::Columns];

/// Rows, columns, block and blocks of matrices at which kernels may go wrong: every class of block
/// shape, edges that stick out, nothing stored, empty rows, everything stored, a single block.
fn patterns() -> Vec<BlockPattern> {
    let random = |shape, block, count| BlockPattern::random(shape, block, count, 5).unwrap();
    vec![
        BlockPattern::full([1, 1], [1, 1]).unwrap(),
        BlockPattern::new([70, 50], [32, 32], &[]).unwrap(),
        BlockPattern::new([70, 50], [32, 32], &[[1, 1]]).unwrap(),
        random([13, 17], [1, 1], 60),
        random([21, 34], [2, 4], 40),
        random([20, 31], [3, 5], 20),
        random([40, 9], [8, 1], 20),
        random([9, 40], [1, 8], 20),
        random([64, 48], [8, 8], 17),
        random([50, 70], [16, 16], 9),
        random([96, 128], [32, 32], 7),
        BlockPattern::full([66, 98], [32, 32]).unwrap(),
        random([95, 75], [30, 50], 4),
        random([128, 192], [64, 64], 4),
        random([130, 129], [128, 128], 3),
        random([30, 200], [7, 100], 5),
    ]
}

/// A value that depends on everything.
fn value(seed: u64, i: usize, j: usize) -> f32 {
    noise(seed, 0, i, j)
}

/// A matrix on a device whose values depend on the seed, its blocks in the given layout.
fn sparse(device: &Device, pattern: &BlockPattern, seed: u64, layout: Layout) -> BlockSparse {
    match layout {
        Layout::Rows => BlockSparse::from_fn(device, pattern, |i, j| value(seed, i, j)).unwrap(),
        Layout::Columns => BlockSparse::from_fn(device, &pattern.t(), |j, i| value(seed, i, j)).unwrap().t(),
    }
}

fn dense(device: &Device, seed: u64, shape: DenseShape) -> Dense {
    Dense::from_fn(device, shape, |b, i, j| noise(seed, b, i, j)).unwrap()
}

/// Written out slot by slot, by the formula in the documentation; what sticks out must be 0.
#[track_caller]
fn full(w: &BlockSparse) -> Full {
    let (pattern, data) = (w.pattern(), w.read().unwrap());
    let [r, c] = pattern.block();
    assert_eq!(data.len(), pattern.len() * r * c);
    let mut new = Full::new(pattern.rows(), pattern.cols(), |_, _| None);
    for (slot, [row, col]) in pattern.blocks().enumerate() {
        for (i, j) in (0..r).flat_map(|i| (0..c).map(move |j| (i, j))) {
            let value = data[slot * r * c + if w.layout() == Layout::Rows { i * c + j } else { j * r + i }];
            if row * r + i >= pattern.rows() || col * c + j >= pattern.cols() {
                assert_eq!(value.to_bits(), 0, "slot {slot}: ({i}, {j}) sticks out");
                continue;
            }
            let at = (row * r + i) * pattern.cols() + col * c + j;
            new.values[at] = f64::from(value);
            new.stored[at] = true;
        }
    }
    new
}

/// The matrices of a dense batch.
fn full_dense(matrix: &Dense) -> Vec<Full> {
    let (shape, data) = (matrix.shape(), matrix.read().unwrap());
    (0..shape.batch).map(|b| Full::new(shape.rows, shape.cols, |i, j| Some(f64::from(data[shape.index(b, i, j)])))).collect()
}

/// Σ of the products of what both store, with the bound on its error.
fn sum(terms: impl Iterator<Item = (Option<f64>, Option<f64>)>) -> (f64, Bound) {
    let (mut total, mut bound) = (0.0, Bound { terms: 0, magnitude: 0.0, reach: 0.0 });
    for (x, y) in terms {
        if let (Some(x), Some(y)) = (x, y) {
            total += x * y;
            bound.terms += 1;
            bound.magnitude += (x * y).abs();
        }
    }
    (total, bound)
}

/// Holds a result against the product of two matrices, wherever it stores something.
#[track_caller]
fn assert_product(what: &str, got: &Full, a: &Full, b: &Full, dtype: Dtype) {
    assert_eq!((got.rows, got.cols, a.cols), (a.rows, b.cols, b.rows), "{what}");
    for (i, j) in (0..got.rows).flat_map(|i| (0..got.cols).map(move |j| (i, j))) {
        if let Some(value) = got.get(i, j) {
            let (want, bound) = sum((0..a.cols).map(|k| (a.get(i, k), b.get(k, j))));
            check_value(value as f32, want, bound.on(what).of(Semiring::Sum, want, dtype), || {
                format!("{what}: [{i}, {j}], {} terms", bound.terms)
            });
        }
    }
}

/// A batch's tokens one below the other.
fn stacked(batch: &[Full], rows: usize, cols: usize) -> Full {
    Full::new(batch.len() * rows, cols, |i, j| batch[i / rows].get(i % rows, j))
}
