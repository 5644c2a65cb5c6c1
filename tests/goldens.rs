//! Reference results of genbmm, pytorch-window-matmul and pytorch_block_sparse, every entry on every device.
//!
//! genbmm's `BandedMatrix(data, lu, ld)` is a band in columns layout with upper = lu and lower = ld;
//! its `multiply(self, other)` is otherᵀ · self. It leaves anything in slots outside the matrix, so
//! entries inside are compared. Its fill of -1e9 stands for -∞. Every entry and every field of one
//! must be used: what no test here knows fails.

mod common;

#[path = "goldens/banded.rs"]
mod banded;
#[path = "goldens/block.rs"]
mod block;
#[path = "goldens/dense.rs"]
mod dense;
#[path = "goldens/entry.rs"]
mod entry;
#[path = "goldens/window.rs"]
mod window;
