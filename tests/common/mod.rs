//! What the test files share: devices, cases, matrices on the host, the dense oracle, its bounds.

#![allow(dead_code, unused_imports)] // each test file uses its own part

pub mod attention;
mod bounds;
mod cases;
mod devices;
pub mod full;
mod host;
pub mod interpreter;
mod oracle;

pub use bounds::{Bound, EPSILON, rounding};
pub use cases::{Case, cases};
pub use devices::{Tested, Variant, again, devices, devices_and_halves, with_interpreter};
pub use host::{Host, noise};
pub use oracle::{Rows, check_banded, check_dense, check_value, outside_holds_fill};
