//! Norms of blocks, and what is chosen by them.

use super::block_add::select;
use super::block_move::block_from_dense;
use super::common::{check_binding, upload_words};
use crate::device::Launch;
use crate::kernel::{Kernel, params, ptx};
use crate::{BlockPattern, BlockSparse, Dense, Error, Result, cpu};

params! {
    /// What the kernel gets; p 0 stands for infinity.
    Params { blocks: u32, size: u32, p: f32 }
}

pub(crate) static KERNEL: Kernel = Kernel {
    name: "block_norms",
    wgsl: &[include_str!("../../shaders/block_norms.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("block_norms.sm_80"),
    cpu: cpu::block_norms::run,
    params: Params::FIELDS,
    inputs: 1,
    outputs: 1,
};

/// The p-norm of each block, (Σ |x|ᵖ)^(1/p), in the order of the slots; p may be infinite.
///
/// A NaN in a block makes its norm NaN, an infinity infinite. Norms that f32 can hold don't overflow.
///
/// ```
/// use bandsaw::*;
/// let w = BlockSparse::from_slice(&Device::best(), &BlockPattern::full([2, 4], [2, 2])?, &[3.0, 0.0, 0.0, 4.0, 1.0, 1.0, 1.0, 1.0])?;
/// assert_eq!(block_norms(&w, 2.0)?, [5.0, 2.0]);
/// assert_eq!(block_norms(&w, 1.0)?, [7.0, 4.0]);
/// assert_eq!(block_norms(&w, f32::INFINITY)?, [4.0, 1.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if p is not above 0, [`Error::OutOfMemory`], [`Error::Limit`].
pub fn block_norms(w: &BlockSparse, p: f32) -> Result<Vec<f32>> {
    const OP: &str = "block_norms";
    if p.is_nan() || p <= 0.0 {
        return Err(Error::argument(OP, "p", p.to_string(), "more than 0"));
    }
    let (device, w) = (w.device(), w.widened()?);
    check_binding(OP, "the block values' size in bytes", w.buffer())?;
    let norms = upload_words(device, &vec![0; w.pattern().len().max(1)])?;
    let [height, width] = w.pattern().block();
    let blocks = w.pattern().len() as u32;
    device.launch(&Launch {
        kernel: &KERNEL,
        params: bytemuck::bytes_of(&Params { blocks, size: (height * width) as u32, p: if p.is_infinite() { 0.0 } else { p } }),
        inputs: &[w.buffer()],
        outputs: &[&norms],
        groups: u64::from(blocks),
        constants: &[],
        function: None,
    })?;
    crate::Dtype::F32.decode(&device.read(&norms)?, blocks as usize)
}

/// The matrix with just its blocks of largest 2-norm: so many that they are `density` of the grid,
/// rounded to the nearest number, or all if there are fewer. Of equals the first along the rows stay.
///
/// ```
/// use bandsaw::*;
/// let w = BlockSparse::from_fn(&Device::best(), &BlockPattern::full([4, 4], [2, 2])?, |i, j| (i * j) as f32)?;
/// let half = block_prune(&w, 0.5)?;
/// assert_eq!(half.pattern().blocks().collect::<Vec<_>>(), [[0, 1], [1, 1]]); // (1, 0) is as large as (0, 1)
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if the density is outside 0 to 1; the others of [`block_norms`].
pub fn block_prune(w: &BlockSparse, density: f64) -> Result<BlockSparse> {
    check_density("block_prune", density)?;
    let [rows, cols] = w.pattern().grid();
    let count = (density * (rows * cols) as f64).round() as usize;
    let norms = block_norms(w, 2.0)?;
    let blocks: Vec<_> = w.pattern().blocks().collect();
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by(|x, y| norms[*y].total_cmp(&norms[*x]).then(blocks[*x].cmp(&blocks[*y])));
    let kept: Vec<_> = order.into_iter().take(count).map(|slot| blocks[slot]).collect();
    select(w, &BlockPattern::new([w.pattern().rows(), w.pattern().cols()], w.pattern().block(), &kept)?)
}

/// A dense matrix's blocks of largest 2-norm, `density` of all: magnitude pruning.
///
/// ```
/// use bandsaw::*;
/// let d = Dense::from_fn(&Device::best(), DenseShape::new(64, 64), |_, i, j| if i / 16 == j / 16 { 1.0 } else { 0.1 })?;
/// let w = block_from_dense_by_magnitude(&d, [16, 16], 0.25)?;
/// assert_eq!(w.pattern(), &BlockPattern::block_diagonal([64, 64], [16, 16])?);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_prune`] and [`block_from_dense`].
pub fn block_from_dense_by_magnitude(dense: &Dense, block: [usize; 2], density: f64) -> Result<BlockSparse> {
    check_density("block_from_dense_by_magnitude", density)?;
    let shape = dense.shape();
    block_prune(&block_from_dense(dense, &BlockPattern::full([shape.rows, shape.cols], block)?)?, density)
}

pub(crate) fn check_density(op: &'static str, density: f64) -> Result<()> {
    if (0.0..=1.0).contains(&density) {
        return Ok(());
    }
    Err(Error::argument(op, "density", density.to_string(), "0 to 1"))
}
