//! The operations. Each checks its operands, allocates the result, and launches a kernel.

pub(crate) mod cast;
pub(crate) mod common;
pub mod matmul;

pub use matmul::{banded_matmul, banded_matmul_band, banded_matmul_dense, semiring_matmul, window_matmul};
