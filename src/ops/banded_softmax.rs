//! Softmax over the stored entries of each row of a band.

use super::banded_move::banded_relayout;
use super::common::{Output, Piece, alike, fit, pieces, shared_rows, values, widened};
use super::matmul_backward::same_structure;
use crate::device::Launch;
use crate::kernel::{Kernel, params, ptx};
use crate::operand::Operand;
use crate::{Banded, BandedShape, Error, Layout, Result, cpu};

params! {
    /// What the softmax and its gradient get; see `shaders/shared/softmax_row.wgsl`.
    Params { batch: u32, rows: i32, cols: i32, flags: u32, stride: i32, lower: i32, upper: i32, scale: f32, lines: u32 }
}

/// The shared files of the softmax and its gradient.
const SHARED: [&str; 2] = [include_str!("../../shaders/shared/softmax_row.wgsl"), super::matmul::SHARED[1]];

pub(crate) static KERNEL: Kernel = Kernel {
    name: "banded_softmax",
    wgsl: &[include_str!("../../shaders/banded_softmax.wgsl"), SHARED[0], SHARED[1]],
    ptx: ptx!("banded_softmax.sm_80"),
    cpu: cpu::banded_softmax::run,
    params: Params::FIELDS,
    inputs: 1,
    outputs: 1,
};

pub(crate) static BACKWARD: Kernel = Kernel {
    name: "banded_softmax.backward",
    wgsl: &[include_str!("../../shaders/banded_softmax.backward.wgsl"), SHARED[0], SHARED[1]],
    ptx: ptx!("banded_softmax.sm_80"),
    cpu: cpu::banded_softmax::backward,
    inputs: 2,
    ..KERNEL
};

/// Softmax along the rows of a band, P\[i,j\] = exp(scale · A\[i,j\]) / Σ exp(scale · A\[i,·\]).
///
/// The sum runs over stored entries; what lies outside the band or the matrix has no mass. P is A's
/// size, band, layout and storage type with fill 0. Entries of any size are fine; a row of −∞ alone,
/// or with no entry stored, gives zeros. The logsumexp of the rows is
/// [`banded_matmul_dense`](crate::banded_matmul_dense) of scale · A and a column of zeros over
/// [`Semiring::Log`](crate::Semiring::Log).
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 0)?), |_, i, j| (i + j) as f32 * 1000.0)?;
/// let p = banded_softmax(&a, 1e-3 * 3f32.ln())?;
/// let want = [0.0, 1.0, 0.25, 0.75, 0.25, 0.75]; // the first slot is outside
/// assert!(p.read()?.iter().zip(want).all(|(p, want)| (p - want).abs() < 1e-5));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if the values are indices or the scale is not finite, [`Error::OutOfMemory`]
/// or [`Error::Limit`] if the result cannot be held. A matrix in columns layout larger than a binding takes
/// two copies in rows layout.
pub fn banded_softmax(a: &Banded, scale: f32) -> Result<Banded> {
    const OP: &str = "banded_softmax";
    let operand = a.operand();
    values(OP, "a", &operand)?;
    finite(OP, scale)?;
    if operand.layout == Layout::Columns && !fit(&[&operand]) {
        return banded_relayout(&banded_softmax(&banded_relayout(a, Layout::Rows)?, scale)?, Layout::Columns);
    }
    let (output, shape) = Output::banded(OP, a.device(), BandedShape { fill: 0.0, ..a.shape() })?;
    let a = widened(&operand)?;
    for Piece { operands: [p, a], .. } in pieces(OP, [&output.operand, &a], alike(&a))? {
        launch(&KERNEL, params(&a, 0, scale), &[&a], &p)?;
    }
    Ok(Banded::from_buffer(shape, output.finish()?))
}

/// The gradient of [`banded_softmax`] by A, from its result P and the gradient
/// g of P: GA\[i,j\] = scale · P\[i,j\] · (g\[i,j\] − Σ P\[i,·\]·g\[i,·\]).
///
/// g has P's size and band, and any layout; the result is of P's structure and storage type.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = BandedShape::new(2, 2, Band::new(1, 0)?);
/// let p = banded_softmax(&Banded::from_fn(&device, shape, |_, _, _| 7.0)?, 4.0)?;
/// let g = Banded::from_fn(&device, shape, |_, i, j| (i + j) as f32)?;
/// assert_eq!(banded_softmax_backward(&p, &g, 4.0)?.read()?, [0.0, 0.0, -0.5 * 2.0, 0.5 * 2.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if g does not have P's size and band; else as
/// [`banded_softmax`].
pub fn banded_softmax_backward(p: &Banded, g: &Banded, scale: f32) -> Result<Banded> {
    const OP: &str = "banded_softmax_backward";
    let (of_p, of_g) = (p.operand(), g.operand());
    values(OP, "p", &of_p)?;
    same_structure(OP, "g", &of_g, &of_p, "p", &of_p)?;
    finite(OP, scale)?;
    if of_p.layout == Layout::Columns && !fit(&[&of_p, &of_g]) {
        let by_rows = banded_softmax_backward(&banded_relayout(p, Layout::Rows)?, g, scale)?;
        return banded_relayout(&by_rows, Layout::Columns);
    }
    let (output, shape) = Output::banded(OP, p.device(), BandedShape { fill: 0.0, ..p.shape() })?;
    let (p, g) = (widened(&of_p)?, widened(&of_g)?);
    for Piece { operands: [ga, p, g], .. } in pieces(OP, [&output.operand, &p, &g], alike(&p))? {
        launch(&BACKWARD, params(&p, g.flags(), scale), &[&p, &g], &ga)?;
    }
    Ok(Banded::from_buffer(shape, output.finish()?))
}

fn finite(op: &'static str, scale: f32) -> Result<()> {
    if scale.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, "scale", scale.to_string(), "a finite value"))
}

/// The arguments for an operand and the flags of a second one.
fn params(a: &Operand, second: u32, scale: f32) -> Params {
    let Operand { batch, rows, cols, lower, upper, .. } = *a;
    let lines = if a.layout == Layout::Columns { cols as i32 + lower + upper } else { rows as i32 };
    Params {
        batch: batch as u32,
        rows: rows as i32,
        cols: cols as i32,
        flags: a.flags() | second << 2,
        stride: a.stride(),
        lower,
        upper,
        scale,
        lines: lines as u32,
    }
}

fn launch(kernel: &'static Kernel, params: Params, inputs: &[&Operand], output: &Operand) -> Result<()> {
    let lines = u64::from(params.batch) * u64::from(params.lines);
    let (rows, constants) = shared_rows(output, lines as usize);
    let inputs: Vec<_> = inputs.iter().map(|operand| &operand.buffer).collect();
    output.device().launch(&Launch {
        kernel,
        params: bytemuck::bytes_of(&params),
        inputs: &inputs,
        outputs: &[&output.buffer],
        groups: lines.div_ceil(rows as u64),
        constants: &constants,
        function: None,
    })
}
