//! How far a result may be from the exact value.

use bandsaw::{Device, Dtype, Semiring};

/// Half the distance from 1 to the next f32.
pub const EPSILON: f64 = 1.0 / (1u64 << 24) as f64;

/// What the bound of one entry of a product depends on.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Its number of terms.
    pub terms: usize,
    /// Σₚ |A\[i,p\]|·|B\[p,j\]|.
    pub magnitude: f64,
    /// The largest finite stored |A\[i,·\]| plus the largest finite stored |B\[·,j\]|.
    pub reach: f64,
}

impl Bound {
    /// The same for a product of f32 on the device whose label `what` begins with. CUDA splits factors for tensor cores,
    /// which costs as much as 6 more terms.
    pub fn on(mut self, what: &str) -> Self {
        if what.split(' ').nth(1) == Some("cuda") {
            self.terms += 6;
        }
        self
    }

    /// The same for a sum over two bands of more than 96 diagonals on this device. Through wgpu, matrix units take f32 in halves, which
    /// costs as much as 6 more terms.
    pub fn in_halves(mut self, device: &Device) -> Self {
        let info = device.info();
        let units = info.backend != "cuda" && info.features.iter().any(|feature| feature == "matrix units");
        if units && !device.options().portable {
            self.terms += 6;
        }
        self
    }

    /// The largest error allowed at an exact value of `want`.
    pub fn of(&self, ring: Semiring, want: f64, dtype: Dtype) -> f64 {
        let bound = match ring {
            Semiring::Sum => self.sum(),
            Semiring::Log | Semiring::Sample { .. } => self.log(),
            Semiring::Max | Semiring::ProdMax => max(want),
        };
        bound + rounding(dtype) * (want.abs() + bound) + if dtype == Dtype::F16 { 1.0 / (1u64 << 25) as f64 } else { 0.0 }
    }

    /// A sum of k products in f32, in any order: each of the k roundings of a partial sum and the
    /// one of each product is at most ε of Σ|a|·|b|; doubled for second-order terms.
    fn sum(&self) -> f64 {
        2.0 * (self.terms + 2) as f64 * EPSILON * self.magnitude
    }

    /// logsumexp by scaled exponentials: the sum's own relative error as above; `exp` and `log` of
    /// the device, which WGSL lets be off by a few ulp of their argument's size; and the roundings
    /// of differences to the scales, whose size is that of the row's and column's entries.
    fn log(&self) -> f64 {
        EPSILON * (2.0 * (self.terms + 2) as f64 + 16.0 + 10.0 * self.reach)
    }
}

/// One addition or product, rounded once; a near tie may go to the other term.
fn max(want: f64) -> f64 {
    2.0 * EPSILON * want.abs()
}

/// How far a value may move when it is stored, relative to its size: 11 bits of f16, 8 of bf16. What f16
/// cannot hold apart from 0 is apart.
pub fn rounding(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => 1.0 / 2048.0,
        Dtype::Bf16 => 1.0 / 256.0,
        Dtype::F32 | Dtype::U32 => 0.0,
    }
}
