//! The gradients of windowed attention.

use super::common::{Output, widened};
use super::matmul_backward::like;
use super::window_attention::{
    LINE, Lines, OPERANDS, PARAMS, Params, Problem, TILE, check, cooperative, line_tiles, row_major, row_majors, same_dtype, tiles,
};
use super::{banded_move, matmul};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, Stored, for_dtype, params, ptx, stored};
use crate::operand::Operand;
use crate::{Dense, Device, Dtype, Layout, Result, WindowAttention, cpu};

params! {
    /// What the kernel of row sums gets.
    DeltaParams { rows: u32, depth: u32 }
}

pub(crate) static DELTA: Stored = stored!(
    "window_attention_backward.delta",
    [include_str!("../../shaders/window_attention_backward.delta.wgsl"), matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::delta, params: DeltaParams::FIELDS, inputs: 2, outputs: 1 }
);

const MAIN: &str = include_str!("../../shaders/window_attention_backward.wgsl");
const MAIN_LINE: &str = include_str!("../../shaders/window_attention_backward.line.wgsl");
const GRADIENT: &str = include_str!("../../shaders/shared/window_gradient.wgsl");
const OF_Q: &str = include_str!("../../shaders/shared/window_gradient_q.wgsl");
const OF_K: &str = include_str!("../../shaders/shared/window_gradient_k.wgsl");
const OF_V: &str = include_str!("../../shaders/shared/window_gradient_v.wgsl");

/// The gradient of Q: tiles along the window, and lines of global positions.
pub(crate) static Q: Stored = stored!(
    "window_attention_backward.q",
    [MAIN, PARAMS, OPERANDS, TILE, GRADIENT, OF_Q, matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::q, params: Params::FIELDS, inputs: 7, outputs: 1 }
);

pub(crate) static Q_LINE: Stored = stored!(
    "window_attention_backward.q.line",
    [MAIN_LINE, PARAMS, OPERANDS, LINE, GRADIENT, OF_Q, matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::q_line, params: Params::FIELDS, inputs: 7, outputs: 1 }
);

/// The gradient of K.
pub(crate) static K: Stored = stored!(
    "window_attention_backward.k",
    [MAIN, PARAMS, OPERANDS, TILE, GRADIENT, OF_K, matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::k, params: Params::FIELDS, inputs: 7, outputs: 1 }
);

pub(crate) static K_LINE: Stored = stored!(
    "window_attention_backward.k.line",
    [MAIN_LINE, PARAMS, OPERANDS, LINE, GRADIENT, OF_K, matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::k_line, params: Params::FIELDS, inputs: 7, outputs: 1 }
);

/// The gradient of V.
pub(crate) static V: Stored = stored!(
    "window_attention_backward.v",
    [MAIN, PARAMS, OPERANDS, TILE, GRADIENT, OF_V, matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::v, params: Params::FIELDS, inputs: 7, outputs: 1 }
);

pub(crate) static V_LINE: Stored = stored!(
    "window_attention_backward.v.line",
    [MAIN_LINE, PARAMS, OPERANDS, LINE, GRADIENT, OF_V, matmul::SHARED[1]],
    ptx!("window_attention_backward.sm_80"),
    { cpu: cpu::window_attention_backward::v_line, params: Params::FIELDS, inputs: 7, outputs: 1 }
);

