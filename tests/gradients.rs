//! Gradients of products and what they need: argmax and draws, first and second derivatives, on
//! every device, against naive dense loops in f64.

use bandsaw::{Banded, BandedShape, Device, Dtype, Layout};
use common::full::*;

mod common;
#[path = "ops/matmul_backward.rs"]
mod matmul_backward;
#[path = "ops/matmul_double_backward.rs"]
mod matmul_double_backward;
#[path = "ops/matmul_index.rs"]
mod matmul_index;

/// Every device under test.
fn devices() -> impl Iterator<Item = Device> {
    common::devices().iter().map(|tested| tested.device.clone())
}

/// batch, rows, inner size, columns, band of A, band of B.
type Sizes = (usize, usize, usize, usize, (i64, i64), (i64, i64));

/// Where bands are degenerate, sizes meet a workgroup's edge, and a batch has none, one and many.
const CASES: [Sizes; 14] = [
    (1, 1, 1, 1, (0, 0), (0, 0)),
    (1, 1, 1, 1, (3, 2), (1, 4)),
    (2, 6, 6, 6, (9, 8), (7, 9)),
    (1, 7, 7, 7, (-2, 4), (3, -1)),
    (1, 9, 9, 9, (-4, 5), (-5, 6)),
    (1, 3, 11, 5, (1, 2), (4, 2)),
    (2, 11, 3, 8, (2, 1), (0, 3)),
    (0, 5, 4, 6, (1, 1), (2, 2)),
    (1, 4, 4, 4, (-9, 12), (1, 1)),
    (3, 31, 33, 32, (2, 1), (1, 3)),
    (1, 64, 65, 63, (5, 9), (7, 0)),
    (1, 70, 70, 70, (20, 20), (20, 20)),
    (1, 40, 260, 30, (4, 230), (240, 3)),
    (1, 30, 40, 300, (0, 12), (12, 250)),
];

/// Two operands of a product, banded or dense.
struct Case {
    what: String,
    a: Full,
    b: Full,
}

/// The operands of a case in the given layouts.
fn operands(device: &Device, n: usize, layouts: [Layout; 2], dtype: Dtype) -> (Banded, Banded) {
    let (batch, rows, inner, cols, a, b) = CASES[n];
    let shape =
        |rows, cols, (lower, upper), layout| BandedShape::new(rows, cols, band(lower, upper)).batch(batch).layout(layout).dtype(dtype);
    (banded(device, n, shape(rows, inner, a, layouts[0]).fill(9.0)), banded(device, n + 50, shape(inner, cols, b, layouts[1]).fill(-9.0)))
}

/// Every pair of layouts.
const PAIRS: [[Layout; 2]; 4] =
    [[Layout::Rows, Layout::Rows], [Layout::Rows, Layout::Columns], [Layout::Columns, Layout::Rows], [Layout::Columns, Layout::Columns]];

impl Case {
    /// The p that take part in C[i,j].
    fn terms(&self, b: usize, i: usize, j: usize) -> impl Iterator<Item = (usize, f64, f64)> {
        let stored = move |p: &usize| self.a.has(b, i, *p) && self.b.has(b, *p, j);
        (0..self.a.cols).filter(stored).map(move |p| (p, self.a.at(b, i, p), self.b.at(b, p, j)))
    }
}
