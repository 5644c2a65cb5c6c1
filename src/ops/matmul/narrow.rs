//! Whole products of two narrow bands through wgpu: `shaders/matmul.narrow.wgsl`, which brings all that a workgroup needs
//! at once, and `shaders/matmul.narrow.fours.wgsl` where everything lies in fours.

use super::plan::{Constants, is_whole};
use super::{Params, SHARED};
use crate::cpu;
use crate::kernel::Kernel;
use crate::operand::Operand;
use crate::{Dtype, Layout, Semiring};

/// The two kernels of each semiring: the general one, and that for what lies in fours.
macro_rules! narrow_kernels {
    ($($name:ident $general:literal $fours:literal $file:literal $cpu:ident;)+) => {$(
        pub(crate) static $name: [Kernel; 2] = [
            narrow_kernels!($general, "../../../shaders/matmul.narrow.wgsl", $file, $cpu),
            narrow_kernels!($fours, "../../../shaders/matmul.narrow.fours.wgsl", $file, $cpu),
        ];
    )+};
    ($name:literal, $own:literal, $semiring:literal, $cpu:ident) => {
        Kernel {
            name: $name,
            wgsl: &[
                include_str!($own),
                SHARED[0],
                SHARED[1],
                include_str!("../../../shaders/shared/matmul_narrow.wgsl"),
                include_str!($semiring),
            ],
            ptx: &[],
            cpu: cpu::matmul::$cpu,
            params: Params::FIELDS,
            inputs: 2,
            outputs: 1,
        }
    };
}

narrow_kernels! {
    SUM "matmul.narrow.sum" "matmul.narrow.fours.sum" "../../../shaders/shared/semiring_sum.wgsl" sum;
    LOG "matmul.narrow.log" "matmul.narrow.fours.log" "../../../shaders/shared/semiring_log.wgsl" log;
    MAX "matmul.narrow.max" "matmul.narrow.fours.max" "../../../shaders/shared/semiring_max.wgsl" max;
    PRODMAX "matmul.narrow.prodmax" "matmul.narrow.fours.prodmax" "../../../shaders/shared/semiring_prodmax.wgsl" prodmax;
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
    let [general, fours] = match ring {
        Semiring::Sum => &SUM,
        Semiring::Log | Semiring::Sample { .. } => &LOG,
        Semiring::Max => &MAX,
        Semiring::ProdMax => &PRODMAX,
    };
    if let Some((rows, constants)) = by_fours(a, b, ring) {
        return Some((fours, c.rows.div_ceil(rows) as u32, constants));
    }
    let constants = constants(a, b, matches!(ring, Semiring::Log | Semiring::Sample { .. }))?;
    Some((general, c.rows.div_ceil(64) as u32, constants))
}

/// Rows of a workgroup and constants of the kernel for what lies in fours: both bands' rows have a multiple of four values and one
/// more, so that those of matrices with a multiple of four values have a multiple of four rows, and 4 rows of C begin where a
/// four does. Rows of B then do, too, if as many p are left out before the first.
fn by_fours(a: &Operand, b: &Operand, ring: Semiring) -> Option<(usize, Constants)> {
    let fours = |band: &Operand| {
        let stride = (band.lower + band.upper) as usize;
        (band.layout == Layout::Rows && stride.is_multiple_of(4) && (4..=32).contains(&stride)).then_some(stride / 4)
    };
    let (a_fours, b_fours) = (fours(a)?, fours(b)?);
    // Lanes share all fours of a row of B.
    let scales = matches!(ring, Semiring::Log | Semiring::Sample { .. });
    // More invocations for what has exponentials to take.
    let lanes = [8, 4, 2].into_iter().find(|lanes| (*lanes < 8 || scales) && b_fours.is_multiple_of(*lanes))?;
    if a.lower % 4 != 0 {
        return None;
    }
    let taints = matches!(ring, Semiring::Max | Semiring::ProdMax);
    let (rows, stages_a, stages_b) = (64, scales, true);
    let a_most = if a_fours > 4 { 8 } else { 4 };
    // As the kernel has them.
    let width = 4 * b_fours + 1;
    let quads = rows / 4 + a_most;
    let in_a = if stages_a { rows / 4 * (4 * a_most + 1) } else { 1 };
    let pitch = width + if lanes < 8 { (lanes + 64 - width) % 8 } else { 0 };
    let in_b = if stages_b { quads * pitch } else { 1 };
    let in_scales = if scales { rows + 4 * (quads + b_fours) } else { 2 };
    if (in_a + in_b) * 16 + in_scales * 4 + 4 > a.device().workgroup_memory() {
        return None;
    }
    let constants = [
        ("ROWS", rows),
        ("LANES", lanes),
        ("SLOTS", b_fours / lanes),
        ("A_FOURS", a_most),
        ("STAGES_A", usize::from(stages_a)),
        ("STAGES_B", usize::from(stages_b)),
        ("TAINTS", usize::from(taints)),
        ("SCALES", usize::from(scales)),
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
