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
    if !a.device().has_warpgroups() || a.dense || b.dense || c.dense {
        return None;
    }
    let entry = |slide: f64, way: u8| vec![("COLUMNS", (WINDOW / 8) as f64), ("SLIDE", slide), ("OPERANDS", f64::from(way))];
    // Bands that fill a window well that slides.
    let fills = |band: &Operand| (96..=128).contains(&band.stride());
    if is_whole(a, b, c) && fills(a) && fills(b) && b.layout == Layout::Rows {
        return Some((blocks_of_strips(c) as u32, entry(3.0, u8::from(a.layout == Layout::Rows && standing(a, b, c) == Some(1)))));
    }
    // A wide band of C fills windows that stand still.
    let way = standing(a, b, c).filter(|_| c.stride() >= 256)?;
    let columns = (c.stride() as usize + TEAMS * ROWS).div_ceil(WINDOW);
    Some(((c.rows.div_ceil(TEAMS * ROWS) * columns) as u32, entry(7.0, way)))
}

/// How operands are read, four values at a time where they are side by side, and C written so: A and B in rows layout (1), B in columns
/// layout (2), or A, which is read one by one (3). Slabs begin where A's first row has values that are aligned, and windows
/// where C's has.
fn standing(a: &Operand, b: &Operand, c: &Operand) -> Option<u8> {
    let fours = |band: &Operand| band.stride() % 4 == 0 && band.len().is_multiple_of(4) && band.buffer.offset.is_multiple_of(16);
    // Of B's lines, and of the windows or slabs that they are read by, how far before the matrix's diagonal they begin.
    let (way, line, begins) = match (a.layout, b.layout) {
        (Layout::Rows, Layout::Rows) => (1, b.lower, c.lower),
        (Layout::Rows, Layout::Columns) => (2, b.upper, a.lower),
        (Layout::Columns, Layout::Rows) => (3, b.lower, c.lower),
        (Layout::Columns, Layout::Columns) => return None,
    };
    let fits = (way == 3 || fours(a)) && fours(b) && fours(c) && (line - begins) % 4 == 0;
    fits.then_some(way)
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