/// The gradients of [`window_attention`](crate::window_attention) by Q, K and V.
///
/// `out` and `lse` are its results, `grad_out` the gradient of `out`; the logsumexp has none. With
/// P\[i,j\] = exp(scale · q\[i\]·k\[j\] − lse\[i\]) over the keys that query i attends to, and
/// S = scale · P ∘ (dO·Vᵀ − rowsum(dO ∘ O)),
///
/// ```text
/// dQ = S·K      dK = Sᵀ·Q      dV = Pᵀ·dO
/// ```
///
/// where keys and values of a group sum over its heads. P is computed again from the logsumexp, so
/// memory stays linear in n · d: beside the results one f32 for each row, and off the matrix units f32 copies of
/// 16-bit results; operands take a copy as in [`window_attention`](crate::window_attention). The results have their operand's shape, layout and storage type. Sums always run in the
/// same order. A query that attends to nothing has gradient 0 and adds nothing.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let x = Dense::from_fn(&device, DenseShape::new(100, 8), |_, i, d| ((i * (d + 1)) as f32).sin())?;
/// let options = WindowAttention::new(Band::window(5)?);
/// let (out, lse) = window_attention(&x, &x, &x, &options)?;
/// let g = Dense::from_fn(&device, out.shape(), |_, _, _| 1.0)?; // of the sum of all results
/// let (dq, dk, dv) = window_attention_backward(&x, &x, &x, &out, &lse, &g, &options)?;
/// assert_eq!((dq.shape(), dk.shape()), (x.shape(), x.shape()));
/// // Each row of probabilities sums to 1, so the gradients of V sum to one for each query.
/// let total: f32 = dv.read()?.iter().sum();
/// assert!((total - 800.0).abs() < 1e-2);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if out, lse or grad_out does not have the shape or storage type that the
/// forward pass gives; else as [`window_attention`](crate::window_attention).
#[allow(clippy::too_many_arguments)] // the operands and results of the forward pass
pub fn window_attention_backward(
    q: &Dense,
    k: &Dense,
    v: &Dense,
    out: &Dense,
    lse: &Dense,
    grad_out: &Dense,
    options: &WindowAttention,
) -> Result<(Dense, Dense, Dense)> {
    const OP: &str = "window_attention_backward";
    let operands = [q.operand(), k.operand(), v.operand()];
    let [of_q, _, of_v] = &operands;
    check(OP, &operands, options)?;
    let (rows, width) = ("the rows of q", "the columns of v");
    for (name, operand, columns) in
        [("out", out.operand(), of_v.cols), ("lse", lse.operand(), 1), ("grad_out", grad_out.operand(), of_v.cols)]
    {
        let of_columns = if name == "lse" { "one for each row" } else { width };
        like(OP, name, &operand, [of_q.batch, of_q.rows, columns], ["the batch of q", rows, of_columns], of_q)?;
        let (dtype, of) = if name == "lse" { (Dtype::F32, "always") } else { (of_q.dtype, "the dtype of q") };
        same_dtype(OP, name, &operand, dtype, of)?;
    }

    let units = cooperative::suits(&operands, options, cooperative::BACKWARD_COLUMNS)
        && grad_out.shape().layout == Layout::Rows
        && out.shape().layout == Layout::Rows;
    if units {
        return on_matrix_units(OP, [q, k, v], [out, lse, grad_out], &operands, options);
    }
    let lse = row_major(OP, &lse.operand())?;
    let [of_q, of_k, of_v] = &operands;
    let [of_q, of_k, of_v, out, grad] = row_majors(OP, [of_q, of_k, of_v, &out.operand(), &grad_out.operand()])?;
    let mut problem = Problem::new([of_q, of_k, of_v], options)?;
    let delta = Operand { buffer: delta(&out, &grad)?, ..lse.clone() };
    let [lse, mut grad, delta] = [lse, grad, delta].map(|operand| problem.grouped(&operand));
    let [gq, gk, gv] = [gradient(OP, q)?, gradient(OP, k)?, gradient(OP, v)?];
    let of_gq = problem.grouped(&gq.operand);
    let results = [&of_gq, &gk.operand, &gv.operand];
    let all = [&lse, &grad, &delta, results[0], results[1], results[2]];
    let cuts = [problem.parts(OP, Lines::Queries, &all)?, problem.parts(OP, Lines::Keys, &all)?];
    if !cuts.iter().flatten().all(|part| problem.is_in_words(part) && part.rows_of(&grad).offset.is_multiple_of(4)) {
        problem.widen()?;
        grad = widened(&grad)?;
    }
    for plan in plan(q.device(), &problem) {
        for part in &cuts[plan.lines as usize] {
            let more = [&grad, &lse, &delta].map(|operand| part.rows_of(operand));
            let (params, result) = (problem.params(part), results[plan.of]);
            let (matrices, lines, result) = match plan.lines {
                Lines::Queries => (params.batch, params.rows, part.rows_of(result)),
                Lines::Keys => (part.matrices.len() as u32, params.keys, part.keys_of(result)),
            };
            let width = results[plan.of].cols as i32;
            let main = Params { tiles: tiles(&params, lines, width), ..params };
            problem.launch(for_dtype(plan.kernel, problem.q.dtype), part, main, matrices, &more.each_ref(), &[&result], &[])?;
            let line = Params { tiles: line_tiles(&params, width), ..params };
            problem.launch(for_dtype(plan.line, problem.q.dtype), part, line, matrices, &more.each_ref(), &[&result], &[])?;
        }
    }
    Ok((finish(OP, q, gq)?, finish(OP, k, gk)?, finish(OP, v, gv)?))
}

