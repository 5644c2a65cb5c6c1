//! The largest eigenvalue of a published matrix, by powers: y = A · x, x = y / |y|.

use bandsaw::{Dense, DenseShape, Device, Layout, Result, banded_matvec, io};

fn main() -> Result<()> {
    let device = Device::best();
    let file = io::read_matrix_market(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/lund_a.mtx"))?;
    let a = file.to_banded(&device, Layout::Rows)?;
    println!("Lund A on {device}: {} × {}, {}", file.rows, file.cols, a.shape().band);

    let mut x = vec![1.0 / (file.cols as f32).sqrt(); file.cols];
    for step in 1..=500 {
        let y = banded_matvec(&a, &Dense::from_slice(&device, DenseShape::new(file.cols, 1), &x)?)?.read()?;
        let size = y.iter().map(|y| y * y).sum::<f32>().sqrt();
        // How far y is from being x times the eigenvalue, compared with y.
        let rest = y.iter().zip(&x).map(|(y, x)| (y / size - x).powi(2)).sum::<f32>().sqrt();
        x = y.iter().map(|y| y / size).collect();
        if rest < 1e-5 || step == 500 {
            println!("largest eigenvalue {size:.5e} after {step} steps, residual {rest:.0e}");
            break;
        }
    }
    Ok(())
}
