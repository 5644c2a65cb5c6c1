//! Banded batches times vectors.

use std::ops::Range;

use super::common::{Output, Piece, pieces, result_dtype, same_device, shared_rows, values, widened};
use super::matmul;
use crate::device::Launch;
use crate::kernel::{Kernel, ptx};
use crate::operand::{Operand, RowParams};
use crate::{Banded, Dense, DenseShape, Dtype, Error, Result, Semiring, cpu};

pub(crate) static KERNEL: Kernel = Kernel {
    name: "banded_matvec",
    wgsl: &[include_str!("../../shaders/banded_matvec.wgsl"), matmul::SHARED[1]],
    ptx: ptx!("banded_matvec.sm_80"),
    cpu: cpu::banded_matvec::run,
    params: RowParams::FIELDS,
    inputs: 2,
    outputs: 1,
};

/// A banded batch times one vector each, y\[i\] = Σ_j A\[i,j\] · x\[j\].
///
/// A is batch × n × m, x batch × m × 1, y batch × n × 1. The sum runs over stored entries; what lies
/// outside the band takes no part. Aᵀ·x is `banded_matvec(&a.t(), &x)`. The order of the sum is
/// always the same. The result is f16 or bf16 if both operands are.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 0)?), |_, _, _| 1.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(3, 1), &[1.0, 2.0, 4.0])?;
/// assert_eq!(banded_matvec(&a, &x)?.read()?, [1.0, 3.0, 6.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if x is not batch × m × 1 or holds indices, [`Error::WrongDevice`],
/// [`Error::OutOfMemory`] or [`Error::Limit`] if the result cannot be held.
pub fn banded_matvec(a: &Banded, x: &Dense) -> Result<Dense> {
    const OP: &str = "banded_matvec";
    let (a, x) = (a.operand(), x.operand());
    same_device(OP, &a, &[("x", &x)])?;
    values(OP, "a", &a)?;
    vector(OP, "x", &x, [a.batch, a.cols], "the batch of a × its columns × 1")?;
    run(OP, &a, &x, result_dtype(&[&a, &x]))
}

/// The gradients of [`banded_matvec`]: ga\[i,j\] = g\[i\] · x\[j\] on A's band, and gx = Aᵀ·g.
///
/// g is batch × n × 1. The results have their operand's shape and storage type; ga has fill 0.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(2, 2, Band::new(1, 0)?), |_, _, _| 3.0)?;
/// let x = Dense::from_slice(&device, DenseShape::new(2, 1), &[1.0, 2.0])?;
/// let g = Dense::from_slice(&device, DenseShape::new(2, 1), &[10.0, 100.0])?;
/// let (ga, gx) = banded_matvec_backward(&a, &x, &g)?;
/// assert_eq!(ga.read()?, [0.0, 10.0, 100.0, 200.0]);
/// assert_eq!(gx.read()?, [330.0, 300.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matvec`].
pub fn banded_matvec_backward(a: &Banded, x: &Dense, g: &Dense) -> Result<(Banded, Dense)> {
    const OP: &str = "banded_matvec_backward";
    let shape = a.shape().fill(0.0);
    let (a, x, g) = (a.operand(), x.operand(), g.operand());
    same_device(OP, &a, &[("x", &x), ("g", &g)])?;
    values(OP, "a", &a)?;
    vector(OP, "x", &x, [a.batch, a.cols], "the batch of a × its columns × 1")?;
    vector(OP, "g", &g, [a.batch, a.rows], "the batch of a × its rows × 1")?;
    let (output, shape) = Output::banded(OP, a.device(), shape)?;
    matmul::product(OP, &widened(&g)?, &widened(&x)?.t(), &output.operand, Semiring::Sum)?;
    Ok((Banded::from_buffer(shape, output.finish()?), run(OP, &a.t(), &g, x.dtype)?))
}

/// Checks that an operand is one column of the given length for each matrix.
fn vector(op: &'static str, argument: &'static str, x: &Operand, [batch, len]: [usize; 2], of: &str) -> Result<()> {
    values(op, argument, x)?;
    if (x.batch, x.rows, x.cols) == (batch, len, 1) {
        return Ok(());
    }
    let got = format!("shape {} × {} × {}", x.batch, x.rows, x.cols);
    Err(Error::argument(op, argument, got, format!("shape {batch} × {len} × 1 ({of})")))
}

fn run(op: &'static str, a: &Operand, x: &Operand, dtype: Dtype) -> Result<Dense> {
    let (output, shape) = Output::dense(op, a.device(), DenseShape::new(a.rows, 1).batch(a.batch).dtype(dtype))?;
    let (a, x, y) = (&widened(a)?, &widened(x)?, &output.operand);
    let meeting = |rows: Range<usize>| {
        let cols = a.columns_met(&rows);
        [[rows.clone(), 0..1], [rows, cols.clone()], [cols, 0..1]]
    };
    for Piece { operands: [y, a, x], .. } in pieces(op, [y, a, x], meeting)? {
        let params = a.row_params();
        let (rows, constants) = shared_rows(&a, a.batch * a.rows);
        a.device().launch(&Launch {
            kernel: &KERNEL,
            params: bytemuck::bytes_of(&params),
            inputs: &[&a.buffer, &x.buffer],
            outputs: &[&y.buffer],
            groups: (a.batch * a.rows).div_ceil(rows) as u64,
            constants: &constants,
            function: None,
        })?;
    }
    Ok(Dense::from_buffer(shape, output.finish()?))
}