/// The gradients of f16 operands by kernels that read and write f16.
fn on_matrix_units(
    op: &'static str,
    of: [&Dense; 3],
    [out, lse, grad]: [&Dense; 3],
    operands: &[Operand; 3],
    options: &WindowAttention,
) -> Result<(Dense, Dense, Dense)> {
    let problem = Problem::new(operands.clone(), options)?;
    let (out, lse, grad) = (out.operand(), row_major(op, &lse.operand())?, grad.operand());
    let (stats, largest) = cooperative::stats(&out, &grad, &lse)?;
    let stats = Operand { buffer: stats, cols: 2, ..lse };
    let [grad, stats] = [grad, stats].map(|operand| problem.grouped(&operand));
    let [gq, gk, gv] = of.map(|of| Output::stored(op, of.device(), of.shape()));
    let [(gq, of_q), (gk, of_k), (gv, of_v)] = [gq?, gk?, gv?];
    let of_gq = problem.grouped(&gq.operand);
    for part in problem.whole(op, &[&grad, &stats, &of_gq, &gk.operand, &gv.operand])? {
        let [grad, stats, dq] = [&grad, &stats, &of_gq].map(|operand| part.rows_of(operand));
        let [dk, dv] = [&gk.operand, &gv.operand].map(|operand| part.keys_of(operand));
        cooperative::backward(&problem, &part, &[&grad, &stats, &largest], [&dq, &dk, &dv])?;
    }
    Ok((Dense::from_buffer(of_q, gq.finish()?), Dense::from_buffer(of_k, gk.finish()?), Dense::from_buffer(of_v, gv.finish()?)))
}

/// Which kernels compute a gradient: that of the windows, and that of global lines.
struct Plan {
    /// Which gradient: of q, k or v.
    of: usize,
    lines: Lines,
    kernel: &'static Stored,
    line: &'static Stored,
}

fn plan(_device: &Device, _problem: &Problem) -> [Plan; 3] {
    [
        Plan { of: 0, lines: Lines::Queries, kernel: &Q, line: &Q_LINE },
        Plan { of: 1, lines: Lines::Keys, kernel: &K, line: &K_LINE },
        Plan { of: 2, lines: Lines::Keys, kernel: &V, line: &V_LINE },
    ]
}

/// Σ out · grad of each row.
fn delta(out: &Operand, grad: &Operand) -> Result<Buffer> {
    let device = out.device();
    let rows = out.batch * out.rows;
    let delta = device.alloc(rows * 4)?;
    // A part starts where a binding may.
    let limit = device.max_binding().min(crate::operand::MAX_LEN);
    let part = (limit / (out.cols * 4) / 64 * 64).max(64);
    for start in (0..rows).step_by(part) {
        let count = part.min(rows - start);
        let view =
            |buffer: &Buffer, dtype: Dtype, width: usize| buffer.view(start * width * dtype.bytes(), dtype.buffer_bytes(count * width));
        device.launch(&Launch {
            kernel: for_dtype(&DELTA, out.dtype),
            params: bytemuck::bytes_of(&DeltaParams { rows: count as u32, depth: out.cols as u32 }),
            inputs: &[&view(&out.buffer, out.dtype, out.cols), &view(&grad.buffer, grad.dtype, out.cols)],
            outputs: &[&view(&delta, Dtype::F32, 1)],
            groups: count.div_ceil(8) as u64,
            constants: &[],
            function: None,
        })?;
    }
    Ok(delta)
}

/// A gradient being made, row-major.
fn gradient(op: &'static str, of: &Dense) -> Result<Output> {
    Ok(Output::dense(op, of.device(), of.shape().layout(Layout::Rows))?.0)
}

/// The gradient in its operand's layout and storage type.
fn finish(op: &'static str, of: &Dense, made: Output) -> Result<Dense> {
    if of.shape().layout == Layout::Rows {
        return Ok(Dense::from_buffer(of.shape(), made.finish()?));
    }
    let (output, shape) = Output::dense(op, of.device(), of.shape())?;
    banded_move::run(op, &made.operand, &output.operand, [0, 0], 0.0)?;
    Ok(Dense::from_buffer(shape, output.finish()?))
}
