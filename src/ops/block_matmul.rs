//! Products of dense and block-sparse matrices. With strides for the dense side and labels for the
//! blocks, X · W, X · Wᵀ, W · X and their gradients by X are one kernel family.

pub(crate) mod cooperative;
pub(crate) mod turned;

use super::common::{Output, same, same_device, same_device_as, values, widened};
use super::tokens::{Tokens, pieces};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, params, ptx};
use crate::operand::Operand;
use crate::{BlockSparse, Dense, DenseShape, Dtype, Error, Layout, Result, cpu};

params! {
    /// What the products get; see `shaders/shared/block_params.wgsl`.
    Params {
        batch: u32, tokens: u32, inner: u32, outputs: u32,
        x_batch: u32, x_stride: u32, y_batch: u32, y_stride: u32,
        depth: u32, width: u32, columns: u32,
        token_tiles: u32, output_tiles: u32, flags: u32,
    }
}

/// The shared files of the products, but for how they load.
const SHARED: [&str; 3] = [
    include_str!("../../shaders/shared/block_params.wgsl"),
    include_str!("../../shaders/shared/activation.wgsl"),
    super::matmul::SHARED[1],
];

const STORES: [&str; 2] = [include_str!("../../shaders/shared/store_scalar.wgsl"), include_str!("../../shaders/shared/store_vec4.wgsl")];

/// One value at a time, and four.
pub(crate) const LOADS: [&str; 2] =
    [include_str!("../../shaders/shared/load_scalar.wgsl"), include_str!("../../shaders/shared/load_vec4.wgsl")];

pub(crate) static SCALAR: Kernel = Kernel {
    name: "block_matmul.scalar",
    wgsl: &[include_str!("../../shaders/block_matmul.wgsl"), LOADS[0], STORES[0], SHARED[0], SHARED[1], SHARED[2]],
    ptx: ptx!("block_matmul.sm_80"),
    cpu: cpu::block_matmul::run,
    params: Params::FIELDS,
    inputs: 4,
    outputs: 1,
};

pub(crate) static VEC4: Kernel = Kernel {
    name: "block_matmul.vec4",
    wgsl: &[include_str!("../../shaders/block_matmul.wgsl"), LOADS[1], STORES[1], SHARED[0], SHARED[1], SHARED[2]],
    ptx: ptx!("block_matmul.sm_80"),
    ..SCALAR
};

pub(crate) static WHOLE: Kernel = Kernel {
    name: "block_matmul.whole",
    wgsl: &[include_str!("../../shaders/block_matmul.whole.wgsl"), STORES[1], SHARED[0], SHARED[1], SHARED[2]],
    ptx: &[],
    ..VEC4
};

pub(crate) static WALK: Kernel = Kernel {
    name: "block_matmul.walk",
    wgsl: &[include_str!("../../shaders/block_matmul.walk.wgsl"), LOADS[0], STORES[0], SHARED[0], SHARED[1], SHARED[2]],
    ptx: ptx!("block_matmul.walk.sm_80"),
    ..SCALAR
};

/// What a layer does to its sums.
///
/// ```
/// assert_eq!(bandsaw::Activation::default(), bandsaw::Activation::None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// z.
    #[default]
    None,
    /// max(z, 0).
    Relu,
    /// z · Φ(z), with Φ the normal distribution function; on GPUs right up to 2·10⁻⁷ · |z|.
    Gelu,
}

/// What is done to each sum before it is written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Epilogue<'a> {
    /// One f32 for each output.
    pub bias: Option<&'a Buffer>,
    pub activation: Activation,
}

/// A dense batch times a block-sparse matrix, Y\[t,o\] = Σₖ X\[t,k\] · W\[k,o\] over stored blocks.
///
/// X is batch × n × k, W k × m, Y batch × n × m row-major. X · Wᵀ is `block_matmul(&x, &w.t())`, at no
/// cost. The work is proportional to the stored blocks. The sums are f32 in a fixed order; the result is
/// f16 or bf16 if both operands are. Such operands and results take an f32 copy while the kernel runs.
/// Through wgpu, X · Wᵀ of some thousand tokens takes a copy of a large W too.
///
/// A sum of k terms is within 2 (k + 2) · 2⁻²⁴ · Σ |term| of the exact one; on CUDA, where tensor cores multiply f32
/// split in two, within 2 (k + 8) · 2⁻²⁴ · Σ |term|.
///
/// From pytorch_block_sparse's `matmul` (there: X · Wᵀ).
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([4, 4], [2, 2], &[[0, 1]])?, |_, _| 1.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(1, 4), &[1.0, 2.0, 4.0, 8.0])?;
/// assert_eq!(block_matmul(&x, &w)?.read()?, [0.0, 0.0, 3.0, 3.0]);
/// assert_eq!(block_matmul(&x, &w.t())?.read()?, [12.0, 12.0, 0.0, 0.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if x's columns are not w's rows or it holds indices, [`Error::WrongDevice`],
/// [`Error::OutOfMemory`] or [`Error::Limit`] if the result or an operand cannot be held.
pub fn block_matmul(x: &Dense, w: &BlockSparse) -> Result<Dense> {
    const OP: &str = "block_matmul";
    check(OP, x, w)?;
    run(OP, &x.operand(), w, Epilogue::default(), Layout::Rows)
}

