//! Sampled products of f16 batches, on CUDA bf16 too, on matrix units. Sums are f32, by the matrix unit's own order and
//! rounding: within 4 times the bound of a sum in f32. A result in halves is rounded once more, at the end.

use super::{Plan, SCALAR, SHARED};
use crate::kernel::{Kernel, ptx};
use crate::operand::Operand;
use crate::ops::common::on_matrix_units;
use crate::ops::tokens::Tokens;
use crate::{BlockPattern, Dtype, Layout};

/// Writes the result, in the operands' storage type.
pub(crate) static KERNEL: Kernel = Kernel {
    name: "block_sddmm.cooperative",
    wgsl: &[
        include_str!("../../../shaders/block_sddmm.cooperative.wgsl"),
        include_str!("../../../shaders/shared/sddmm_halves.wgsl"),
        SHARED[0],
        SHARED[1],
    ],
    ptx: ptx!("block_sddmm.cooperative.sm_80"),
    ..SCALAR
};

/// Writes sums of parts of the tokens, or adds to what is there, in f32.
pub(crate) static SUMS: Kernel = Kernel {
    name: "block_sddmm.cooperative.sums",
    wgsl: &[
        include_str!("../../../shaders/block_sddmm.cooperative.wgsl"),
        include_str!("../../../shaders/shared/sddmm_sums.wgsl"),
        SHARED[0],
        SHARED[1],
    ],
    ..KERNEL
};

/// Whether these are batches of halves, contiguous along features, and blocks of whole pieces that the kernels take. Where
/// features are a multiple of 8, eight of them are inside the matrix or beyond it together.
pub(crate) fn suits(a: &Operand, b: &Operand, pattern: &BlockPattern, result: Dtype) -> bool {
    let along = a.layout == Layout::Rows && b.layout == Layout::Rows;
    let pieces = pattern.block().iter().all(|side| side.is_multiple_of(16)) && a.cols.is_multiple_of(8) && b.cols.is_multiple_of(8);
    let units = on_matrix_units(a.device(), &[a.dtype, b.dtype, result]);
    units && along && pieces && a.batch * a.rows >= 64 && !pattern.is_empty()
}

/// Workgroups that fill a large GPU, which has two or three at once on each of its 130 multiprocessors.
const FULL: usize = 512;

pub(super) fn plan(a: &Tokens, pattern: &BlockPattern, alone: bool, dtype: Dtype) -> Plan {
    let height = pattern.block()[0];
    let [rows, places] = if a.buffer.device.is_cuda() { cuda_tile(height) } else { tile(height) };
    let mut plan = Plan::tiled(a, pattern, alone, [rows, places], [FULL, 8]);
    plan.kernel = if alone && plan.parts == 1 { &KERNEL } else { &SUMS };
    plan.writes = if alone && plan.parts == 1 { dtype } else { Dtype::F32 };
    plan.constants = vec![("ROWS", rows as f64)];
    if a.buffer.device.is_cuda() {
        plan.constants.push(("BRAIN", f64::from(u8::from(dtype == Dtype::Bf16))));
    }
    plan
}

/// The most rows of a tile that few of are wasted.
fn rows(height: usize, choice: &[usize]) -> usize {
    let wasteful = |rows: usize| height.div_ceil(rows) * rows * 3 > height * 4;
    choice.iter().copied().find(|rows| !wasteful(*rows)).unwrap_or(16)
}

/// Rows and places of a tile on CUDA.
fn cuda_tile(height: usize) -> [usize; 2] {
    let rows = rows(height, &[128, 64, 32]);
    [rows, if rows == 128 { 128 } else { 256 }]
}

/// Rows and places of a tile: up to 32 × 64 for each of four subgroups.
fn tile(height: usize) -> [usize; 2] {
    let rows = rows(height, &[64, 32]);
    [rows, if rows == 64 { 128 } else { 256 }]
}
