//! Blocks from dense matrices, and back.

use super::common::{Output, check_binding, same_device_as, upload_words, values, widened};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, params, ptx};
use crate::operand::Operand;
use crate::{BlockPattern, BlockSparse, Dense, DenseShape, Dtype, Error, Layout, Result, cpu};

params! {
    /// What the kernels get.
    Params { rows: u32, cols: u32, height: u32, width: u32, stride: u32, lines: u32, flags: u32 }
}

pub(crate) static FROM_DENSE: Kernel = Kernel {
    name: "block_move",
    wgsl: &[include_str!("../../shaders/block_move.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("block_move.sm_80"),
    cpu: cpu::block_move::from_dense,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

pub(crate) static TO_DENSE: Kernel = Kernel {
    name: "block_move.dense",
    wgsl: &[include_str!("../../shaders/block_move.dense.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("block_move.sm_80"),
    cpu: cpu::block_move::to_dense,
    ..FROM_DENSE
};

/// The given blocks of a dense matrix (a batch of one). The result has its storage type.
///
/// ```
/// use bandsaw::*;
/// let d = Dense::from_fn(&Device::best(), DenseShape::new(4, 4), |_, i, j| (10 * i + j) as f32)?;
/// let w = block_from_dense(&d, &BlockPattern::new([4, 4], [2, 2], &[[1, 0]])?)?;
/// assert_eq!(w.read()?, [20.0, 21.0, 30.0, 31.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if it is no single matrix of the pattern's size or holds indices;
/// [`Error::OutOfMemory`], [`Error::Limit`].
pub fn block_from_dense(dense: &Dense, pattern: &BlockPattern) -> Result<BlockSparse> {
    const OP: &str = "block_from_dense";
    let d = dense.operand();
    values(OP, "dense", &d)?;
    if (d.batch, d.rows, d.cols) != (1, pattern.rows(), pattern.cols()) {
        let got = format!("shape {} × {} × {}", d.batch, d.rows, d.cols);
        return Err(Error::argument(OP, "dense", got, format!("shape 1 × {} × {} (the pattern's)", pattern.rows(), pattern.cols())));
    }
    let d = widened(&d)?;
    let w = BlockSparse::alloc(d.device(), pattern, Dtype::F32)?;
    let blocks: Vec<u32> = pattern.blocks().flatten().map(|side| side as u32).collect();
    let blocks = upload_words(d.device(), if blocks.is_empty() { &[0, 0] } else { &blocks })?;
    launch(OP, &FROM_DENSE, pattern, &d, 0, w.len(), [&d.buffer, &blocks, w.buffer()], w.len())?;
    w.to_dtype(dense.shape().dtype)
}

/// The gradient of [`block_from_dense`]: g with zeros around its blocks.
///
/// ```
/// use bandsaw::*;
/// let g = BlockSparse::from_slice(&Device::best(), &BlockPattern::new([2, 4], [2, 2], &[[0, 1]])?, &[1.0, 2.0, 3.0, 4.0])?;
/// assert_eq!(block_from_dense_backward(&g)?.read()?, [0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 3.0, 4.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_to_dense`].
pub fn block_from_dense_backward(g: &BlockSparse) -> Result<Dense> {
    block_to_dense(g)
}

/// All entries of a block-sparse matrix, row-major, in its storage type.
///
/// ```
/// use bandsaw::*;
/// let w = BlockSparse::from_fn(&Device::best(), &BlockPattern::new([2, 4], [2, 2], &[[0, 1]])?, |i, j| (10 * i + j) as f32)?;
/// assert_eq!(block_to_dense(&w)?.read()?, [0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 12.0, 13.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::OutOfMemory`] or [`Error::Limit`] if the device cannot hold the result.
pub fn block_to_dense(w: &BlockSparse) -> Result<Dense> {
    const OP: &str = "block_to_dense";
    let pattern = w.pattern();
    let (output, shape) = Output::dense(OP, w.device(), DenseShape::new(pattern.rows(), pattern.cols()).dtype(w.dtype()))?;
    let (w, d) = (w.widened()?, &output.operand);
    let flags = u32::from(w.layout() == Layout::Columns) << 1;
    let index = pattern.upload(w.device(), 0)?;
    launch(OP, &TO_DENSE, pattern, d, flags, pattern.grid()[0], [w.buffer(), &index, &d.buffer], shape.len())?;
    Ok(Dense::from_buffer(shape, output.finish()?))
}

/// The gradient of [`block_to_dense`]: g at the matrix's blocks.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([2, 4], [2, 2], &[[0, 1]])?, |_, _| 0.0)?;
/// let g = Dense::from_fn(&device, DenseShape::new(2, 4), |_, i, j| (4 * i + j) as f32)?;
/// assert_eq!(block_to_dense_backward(&w, &g)?.read()?, [2.0, 3.0, 6.0, 7.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_from_dense`], and [`Error::WrongDevice`](crate::Error::WrongDevice).
pub fn block_to_dense_backward(w: &BlockSparse, g: &Dense) -> Result<BlockSparse> {
    same_device_as("block_to_dense_backward", w.device(), &[("g", g.device())])?;
    block_from_dense(g, w.pattern())?.to_dtype(w.dtype())
}

#[allow(clippy::too_many_arguments)]
fn launch(
    op: &'static str,
    kernel: &'static Kernel,
    pattern: &BlockPattern,
    dense: &Operand,
    flags: u32,
    lines: usize,
    [from, index, to]: [&Buffer; 3],
    len: usize,
) -> Result<()> {
    check_binding(op, "the block values' size in bytes", from)?;
    check_binding(op, "the dense matrix's size in bytes", to)?;
    let [height, width] = pattern.block().map(|side| side as u32);
    dense.device().launch(&Launch {
        kernel,
        params: bytemuck::bytes_of(&Params {
            rows: pattern.rows() as u32,
            cols: pattern.cols() as u32,
            height,
            width,
            stride: dense.stride() as u32,
            lines: lines as u32,
            flags: flags | u32::from(dense.layout == Layout::Columns),
        }),
        inputs: &[from, index],
        outputs: &[to],
        groups: len.div_ceil(128) as u64,
        constants: &[],
        function: None,
    })
}
