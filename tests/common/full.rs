//! Batches written out entry by entry: what the naive loops of the tests work on.

use bandsaw::{Band, Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout};

/// 2⁻²⁴, half a unit in the last place of an f32.
pub const EPS: f64 = 1.0 / (1 << 24) as f64;

/// Both layouts.
pub const LAYOUTS: [Layout; 2] = [Layout::Rows, Layout::Columns];

/// A pseudo-random value in -2 ..= 2 with an eighth as step, so that f16 and bf16 hold it.
pub fn eighths(seed: usize, b: usize, i: usize, j: usize) -> f32 {
    let mut x = (seed * 7919 + b * 104_729 + i * 1_299_709 + j * 15_485_863 + 12_345) as u64;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 31) % 33) as f32 / 8.0 - 2.0
}

pub fn banded(device: &Device, seed: usize, shape: BandedShape) -> Banded {
    Banded::from_fn(device, shape, |b, i, j| eighths(seed, b, i, j)).unwrap()
}

pub fn dense(device: &Device, seed: usize, shape: DenseShape) -> Dense {
    Dense::from_fn(device, shape, |b, i, j| eighths(seed, b, i, j)).unwrap()
}

/// A batch of matrices written out, with which entries are stored.
#[derive(Clone)]
pub struct Full {
    pub batch: usize,
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f64>,
    pub stored: Vec<bool>,
}

impl Full {
    pub fn new(batch: usize, rows: usize, cols: usize, entry: impl Fn(usize, usize, usize) -> f64) -> Self {
        let mut values = Vec::new();
        for n in 0..batch * rows * cols {
            values.push(entry(n / cols / rows, n / cols % rows, n % cols));
        }
        Self { batch, rows, cols, stored: vec![true; values.len()], values }
    }

    pub fn at(&self, b: usize, i: usize, j: usize) -> f64 {
        self.values[(b * self.rows + i) * self.cols + j]
    }

    /// Whether entry (i, j) is stored.
    pub fn has(&self, b: usize, i: usize, j: usize) -> bool {
        self.stored[(b * self.rows + i) * self.cols + j]
    }

    /// Entry (i, j), or `other` where it is not stored or there is none.
    pub fn stored_or(&self, b: usize, i: i64, j: i64, other: f64) -> f64 {
        if i < 0 || j < 0 || i >= self.rows as i64 || j >= self.cols as i64 {
            return other;
        }
        let at = (b * self.rows + i as usize) * self.cols + j as usize;
        if self.stored[at] { self.values[at] } else { other }
    }
}

/// A banded batch written out from its slots, by the formula in the documentation. Slots outside
/// the matrix must hold the fill.
pub fn full(matrix: &Banded) -> Full {
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
            let want = match dtype {
                Dtype::F16 => half::f16::from_f32(fill).to_f32(),
                Dtype::Bf16 => half::bf16::from_f32(fill).to_f32(),
                Dtype::F32 | Dtype::U32 => fill,
            };
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
pub fn full_dense(matrix: &Dense) -> Full {
    let shape = matrix.shape();
    let values = matrix.read().unwrap();
    Full::new(shape.batch, shape.rows, shape.cols, |b, i, j| {
        let at = if shape.layout == Layout::Rows { (b * shape.rows + i) * shape.cols + j } else { (b * shape.cols + j) * shape.rows + i };
        f64::from(values[at])
    })
}

/// Fails unless the two agree entry by entry: within `relative` of the value and `absolute`, NaN
/// with NaN, infinity with infinity.
#[track_caller]
pub fn assert_close(what: &str, got: &Full, want: &Full, relative: f64, absolute: f64) {
    assert_eq!((got.batch, got.rows, got.cols), (want.batch, want.rows, want.cols), "{what}");
    for b in 0..want.batch {
        for i in 0..want.rows {
            for j in 0..want.cols {
                let (got, want) = (got.at(b, i, j), want.at(b, i, j));
                let same = got == want || (got.is_nan() && want.is_nan());
                let close = (got - want).abs() <= relative * want.abs() + absolute;
                assert!(same || close, "{what}: entry ({b}, {i}, {j}) is {got}, not {want}");
            }
        }
    }
}

pub fn band(lower: i64, upper: i64) -> Band {
    Band::new(lower, upper).unwrap()
}
