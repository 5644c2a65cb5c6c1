//! Moves by whole rows, columns or slots.

use super::{alike, back, to_banded};
use crate::{Band, Banded, BandedShape, Error, Layout, Result};

/// Rows moved up by t, C\[i,j\] = A\[i + t, j\]; the band becomes lower − t, upper + t.
///
/// Rows that come from outside the matrix hold the fill. The result has A's size and layout.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(3, 3, Band::new(0, 0)?), &[1.0, 2.0, 3.0])?;
/// let up = banded_shift_rows(&a, 1)?;
/// assert_eq!(up.shape().band, Band::new(-1, 1)?);
/// assert_eq!((up.get(0, 0, 1)?, up.get(0, 1, 2)?), (2.0, 3.0));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize`](crate::banded_resize); [`Error::Argument`] if t moves a side of the band beyond ±2²⁸.
pub fn banded_shift_rows(a: &Banded, t: i64) -> Result<Banded> {
    shift("banded_shift_rows", a, t, Shift::Rows)
}

/// The gradient of [`banded_shift_rows`] for the same t: ga\[i,j\] = g\[i − t, j\] on A's band.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(3, 3, Band::new(0, 0)?), &[1.0, 2.0, 3.0])?;
/// let g = banded_shift_rows(&a, 1)?;
/// assert_eq!(banded_shift_rows_backward(&a, 1, &g)?.read()?, [0.0, 2.0, 3.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_shift_rows`]; [`Error::Argument`] if the sizes differ, [`Error::WrongDevice`].
pub fn banded_shift_rows_backward(a: &Banded, t: i64, g: &Banded) -> Result<Banded> {
    shift_back("banded_shift_rows_backward", a, t, g, Shift::Rows)
}

/// Columns moved left by t, C\[i,j\] = A\[i, j + t\]; the band becomes lower + t, upper − t.
///
/// Columns that come from outside the matrix hold the fill. The result has A's size and layout.
///
/// From genbmm's `col_shift`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(3, 3, Band::new(0, 0)?), &[1.0, 2.0, 3.0])?;
/// let left = banded_shift_cols(&a, 1)?;
/// assert_eq!(left.shape().band, Band::new(1, -1)?);
/// assert_eq!((left.get(0, 1, 0)?, left.get(0, 2, 1)?), (2.0, 3.0));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_shift_rows`].
pub fn banded_shift_cols(a: &Banded, t: i64) -> Result<Banded> {
    shift("banded_shift_cols", a, t, Shift::Cols)
}

/// The gradient of [`banded_shift_cols`] for the same t: ga\[i,j\] = g\[i, j − t\] on A's band.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(3, 3, Band::new(0, 0)?), &[1.0, 2.0, 3.0])?;
/// let g = banded_shift_cols(&a, 1)?;
/// assert_eq!(banded_shift_cols_backward(&a, 1, &g)?.read()?, [0.0, 2.0, 3.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_shift_rows_backward`].
pub fn banded_shift_cols_backward(a: &Banded, t: i64, g: &Banded) -> Result<Banded> {
    shift_back("banded_shift_cols_backward", a, t, g, Shift::Cols)
}

/// Storage moved by t along its lines; the band becomes lower − t, upper + t.
///
/// ```text
/// Columns layout: data'[j][k] = data[j][k + t]    C[i,j] = A[i + 2t, j]
/// Rows layout:    data'[i][k] = data[i][k - t]    C[i,j] = A[i, j - 2t]
/// ```
///
/// The band moves by t diagonals and the slots by t more, so an entry moves by 2t; what moves in
/// from beyond A's slots is the fill. The result has A's size and layout.
///
/// From genbmm's `band_shift`, as its notebook draws it.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = BandedShape::new(3, 3, Band::new(1, 1)?).layout(Layout::Columns);
/// let a = Banded::from_fn(&device, shape, |_, i, j| (i * 3 + j) as f32)?;
/// let moved = banded_shift_band(&a, 1)?;
/// assert_eq!(moved.shape().band, Band::new(0, 2)?);
/// assert_eq!(moved.get(0, 0, 1)?, a.get(0, 2, 1)?);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_shift_rows`].
pub fn banded_shift_band(a: &Banded, t: i64) -> Result<Banded> {
    shift("banded_shift_band", a, t, Shift::Band)
}

/// The gradient of [`banded_shift_band`] for the same t, on A's band.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = BandedShape::new(3, 3, Band::new(1, 1)?).layout(Layout::Columns);
/// let a = Banded::from_fn(&device, shape, |_, i, j| (i * 3 + j) as f32)?;
/// let g = banded_shift_band(&a, 1)?;
/// let ga = banded_shift_band_backward(&a, 1, &g)?;
/// assert_eq!((ga.get(0, 2, 1)?, ga.get(0, 1, 1)?), (7.0, 0.0)); // row 1 left the matrix
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_shift_rows_backward`].
pub fn banded_shift_band_backward(a: &Banded, t: i64, g: &Banded) -> Result<Banded> {
    shift_back("banded_shift_band_backward", a, t, g, Shift::Band)
}

/// What a shift moves.
#[derive(Clone, Copy, PartialEq)]
enum Shift {
    Rows,
    Cols,
    Band,
}

impl Shift {
    /// The band of the shifted matrix, and (di, dj) of C\[i,j\] = A\[i + di, j + dj\].
    fn by(self, op: &'static str, a: BandedShape, t: i64) -> Result<(Band, [i32; 2])> {
        let (diagonals, offset) = match (self, a.layout) {
            (Self::Rows, _) => (Some(t), [1, 0]),
            (Self::Cols, _) => (t.checked_neg(), [0, 1]),
            (Self::Band, Layout::Columns) => (Some(t), [2, 0]),
            (Self::Band, Layout::Rows) => (Some(t), [0, -2]),
        };
        let side = |side: i64, by: Option<i64>| by.and_then(|by| side.checked_add(by));
        let lower = side(a.band.lower(), diagonals.and_then(i64::checked_neg));
        let band = lower.zip(side(a.band.upper(), diagonals)).and_then(|(lower, upper)| Band::new(lower, upper).ok());
        let allowed = || format!("a shift that leaves both sides of the band ({}) within ±2^28", a.band);
        let band = band.ok_or_else(|| Error::argument(op, "t", t.to_string(), allowed()))?;
        // Both sides of the band are within ±2^28 before and after, so t is within ±2^29.
        Ok((band, offset.map(|times| times * t as i32)))
    }
}

fn shift(op: &'static str, a: &Banded, t: i64, shift: Shift) -> Result<Banded> {
    let (band, offset) = shift.by(op, a.shape(), t)?;
    to_banded(op, ("a", &a.operand()), BandedShape { band, ..a.shape() }, offset)
}

fn shift_back(op: &'static str, a: &Banded, t: i64, g: &Banded, shift: Shift) -> Result<Banded> {
    let (band, [di, dj]) = shift.by(op, a.shape(), t)?;
    alike(op, ("a", &a.operand()), &g.operand())?;
    // What g stores beyond the result's band is the gradient of nothing; only the band's shift
    // could bring it back.
    let cropped;
    let g = if shift == Shift::Band && g.shape().band != band {
        cropped = to_banded(op, ("g", &g.operand()), BandedShape { band, ..g.shape().fill(0.0) }, [0, 0])?;
        &cropped
    } else {
        g
    };
    back(op, a, &g.operand(), [-di, -dj])
}
