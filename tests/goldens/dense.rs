//! genbmm's dense products.

use bandsaw::*;
use serde_json::Value;

use crate::common::{check_value, devices};
use crate::entry::{Entry, load, numbers, same, upload};

#[test]
fn every_dense_product() {
    let file = load("genbmm.json");
    let entries = file["dense_semiring"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    for tested in devices() {
        for value in entries {
            let entry = Entry::new(format!("{}: {}", tested.label, value["op"].as_str().unwrap()), value);
            run(&tested.device, &entry);
            entry.finish();
        }
    }
}

fn run(device: &Device, entry: &Entry<'_>) {
    let what = entry.name.as_str();
    let ring = match entry.text("op") {
        "logbmm" => Semiring::Log,
        "maxbmm" => Semiring::Max,
        "prodmaxbmm" => Semiring::ProdMax,
        "samplebmm" => Semiring::Sample { seed: 1 },
        other => panic!("no test knows the operation {other}"),
    };
    let dense = |name| upload(device, entry.field(name));
    let (a, b, g) = (dense("a"), dense("b"), dense("grad_out"));
    let c = semiring_matmul(&a, &b, ring).unwrap();
    same(what, &c, entry.field("out"));
    let (ga, gb) = semiring_matmul_backward(&a, &b, &c, &g, ring).unwrap();
    if let Semiring::Sample { .. } = ring {
        return draws(entry, [&a, &b, &c, &g]);
    }
    same(what, &ga, entry.field("grad_a"));
    same(what, &gb, entry.field("grad_b"));
    if ring == Semiring::Log {
        let (ha, hb, hg) = semiring_matmul_double_backward(&a, &b, &c, &g, &dense("v_a"), &dense("v_b")).unwrap();
        same(what, &ha, entry.field("hvp_a"));
        same(what, &hb, entry.field("hvp_b"));
        same(what, &hg, entry.field("hvp_grad_out"));
    } else {
        assert_eq!(semiring_matmul_index(&a, &b, ring).unwrap().read_u32().unwrap(), indices(entry.field("argmax")), "{what}");
    }
}

/// genbmm's draws come from uniform numbers that are given; bandsaw makes its own. One rule gives
/// the gradients of either's index, one says which index belongs to a uniform number, and every
/// index of genbmm's is among bandsaw's draws.
fn draws(entry: &Entry<'_>, [a, b, c, g]: [&Dense; 4]) {
    let what = entry.name.as_str();
    let theirs = indices(entry.field("index"));
    let grads = ["grad_a", "grad_b"].map(|name| numbers(entry.field(name)));
    near(what, &picked([a, b, g], &theirs), &grads);
    for (at, u) in numbers(entry.field("uniform")).into_iter().enumerate() {
        assert_eq!(theirs[at], inverse([a, b], at, u), "{what}: draw {at}");
    }
    let mut missing: Vec<_> = (0..theirs.len()).collect();
    for seed in 0..32 {
        let ring = Semiring::Sample { seed };
        let ours = semiring_matmul_index(a, b, ring).unwrap().read_u32().unwrap();
        missing.retain(|at| ours[*at] != theirs[*at]);
        if seed < 4 {
            let (ga, gb) = semiring_matmul_backward(a, b, c, g, ring).unwrap();
            let got = [ga, gb].map(|grad| grad.read().unwrap().into_iter().map(f64::from).collect());
            near(what, &got, &picked([a, b, g], &ours));
        }
    }
    assert!(missing.is_empty(), "{what}: never drawn as by genbmm: {missing:?}");
}

fn indices(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|p| p as u32).collect()
}

#[track_caller]
fn near(what: &str, got: &[Vec<f64>; 2], want: &[Vec<f64>; 2]) {
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got.len(), want.len(), "{what}");
        for (n, (got, want)) in got.iter().zip(want).enumerate() {
            check_value(*got as f32, *want, 1e-5, || format!("{what}: value {n}"));
        }
    }
}

/// The gradients of A and B when all of g[i,j] goes to the index at (i, j).
fn picked([a, b, g]: [&Dense; 3], index: &[u32]) -> [Vec<f64>; 2] {
    let (rows, inner, cols) = (a.shape().rows, a.shape().cols, b.shape().cols);
    let mut grads = [a, b].map(|operand| vec![0.0; operand.shape().len()]);
    for (at, (g, p)) in g.read().unwrap().into_iter().zip(index).enumerate() {
        let (batch, i, j, p) = (at / cols / rows, at / cols % rows, at % cols, *p as usize);
        grads[0][(batch * rows + i) * inner + p] += f64::from(g);
        grads[1][(batch * inner + p) * cols + j] += f64::from(g);
    }
    grads
}

/// The first p up to which softmaxₚ(A[i,p] + B[p,j]) sums to more than u.
fn inverse([a, b]: [&Dense; 2], at: usize, u: f64) -> u32 {
    let (rows, inner, cols) = (a.shape().rows, a.shape().cols, b.shape().cols);
    let (batch, i, j) = (at / cols / rows, at / cols % rows, at % cols);
    let (a, b) = (a.read().unwrap(), b.read().unwrap());
    let term = |p| (f64::from(a[(batch * rows + i) * inner + p]) + f64::from(b[(batch * inner + p) * cols + j])).exp();
    let total: f64 = (0..inner).map(term).sum();
    let mut below = 0.0;
    let drawn = (0..inner).position(|p| {
        below += term(p);
        u * total < below
    });
    drawn.unwrap_or(inner - 1) as u32
}
