//! The product of two dense batches at stored blocks only: the gradient of block-sparse weights.

pub(crate) mod cooperative;

use super::block_matmul::{LOADS, block_matmul};
use super::common::{check_binding, same, same_device, same_device_as, values, widened};
use super::tokens::{Tokens, pieces};
use crate::device::Launch;
use crate::kernel::{Kernel, params, ptx};
use crate::operand::Operand;
use crate::{BlockPattern, BlockSparse, Dense, Dtype, Result, cpu};

params! {
    /// What the sampled products get; see `shaders/shared/sddmm_params.wgsl`.
    Params {
        tokens: u32, rows: u32, cols: u32, a_stride: u32, b_stride: u32,
        height: u32, width: u32, grid_rows: u32, row_tiles: u32, column_tiles: u32,
        parts: u32, part_tokens: u32, length: u32, flags: u32,
    }
}

const SHARED: [&str; 2] = [include_str!("../../shaders/shared/sddmm_params.wgsl"), super::matmul::SHARED[1]];

pub(crate) static SCALAR: Kernel = Kernel {
    name: "block_sddmm.scalar",
    wgsl: &[include_str!("../../shaders/block_sddmm.wgsl"), LOADS[0], SHARED[0], SHARED[1]],
    ptx: ptx!("block_sddmm.sm_80"),
    cpu: cpu::block_sddmm::run,
    params: Params::FIELDS,
    inputs: 3,
    outputs: 1,
};

pub(crate) static VEC4: Kernel =
    Kernel { name: "block_sddmm.vec4", wgsl: &[include_str!("../../shaders/block_sddmm.wgsl"), LOADS[1], SHARED[0], SHARED[1]], ..SCALAR };

pub(crate) static WHOLE: Kernel = Kernel {
    name: "block_sddmm.whole",
    wgsl: &[include_str!("../../shaders/block_sddmm.whole.wgsl"), SHARED[0], SHARED[1]],
    ptx: &[],
    ..VEC4
};

pub(crate) static WALK: Kernel = Kernel {
    name: "block_sddmm.walk",
    wgsl: &[include_str!("../../shaders/block_sddmm.walk.wgsl"), LOADS[0], SHARED[0], SHARED[1]],
    ptx: ptx!("block_sddmm.walk.sm_80"),
    ..SCALAR
};

/// The product of two dense batches at stored blocks, C\[i,j\] = Σ over b and t of A\[b,t,i\] · B\[b,t,j\]
/// (SDDMM).
///
/// A is batch × n × rows, B batch × n × cols, C has the given pattern. The sums are f32 in a fixed order, as
/// exact as those of [`block_matmul`]; C is f16 or bf16 if both operands are. Memory beside the result: f32 copies of
/// halves, but not on matrix units, and up to 16 copies of the result, f32, where it is small and the tokens are many.
///
/// From pytorch_block_sparse's wgrad.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(2, 2), &[1.0, 2.0, 3.0, 4.0])?;
/// let pattern = BlockPattern::block_diagonal([2, 2], [1, 1])?;
/// assert_eq!(block_sddmm(&a, &a, &pattern)?.read()?, [10.0, 20.0]); // the diagonal of AᵀA
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if a batch or a size does not fit,
/// [`Error::WrongDevice`](crate::Error::WrongDevice), [`Error::OutOfMemory`](crate::Error::OutOfMemory) or
/// [`Error::Limit`](crate::Error::Limit).
pub fn block_sddmm(a: &Dense, b: &Dense, pattern: &BlockPattern) -> Result<BlockSparse> {
    const OP: &str = "block_sddmm";
    let (a, b) = (a.operand(), b.operand());
    check(OP, &a, &b, pattern)?;
    run(OP, &a, &b, pattern, Dtype::of_result([a.dtype, b.dtype]))
}

/// Checks what the product and its gradients need of their operands.
fn check(op: &'static str, a: &Operand, b: &Operand, pattern: &BlockPattern) -> Result<()> {
    same_device(op, a, &[("b", b)])?;
    values(op, "a", a)?;
    values(op, "b", b)?;
    same(op, "b", "batch", b.batch, a.batch, "the batch of a")?;
    same(op, "b", "rows", b.rows, a.rows, "the rows of a")?;
    same(op, "a", "columns", a.cols, pattern.rows(), "the rows of the pattern")?;
    same(op, "b", "columns", b.cols, pattern.cols(), "the columns of the pattern")
}

