//! Whole products of two narrow bands through wgpu: `shaders/matmul.narrow.wgsl`, which brings all that a workgroup needs
//! at once, and `shaders/matmul.narrow.fours.wgsl` where everything lies in fours.

use super::plan::{Constants, is_whole};
use super::{Params, SHARED};
use crate::cpu;
use crate::kernel::Kernel;
use crate::operand::Operand;
use crate::{Dtype, Layout, Semiring};

/// A kernel of one semiring.
macro_rules! narrow_kernel {
    ($name:ident $text:literal [$own:literal $($scales:literal)?] $semiring:literal $cpu:ident) => {
        pub(crate) static $name: Kernel = Kernel {
            name: $text,
            wgsl: &[
                include_str!($own),
                SHARED[0],
                SHARED[1],
                include_str!("../../../shaders/shared/matmul_narrow.wgsl"),
                $(include_str!($scales),)?
                include_str!($semiring),
            ],
            ptx: &[],
            cpu: cpu::matmul::$cpu,
            params: Params::FIELDS,
            inputs: 2,
            outputs: 1,
        };
    };
}

narrow_kernel! { SUM "matmul.narrow.sum" ["../../../shaders/matmul.narrow.wgsl"] "../../../shaders/shared/semiring_sum.wgsl" sum }
narrow_kernel! { LOG "matmul.narrow.log" ["../../../shaders/matmul.narrow.wgsl"] "../../../shaders/shared/semiring_log.wgsl" log }
narrow_kernel! { MAX "matmul.narrow.max" ["../../../shaders/matmul.narrow.wgsl"] "../../../shaders/shared/semiring_max.wgsl" max }
narrow_kernel! { PRODMAX "matmul.narrow.prodmax" ["../../../shaders/matmul.narrow.wgsl"] "../../../shaders/shared/semiring_prodmax.wgsl" prodmax }
narrow_kernel! {
    FOURS_SUM "matmul.narrow.fours.sum"
    ["../../../shaders/matmul.narrow.fours.wgsl" "../../../shaders/shared/matmul_narrow_scales.wgsl"]
    "../../../shaders/shared/semiring_sum.wgsl" sum
}
narrow_kernel! {
    FOURS_LOG "matmul.narrow.fours.log"
    ["../../../shaders/matmul.narrow.fours.wgsl" "../../../shaders/shared/matmul_narrow_scales.wgsl"]
    "../../../shaders/shared/semiring_log.wgsl" log
}
narrow_kernel! {
    FOURS_MAX "matmul.narrow.fours.max"
    ["../../../shaders/matmul.narrow.fours.wgsl" "../../../shaders/shared/matmul_narrow_scales.wgsl"]
    "../../../shaders/shared/semiring_max.wgsl" max
}
narrow_kernel! {
    FOURS_PRODMAX "matmul.narrow.fours.prodmax"
    ["../../../shaders/matmul.narrow.fours.wgsl" "../../../shaders/shared/matmul_narrow_scales.wgsl"]
    "../../../shaders/shared/semiring_prodmax.wgsl" prodmax
}

/// Kernel, workgroups for one matrix, and constants, if one of these kernels is for this device and product.
pub(super) fn plan(a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Option<(&'static Kernel, u32, Constants)> {
    let device = a.device();
    if device.is_cpu() || device.is_cuda() || !is_whole(a, b, c) {
        return None;
    }
    // They are read four values at a time.
    if [a, b].iter().any(|operand| operand.dtype != Dtype::F32 || !operand.len().is_multiple_of(4)) {
        return None;
    }
    let (general, fours) = match ring {
        Semiring::Sum => (&SUM, &FOURS_SUM),
        Semiring::Log | Semiring::Sample { .. } => (&LOG, &FOURS_LOG),
        Semiring::Max => (&MAX, &FOURS_MAX),
        Semiring::ProdMax => (&PRODMAX, &FOURS_PRODMAX),
    };
    if let Some((rows, constants)) = by_fours(a, b, ring) {
        return Some((fours, c.rows.div_ceil(rows) as u32, constants));
    }
    let constants = constants(a, b, scales(ring))?;
    Some((general, c.rows.div_ceil(64) as u32, constants))
}

/// Whether operands are scaled.
fn scales(ring: Semiring) -> bool {
    matches!(ring, Semiring::Log | Semiring::Sample { .. })
}

/// Rows of a workgroup and constants of the kernel for what lies in fours: both bands' rows have a multiple of four values and one
/// more, so that matrices with a multiple of four values have a multiple of four rows, and 4 rows of C begin where a
/// four does. Rows of B then do, too, if as many p are left out before the first.
fn by_fours(a: &Operand, b: &Operand, ring: Semiring) -> Option<(usize, Constants)> {
    let fours = |band: &Operand| {
        let stride = (band.lower + band.upper) as usize;
        (band.layout == Layout::Rows && stride.is_multiple_of(4) && (4..=512).contains(&stride)).then_some(stride / 4)
    };
    let (a_fours, b_fours) = (fours(a)?, fours(b)?);
    let (scales, sum) = (scales(ring), matches!(ring, Semiring::Sum));
    // The scales of wide bands would take more memory than a workgroup has.
    if a.lower % 4 != 0 || scales && a_fours.max(b_fours) > 8 {
        return None;
    }
    // Lanes share all fours of a row of B, and the same one has the first and the last four of a row of C.
    let shared = |lanes: &usize| a_fours.is_multiple_of(*lanes) && b_fours.is_multiple_of(*lanes) && b_fours / lanes <= 3;
    let lanes = if b_fours > 8 { [8, 16, 32, 64].into_iter().find(shared)? } else { [4, 2].into_iter().find(shared)? };
    // There is less to wait for where rows are short, if all is asked for at once.
    let rows = match b_fours {
        0..=4 => 32,
        5..=8 => 128,
        _ if sum && lanes == 64 => 8,
        // A workgroup of 256.
        _ => 1024 / lanes,
    };
    // What takes scales looks at everything for them.
    let looks = !scales && (!sum || b_fours <= 4);
    let stages = false;
    let constants = [
        ("ROWS", rows),
        ("LANES", lanes),
        ("SLOTS", b_fours / lanes),
        ("LOOKS", usize::from(looks)),
        ("FINITE", usize::from(looks && sum)),
        ("SCALES", usize::from(scales)),
        ("A_FOURS", a_fours),
        ("STAGES_A", usize::from(stages)),
    ];
    Some((rows, constants.map(|(name, value)| (name, value as f64)).to_vec()))
}

/// The constants of the general kernel, if the bands are narrow enough.
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
