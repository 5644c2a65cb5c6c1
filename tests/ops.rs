//! Every operation on every device: the seed table, random cases, special values, errors.

mod common;

#[path = "ops/matmul.rs"]
mod matmul;
