//! Band, window and block-sparse matrices on any GPU.

mod band;
mod banded;
mod cpu;
mod dense;
mod device;
mod dtype;
mod error;
mod expr;
pub mod io;
mod kernel;
mod operand;
pub mod ops;
mod semiring;

pub use band::{Band, Layout};
pub use banded::{Banded, BandedShape};
pub use dense::{Dense, DenseShape};
pub use device::{Device, Info, Options};
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use expr::{Expr, a, b};
#[doc(hidden)]
pub use kernel::{Kernel, kernels};
pub use ops::*;
pub use semiring::Semiring;
