//! Products of narrow bands onto a band that does not hold all of them, as gradients are, on CUDA:
//! `shaders/shared/matmul_narrow_cropped.cuh` and, for constant widths, `matmul_narrow_gradient.cuh`.

use super::plan::{Constants, is_whole};
use crate::operand::Operand;
use crate::{Layout, Semiring};

/// A block has 128 rows.
pub(super) fn tiles(c: &Operand) -> u32 {
    c.rows.div_ceil(128) as u32
}

/// The constants of the kernel, if it is for this product: C and one operand have at most 17 or 33 diagonals, the other one
/// at most 33 or 65.
pub(super) fn constants(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<Constants> {
    if !matches!(ring, Semiring::Sum) || a.dense || b.dense || c.dense || is_whole(a, b, c) {
        return None;
    }
    let (narrow, wide) = (a.stride().min(b.stride()).max(c.stride()), a.stride().max(b.stride()));
    let columns = [5, 9].into_iter().find(|columns| narrow < columns * 4 - 3 && wide < columns * 8 - 7)?;
    let columns_layout = |operand: &Operand| u8::from(operand.layout == Layout::Columns);
    let (slide, layouts) = match gradient(a, b, c, columns * 4 - 4) {
        Some(left) => (6.0, u8::from(left)),
        None => (5.0, columns_layout(a) + 2 * columns_layout(b)),
    };
    Some(vec![("COLUMNS", f64::from(columns)), ("SLIDE", slide), ("LAYOUTS", f64::from(layouts))])
}

/// Whether this is the gradient of a product of two bands with this stride each, and its lines can be moved four values at a time:
/// true if A is the wide operand, false if B is.
fn gradient(a: &Operand, b: &Operand, c: &Operand, stride: i32) -> Option<bool> {
    let is = |operand: &Operand, layout, stride| operand.layout == layout && operand.stride() == stride;
    let left = is(a, Layout::Rows, 2 * stride) && is(b, Layout::Columns, stride) && a.lower == c.lower + b.upper;
    let right = is(a, Layout::Columns, stride) && is(b, Layout::Rows, 2 * stride) && b.lower == c.lower + a.upper;
    // Blocks begin at multiples of 128 rows; what they have of the others' lines begins so far before.
    let before = if left { c.lower } else { a.lower };
    let fours = |operand: &Operand| operand.len().is_multiple_of(4) && operand.buffer.offset.is_multiple_of(16);
    ((left || right) && c.stride() == stride && before % 4 == 0 && [a, b, c].into_iter().all(fours)).then_some(left)
}
