//! The gradients of products over a semiring.

use super::common::{Output, as_read, parts, same, same_device, slot_groups, values, widened};
use super::matmul::{self, Params, SHARED, cooperative, params, product};
use super::matmul_index::{GRADIENT, PICK_MAX, PICK_PRODMAX, index_part};
use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, LOADS, ptx};
use crate::operand::Operand;
use crate::{Banded, BandedShape, Dense, DenseShape, Error, Layout, Result, Semiring, cpu};

pub(crate) static LOG: Kernel = Kernel {
    name: "matmul_backward.log",
    wgsl: &[include_str!("../../shaders/matmul_backward.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT],
    ptx: ptx!("matmul_backward.sm_80"),
    cpu: cpu::matmul_backward::log,
    params: Params::FIELDS,
    inputs: 6,
    outputs: 1,
};

pub(crate) static WEIGHT: Kernel = Kernel {
    name: "matmul_backward.weight",
    wgsl: &[include_str!("../../shaders/matmul_backward.weight.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT],
    ptx: ptx!("matmul_backward.sm_80"),
    cpu: cpu::matmul_backward::weight,
    inputs: 4,
    ..LOG
};

pub(crate) static EXP: Kernel = Kernel {
    name: "matmul_backward.exp",
    wgsl: &[include_str!("../../shaders/matmul_backward.exp.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT],
    ptx: ptx!("matmul_backward.sm_80"),
    cpu: cpu::matmul_backward::exp,
    inputs: 2,
    ..LOG
};

pub(crate) static MAX: Kernel = Kernel {
    name: "matmul_backward.max",
    wgsl: &[include_str!("../../shaders/matmul_backward.pick.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT, PICK_MAX],
    ptx: ptx!("matmul_backward.pick.sm_80"),
    cpu: cpu::matmul_backward::max,
    inputs: 4,
    ..LOG
};

pub(crate) static PRODMAX: Kernel = Kernel {
    name: "matmul_backward.prodmax",
    wgsl: &[include_str!("../../shaders/matmul_backward.pick.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT, PICK_PRODMAX],
    ptx: ptx!("matmul_backward.pick.sm_80"),
    cpu: cpu::matmul_backward::prodmax,
    ..MAX
};

/// The gradients of [`banded_matmul`](crate::banded_matmul) and
/// [`banded_matmul_band`](crate::banded_matmul_band): ga\[i,p\] = Σⱼ g\[i,j\] · ∂C\[i,j\]/∂A\[i,p\] on
/// A's band, gb on B's.
///
/// `c` is the product and `g` the gradient of C, of C's size and band. The derivative of C\[i,j\] is
///
/// | ring | to A\[i,p\] | to B\[p,j\] |
/// |---|---|---|
/// | `Sum` | B\[p,j\] | A\[i,p\] |
/// | `Log` | P = exp(A\[i,p\] + B\[p,j\] − C\[i,j\]), 0 where C is −∞ | P |
/// | `Max` | 1 at the first p that gives the largest term, else 0 | the same |
/// | `ProdMax` | B\[p,j\] there | A\[i,p\] there |
/// | `Sample` | 1 at the p drawn, else 0 | the same |
///
/// The results have their operand's band, layout and storage type, and fill 0. Sums always run in
/// the same order; those over `Sum` are as near as [`banded_matmul`](crate::banded_matmul)'s. `Sum`, `Max` and
/// `ProdMax` don't look at `c`'s values; `Max`, `ProdMax` and `Sample` compute
/// [`banded_matmul_index`](crate::banded_matmul_index) again.
///
/// Memory beside the results: `Log` takes one f32 copy of C and two each of A and B, `Max`,
/// `ProdMax` and `Sample` one index per entry of C, and what that takes; f16 and bf16 results take an f32 copy, and so do operands,
/// but for those of `Sum` on wgpu if a, b and g are of one type.
///
/// From genbmm's `BandedMatrix.multiply*` and their autograd.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let x = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(0, 0)?), &[2.0, 3.0])?;
/// let c = banded_matmul(&x, &x, Semiring::Sum)?;
/// let g = Banded::from_slice(&device, c.shape(), &[10.0, 100.0])?;
/// let (ga, gb) = banded_matmul_backward(&x, &x, &c, &g, Semiring::Sum)?;
/// assert_eq!(ga.read()?, [20.0, 300.0]);
/// assert_eq!(gb.read()?, [20.0, 300.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if c or g does not have the size of the product, or g not c's band;
/// else as [`banded_matmul`](crate::banded_matmul).
pub fn banded_matmul_backward(a: &Banded, b: &Banded, c: &Banded, g: &Banded, ring: Semiring) -> Result<(Banded, Banded)> {
    const OP: &str = "banded_matmul_backward";
    let (ga, gb) = backward(OP, [&a.operand(), &b.operand(), &c.operand(), &g.operand()], ring)?;
    Ok((Banded::from_buffer(a.shape().fill(0.0), ga), Banded::from_buffer(b.shape().fill(0.0), gb)))
}

/// The gradients of [`semiring_matmul`](crate::semiring_matmul); see [`banded_matmul_backward`].
///
/// The results have their operand's layout and storage type; g may have another layout than c.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(1, 3), &[1.0, 5.0, 5.0])?;
/// let b = Dense::from_slice(&device, DenseShape::new(3, 1), &[0.0; 3])?;
/// let c = semiring_matmul(&a, &b, Semiring::Max)?;
/// let g = Dense::from_slice(&device, DenseShape::new(1, 1), &[7.0])?;
/// let (ga, _) = semiring_matmul_backward(&a, &b, &c, &g, Semiring::Max)?;
/// assert_eq!(ga.read()?, [0.0, 7.0, 0.0]); // the first of the two largest
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul_backward`].
pub fn semiring_matmul_backward(a: &Dense, b: &Dense, c: &Dense, g: &Dense, ring: Semiring) -> Result<(Dense, Dense)> {
    const OP: &str = "semiring_matmul_backward";
    let (ga, gb) = backward(OP, [&a.operand(), &b.operand(), &c.operand(), &g.operand()], ring)?;
    Ok((Dense::from_buffer(a.shape(), ga), Dense::from_buffer(b.shape(), gb)))
}

/// The gradients of [`banded_matmul_dense`](crate::banded_matmul_dense), `o` its result; see
/// [`banded_matmul_backward`].
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(2, 2, Band::new(1, 0)?), |_, _, _| 3.0)?;
/// let v = Dense::from_slice(&device, DenseShape::new(2, 1), &[1.0, 2.0])?;
/// let o = banded_matmul_dense(&a, &v, Semiring::Sum)?;
/// let g = Dense::from_slice(&device, o.shape(), &[10.0, 100.0])?;
/// let (ga, gv) = banded_matmul_dense_backward(&a, &v, &o, &g, Semiring::Sum)?;
/// assert_eq!(ga.read()?, [0.0, 10.0, 100.0, 200.0]);
/// assert_eq!(gv.read()?, [330.0, 300.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul_backward`].
pub fn banded_matmul_dense_backward(a: &Banded, v: &Dense, o: &Dense, g: &Dense, ring: Semiring) -> Result<(Banded, Dense)> {
    const OP: &str = "banded_matmul_dense_backward";
    let (ga, gv) = backward(OP, [&a.operand(), &v.operand(), &o.operand(), &g.operand()], ring)?;
    Ok((Banded::from_buffer(a.shape().fill(0.0), ga), Dense::from_buffer(v.shape(), gv)))
}

/// The gradients of [`window_matmul`](crate::window_matmul): gQ = g·K and gK = gᵀ·Q.
///
/// Q is batch × n × d, K batch × m × d, g batch × n × m of any band. The results have their
/// operand's shape and storage type.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let q = Dense::from_slice(&device, DenseShape::new(2, 1), &[1.0, 2.0])?;
/// let g = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(1, 0)?), &[0.0, 1.0, 10.0, 100.0])?;
/// let (gq, gk) = window_matmul_backward(&q, &q, &g)?;
/// assert_eq!(gq.read()?, [1.0, 210.0]);
/// assert_eq!(gk.read()?, [21.0, 200.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if g is not batch × n × m; else as [`window_matmul`](crate::window_matmul).
pub fn window_matmul_backward(q: &Dense, k: &Dense, g: &Banded) -> Result<(Dense, Dense)> {
    const OP: &str = "window_matmul_backward";
    let (shapes, q, k, g) = ([q.shape(), k.shape()], q.operand(), k.operand(), g.operand());
    same_device(OP, &q, &[("k", &k), ("g", &g)])?;
    for (name, operand) in [("q", &q), ("k", &k), ("g", &g)] {
        values(OP, name, operand)?;
    }
    same(OP, "k", "batch", k.batch, q.batch, "the batch of q")?;
    same(OP, "k", "columns", k.cols, q.cols, "the columns of q")?;
    same(OP, "g", "batch", g.batch, q.batch, "the batch of q")?;
    same(OP, "g", "rows", g.rows, q.rows, "the rows of q")?;
    same(OP, "g", "columns", g.cols, k.rows, "the rows of k")?;
    if cooperative::suits_dense(&g, &k, Semiring::Sum) && cooperative::suits_dense(&g.t(), &q, Semiring::Sum) {
        let (gq, gk) = (cooperative::onto_dense(OP, &g, &k, shapes[0])?, cooperative::onto_dense(OP, &g.t(), &q, shapes[1])?);
        return Ok((gq, gk));
    }
    let (gq, gk) = (gradient(OP, &q)?, gradient(OP, &k)?);
    let [q, k, g] = as_read([&q, &k, &g], &[])?;
    product(OP, &g, &k, &gq.operand, Semiring::Sum)?;
    product(OP, &g.t(), &q, &gk.operand, Semiring::Sum)?;
    Ok((Dense::from_buffer(shapes[0], gq.finish()?), Dense::from_buffer(shapes[1], gk.finish()?)))
}

/// Checks the operands of a gradient: a and b as for the product, c its result, g like c.
pub(crate) fn check(op: &'static str, [a, b, c, g]: [&Operand; 4]) -> Result<()> {
    matmul::check(op, a, b)?;
    like(op, "c", c, [a.batch, a.rows, b.cols], ["the batch of a", "the rows of a", "the columns of b"], a)?;
    like(op, "g", g, [c.batch, c.rows, c.cols], ["the batch of c", "the rows of c", "the columns of c"], a)?;
    same_band(op, "g", g, c, "c")
}

/// Checks an operand's sizes: batch, rows and columns.
pub(crate) fn like(op: &'static str, name: &'static str, got: &Operand, want: [usize; 3], of: [&str; 3], first: &Operand) -> Result<()> {
    same_device(op, first, &[(name, got)])?;
    values(op, name, got)?;
    same(op, name, "batch", got.batch, want[0], of[0])?;
    same(op, name, "rows", got.rows, want[1], of[1])?;
    same(op, name, "columns", got.cols, want[2], of[2])
}

/// Checks that a gradient has the structure of what it is the gradient of.
pub(crate) fn same_structure(op: &'static str, name: &'static str, got: &Operand, want: &Operand, of: &str, first: &Operand) -> Result<()> {
    let of_parts = [format!("the batch of {of}"), format!("the rows of {of}"), format!("the columns of {of}")];
    like(op, name, got, [want.batch, want.rows, want.cols], [&of_parts[0], &of_parts[1], &of_parts[2]], first)?;
    same_band(op, name, got, want, of)
}

fn same_band(op: &'static str, name: &'static str, got: &Operand, want: &Operand, of: &str) -> Result<()> {
    if (got.dense, got.lower, got.upper) == (want.dense, want.lower, want.upper) {
        return Ok(());
    }
    let band = |operand: &Operand| format!("band lower {}, upper {}", operand.lower, operand.upper);
    Err(Error::argument(op, name, band(got), format!("{} (the band of {of})", band(want))))
}

/// A gradient being made: the operand's structure and storage type, fill 0.
pub(crate) fn gradient(op: &'static str, of: &Operand) -> Result<Output> {
    if of.dense {
        Ok(Output::dense(op, of.device(), dense_shape(of))?.0)
    } else {
        Ok(Output::banded(op, of.device(), banded_shape(of)?)?.0)
    }
}

fn dense_shape(of: &Operand) -> DenseShape {
    let Operand { batch, rows, cols, layout, dtype, .. } = *of;
    DenseShape { batch, rows, cols, layout, dtype }
}

fn banded_shape(of: &Operand) -> Result<BandedShape> {
    let Operand { batch, rows, cols, layout, dtype, .. } = *of;
    let band = crate::Band::new(i64::from(of.lower), i64::from(of.upper))?;
    Ok(BandedShape { batch, rows, cols, band, layout, fill: 0.0, dtype })
}

/// f32 values of an operand's structure, for the time of an operation.
fn temporary(op: &'static str, like: &Operand) -> Result<Operand> {
    let buffer = like.device().alloc(like.batch * like.len() * 4).map_err(|error| error.of(op))?;
    Ok(Operand { buffer, fill: 0.0, ..like.clone() })
}

/// The buffers of both gradients.
fn backward(op: &'static str, operands: [&Operand; 4], ring: Semiring) -> Result<(Buffer, Buffer)> {
    check(op, operands)?;
    let [a, b, _, g] = operands;
    if !a.dense && cooperative::suits_band(g, &b.t(), ring, a.layout) && cooperative::suits_dense(&a.t(), g, ring) {
        let ga = cooperative::onto_band(op, g, &b.t(), banded_shape(a)?)?;
        let gb = cooperative::onto_dense(op, &a.t(), g, dense_shape(b))?;
        return Ok((ga.operand().buffer, gb.operand().buffer));
    }
    let (ga, gb) = (gradient(op, operands[0])?, gradient(op, operands[1])?);
    let [a, b, c, g] = operands;
    if ring == Semiring::Sum {
        let [a, b, g] = as_read([a, b, g], &[])?;
        product(op, &g, &b.t(), &ga.operand, ring)?;
        product(op, &a.t(), &g, &gb.operand, ring)?;
        return Ok((ga.finish()?, gb.finish()?));
    }
    let [a, b, c, g] = [widened(a)?, widened(b)?, widened(c)?, widened(g)?];
    let all = [&a, &b, &c, &g, &ga.operand, &gb.operand];
    for part in parts(op, &all)? {
        let [a, b, c, g, ga, gb] = all.map(|operand| operand.slice(part.clone()));
        if ring == Semiring::Log {
            log([&a, &b, &c, &g], &ga, &gb, op)?;
            continue;
        }
        let index = temporary(op, &c)?;
        index_part(op, [a.clone(), b.clone(), index.clone()], ring, part.start as u32)?;
        let kernel = if ring == Semiring::ProdMax { &PRODMAX } else { &MAX };
        pick(kernel, [&a, &b, &index, &g], &ga)?;
        pick(kernel, [&b.t(), &a.t(), &index.t(), &g.t()], &gb.t())?;
    }
    Ok((ga.finish()?, gb.finish()?))
}

/// ga where one term makes each entry.
fn pick(kernel: &'static Kernel, [a, b, index, g]: [&Operand; 4], ga: &Operand) -> Result<()> {
    // In columns layout there are slots above and below the matrix.
    let beyond = !a.dense && a.layout == Layout::Columns;
    let lines = if beyond { a.cols + (a.lower + a.upper) as usize } else { a.rows };
    // What a workgroup's rows have sums for at once makes 16 KiB, with what is staged. On CUDA more would leave too few
    // running: going along C's rows several times costs less.
    let (rows, room) = if a.device().is_cuda() { (32, 60) } else { (16, 176) };
    let wide = if a.dense { a.cols } else { (a.lower + a.upper) as usize + 1 };
    let places = wide.div_ceil(wide.div_ceil(room));
    let tiles = lines.div_ceil(rows) * wide.div_ceil(places);
    let params = Params { tiles: tiles as u32, ..gradient_params(a, b, index, g) };
    a.device().launch(&Launch {
        kernel,
        params: bytemuck::bytes_of(&params),
        inputs: &[a, b, index, g].map(|operand| &operand.buffer),
        outputs: &[&ga.buffer],
        groups: (a.batch * tiles) as u64,
        constants: &[("PLACES", places as f64)],
        function: None,
    })
}

/// Both gradients of (logsumexp, +). P = exp(a − row scale) · exp(b − column scale) · exp(scales − c),
/// so the sums are ordinary products, but where a factor leaves f32's range; see the shaders.
fn log([a, b, c, g]: [&Operand; 4], ga: &Operand, gb: &Operand, op: &'static str) -> Result<()> {
    let [at, bt, ct, gt, gbt] = [a.t(), b.t(), c.t(), g.t(), gb.t()];
    if a.device().is_cpu() {
        finish([a, b, c, g], &a.buffer, a, ga)?;
        return finish([&bt, &at, &ct, &gt], &b.buffer, &bt, &gbt);
    }
    let (row_scale, column_scale) = (matmul::scale(a)?, matmul::scale(&bt)?);
    let w = temporary(op, c)?;
    let inputs = [&row_scale, &column_scale, &c.buffer, &g.buffer];
    launch(&WEIGHT, gradient_params(a, b, c, g), &inputs, &w, slot_groups(c))?;
    let half = |[a, b, c, g, w]: [&Operand; 5], [scale, other]: [&Buffer; 2], ga: &Operand| {
        let (e, s) = (temporary(op, b)?, temporary(op, a)?);
        let (bt, et) = (b.t(), e.t());
        launch(&EXP, gradient_params(&bt, a, c, g), &[&bt.buffer, other], &et, slot_groups(&bt))?;
        product(op, w, &et, &s, Semiring::Sum)?;
        finish([a, b, c, g], scale, &s, ga)
    };
    half([a, b, c, g, &w], [&row_scale, &column_scale], ga)?;
    half([&bt, &at, &ct, &gt, &w.t()], [&column_scale, &row_scale], &gbt)
}

fn finish([a, b, c, g]: [&Operand; 4], scale: &Buffer, s: &Operand, ga: &Operand) -> Result<()> {
    let inputs = [&a.buffer, &b.buffer, &c.buffer, &g.buffer, scale, &s.buffer];
    launch(&LOG, gradient_params(a, b, c, g), &inputs, ga, slot_groups(a))
}

/// A product's arguments with the layout of g.
pub(crate) fn gradient_params(a: &Operand, b: &Operand, c: &Operand, g: &Operand) -> Params {
    let params = params(a, b, c);
    Params { flags: params.flags | g.flags() << 6, ..params }
}

pub(crate) fn launch(kernel: &'static Kernel, params: Params, inputs: &[&Buffer], output: &Operand, groups: u64) -> Result<()> {
    output.device().launch(&Launch {
        kernel,
        params: bytemuck::bytes_of(&params),
        inputs,
        outputs: &[&output.buffer],
        groups,
        constants: &[],
        function: None,
    })
}
