//! Whole products of two wide bands in f32 on matrix units through wgpu: `shaders/matmul.cooperative.halves.wgsl`, and
//! `shaders/matmul.cooperative.halves.tiles.wgsl` where B's rows are too long for that.

use super::plan::Plan;
use super::{Params, SHARED};
use crate::kernel::Kernel;
use crate::operand::Operand;
use crate::{Layout, Semiring, cpu};

const SPLIT: &str = include_str!("../../../shaders/shared/matmul_halves.wgsl");

/// The window goes along.
pub(crate) static KERNEL: Kernel = Kernel {
    name: "matmul.cooperative.halves",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.halves.wgsl"), SPLIT, SHARED[0], SHARED[1]],
    ptx: &[],
    cpu: cpu::matmul::sum,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

/// Tiles of C stand still.
pub(crate) static TILES: Kernel = Kernel {
    name: "matmul.cooperative.halves.tiles",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.halves.tiles.wgsl"), SPLIT, SHARED[0], SHARED[1]],
    ..KERNEL
};

/// Rows of a workgroup, and columns of a tile.
const ROWS: usize = 64;
const COLUMNS: usize = 128;

/// The plan, if an adapter has matrix units, and everything lies in fours as in [`super::fours`]. A window goes along where a row of B
/// is a whole number of tiles of 16 columns and one value more: seven tiles at least, since bands of 65 diagonals gain nothing, and nine
/// at most, as the registers hold.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<Plan> {
    let fours = |band: &Operand| band.layout == Layout::Rows && band.stride() >= 96 && band.stride() % 4 == 0;
    let fits = fours(a) && a.lower % 4 == 0 && fours(b) && a.rows.min(b.rows) >= 16;
    if ring != Semiring::Sum || !fits || !a.device().has_matrix_units() {
        return None;
    }
    let row_tiles = c.rows.div_ceil(ROWS);
    if b.stride() <= 128 {
        let constants = vec![("TILES", f64::from(b.stride() / 16 + 1))];
        let whole = b.stride() % 16 == 0;
        return whole.then(|| Plan { tiles: row_tiles as u32, kernel: &KERNEL, constants, takes_scales: false });
    }
    let windows = ((c.lower + c.upper) as usize + ROWS).div_ceil(COLUMNS);
    Some(Plan { tiles: (row_tiles * windows) as u32, kernel: &TILES, constants: vec![], takes_scales: false })
}