/// A block-sparse matrix times a dense batch, Y\[i,t\] = Σₖ W\[i,k\] · X\[k,t\] over stored blocks.
///
/// W is m × k, X batch × k × n, Y batch × m × n row-major. Otherwise as [`block_matmul`].
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([4, 4], [2, 2], &[[0, 1]])?, |_, _| 1.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(4, 1), &[1.0, 2.0, 4.0, 8.0])?;
/// assert_eq!(block_matmul_left(&w, &x)?.read()?, [12.0, 12.0, 0.0, 0.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_matmul`]: w's columns must be x's rows.
pub fn block_matmul_left(w: &BlockSparse, x: &Dense) -> Result<Dense> {
    const OP: &str = "block_matmul_left";
    check_left(OP, w, x)?;
    // Yᵀ = Xᵀ · Wᵀ, contiguous the other way.
    Ok(run(OP, &x.t().operand(), &w.t(), Epilogue::default(), Layout::Columns)?.t())
}

/// Checks what products from the left need, of which x is transposed on the way.
fn check_left(op: &'static str, w: &BlockSparse, x: &Dense) -> Result<()> {
    check(op, &x.t(), &w.t()).map_err(|error| match error {
        // In the caller's terms.
        Error::Argument { op, argument, got, .. } if got.starts_with("columns") => {
            Error::argument(op, argument, got.replacen("columns", "rows", 1), format!("rows {} (the columns of w)", w.pattern().cols()))
        }
        other => other,
    })
}

/// Checks what every product needs of its operands.
pub(crate) fn check(op: &'static str, x: &Dense, w: &BlockSparse) -> Result<()> {
    let x = x.operand();
    same_device_as(op, x.device(), &[("w", w.device())])?;
    values(op, "x", &x)?;
    same(op, "x", "columns", x.cols, w.pattern().rows(), "the rows of w")
}

/// The gradients of [`block_matmul`]: gx = G · Wᵀ, and gw = Xᵀ · G at W's blocks, summed over the batch.
///
/// g has the product's shape. gx has x's storage type, gw w's pattern and storage type.
///
/// From pytorch_block_sparse's `BlockSparseLinear` (its dgrad and wgrad).
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([2, 4], [2, 2], &[[0, 1]])?, |_, _| 3.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(1, 2), &[1.0, 2.0])?;
/// let g = Dense::from_slice(&device, DenseShape::new(1, 4), &[1.0, 10.0, 100.0, 1000.0])?;
/// let (gx, gw) = block_matmul_backward(&x, &w, &g)?;
/// assert_eq!(gx.read()?, [3300.0, 3300.0]);
/// assert_eq!(gw.read()?, [100.0, 1000.0, 200.0, 2000.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_matmul`].
pub fn block_matmul_backward(x: &Dense, w: &BlockSparse, g: &Dense) -> Result<(Dense, BlockSparse)> {
    const OP: &str = "block_matmul_backward";
    check(OP, x, w)?;
    check_gradient(OP, &x.operand(), &g.operand(), w.pattern().cols())?;
    let gx = run(OP, &g.operand(), &w.t(), Epilogue::default(), Layout::Rows)?;
    let gw = super::block_sddmm::run(OP, &x.operand(), &g.operand(), w.pattern(), w.dtype())?;
    Ok((in_dtype(gx, x.shape().dtype)?, gw))
}

/// The gradients of [`block_matmul_left`]: gw = G · Xᵀ at W's blocks, summed over the batch, and
/// gx = Wᵀ · G.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([2, 4], [2, 2], &[[0, 1]])?, |_, _| 3.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(4, 1), &[1.0, 2.0, 4.0, 8.0])?;
/// let g = Dense::from_slice(&device, DenseShape::new(2, 1), &[1.0, 10.0])?;
/// let (gw, gx) = block_matmul_left_backward(&w, &x, &g)?;
/// assert_eq!(gw.read()?, [4.0, 8.0, 40.0, 80.0]);
/// assert_eq!(gx.read()?, [0.0, 0.0, 33.0, 33.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_matmul_left`].
pub fn block_matmul_left_backward(w: &BlockSparse, x: &Dense, g: &Dense) -> Result<(BlockSparse, Dense)> {
    const OP: &str = "block_matmul_left_backward";
    let (xt, gt) = (x.t(), g.t());
    check_left(OP, w, x)?;
    check_shape(OP, &x.operand(), &g.operand(), [x.shape().batch, w.pattern().rows(), x.shape().cols])?;
    let gx = run(OP, &gt.operand(), w, Epilogue::default(), Layout::Columns)?.t();
    let gw = super::block_sddmm::run(OP, &gt.operand(), &xt.operand(), w.pattern(), w.dtype())?;
    Ok((gw, in_dtype(gx, x.shape().dtype)?))
}

