//! Which p makes each entry of a product: the argmax, or a draw.

use super::common::{in_rows, parts, widened};
use super::matmul::{Params, SHARED, check, params};
use crate::device::Launch;
use crate::kernel::{Kernel, LOADS, ptx};
use crate::operand::Operand;
use crate::{Banded, BandedShape, Dense, DenseShape, Dtype, Error, Layout, Result, Semiring, cpu};

/// The index of an entry that no p makes.
pub(crate) const NONE: u32 = u32::MAX;

/// How far apart the counters of neighbouring matrices are.
pub(crate) const STEP: u32 = 0x9e37_79b9;

/// What the gradients' kernels share, after the shared files of every product.
pub(crate) const GRADIENT: &str = include_str!("../../shaders/shared/gradient.wgsl");
pub(crate) const PICK_MAX: &str = include_str!("../../shaders/shared/pick_max.wgsl");
pub(crate) const PICK_PRODMAX: &str = include_str!("../../shaders/shared/pick_prodmax.wgsl");

pub(crate) static MAX: Kernel = Kernel {
    name: "matmul_index.max",
    wgsl: &[include_str!("../../shaders/matmul_index.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], PICK_MAX],
    ptx: ptx!("matmul_index.sm_80"),
    cpu: cpu::matmul_index::max,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

pub(crate) static PRODMAX: Kernel = Kernel {
    name: "matmul_index.prodmax",
    wgsl: &[include_str!("../../shaders/matmul_index.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], PICK_PRODMAX],
    ptx: ptx!("matmul_index.sm_80"),
    cpu: cpu::matmul_index::prodmax,
    ..MAX
};

pub(crate) static SAMPLE: Kernel = Kernel {
    name: "matmul_index.sample",
    wgsl: &[include_str!("../../shaders/matmul_index.sample.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT],
    ptx: ptx!("matmul_index.sm_80"),
    cpu: cpu::matmul_index::sample,
    ..MAX
};

/// Which p makes each entry of a banded product over `Max`, `ProdMax` or `Sample`.
///
/// For `Max` and `ProdMax` it is the first p whose term A\[i,p\] ⊗ B\[p,j\], rounded to f32, is the
/// largest, NaN counting as larger than all. For `Sample` it is a draw: p with probability
/// softmaxₚ(A\[i,p\] + B\[p,j\]), by a counter-based generator of (seed, matrix, i, j), so the same
/// seed gives the same draws on every device (but for a uniform number within rounding of the
/// border between two p) and however a batch is split; one infinite term takes all the mass.
///
/// A is batch × n × k, B batch × k × m; the result is batch × n × m over the product's band in A's
/// layout, [`Dtype::U32`], and holds `u32::MAX` where there is no term, or for `Sample` none above
/// −∞, and outside the matrix.
///
/// From genbmm's `multiply_max` (its saved indices) and `samplebmm`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 0)?), |_, i, j| (i * 3 + j) as f32)?;
/// let index = banded_matmul_index(&a, &a.t(), Semiring::Max)?;
/// assert_eq!(index.read_u32()?, [u32::MAX, 0, 0, 0, 1, 1, 1, 2, u32::MAX]);
/// # Ok::<(), Error>(())
/// ```
///
/// Memory beside the result: on GPUs, over `Max` and `ProdMax`, an f32 copy of B in rows layout where it is in columns layout.
///
/// # Errors
/// [`Error::Argument`] if the ring is `Sum` or `Log`, whose entries no single p makes; else as
/// [`banded_matmul`](crate::banded_matmul).
pub fn banded_matmul_index(a: &Banded, b: &Banded, ring: Semiring) -> Result<Banded> {
    const OP: &str = "banded_matmul_index";
    let (band, layout) = (a.shape().band * b.shape().band, a.shape().layout);
    let (a, b) = (a.operand(), b.operand());
    check(OP, &a, &b)?;
    picks(OP, ring)?;
    let shape = BandedShape::new(a.rows, b.cols, band).batch(a.batch).layout(layout).fill(NONE as f32).dtype(Dtype::U32);
    let c = Banded::alloc(OP, a.device(), shape)?;
    index(OP, &widened(&a)?, &widened(&b)?, &c.operand(), ring)?;
    Ok(c)
}

/// Which p makes each entry of a dense product; see [`banded_matmul_index`]. The result is row-major.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(1, 3), &[0.0, -1000.0, -1000.0])?;
/// let b = Dense::from_slice(&device, DenseShape::new(3, 2), &[0.0, 1.0, 2.0, 2.0, 3.0, 5000.0])?;
/// let draw = semiring_matmul_index(&a, &b, Semiring::Sample { seed: 1 })?;
/// assert_eq!(draw.read_u32()?, [0, 2]); // the other terms have no chance
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul_index`].
pub fn semiring_matmul_index(a: &Dense, b: &Dense, ring: Semiring) -> Result<Dense> {
    const OP: &str = "semiring_matmul_index";
    let (a, b) = (a.operand(), b.operand());
    check(OP, &a, &b)?;
    picks(OP, ring)?;
    let c = Dense::alloc(OP, a.device(), DenseShape::new(a.rows, b.cols).batch(a.batch).dtype(Dtype::U32))?;
    index(OP, &widened(&a)?, &widened(&b)?, &c.operand(), ring)?;
    Ok(c)
}

fn picks(op: &'static str, ring: Semiring) -> Result<()> {
    match ring {
        Semiring::Sum | Semiring::Log => {
            let allowed = "Max, ProdMax or Sample, whose entries one p makes";
            Err(Error::argument(op, "ring", format!("{ring:?}"), allowed))
        }
        Semiring::Max | Semiring::ProdMax | Semiring::Sample { .. } => Ok(()),
    }
}

/// Writes the indices of a product of f32 operands into `c`, of which words are 32 bits.
pub(crate) fn index(op: &'static str, a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Result<()> {
    for part in parts(op, &[a, b, c])? {
        index_part(op, [a, b, c].map(|operand| operand.slice(part.clone())), ring, part.start as u32)?;
    }
    Ok(())
}

/// The same for operands that fit; `first` is the number of their first matrix in the whole batch.
pub(crate) fn index_part(op: &'static str, [a, b, c]: [Operand; 3], ring: Semiring, first: u32) -> Result<()> {
    if let Semiring::Sample { seed } = ring {
        let seed = cpu::matmul_index::random([seed, 0, 0]).wrapping_add(first.wrapping_mul(STEP));
        let groups = (c.batch * c.len()).div_ceil(64) as u64;
        return launch(&SAMPLE, [&a, &b, &c], Params { tiles: seed, ..params(&a, &b, &c) }, groups);
    }
    if c.layout == Layout::Columns {
        return index_part(op, [b.t(), a.t(), c.t()], ring, first);
    }
    // Neighbours stand in neighbouring columns: B is read along its rows.
    let b = if b.layout == Layout::Columns && !b.device().is_cpu() { in_rows(op, &b)? } else { b };
    let [rows, columns] = if b.device().is_cuda() { [4, 64] } else { [32, 32] };
    let wide = if c.dense { c.cols } else { (c.lower + c.upper) as usize + rows };
    let tiles = c.rows.div_ceil(rows) * wide.div_ceil(columns);
    let kernel = if ring == Semiring::ProdMax { &PRODMAX } else { &MAX };
    launch(kernel, [&a, &b, &c], Params { tiles: tiles as u32, ..params(&a, &b, &c) }, (c.batch * tiles) as u64)
}

fn launch(kernel: &'static Kernel, [a, b, c]: [&Operand; 3], params: Params, groups: u64) -> Result<()> {
    let (params, inputs, outputs) = (bytemuck::bytes_of(&params), &[&a.buffer, &b.buffer], &[&c.buffer]);
    a.device().launch(&Launch { kernel, params, inputs, outputs, groups, constants: &[], function: None })
}
