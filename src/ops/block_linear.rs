//! A layer with block-sparse weights: product, bias and activation in one pass, and its gradients.

use super::block_matmul::{Activation, Epilogue, check, check_gradient, in_dtype, run};
use super::common::{Output, on_matrix_units, same_device, values, widened};
use super::tokens::{Tokens, pieces};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, params, ptx};
use crate::operand::Operand;
use crate::{BlockSparse, Dense, DenseShape, Dtype, Error, Layout, Result, cpu};

params! {
    /// What the kernels around the products get.
    Params { tokens: u32, features: u32, flags: u32 }
}

pub(crate) static SLOPE: Kernel = Kernel {
    name: "block_linear",
    wgsl: &[
        include_str!("../../shaders/block_linear.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        super::matmul::SHARED[1],
    ],
    ptx: ptx!("block_linear.sm_80"),
    cpu: cpu::block_linear::run,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

pub(crate) static SUMS: Kernel = Kernel {
    name: "block_linear.sums",
    wgsl: &[include_str!("../../shaders/block_linear.sums.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("block_linear.sm_80"),
    cpu: cpu::block_linear::sums,
    params: Params::FIELDS,
    inputs: 1,
    outputs: 1,
};

/// A layer: Y = act(X · Wᵀ + bias), all in one pass.
///
/// X is batch × n × k, W m × k as PyTorch keeps weights, the bias 1 × m, Y batch × n × m row-major. Bias
/// and activation are applied to the f32 sums. Otherwise as [`block_matmul`](crate::block_matmul).
///
/// From pytorch_block_sparse's `BlockSparseLinear`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([4, 2], [2, 2], &[[1, 0]])?, |_, _| 1.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(1, 2), &[1.0, 2.0])?;
/// let bias = Dense::from_slice(&device, DenseShape::new(1, 4), &[0.5, -0.5, 0.0, -9.0])?;
/// assert_eq!(block_linear(&x, &w, Some(&bias), Activation::Relu)?.read()?, [0.5, 0.0, 3.0, 0.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if x's columns are not w's, or the bias is not 1 × m; the others of
/// [`block_matmul`](crate::block_matmul).
pub fn block_linear(x: &Dense, w: &BlockSparse, bias: Option<&Dense>, activation: Activation) -> Result<Dense> {
    const OP: &str = "block_linear";
    let bias = check_layer(OP, x, w, bias)?;
    run(OP, &x.operand(), &w.t(), Epilogue { bias: bias.as_ref(), activation }, Layout::Rows)
}

/// The gradients of [`block_linear`].
#[derive(Debug, Clone)]
pub struct LinearGradients {
    /// By x: (G ∘ act′) · W.
    pub x: Dense,
    /// By w, at its blocks: (G ∘ act′)ᵀ · X, summed over the batch.
    pub w: BlockSparse,
    /// By the bias, if there is one: the sum of G ∘ act′ over all tokens.
    pub bias: Option<Dense>,
}

/// The gradients of [`block_linear`], from its result y and the gradient g of that.
///
/// ReLU's slope is taken from y; for GELU the sums are computed again, so that nothing else has to be
/// kept. Each gradient has its operand's shape and storage type.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let w = BlockSparse::from_fn(&device, &BlockPattern::new([4, 2], [2, 2], &[[1, 0]])?, |_, _| 1.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(1, 2), &[1.0, 2.0])?;
/// let y = block_linear(&x, &w, None, Activation::Relu)?;
/// let g = Dense::from_fn(&device, DenseShape::new(1, 4), |_, _, _| 1.0)?;
/// let gradients = block_linear_backward(&x, &w, None, Activation::Relu, &y, &g)?;
/// assert_eq!(gradients.x.read()?, [2.0, 2.0]);
/// assert_eq!(gradients.w.read()?, [1.0, 2.0, 1.0, 2.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`block_linear`], and if y or g have not its result's shape.
pub fn block_linear_backward(
    x: &Dense,
    w: &BlockSparse,
    bias: Option<&Dense>,
    activation: Activation,
    y: &Dense,
    g: &Dense,
) -> Result<LinearGradients> {
    const OP: &str = "block_linear_backward";
    let bias_buffer = check_layer(OP, x, w, bias)?;
    check_gradient(OP, &x.operand(), &g.operand(), w.pattern().rows())?;
    check_gradient(OP, &x.operand(), &y.operand(), w.pattern().rows()).map_err(|error| match error {
        Error::Argument { op, got, allowed, .. } => Error::argument(op, "y", got, allowed),
        other => other,
    })?;
    // Halves stay what they are where the slope is 0 or 1, for matrix units.
    let dtype = g.shape().dtype;
    let halves = on_matrix_units(w.device(), &[x.shape().dtype, w.dtype(), dtype]);
    let mut gz = g.operand();
    if activation != Activation::None {
        let z = match activation {
            Activation::Gelu => {
                let sums = Epilogue { bias: bias_buffer.as_ref(), activation: Activation::None };
                in_dtype(run(OP, &x.operand(), &w.t(), sums, Layout::Rows)?, Dtype::F32)?.operand()
            }
            _ => widened(&y.operand())?,
        };
        gz = before_activation(OP, activation, &z, &widened(&gz)?)?;
    }
    gz = if halves && activation != Activation::Gelu { narrowed(&gz, dtype)? } else { widened(&gz)? };
    let gx = run(OP, &gz, w, Epilogue::default(), Layout::Rows)?;
    let gw = super::block_sddmm::run(OP, &gz, &x.operand(), w.pattern(), w.dtype())?;
    let gb = bias.map(|bias| bias_gradient(OP, &widened(&gz)?, bias.shape())).transpose()?;
    Ok(LinearGradients { x: in_dtype(gx, x.shape().dtype)?, w: gw, bias: gb })
}

/// The same values as halves.
fn narrowed(operand: &Operand, dtype: Dtype) -> Result<Operand> {
    let buffer = super::cast::cast(&operand.buffer, operand.batch * operand.len(), operand.dtype, dtype)?;
    Ok(Operand { buffer, dtype, ..operand.clone() })
}

/// Checks a layer's operands; the bias as kernels take it.
fn check_layer(op: &'static str, x: &Dense, w: &BlockSparse, bias: Option<&Dense>) -> Result<Option<Buffer>> {
    check(op, x, &w.t()).map_err(|error| match error {
        // In the caller's terms: w was transposed on the way.
        Error::Argument { op, argument, got, .. } if got.starts_with("columns") => {
            Error::argument(op, argument, got, format!("columns {} (the columns of w)", w.pattern().cols()))
        }
        other => other,
    })?;
    let Some(bias) = bias else { return Ok(None) };
    let (bias, outputs) = (bias.operand(), w.pattern().rows());
    same_device(op, &x.operand(), &[("bias", &bias)])?;
    values(op, "bias", &bias)?;
    if (bias.batch, bias.rows, bias.cols) != (1, 1, outputs) {
        let got = format!("shape {} × {} × {}", bias.batch, bias.rows, bias.cols);
        return Err(Error::argument(op, "bias", got, format!("shape 1 × 1 × {outputs} (the rows of w)")));
    }
    Ok(Some(widened(&bias)?.buffer))
}

/// g · act′(z), f32 and row-major.
fn before_activation(op: &'static str, activation: Activation, z: &Operand, g: &Operand) -> Result<Operand> {
    let (output, _) = Output::dense(op, g.device(), DenseShape::new(g.rows, g.cols).batch(g.batch))?;
    for piece in pieces(op, &[z, g, &output.operand])? {
        let [z, g, out] = &piece[..] else { continue };
        for n in 0..z.batch {
            let (z, g, out) = (z.matrix(n), g.matrix(n), out.matrix(n));
            let flags = u32::from(z.along) | u32::from(g.along) << 1 | (activation as u32) << 4;
            out.buffer.device.launch(&Launch {
                kernel: &SLOPE,
                params: bytemuck::bytes_of(&Params { tokens: z.tokens, features: z.features, flags }),
                inputs: &[&z.buffer, &g.buffer],
                outputs: &[&out.buffer],
                groups: (u64::from(z.tokens) * u64::from(z.features)).div_ceil(128),
                constants: &[],
                function: None,
            })?;
        }
    }
    Ok(output.operand)
}

/// The sum of g over batch and tokens, in the bias's own storage type.
fn bias_gradient(op: &'static str, g: &Operand, shape: DenseShape) -> Result<Dense> {
    let device = g.device();
    let row = g.cols * 4;
    let matrices: Vec<Tokens> = pieces(op, &[g])?.iter().flat_map(|piece| (0..piece[0].batch).map(|n| piece[0].matrix(n))).collect();
    let total = device.alloc(row)?;
    if matrices.is_empty() {
        device.write(&total, &vec![0; row])?;
    } else {
        let rows = device.alloc(row * matrices.len())?;
        for (n, matrix) in matrices.iter().enumerate() {
            sums(&matrix.buffer, matrix.tokens as usize, g.cols, matrix.along, &rows.view(n * row, row))?;
        }
        column_sums(&rows, matrices.len(), g.cols, &total)?;
    }
    in_dtype(Dense::from_buffer(shape.layout(Layout::Rows).dtype(Dtype::F32), total), shape.dtype)
}

/// The sums of the columns of a row-major matrix.
pub(crate) fn column_sums(from: &Buffer, rows: usize, cols: usize, to: &Buffer) -> Result<()> {
    sums(from, rows, cols, true, to)
}

/// Sums over tokens, 64 to 1 until one row is left.
fn sums(from: &Buffer, mut tokens: usize, features: usize, mut along: bool, to: &Buffer) -> Result<()> {
    let device = &from.device;
    let mut from = from.clone();
    loop {
        let chunks = tokens.div_ceil(64);
        let target = if chunks == 1 { to.clone() } else { device.alloc(chunks * features * 4)? };
        device.launch(&Launch {
            kernel: &SUMS,
            params: bytemuck::bytes_of(&Params { tokens: tokens as u32, features: features as u32, flags: u32::from(along) << 1 }),
            inputs: &[&from],
            outputs: &[&target],
            groups: (chunks * features).div_ceil(128) as u64,
            constants: &[],
            function: None,
        })?;
        if chunks == 1 {
            return Ok(());
        }
        (from, tokens, along) = (target, chunks, true);
    }
}