/// Checks an upstream gradient: x's batch and tokens, the product's columns.
pub(crate) fn check_gradient(op: &'static str, x: &Operand, g: &Operand, outputs: usize) -> Result<()> {
    check_shape(op, x, g, [x.batch, x.rows, outputs])
}

/// The same of a product of this batch, rows and columns.
fn check_shape(op: &'static str, x: &Operand, g: &Operand, product: [usize; 3]) -> Result<()> {
    same_device(op, x, &[("g", g)])?;
    values(op, "g", g)?;
    let given = [g.batch, g.rows, g.cols];
    if given == product {
        return Ok(());
    }
    let text = |[batch, rows, cols]: [usize; 3]| format!("shape {batch} × {rows} × {cols}");
    Err(Error::argument(op, "g", text(given), format!("{} (that of the product)", text(product))))
}

/// A result in the storage type that it must have.
pub(crate) fn in_dtype(dense: Dense, dtype: Dtype) -> Result<Dense> {
    let shape = dense.shape();
    let buffer = super::cast::cast(&dense.operand().buffer, shape.len(), shape.dtype, dtype)?;
    Ok(Dense::from_buffer(shape.dtype(dtype), buffer))
}

/// The checked product of tokens × features with V, contiguous as `layout` says.
pub(crate) fn run(op: &'static str, x: &Operand, v: &BlockSparse, epilogue: Epilogue<'_>, layout: Layout) -> Result<Dense> {
    if cooperative::suits(x, v, layout) {
        return cooperative::run(op, x, v, epilogue);
    }
    let outputs = v.pattern().cols();
    let dtype = Dtype::of_result([x.dtype, v.dtype()]);
    let (output, shape) = Output::dense(op, x.device(), DenseShape::new(x.rows, outputs).batch(x.batch).layout(layout).dtype(dtype))?;
    let (x, v) = (widened(x)?, v.widened()?);
    super::common::check_binding(op, "the block values' size in bytes", v.buffer())?;
    let v = if has_whole_tiles(&v) { turned::for_tokens(&x, &v)? } else { v };
    for piece in pieces(op, &[&x, &output.operand])? {
        let [x, y] = &piece[..] else { continue };
        launch(x, y, &v, epilogue, Plan::new(x, y, &v))?;
    }
    Ok(Dense::from_buffer(shape, output.finish()?))
}

fn launch(x: &Tokens, y: &Tokens, v: &BlockSparse, epilogue: Epilogue<'_>, plan: Plan) -> Result<()> {
    let [depth, width] = v.pattern().block();
    let params = Params {
        batch: x.batch,
        tokens: x.tokens,
        inner: x.features,
        outputs: y.features,
        x_batch: x.batch_stride,
        x_stride: x.stride,
        y_batch: y.batch_stride,
        y_stride: y.stride,
        depth: depth as u32,
        width: width as u32,
        columns: v.pattern().grid()[1] as u32,
        token_tiles: plan.token_tiles,
        output_tiles: plan.output_tiles,
        flags: u32::from(x.along)
            | u32::from(v.layout() == Layout::Columns) << 1
            | u32::from(y.along) << 2
            | u32::from(epilogue.bias.is_some()) << 3
            | (epilogue.activation as u32) << 4,
    };
    let mut constants = plan.constants;
    constants.push(("FLAGS", f64::from(params.flags)));
    let device = v.device();
    let index = v.pattern().upload(device, 1)?;
    device.launch(&Launch {
        kernel: plan.kernel,
        params: bytemuck::bytes_of(&params),
        inputs: &[&x.buffer, v.buffer(), &index, epilogue.bias.unwrap_or(v.buffer())],
        outputs: &[&y.buffer],
        groups: (u64::from(params.batch) * u64::from(plan.token_tiles) * u64::from(plan.output_tiles)).min(plan.most_tiles)
            * plan.groups_each,
        constants: &constants,
        function: None,
    })
}

/// Whether blocks are whole stages of terms and tiles of 32 outputs. Those of whole 64 outputs are faster with larger tiles.
fn has_whole_tiles(v: &BlockSparse) -> bool {
    let [depth, width] = v.pattern().block();
    depth.is_multiple_of(8) && width.is_multiple_of(32) && !width.is_multiple_of(64) && v.pattern().rows().is_multiple_of(depth)
}

