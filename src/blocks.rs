//! Which blocks of a matrix are stored: validated once, indexed by rows and by columns.

mod build;
mod exchange;
mod random;

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::Buffer;
use crate::operand::check_sides;
use crate::{Device, Error, Result};

pub use build::BigBird;
pub use exchange::Bsr;
pub(crate) use random::Random;

/// Rows and columns that a block may have.
pub(crate) const MAX_BLOCK: usize = 128;

/// Which blocks of a rows × cols matrix are stored.
///
/// The matrix is cut into blocks of r × c entries; the last block row and column may stick out, and
/// what sticks out is no part of the matrix. Each stored block has a *slot*, where its r · c values
/// are. Slots are numbered along the block rows, unless the pattern was made with
/// [`from_slots`](Self::from_slots) or [`replace`](Self::replace).
///
/// ```text
/// 5 × 7, blocks of 2 × 3           by rows                        by columns
///
///   0 0 0 . . . 1                  starts  0 2 3 4                starts  0 2 3 4
///   0 0 0 . . . 1                  entries (0, 0) (2, 1)          entries (0, 0) (2, 3)
///   . . . 2 2 2 .                          (1, 2)                         (1, 2)
///   . . . 2 2 2 .                          (0, 3)                         (0, 1)
///   3 3 3 . . . .
///
/// numbers are slots; an entry is (block column, slot) by rows, (block row, slot) by columns
/// ```
///
/// Clones and transposes share everything. The arrays that kernels read are uploaded once for each
/// device, which is kept open by them as long as the pattern lives. The index arrays are those of pytorch_block_sparse.
///
/// ```
/// use bandsaw::BlockPattern;
/// let pattern = BlockPattern::new([5, 7], [2, 3], &[[1, 1], [0, 0], [2, 0], [0, 2]])?;
/// assert_eq!(pattern.grid(), [3, 3]);
/// assert_eq!(pattern.blocks().collect::<Vec<_>>(), [[0, 0], [0, 2], [1, 1], [2, 0]]);
/// assert_eq!(pattern.row_starts(), [0, 2, 3, 4]);
/// assert_eq!(pattern.col_entries(), [[0, 0], [2, 3], [1, 2], [0, 1]]);
/// assert_eq!(pattern.slot(2, 0), Some(3));
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Clone)]
pub struct BlockPattern {
    inner: Arc<Inner>,
    transposed: bool,
}

struct Inner {
    shape: [usize; 2],
    block: [usize; 2],
    /// Block row and column of each slot.
    blocks: Vec<[u32; 2]>,
    /// By rows, by columns.
    index: [Index; 2],
    /// The same on the devices that asked for it.
    uploads: Mutex<Vec<(Device, [Buffer; 2])>>,
}

/// Compressed rows (or columns): where each one starts, and its entries in order.
struct Index {
    starts: Vec<u32>,
    entries: Vec<[u32; 2]>,
}

impl Index {
    /// Entries in the order of `blocks` along `line`, then along the other side.
    fn new(lines: usize, blocks: &[[u32; 2]], line: usize) -> Self {
        let mut slots: Vec<u32> = (0..blocks.len() as u32).collect();
        slots.sort_unstable_by_key(|slot| (blocks[*slot as usize][line], blocks[*slot as usize][1 - line]));
        let mut starts = vec![0; lines + 1];
        for block in blocks {
            starts[block[line] as usize + 1] += 1;
        }
        for n in 0..lines {
            starts[n + 1] += starts[n];
        }
        Self { starts, entries: slots.into_iter().map(|slot| [blocks[slot as usize][1 - line], slot]).collect() }
    }

    /// As kernels read it: the starts, then the entries.
    fn words(&self) -> Vec<u32> {
        self.starts.iter().copied().chain(self.entries.iter().flatten().copied()).collect()
    }
}

impl BlockPattern {
    /// The pattern with these blocks, each given as block row and block column, in any order; slots
    /// follow the block rows.
    ///
    /// # Errors
    /// [`Error::Argument`] if a side is 0 or too large, a block has a side outside 1 to 128, lies
    /// outside the grid, or comes twice (both positions are named); [`Error::Limit`] if the values
    /// would not fit 32-bit indices.
    pub fn new(shape: [usize; 2], block: [usize; 2], blocks: &[[usize; 2]]) -> Result<Self> {
        Self::checked("BlockPattern::new", shape, block, blocks, true)
    }

