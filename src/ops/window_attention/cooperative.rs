//! Windowed attention on matrix units: f16 operands whose rows are whole pieces of 16 columns.
//!
//! Scores and sums are f32. Probabilities relative to a lagging maximum, and the slopes of scores, are
//! rounded to f16 once before they enter a product, so a result carries an error of at most 2⁻¹¹ · Σ |term|
//! beside that of f32 sums and of its own rounding.

use super::{OPERANDS_OF_UNITS, PARAMS, Params, Part, Problem};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, params, ptx};
use crate::operand::{MAX_LEN, Operand};
use crate::ops::matmul;
use crate::{Dtype, Layout, Result, WindowAttention, cpu};

params! {
    /// What the kernel of row sums gets.
    StatsParams { rows: u32, row: u32 }
}

pub(crate) static FORWARD: Kernel = Kernel {
    name: "window_attention.cooperative",
    wgsl: &[include_str!("../../../shaders/window_attention.cooperative.wgsl"), OPERANDS_OF_UNITS, PARAMS, matmul::SHARED[1]],
    ptx: ptx!("window_attention.cooperative.sm_80", "window_attention.cooperative.sm_90a"),
    cpu: cpu::window_attention::run,
    params: Params::FIELDS,
    inputs: 4,
    outputs: 2,
};

const GRADIENT: &str = include_str!("../../../shaders/shared/window_cooperative_gradient.wgsl");

pub(crate) static STATS: Kernel = Kernel {
    name: "window_attention_backward.cooperative.stats",
    wgsl: &[include_str!("../../../shaders/window_attention_backward.cooperative.stats.wgsl"), matmul::SHARED[1]],
    ptx: ptx!("window_attention_backward.cooperative.sm_80", "window_attention_backward.cooperative.sm_90a"),
    cpu: cpu::window_attention_backward::delta,
    params: StatsParams::FIELDS,
    inputs: 3,
    outputs: 2,
};

pub(crate) static Q: Kernel = Kernel {
    name: "window_attention_backward.cooperative.q",
    wgsl: &[
        include_str!("../../../shaders/window_attention_backward.cooperative.q.wgsl"),
        OPERANDS_OF_UNITS,
        GRADIENT,
        PARAMS,
        matmul::SHARED[1],
    ],
    ptx: ptx!("window_attention_backward.cooperative.sm_80", "window_attention_backward.cooperative.sm_90a"),
    cpu: cpu::window_attention_backward::q,
    params: Params::FIELDS,
    inputs: 7,
    outputs: 1,
};

pub(crate) static KV: Kernel = Kernel {
    name: "window_attention_backward.cooperative.kv",
    wgsl: &[
        include_str!("../../../shaders/window_attention_backward.cooperative.kv.wgsl"),
        OPERANDS_OF_UNITS,
        GRADIENT,
        PARAMS,
        matmul::SHARED[1],
    ],
    ptx: ptx!("window_attention_backward.cooperative.sm_80", "window_attention_backward.cooperative.sm_90a"),
    cpu: cpu::window_attention_backward::k,
    outputs: 2,
    ..Q
};

/// The most columns of queries, keys and values that the kernels hold in registers.
pub(crate) const FORWARD_COLUMNS: usize = 128;
pub(crate) const BACKWARD_COLUMNS: usize = 64;

/// Subgroups of a workgroup, 16 lines each: as many as workgroup memory lets run at once.
const FORWARD_SUBGROUPS: u32 = 8;
const BACKWARD_SUBGROUPS: u32 = 4;
/// On CUDA, where a subgroup has 32 queries in the gradient of Q.
const CUDA_SUBGROUPS_OF_Q: u32 = 8;

/// Whether these operands and options are what the kernels take.
pub(crate) fn suits([q, k, v]: &[Operand; 3], options: &WindowAttention, most_columns: usize) -> bool {
    let plain = options.dilation == 1 && options.global.is_empty();
    let stored = [q, k, v].iter().all(|operand| operand.dtype == Dtype::F16 && operand.layout == Layout::Rows);
    let columns = q.cols == v.cols && q.cols % 16 == 0 && (16..=most_columns).contains(&q.cols);
    // A matrix that must be cut into rows is left to the portable kernels.
    let limit = q.device().max_binding().min(4 * MAX_LEN) / 4;
    let whole = (q.len() * options.heads / options.kv_heads).max(k.len()).max(v.len()) <= limit;
    q.device().has_matrix_units() && whole && plain && stored && columns && q.rows >= 16 && k.rows >= 16
}

/// The result and logsumexp of a part of the matrices of keys.
pub(crate) fn forward(problem: &Problem, part: &Part, outputs: &[&Buffer]) -> Result<()> {
    let params = problem.params(part);
    launch(problem, part, &FORWARD, FORWARD_SUBGROUPS, (params.batch, params.rows), &[], outputs)
}

/// The gradients of a part: `more` is the result's gradient, the sums of its rows, and the largest.
pub(crate) fn backward(problem: &Problem, part: &Part, more: &[&Buffer], [dq, dk, dv]: [&Buffer; 3]) -> Result<()> {
    let params = problem.params(part);
    let subgroups = if problem.q.device().is_cuda() { CUDA_SUBGROUPS_OF_Q } else { BACKWARD_SUBGROUPS };
    launch(problem, part, &Q, subgroups, (params.batch, params.rows), more, &[dq])?;
    launch(problem, part, &KV, BACKWARD_SUBGROUPS, (part.matrices.len() as u32, params.keys), more, &[dk, dv])
}

fn launch(
    problem: &Problem,
    part: &Part,
    kernel: &'static Kernel,
    subgroups: u32,
    (matrices, lines): (u32, i32),
    more: &[&Buffer],
    outputs: &[&Buffer],
) -> Result<()> {
    let params = problem.params(part);
    let constants = [("TILES", f64::from(params.depth / 16)), ("SUBGROUPS", f64::from(subgroups))];
    let tiles = (lines as u32).div_ceil(16 * subgroups);
    problem.launch(kernel, part, Params { tiles, ..params }, matrices, more, outputs, &constants)
}

/// For each row of the result the logsumexp in powers of two and Σ out · grad, and over all of them the
/// largest gradient.
pub(crate) fn stats(out: &Operand, grad: &Operand, lse: &Operand) -> Result<(Buffer, Buffer)> {
    let device = out.device();
    let rows = out.batch * out.rows;
    let stats = device.alloc(rows * 8)?;
    let largest = device.alloc(4)?;
    device.write(&largest, &[0; 4])?;
    // Rows of a workgroup; the entry for CUDA has their number in its name.
    let (own, constants): (usize, &[_]) = if device.is_cuda() { (64, &[("ROWS", 64.0)]) } else { (8, &[]) };
    // A part starts where a binding may.
    let limit = device.max_binding().min(crate::operand::MAX_LEN);
    let part = (limit / (out.cols * 2) / 64 * 64).max(64);
    for start in (0..rows).step_by(part) {
        let count = part.min(rows - start);
        let view = |buffer: &Buffer, bytes: usize| buffer.view(start * bytes, count * bytes);
        device.launch(&Launch {
            kernel: &STATS,
            params: bytemuck::bytes_of(&StatsParams { rows: count as u32, row: out.cols as u32 / 4 }),
            inputs: &[&view(&out.buffer, out.cols * 2), &view(&grad.buffer, out.cols * 2), &view(&lse.buffer, 4)],
            outputs: &[&view(&stats, 8), &largest],
            groups: count.div_ceil(own) as u64,
            constants,
            function: None,
        })?;
    }
    Ok((stats, largest))
}
