//! Products of f16 operands, on CUDA of bf16 too, on matrix units: dense · denseᵀ onto a band (the window product), and band ·
//! dense ("unwindow"), where the dense rows are whole pieces of 16 columns. Sums are f32, by the matrix
//! unit's own order and rounding: within 4 times the bound of a sum in f32.

use super::{Params, SHARED, params};
use crate::device::Launch;
use crate::kernel::{Kernel, ptx};
use crate::operand::Operand;
use crate::ops::common::{Output, fit, on_matrix_units, parts};
use crate::{Banded, BandedShape, Dense, DenseShape, Dtype, Layout, Result, Semiring, cpu};

pub(crate) static BAND: Kernel = Kernel {
    name: "matmul.cooperative.band",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.band.wgsl"), SHARED[0], SHARED[1]],
    ptx: ptx!("matmul.cooperative.band.sm_80"),
    cpu: cpu::matmul::sum,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

/// The shared files that bring a band's pieces: one entry at a time, and four.
const PIECES: [&str; 2] =
    [include_str!("../../../shaders/shared/pieces_by_entry.wgsl"), include_str!("../../../shaders/shared/pieces_by_four.wgsl")];

/// A's entries are read one at a time.
pub(crate) static DENSE: Kernel = Kernel {
    name: "matmul.cooperative.dense",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.dense.wgsl"), SHARED[0], SHARED[1], PIECES[0]],
    ptx: ptx!("matmul.cooperative.dense.sm_80"),
    ..BAND
};

/// Four at a time. On CUDA one kernel does both.
pub(crate) static DENSE_FOURS: Kernel = Kernel {
    name: "matmul.cooperative.dense.fours",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.dense.wgsl"), SHARED[0], SHARED[1], PIECES[1]],
    ptx: &[],
    ..DENSE
};

/// Rows of a workgroup.
const LINES: usize = 64;

/// Whether rows are whole pieces of 16 columns, few enough to be held in registers.
fn in_pieces(columns: usize) -> bool {
    columns.is_multiple_of(16) && (16..=128).contains(&columns)
}

fn on_units(a: &Operand, b: &Operand, ring: Semiring) -> bool {
    on_matrix_units(a.device(), &[a.dtype, b.dtype]) && ring == Semiring::Sum && a.rows >= 16 && fit(&[a, b])
}

/// Q·Kᵀ, both stored row by row, onto a band in rows layout.
pub(crate) fn suits_band(a: &Operand, b: &Operand, ring: Semiring, layout: Layout) -> bool {
    let stored = a.layout == Layout::Rows && b.layout == Layout::Columns && layout == Layout::Rows;
    on_units(a, b, ring) && a.dense && b.dense && stored && in_pieces(a.cols)
}

/// A band times a dense matrix stored row by row.
pub(crate) fn suits_dense(a: &Operand, b: &Operand, ring: Semiring) -> bool {
    on_units(a, b, ring) && !a.dense && b.dense && b.layout == Layout::Rows && in_pieces(b.cols)
}

pub(crate) fn onto_band(op: &'static str, a: &Operand, b: &Operand, shape: BandedShape) -> Result<Banded> {
    let output = Output::stored_banded(op, a.device(), shape)?;
    launch(op, &BAND, a, b, &output.operand, a.cols)?;
    Ok(Banded::from_buffer(shape, output.finish()?))
}

pub(crate) fn onto_dense(op: &'static str, a: &Operand, b: &Operand, shape: DenseShape) -> Result<Dense> {
    let (output, shape) = Output::stored(op, a.device(), shape)?;
    let kernel = if !a.device().is_cuda() && fours(a) { &DENSE_FOURS } else { &DENSE };
    launch(op, kernel, a, b, &output.operand, b.cols)?;
    Ok(Dense::from_buffer(shape, output.finish()?))
}

/// Whether every four entries side by side in a band that begin at a multiple of four rows or columns do so in memory.
fn fours(a: &Operand) -> bool {
    let (origin, lines) = if a.layout == Layout::Columns { (a.upper, a.rows) } else { (a.lower, 0) };
    [origin, a.stride(), a.len() as i32, lines as i32].iter().all(|n| n % 4 == 0)
}

fn launch(op: &'static str, kernel: &'static Kernel, a: &Operand, b: &Operand, c: &Operand, columns: usize) -> Result<()> {
    let flag = |name, yes| (name, f64::from(u8::from(yes)));
    let mut constants = vec![("TILES", (columns / 16) as f64)];
    constants.extend((!a.dense).then(|| flag("ACROSS", a.layout == Layout::Columns)));
    if a.device().is_cuda() {
        constants.push(flag("BRAIN", a.dtype == Dtype::Bf16));
    }
    for part in parts(op, &[a, b, c])? {
        let (a, b, c) = (a.slice(part.clone()), b.slice(part.clone()), c.slice(part));
        let tiles = a.rows.div_ceil(LINES);
        a.device().launch(&Launch {
            kernel,
            params: bytemuck::bytes_of(&Params { tiles: tiles as u32, ..params(&a, &b, &c) }),
            inputs: &[&a.buffer, &b.buffer],
            outputs: &[&c.buffer],
            groups: (a.batch * tiles) as u64,
            constants: &constants,
            function: None,
        })?;
    }
    Ok(())
}
