//! Products over a semiring. A dense matrix is a band that covers everything, so banded × banded,
//! banded × dense, dense × dense and dense × dense onto a band are one kernel.

/// A kernel for each semiring that reads operands four values at a time, for wgpu alone.
macro_rules! kernels_by_four {
    ($own:tt $($name:ident $text:literal $file:literal $cpu:ident;)+) => {$(
        kernels_by_four! { @one $own $name $text $file $cpu }
    )+};
    (@one [$($own:literal),+] $name:ident $text:literal $file:literal $cpu:ident) => {
        pub(crate) static $name: crate::kernel::Kernel = crate::kernel::Kernel {
            name: $text,
            wgsl: &[
                $(include_str!($own),)+
                super::SHARED[0],
                super::SHARED[1],
                include_str!("../../../shaders/shared/matmul_vec4.wgsl"),
                include_str!($file),
            ],
            ptx: &[],
            cpu: crate::cpu::matmul::$cpu,
            params: super::Params::FIELDS,
            inputs: 2,
            outputs: 1,
        };
    };
}

pub(crate) mod cooperative;
mod cropped;
pub(crate) mod fours;
pub(crate) mod halves;
pub(crate) mod narrow;
mod plan;
mod warpgroups;

use std::ops::Range;

use plan::Plan;

use super::common::{
    Output, Piece, as_read, fit, fits, in_rows, parts, pieces, result_dtype, row_lanes, same, same_device, values, widened,
};
use crate::cpu;
use crate::device::Launch;
use crate::kernel::{Kernel, Stored, for_dtype, params, ptx, stored};
use crate::operand::{Operand, RowParams};
use crate::{Band, Banded, BandedShape, Dense, DenseShape, Layout, Result, Semiring};

params! {
    /// What every product kernel gets; see `shaders/shared/matmul_params.wgsl`.
    Params {
        batch: u32, rows: i32, cols: i32, inner: i32, flags: u32,
        a_stride: i32, a_lower: i32, a_upper: i32,
        b_stride: i32, b_lower: i32, b_upper: i32,
        c_stride: i32, c_lower: i32, c_upper: i32,
        fill: f32, tiles: u32,
    }
}

/// A product kernel for each semiring and storage type.
macro_rules! product_kernels {
    ($($name:ident $text:literal [$($ptx:literal),+] $file:literal $cpu:ident;)+) => {$(
        pub(crate) static $name: Stored = stored!(
            $text,
            [include_str!("../../shaders/matmul.wgsl"), SHARED[0], SHARED[1], SHARED[2], include_str!($file)],
            ptx!($($ptx),+),
            { cpu: cpu::matmul::$cpu, params: Params::FIELDS, inputs: 4, outputs: 1 }
        );
    )+};
}

/// The shared files of every product.
pub(crate) const SHARED: [&str; 3] = [
    include_str!("../../shaders/shared/matmul_params.wgsl"),
    include_str!("../../shaders/shared/band.wgsl"),
    include_str!("../../shaders/shared/matmul_operands.wgsl"),
];

product_kernels! {
    SUM "matmul.sum" ["matmul.sum.sm_80", "matmul.sum.sm_90a"] "../../shaders/shared/semiring_sum.wgsl" sum;
    LOG "matmul.log" ["matmul.log.sm_80"] "../../shaders/shared/semiring_log.wgsl" log;
    MAX "matmul.max" ["matmul.max.sm_80"] "../../shaders/shared/semiring_max.wgsl" max;
    PRODMAX "matmul.prodmax" ["matmul.prodmax.sm_80"] "../../shaders/shared/semiring_prodmax.wgsl" prodmax;
}

pub(crate) static SCALE: Stored = stored!(
    "matmul_scale",
    [include_str!("../../shaders/matmul_scale.wgsl"), SHARED[1]],
    ptx!("matmul_scale.sm_80"),
    { cpu: cpu::matmul_scale::run, params: RowParams::FIELDS, inputs: 1, outputs: 1 }
);