/// Which kernel a product takes, with which tile, and how many workgroups.
struct Plan {
    kernel: &'static Kernel,
    token_tiles: u32,
    output_tiles: u32,
    /// So many at once, of which each is followed by others.
    most_tiles: u64,
    /// Workgroups to a tile.
    groups_each: u64,
    constants: Vec<(&'static str, f64)>,
}

impl Plan {
    fn new(x: &Tokens, y: &Tokens, v: &BlockSparse) -> Self {
        let [depth, width] = v.pattern().block();
        let columns = v.pattern().grid()[1];
        if width < 8 || x.tokens <= 16 {
            // As many lanes to a column as bring some ten thousand invocations together.
            let walks = (x.batch as usize * (x.tokens as usize).div_ceil(8) * y.features as usize).max(1);
            let lanes = [1, 8, 32].into_iter().find(|lanes| walks * lanes >= 16384).unwrap_or(32);
            return Self {
                kernel: &WALK,
                token_tiles: x.tokens.div_ceil(8),
                output_tiles: y.features.div_ceil(128 / lanes as u32),
                most_tiles: u64::MAX,
                groups_each: 1,
                constants: vec![("LANES", lanes as f64)],
            };
        }
        if let Some(plan) = Self::whole(x, y, v) {
            return plan;
        }
        let (tokens, outputs, constant) = if x.buffer.device.is_cuda() {
            let [tokens, outputs] = Self::cuda_tile(x.batch as usize * x.tokens as usize, y.features as usize, width);
            (tokens, outputs, ("ALONG", f64::from(u32::from(x.along) | u32::from(v.layout() == Layout::Columns) << 1)))
        } else {
            let [tokens, outputs, stage] = Self::tile(x.tokens as usize, width);
            (tokens, outputs, ("DEPTH", stage as f64))
        };
        let fours = [depth, width, x.contiguous(), x.stride as usize, y.contiguous(), y.batch_stride as usize];
        Self {
            kernel: if !v.is_empty() && fours.iter().all(|side| side.is_multiple_of(4)) { &VEC4 } else { &SCALAR },
            token_tiles: x.tokens.div_ceil(tokens as u32),
            output_tiles: (columns * width.div_ceil(outputs)) as u32,
            most_tiles: u64::MAX,
            groups_each: 1,
            constants: vec![("TOKENS", tokens as f64), ("OUTPUTS", outputs as f64), constant],
        }
    }

    /// The kernel for tiles of 64 tokens × 32 outputs, where all are whole.
    fn whole(x: &Tokens, y: &Tokens, v: &BlockSparse) -> Option<Self> {
        let fours = [x.contiguous(), x.stride as usize, x.batch_stride as usize, y.contiguous(), y.batch_stride as usize];
        if x.buffer.device.is_cuda()
            || v.is_empty()
            || !has_whole_tiles(v)
            || x.tokens < 64
            || !fours.iter().all(|side| side.is_multiple_of(4))
        {
            return None;
        }
        Some(Self {
            kernel: &WHOLE,
            token_tiles: x.tokens.div_ceil(64),
            output_tiles: (v.pattern().grid()[1] * v.pattern().block()[1] / 32) as u32,
            most_tiles: u64::MAX,
            groups_each: 1,
            constants: Vec::new(),
        })
    }

    /// Tokens and outputs of a tile on CUDA, where a warp has 2048 sums: the large ones where there is one for each
    /// multiprocessor of a large GPU.
    fn cuda_tile(tokens: usize, outputs: usize, width: usize) -> [usize; 2] {
        let waste = |outputs: usize| width.div_ceil(outputs) * outputs;
        match () {
            () if tokens <= 64 || tokens.div_ceil(256) * outputs.div_ceil(32) < 128 => [64, 32],
            () if waste(64) <= waste(32) => [128, 64],
            () if waste(32) * 3 <= waste(16) * 4 => [256, 32],
            () => [256, 16],
        }
    }

    /// Tokens, outputs and staged terms of a tile: 64 sums for each of 32 to 128 invocations, 1 to 4
    /// `vec4`s of X and at most 2 of V for each of them, and a stage of at most 8 KB, so that several
    /// workgroups share a multiprocessor.
    fn tile(tokens: usize, width: usize) -> [usize; 3] {
        let waste = |outputs: usize| width.div_ceil(outputs) * outputs;
        let outputs = if waste(64) <= waste(32) {
            64
        } else if waste(32) * 3 <= waste(16) * 4 {
            32
        } else {
            16
        };
        match outputs {
            16 => [256, 16, 4],
            _ if tokens <= 64 => [64, outputs, 8],
            _ => [128, outputs, 8],
        }
    }
}
