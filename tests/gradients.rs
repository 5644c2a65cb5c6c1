//! Gradients of products and what they need: argmax and draws, first and second derivatives, on
//! every device, against naive dense loops in f64.

use bandsaw::{Band, Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout, Options};

#[path = "ops/matmul_backward.rs"]
mod matmul_backward;
#[path = "ops/matmul_double_backward.rs"]
mod matmul_double_backward;
#[path = "ops/matmul_index.rs"]
mod matmul_index;

/// The CPU and every adapter, as programs open them and in the ways that show mistakes.
fn devices() -> Vec<Device> {
    let plain = Options { poison: true, ..Options::default() };
    let mut all = vec![Device::open("cpu", plain).unwrap()];
    for info in Device::all().iter().skip(1) {
        for options in [plain, Options { checked: true, ..plain }, Options { portable: true, ..plain }] {
            all.push(Device::open(&info.id, options).unwrap());
        }
    }
    static PRINTED: std::sync::Once = std::sync::Once::new();
    PRINTED.call_once(|| all.iter().for_each(|device| println!("{device} {:?}", device.options())));
    assert!(all.len() > 1, "no wgpu adapter is present");
    all
}

/// A pseudo-random value in -2 ..= 2 with an eighth as step, so that f16 holds it.
fn noise(seed: usize, b: usize, i: usize, j: usize) -> f32 {
    let mut x = (seed * 7919 + b * 104_729 + i * 1_299_709 + j * 15_485_863 + 12_345) as u64;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) % 33) as f32 / 8.0 - 2.0
}

fn banded(device: &Device, seed: usize, shape: BandedShape) -> Banded {
    Banded::from_fn(device, shape, |b, i, j| noise(seed, b, i, j)).unwrap()
}

fn dense(device: &Device, seed: usize, shape: DenseShape) -> Dense {
    Dense::from_fn(device, shape, |b, i, j| noise(seed, b, i, j)).unwrap()
}

/// A batch of matrices written out, with which entries are stored.
#[derive(Clone)]
struct Full {
    batch: usize,
    rows: usize,
    cols: usize,
    values: Vec<f64>,
    stored: Vec<bool>,
}

impl Full {
    fn new(batch: usize, rows: usize, cols: usize, entry: impl Fn(usize, usize, usize) -> f64) -> Self {
        let mut values = Vec::new();
        for n in 0..batch * rows * cols {
            values.push(entry(n / cols / rows, n / cols % rows, n % cols));
        }
        Self { batch, rows, cols, stored: vec![true; values.len()], values }
    }

    fn at(&self, b: usize, i: usize, j: usize) -> f64 {
        self.values[(b * self.rows + i) * self.cols + j]
    }

    /// Whether entry (i, j) is stored.
    fn has(&self, b: usize, i: usize, j: usize) -> bool {
        self.stored[(b * self.rows + i) * self.cols + j]
    }
}

/// A banded batch written out from its slots, by the formula in the documentation. Slots outside
/// the matrix must hold the fill.
fn full(matrix: &Banded) -> Full {
    let BandedShape { batch, rows, cols, band, layout, fill, dtype } = matrix.shape();
    let slots = matrix.read().unwrap();
    let (width, lower, upper) = (band.width(), band.lower(), band.upper());
    let mut new = Full::new(batch, rows, cols, |_, _, _| f64::from(fill));
    new.stored.fill(false);
    let lines = if layout == Layout::Rows { rows } else { cols };
    assert_eq!(slots.len(), batch * lines * width);
    for (slot, value) in slots.iter().enumerate() {
        let (b, line, k) = (slot / width / lines, (slot / width % lines) as i64, (slot % width) as i64);
        let (i, j) = if layout == Layout::Rows { (line, line + k - lower) } else { (line + k - upper, line) };
        if i < 0 || j < 0 || i >= rows as i64 || j >= cols as i64 {
            let want = if dtype == Dtype::F16 { half::f16::from_f32(fill).to_f32() } else { fill };
            assert!(*value == want || (value.is_nan() && want.is_nan()), "slot {slot} outside the matrix holds {value}, not {want}");
            continue;
        }
        let at = (b * rows + i as usize) * cols + j as usize;
        new.values[at] = f64::from(*value);
        new.stored[at] = true;
    }
    new
}

/// The same for a dense batch.
fn full_dense(matrix: &Dense) -> Full {
    let shape = matrix.shape();
    let values = matrix.read().unwrap();
    Full::new(shape.batch, shape.rows, shape.cols, |b, i, j| {
        let at = if shape.layout == Layout::Rows { (b * shape.rows + i) * shape.cols + j } else { (b * shape.cols + j) * shape.rows + i };
        f64::from(values[at])
    })
}

fn band(lower: i64, upper: i64) -> Band {
    Band::new(lower, upper).unwrap()
}

/// 2⁻²⁴, half a unit in the last place of an f32.
const EPS: f64 = 1.0 / (1 << 24) as f64;

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

const LAYOUTS: [Layout; 2] = [Layout::Rows, Layout::Columns];

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
