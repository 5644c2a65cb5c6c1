//! Which entry lies where: in storage, and in the two views.

use bandsaw::{Dtype, Layout};

use crate::app::Matrix;

/// How one matrix of a batch is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Storage {
    pub batch: usize,
    pub rows: usize,
    pub cols: usize,
    pub lower: i64,
    pub upper: i64,
    pub columns: bool,
    pub dense: bool,
    pub fill: f32,
    pub dtype: Dtype,
}

impl Storage {
    pub fn of(matrix: &Matrix) -> Self {
        match matrix {
            Matrix::Banded(banded) => {
                let shape = banded.shape();
                Self {
                    batch: shape.batch,
                    rows: shape.rows,
                    cols: shape.cols,
                    lower: shape.band.lower(),
                    upper: shape.band.upper(),
                    columns: shape.layout == Layout::Columns,
                    dense: false,
                    fill: shape.fill,
                    dtype: shape.dtype,
                }
            }
            // No step makes one yet, and the shader knows no block indices: nothing to draw.
            Matrix::Blocks(blocks) => Self {
                batch: 0,
                rows: blocks.pattern().rows(),
                cols: blocks.pattern().cols(),
                lower: 0,
                upper: 0,
                columns: blocks.layout() == Layout::Columns,
                dense: true,
                fill: 0.0,
                dtype: blocks.dtype(),
            },
            Matrix::Dense(dense) => {
                let shape = dense.shape();
                Self {
                    batch: shape.batch,
                    rows: shape.rows,
                    cols: shape.cols,
                    lower: shape.rows as i64,
                    upper: shape.cols as i64,
                    columns: shape.layout == Layout::Columns,
                    dense: true,
                    fill: 0.0,
                    dtype: shape.dtype,
                }
            }
        }
    }

    /// Lines of storage: rows or columns of the matrix.
    pub fn lines(&self) -> usize {
        if self.columns { self.cols } else { self.rows }
    }

    /// Slots of one line.
    pub fn width(&self) -> usize {
        match (self.dense, self.columns) {
            (false, _) => (self.lower + self.upper + 1) as usize,
            (true, false) => self.cols,
            (true, true) => self.rows,
        }
    }

    /// Slots of one matrix.
    pub fn len(&self) -> usize {
        self.lines() * self.width()
    }

    /// The slot of an entry within its matrix, if it is stored.
    pub fn slot(&self, [i, j]: [usize; 2]) -> Option<usize> {
        if i >= self.rows || j >= self.cols {
            return None;
        }
        let line = if self.columns { j } else { i };
        let diagonal = j as i64 - i as i64;
        let k = match (self.dense, self.columns) {
            (true, false) => j as i64,
            (true, true) => i as i64,
            (false, false) => diagonal + self.lower,
            (false, true) => self.upper - diagonal,
        };
        (k >= 0 && k < self.width() as i64).then(|| line * self.width() + k as usize)
    }

    /// The entry that a slot holds, if it lies inside the matrix.
    pub fn entry(&self, slot: usize) -> Option<[usize; 2]> {
        let (line, k) = (slot / self.width(), (slot % self.width()) as i64);
        let (first, limit) = match (self.dense, self.columns) {
            (true, false) => (0, self.cols),
            (true, true) => (0, self.rows),
            (false, false) => (line as i64 - self.lower, self.cols),
            (false, true) => (line as i64 - self.upper, self.rows),
        };
        let partner = first + k;
        let inside = line < self.lines() && (0..limit as i64).contains(&partner);
        inside.then_some(if self.columns { [partner as usize, line] } else { [line, partner as usize] })
    }

    /// Columns and rows of cells of a view.
    pub fn grid(&self, stored: bool) -> [usize; 2] {
        match (stored, self.columns) {
            (false, _) => [self.cols, self.rows],
            (true, false) => [self.width(), self.rows],
            (true, true) => [self.cols, self.width()],
        }
    }

    /// What a cell of a view shows.
    pub fn at(&self, stored: bool, [x, y]: [usize; 2]) -> Option<Pointed> {
        let [width, height] = self.grid(stored);
        if x >= width || y >= height {
            return None;
        }
        if !stored {
            return Some(Pointed::Entry([y, x]));
        }
        let slot = if self.columns { x * self.width() + y } else { y * self.width() + x };
        Some(self.entry(slot).map_or(Pointed::Slot(slot), Pointed::Entry))
    }

    /// The cell of a view that shows it.
    pub fn cell(&self, stored: bool, pointed: Pointed) -> Option<[usize; 2]> {
        let slot = match pointed {
            Pointed::Entry([i, j]) if !stored => return (i < self.rows && j < self.cols).then_some([j, i]),
            Pointed::Slot(_) if !stored => return None,
            Pointed::Entry(entry) => self.slot(entry)?,
            Pointed::Slot(slot) => (slot < self.len()).then_some(slot)?,
        };
        let (line, k) = (slot / self.width(), slot % self.width());
        Some(if self.columns { [line, k] } else { [k, line] })
    }
}

/// What the pointer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pointed {
    /// Row and column.
    Entry([usize; 2]),
    /// A slot of band storage that lies outside the matrix.
    Slot(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use bandsaw::{Band, Banded, BandedShape, Dense, DenseShape, Device, Result};

    /// The library says the same about every slot.
    #[test]
    fn slots_are_the_library_s() -> Result<()> {
        for layout in [Layout::Rows, Layout::Columns] {
            for (lower, upper) in [(1, 2), (0, 0), (-1, 3), (3, -1), (9, 9)] {
                let shape = BandedShape::new(5, 7, Band::new(lower, upper)?).layout(layout);
                let storage = Storage::of(&Matrix::Banded(Banded::from_fn(&Device::cpu(), shape, |_, _, _| 1.0)?));
                assert_eq!(storage.len(), shape.len());
                for slot in 0..shape.len() {
                    assert_eq!(storage.entry(slot), shape.entry(slot).map(|(_, i, j)| [i, j]));
                }
                for (i, j) in (0..5).flat_map(|i| (0..7).map(move |j| (i, j))) {
                    assert_eq!(storage.slot([i, j]), shape.slot(0, i, j));
                }
            }
            let shape = DenseShape::new(3, 4).layout(layout);
            let storage = Storage::of(&Matrix::Dense(Dense::from_fn(&Device::cpu(), shape, |_, _, _| 1.0)?));
            assert_eq!(storage.slot([1, 2]), Some(shape.index(0, 1, 2)));
            assert_eq!(storage.entry(shape.index(0, 1, 2)), Some([1, 2]));
        }
        Ok(())
    }

    /// A cell's entry is drawn at that cell, in both views.
    #[test]
    fn cells_and_entries_agree() -> Result<()> {
        for layout in [Layout::Rows, Layout::Columns] {
            let shape = BandedShape::new(4, 6, Band::new(1, 2)?).layout(layout);
            let storage = Storage::of(&Matrix::Banded(Banded::from_fn(&Device::cpu(), shape, |_, _, _| 1.0)?));
            for stored in [false, true] {
                let [width, height] = storage.grid(stored);
                for cell in (0..width).flat_map(|x| (0..height).map(move |y| [x, y])) {
                    let pointed = storage.at(stored, cell);
                    assert_eq!(pointed.and_then(|pointed| storage.cell(stored, pointed)), Some(cell));
                }
                assert_eq!(storage.at(stored, [width, 0]), None);
            }
        }
        Ok(())
    }
}
