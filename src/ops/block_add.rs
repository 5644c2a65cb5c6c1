//! Sums of block-sparse matrices, and a matrix on other blocks.

use super::common::{check_binding, same_device_as, upload_words};
use crate::device::Launch;
use crate::kernel::{Kernel, params, ptx};
use crate::{BlockPattern, BlockSparse, Dtype, Error, Layout, Result, cpu};

params! {
    /// What the kernel gets.
    Params { rows: u32, cols: u32, height: u32, width: u32, length: u32, flags: u32 }
}

pub(crate) static KERNEL: Kernel = Kernel {
    name: "block_add",
    wgsl: &[include_str!("../../shaders/block_add.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("block_add.sm_80"),
    cpu: cpu::block_add::run,
    params: Params::FIELDS,
    inputs: 3,
    outputs: 1,
};

/// The sum of two block-sparse matrices, C = A + B, on the union of their blocks.
///
/// Sizes and block shapes must agree; slots of C follow its block rows. The result is f16 or bf16 if both are.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let ones = |blocks: &[[usize; 2]]| BlockSparse::from_fn(&device, &BlockPattern::new([4, 4], [2, 2], blocks)?, |_, _| 1.0);
/// let c = block_add(&ones(&[[0, 0], [1, 1]])?, &ones(&[[0, 0], [1, 0]])?)?;
/// assert_eq!((c.pattern().len(), c.get(0, 0)?, c.get(3, 0)?), (3, 2.0, 1.0));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if sizes or block shapes differ, [`Error::WrongDevice`], [`Error::OutOfMemory`],
/// [`Error::Limit`].
pub fn block_add(a: &BlockSparse, b: &BlockSparse) -> Result<BlockSparse> {
    const OP: &str = "block_add";
    check(OP, "b", a, b.pattern())?;
    same_device_as(OP, a.device(), &[("b", b.device())])?;
    let mut blocks: Vec<_> = a.pattern().blocks().chain(b.pattern().blocks()).collect();
    blocks.sort_unstable();
    blocks.dedup();
    let pattern = BlockPattern::new([a.pattern().rows(), a.pattern().cols()], a.pattern().block(), &blocks)?;
    run(OP, a, Some(b), &pattern)?.to_dtype(Dtype::of_result([a.dtype(), b.dtype()]))
}

/// The gradients of [`block_add`]: g at A's blocks, and at B's.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let ones = |blocks: &[[usize; 2]]| BlockSparse::from_fn(&device, &BlockPattern::new([2, 2], [1, 1], blocks)?, |_, _| 1.0);
/// let (a, b) = (ones(&[[0, 0], [1, 1]])?, ones(&[[1, 1]])?);
/// let g = BlockSparse::from_slice(&device, block_add(&a, &b)?.pattern(), &[3.0, 4.0])?;
/// let (ga, gb) = block_add_backward(&a, &b, &g)?;
/// assert_eq!((ga.read()?, gb.read()?), (vec![3.0, 4.0], vec![4.0]));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_add`].
pub fn block_add_backward(a: &BlockSparse, b: &BlockSparse, g: &BlockSparse) -> Result<(BlockSparse, BlockSparse)> {
    const OP: &str = "block_add_backward";
    check(OP, "b", a, b.pattern())?;
    check(OP, "g", a, g.pattern())?;
    same_device_as(OP, a.device(), &[("b", b.device()), ("g", g.device())])?;
    Ok((block_select(g, a.pattern())?.to_dtype(a.dtype())?, block_select(g, b.pattern())?.to_dtype(b.dtype())?))
}

/// A on other blocks: those that both have keep their values, new ones are 0. Its gradient is
/// `block_select(&g, a.pattern())`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = BlockSparse::from_fn(&device, &BlockPattern::full([2, 2], [1, 1])?, |i, j| (1 + 2 * i + j) as f32)?;
/// let diagonal = block_select(&a, &BlockPattern::block_diagonal([2, 2], [1, 1])?)?;
/// assert_eq!(diagonal.read()?, [1.0, 4.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_add`].
pub fn block_select(a: &BlockSparse, pattern: &BlockPattern) -> Result<BlockSparse> {
    check("block_select", "pattern", a, pattern)?;
    select(a, pattern)
}

/// The same for a pattern that is known to fit.
pub(crate) fn select(a: &BlockSparse, pattern: &BlockPattern) -> Result<BlockSparse> {
    run("block_select", a, None, pattern)?.to_dtype(a.dtype())
}

fn check(op: &'static str, argument: &'static str, a: &BlockSparse, b: &BlockPattern) -> Result<()> {
    let text = |pattern: &BlockPattern| {
        let [r, c] = pattern.block();
        format!("{} × {} in blocks of {r} × {c}", pattern.rows(), pattern.cols())
    };
    if text(a.pattern()) == text(b) {
        return Ok(());
    }
    Err(Error::argument(op, argument, text(b), format!("{} (as a)", text(a.pattern()))))
}

/// A + B, or A alone, on the given blocks; f32.
fn run(op: &'static str, a: &BlockSparse, b: Option<&BlockSparse>, pattern: &BlockPattern) -> Result<BlockSparse> {
    let slot = |matrix: &BlockSparse, [row, col]: [usize; 2]| matrix.pattern().slot(row, col).map_or(u32::MAX, |slot| slot as u32);
    let mut sources = Vec::with_capacity(4 * pattern.len());
    for block in pattern.blocks() {
        sources.extend([slot(a, block), b.map_or(u32::MAX, |b| slot(b, block)), block[0] as u32, block[1] as u32]);
    }
    let (device, a) = (a.device(), a.widened()?);
    let b = b.map(BlockSparse::widened).transpose()?;
    let b = b.as_ref().unwrap_or(&a);
    let c = BlockSparse::alloc(device, pattern, Dtype::F32)?;
    for buffer in [a.buffer(), b.buffer(), c.buffer()] {
        check_binding(op, "the block values' size in bytes", buffer)?;
    }
    let [height, width] = pattern.block().map(|side| side as u32);
    let columns = |matrix: &BlockSparse| u32::from(matrix.layout() == Layout::Columns);
    device.launch(&Launch {
        kernel: &KERNEL,
        params: bytemuck::bytes_of(&Params {
            rows: pattern.rows() as u32,
            cols: pattern.cols() as u32,
            height,
            width,
            length: c.len() as u32,
            flags: columns(&a) | columns(b) << 1,
        }),
        inputs: &[a.buffer(), b.buffer(), &upload_words(device, &sources)?],
        outputs: &[c.buffer()],
        groups: c.len().div_ceil(128) as u64,
        constants: &[],
        function: None,
    })?;
    Ok(c)
}
