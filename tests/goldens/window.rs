//! pytorch-window-matmul: window products, their use on values, and the gradients of both, by the
//! gradient operations and as the products of the same two kinds that they are.

use bandsaw::*;
use serde_json::Value;

use crate::common::{check_value, devices, outside_holds_fill};
use crate::entry::{Entry, load, numbers, same, upload};

#[test]
fn every_window_result() {
    let file = load("window.json");
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 3);
    for tested in devices() {
        for (n, case) in cases.iter().enumerate() {
            let entry = Entry::new(format!("{}: window {n}", tested.label), case);
            run(&tested.device, &entry);
            entry.finish();
        }
    }
}

fn run(device: &Device, entry: &Entry<'_>) {
    let what = entry.name.as_str();
    let size = |name| entry.field(name).as_u64().unwrap() as usize;
    let (rows, depth, band) = (size("M"), size("N"), Band::window(size("w")).unwrap());
    let batch = entry.field("lead")[0].as_u64().unwrap() as usize;
    let dense = |name| upload(device, entry.field(name));
    let shape = BandedShape::new(rows, rows, band).batch(batch);
    let banded = |name| {
        let data: Vec<_> = numbers(entry.field(name)).into_iter().map(|value| value as f32).collect();
        Banded::from_slice(device, shape, &data).unwrap()
    };

    // Scores: A = Q·K on the band, K stored depth × rows.
    let (q, k) = (dense("q"), dense("k_N_by_M"));
    assert_eq!((k.shape().rows, k.shape().cols), (depth, rows), "{what}");
    same_band(what, &window_matmul(&q, &k.t(), band).unwrap(), entry.field("a"));
    let ga = banded("grad_a");
    let (gq, gk) = window_matmul_backward(&q, &k.t(), &ga).unwrap();
    for gq in [gq, banded_matmul_dense(&ga, &k.t(), Semiring::Sum).unwrap()] {
        same(what, &gq, entry.field("grad_q"));
    }
    for gk in [gk, banded_matmul_dense(&ga.t(), &q, Semiring::Sum).unwrap()] {
        transposed(what, &gk, entry.field("grad_k"));
    }

    // The softmax of upstream's scores times the values, in three passes and in one.
    let (scores, v) = (banded("a"), dense("v"));
    let three = banded_matmul_dense(&banded_softmax(&scores, 1.0).unwrap(), &v, Semiring::Sum).unwrap().read().unwrap();
    let options = WindowAttention::new(band).scale(1.0);
    let one = window_attention(&q, &k.t(), &v, &options).unwrap().0.read().unwrap();
    let exact = softmax_times(&scores, &v);
    assert_eq!((one.len(), three.len()), (exact.len(), exact.len()), "{what}");
    for (n, want) in exact.into_iter().enumerate() {
        check_value(three[n], want, 2e-6, || format!("{what}: three passes [{n}]"));
        check_value(one[n], want, 2e-6, || format!("{what}: one pass [{n}]"));
    }

    // Values: O = P·V.
    let (p, v) = (banded("p"), dense("v"));
    let o = banded_matmul_dense(&p, &v, Semiring::Sum).unwrap();
    same(what, &o, entry.field("o"));
    let go = dense("grad_o");
    let (gp, gv) = banded_matmul_dense_backward(&p, &v, &o, &go, Semiring::Sum).unwrap();
    for gp in [gp, window_matmul(&go, &v, band).unwrap()] {
        same_band(what, &gp, entry.field("grad_p"));
    }
    for gv in [gv, banded_matmul_dense(&p.t(), &go, Semiring::Sum).unwrap()] {
        same(what, &gv, entry.field("grad_v"));
    }
}

/// softmax(A)·V in f64.
fn softmax_times(a: &Banded, v: &Dense) -> Vec<f64> {
    let (shape, width, scores, values) = (a.shape(), v.shape().cols, a.read().unwrap(), v.read().unwrap());
    let mut out = Vec::new();
    for (b, i) in (0..shape.batch).flat_map(|b| (0..shape.rows).map(move |i| (b, i))) {
        let weight = |j| f64::from(scores[shape.slot(b, i, j).unwrap()]).exp();
        let stored = || shape.band.cols_of_row(i, shape.cols);
        let total: f64 = stored().map(weight).sum();
        let at = |j, c| f64::from(values[v.shape().index(b, j, c)]);
        out.extend((0..width).map(|c| stored().map(|j| weight(j) / total * at(j, c)).sum::<f64>()));
    }
    out
}

/// Every slot: outside the matrix both hold 0.
fn same_band(what: &str, got: &Banded, want: &Value) {
    let data = got.read().unwrap();
    outside_holds_fill(what, &got.shape(), &data);
    for (slot, (got_value, want)) in data.iter().zip(numbers(want)).enumerate() {
        if got.shape().entry(slot).is_some() {
            check_value(*got_value, want, 1e-6, || format!("{what}: slot {slot}"));
        }
    }
}

/// Compares with the transpose, as K is stored.
fn transposed(what: &str, got: &Dense, want: &Value) {
    let (shape, data, want) = (got.shape(), got.read().unwrap(), numbers(want));
    for (n, want) in want.into_iter().enumerate() {
        let (b, i, j) = (n / shape.rows / shape.cols, n / shape.rows % shape.cols, n % shape.rows);
        check_value(data[shape.index(b, j, i)], want, 1e-6, || format!("{what}: grad_k [{b}][{i}, {j}]"));
    }
}
