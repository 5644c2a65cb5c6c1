//! Whole products of two narrow bands through wgpu: `shaders/matmul.narrow.wgsl`, which brings all that a workgroup needs
//! at once.

use super::plan::{Constants, Plan};
use crate::Semiring;
use crate::operand::Operand;

kernels_by_four! {
    ["../../../shaders/matmul.narrow.wgsl"]
    SUM "matmul.narrow.sum" "../../../shaders/shared/semiring_sum.wgsl" sum;
    LOG "matmul.narrow.log" "../../../shaders/shared/semiring_log.wgsl" log;
    MAX "matmul.narrow.max" "../../../shaders/shared/semiring_max.wgsl" max;
    PRODMAX "matmul.narrow.prodmax" "../../../shaders/shared/semiring_prodmax.wgsl" prodmax;
}

/// The plan, if the bands are narrow enough for this device. A workgroup has 64 rows.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<Plan> {
    let (kernel, scales) = match ring {
        Semiring::Sum => (&SUM, false),
        Semiring::Log | Semiring::Sample { .. } => (&LOG, true),
        Semiring::Max => (&MAX, false),
        Semiring::ProdMax => (&PRODMAX, false),
    };
    let constants = constants(a, b, scales)?;
    Some(Plan { tiles: c.rows.div_ceil(64) as u32, kernel, constants, takes_scales: false })
}

fn constants(a: &Operand, b: &Operand, scales: bool) -> Option<Constants> {
    let device = a.device();
    let [a, b] = [a, b].map(|operand| (operand.lower + operand.upper) as usize + 1);
    let (diagonals, lanes) = [(17, 8), (33, 16)].into_iter().find(|(diagonals, _)| a.max(b) <= *diagonals)?;
    // The wider class has stages of 22 KB and up to 2 KB of scales, where every device has 16 KB.
    if diagonals == 33 && device.workgroup_memory() < 24 << 10 {
        return None;
    }
    let columns = (b + lanes - 1).div_ceil(lanes);
    let constants = [
        ("LANES", lanes),
        ("COLUMNS", columns),
        ("INNER", b / lanes),
        ("PITCH", b | 1),
        ("SLOTS", diagonals + 3),
        ("SCALES", usize::from(scales)),
    ];
    Some(constants.map(|(name, value)| (name, value as f64)).to_vec())
}
