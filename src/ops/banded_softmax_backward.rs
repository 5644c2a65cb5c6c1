//! The gradient of the softmax along the rows of a band.

use super::banded_softmax::{Params, SHARED, finite, launch, params};
use super::common::{Output, parts, values, widened};
use super::matmul_backward::same_structure;
use crate::kernel::Kernel;
use crate::{Banded, BandedShape, Result, cpu};

pub(crate) static KERNEL: Kernel = Kernel {
    name: "banded_softmax_backward",
    wgsl: &[include_str!("../../shaders/banded_softmax_backward.wgsl"), SHARED[0], SHARED[1]],
    cpu: cpu::banded_softmax_backward::run,
    params: Params::FIELDS,
    inputs: 2,
    outputs: 1,
};

/// The gradient of [`banded_softmax`](crate::banded_softmax) by A, from its result P and the gradient
/// g of P: GA\[i,j\] = scale · P\[i,j\] · (g\[i,j\] − Σ P\[i,·\]·g\[i,·\]).
///
/// g has P's size and band, and any layout; the result is of P's structure and storage type.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let shape = BandedShape::new(2, 2, Band::new(1, 0)?);
/// let p = banded_softmax(&Banded::from_fn(&device, shape, |_, _, _| 7.0)?, 4.0)?;
/// let g = Banded::from_fn(&device, shape, |_, i, j| (i + j) as f32)?;
/// assert_eq!(banded_softmax_backward(&p, &g, 4.0)?.read()?, [0.0, 0.0, -0.5 * 2.0, 0.5 * 2.0]);
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) if g does not have P's size and band; else as
/// [`banded_softmax`](crate::banded_softmax).
pub fn banded_softmax_backward(p: &Banded, g: &Banded, scale: f32) -> Result<Banded> {
    const OP: &str = "banded_softmax_backward";
    let (of_p, of_g) = (p.operand(), g.operand());
    values(OP, "p", &of_p)?;
    same_structure(OP, "g", &of_g, &of_p, "p", &of_p)?;
    finite(OP, scale)?;
    let (output, shape) = Output::banded(OP, p.device(), BandedShape { fill: 0.0, ..p.shape() })?;
    let (p, g) = (widened(&of_p)?, widened(&of_g)?);
    for part in parts(OP, &[&p, &g, &output.operand])? {
        let (p, g, ga) = (p.slice(part.clone()), g.slice(part.clone()), output.operand.slice(part));
        launch(&KERNEL, params(&p, g.flags(), scale), &[&p, &g], &ga)?;
    }
    Ok(Banded::from_buffer(shape, output.finish()?))
}
