//! Matrices on the host, as functions of their indices: the same on every device and in the oracle.

use std::sync::Arc;

use bandsaw::{Band, Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout};

/// A batch of matrices given by a function.
#[derive(Clone)]
pub struct Host {
    pub batch: usize,
    pub rows: usize,
    pub cols: usize,
    /// `None` for a dense batch.
    pub band: Option<Band>,
    value: Arc<dyn Fn(usize, usize, usize) -> f32 + Send + Sync>,
}

impl Host {
    pub fn new(
        batch: usize,
        rows: usize,
        cols: usize,
        band: Option<Band>,
        value: impl Fn(usize, usize, usize) -> f32 + Send + Sync + 'static,
    ) -> Self {
        Self { batch, rows, cols, band, value: Arc::new(value) }
    }

    /// With values in ±scale that depend on the seed.
    pub fn random(batch: usize, rows: usize, cols: usize, band: Option<Band>, seed: u64, scale: f32) -> Self {
        Self::new(batch, rows, cols, band, move |b, i, j| scale * noise(seed, b, i, j))
    }

    /// The same with some values replaced.
    pub fn with(&self, change: impl Fn(usize, usize, usize) -> Option<f32> + Send + Sync + 'static) -> Self {
        let value = Arc::clone(&self.value);
        Self { value: Arc::new(move |b, i, j| change(b, i, j).unwrap_or_else(|| value(b, i, j))), ..self.clone() }
    }

    /// The same with values rounded as this type stores them.
    pub fn rounded(&self, dtype: Dtype) -> Self {
        let value = Arc::clone(&self.value);
        match dtype {
            Dtype::F16 => Self { value: Arc::new(move |b, i, j| half::f16::from_f32(value(b, i, j)).to_f32()), ..self.clone() },
            Dtype::Bf16 => Self { value: Arc::new(move |b, i, j| half::bf16::from_f32(value(b, i, j)).to_f32()), ..self.clone() },
            _ => self.clone(),
        }
    }

    /// The same with every entry stored.
    pub fn whole(&self) -> Self {
        Self { band: None, ..self.clone() }
    }

    /// The transposed matrices.
    pub fn t(&self) -> Self {
        let value = Arc::clone(&self.value);
        let band = self.band.map(|band| Band::new(band.upper(), band.lower()).unwrap());
        Self { rows: self.cols, cols: self.rows, band, value: Arc::new(move |b, i, j| value(b, j, i)), ..*self }
    }

    /// Entry (i, j) of matrix b if it is stored. The definition of a band, spelt out.
    pub fn entry(&self, b: usize, i: usize, j: usize) -> Option<f64> {
        let diagonal = j as i64 - i as i64;
        let stored = self.band.is_none_or(|band| -band.lower() <= diagonal && diagonal <= band.upper());
        stored.then(|| f64::from((self.value)(b, i, j)))
    }

    /// On a device; `transposed` uploads the transpose and relabels it.
    pub fn banded(&self, device: &Device, layout: Layout, dtype: Dtype, transposed: bool) -> Banded {
        let shape = BandedShape::new(self.rows, self.cols, self.band.expect("a band matrix")).batch(self.batch).dtype(dtype);
        if transposed {
            return Banded::from_fn(device, shape.t().layout(layout), |b, i, j| (self.value)(b, j, i)).unwrap().t();
        }
        Banded::from_fn(device, shape.layout(layout), |b, i, j| (self.value)(b, i, j)).unwrap()
    }

    /// On a device; `transposed` uploads the transpose and relabels it.
    pub fn dense(&self, device: &Device, layout: Layout, dtype: Dtype, transposed: bool) -> Dense {
        let shape = DenseShape::new(self.rows, self.cols).batch(self.batch).dtype(dtype);
        if transposed {
            return Dense::from_fn(device, shape.t().layout(layout), |b, i, j| (self.value)(b, j, i)).unwrap().t();
        }
        Dense::from_fn(device, shape.layout(layout), |b, i, j| (self.value)(b, i, j)).unwrap()
    }
}

/// A value in -1 .. 1 that looks random and is the same everywhere (splitmix64 of the indices).
pub fn noise(seed: u64, b: usize, i: usize, j: usize) -> f32 {
    let mut x = seed ^ (b as u64) << 48 ^ (i as u64) << 24 ^ j as u64;
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    (x >> 40) as f32 / (1 << 23) as f32 - 1.0
}
