//! Which entry lies where: in storage, and in the two views.

use bandsaw::{BlockPattern, BlockSparse, Dtype, Layout};

use crate::app::Matrix;

/// How one matrix of a batch is stored.
///
/// A block-sparse matrix is drawn with the blocks that stick out of it whole. Its storage has the stored
/// blocks of each block row side by side (in columns layout those of each block column, one below the
/// other), so that lines run along the dense view as a band's do.
#[derive(Debug, Clone, PartialEq)]
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
    /// Which blocks are stored, if it is block-sparse.
    pub blocks: Option<BlockPattern>,
    /// Blocks of the line that has the most.
    fullest: usize,
}

/// A value's place in a block-sparse matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InBlock {
    /// Block row and column.
    pub block: [usize; 2],
    /// Which block of the storage it is.
    pub slot: usize,
    /// Row and column; outside the matrix where the block sticks out.
    pub entry: [usize; 2],
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
                    blocks: None,
                    fullest: 0,
                }
            }
            Matrix::Blocks(blocks) => Self::of_blocks(blocks),
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
                    blocks: None,
                    fullest: 0,
                }
            }
        }
    }

    fn of_blocks(blocks: &BlockSparse) -> Self {
        let (pattern, columns) = (blocks.pattern(), blocks.layout() == Layout::Columns);
        let starts = if columns { pattern.col_starts() } else { pattern.row_starts() };
        let fullest = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        Self {
            batch: 1,
            rows: pattern.rows(),
            cols: pattern.cols(),
            lower: 0,
            upper: 0,
            columns,
            dense: false,
            fill: 0.0,
            dtype: blocks.dtype(),
            blocks: Some(pattern.clone()),
            fullest: fullest as usize,
        }
    }

    /// Rows and columns that are drawn: blocks that stick out are drawn whole.
    pub fn extent(&self) -> [usize; 2] {
        let Some(pattern) = &self.blocks else { return [self.rows, self.cols] };
        let ([r, c], [rows, cols]) = (pattern.block(), pattern.grid());
        [rows * r, cols * c]
    }

    /// Lines of storage: rows or columns of the matrix.
    pub fn lines(&self) -> usize {
        let [rows, cols] = self.extent();
        if self.columns { cols } else { rows }
    }

    /// Places of one line; of blocks, as many as the fullest line has.
    pub fn width(&self) -> usize {
        match (&self.blocks, self.dense, self.columns) {
            (Some(pattern), ..) => self.fullest.max(1) * self.side(pattern),
            (None, false, _) => (self.lower + self.upper + 1) as usize,
            (None, true, false) => self.cols,
            (None, true, true) => self.rows,
        }
    }

    /// Slots of one matrix: values that it stores.
    pub fn len(&self) -> usize {
        match &self.blocks {
            Some(pattern) => pattern.len() * pattern.block()[0] * pattern.block()[1],
            None => self.lines() * self.width(),
        }
    }

    /// Where each line of blocks starts in its entries.
    fn starts<'a>(&self, pattern: &'a BlockPattern) -> &'a [u32] {
        if self.columns { pattern.col_starts() } else { pattern.row_starts() }
    }

    /// The blocks of every line: the partner, and the slot.
    fn entries<'a>(&self, pattern: &'a BlockPattern) -> &'a [[u32; 2]] {
        if self.columns { pattern.col_entries() } else { pattern.row_entries() }
    }

    /// Places that a block takes of a line.
    fn side(&self, pattern: &BlockPattern) -> usize {
        pattern.block()[usize::from(!self.columns)]
    }

    /// As the shader reads them: the starts, the entries, and block row and column of every slot.
    pub fn index_words(&self) -> Vec<u32> {
        let Some(pattern) = &self.blocks else { return vec![0; 4] };
        let slots = pattern.blocks().flat_map(|block| block.map(|side| side as u32));
        self.starts(pattern).iter().copied().chain(self.entries(pattern).iter().flatten().copied()).chain(slots).collect()
    }

    /// What value `n` of a block-sparse matrix is.
    pub fn in_block(&self, n: usize) -> Option<InBlock> {
        let pattern = self.blocks.as_ref()?;
        let [r, c] = pattern.block();
        let (slot, inside) = (n / (r * c), n % (r * c));
        let [row, col] = pattern.blocks().nth(slot)?;
        let [i, j] = if self.columns { [inside % r, inside / r] } else { [inside / c, inside % c] };
        Some(InBlock { block: [row, col], slot, entry: [row * r + i, col * c + j] })
    }

    /// The value at a place of a block-sparse matrix, or where a block sticks out of it.
    fn slot_of_block(&self, pattern: &BlockPattern, [i, j]: [usize; 2]) -> Option<usize> {
        let [r, c] = pattern.block();
        let inside = if self.columns { j % c * r + i % r } else { i % r * c + j % c };
        Some(pattern.slot(i / r, j / c)? * r * c + inside)
    }

    /// The slot of an entry within its matrix, if it is stored.
    pub fn slot(&self, [i, j]: [usize; 2]) -> Option<usize> {
        if i >= self.rows || j >= self.cols {
            return None;
        }
        if let Some(pattern) = &self.blocks {
            return self.slot_of_block(pattern, [i, j]);
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
        if self.blocks.is_some() {
            return self.in_block(slot).map(|found| found.entry).filter(|[i, j]| *i < self.rows && *j < self.cols);
        }
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
        let [rows, cols] = self.extent();
        match (stored, self.columns) {
            (false, _) => [cols, rows],
            (true, false) => [self.width(), rows],
            (true, true) => [cols, self.width()],
        }
    }

    /// What a cell of a view shows.
    pub fn at(&self, stored: bool, [x, y]: [usize; 2]) -> Option<Pointed> {
        let [width, height] = self.grid(stored);
        if x >= width || y >= height {
            return None;
        }
        let Some(pattern) = &self.blocks else {
            if !stored {
                return Some(Pointed::Entry([y, x]));
            }
            let slot = if self.columns { x * self.width() + y } else { y * self.width() + x };
            return Some(self.entry(slot).map_or(Pointed::Slot(slot), Pointed::Entry));
        };
        let mut entry = [y, x];
        if stored {
            let (line, place) = if self.columns { (x, y) } else { (y, x) };
            let (block, side) = (pattern.block()[usize::from(self.columns)], self.side(pattern));
            let starts = self.starts(pattern);
            let of_line = starts[line / block] as usize..starts[line / block + 1] as usize;
            let [partner, _] = *self.entries(pattern)[of_line].get(place / side)?;
            entry[usize::from(!self.columns)] = partner as usize * side + place % side;
        }
        if entry[0] < self.rows && entry[1] < self.cols {
            return Some(Pointed::Entry(entry));
        }
        self.slot_of_block(pattern, entry).map(Pointed::Slot)
    }

    /// The cell of a view that shows it.
    pub fn cell(&self, stored: bool, pointed: Pointed) -> Option<[usize; 2]> {
        let slot = match pointed {
            Pointed::Entry([i, j]) if !stored => return (i < self.rows && j < self.cols).then_some([j, i]),
            Pointed::Slot(_) if !stored && self.blocks.is_none() => return None,
            Pointed::Entry(entry) => self.slot(entry)?,
            Pointed::Slot(slot) => (slot < self.len()).then_some(slot)?,
        };
        let Some(pattern) = &self.blocks else {
            let (line, k) = (slot / self.width(), slot % self.width());
            return Some(if self.columns { [line, k] } else { [k, line] });
        };
        let InBlock { block: [row, col], entry: [i, j], .. } = self.in_block(slot)?;
        if !stored {
            return Some([j, i]);
        }
        let corner = self.stored_at(pattern, row, col)?;
        let [r, c] = pattern.block();
        Some(if self.columns { [j, corner + i % r] } else { [corner + j % c, i] })
    }

    /// The first place of a block along its line of storage.
    fn stored_at(&self, pattern: &BlockPattern, row: usize, col: usize) -> Option<usize> {
        let (line, partner) = if self.columns { (col, row) } else { (row, col) };
        let starts = self.starts(pattern);
        let of_line = starts[line] as usize..starts[line + 1] as usize;
        let at = self.entries(pattern)[of_line].binary_search_by_key(&(partner as u32), |entry| entry[0]).ok()?;
        Some(at * self.side(pattern))
    }

    /// The stored blocks that these cells of a view show, at least in part: slot, block row and column, and
    /// the first cell.
    pub fn blocks_of(&self, stored: bool, [xs, ys]: [std::ops::Range<usize>; 2]) -> Vec<(usize, [usize; 2], [usize; 2])> {
        let Some(pattern) = &self.blocks else { return Vec::new() };
        let [r, c] = pattern.block();
        let (lines, across, block, side) = if self.columns { (xs, ys, c, r) } else { (ys, xs, r, c) };
        let mut found = Vec::new();
        for line in lines.start / block..lines.end.div_ceil(block) {
            let (starts, entries) = (self.starts(pattern), self.entries(pattern));
            let of_line = &entries[starts[line] as usize..starts[line + 1] as usize];
            for (n, [partner, slot]) in of_line.iter().enumerate() {
                let first = side * if stored { n } else { *partner as usize };
                if first < across.end && first + side > across.start {
                    let (line_at, partner) = (line * block, *partner as usize);
                    let (at, corner) = if self.columns { ([partner, line], [line_at, first]) } else { ([line, partner], [first, line_at]) };
                    found.push((*slot as usize, at, corner));
                }
            }
        }
        found
    }
}

