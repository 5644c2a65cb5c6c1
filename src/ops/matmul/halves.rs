//! Products of two wide bands onto one in f32 on matrix units through wgpu: `shaders/matmul.cooperative.halves.wgsl`, and
//! `shaders/matmul.cooperative.halves.tiles.wgsl` where B's rows are too long for that, or C holds a part.

use super::plan::{Plan, bits_in_fours, is_whole};
use super::{Params, SHARED};
use crate::kernel::Kernel;
use crate::operand::Operand;
use crate::{Dtype, Layout, Semiring, cpu};

const SPLIT: &str = include_str!("../../../shaders/shared/matmul_halves.wgsl");
const VEC4: &str = include_str!("../../../shaders/shared/matmul_halves_vec4.wgsl");
const SCALAR: &str = include_str!("../../../shaders/shared/matmul_halves_scalar.wgsl");
const TILES_TEXT: &str = include_str!("../../../shaders/matmul.cooperative.halves.tiles.wgsl");

/// The window goes along.
pub(crate) static KERNEL: Kernel = Kernel {
    name: "matmul.cooperative.halves",
    wgsl: &[include_str!("../../../shaders/matmul.cooperative.halves.wgsl"), SPLIT, VEC4, SHARED[0], SHARED[1]],
    ptx: &[],
    cpu: cpu::matmul::sum,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

/// Tiles of C stand still.
pub(crate) static TILES: Kernel =
    Kernel { name: "matmul.cooperative.halves.tiles", wgsl: &[TILES_TEXT, SPLIT, VEC4, SHARED[0], SHARED[1]], ..KERNEL };

/// The same where values don't lie in fours.
pub(crate) static TILES_SCALAR: Kernel =
    Kernel { name: "matmul.cooperative.halves.tiles.scalar", wgsl: &[TILES_TEXT, SPLIT, SCALAR, SHARED[0], SHARED[1]], ..KERNEL };

/// Rows of a workgroup, and columns of a tile.
const ROWS: usize = 64;
const COLUMNS: usize = 128;

/// The plan for a product of two bands onto one, if an adapter has matrix units. A window goes along where C holds the whole product,
/// all lies in fours as in [`super::fours`], and a row of B is a whole number of tiles of 16 columns and one value more: seven tiles at
/// least, since bands of 65 diagonals gain nothing, and nine at most, as the registers hold.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<Plan> {
    let wide = |band: &Operand| !band.dense && band.dtype == Dtype::F32 && band.stride() >= 96;
    let suits = ring == Semiring::Sum && [a, b, c].into_iter().all(wide) && a.rows.min(b.rows) >= 16;
    // Many results of graded matrices are too small for halves, and would be computed twice.
    let suits = suits && ![a, b].into_iter().any(|operand| operand.buffer.is_graded());
    let device = a.device();
    // Stages take up to 23 KB.
    let able = device.has_matrix_units() && !device.is_cuda() && device.workgroup_memory() >= 24 << 10;
    if !suits || !able {
        return None;
    }
    let across = |band: &Operand| band.layout == Layout::Columns;
    let by_four = in_fours(a, b, c);
    let row_tiles = c.rows.div_ceil(ROWS);
    if is_whole(a, b, c) && b.stride() <= 128 {
        let mut constants = vec![("TILES", f64::from(b.stride() / 16 + 1))];
        constants.extend(bits_in_fours([a, b]));
        // A workgroup's entries, 64 times a row of C and 64 more, are numbered in f32.
        let slides = by_four && !across(a) && !across(b) && b.stride() % 16 == 0 && a.stride() < 1 << 17;
        return slides.then_some(Plan { tiles: row_tiles as u32, kernel: &KERNEL, constants, takes_scales: false });
    }
    let windows = ((c.lower + c.upper) as usize + ROWS).div_ceil(COLUMNS);
    let kernel = if by_four { &TILES } else { &TILES_SCALAR };
    let constants = [("A_ACROSS", a), ("B_ACROSS", b)].map(|(name, band)| (name, f64::from(u8::from(across(band)))));
    Some(Plan { tiles: (row_tiles * windows) as u32, kernel, constants: constants.to_vec(), takes_scales: false })
}

/// Whether four values that a tile takes begin where four are stored, of all three: each line of a matrix begins a multiple of four
/// values after another, but for a step along the diagonal, and so do matrices; and so does the first of a tile.
fn in_fours(a: &Operand, b: &Operand, c: &Operand) -> bool {
    let lines = |band: &Operand| band.stride() % 4 == 0 && band.len().is_multiple_of(4);
    let first_of_a = if a.layout == Layout::Rows { 0 } else { a.upper };
    let first_of_b = if b.layout == Layout::Rows { b.lower - c.lower } else { b.upper - a.lower };
    [a, b, c].into_iter().all(lines) && first_of_a % 4 == 0 && first_of_b % 4 == 0
}
