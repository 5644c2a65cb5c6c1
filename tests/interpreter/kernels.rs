//! Every kernel there is, at small sizes through the operations, with the CPU's results.

use std::collections::BTreeSet;

use bandsaw::*;

use crate::common::{Host, interpreter};

/// What an operation gives on a device.
type Run = fn(&Device) -> Result<Vec<f32>>;

fn banded(device: &Device, [rows, cols]: [usize; 2], [lower, upper]: [i64; 2], seed: u64, dtype: Dtype) -> Banded {
    let host = Host::random(1, rows, cols, Some(Band::new(lower, upper).unwrap()), seed, 1.0).rounded(dtype);
    host.banded(device, Layout::Rows, dtype, false)
}

fn dense(device: &Device, [rows, cols]: [usize; 2], seed: u64, dtype: Dtype) -> Dense {
    Host::random(1, rows, cols, None, seed, 1.0).rounded(dtype).dense(device, Layout::Rows, dtype, false)
}

fn blocks(device: &Device, sides: [usize; 2], block: [usize; 2], count: usize, seed: u64) -> BlockSparse {
    let pattern = BlockPattern::random(sides, block, count, 3).unwrap();
    BlockSparse::from_fn(device, &pattern, |i, j| crate::common::noise(seed, 0, i, j)).unwrap()
}

/// The values of several results, one after the other.
fn joined<const N: usize>(parts: [Result<Vec<f32>>; N]) -> Result<Vec<f32>> {
    parts.into_iter().collect::<Result<Vec<_>>>().map(|parts| parts.concat())
}

/// A product of two bands over a semiring, its indices where it has them, and its gradients.
fn product(device: &Device, ring: Semiring) -> Result<Vec<f32>> {
    let (a, b) = (banded(device, [20, 20], [2, 3], 1, Dtype::F32), banded(device, [20, 20], [1, 2], 2, Dtype::F32));
    let c = banded_matmul(&a, &b, ring)?;
    let g = Banded::from_fn(device, c.shape().fill(0.0), |_, i, j| crate::common::noise(3, 0, i, j))?;
    let (ga, gb) = banded_matmul_backward(&a, &b, &c, &g, ring)?;
    joined([c.read(), ga.read(), gb.read()])
}

fn index(device: &Device, ring: Semiring) -> Result<Vec<f32>> {
    let (a, b) = (banded(device, [20, 20], [2, 3], 1, Dtype::F32), banded(device, [20, 20], [1, 2], 2, Dtype::F32));
    let index = banded_matmul_index(&a, &b, ring)?.read_u32()?;
    Ok(index.into_iter().map(|n| n as i32 as f32).collect())
}

fn second_derivative(device: &Device) -> Result<Vec<f32>> {
    let (a, b) = (banded(device, [20, 20], [2, 3], 1, Dtype::F32), banded(device, [20, 20], [1, 2], 2, Dtype::F32));
    let (va, vb) = (banded(device, [20, 20], [2, 3], 3, Dtype::F32), banded(device, [20, 20], [1, 2], 4, Dtype::F32));
    let c = banded_matmul(&a, &b, Semiring::Log)?;
    let g = Banded::from_fn(device, c.shape().fill(0.0), |_, i, j| crate::common::noise(5, 0, i, j))?;
    let (x, y, z) = banded_matmul_double_backward(&a, &b, &c, &g, &va, &vb)?;
    joined([x.read(), y.read(), z.read()])
}

fn elementwise(device: &Device) -> Result<Vec<f32>> {
    let (x, y) = (banded(device, [20, 20], [2, 3], 1, Dtype::F32), banded(device, [20, 20], [1, 2], 2, Dtype::F16));
    let softmax = banded_softmax(&x, 0.5)?;
    let moved = banded_resize(&x, Band::new(1, 5)?)?;
    let column = dense(device, [20, 1], 3, Dtype::F32);
    joined([
        banded_zip(&x, &y, &(a() * b())).and_then(|z| z.read()),
        softmax.read(),
        banded_softmax_backward(&softmax, &x, 0.5).and_then(|g| g.read()),
        moved.read(),
        banded_matvec(&x, &column).and_then(|z| z.read()),
        x.to_device(device).and_then(|copy| copy.read()),
    ])
}

/// A window product and a band times a dense matrix of halves.
fn halves(device: &Device) -> Result<Vec<f32>> {
    let (q, k) = (dense(device, [70, 32], 1, Dtype::F16), dense(device, [70, 32], 2, Dtype::F16));
    let window = window_matmul(&q, &k, Band::new(9, 20)?)?;
    joined([window.read(), banded_matmul_dense(&banded(device, [70, 70], [9, 20], 3, Dtype::F16), &k, Semiring::Sum)?.read()])
}

fn attention(device: &Device, dtype: Dtype, options: WindowAttention) -> Result<Vec<f32>> {
    let [q, k, v, g] = [1, 2, 3, 4].map(|seed| dense(device, [70, 16], seed, dtype));
    let (out, lse) = window_attention(&q, &k, &v, &options)?;
    let (dq, dk, dv) = window_attention_backward(&q, &k, &v, &out, &lse, &g, &options)?;
    joined([out.read(), lse.read(), dq.read(), dk.read(), dv.read()])
}

