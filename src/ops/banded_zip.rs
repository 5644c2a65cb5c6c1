//! Expressions over the entries of one or two banded batches.

use super::common::{Output, Piece, alike, pieces, result_dtype, same, same_device, slot_groups, values, widened};
use crate::device::Launch;
use crate::expr::c;
use crate::kernel::{Kernel, params, ptx};
use crate::operand::Operand;
use crate::{Banded, BandedShape, Error, Expr, Layout, Result, cpu};

params! {
    /// What `banded_zip` gets; operands that f does not use repeat another.
    Params {
        batch: u32, rows: i32, cols: i32, flags: u32,
        a_lower: i32, a_upper: i32, b_lower: i32, b_upper: i32,
        c_lower: i32, c_upper: i32, out_lower: i32, out_upper: i32,
        a_fill: f32, b_fill: f32, c_fill: f32, out_fill: f32,
    }
}

pub(crate) static KERNEL: Kernel = Kernel {
    name: "banded_zip",
    wgsl: &[include_str!("../../shaders/banded_zip.wgsl"), super::matmul::SHARED[1], include_str!("../../shaders/shared/expression.wgsl")],
    ptx: ptx!("banded_zip.sm_80"),
    cpu: cpu::banded_zip::run,
    params: Params::FIELDS,
    inputs: 3,
    outputs: 1,
};

/// An expression over the entries of two banded batches, C\[i,j\] = f(A\[i,j\], B\[i,j\]).
///
/// A and B are batch × n × m, of any bands and layouts; C covers the union of the bands, in A's
/// layout. Each side is read as its fill outside its own band, and C's fill is f of the two fills.
/// The result is f16 or bf16 if both operands are.
///
/// ```text
/// x x . .       x . . .     x x . .
/// . x x .   f   x x . .  =  x x x .      lower = max(A.lower, B.lower)
/// . . x x       . x x .     . x x x      upper = max(A.upper, B.upper)
/// . . . x       . . x x     . . x x
/// ```
///
/// From genbmm's `BandedMatrix.op`, which applies f only where B is stored.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let x = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(0, 1)?), |_, _, _| 1.0)?;
/// let y = Banded::from_fn(&device, BandedShape::new(3, 3, Band::new(1, 0)?), |_, _, _| 2.0)?;
/// let mean = banded_zip(&x, &y, &((a() + b()) / 2.0))?;
/// assert_eq!(mean.shape().band, Band::new(1, 1)?);
/// assert_eq!(mean.read()?, [0.0, 1.5, 0.5, 1.0, 1.5, 0.5, 1.0, 1.5, 0.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if the shapes differ or f has more than 1024 operations,
/// [`Error::WrongDevice`], [`Error::OutOfMemory`] or [`Error::Limit`] if the result cannot be held.
pub fn banded_zip(a: &Banded, b: &Banded, f: &Expr) -> Result<Banded> {
    const OP: &str = "banded_zip";
    let (x, y) = (a.operand(), b.operand());
    check(OP, &x, &[("b", &y)], f)?;
    let dtype = result_dtype(&[&x, &y]);
    let (x, y) = (a.shape(), b.shape());
    let shape = BandedShape { band: x.band.union(y.band), dtype, ..x };
    run(OP, [a, b, a], f, with_fill(shape, f, y.fill))
}

/// An expression over the entries of a banded batch, C\[i,j\] = f(A\[i,j\]).
///
/// C has A's shape and storage type; its fill is f of A's fill.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let x = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(0, 0)?), &[-1.0, 4.0])?;
/// let y = banded_map(&x, &"max(a, 0) + 1".parse()?)?;
/// assert_eq!(y.read()?, [1.0, 5.0]);
/// assert_eq!(y.get(0, 0, 1)?, 1.0); // the fill went through f too
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if f uses `b` or has more than 1024 operations; else as [`banded_zip`].
pub fn banded_map(a: &Banded, f: &Expr) -> Result<Banded> {
    const OP: &str = "banded_map";
    one_operand(OP, f)?;
    check(OP, &a.operand(), &[], f)?;
    run(OP, [a, a, a], f, with_fill(a.shape(), f, a.shape().fill))
}

