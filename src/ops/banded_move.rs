//! The same entries in another place: bands, layouts, shifts, to dense and back.

mod shift;

use std::ops::Range;

use super::common::{Output, Piece, pieces, same, same_device, slot_groups, values, widened};
use crate::device::Launch;
use crate::kernel::{Kernel, params, ptx};
use crate::operand::{Operand, aligned};
use crate::{Band, Banded, BandedShape, Dense, DenseShape, Layout, Result, cpu};

pub use shift::{
    banded_shift_band, banded_shift_band_backward, banded_shift_cols, banded_shift_cols_backward, banded_shift_rows,
    banded_shift_rows_backward,
};

params! {
    /// What `banded_move` gets.
    Params {
        batch: u32, rows: i32, cols: i32, flags: u32,
        a_rows: i32, a_cols: i32, a_stride: i32, a_lower: i32, a_upper: i32,
        c_stride: i32, c_lower: i32, c_upper: i32,
        di: i32, dj: i32, fill: u32,
    }
}

pub(crate) static KERNEL: Kernel = Kernel {
    name: "banded_move",
    wgsl: &[include_str!("../../shaders/banded_move.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("banded_move.sm_80"),
    cpu: cpu::banded_move::run,
    params: Params::FIELDS,
    inputs: 1,
    outputs: 1,
};

/// The same matrices with another stored band: what no longer fits is dropped, new diagonals hold
/// the fill.
///
/// From genbmm's `band_pad(t)`, which stores t diagonals more on each side.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 1)?), |_, i, j| (i * 3 + j) as f32)?;
/// let lower = banded_resize(&a, Band::new(1, 0)?)?;
/// assert_eq!(lower.read()?, [0.0, 0.0, 3.0, 4.0, 7.0, 8.0]); // the first slot is outside
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the values are indices,
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) or [`Error::Limit`](crate::Error::Limit) if the result
/// cannot be held.
pub fn banded_resize(a: &Banded, band: Band) -> Result<Banded> {
    to_banded("banded_resize", ("a", &a.operand()), BandedShape { band, ..a.shape() }, [0, 0])
}

/// The gradient of [`banded_resize`]: g on A's band, 0 where g stores nothing.
///
/// g's band is the one that A was resized to. This is the gradient of
/// [`banded_relayout`] too.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 0)?), |_, _, _| 7.0)?;
/// let g = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(0, 1)?), |_, _, _| 1.0)?;
/// assert_eq!(banded_resize_backward(&a, &g)?.read()?, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize`]; [`Error::Argument`](crate::Error::Argument) if the sizes differ,
/// [`Error::WrongDevice`](crate::Error::WrongDevice).
pub fn banded_resize_backward(a: &Banded, g: &Banded) -> Result<Banded> {
    back("banded_resize_backward", a, &g.operand(), [0, 0])
}

/// A copy in the given layout.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = BandedShape::new(3, 3, Band::new(1, 0)?);
/// let a = Banded::from_slice(&device, shape, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])?; // 1; 2 3; 4 5
/// assert_eq!(banded_relayout(&a, Layout::Columns)?.read()?, [1.0, 2.0, 3.0, 4.0, 5.0, 0.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize`].
pub fn banded_relayout(a: &Banded, layout: Layout) -> Result<Banded> {
    to_banded("banded_relayout", ("a", &a.operand()), a.shape().layout(layout), [0, 0])
}

/// All entries, those outside the band as the fill: batch × n × m, row-major.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(0, 0)?).fill(9.0), &[1.0, 2.0])?;
/// assert_eq!(banded_to_dense(&a)?.read()?, [1.0, 9.0, 9.0, 2.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize`].
pub fn banded_to_dense(a: &Banded) -> Result<Dense> {
    let BandedShape { batch, rows, cols, dtype, fill, .. } = a.shape();
    to_dense("banded_to_dense", ("a", &a.operand()), DenseShape::new(rows, cols).batch(batch).dtype(dtype), fill)
}

/// The gradient of [`banded_to_dense`]: g's entries on A's band.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(0, 0)?), &[1.0, 2.0])?;
/// let g = Dense::from_slice(&device, DenseShape::new(2, 2), &[5.0, 6.0, 7.0, 8.0])?;
/// assert_eq!(banded_to_dense_backward(&a, &g)?.read()?, [5.0, 8.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize_backward`].
pub fn banded_to_dense_backward(a: &Banded, g: &Dense) -> Result<Banded> {
    back("banded_to_dense_backward", a, &g.operand(), [0, 0])
}

/// The entries of dense matrices that lie in a band; the others are dropped and read as `fill`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let d = Dense::from_slice(&device, DenseShape::new(2, 2), &[1.0, 2.0, 3.0, 4.0])?;
/// let a = banded_from_dense(&d, Band::new(1, 0)?, Layout::Rows, 0.0)?;
/// assert_eq!(a.read()?, [0.0, 1.0, 3.0, 4.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize`].
pub fn banded_from_dense(d: &Dense, band: Band, layout: Layout, fill: f32) -> Result<Banded> {
    let DenseShape { batch, rows, cols, dtype, .. } = d.shape();
    let shape = BandedShape::new(rows, cols, band).batch(batch).layout(layout).fill(fill).dtype(dtype);
    to_banded("banded_from_dense", ("d", &d.operand()), shape, [0, 0])
}

/// The gradient of [`banded_from_dense`]: g where it is stored, 0 elsewhere, in D's shape.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let d = Dense::from_slice(&device, DenseShape::new(2, 2), &[1.0, 2.0, 3.0, 4.0])?;
/// let g = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(0, 0)?), &[5.0, 6.0])?;
/// assert_eq!(banded_from_dense_backward(&d, &g)?.read()?, [5.0, 0.0, 0.0, 6.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_resize_backward`].
pub fn banded_from_dense_backward(d: &Dense, g: &Banded) -> Result<Dense> {
    const OP: &str = "banded_from_dense_backward";
    alike(OP, ("d", &d.operand()), &g.operand())?;
    to_dense(OP, ("g", &g.operand()), d.shape(), 0.0)
}

/// The smallest band that holds every entry of the batch that is not 0; `None` if all are. NaN is
/// not 0. Reads the matrices back.
///
/// ```
/// use bandsaw::*;
/// let d = Dense::from_slice(&Device::cpu(), DenseShape::new(2, 3), &[0.0, 1.0, 0.0, 0.0, 0.0, 1.0])?;
/// assert_eq!(find_band(&d)?, Some(Band::new(-1, 1)?));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if the values are indices,
/// [`Error::DeviceLost`](crate::Error::DeviceLost) or [`Error::Backend`](crate::Error::Backend).
pub fn find_band(d: &Dense) -> Result<Option<Band>> {
    values("find_band", "d", &d.operand())?;
    let DenseShape { rows, cols, layout, .. } = d.shape();
    let (lines, len) = if layout == Layout::Rows { (rows, cols) } else { (cols, rows) };
    // Distance from the main diagonal along a line: the first and the last that is met.
    let mut ends: Option<(i64, i64)> = None;
    for (n, line) in d.read()?.chunks_exact(len).enumerate() {
        let first = line.iter().position(|value| *value != 0.0);
        let last = line.iter().rposition(|value| *value != 0.0);
        if let (Some(first), Some(last)) = (first, last) {
            let here = |k: usize| k as i64 - (n % lines) as i64;
            let (low, high) = ends.unwrap_or((here(first), here(last)));
            ends = Some((low.min(here(first)), high.max(here(last))));
        }
    }
    let band = ends.map(|(low, high)| Band::new(-low, high)).transpose()?;
    Ok(band.map(|band| if layout == Layout::Rows { band } else { band.t() }))
}

impl Banded {
    /// [`banded_to_dense`].
    ///
    /// ```
    /// # use bandsaw::*;
    /// let a = Banded::from_slice(&Device::cpu(), BandedShape::new(2, 2, Band::new(0, 0)?), &[1.0, 2.0])?;
    /// assert_eq!(a.to_dense()?.read()?, [1.0, 0.0, 0.0, 2.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`banded_to_dense`].
    pub fn to_dense(&self) -> Result<Dense> {
        banded_to_dense(self)
    }

    /// [`banded_from_dense`] in rows layout with fill 0.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let d = Dense::from_slice(&Device::cpu(), DenseShape::new(2, 2), &[1.0, 0.0, 0.0, 2.0])?;
    /// assert_eq!(Banded::from_dense(&d, Band::new(0, 0)?)?.read()?, [1.0, 2.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`banded_from_dense`].
    pub fn from_dense(d: &Dense, band: Band) -> Result<Self> {
        banded_from_dense(d, band, Layout::Rows, 0.0)
    }
}

/// The gradient of A, gathered from that of the result.
fn back(op: &'static str, a: &Banded, g: &Operand, offset: [i32; 2]) -> Result<Banded> {
    alike(op, ("a", &a.operand()), g)?;
    to_banded(op, ("g", g), a.shape().fill(0.0), offset)
}

/// Checks that a gradient is one of the operand's result.
fn alike(op: &'static str, (name, a): (&'static str, &Operand), g: &Operand) -> Result<()> {
    same_device(op, a, &[("g", g)])?;
    values(op, name, a)?;
    values(op, "g", g)?;
    same(op, "g", "batch", g.batch, a.batch, &format!("the batch of {name}"))?;
    same(op, "g", "rows", g.rows, a.rows, &format!("the rows of {name}"))?;
    same(op, "g", "columns", g.cols, a.cols, &format!("the columns of {name}"))
}

