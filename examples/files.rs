//! Reads a Matrix Market file, squares the matrix and writes the result as band storage for NumPy.
//!
//! `cargo run --example files -- in.mtx out.npy`; without names a sample matrix and a file in the
//! system's folder for temporary ones.

use std::path::PathBuf;

use bandsaw::{Device, Layout, Result, Semiring, banded_matmul, io};

fn main() -> Result<()> {
    let mut names = std::env::args().skip(1).map(PathBuf::from);
    let input = names.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/assets/pores_1.mtx").into());
    let output = names.next().unwrap_or_else(|| std::env::temp_dir().join("bandsaw-squared.npy"));

    let device = Device::best();
    let file = io::read_matrix_market(&input)?;
    let a = file.to_banded(&device, Layout::Rows)?;
    let c = banded_matmul(&a, &a, Semiring::Sum)?;
    io::write_npy_banded(&output, &c)?;

    // The file holds the slots; the band goes with it in words.
    let shape = c.shape();
    println!("{}: {} × {}, {}", input.display(), file.rows, file.cols, a.shape().band);
    println!("{}: {} rows × width {}, {}", output.display(), shape.rows, shape.band.width(), shape.band);
    let back = io::read_npy_banded(&device, &output, shape.band, shape.layout, Some(shape.cols))?;
    println!("read back the same: {}", back.read()? == c.read()?);
    Ok(())
}