/// The gradients of [`block_sddmm`]: ga = B · Gᵀ and gb = A · G.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(1, 2), &[1.0, 2.0])?;
/// let pattern = BlockPattern::block_diagonal([2, 2], [1, 1])?;
/// let g = BlockSparse::from_slice(&device, &pattern, &[10.0, 100.0])?;
/// let (ga, gb) = block_sddmm_backward(&a, &a, &g)?;
/// assert_eq!((ga.read()?, gb.read()?), (vec![10.0, 200.0], vec![10.0, 200.0]));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_sddmm`].
pub fn block_sddmm_backward(a: &Dense, b: &Dense, g: &BlockSparse) -> Result<(Dense, Dense)> {
    const OP: &str = "block_sddmm_backward";
    let in_dtype = super::block_matmul::in_dtype;
    check(OP, &a.operand(), &b.operand(), g.pattern())?;
    same_device_as(OP, a.device(), &[("g", g.device())])?;
    Ok((in_dtype(block_matmul(b, &g.t())?, a.shape().dtype)?, in_dtype(block_matmul(a, g)?, b.shape().dtype)?))
}

/// The checked product, stored as `dtype`.
pub(crate) fn run(op: &'static str, a: &Operand, b: &Operand, pattern: &BlockPattern, dtype: Dtype) -> Result<BlockSparse> {
    let on_units = cooperative::suits(a, b, pattern, dtype);
    let (a, b) = if on_units { (a.clone(), b.clone()) } else { (widened(a)?, widened(b)?) };
    let device = a.device();
    let pieces = pieces(op, &[&a, &b])?;
    let matrices: Vec<[Tokens; 2]> =
        pieces.iter().flat_map(|piece| (0..piece[0].batch).map(|b| [piece[0].matrix(b), piece[1].matrix(b)])).collect();
    let plan = |[a, b]: &[Tokens; 2]| {
        let alone = matrices.len() == 1;
        if on_units { cooperative::plan(a, pattern, alone, dtype) } else { Plan::new(a, b, pattern, alone) }
    };
    let plans: Vec<Plan> = matrices.iter().map(plan).collect();
    let c = BlockSparse::alloc(device, pattern, plans.first().map_or(Dtype::F32, |plan| plan.writes))?;
    check_binding(op, "the block values' size in bytes", c.buffer())?;
    if matrices.is_empty() {
        device.write(c.buffer(), &vec![0; c.buffer().bytes])?;
    }
    let index = pattern.upload(device, 0)?;
    for (n, ([a, b], plan)) in matrices.iter().zip(plans).enumerate() {
        let [height, width] = pattern.block();
        let params = Params {
            tokens: a.tokens,
            rows: a.features,
            cols: b.features,
            a_stride: a.stride,
            b_stride: b.stride,
            height: height as u32,
            width: width as u32,
            grid_rows: pattern.grid()[0] as u32,
            row_tiles: plan.row_tiles,
            column_tiles: plan.column_tiles,
            parts: plan.parts,
            part_tokens: plan.part_tokens,
            length: c.len() as u32,
            flags: u32::from(a.along) | u32::from(b.along) << 1 | u32::from(n > 0) << 2,
        };
        let mut constants = plan.constants;
        constants.push(("FLAGS", f64::from(params.flags)));
        let copies = if plan.parts > 1 { device.alloc(c.len() * 4 * plan.parts as usize)? } else { c.buffer().clone() };
        device.launch(&Launch {
            kernel: plan.kernel,
            params: bytemuck::bytes_of(&params),
            inputs: &[&a.buffer, &b.buffer, &index],
            outputs: &[&copies],
            groups: u64::from(params.grid_rows) * u64::from(plan.row_tiles) * u64::from(plan.column_tiles) * u64::from(plan.parts),
            constants: &constants,
            function: None,
        })?;
        if plan.parts > 1 {
            super::block_linear::column_sums(&copies, plan.parts as usize, c.len(), c.buffer())?;
        }
    }
    c.to_dtype(dtype)
}