/// What the pointer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pointed {
    /// Row and column.
    Entry([usize; 2]),
    /// A slot that lies outside the matrix.
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

    /// Blocks too: every value once, what sticks out as such, and cells agree in both views.
    #[test]
    fn blocks_are_the_library_s() -> Result<()> {
        for block in [[2, 3], [4, 2], [1, 1], [8, 8]] {
            let pattern = BlockPattern::random([7, 8], block, if block == [8, 8] { 1 } else { 4 }, 3)?;
            let blocks = BlockSparse::from_fn(&Device::cpu(), &pattern, |_, _| 1.0)?;
            for blocks in [blocks.clone(), blocks.t()] {
                let storage = Storage::of(&Matrix::Blocks(blocks.clone()));
                assert_eq!(storage.len(), blocks.len());
                for (i, j) in (0..storage.rows).flat_map(|i| (0..storage.cols).map(move |j| (i, j))) {
                    assert_eq!(storage.slot([i, j]), blocks.index(i, j));
                }
                for slot in 0..storage.len() {
                    assert_eq!(storage.entry(slot).map(|entry| storage.slot(entry)), storage.entry(slot).map(|_| Some(slot)));
                }
                for stored in [false, true] {
                    let [width, height] = storage.grid(stored);
                    let mut slots = 0;
                    for cell in (0..width).flat_map(|x| (0..height).map(move |y| [x, y])) {
                        let Some(pointed) = storage.at(stored, cell) else { continue };
                        slots += usize::from(!matches!(pointed, Pointed::Entry(entry) if storage.slot(entry).is_none()));
                        assert!(storage.cell(stored, pointed) == Some(cell), "{pointed:?} {cell:?}");
                    }
                    assert_eq!(slots, storage.len());
                    assert_eq!(storage.blocks_of(stored, [0..width, 0..height]).len(), pattern.len());
                }
            }
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