/// The product of two banded batches, C\[i,j\] = ⊕ₚ A\[i,p\] ⊗ B\[p,j\].
///
/// ```text
/// x x . . .     x . . . .     x x . . .
/// x x x . .     x x . . .     x x x . .      lower = A.lower + B.lower
/// . x x x .  ·  . x x . .  =  x x x x .      upper = A.upper + B.upper
/// . . x x x     . . x x .     . x x x x
/// . . . x x     . . . x x     . . x x x
/// ```
///
/// A is batch × n × k, B batch × k × m, C batch × n × m in A's layout, its fill the semiring's zero.
/// Either operand may be transposed with [`Banded::t`], at no cost. The product runs over stored
/// entries; what lies outside a band takes no part. The result is f16 or bf16 if both operands are.
/// `Sample` gives `Log`'s value here; the draw itself is [`banded_matmul_index`](crate::banded_matmul_index).
///
/// Over `Sum`, a sum of k terms is within 2 (k + 2) · 2⁻²⁴ · Σ |term| of the exact one: where CUDA's tensor cores multiply f32,
/// three parts hold all of a value's bits, if it is 0 or at least 2⁻¹⁰². Through wgpu, wide bands may run on matrix units that
/// take a value in two halves, of 22 bits: within 2 (k + 8) · 2⁻²⁴ · Σ |term|, with more work where values within 64 rows are
/// farther apart than 2²⁵; where those of a large matrix fall off from place to place as a Gaussian kernel's do, and were written
/// by the host or computed from such, f32 is kept. A device opened with [`Options::portable`](crate::Options::portable) does not use them.
///
/// Memory beside the result: `Log` takes at most one f32 per row of A and column of B; a 16-bit result takes an
/// f32 copy while the kernel runs, and so do 16-bit operands of two types or off wgpu. Those of one type are
/// read as they are stored.
///
/// From genbmm's `BandedMatrix.multiply` (there: otherᵀ · self), `multiply_log`, `multiply_max`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(4, 4, Band::new(1, 0)?), |_, i, j| (i * 4 + j) as f32)?;
/// let c = banded_matmul(&a, &a.t(), Semiring::Max)?;
/// assert_eq!(c.get(0, 1, 1)?, 10.0); // max(4 + 4, 5 + 5)
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if batches or inner sizes differ,
/// [`Error::WrongDevice`](crate::Error::WrongDevice),
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) or [`Error::Limit`](crate::Error::Limit) if the result
/// cannot be held; the operands stay usable.
pub fn banded_matmul(a: &Banded, b: &Banded, ring: Semiring) -> Result<Banded> {
    onto_band("banded_matmul", &a.operand(), &b.operand(), ring, a.shape().band * b.shape().band, a.shape().layout)
}

/// [`banded_matmul`] onto a given band: entries outside it are not computed, diagonals that the
/// product does not reach hold the semiring's zero.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(4, 4, Band::new(1, 1)?), |_, _, _| 1.0)?;
/// let diagonal = banded_matmul_band(&a, &a, Semiring::Sum, Band::new(0, 0)?)?;
/// assert_eq!(diagonal.read()?, [2.0, 3.0, 3.0, 2.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul`].
pub fn banded_matmul_band(a: &Banded, b: &Banded, ring: Semiring, band: Band) -> Result<Banded> {
    onto_band("banded_matmul_band", &a.operand(), &b.operand(), ring, band, a.shape().layout)
}

/// A banded batch times a dense one, O\[i,d\] = ⊕ⱼ A\[i,j\] ⊗ V\[j,d\] (SpMM; "unwindow" for windowed
/// attention).
///
/// A is batch × n × m, V batch × m × d, O batch × n × d, row-major. Aᵀ·V is
/// `banded_matmul_dense(&a.t(), &v, …)`.
///
/// From pytorch-window-matmul's `unwindow_matmul`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 0)?), |_, _, _| 1.0)?;
/// let v = Dense::from_slice(&device, DenseShape::new(3, 2), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(banded_matmul_dense(&a, &v, Semiring::Sum)?.read()?, [1.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul`].
pub fn banded_matmul_dense(a: &Banded, v: &Dense, ring: Semiring) -> Result<Dense> {
    const OP: &str = "banded_matmul_dense";
    let (a, v) = (a.operand(), v.operand());
    check_of(OP, &a, "v", &v)?;
    onto_dense(OP, &a, &v, ring)
}

