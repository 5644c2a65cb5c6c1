//! Band and block-sparse matrices on any GPU: products, their gradients, and what belongs around them.
//!
//! A band matrix is stored by its diagonals, so that n × n entries become n × width. What is stored
//! is the *structure* ([`BandedShape`]: size, [`Band`], [`Layout`], fill, [`Dtype`]) and the *values*
//! on a [`Device`]. Operations are free functions that take batches and give new ones; values never
//! change. The same operations run on the CPU, where they are the readable definition, and through
//! wgpu on Vulkan, Metal, DX12 and OpenGL.
//!
//! # Make a matrix, multiply, read
//!
//! ```
//! use bandsaw::*;
//! let device = Device::best(); // a GPU where there is one, else the CPU
//! let shape = BandedShape::new(100, 100, Band::new(1, 2)?).batch(4); // 1 diagonal below, 2 above
//! let a = Banded::from_fn(&device, shape, |batch, i, j| (batch + i + j) as f32)?;
//! let c = banded_matmul(&a, &a.t(), Semiring::Sum)?;
//! assert_eq!(c.shape().band, Band::new(3, 3)?);
//! assert_eq!(c.get(0, 0, 0)?, 0.0 + 1.0 + 4.0); // 0² + 1² + 2²
//! assert_eq!(c.read()?.len(), 4 * 100 * 7); // all slots, in storage order
//! # Ok::<(), Error>(())
//! ```
//!
//! A transpose is a change of labels and moves nothing, so there is one product and no variants of
//! it for transposed operands. Work is recorded when an operation is called and runs when a result
//! is read: a chain of small operations costs one submission.
//!
//! # Sum over paths, find the best one
//!
//! A product of transition matrices over [`Semiring::Log`] sums over all paths, in logarithms;
//! [`Semiring::Max`] finds the best path's score, and [`banded_matmul_index`] the state it goes
//! through. What a band leaves out takes no part, as if it were −∞.
//!
//! ```
//! use bandsaw::*;
//! let device = Device::best();
//! let steps = BandedShape::new(6, 6, Band::new(0, 1)?).fill(f32::NEG_INFINITY); // stay, or go on
//! let a = Banded::from_fn(&device, steps, |_, i, j| if i == j { 0.5f32.ln() } else { 0.25f32.ln() })?;
//! let all = banded_matmul(&a, &a, Semiring::Log)?;
//! let best = banded_matmul(&a, &a, Semiring::Max)?;
//! // From 0 to 1 in two steps: stay then go, or go then stay.
//! assert!((all.get(0, 0, 1)?.exp() - 0.25).abs() < 1e-6);
//! assert!((best.get(0, 0, 1)?.exp() - 0.125).abs() < 1e-6);
//! let through = banded_matmul_index(&a, &a, Semiring::Max)?;
//! assert_eq!(through.read_u32()?[..3], [0, 0, 1]); // the first of equals; slots (0,0), (0,1), (0,2)
//! # Ok::<(), Error>(())
//! ```
//!
//! `Log` is exact over all of f32: entries of ±500 in one sum are no problem, and a sum over nothing
//! is −∞.
//!
//! # Gradients
//!
//! Every differentiable operation has a `…_backward` that takes the operands and the gradient of the
//! result, so any framework's tape can call it. Products over `Log` have a second derivative too,
//! [`banded_matmul_double_backward`].
//!
//! ```
//! use bandsaw::*;
//! let device = Device::best();
//! let a = Banded::from_fn(&device, BandedShape::new(5, 5, Band::new(1, 1)?), |_, i, j| (i * j) as f32 / 10.0)?;
//! let c = banded_matmul(&a, &a, Semiring::Log)?;
//! let g = Banded::from_fn(&device, c.shape().fill(0.0), |_, _, _| 1.0)?; // of the sum of all entries
//! let (ga, gb) = banded_matmul_backward(&a, &a, &c, &g, Semiring::Log)?;
//! // Adding to every entry of A adds as much to every entry of C, of which 19 are stored.
//! let total: f32 = ga.read()?.iter().sum();
//! assert!((total - 19.0).abs() < 1e-4);
//! # let _ = gb;
//! # Ok::<(), Error>(())
//! ```
//!
//! # Windowed attention
//!
//! [`window_attention`] goes along a window in one pass, forward and backward, and makes nothing of
//! size n × width. Heads in groups, lengths, dilation and global tokens are options.
//!
//! ```
//! use bandsaw::*;
//! let device = Device::best();
//! let shape = DenseShape::new(256, 16).batch(2); // one sequence, two heads
//! let x = Dense::from_fn(&device, shape, |b, i, d| ((b + i * (d + 1)) as f32).sin())?;
//! let options = WindowAttention::new(Band::new(8, 0)?).heads(2, 2).global([0]); // causal, and the first token
//! let (out, lse) = window_attention(&x, &x, &x, &options)?;
//! let (dq, dk, dv) = window_attention_backward(&x, &x, &x, &out, &lse, &out, &options)?;
//! assert_eq!((out.shape(), dq.shape(), dk.shape(), dv.shape()), (shape, shape, shape, shape));
//! # Ok::<(), Error>(())
//! ```
//!
//! Its parts, for what the options don't cover, keep the band of scores:
//!
//! [`window_matmul`] computes just the entries of Q·Kᵀ in a band, [`banded_matmul_dense`] takes a band
//! matrix times a dense one. Nothing of size n × n is made.
//!
//! ```
//! use bandsaw::*;
//! let device = Device::best();
//! let shape = DenseShape::new(256, 16).batch(2);
//! let q = Dense::from_fn(&device, shape, |_, i, d| ((i + d) as f32).sin())?;
//! let scores = window_matmul(&q, &q, Band::window(8)?)?; // upper 0 would make it causal
//! let weights = banded_softmax(&scores, 0.25)?;
//! let out = banded_matmul_dense(&weights, &q, Semiring::Sum)?;
//! assert_eq!(out.shape(), shape);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Block-sparse weights
//!
//! A [`BlockPattern`] says which blocks of a matrix are stored, a [`BlockSparse`] has their values. A
//! layer costs what its stored blocks cost, forward and backward; [`PatternUpdate`] learns where they are.
//!
//! ```
//! use bandsaw::*;
//! let device = Device::best();
//! let trained = Dense::from_fn(&device, DenseShape::new(64, 96), |_, i, j| ((i * j) as f32 / 500.0).sin())?;
//! let weight = block_from_dense_by_magnitude(&trained, [16, 16], 0.5)?; // half of the blocks, the largest
//! let layer = BlockSparseLinear { weight, bias: None, activation: Activation::Gelu };
//! let x = Dense::from_fn(&device, DenseShape::new(32, 96), |_, t, k| ((t + k) as f32).cos())?;
//! let y = layer.forward(&x)?;
//! let gradients = layer.backward(&x, &y, &y)?; // of Σ y² / 2
//! assert_eq!(gradients.w.pattern().len(), 12);
//! # Ok::<(), Error>(())
//! ```
//!
//! # Entry by entry
//!
//! [`banded_zip`] and [`banded_map`] apply an expression that is built in Rust, or parsed from text,
//! and runs on every device.
//!
//! ```
//! use bandsaw::*;
//! let m = Banded::from_fn(&Device::best(), BandedShape::new(4, 4, Band::new(1, 0)?), |_, i, j| (i + j) as f32)?;
//! let symmetric = banded_zip(&m, &m.t(), &((a() + b()) / 2.0))?; // on the union of the bands
//! assert_eq!(symmetric.shape().band, Band::new(1, 1)?);
//! assert_eq!(symmetric.get(0, 0, 1)?, 0.5);
//! # Ok::<(), Error>(())
//! ```
//!
//! # More
//!
//! - Files, Matrix Market, NumPy and safetensors: [`io`].
//! - Which device: [`Device::open`], the variable `BANDSAW_DEVICE`, [`Device::from_wgpu`] for one that
//!   the program already has.
//! - How a band is stored: [`Layout`]. Half precision, f16 and bf16: [`Dtype`]; window and block products and
//!   attention of f16 matrices run on matrix units where a device has them, through CUDA products of bf16 too.
//! - What can go wrong: [`Error`]. Operands stay usable after any error but a lost device.
//!
//! # Features
//!
//! `wgpu` (GPUs) and `app` (the command line and the window) are on by default. A library user wants
//! `default-features = false, features = ["wgpu"]`; `cuda` adds PTX kernels for NVIDIA GPUs
//! (`Device::cuda`), needs no CUDA to build and the driver alone to run; `sprs` adds conversions from and to that crate;
//! with no feature at all the CPU backend works.

mod band;
mod banded;
mod block_sparse;
mod blocks;
mod cpu;
mod dense;
mod device;
mod dtype;
mod error;
mod expr;
pub mod io;
mod kernel;
mod linear;
mod operand;
pub mod ops;
mod semiring;
mod window;

pub use band::{Band, Layout};
pub use banded::{Banded, BandedShape};
pub use block_sparse::BlockSparse;
pub use blocks::{BigBird, BlockPattern, Bsr};
pub use dense::{Dense, DenseShape};
pub use device::{Device, Info, Options};
#[doc(hidden)]
pub use device::{Interpreted, Interpreter};
pub use dtype::Dtype;
pub use error::{Error, Result};
pub use expr::{Expr, a, b};
#[doc(hidden)]
pub use kernel::{Kernel, kernels};
pub use linear::{BlockSparseLinear, DropBy, GrowBy, PatternChange, PatternUpdate};
pub use ops::*;
pub use semiring::Semiring;
pub use window::WindowAttention;

/// The README's example, compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
