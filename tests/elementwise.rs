//! Element by element: expressions, moves and matrix × vector, on every device, against naive
//! dense loops in f64.

mod common;

use bandsaw::{BandedShape, Device, Layout};
use common::full::*;

#[path = "ops/banded_matvec.rs"]
mod banded_matvec;
#[path = "ops/banded_move.rs"]
mod banded_move;
#[path = "ops/banded_zip.rs"]
mod banded_zip;

/// The CPU and every adapter, as programs open them and in the ways that show mistakes.
fn devices() -> Vec<Device> {
    common::devices().iter().map(|tested| tested.device.clone()).collect()
}

/// batch, rows, columns, lower, upper: where bands are degenerate, sizes meet a workgroup's edge,
/// and a batch has none, one and many.
const SHAPES: [(usize, usize, usize, i64, i64); 17] = [
    (1, 1, 1, 0, 0),
    (1, 1, 1, 3, 2),
    (1, 5, 5, 0, 0),
    (2, 6, 6, 9, 8),
    (1, 7, 7, -2, 4),
    (3, 7, 7, 4, -2),
    (1, 4, 4, -9, 12),
    (1, 3, 11, 1, 2),
    (2, 11, 3, 2, 1),
    (0, 5, 4, 1, 1),
    (3, 31, 31, 1, 1),
    (1, 32, 33, 2, 5),
    (1, 33, 32, 31, 0),
    (1, 127, 129, 0, 3),
    (1, 129, 127, 3, 0),
    (2, 128, 128, 16, 15),
    (1, 3, 600, 2, 560),
];

fn shape((batch, rows, cols, lower, upper): (usize, usize, usize, i64, i64), layout: Layout) -> BandedShape {
    BandedShape::new(rows, cols, band(lower, upper)).batch(batch).layout(layout)
}
