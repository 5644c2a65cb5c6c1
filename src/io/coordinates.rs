//! A matrix as a list of entries: what files hold before a band is chosen.

use crate::operand::{filled, reserve};
use crate::{Band, Banded, BandedShape, Dense, DenseShape, Device, Error, Layout, Result};

/// A sparse matrix as a list of (row, column, value), all from 0.
///
/// ```
/// use bandsaw::{Band, Device, Layout, io::Coordinates};
/// let list = Coordinates { rows: 3, cols: 3, entries: vec![(0, 0, 1.0), (2, 1, 5.0)] };
/// assert_eq!(list.band()?, Band::new(1, 0)?);
/// assert_eq!(list.to_banded(&Device::cpu(), Layout::Rows)?.get(0, 2, 1)?, 5.0);
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinates {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Row, column, value. An entry that occurs twice counts as the sum.
    pub entries: Vec<(usize, usize, f64)>,
}

impl Coordinates {
    /// The smallest band that holds every entry, explicit zeros too; the main diagonal alone if
    /// there is none.
    ///
    /// # Errors
    /// [`Error::Argument`] if an entry is beyond what a [`Band`] reaches.
    pub fn band(&self) -> Result<Band> {
        let offsets = || self.entries.iter().map(|(i, j, _)| *j as i64 - *i as i64);
        match (offsets().min(), offsets().max()) {
            (Some(least), Some(most)) => Band::new(-least, most),
            _ => Band::new(0, 0),
        }
    }

    /// The matrix in the band found, f32, fill 0.
    ///
    /// # Errors
    /// [`Error::Argument`] if an entry lies outside the matrix, or is beyond f32; [`Error::Limit`] or
    /// [`Error::OutOfMemory`] if the band is too wide to be held.
    pub fn to_banded(&self, device: &Device, layout: Layout) -> Result<Banded> {
        let shape = BandedShape::new(self.rows, self.cols, self.band()?).layout(layout);
        shape.check("Coordinates::to_banded")?;
        let data = self.sums("Coordinates::to_banded", shape.len(), |i, j| shape.slot(0, i, j))?;
        Banded::from_slice(device, shape, &data)
    }

    /// The matrix with every entry stored, row-major, f32.
    ///
    /// # Errors
    /// As [`to_banded`](Self::to_banded).
    pub fn to_dense(&self, device: &Device) -> Result<Dense> {
        let shape = DenseShape::new(self.rows, self.cols);
        shape.check("Coordinates::to_dense")?;
        let inside = |i, j| (i < self.rows && j < self.cols).then(|| shape.index(0, i, j));
        let data = self.sums("Coordinates::to_dense", shape.len(), inside)?;
        Dense::from_slice(device, shape, &data)
    }

    /// The stored entries of one matrix of a batch, row by row.
    ///
    /// # Errors
    /// [`Error::Argument`] if the batch has no such matrix, or the read's own error.
    pub fn from_banded(matrix: &Banded, index: usize) -> Result<Self> {
        let shape = matrix.shape();
        if index >= shape.batch {
            return Err(Error::argument(
                "Coordinates::from_banded",
                "index",
                index.to_string(),
                format!("less than batch {}", shape.batch),
            ));
        }
        let data = matrix.read()?;
        let mut entries = Vec::new();
        reserve(&mut entries, shape.len() / shape.batch)?;
        for i in 0..shape.rows {
            for j in shape.band.cols_of_row(i, shape.cols) {
                if let Some(slot) = shape.slot(index, i, j) {
                    entries.push((i, j, f64::from(data[slot])));
                }
            }
        }
        Ok(Self { rows: shape.rows, cols: shape.cols, entries })
    }

    /// All entries of one dense matrix of a batch, row by row.
    ///
    /// # Errors
    /// As [`from_banded`](Self::from_banded).
    pub fn from_dense(matrix: &Dense, index: usize) -> Result<Self> {
        let shape = matrix.shape();
        if index >= shape.batch {
            return Err(Error::argument("Coordinates::from_dense", "index", index.to_string(), format!("less than batch {}", shape.batch)));
        }
        let data = matrix.read()?;
        let mut entries = Vec::new();
        reserve(&mut entries, shape.rows * shape.cols)?;
        let all = (0..shape.rows).flat_map(|i| (0..shape.cols).map(move |j| (i, j)));
        entries.extend(all.map(|(i, j)| (i, j, f64::from(data[shape.index(index, i, j)]))));
        Ok(Self { rows: shape.rows, cols: shape.cols, entries })
    }

    /// `len` values with every entry added, in f64, where `place` puts it.
    fn sums(&self, op: &'static str, len: usize, place: impl Fn(usize, usize) -> Option<usize>) -> Result<Vec<f32>> {
        let mut sums = filled(len, 0.0f64)?;
        for (i, j, value) in &self.entries {
            let Some(slot) = place(*i, *j) else {
                return Err(Error::argument(op, "entries", format!("({i}, {j})"), format!("an entry of {} × {}", self.rows, self.cols)));
            };
            sums[slot] += value;
        }
        let mut data = filled(len, 0.0f32)?;
        for (value, sum) in data.iter_mut().zip(&sums) {
            *value = *sum as f32;
            if value.is_infinite() && sum.is_finite() {
                return Err(Error::argument(op, "entries", format!("{sum:e}"), format!("values that f32 holds, up to {:e}", f32::MAX)));
            }
        }
        Ok(data)
    }
}
