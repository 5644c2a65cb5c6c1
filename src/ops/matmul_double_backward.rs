//! The second derivative of products over (logsumexp, +).

use super::common::{parts, widened};
use super::matmul::{Params, SHARED};
use super::matmul_backward::{check, gradient, gradient_params, launch, same_structure};
use super::matmul_index::GRADIENT;
use crate::device::Buffer;
use crate::kernel::{Kernel, LOADS, ptx};
use crate::operand::Operand;
use crate::{Banded, Dense, Result, cpu};

pub(crate) static KERNEL: Kernel = Kernel {
    name: "matmul_double_backward",
    wgsl: &[include_str!("../../shaders/matmul_double_backward.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT],
    ptx: ptx!("matmul_double_backward.sm_80"),
    cpu: cpu::matmul_double_backward::run,
    params: Params::FIELDS,
    inputs: 7,
    outputs: 1,
};

pub(crate) static MEAN: Kernel = Kernel {
    name: "matmul_double_backward.mean",
    wgsl: &[include_str!("../../shaders/matmul_double_backward.mean.wgsl"), SHARED[0], SHARED[1], SHARED[2], LOADS[0], GRADIENT],
    ptx: ptx!("matmul_double_backward.sm_80"),
    cpu: cpu::matmul_double_backward::mean,
    inputs: 5,
    ..KERNEL
};

/// The second derivative of [`banded_matmul`](crate::banded_matmul) over `Log`: the gradients of
/// ⟨ga, va⟩ + ⟨gb, vb⟩ to a, b and g, where (ga, gb) is what
/// [`banded_matmul_backward`](crate::banded_matmul_backward) gives.
///
/// ```text
/// P[i,p,j] = exp(A[i,p] + B[p,j] − C[i,j])       0 where C is −∞
/// v[i,p,j] = va[i,p] + vb[p,j]
/// hg[i,j]  = s[i,j] = Σₚ P · v
/// ha[i,p]  = Σⱼ g[i,j] · P · (v − s[i,j])
/// hb[p,j]  = Σᵢ g[i,j] · P · (v − s[i,j])
/// ```
///
/// `c` is the product, `g` has its size and band, `va` those of a, `vb` those of b; layouts are
/// free. The results have the structure and storage type of a, b and c, and fill 0.
///
/// From genbmm's `logbmm`, which can be differentiated twice.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Banded::from_slice(&device, BandedShape::new(1, 2, Band::new(0, 1)?), &[0.0, 0.0])?;
/// let b = a.t();
/// let c = banded_matmul(&a, &b, Semiring::Log)?; // ln(1 + 1)
/// let one = Banded::from_fn(&device, c.shape(), |_, _, _| 1.0)?;
/// let v = Banded::from_slice(&device, a.shape(), &[1.0, 0.0])?;
/// let zero = Banded::from_fn(&device, b.shape(), |_, _, _| 0.0)?;
/// let (ha, _, hg) = banded_matmul_double_backward(&a, &b, &c, &one, &v, &zero)?;
/// assert!((ha.get(0, 0, 0)? - 0.25).abs() < 1e-6 && (ha.get(0, 0, 1)? + 0.25).abs() < 1e-6);
/// assert!((hg.get(0, 0, 0)? - 0.5).abs() < 1e-6);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if va or vb does not have the size and band of its operand; else as
/// [`banded_matmul_backward`](crate::banded_matmul_backward).
pub fn banded_matmul_double_backward(
    a: &Banded,
    b: &Banded,
    c: &Banded,
    g: &Banded,
    va: &Banded,
    vb: &Banded,
) -> Result<(Banded, Banded, Banded)> {
    const OP: &str = "banded_matmul_double_backward";
    let [ha, hb, hg] = run(OP, [a, b, c, g, va, vb].map(Banded::operand))?;
    let [ha, hb, hg] = [(a, ha), (b, hb), (c, hg)].map(|(like, buffer)| Banded::from_buffer(like.shape().fill(0.0), buffer));
    Ok((ha, hb, hg))
}

/// The second derivative of [`semiring_matmul`](crate::semiring_matmul) over `Log`; see
/// [`banded_matmul_double_backward`].
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(1, 2), &[0.0, 0.0])?;
/// let c = semiring_matmul(&a, &a.t(), Semiring::Log)?;
/// let one = Dense::from_slice(&device, c.shape(), &[1.0])?;
/// let v = Dense::from_slice(&device, a.shape(), &[1.0, 1.0])?;
/// let (ha, _, hg) = semiring_matmul_double_backward(&a, &a.t(), &c, &one, &v, &v.t())?;
/// assert!((hg.read()?[0] - 2.0).abs() < 1e-5); // adding to every term adds to the result
/// assert!(ha.read()?.iter().all(|value| value.abs() < 1e-5));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// As [`banded_matmul_double_backward`].
pub fn semiring_matmul_double_backward(
    a: &Dense,
    b: &Dense,
    c: &Dense,
    g: &Dense,
    va: &Dense,
    vb: &Dense,
) -> Result<(Dense, Dense, Dense)> {
    const OP: &str = "semiring_matmul_double_backward";
    let [ha, hb, hg] = run(OP, [a, b, c, g, va, vb].map(Dense::operand))?;
    let [ha, hb, hg] = [(a, ha), (b, hb), (c, hg)].map(|(like, buffer)| Dense::from_buffer(like.shape(), buffer));
    Ok((ha, hb, hg))
}

fn run(op: &'static str, operands: [Operand; 6]) -> Result<[Buffer; 3]> {
    let [a, b, c, g, va, vb] = &operands;
    check(op, [a, b, c, g])?;
    same_structure(op, "va", va, a, "a", a)?;
    same_structure(op, "vb", vb, b, "b", a)?;
    let [ha, hb, hg] = [gradient(op, a)?, gradient(op, b)?, gradient(op, c)?];
    let [a, b, c, g, va, vb] = [widened(a)?, widened(b)?, widened(c)?, widened(g)?, widened(va)?, widened(vb)?];
    let all = [&a, &b, &c, &g, &va, &vb, &ha.operand, &hb.operand, &hg.operand];
    for part in parts(op, &all)? {
        let [a, b, c, g, va, vb, ha, hb, hg] = all.map(|operand| operand.slice(part.clone()));
        let inputs = [&a, &b, &va, &vb, &c].map(|operand| &operand.buffer);
        launch(&MEAN, layouts([&a, &b, &c, &g, &va, &vb]), &inputs, &hg, (c.batch * c.len()).div_ceil(256) as u64)?;
        let [at, bt, ct, gt, vat, vbt, hbt, st] = [&a, &b, &c, &g, &va, &vb, &hb, &hg].map(Operand::t);
        half([&a, &b, &c, &g, &va, &vb, &hg], &ha)?;
        half([&bt, &at, &ct, &gt, &vbt, &vat, &st], &hbt)?;
    }
    Ok([ha.finish()?, hb.finish()?, hg.finish()?])
}

fn half([a, b, c, g, va, vb, s]: [&Operand; 7], ha: &Operand) -> Result<()> {
    let inputs = [a, b, va, vb, c, g, s].map(|operand| &operand.buffer);
    launch(&KERNEL, layouts([a, b, c, g, va, vb]), &inputs, ha, (a.batch * a.len()).div_ceil(256) as u64)
}

/// A product's arguments with the layouts of the operands that are like others.
fn layouts([a, b, c, g, va, vb]: [&Operand; 6]) -> Params {
    let params = gradient_params(a, b, c, g);
    Params { flags: params.flags | va.flags() << 8 | vb.flags() << 10, ..params }
}
