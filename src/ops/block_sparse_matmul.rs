//! Products of two block-sparse matrices. Which blocks meet is found on the host; nothing is made dense.

use super::common::{check_binding, same, same_device_as, upload_words};
use crate::device::Launch;
use crate::kernel::{Kernel, params, ptx};
use crate::{BlockPattern, BlockSparse, Dtype, Error, Layout, Result, cpu};

params! {
    /// What the kernel gets.
    Params {
        rows: u32, inner: u32, cols: u32, height: u32, depth: u32, width: u32,
        blocks: u32, row_tiles: u32, col_tiles: u32, flags: u32,
    }
}

pub(crate) static KERNEL: Kernel = Kernel {
    name: "block_sparse_matmul",
    wgsl: &[include_str!("../../shaders/block_sparse_matmul.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("block_sparse_matmul.sm_80"),
    cpu: cpu::block_sparse_matmul::run,
    params: Params::FIELDS,
    inputs: 4,
    outputs: 1,
};

/// The product of two block-sparse matrices, C = A · B, at every block that some pair of blocks reaches.
///
/// A is n × k in blocks of r × s, B k × m in blocks of s × c, C n × m in blocks of r × c. The sums are f32
/// in a fixed order; the result is f16 or bf16 if both operands are.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = BlockSparse::from_fn(&device, &BlockPattern::new([4, 4], [2, 2], &[[0, 1], [1, 0]])?, |_, _| 1.0)?;
/// let c = block_sparse_matmul(&a, &a)?;
/// assert_eq!(c.pattern(), &BlockPattern::block_diagonal([4, 4], [2, 2])?);
/// assert_eq!(c.get(0, 0)?, 2.0);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if A's columns are not B's rows, in number or in blocks; [`Error::WrongDevice`],
/// [`Error::OutOfMemory`], [`Error::Limit`].
pub fn block_sparse_matmul(a: &BlockSparse, b: &BlockSparse) -> Result<BlockSparse> {
    const OP: &str = "block_sparse_matmul";
    check(OP, a, b)?;
    let (p, q) = (a.pattern(), b.pattern());
    let mut blocks = Vec::new();
    for row in 0..p.grid()[0] {
        let mut reached: Vec<usize> = entries(p, row).flat_map(|[k, _]| entries(q, k as usize).map(|[col, _]| col as usize)).collect();
        reached.sort_unstable();
        reached.dedup();
        blocks.extend(reached.into_iter().map(|col| [row, col]));
    }
    let pattern = BlockPattern::new([p.rows(), q.cols()], [p.block()[0], q.block()[1]], &blocks)?;
    run(OP, a, b, &pattern)?.to_dtype(Dtype::of_result([a.dtype(), b.dtype()]))
}

/// The gradients of [`block_sparse_matmul`]: ga = G · Bᵀ at A's blocks, gb = Aᵀ · G at B's.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = BlockSparse::from_fn(&device, &BlockPattern::full([1, 2], [1, 1])?, |_, j| (j + 1) as f32)?;
/// let g = BlockSparse::from_slice(&device, &BlockPattern::full([1, 1], [1, 1])?, &[10.0])?;
/// let (ga, gb) = block_sparse_matmul_backward(&a, &a.t(), &g)?;
/// assert_eq!((ga.read()?, gb.read()?), (vec![10.0, 20.0], vec![10.0, 20.0]));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_sparse_matmul`], and if g has not the product's size and block shape.
pub fn block_sparse_matmul_backward(a: &BlockSparse, b: &BlockSparse, g: &BlockSparse) -> Result<(BlockSparse, BlockSparse)> {
    const OP: &str = "block_sparse_matmul_backward";
    check(OP, a, b)?;
    let (p, q, r) = (a.pattern(), b.pattern(), g.pattern());
    let text = |rows, cols, [r, c]: [usize; 2]| format!("{rows} × {cols} in blocks of {r} × {c}");
    let (got, wanted) = (text(r.rows(), r.cols(), r.block()), text(p.rows(), q.cols(), [p.block()[0], q.block()[1]]));
    if got != wanted {
        return Err(Error::argument(OP, "g", got, format!("{wanted} (as the product)")));
    }
    same_device_as(OP, a.device(), &[("g", g.device())])?;
    Ok((run(OP, g, &b.t(), p)?.to_dtype(a.dtype())?, run(OP, &a.t(), g, q)?.to_dtype(b.dtype())?))
}

fn check(op: &'static str, a: &BlockSparse, b: &BlockSparse) -> Result<()> {
    same_device_as(op, a.device(), &[("b", b.device())])?;
    same(op, "b", "rows", b.pattern().rows(), a.pattern().cols(), "the columns of a")?;
    same(op, "b", "rows of a block", b.pattern().block()[0], a.pattern().block()[1], "the columns of a block of a")
}

/// (block column, slot) of a block row's blocks.
fn entries(pattern: &BlockPattern, row: usize) -> impl Iterator<Item = [u32; 2]> + '_ {
    let starts = pattern.row_starts();
    pattern.row_entries()[starts[row] as usize..starts[row + 1] as usize].iter().copied()
}

/// For the kernel: where the pairs of each block of `onto` start, then the pairs, slots of blocks of A and B that
/// meet there, k rising.
fn meetings(p: &BlockPattern, q: &BlockPattern, onto: &BlockPattern) -> Vec<u32> {
    const NONE: u32 = u32::MAX;
    let visit = |meet: &mut dyn FnMut(usize, [u32; 2])| {
        let mut slots = vec![NONE; onto.grid()[1]];
        for row in 0..p.grid()[0] {
            entries(onto, row).for_each(|[col, slot]| slots[col as usize] = slot);
            for [k, a_slot] in entries(p, row) {
                for [col, b_slot] in entries(q, k as usize) {
                    match slots[col as usize] {
                        NONE => {}
                        slot => meet(slot as usize, [a_slot, b_slot]),
                    }
                }
            }
            entries(onto, row).for_each(|[col, _]| slots[col as usize] = NONE);
        }
    };
    let mut words = vec![0; onto.len() + 1];
    visit(&mut |slot, _| words[slot + 1] += 1);
    (1..words.len()).for_each(|slot| words[slot] += words[slot - 1]);
    let mut next: Vec<usize> = words.iter().map(|start| words.len() + 2 * *start as usize).collect();
    words.resize(next[onto.len()], 0);
    visit(&mut |slot, pair| {
        words[next[slot]..][..2].copy_from_slice(&pair);
        next[slot] += 2;
    });
    words
}

/// The checked product at the given blocks; f32.
fn run(op: &'static str, a: &BlockSparse, b: &BlockSparse, pattern: &BlockPattern) -> Result<BlockSparse> {
    let pairs = upload_words(a.device(), &meetings(a.pattern(), b.pattern(), pattern))?;
    let blocks: Vec<u32> = pattern.blocks().flatten().map(|side| side as u32).collect();
    let (device, a, b) = (a.device(), a.widened()?, b.widened()?);
    let c = BlockSparse::alloc(device, pattern, Dtype::F32)?;
    for buffer in [a.buffer(), b.buffer(), c.buffer()] {
        check_binding(op, "the block values' size in bytes", buffer)?;
    }
    check_binding(op, "the size in bytes of the list of blocks that meet", &pairs)?;
    let [height, depth] = a.pattern().block();
    let width = b.pattern().block()[1];
    let columns = |matrix: &BlockSparse| u32::from(matrix.layout() == Layout::Columns);
    let params = Params {
        rows: pattern.rows() as u32,
        inner: a.pattern().cols() as u32,
        cols: pattern.cols() as u32,
        height: height as u32,
        depth: depth as u32,
        width: width as u32,
        blocks: pattern.len() as u32,
        row_tiles: height.div_ceil(32) as u32,
        col_tiles: width.div_ceil(32) as u32,
        flags: columns(&a) | columns(&b) << 1,
    };
    device.launch(&Launch {
        kernel: &KERNEL,
        params: bytemuck::bytes_of(&params),
        inputs: &[a.buffer(), b.buffer(), &pairs, &upload_words(device, &blocks)?],
        outputs: &[c.buffer()],
        groups: u64::from(params.blocks) * u64::from(params.row_tiles) * u64::from(params.col_tiles),
        constants: &[],
        function: None,
    })?;
    Ok(c)
}
