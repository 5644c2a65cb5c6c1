//! The interpreter of WGSL: it runs every kernel, and finds what a kernel must not do.

mod common;

#[path = "interpreter/checks.rs"]
mod checks;
#[path = "interpreter/kernels.rs"]
mod kernels;
#[path = "interpreter/work.rs"]
mod work;
