//! Whole products of two wide bands in f32 on matrix units through wgpu: `shaders/matmul.cooperative.halves.wgsl`.

use super::plan::Plan;
use super::{Params, SHARED};
use crate::kernel::Kernel;
use crate::operand::Operand;
use crate::{Layout, Semiring, cpu};

pub(crate) static KERNEL: Kernel = Kernel {
    name: "matmul.cooperative.halves",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.halves.wgsl"), SHARED[0], SHARED[1]],
    ptx: &[],
    cpu: cpu::matmul::sum,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

/// Rows of a workgroup.
const ROWS: usize = 64;

/// The plan, if an adapter has matrix units, everything lies in fours as in [`super::fours`], and a row of B is a whole number of
/// tiles of 16 columns and one value more: seven tiles at least, since bands of 65 diagonals gain nothing, and nine at most, as the
/// registers hold.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<Plan> {
    let rows = |band: &Operand| band.layout == Layout::Rows && band.stride() >= 96;
    let fits = rows(a) && a.stride() % 4 == 0 && a.lower % 4 == 0 && rows(b) && b.stride() % 16 == 0 && b.stride() <= 128;
    let suits = ring == Semiring::Sum && fits && a.rows.min(b.rows) >= 16 && a.device().has_matrix_units();
    suits.then(|| Plan {
        tiles: c.rows.div_ceil(ROWS) as u32,
        kernel: &KERNEL,
        constants: vec![("TILES", f64::from(b.stride() / 16 + 1))],
        takes_scales: false,
    })
}
