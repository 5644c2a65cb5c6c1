//! The semirings a product can run over.

/// What ⊕ and ⊗ mean in C\[i,j\] = ⊕ₚ A\[i,p\] ⊗ B\[p,j\].
///
/// | semiring | ⊕ | ⊗ | value of a sum over nothing |
/// |---|---|---|---|
/// | `Sum` | + | × | 0 |
/// | `Log` | logsumexp | + | −∞ |
/// | `Max` | max | + | −∞ |
/// | `ProdMax` | max | × | 0 |
/// | `Sample` | logsumexp | + | −∞ |
///
/// A band product runs over the stored entries; what is outside the band takes no part. `Max` and
/// `ProdMax` give NaN as soon as one of their terms is NaN, and ties go to the first index.
/// `ProdMax` is a semiring on values ≥ 0; with negative ones it is still the largest product.
/// `Sample` has `Log`'s value; its index is one p per entry, drawn with probability
/// softmaxₚ(A\[i,p\] + B\[p,j\]) (genbmm's `samplebmm`).
///
/// ```
/// use bandsaw::Semiring;
/// assert_eq!(Semiring::Log.zero(), f32::NEG_INFINITY);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Semiring {
    /// (+, ×): the ordinary product.
    Sum,
    /// (logsumexp, +).
    Log,
    /// (max, +).
    Max,
    /// (max, ×).
    ProdMax,
    /// (logsumexp, +) whose index is a draw: same seed, same draw.
    Sample {
        /// Seed of the counter-based generator.
        seed: u32,
    },
}

impl Semiring {
    /// The value of a sum over nothing, and so of everything outside a result's band.
    pub fn zero(self) -> f32 {
        match self {
            Self::Sum | Self::ProdMax => 0.0,
            Self::Log | Self::Max | Self::Sample { .. } => f32::NEG_INFINITY,
        }
    }
}
