//! Index arithmetic of a band: which entries are stored, and where.

use crate::{Error, Result};

/// The diagonals that are stored: `lower` below the main one and `upper` above it (LAPACK's kl
/// and ku).
///
/// Row `i` holds the columns `i - lower ..= i + upper`. Both are signed, so a band may lie wholly
/// on one side of the main diagonal; what counts is the width `lower + upper + 1 ≥ 1`.
///
/// ```text
/// lower 1, upper 2, n = 5        lower -1, upper 2
///   x x x . .                      . x x . .
///   x x x x .                      . . x x .
///   . x x x x                      . . . x x
///   . . x x x                      . . . . x
///   . . . x x                      . . . . .
/// ```
///
/// ```
/// use bandsaw::Band;
/// let band = Band::new(1, 2)?;
/// assert_eq!(band.width(), 4);
/// assert!(band.contains(0, 2) && !band.contains(2, 0));
/// assert_eq!(band * band, Band::new(2, 4)?); // the band of a product
/// assert!(Band::new(-1, 0).is_err()); // width 0
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Band {
    lower: i32,
    upper: i32,
}

/// No band reaches further than this from the main diagonal, so that sums of bands stay in `i32`.
const REACH: u64 = 1 << 28;

impl Band {
    /// The band of `lower` diagonals below the main one and `upper` above it.
    ///
    /// # Errors
    /// [`Error::Argument`] if the width `lower + upper + 1` is below 1, or a side is beyond ±2²⁸.
    pub fn new(lower: i64, upper: i64) -> Result<Self> {
        let got = || format!("lower {lower}, upper {upper}");
        if lower.unsigned_abs().max(upper.unsigned_abs()) > REACH {
            return Err(Error::argument("Band::new", "band", got(), "both sides within ±2^28"));
        }
        if lower + upper < 0 {
            let width = lower + upper + 1;
            return Err(Error::argument(
                "Band::new",
                "band",
                format!("{} (width {width})", got()),
                "width lower + upper + 1 of at least 1",
            ));
        }
        Ok(Self { lower: lower as i32, upper: upper as i32 })
    }

    /// `w` diagonals on each side: the window of local attention.
    ///
    /// # Errors
    /// [`Error::Argument`] if `w` is beyond 2²⁸.
    pub fn window(w: usize) -> Result<Self> {
        let w = i64::try_from(w).unwrap_or(i64::MAX);
        Self::new(w, w)
    }

    /// Diagonals below the main one.
    pub fn lower(self) -> i64 {
        i64::from(self.lower)
    }

    /// Diagonals above the main one.
    pub fn upper(self) -> i64 {
        i64::from(self.upper)
    }

    /// Stored diagonals, `lower + upper + 1`.
    pub fn width(self) -> usize {
        (self.lower + self.upper + 1) as usize
    }

    /// Whether entry (i, j) lies on a stored diagonal.
    pub fn contains(self, i: usize, j: usize) -> bool {
        let diagonal = j as i64 - i as i64;
        -self.lower() <= diagonal && diagonal <= self.upper()
    }

    /// The band of the transposed matrix.
    #[must_use]
    pub fn t(self) -> Self {
        Self { lower: self.upper, upper: self.lower }
    }

    /// The smallest band that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { lower: self.lower.max(other.lower), upper: self.upper.max(other.upper) }
    }

    /// The columns of row `i` that are stored and inside a matrix of `cols` columns.
    pub fn cols_of_row(self, i: usize, cols: usize) -> std::ops::Range<usize> {
        clip(i as i64 - self.lower(), i as i64 + self.upper() + 1, cols)
    }

    /// The rows of column `j` that are stored and inside a matrix of `rows` rows.
    pub fn rows_of_col(self, j: usize, rows: usize) -> std::ops::Range<usize> {
        clip(j as i64 - self.upper(), j as i64 + self.lower() + 1, rows)
    }
}

/// `from..to` cut to `0..len`; empty ranges start where they end.
fn clip(from: i64, to: i64, len: usize) -> std::ops::Range<usize> {
    let from = from.clamp(0, len as i64);
    from as usize..to.clamp(from, len as i64) as usize
}

/// The band of a matrix product: both sides add up.
impl std::ops::Mul for Band {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        // Shapes refuse anything beyond REACH, so a sum held here only has to stay in `i32`.
        let add = |a: i32, b: i32| (a + b).clamp(-(1 << 30) + 1, (1 << 30) - 1);
        Self { lower: add(self.lower, other.lower), upper: add(self.upper, other.upper) }
    }
}

impl std::fmt::Display for Band {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lower {}, upper {}", self.lower, self.upper)
    }
}

/// Which index runs along the main direction of storage.
///
/// The same band in both layouts; slots marked `·` have no partner inside the matrix and hold the
/// fill. `Rows` is what window products give, `Columns` is LAPACK's band storage and genbmm's.
///
/// ```text
/// lower 1, upper 2, n = 4
///
///   a b c .     Rows: row i is contiguous      Columns: column j is contiguous
///   d e f g       · a b c                        · · a d
///   . h i j       d e f g                        · b e h
///   . . k l       h i j ·                        c f i k
///                 k l · ·                        g j l ·
///
///   data[b][i][k] = A[b][i][i + k - lower]    data[b][j][k] = A[b][j + k - upper][j]
/// ```
///
/// For a [`Dense`](crate::Dense) matrix they are row-major and column-major order.
///
/// ```
/// use bandsaw::Layout;
/// assert_eq!(Layout::Rows.t(), Layout::Columns);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// Row `i` is contiguous.
    #[default]
    Rows,
    /// Column `j` is contiguous.
    Columns,
}

impl Layout {
    /// The layout of the transposed matrix over the same data.
    #[must_use]
    pub fn t(self) -> Self {
        match self {
            Self::Rows => Self::Columns,
            Self::Columns => Self::Rows,
        }
    }
}