/// Which kernel a sampled product takes, with which tile, and how many workgroups.
struct Plan {
    kernel: &'static Kernel,
    row_tiles: u32,
    column_tiles: u32,
    parts: u32,
    part_tokens: u32,
    /// What the kernel writes where there is one part.
    writes: Dtype,
    constants: Vec<(&'static str, f64)>,
}

/// Workgroups that fill a large GPU.
const FULL: usize = 1500;

/// The same with CUDA's tiles, of which a multiprocessor of an H200 has three: many times what is there at
/// once, so that the last ones are a small part.
const CUDA_FULL: usize = 2304;

impl Plan {
    fn new(a: &Tokens, b: &Tokens, pattern: &BlockPattern, alone: bool) -> Self {
        let [height, width] = pattern.block();
        let tokens = a.tokens as usize;
        if height < 8 || tokens <= 16 {
            let values = pattern.len() * height * width;
            let lanes = if tokens <= 16 { 1 } else { [1, 8, 32].into_iter().find(|lanes| values * lanes >= 16384).unwrap_or(32) };
            return Self {
                kernel: &WALK,
                row_tiles: 1,
                column_tiles: (longest(pattern) * height).div_ceil(128 / lanes) as u32,
                parts: 1,
                part_tokens: a.tokens,
                writes: Dtype::F32,
                constants: vec![("LANES", lanes as f64)],
            };
        }
        if let Some(plan) = Self::whole(a, b, pattern, alone) {
            return plan;
        }
        let cuda = a.buffer.device.is_cuda();
        let (rows, places, constant) = if cuda {
            let [rows, places] = Self::cuda_tile(height);
            (rows, places, ("ALONG", f64::from(u32::from(a.along) | u32::from(b.along) << 1)))
        } else {
            let [rows, places, stage] = Self::tile(height);
            (rows, places, ("DEPTH", stage as f64))
        };
        let fours = [height, width, a.contiguous(), b.contiguous(), a.stride as usize, b.stride as usize];
        Self {
            kernel: if fours.iter().all(|side| side.is_multiple_of(4)) { &VEC4 } else { &SCALAR },
            constants: vec![("ROWS", rows as f64), ("PLACES", places as f64), constant],
            ..Self::tiled(a, pattern, alone, [rows, places], [if cuda { CUDA_FULL } else { FULL }, 8])
        }
    }

    /// Tiles of so many rows and places. Small results are summed over parts of the tokens at once, as many as
    /// make `full` workgroups, up to `most`.
    fn tiled(a: &Tokens, pattern: &BlockPattern, alone: bool, [rows, places]: [usize; 2], [full, most]: [usize; 2]) -> Self {
        let ([height, width], tokens) = (pattern.block(), a.tokens as usize);
        let (row_tiles, column_tiles) = (height.div_ceil(rows), longest(pattern).div_ceil(places));
        let tiles = pattern.grid()[0] * row_tiles * column_tiles;
        let fits = (a.buffer.device.max_binding() / (4 * (pattern.len() * height * width).max(1))).max(1);
        let parts = if alone && tiles > 0 { (full / tiles).clamp(1, most).min(tokens / 512).min(fits).max(1) } else { 1 };
        let part_tokens = tokens.div_ceil(parts).next_multiple_of(16);
        Self {
            kernel: &SCALAR,
            row_tiles: row_tiles as u32,
            column_tiles: column_tiles as u32,
            parts: tokens.div_ceil(part_tokens) as u32,
            part_tokens: part_tokens as u32,
            writes: Dtype::F32,
            constants: Vec::new(),
        }
    }

    /// The kernel for tiles of 128 places, where all are whole. Many more of them than fill a GPU: the last ones of
    /// block rows have less to do.
    fn whole(a: &Tokens, b: &Tokens, pattern: &BlockPattern, alone: bool) -> Option<Self> {
        let [height, width] = pattern.block();
        let blocks = height.is_multiple_of(32) && width.is_multiple_of(4);
        let inside = pattern.rows().is_multiple_of(height) && pattern.cols().is_multiple_of(width);
        let fours = [a.stride, b.stride].iter().all(|stride| stride.is_multiple_of(4));
        if a.buffer.device.is_cuda() || !a.along || !b.along || !blocks || !inside || !fours || !a.tokens.is_multiple_of(8) {
            return None;
        }
        let rows = if height.is_multiple_of(64) { 64 } else { 32 };
        Some(Self { kernel: &WHOLE, constants: vec![("ROWS", rows as f64)], ..Self::tiled(a, pattern, alone, [rows, 128], [16384, 16]) })
    }

    /// Rows and places of a tile on CUDA.
    fn cuda_tile(height: usize) -> [usize; 2] {
        let [rows, ..] = Self::tile(height);
        [rows, if rows == 64 { 128 } else { 256 }]
    }

    /// Rows, places and staged tokens of a tile; see the products' tiles.
    fn tile(height: usize) -> [usize; 3] {
        let waste = |rows: usize| height.div_ceil(rows) * rows;
        match () {
            () if waste(64) <= waste(32) => [64, 128, 8],
            () if waste(32) * 3 <= waste(16) * 4 => [32, 128, 8],
            () => [16, 256, 4],
        }
    }
}

/// Places of the longest block row.
fn longest(pattern: &BlockPattern) -> usize {
    pattern.row_starts().windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as usize * pattern.block()[1]
}