fn to_banded(op: &'static str, (name, a): (&'static str, &Operand), shape: BandedShape, offset: [i32; 2]) -> Result<Banded> {
    values(op, name, a)?;
    let (output, shape) = Output::banded(op, a.device(), shape)?;
    run(op, a, &output.operand, offset, shape.fill)?;
    Ok(Banded::from_buffer(shape, output.finish()?))
}

fn to_dense(op: &'static str, (name, a): (&'static str, &Operand), shape: DenseShape, fill: f32) -> Result<Dense> {
    values(op, name, a)?;
    let (output, shape) = Output::dense(op, a.device(), shape)?;
    run(op, a, &output.operand, [0, 0], fill)?;
    Ok(Dense::from_buffer(shape, output.finish()?))
}

/// Launches C\[i,j\] = A\[i + di, j + dj\] into `c`.
pub(crate) fn run(op: &'static str, a: &Operand, c: &Operand, [di, dj]: [i32; 2], fill: f32) -> Result<()> {
    if c.layout == Layout::Columns {
        return run(op, &a.t(), &c.t(), [dj, di], fill);
    }
    let a = &widened(a)?;
    // The rows of A at some rows of C, at least one.
    let shifted = |rows: &Range<usize>| {
        let at = |row: usize, least: usize| (row as i64 + i64::from(di)).clamp(least as i64, a.rows as i64) as usize;
        let first = aligned(at(rows.start, 0).min(a.rows - 1), rows);
        first..at(rows.end, first + 1)
    };
    let meeting = |rows: Range<usize>| {
        let cols = if a.dense { 0..c.cols } else { c.columns_met(&rows) };
        let of_a = shifted(&rows);
        let met = a.columns_met(&of_a);
        [[rows, cols], [of_a, met]]
    };
    for Piece { operands: [c, a], windows: [of_c, of_a] } in pieces(op, [c, a], meeting)? {
        let moved = |by: i32, n: usize| by + of_c[n].start as i32 - of_a[n].start as i32;
        let params = Params {
            batch: a.batch as u32,
            rows: c.rows as i32,
            cols: c.cols as i32,
            flags: a.flags() | c.flags() << 2,
            a_rows: a.rows as i32,
            a_cols: a.cols as i32,
            a_stride: a.stride(),
            a_lower: a.lower,
            a_upper: a.upper,
            c_stride: c.stride(),
            c_lower: c.lower,
            c_upper: c.upper,
            di: moved(di, 0),
            dj: moved(dj, 1),
            fill: fill.to_bits(),
        };
        a.device().launch(&Launch {
            kernel: &KERNEL,
            params: bytemuck::bytes_of(&params),
            inputs: &[&a.buffer],
            outputs: &[&c.buffer],
            groups: slot_groups(&c),
            constants: &[],
            function: None,
        })?;
    }
    Ok(())
}