/// The entries of Q·Kᵀ that lie in a band, A\[i,j\] = Σ_d Q\[i,d\]·K\[j,d\] (SDDMM on a band: the
/// scores of windowed attention).
///
/// Q is batch × n × d, K batch × m × d (a K stored d × m is `k.t()`), A batch × n × m in rows layout.
/// `Band::window(w)` attends to w neighbours on each side; upper 0 gives a causal window.
///
/// From pytorch-window-matmul's `window_matmul`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let q = Dense::from_slice(&device, DenseShape::new(3, 1), &[1.0, 2.0, 3.0])?;
/// let scores = window_matmul(&q, &q, Band::new(1, 0)?)?;
/// assert_eq!(scores.read()?, [0.0, 1.0, 2.0, 4.0, 6.0, 9.0]); // the first slot is outside
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul`].
pub fn window_matmul(q: &Dense, k: &Dense, band: Band) -> Result<Banded> {
    const OP: &str = "window_matmul";
    let (q, k) = (q.operand(), k.operand());
    same_device(OP, &q, &[("k", &k)])?;
    values(OP, "q", &q)?;
    values(OP, "k", &k)?;
    same(OP, "k", "batch", k.batch, q.batch, "the batch of q")?;
    same(OP, "k", "columns", k.cols, q.cols, "the columns of q")?;
    onto_band(OP, &q, &k.t(), Semiring::Sum, band, Layout::Rows)
}

/// The product of two dense batches over a semiring, C\[i,j\] = ⊕ₚ A\[i,p\] ⊗ B\[p,j\].
///
/// A is batch × n × k, B batch × k × m, C batch × n × m, row-major; either may be transposed with
/// [`Dense::t`]. Memory as for [`banded_matmul`].
///
/// From genbmm's `logbmm`, `maxbmm`, `prodmaxbmm`, `samplebmm`.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(1, 2), &[500.0, -500.0])?;
/// let c = semiring_matmul(&a, &a.t(), Semiring::Log)?;
/// assert_eq!(c.read()?, [1000.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul`].
pub fn semiring_matmul(a: &Dense, b: &Dense, ring: Semiring) -> Result<Dense> {
    onto_dense("semiring_matmul", &a.operand(), &b.operand(), ring)
}

/// The checked product as a band matrix.
pub(crate) fn onto_band(op: &'static str, a: &Operand, b: &Operand, ring: Semiring, band: Band, layout: Layout) -> Result<Banded> {
    check(op, a, b)?;
    let shape = BandedShape::new(a.rows, b.cols, band).batch(a.batch).layout(layout).fill(ring.zero()).dtype(result_dtype(&[a, b]));
    if cooperative::suits_band(a, b, ring, layout) && fits(a.device(), a.rows * band.width()) {
        return cooperative::onto_band(op, a, b, shape);
    }
    let (output, shape) = Output::banded(op, a.device(), shape)?;
    product(op, a, b, &output.operand, ring)?;
    Ok(Banded::from_buffer(shape, output.finish()?))
}

/// The checked product as a dense matrix.
pub(crate) fn onto_dense(op: &'static str, a: &Operand, b: &Operand, ring: Semiring) -> Result<Dense> {
    check(op, a, b)?;
    let shape = DenseShape::new(a.rows, b.cols).batch(a.batch).dtype(result_dtype(&[a, b]));
    if cooperative::suits_dense(a, b, ring) && fits(a.device(), a.rows * b.cols) {
        return cooperative::onto_dense(op, a, b, shape);
    }
    let (output, shape) = Output::dense(op, a.device(), shape)?;
    product(op, a, b, &output.operand, ring)?;
    Ok(Dense::from_buffer(shape, output.finish()?))
}

/// Checks what every product needs of its operands.
pub(crate) fn check(op: &'static str, a: &Operand, b: &Operand) -> Result<()> {
    check_of(op, a, "b", b)
}