/// The gradients of [`banded_zip`]: ga = g·∂f/∂a on A's band and gb = g·∂f/∂b on B's.
///
/// `g` is the gradient of C, batch × n × m, of any band; what it does not store counts as 0. The
/// results have their operand's band, layout and storage type, and fill 0: the fills are constants.
/// At a kink (`min`, `max`, `abs`) the derivative is that of the side that is taken.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = BandedShape::new(2, 2, Band::new(0, 0)?);
/// let x = Banded::from_slice(&device, shape, &[2.0, 3.0])?;
/// let y = Banded::from_slice(&device, shape, &[5.0, 7.0])?;
/// let g = Banded::from_slice(&device, shape, &[1.0, 10.0])?;
/// let (gx, gy) = banded_zip_backward(&x, &y, &(a() * b()), &g)?;
/// assert_eq!(gx.read()?, [5.0, 70.0]);
/// assert_eq!(gy.read()?, [2.0, 30.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_zip`].
pub fn banded_zip_backward(a: &Banded, b: &Banded, f: &Expr, g: &Banded) -> Result<(Banded, Banded)> {
    const OP: &str = "banded_zip_backward";
    check(OP, &a.operand(), &[("b", &b.operand()), ("g", &g.operand())], f)?;
    let gradient = |n: usize, operand: &Banded| run(OP, [a, b, g], &(c() * f.derivative(n)), operand.shape().fill(0.0));
    Ok((gradient(0, a)?, gradient(1, b)?))
}

/// The gradient of [`banded_map`], g·f′(A) on A's band; see [`banded_zip_backward`].
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let x = Banded::from_slice(&device, BandedShape::new(2, 2, Band::new(0, 0)?), &[2.0, 3.0])?;
/// let gx = banded_map_backward(&x, &(a() * a()), &x)?;
/// assert_eq!(gx.read()?, [8.0, 18.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_map`].
pub fn banded_map_backward(a: &Banded, f: &Expr, g: &Banded) -> Result<Banded> {
    const OP: &str = "banded_map_backward";
    one_operand(OP, f)?;
    check(OP, &a.operand(), &[("g", &g.operand())], f)?;
    run(OP, [a, a, g], &(c() * f.derivative(0)), a.shape().fill(0.0))
}

fn one_operand(op: &'static str, f: &Expr) -> Result<()> {
    if f.uses(1) { Err(Error::argument(op, "f", format!("{f}, which uses b"), "an expression over a alone")) } else { Ok(()) }
}

/// Checks what the operands need of each other, and the expression.
fn check(op: &'static str, a: &Operand, others: &[(&'static str, &Operand)], f: &Expr) -> Result<()> {
    same_device(op, a, others)?;
    values(op, "a", a)?;
    for (name, other) in others {
        values(op, name, other)?;
        same(op, name, "batch", other.batch, a.batch, "the batch of a")?;
        same(op, name, "rows", other.rows, a.rows, "the rows of a")?;
        same(op, name, "columns", other.cols, a.cols, "the columns of a")?;
    }
    f.check(op)
}

/// The shape with f of both fills as its own, as the storage type holds it.
fn with_fill(shape: BandedShape, f: &Expr, other: f32) -> BandedShape {
    let fill = f.eval([f64::from(shape.fill), f64::from(other), 0.0]) as f32;
    shape.fill(shape.dtype.rounded(fill))
}

/// f over three operands of one size onto the given shape. The third is a gradient: 0 where it is
/// not stored.
fn run(op: &'static str, operands: [&Banded; 3], f: &Expr, shape: BandedShape) -> Result<Banded> {
    let (output, shape) = Output::banded(op, operands[0].device(), shape)?;
    // An operand that stands in for another is widened with it, not again.
    let mut wide: Vec<Operand> = Vec::with_capacity(operands.len());
    for (n, operand) in operands.iter().enumerate() {
        let twin = (0..n).find(|m| std::ptr::eq(operands[*m], *operand));
        wide.push(twin.map_or_else(|| widened(&operand.operand()), |m| Ok(wide[m].clone()))?);
    }
    // f knows no rows and columns, so that a result in columns layout is its transpose.
    let [out, a, b, c] = [&output.operand, &wide[0], &wide[1], &wide[2]].map(|operand| match shape.layout {
        Layout::Rows => operand.clone(),
        Layout::Columns => operand.t(),
    });
    for Piece { operands: [out, a, b, c], .. } in pieces(op, [&out, &a, &b, &c], alike(&out))? {
        let params = Params {
            batch: a.batch as u32,
            rows: a.rows as i32,
            cols: a.cols as i32,
            flags: a.flags() | b.flags() << 2 | c.flags() << 4 | out.flags() << 6,
            a_lower: a.lower,
            a_upper: a.upper,
            b_lower: b.lower,
            b_upper: b.upper,
            c_lower: c.lower,
            c_upper: c.upper,
            out_lower: out.lower,
            out_upper: out.upper,
            a_fill: a.fill,
            b_fill: b.fill,
            c_fill: 0.0,
            out_fill: out.fill,
        };
        a.device().launch(&Launch {
            kernel: &KERNEL,
            params: bytemuck::bytes_of(&params),
            inputs: &[&a.buffer, &b.buffer, &c.buffer],
            outputs: &[&out.buffer],
            groups: slot_groups(&out),
            constants: &[],
            function: Some(f),
        })?;
    }
    Ok(Banded::from_buffer(shape, output.finish()?))
}