    /// The same, but slot n is the n-th block given.
    ///
    /// ```
    /// use bandsaw::BlockPattern;
    /// let pattern = BlockPattern::from_slots([4, 4], [2, 2], &[[1, 1], [0, 0]])?;
    /// assert_eq!(pattern.slot(1, 1), Some(0));
    /// assert_eq!(pattern.row_entries(), [[0, 1], [1, 0]]);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_slots(shape: [usize; 2], block: [usize; 2], blocks: &[[usize; 2]]) -> Result<Self> {
        Self::checked("BlockPattern::from_slots", shape, block, blocks, false)
    }

    fn checked(op: &'static str, shape: [usize; 2], block: [usize; 2], blocks: &[[usize; 2]], sort: bool) -> Result<Self> {
        let grid = check_grid(op, shape, block)?;
        if let Some(position) = blocks.iter().position(|[row, col]| *row >= grid[0] || *col >= grid[1]) {
            let [row, col] = blocks[position];
            let got = format!("block ({row}, {col}) at position {position}");
            return Err(Error::argument(op, "blocks", got, format!("blocks of a {} × {} grid", grid[0], grid[1])));
        }
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|position| blocks[*position]);
        if let Some(pair) = order.windows(2).find(|pair| blocks[pair[0]] == blocks[pair[1]]) {
            let [row, col] = blocks[pair[0]];
            let got = format!("block ({row}, {col}) at positions {} and {}", pair[0], pair[1]);
            return Err(Error::argument(op, "blocks", got, "each block once"));
        }
        let narrow = |position: usize| blocks[position].map(|side| side as u32);
        let blocks = if sort { order.into_iter().map(narrow).collect() } else { (0..blocks.len()).map(narrow).collect() };
        Self::from_valid(op, shape, block, blocks)
    }

    /// From blocks that lie in the grid and come once.
    fn from_valid(op: &'static str, shape: [usize; 2], block: [usize; 2], blocks: Vec<[u32; 2]>) -> Result<Self> {
        let values = blocks.len() as u128 * (block[0] * block[1]) as u128;
        check_sides(op, shape[0], shape[1], values)?;
        let grid = [shape[0].div_ceil(block[0]), shape[1].div_ceil(block[1])];
        let index = [Index::new(grid[0], &blocks, 0), Index::new(grid[1], &blocks, 1)];
        Ok(Self { inner: Arc::new(Inner { shape, block, blocks, index, uploads: Mutex::default() }), transposed: false })
    }

    /// One of two, swapped if this is a transposed view.
    fn side<T>(&self, pair: [T; 2]) -> [T; 2] {
        let [first, second] = pair;
        if self.transposed { [second, first] } else { [first, second] }
    }

    fn by(&self, line: usize) -> &Index {
        &self.inner.index[line ^ usize::from(self.transposed)]
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.side(self.inner.shape)[0]
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.side(self.inner.shape)[1]
    }

    /// Rows and columns of a block.
    pub fn block(&self) -> [usize; 2] {
        self.side(self.inner.block)
    }

    /// Block rows and block columns, the last ones included that stick out.
    pub fn grid(&self) -> [usize; 2] {
        let block = self.block();
        [self.rows().div_ceil(block[0]), self.cols().div_ceil(block[1])]
    }

    /// Stored blocks.
    pub fn len(&self) -> usize {
        self.inner.blocks.len()
    }

    /// Whether no block is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stored blocks over all blocks of the grid.
    pub fn density(&self) -> f64 {
        let [rows, cols] = self.grid();
        self.len() as f64 / (rows as f64 * cols as f64)
    }

    /// Block row and column of each slot, in the order of the slots.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = [usize; 2]> + '_ {
        self.inner.blocks.iter().map(|block| self.side(*block).map(|side| side as usize))
    }

    /// Where each block row's entries start in [`row_entries`](Self::row_entries); block rows + 1 of them.
    pub fn row_starts(&self) -> &[u32] {
        &self.by(0).starts
    }

    /// The block column and the slot of every block, row by row, columns rising.
    pub fn row_entries(&self) -> &[[u32; 2]] {
        &self.by(0).entries
    }

    /// Where each block column's entries start in [`col_entries`](Self::col_entries).
    pub fn col_starts(&self) -> &[u32] {
        &self.by(1).starts
    }

    /// The block row and the slot of every block, column by column, rows rising.
    pub fn col_entries(&self) -> &[[u32; 2]] {
        &self.by(1).entries
    }

    /// The slot of a block, if it is stored.
    pub fn slot(&self, block_row: usize, block_col: usize) -> Option<usize> {
        let index = self.by(0);
        let from = *index.starts.get(block_row)? as usize;
        let line = &index.entries[from..*index.starts.get(block_row + 1)? as usize];
        let at = line.binary_search_by_key(&u32::try_from(block_col).ok()?, |entry| entry[0]).ok()?;
        Some(line[at][1] as usize)
    }

    /// The transposed pattern: other labels, the same slots.
    ///
    /// ```
    /// use bandsaw::BlockPattern;
    /// let pattern = BlockPattern::new([4, 6], [2, 3], &[[0, 1]])?;
    /// assert_eq!((pattern.t().rows(), pattern.t().block(), pattern.t().slot(1, 0)), (6, [3, 2], Some(0)));
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    #[must_use]
    pub fn t(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), transposed: !self.transposed }
    }

    /// The pattern after some slots have moved: each of `moves` is block row, block column and the
    /// slot that goes there. The other slots stay.
    ///
    /// ```
    /// use bandsaw::BlockPattern;
    /// let pattern = BlockPattern::new([4, 4], [2, 2], &[[0, 0], [1, 1]])?;
    /// let moved = pattern.replace(&[[0, 1, 1]])?;
    /// assert_eq!(moved.blocks().collect::<Vec<_>>(), [[0, 0], [0, 1]]);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if a slot does not exist or is moved twice, or a block comes to lie outside
    /// the grid or on another one.
    pub fn replace(&self, moves: &[[usize; 3]]) -> Result<Self> {
        const OP: &str = "BlockPattern::replace";
        let mut blocks: Vec<_> = self.blocks().collect();
        let mut moved = vec![None; blocks.len()];
        for (position, [row, col, slot]) in moves.iter().copied().enumerate() {
            let Some(before) = moved.get_mut(slot) else {
                return Err(Error::argument(
                    OP,
                    "moves",
                    format!("slot {slot} at position {position}"),
                    format!("slots below {}", blocks.len()),
                ));
            };
            if let Some(before) = before.replace(position) {
                return Err(Error::argument(OP, "moves", format!("slot {slot} at positions {before} and {position}"), "each slot once"));
            }
            blocks[slot] = [row, col];
        }
        Self::checked(OP, [self.rows(), self.cols()], self.block(), &blocks, false)
    }

    /// By rows (0) or by columns (1), as kernels read it: the starts, then (partner, slot) for each
    /// entry.
    pub(crate) fn upload(&self, device: &Device, line: usize) -> Result<Buffer> {
        let line = line ^ usize::from(self.transposed);
        let mut uploads = self.inner.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, buffers)) = uploads.iter().find(|(there, _)| there == device) {
            return Ok(buffers[line].clone());
        }
        let write = |index: &Index| crate::ops::common::upload_words(device, &index.words());
        let buffers = [write(&self.inner.index[0])?, write(&self.inner.index[1])?];
        uploads.push((device.clone(), buffers.clone()));
        Ok(buffers[line].clone())
    }
}

/// The grid that blocks of this shape cut a matrix into.
fn check_grid(op: &'static str, shape: [usize; 2], block: [usize; 2]) -> Result<[usize; 2]> {
    check_sides(op, shape[0], shape[1], 0)?;
    if block.iter().any(|side| !(1..=MAX_BLOCK).contains(side)) {
        return Err(Error::argument(op, "block", format!("shape {} × {}", block[0], block[1]), format!("sides of 1 to {MAX_BLOCK}")));
    }
    Ok([shape[0].div_ceil(block[0]), shape[1].div_ceil(block[1])])
}

/// Two patterns are equal if every slot of one is the same block of the other.
impl PartialEq for BlockPattern {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.inner, &other.inner) && self.transposed == other.transposed {
            return true;
        }
        let sizes = |pattern: &Self| ([pattern.rows(), pattern.cols()], pattern.block());
        sizes(self) == sizes(other) && self.blocks().eq(other.blocks())
    }
}

impl std::fmt::Debug for BlockPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockPattern({self})")
    }
}

impl std::fmt::Display for BlockPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [r, c] = self.block();
        write!(f, "{} × {}, {} blocks of {r} × {c}, density {:.3}", self.rows(), self.cols(), self.len(), self.density())
    }
}
