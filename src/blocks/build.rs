//! Patterns by rule.

use super::{BlockPattern, Random, check_grid};
use crate::operand::check_sides;
use crate::{Band, Error, Result};

/// The parts of a BigBird pattern, in blocks.
///
/// From Zaheer et al.: Big Bird: Transformers for longer sequences, 2020.
///
/// ```text
/// window 1, global 1, random 1: w window, g global, r random
///
///   w g g g g g
///   g w w r . .
///   g w w w . .
///   g . w w w r
///   g r . w w w
///   g . . r w w
/// ```
///
/// ```
/// use bandsaw::{BigBird, BlockPattern};
/// let pattern = BlockPattern::big_bird([96, 96], [16, 16], BigBird { window: 1, global: 1, random: 1 }, 7)?;
/// assert_eq!(pattern.row_starts(), [0, 6, 10, 15, 20, 25, 29]);
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BigBird {
    /// Blocks on each side of the diagonal.
    pub window: usize,
    /// The first block rows and block columns that are whole.
    pub global: usize,
    /// Blocks beside those in each block row, or as many as there is room for.
    pub random: usize,
}

/// The grid, if drawing for each of its blocks takes seconds at most.
fn check_drawn(op: &'static str, shape: [usize; 2], block: [usize; 2]) -> Result<[usize; 2]> {
    const MOST: u64 = 1 << 32;
    let [rows, cols] = check_grid(op, shape, block)?;
    let got = rows as u64 * cols as u64;
    if got > MOST {
        return Err(Error::Limit { op, what: "the number of blocks of the grid".into(), got, limit: MOST, of: "random patterns".into() });
    }
    Ok([rows, cols])
}

impl BlockPattern {
    /// Every block.
    ///
    /// ```
    /// # use bandsaw::BlockPattern;
    /// assert_eq!(BlockPattern::full([10, 10], [4, 8])?.len(), 6);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn full(shape: [usize; 2], block: [usize; 2]) -> Result<Self> {
        Self::from_rows("BlockPattern::full", shape, block, |_, cols| 0..cols)
    }

    /// The blocks that a row-major mask of the grid has.
    ///
    /// ```
    /// # use bandsaw::BlockPattern;
    /// let pattern = BlockPattern::from_mask([4, 4], [2, 2], &[true, false, true, true])?;
    /// assert_eq!(pattern.blocks().collect::<Vec<_>>(), [[0, 0], [1, 0], [1, 1]]);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Argument`] if the mask is not the grid's size.
    pub fn from_mask(shape: [usize; 2], block: [usize; 2], mask: &[bool]) -> Result<Self> {
        const OP: &str = "BlockPattern::from_mask";
        let [rows, cols] = check_grid(OP, shape, block)?;
        if mask.len() != rows * cols {
            let allowed = format!("{} ({rows} × {cols} blocks)", rows * cols);
            return Err(Error::argument(OP, "mask", format!("{} values", mask.len()), allowed));
        }
        Self::from_rows(OP, shape, block, |i, cols| (0..cols).filter(move |j| mask[i * cols + j]))
    }

    /// `count` blocks, every choice equally likely; the same for a seed on every machine.
    ///
    /// ```
    /// # use bandsaw::BlockPattern;
    /// let half = BlockPattern::random([512, 512], [32, 32], 128, 1)?;
    /// assert_eq!((half.len(), half.density()), (128, 0.5));
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), [`Error::Argument`] if the grid has fewer blocks, and [`Error::Limit`] if it has more than 2³²,
    /// each of which is drawn for.
    pub fn random(shape: [usize; 2], block: [usize; 2], count: usize, seed: u64) -> Result<Self> {
        const OP: &str = "BlockPattern::random";
        let [rows, cols] = check_drawn(OP, shape, block)?;
        if count > rows * cols {
            return Err(Error::argument(OP, "count", count.to_string(), format!("at most {} ({rows} × {cols} blocks)", rows * cols)));
        }
        check_sides(OP, shape[0], shape[1], count as u128 * (block[0] * block[1]) as u128)?;
        let chosen = Random::new(seed).choose(count, rows * cols);
        Self::from_valid(OP, shape, block, chosen.into_iter().map(|n| [(n / cols) as u32, (n % cols) as u32]).collect())
    }

    /// The blocks (I, J) with −lower ≤ J − I ≤ upper: a band counted in blocks.
    ///
    /// ```
    /// # use bandsaw::{Band, BlockPattern};
    /// assert_eq!(BlockPattern::banded([64, 64], [16, 16], Band::new(1, 0)?)?.len(), 7);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn banded(shape: [usize; 2], block: [usize; 2], band: Band) -> Result<Self> {
        Self::from_rows("BlockPattern::banded", shape, block, |i, cols| band.cols_of_row(i, cols))
    }

    /// The blocks on the diagonal of the grid.
    ///
    /// ```
    /// # use bandsaw::BlockPattern;
    /// let pattern = BlockPattern::block_diagonal([48, 32], [16, 16])?;
    /// assert_eq!(pattern.blocks().collect::<Vec<_>>(), [[0, 0], [1, 1]]);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn block_diagonal(shape: [usize; 2], block: [usize; 2]) -> Result<Self> {
        Self::from_rows("BlockPattern::block_diagonal", shape, block, |i, cols| i..cols.min(i + 1))
    }

    /// A window along the diagonal, whole first rows and columns, and random blocks in each row.
    ///
    /// # Errors
    /// As [`random`](Self::random).
    pub fn big_bird(shape: [usize; 2], block: [usize; 2], parts: BigBird, seed: u64) -> Result<Self> {
        const OP: &str = "BlockPattern::big_bird";
        let [rows, cols] = check_drawn(OP, shape, block)?;
        // More than there may be is refused before it is listed.
        let window =
            |i: usize| cols.min(i.saturating_add(parts.window).saturating_add(1)).saturating_sub(i.saturating_sub(parts.window)) as u128;
        let least: u128 = (0..rows).map(|i| if i < parts.global { cols as u128 } else { window(i) }).sum();
        check_sides(OP, shape[0], shape[1], least * (block[0] * block[1]) as u128)?;
        let mut random = Random::new(seed);
        let mut blocks = Vec::new();
        for i in 0..rows {
            let inside = |j: usize| i.abs_diff(j) <= parts.window || i < parts.global || j < parts.global;
            let outside: Vec<usize> = (0..cols).filter(|j| !inside(*j)).collect();
            let more = random.choose(parts.random.min(outside.len()), outside.len());
            let mut row: Vec<usize> = (0..cols).filter(|j| inside(*j)).chain(more.into_iter().map(|n| outside[n])).collect();
            row.sort_unstable();
            blocks.extend(row.into_iter().map(|j| [i as u32, j as u32]));
        }
        Self::from_valid(OP, shape, block, blocks)
    }

    /// The block columns that `wanted(block row, columns of the grid)` says.
    fn from_rows<C: Iterator<Item = usize>>(
        op: &'static str,
        shape: [usize; 2],
        block: [usize; 2],
        wanted: impl Fn(usize, usize) -> C,
    ) -> Result<Self> {
        let [rows, cols] = check_grid(op, shape, block)?;
        // More than there may be is refused before it is listed.
        let least: u128 = (0..rows).map(|i| wanted(i, cols).size_hint().0 as u128).sum();
        check_sides(op, shape[0], shape[1], least * (block[0] * block[1]) as u128)?;
        let blocks = (0..rows).flat_map(|i| wanted(i, cols).map(move |j| [i as u32, j as u32])).collect();
        Self::from_valid(op, shape, block, blocks)
    }
}
