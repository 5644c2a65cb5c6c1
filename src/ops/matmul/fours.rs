//! Whole products of two bands through wgpu where everything lies in fours: `shaders/matmul.fours.wgsl`.

use super::plan::{Plan, bits_in_fours};
use crate::operand::Operand;
use crate::{Layout, Semiring};

kernels_by_four! {
    [
        "../../../shaders/matmul.fours.wgsl",
        "../../../shaders/shared/matmul_fours_step.wgsl",
        "../../../shaders/shared/matmul_fours_scales.wgsl"
    ]
    SUM "matmul.fours.sum" "../../../shaders/shared/semiring_sum.wgsl" sum;
    LOG "matmul.fours.log" "../../../shaders/shared/semiring_log.wgsl" log;
    MAX "matmul.fours.max" "../../../shaders/shared/semiring_max.wgsl" max;
    PRODMAX "matmul.fours.prodmax" "../../../shaders/shared/semiring_prodmax.wgsl" prodmax;
}

/// The plan, if everything lies in fours: both bands' rows have a multiple of four values and one more, so that matrices with a
/// multiple of four values have a multiple of four rows, and 4 rows of C begin where a four does. Rows of B then do, too, if as
/// many p are left out before the first.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<Plan> {
    let (kernel, scales) = match ring {
        Semiring::Sum => (&SUM, false),
        Semiring::Log | Semiring::Sample { .. } => (&LOG, true),
        Semiring::Max => (&MAX, false),
        Semiring::ProdMax => (&PRODMAX, false),
    };
    let fours = |band: &Operand| {
        let stride = (band.lower + band.upper) as usize;
        (band.layout == Layout::Rows && stride.is_multiple_of(4) && (4..=512).contains(&stride)).then_some(stride / 4)
    };
    let (a_fours, b_fours) = (fours(a)?, fours(b)?);
    let sum = matches!(ring, Semiring::Sum);
    // The scales of wide bands would take more memory than a workgroup has.
    if a.lower % 4 != 0 || scales && a_fours.max(b_fours) > 8 {
        return None;
    }
    // Lanes share all fours of a row of B, and the same one has the first and the last four of a row of C.
    let slots = if sum && b_fours > 32 { 4 } else { 3 };
    let shared = |lanes: &usize| a_fours.is_multiple_of(*lanes) && b_fours.is_multiple_of(*lanes) && b_fours / lanes <= slots;
    let lanes = match b_fours {
        0..=4 => [4, 2].into_iter().find(shared)?,
        // More invocations for what has exponentials to take.
        5..=8 if scales => [8, 4, 2].into_iter().find(shared)?,
        5..=8 => [4, 2].into_iter().find(shared)?,
        _ => [8, 16, 32, 64].into_iter().find(shared)?,
    };
    // Where an invocation has four fours, its sums leave room for few subgroups, which would wait for each step's operands.
    let ahead = b_fours / lanes == 4;
    let rows = match b_fours {
        0..=4 => 128 / lanes,
        5..=8 if lanes == 8 => 64,
        5..=8 => 128,
        _ if ahead => 512 / lanes,
        _ if lanes < 64 => 1024 / lanes,
        // All but Sum look at everything first: the more rows, the less often at the same of B.
        _ if a.device().workgroup_size() >= 512 => 32,
        _ => 16,
    };
    // What takes scales looks at everything for them. Sum need not, but where rows are short it gains by asking for all at once.
    let looks = !scales && (!sum || b_fours <= 4);
    let long = b_fours > 8;
    let constants = [
        ("ROWS", rows),
        ("LANES", lanes),
        ("SLOTS", b_fours / lanes),
        ("LOOKS", usize::from(looks)),
        ("FINITE", usize::from(looks && sum)),
        ("LONG", usize::from(long)),
        ("AHEAD", usize::from(ahead)),
        ("SCALES", usize::from(scales)),
    ];
    let mut constants = constants.map(|(name, value)| (name, value as f64)).to_vec();
    constants.extend((long || scales).then_some(("A_FOURS", a_fours as f64)));
    constants.extend(bits_in_fours([a, b]).filter(|_| long));
    Some(Plan { tiles: c.rows.div_ceil(rows) as u32, kernel, constants, takes_scales: false })
}
