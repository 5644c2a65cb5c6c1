//! The seed table: shapes at which kernels go wrong.

use bandsaw::Band;

/// A product's shape: A is batch × rows × inner in band `a`, B batch × inner × cols in band `b`.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub batch: usize,
    pub rows: usize,
    pub inner: usize,
    pub cols: usize,
    pub a: (i64, i64),
    pub b: (i64, i64),
}

impl Case {
    const fn new(name: &'static str, batch: usize, [rows, inner, cols]: [usize; 3], a: (i64, i64), b: (i64, i64)) -> Self {
        Self { name, batch, rows, inner, cols, a, b }
    }

    const fn square(name: &'static str, n: usize, a: (i64, i64), b: (i64, i64)) -> Self {
        Self::new(name, 1, [n, n, n], a, b)
    }

    pub fn a(&self) -> Band {
        Band::new(self.a.0, self.a.1).unwrap()
    }

    pub fn b(&self) -> Band {
        Band::new(self.b.0, self.b.1).unwrap()
    }
}

/// Tiles have 4, 8 or 64 rows and columns, depending on the kernel; workgroups of the kernels that
/// go along the band cover up to 128 rows. Widths beyond 57 choose the ring, beyond about 100 the
/// square tiles. Each pair of widths is a kernel of its own to compile, so edges share a few.
const TABLE: &[Case] = &[
    Case::square("one entry", 1, (0, 0), (0, 0)),
    Case::square("one entry, wide bands", 1, (3, 2), (1, 4)),
    Case::square("one entry, beside the band", 1, (-1, 2), (2, 2)),
    Case::square("width 1", 20, (0, 0), (0, 0)),
    Case::square("width 1 off the diagonal", 20, (3, -3), (-2, 2)),
    Case::square("width 1 outside the matrix", 5, (9, -9), (1, 1)),
    Case::square("bands wider than n", 5, (11, 9), (7, 13)),
    Case::square("one wide, one narrow", 12, (30, 0), (0, 0)),
    Case::square("negative lower", 17, (-2, 4), (1, 2)),
    Case::square("negative upper", 17, (5, -3), (2, 0)),
    Case::square("negative against negative", 17, (-2, 4), (5, -3)),
    Case::square("triangular", 20, (0, 19), (19, 0)),
    Case::square("edge 7", 7, (1, 2), (2, 1)),
    Case::square("edge 8", 8, (7, 8), (4, 4)),
    Case::square("edge 9", 9, (1, 2), (2, 1)),
    Case::square("edge 63", 63, (7, 8), (4, 4)),
    Case::square("edge 64", 64, (1, 2), (2, 1)),
    Case::square("edge 65", 65, (16, 15), (2, 3)),
    Case::square("edge 127", 127, (7, 8), (4, 4)),
    Case::square("edge 128", 128, (1, 2), (2, 1)),
    Case::square("edge 129", 129, (16, 15), (2, 3)),
    Case::square("edge 129, ring", 129, (40, 24), (31, 29)),
    Case::square("edge 129, square", 129, (100, 24), (90, 60)),
    Case::new("rectangular, ring", 2, [150, 90, 130], (20, 45), (30, 50)),
    Case::square("whole at 65", 65, (64, 64), (64, 64)),
    Case::new("rectangular, long", 2, [40, 9, 13], (3, 2), (4, 1)),
    Case::new("rectangular, flat", 2, [9, 40, 70], (1, 20), (2, 33)),
    Case::new("rectangular, thin inside", 1, [66, 1, 66], (40, 3), (2, 50)),
    Case::new("one row", 3, [1, 30, 5], (0, 29), (29, 4)),
    Case::new("one column", 3, [30, 5, 1], (29, 4), (4, 0)),
    Case::new("batch 0", 0, [6, 6, 6], (1, 1), (1, 1)),
    Case::new("batch many", 67, [5, 6, 7], (1, 2), (2, 2)),
];

pub fn cases() -> &'static [Case] {
    TABLE
}
