//! The gradient of a loss through a product over (logsumexp, +), beside a difference quotient, and
//! how fast the loss falls along it.

use bandsaw::{Band, Banded, BandedShape, Device, Result, Semiring, banded_matmul, banded_matmul_backward};

/// L = Σ w · C over the entries of C = A · A over log; the weights are the gradient of L to C.
fn loss(a: &Banded, w: &Banded) -> Result<f64> {
    let c = banded_matmul(a, a, Semiring::Log)?;
    let terms = c.read()?.into_iter().zip(w.read()?);
    // Slots outside the matrix hold −∞, and a weight of 0.
    Ok(terms.filter(|(_, w)| *w != 0.0).map(|(c, w)| f64::from(c) * f64::from(w)).sum())
}

fn main() -> Result<()> {
    let device = Device::best();
    let shape = BandedShape::new(50, 50, Band::new(2, 1)?).fill(f32::NEG_INFINITY);
    let values = |_, i, j| ((i * 7 + j * 3) as f32).sin();
    let a = Banded::from_fn(&device, shape, values)?;
    let c = banded_matmul(&a, &a, Semiring::Log)?;
    let w = Banded::from_fn(&device, c.shape().fill(0.0), |_, i, j| ((i + 2 * j) as f32).cos())?;

    // A is both operands, so its gradient is the sum of both.
    let (left, right) = banded_matmul_backward(&a, &a, &c, &w, Semiring::Log)?;
    let gradient = |i, j| Ok::<f32, bandsaw::Error>(left.get(0, i, j)? + right.get(0, i, j)?);

    println!("{device}: loss {:.4}", loss(&a, &w)?);
    for (row, column) in [(10, 10), (20, 18), (30, 31)] {
        let moved = |by: f32| {
            let entry = |b, i, j| values(b, i, j) + if (i, j) == (row, column) { by } else { 0.0 };
            loss(&Banded::from_fn(&device, shape, entry)?, &w)
        };
        let quotient = (moved(0.01)? - moved(-0.01)?) / 0.02;
        println!("dL/dA[{row},{column}] = {:+.4}, by differences {quotient:+.4}", gradient(row, column)?);
    }
    let step = 0.1;
    let mut entries = vec![0.0; shape.len()];
    for (slot, entry) in entries.iter_mut().enumerate() {
        if let Some((b, i, j)) = shape.entry(slot) {
            *entry = values(b, i, j) - step * gradient(i, j)?;
        }
    }
    println!("after a step down: {:.4}", loss(&Banded::from_slice(&device, shape, &entries)?, &w)?);
    Ok(())
}
