//! Products of two wide bands over `Sum` on Hopper's matrix units: when, and cut how. See `shaders/shared/matmul_hopper.cuh`.

use super::plan::{Constants, is_whole};
use crate::Layout;
use crate::operand::Operand;

/// Rows of C that a warpgroup has at a time, columns of its window, and how many warpgroups of a block multiply.
const ROWS: usize = 64;
const WINDOW: usize = 144;
const TEAMS: usize = 3;

/// Blocks for one matrix, and the entry's constants.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand) -> Option<(u32, Constants)> {
    let bands = !(a.dense || b.dense || c.dense);
    if !a.device().has_warpgroups() || !bands || b.layout != Layout::Rows {
        return None;
    }
    let entry = |slide: f64| vec![("COLUMNS", (WINDOW / 8) as f64), ("SLIDE", slide), ("ALIGNED", f64::from(u8::from(aligned(a, b, c))))];
    // Bands that fill a window well that slides.
    let fills = |band: &Operand| (96..=128).contains(&band.stride());
    if is_whole(a, b, c) && fills(a) && fills(b) {
        return Some((blocks_of_strips(c) as u32, entry(3.0)));
    }
    // Wider ones fill windows that stand still.
    let wide = |band: &Operand| band.stride() >= WINDOW as i32;
    if wide(a) && wide(b) && wide(c) && aligned(a, b, c) {
        let columns = (c.stride() as usize + TEAMS * ROWS).div_ceil(WINDOW);
        return Some(((c.rows.div_ceil(TEAMS * ROWS) * columns) as u32, entry(6.0)));
    }
    None
}

/// Whether operands can be read four values at a time, and C written so: each block's begin where it does.
fn aligned(a: &Operand, b: &Operand, c: &Operand) -> bool {
    let fours = |band: &Operand| band.stride() % 4 == 0 && band.len().is_multiple_of(4) && band.buffer.offset.is_multiple_of(16);
    [a, b, c].into_iter().all(|band| band.layout == Layout::Rows && fours(band)) && a.lower % 4 == 0
}

/// How many blocks a matrix has. Along its strips a block goes four slabs for each, and eight more to come in and out; a
/// multiprocessor has one block at a time.
fn blocks_of_strips(c: &Operand) -> usize {
    let strips = c.rows.div_ceil(ROWS);
    let processors = c.device().processors().unwrap_or(1) as usize;
    let blocks = |own: usize| strips.div_ceil(own);
    let time = |own: &usize| (c.batch * blocks(*own)).div_ceil(processors) * (4 * own + 8);
    (1..=strips.min(512)).min_by_key(time).map_or(strips, blocks)
}
