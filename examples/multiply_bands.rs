//! Multiplies a batch of band matrices by their transposes and reads the result back.

use bandsaw::{Band, Banded, BandedShape, Device, Semiring, banded_matmul};

fn main() -> bandsaw::Result<()> {
    let device = Device::best(); // a GPU where there is one, else the CPU
    let shape = BandedShape::new(1000, 1000, Band::new(1, 2)?).batch(8);
    let a = Banded::from_fn(&device, shape, |_batch, i, j| (i + j) as f32 / 2000.0)?;
    let c = banded_matmul(&a, &a.t(), Semiring::Sum)?;
    println!("{device}: {}, C[500,500] = {}", c.shape().band, c.get(0, 500, 500)?);
    Ok(())
}
