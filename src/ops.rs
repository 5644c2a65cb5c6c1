//! The operations. Each checks its operands, allocates the result, and launches a kernel.

pub mod banded_zip;
pub(crate) mod cast;
pub(crate) mod common;
pub mod matmul;

pub use banded_zip::{banded_map, banded_map_backward, banded_zip, banded_zip_backward};
pub use matmul::{banded_matmul, banded_matmul_band, banded_matmul_dense, semiring_matmul, window_matmul};