/// The same where the second has another name.
fn check_of(op: &'static str, a: &Operand, name: &'static str, b: &Operand) -> Result<()> {
    same_device(op, a, &[(name, b)])?;
    values(op, "a", a)?;
    values(op, name, b)?;
    same(op, name, "batch", b.batch, a.batch, "the batch of a")?;
    same(op, name, "rows", b.rows, a.cols, "the columns of a")
}

/// Launches a product into `c`, which is f32.
pub(crate) fn product(op: &'static str, a: &Operand, b: &Operand, c: &Operand, ring: Semiring) -> Result<()> {
    if c.layout == Layout::Columns {
        return product(op, &b.t(), &a.t(), &c.t(), ring);
    }
    // Rows of a large matrix go apart, as far as they are lines.
    let apart = !fit(&[a, b, c]);
    if apart && a.dense && a.layout == Layout::Columns {
        return product(op, &in_rows(op, a)?, b, c, ring);
    }
    if apart && b.dense && c.dense && b.layout == Layout::Columns {
        return product(op, a, &in_rows(op, b)?, c, ring);
    }
    let [a, b] = &if apart { [widened(a)?, widened(b)?] } else { as_read([a, b], &parts(op, &[a, b, c])?)? };
    let device = a.device();
    let meeting = |rows: Range<usize>| {
        let inner = a.columns_met(&rows);
        // The lines of a dense B cannot be cut.
        let cols = if b.dense && b.layout == Layout::Rows { 0..c.cols } else { c.columns_met(&rows) };
        [[rows.clone(), cols.clone()], [rows, inner.clone()], [inner, cols]]
    };
    for Piece { operands: [c, a, b], .. } in pieces(op, [c, a, b], meeting)? {
        let plan = halves::plan(&a, &b, &c, ring).unwrap_or_else(|| Plan::new(&a, &b, &c, ring));
        let scales = if plan.takes_scales { Some((scale(&a)?, scale(&b.t())?)) } else { None };
        let (a_scale, b_scale) = scales.as_ref().map_or((&a.buffer, &b.buffer), |(a, b)| (a, b));
        let params = Params { tiles: plan.tiles, ..params(&a, &b, &c) };
        device.launch(&Launch {
            kernel: plan.kernel,
            params: bytemuck::bytes_of(&params),
            inputs: &[&a.buffer, &b.buffer, a_scale, b_scale][..plan.kernel.inputs],
            outputs: &[&c.buffer],
            groups: a.batch as u64 * u64::from(plan.tiles),
            constants: &plan.constants,
            function: None,
        })?;
    }
    Ok(())
}

/// The arguments of a product kernel but for its tiles.
pub(crate) fn params(a: &Operand, b: &Operand, c: &Operand) -> Params {
    Params {
        batch: a.batch as u32,
        rows: a.rows as i32,
        cols: b.cols as i32,
        inner: a.cols as i32,
        flags: a.flags() | b.flags() << 2 | c.flags() << 4,
        a_stride: a.stride(),
        a_lower: a.lower,
        a_upper: a.upper,
        b_stride: b.stride(),
        b_lower: b.lower,
        b_upper: b.upper,
        c_stride: c.stride(),
        c_lower: c.lower,
        c_upper: c.upper,
        fill: c.fill,
        tiles: 0,
    }
}

/// The largest entry of each row, for `Log` to scale by.
pub(crate) fn scale(a: &Operand) -> Result<crate::device::Buffer> {
    let device = a.device();
    let scale = device.alloc(a.batch * a.rows * 4)?;
    // About four values to an invocation.
    let stored = if a.dense { a.cols } else { (a.lower + a.upper) as usize + 1 };
    let lanes = if device.is_cuda() { row_lanes(a, a.batch * a.rows) } else { (stored / 4).next_power_of_two().clamp(4, 32) };
    device.launch(&Launch {
        kernel: for_dtype(&SCALE, a.dtype),
        params: bytemuck::bytes_of(&a.row_params()),
        inputs: &[&a.buffer],
        outputs: &[&scale],
        groups: (a.batch * a.rows).div_ceil(128 / lanes) as u64,
        constants: &[("LANES", lanes as f64)],
        function: None,
    })?;
    Ok(scale)
}
