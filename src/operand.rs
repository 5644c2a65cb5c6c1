//! What kernels see of a matrix: a dense one is a band that covers everything.

use std::ops::Range;

use crate::device::Buffer;
use crate::{Device, Dtype, Error, Layout, Result};

/// A batch of matrices as kernels see it: `data[b * len + i * stride + j + origin]` for rows
/// layout, with i and j swapped for columns.
#[derive(Clone)]
pub(crate) struct Operand {
    pub buffer: Buffer,
    pub dtype: Dtype,
    pub batch: usize,
    pub rows: usize,
    pub cols: usize,
    /// Diagonals stored below and above; both cover everything for a dense matrix.
    pub lower: i32,
    pub upper: i32,
    pub layout: Layout,
    pub dense: bool,
    pub fill: f32,
}

/// Rows and columns there may be, so that sums with a band stay in `i32`.
pub(crate) const MAX_SIDE: usize = 1 << 28;

/// Lines of any operand start where a binding may, if their number is a multiple of this.
pub(crate) const ALIGNED: usize = 64;

/// A line at or before `line`, where a binding may start if lines that go with `rows` are many.
pub(crate) fn aligned(line: usize, rows: &Range<usize>) -> usize {
    if rows.len() < ALIGNED { line } else { line / ALIGNED * ALIGNED }
}

/// Values in one matrix there may be, so that an index stays in `i32`.
pub(crate) const MAX_LEN: usize = i32::MAX as usize;

/// Checks what every matrix must meet: rows and columns, and indices that fit 32 bits.
pub(crate) fn check_sides(op: &'static str, rows: usize, cols: usize, per_matrix: u128) -> Result<()> {
    for (argument, side) in [("rows", rows), ("cols", cols)] {
        if side == 0 || side > MAX_SIDE {
            return Err(Error::argument(op, argument, side.to_string(), format!("1 to {MAX_SIDE}")));
        }
    }
    if per_matrix > MAX_LEN as u128 {
        return Err(Error::Limit {
            op,
            what: "the number of stored values of one matrix".into(),
            got: u64::try_from(per_matrix).unwrap_or(u64::MAX),
            limit: MAX_LEN as u64,
            of: "32-bit indices".into(),
        });
    }
    Ok(())
}

/// The same of a batch of them, whose bytes must have an address each.
pub(crate) fn check_batch(op: &'static str, batch: usize, rows: usize, cols: usize, per_matrix: u128) -> Result<()> {
    check_sides(op, rows, cols, per_matrix)?;
    let (values, limit) = (batch as u128 * per_matrix, isize::MAX as u64 / 4);
    if values > u128::from(limit) {
        let got = u64::try_from(values).unwrap_or(u64::MAX);
        return Err(Error::Limit { op, what: "the number of stored values".into(), got, limit, of: "memory addresses".into() });
    }
    Ok(())
}

/// A vector of `len` values, or the error that there is no memory for it.
pub(crate) fn filled<T: Clone>(len: usize, value: T) -> Result<Vec<T>> {
    let mut data = Vec::new();
    reserve(&mut data, len)?;
    data.resize(len, value);
    Ok(data)
}

/// Room for `more` entries of a list, or the error that there is no memory for them.
pub(crate) fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<()> {
    let bytes = (list.len() as u64).saturating_add(more as u64).saturating_mul(size_of::<T>() as u64);
    list.try_reserve(more).map_err(|_| Error::OutOfMemory { device: "cpu".into(), bytes })
}

crate::kernel::params! {
    /// What kernels get that work along the rows of one operand.
    RowParams { batch: u32, rows: i32, cols: i32, flags: u32, stride: i32, lower: i32, upper: i32 }
}

impl Operand {
    pub fn row_params(&self) -> RowParams {
        RowParams {
            batch: self.batch as u32,
            rows: self.rows as i32,
            cols: self.cols as i32,
            flags: self.flags(),
            stride: self.stride(),
            lower: self.lower,
            upper: self.upper,
        }
    }

    pub fn device(&self) -> &Device {
        &self.buffer.device
    }

    /// The transposed matrix: other labels over the same data.
    pub fn t(&self) -> Self {
        let mut new = self.clone();
        std::mem::swap(&mut new.rows, &mut new.cols);
        std::mem::swap(&mut new.lower, &mut new.upper);
        new.layout = self.layout.t();
        new
    }

    /// Distance between neighbours across the contiguous direction.
    pub fn stride(&self) -> i32 {
        if !self.dense {
            return self.lower + self.upper;
        }
        match self.layout {
            Layout::Rows => self.cols as i32,
            Layout::Columns => self.rows as i32,
        }
    }

    /// Values of one matrix.
    pub fn len(&self) -> usize {
        if self.dense {
            return self.rows * self.cols;
        }
        let width = (self.lower + self.upper + 1) as usize;
        match self.layout {
            Layout::Rows => self.rows * width,
            Layout::Columns => self.cols * width,
        }
    }

    /// Bit 0: columns layout; bit 1: dense. Kernels get three of these in one word.
    pub fn flags(&self) -> u32 {
        u32::from(self.layout == Layout::Columns) | u32::from(self.dense) << 1
    }

    /// The columns of the matrix that these rows have entries in; at least one.
    pub fn columns_met(&self, rows: &Range<usize>) -> Range<usize> {
        if self.dense {
            return 0..self.cols;
        }
        let within = |column: i64, least: usize| column.clamp(least as i64, self.cols as i64) as usize;
        let first = aligned(within(rows.start as i64 - i64::from(self.lower), 0).min(self.cols - 1), rows);
        first..within(rows.end as i64 + i64::from(self.upper), first + 1)
    }

    /// These rows and columns of a single matrix as one of their own: the lines of storage that hold them, under
    /// other labels. None if a line would have to be cut, which only a dense matrix's would.
    pub fn window(&self, [rows, cols]: &[Range<usize>; 2]) -> Option<Self> {
        let (lines, across, whole) = if self.layout == Layout::Rows { (rows, cols, self.cols) } else { (cols, rows, self.rows) };
        if self.dense && *across != (0..whole) {
            return None;
        }
        let line = self.len() / if self.layout == Layout::Rows { self.rows } else { self.cols } * self.dtype.bytes();
        let shift = cols.start as i32 - rows.start as i32;
        let (lower, upper) = if self.dense { (rows.len() as i32, cols.len() as i32) } else { (self.lower + shift, self.upper - shift) };
        let buffer = self.buffer.view(lines.start * line, lines.len() * line);
        Some(Self { buffer, rows: rows.len(), cols: cols.len(), lower, upper, ..self.clone() })
    }

    /// Batch entries `range` alone.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let bytes = self.len() * self.dtype.bytes();
        // Up to the end of the last word, half of which may be another matrix's.
        let end = (range.end * bytes).next_multiple_of(4);
        let buffer = self.buffer.view(range.start * bytes, end - range.start * bytes);
        let Self { dtype, rows, cols, lower, upper, layout, dense, fill, .. } = *self;
        Self { buffer, dtype, batch: range.len(), rows, cols, lower, upper, layout, dense, fill }
    }

    /// Whether the values start where a word does, as kernels that read halves take it.
    pub fn is_in_words(&self) -> bool {
        self.buffer.offset.is_multiple_of(4)
    }
}