fn window() -> WindowAttention {
    WindowAttention::new(Band::new(9, 5).unwrap())
}

/// A layer with these blocks, its gradients, and the products of its weights.
fn layer(device: &Device, sides: [usize; 2], block: [usize; 2], dtype: Dtype) -> Result<Vec<f32>> {
    let w = blocks(device, sides, block, 4, 1).to_dtype(dtype)?;
    let x = dense(device, [70, sides[1]], 2, dtype);
    let y = block_linear(&x, &w, None, Activation::Gelu)?;
    let bias = dense(device, [1, sides[0]], 3, dtype);
    let z = block_linear(&x, &w, Some(&bias), Activation::Relu)?;
    let g = dense(device, [70, sides[0]], 4, dtype);
    let gradients = block_linear_backward(&x, &w, Some(&bias), Activation::Relu, &z, &g)?;
    joined([y.read(), z.read(), gradients.x.read(), gradients.w.read(), block_matmul(&x, &w.t())?.read()])
}

fn on_blocks(device: &Device) -> Result<Vec<f32>> {
    let (u, w) = (blocks(device, [24, 24], [8, 8], 4, 1), blocks(device, [24, 24], [8, 8], 5, 2));
    let whole = block_to_dense(&w)?;
    joined([
        block_add(&u, &w).and_then(|sum| sum.read()),
        block_sparse_matmul(&u, &w).and_then(|product| product.read()),
        block_norms(&w, 2.0),
        block_from_dense(&whole, u.pattern()).and_then(|part| part.read()),
        whole.read(),
    ])
}

#[test]
fn every_kernel_runs_and_gives_what_its_definition_gives() {
    // What halves may be off, in values of up to some ten.
    let (single, half) = (1e-3, 4e-2);
    let runs: [(&str, f32, Run); 19] = [
        ("products over sum", single, |device| product(device, Semiring::Sum)),
        ("products over log", single, |device| product(device, Semiring::Log)),
        ("products over max", single, |device| product(device, Semiring::Max)),
        ("products over prodmax", single, |device| product(device, Semiring::ProdMax)),
        ("indices of max", 0.0, |device| index(device, Semiring::Max)),
        ("indices of prodmax", 0.0, |device| index(device, Semiring::ProdMax)),
        ("draws", 0.0, |device| index(device, Semiring::Sample { seed: 1 })),
        ("second derivative", single, second_derivative),
        ("elementwise", single, elementwise),
        ("window products of halves", half, halves),
        ("attention", single, |device| attention(device, Dtype::F32, window())),
        ("attention with global tokens", single, |device| attention(device, Dtype::F32, window().global([3]))),
        ("attention of halves", half, |device| attention(device, Dtype::F16, window())),
        ("blocks of 32", single, |device| layer(device, [64, 96], [32, 32], Dtype::F32)),
        ("blocks of 9 × 10", single, |device| layer(device, [36, 30], [9, 10], Dtype::F32)),
        ("blocks of 2", single, |device| layer(device, [6, 8], [2, 2], Dtype::F32)),
        ("blocks of halves", half, |device| layer(device, [64, 96], [32, 32], Dtype::F16)),
        ("operations on blocks", single, on_blocks),
        ("draws again", 0.0, |device| index(device, Semiring::Sample { seed: 2 })),
    ];
    let device = interpreter::device(Options { poison: true, ..Options::default() });
    for (what, allowed, run) in runs {
        let (got, want) = (run(&device).unwrap(), run(&Device::cpu()).unwrap());
        assert_eq!(got.len(), want.len(), "{what}");
        for (n, (got, want)) in got.iter().zip(want).enumerate() {
            let near = (got - want).abs() <= allowed * want.abs().max(1.0) || *got == want;
            assert!(near, "{what}, value {n}: got {got}, must be {want}");
        }
    }
    let all: BTreeSet<_> = kernels().iter().map(|kernel| kernel.name).collect();
    let missing: Vec<_> = all.difference(&interpreter::launched()).copied().collect();
    assert!(missing.is_empty(), "never launched here: {}", missing.join(", "));
}

/// Nothing is widened on the way: both gradients of a window product of halves, and of a band times dense rows.
#[test]
fn gradients_of_halves_stay_on_matrix_units() {
    fn only_units(launch: Interpreted<'_>) {
        assert!(launch.kernel.needs_matrix_units(), "{} ran", launch.kernel.name);
        interpreter::run(launch);
    }
    let device = Device::interpreted(only_units, Options::default());
    let (q, k) = (dense(&device, [70, 32], 1, Dtype::F16), dense(&device, [70, 32], 2, Dtype::F16));
    let g = banded(&device, [70, 70], [9, 20], 3, Dtype::F16);
    window_matmul_backward(&q, &k, &g).unwrap();
    let out = banded_matmul_dense(&g, &k, Semiring::Sum).unwrap();
    banded_matmul_dense_backward(&g, &k, &out, &q, Semiring::Sum).unwrap();
}
