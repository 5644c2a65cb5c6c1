//! From and to other libraries' sparse formats.

use super::{BlockPattern, check_grid};
use crate::{BlockSparse, Device, Error, Layout, Result};

/// A block-sparse matrix in SciPy's and PyTorch's BSR form: block rows compressed, blocks row-major.
///
/// ```
/// use bandsaw::*;
/// let w = BlockSparse::from_fn(&Device::cpu(), &BlockPattern::full([2, 4], [2, 2])?, |i, j| (10 * i + j) as f32)?;
/// let bsr = w.to_bsr()?;
/// assert_eq!((bsr.starts, bsr.columns), (vec![0, 2], vec![0, 1]));
/// assert_eq!(bsr.values, [0.0, 1.0, 10.0, 11.0, 2.0, 3.0, 12.0, 13.0]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Bsr {
    /// Where each block row starts, `indptr` there; block rows + 1.
    pub starts: Vec<usize>,
    /// The block column of each block, `indices` there.
    pub columns: Vec<usize>,
    /// r × c values of each block, `data` there.
    pub values: Vec<f32>,
}

impl BlockPattern {
    /// From compressed block rows: `starts` has block rows + 1 numbers, `columns` the block column of
    /// each block; slots keep that order.
    ///
    /// ```
    /// # use bandsaw::BlockPattern;
    /// let pattern = BlockPattern::from_bsr([4, 6], [2, 2], &[0, 2, 3], &[2, 0, 1])?;
    /// assert_eq!(pattern.blocks().collect::<Vec<_>>(), [[0, 2], [0, 0], [1, 1]]);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::Argument`] if the starts are not as many as they must be, do
    /// not rise from 0, or do not end at the number of columns.
    pub fn from_bsr(shape: [usize; 2], block: [usize; 2], starts: &[usize], columns: &[usize]) -> Result<Self> {
        const OP: &str = "BlockPattern::from_bsr";
        let [rows, _] = check_grid(OP, shape, block)?;
        if starts.len() != rows + 1 {
            return Err(Error::argument(OP, "starts", format!("{} numbers", starts.len()), format!("{} (block rows + 1)", rows + 1)));
        }
        if starts[0] != 0 || starts[rows] != columns.len() || starts.windows(2).any(|pair| pair[0] > pair[1]) {
            let got = format!("{} to {}, not all rising", starts[0], starts[rows]);
            return Err(Error::argument(
                OP,
                "starts",
                got,
                format!("numbers that rise from 0 to {}, the length of columns", columns.len()),
            ));
        }
        let row = |row: usize| columns[starts[row]..starts[row + 1]].iter().map(move |col| [row, *col]);
        let blocks: Vec<_> = (0..rows).flat_map(row).collect();
        Self::checked(OP, shape, block, &blocks, false)
    }

    /// The blocks that hold any stored entry of a compressed sparse matrix (sprs, CSR or CSC).
    ///
    /// ```
    /// # use bandsaw::BlockPattern;
    /// let mut entries = sprs::TriMat::new((5, 6));
    /// entries.add_triplet(4, 0, 1.0f32);
    /// entries.add_triplet(0, 5, 2.0);
    /// let pattern = BlockPattern::from_sprs(&entries.to_csr::<usize>(), [2, 3])?;
    /// assert_eq!(pattern.blocks().collect::<Vec<_>>(), [[0, 1], [2, 0]]);
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[cfg(feature = "sprs")]
    pub fn from_sprs<N>(matrix: &sprs::CsMat<N>, block: [usize; 2]) -> Result<Self> {
        const OP: &str = "BlockPattern::from_sprs";
        let shape = [matrix.rows(), matrix.cols()];
        check_grid(OP, shape, block)?;
        let mut blocks: Vec<_> = matrix.iter().map(|(_, (i, j))| [(i / block[0]) as u32, (j / block[1]) as u32]).collect();
        blocks.sort_unstable();
        blocks.dedup();
        Self::from_valid(OP, shape, block, blocks)
    }
}

impl BlockSparse {
    /// From compressed block rows, each block row-major; the counterpart of [`to_bsr`](Self::to_bsr).
    ///
    /// # Errors
    /// As [`BlockPattern::from_bsr`] and [`from_slice`](Self::from_slice).
    pub fn from_bsr(device: &Device, shape: [usize; 2], block: [usize; 2], bsr: &Bsr) -> Result<Self> {
        let pattern = BlockPattern::from_bsr(shape, block, &bsr.starts, &bsr.columns)?;
        Self::from_slice(device, &pattern, &bsr.values)
    }

    /// As compressed block rows, columns rising, each block row-major.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Backend`].
    pub fn to_bsr(&self) -> Result<Bsr> {
        let (data, pattern) = (self.read()?, self.pattern());
        let [r, c] = pattern.block();
        let mut values = Vec::with_capacity(data.len());
        for [_, slot] in pattern.row_entries() {
            let block = &data[*slot as usize * r * c..][..r * c];
            match self.layout() {
                Layout::Rows => values.extend_from_slice(block),
                Layout::Columns => values.extend((0..r * c).map(|n| block[n % c * r + n / c])),
            }
        }
        let starts = pattern.row_starts().iter().map(|start| *start as usize).collect();
        Ok(Bsr { starts, columns: pattern.row_entries().iter().map(|[col, _]| *col as usize).collect(), values })
    }

    /// A compressed sparse matrix (sprs, CSR or CSC) in the blocks that hold any of its entries.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let mut entries = sprs::TriMat::new((5, 6));
    /// entries.add_triplet(4, 0, 1.0f32);
    /// entries.add_triplet(0, 5, 2.0);
    /// let w = BlockSparse::from_sprs(&Device::cpu(), &entries.to_csr(), [2, 3])?;
    /// assert_eq!((w.pattern().len(), w.get(0, 5)?, w.get(1, 5)?), (2, 2.0, 0.0));
    /// assert_eq!(w.to_sprs()?.get(4, 0), Some(&1.0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`BlockPattern::new`] and [`from_slice`](Self::from_slice).
    #[cfg(feature = "sprs")]
    pub fn from_sprs(device: &Device, matrix: &sprs::CsMat<f32>, block: [usize; 2]) -> Result<Self> {
        let pattern = BlockPattern::from_sprs(matrix, block)?;
        let [r, c] = block;
        let mut data = vec![0.0; pattern.len() * r * c];
        for (value, (i, j)) in matrix {
            if let Some(slot) = pattern.slot(i / r, j / c) {
                data[slot * r * c + i % r * c + j % c] = *value;
            }
        }
        Self::from_slice(device, &pattern, &data)
    }

    /// Every stored entry inside the matrix, zeros too, in CSR form.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Backend`].
    #[cfg(feature = "sprs")]
    pub fn to_sprs(&self) -> Result<sprs::CsMat<f32>> {
        let (data, pattern) = (self.read()?, self.pattern());
        let ([r, c], rows, cols) = (pattern.block(), pattern.rows(), pattern.cols());
        let mut entries = sprs::TriMat::new((rows, cols));
        for [row, col] in pattern.blocks() {
            for (i, j) in (row * r..rows.min(row * r + r)).flat_map(|i| (col * c..cols.min(col * c + c)).map(move |j| (i, j))) {
                if let Some(index) = self.index(i, j) {
                    entries.add_triplet(i, j, data[index]);
                }
            }
        }
        Ok(entries.to_csr())
    }
}
