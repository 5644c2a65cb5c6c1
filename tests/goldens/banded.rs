//! genbmm's band operations.

use bandsaw::*;
use serde_json::Value;

use crate::common::{Tested, devices};
use crate::entry::{Entry, Matrix, load, same, upload};

#[test]
fn every_banded_result() {
    let file = load("genbmm.json");
    let entries = file["banded"].as_array().unwrap();
    assert_eq!(entries.len(), 49);
    for tested in devices() {
        for value in entries {
            let entry = Entry::new(format!("{}: {}", tested.label, value["name"].as_str().unwrap()), value);
            run(tested, &entry);
            entry.finish();
        }
    }
}

fn run(Tested { device, .. }: &Tested, entry: &Entry<'_>) {
    let what = entry.name.as_str();
    let inputs = entry.field("inputs");
    let input = |name: &str| Matrix::new(&inputs[name]);
    let args = entry.maybe("args").unwrap_or(&Value::Null);
    let t = args["t"].as_i64();
    let op = entry.text("op");
    if op == "from_dense" {
        let want = Matrix::new(entry.field("output"));
        let band = Band::new(args["ld"].as_i64().unwrap(), args["lu"].as_i64().unwrap()).unwrap();
        want.same(what, &banded_from_dense(&upload(device, &inputs["dense"]), band, Layout::Columns, 0.0).unwrap());
        return;
    }
    if let "multiply" | "multiply_log" | "multiply_max" = op {
        return multiply(device, entry, &input("A"), &input("B"));
    }
    let want = Matrix::new(entry.field("output"));
    if inputs.get("L").is_some() {
        return alignment(device, entry, &input("L"), &input("R"), &want);
    }
    let matrix = input("A");
    let a = matrix.upload(device);
    match op {
        "to_dense" => {
            want.same(what, &a);
            same(what, &banded_to_dense(&a).unwrap(), &entry.field("output")["dense"]);
        }
        "transpose" => want.same(what, &a.t()),
        "op" => apply(device, what, args, matrix, input("B"), &want),
        "band_shift" => shifted(what, &want, &banded_shift_band(&a, t.unwrap()).unwrap(), t.unwrap()),
        "band_unshift" => shifted(what, &want, &banded_shift_band(&a, -1).unwrap(), -1),
        "col_shift" => want.same(what, &banded_shift_cols(&a, t.unwrap()).unwrap()),
        "col_unshift" => want.same(what, &banded_shift_cols(&a, -1).unwrap()),
        "band_pad" => {
            let (band, t) = (matrix.shape.band, t.unwrap());
            want.same(what, &banded_resize(&a, Band::new(band.lower() + t, band.upper() + t).unwrap()).unwrap());
        }
        "_expand" => {
            let band = Band::new(args["ld"].as_i64().unwrap(), args["lu"].as_i64().unwrap()).unwrap();
            want.same(what, &banded_resize(&a, band).unwrap());
        }
        "chain" => match args["expr"].as_str().unwrap() {
            "A.multiply(A^T).multiply(A^T).multiply(A^T)" => {
                let mut product = a.clone();
                for _ in 0..3 {
                    product = banded_matmul(&a, &product, Semiring::Sum).unwrap();
                }
                want.same(what, &product);
            }
            "A.band_shift(1).band_shift(1)" => {
                let once = banded_shift_band(&a, 1).unwrap();
                shifted(what, &want, &banded_shift_band(&once, 1).unwrap(), 2);
            }
            other => panic!("{what}: no test knows the chain {other}"),
        },
        other => panic!("{what}: no test knows the operation {other}"),
    }
}

/// genbmm's band shift moves what its slots outside the matrix hold, here data of the notebook;
/// bandsaw has the fill there. An entry comes from 2t rows below.
fn shifted(what: &str, want: &Matrix, got: &Banded, t: i64) {
    let shape = want.shape;
    want.check(what, got, |[_, i, _], value| {
        let from = i as i64 + 2 * t;
        if 0 <= from && from < shape.rows as i64 { value } else { f64::from(shape.fill) }
    });
}

/// genbmm's `op` reads `zero` where A is not stored and leaves A alone where B is not; bandsaw
/// applies the expression on the union, each side read as its fill.
fn apply(device: &Device, what: &str, args: &Value, a: Matrix, b: Matrix, want: &Matrix) {
    let zero = args["zero"].as_f64().unwrap();
    let a = Matrix { shape: a.shape.fill(zero as f32), ..a };
    let f: Expr = args["f"].as_str().unwrap().parse().unwrap();
    let got = banded_zip(&a.upload(device), &b.upload(device), &f).unwrap();
    want.check(what, &got, |[n, i, j], value| match (a.get(n, i, j), b.get(n, i, j)) {
        (Some(x), None) => {
            assert_eq!(value, x, "{what}: genbmm leaves A alone");
            f.eval([x, f64::from(b.shape.fill), 0.0])
        }
        _ => value,
    });
}

/// A step of a banded alignment: shift, product, pad, shift.
fn alignment(device: &Device, entry: &Entry<'_>, left: &Matrix, right: &Matrix, want: &Matrix) {
    let what = entry.name.as_str();
    let args = entry.field("args");
    let expression = "rowshift(L,op-1)=L^T.col_shift(op-1)^T; bmm(R,.)=.multiply_log(R^T); band_pad(1); band_shift(op-1)";
    assert_eq!((entry.text("op"), args["expr"].as_str().unwrap()), ("chain", expression), "{what}");
    let t = args["op"].as_i64().unwrap() - 1;
    let (left, right) = (left.upload(device), right.upload(device));
    let moved = banded_shift_rows(&left, t).unwrap();
    Matrix::new(entry.field("intermediate_shifted")).same(what, &moved);
    assert_eq!(moved.read().unwrap(), banded_shift_cols(&left.t(), t).unwrap().t().read().unwrap(), "{what}: both ways to shift rows");
    let product = banded_matmul(&right, &moved, Semiring::Log).unwrap();
    Matrix::new(entry.field("intermediate_product")).same(what, &product);
    let band = product.shape().band;
    let padded = banded_resize(&product, Band::new(band.lower() + 1, band.upper() + 1).unwrap()).unwrap();
    let got = banded_shift_band(&padded, t).unwrap();
    assert_eq!(got.shape().layout, Layout::Columns, "{what}");
    want.same(what, &got);
}

/// A product and what genbmm gives for its gradients.
fn multiply(device: &Device, entry: &Entry<'_>, a: &Matrix, b: &Matrix) {
    let what = entry.name.as_str();
    let ring = match entry.text("op") {
        "multiply" => Semiring::Sum,
        "multiply_log" => Semiring::Log,
        _ => Semiring::Max,
    };
    let want = Matrix::new(entry.field("output"));
    let (left, right) = (b.upload(device).t(), a.upload(device));
    want.same(what, &banded_matmul(&left, &right, ring).unwrap());

    let Some(grad_out) = entry.maybe("grad_out") else { return };
    let gradient = |shape: BandedShape, name| Matrix::with(shape.fill(0.0), entry.field(name));
    let c = banded_matmul(&left, &right, ring).unwrap();
    if grad_out == "ones" {
        return ties(device, entry, [&left, &right, &c], gradient(a.shape, "grad_A"), gradient(b.shape, "grad_B"));
    }
    // C = Bᵀ·A, so the first gradient is that of Bᵀ.
    let g = Matrix::with(want.shape.fill(0.0), grad_out).upload(device);
    let (gb, ga) = banded_matmul_backward(&left, &right, &c, &g, ring).unwrap();
    gradient(a.shape, "grad_A").same(what, &ga);
    gradient(b.shape, "grad_B").same(what, &gb.t());
    match ring {
        Semiring::Sum => {
            Matrix::new(entry.field("multiply_back_simple")).same(what, &ga.t());
            // As products: B·G and A·Gᵀ on the bands of A and B.
            gradient(a.shape, "grad_A").same(what, &banded_matmul_band(&left.t(), &g, ring, a.shape.band).unwrap());
            gradient(b.shape, "grad_B").same(what, &banded_matmul_band(&right, &g.t(), ring, b.shape.band).unwrap());
        }
        Semiring::Log => {
            let (va, vb) = (gradient(a.shape, "v_A").upload(device), gradient(b.shape, "v_B").upload(device));
            let (hb, ha, hg) = banded_matmul_double_backward(&left, &right, &c, &g, &vb.t(), &va).unwrap();
            gradient(a.shape, "hvp_A").same(what, &ha);
            gradient(b.shape, "hvp_B").same(what, &hb.t());
            gradient(want.shape, "hvp_grad_out").same(what, &hg);
        }
        _ => {}
    }
}

/// Everything ties: genbmm on the CPU halves a gradient at every tie, where bandsaw, as genbmm on
/// CUDA, gives all of it to the first p. What arrives in a row of Bᵀ and in a column of A is the same.
fn ties(device: &Device, entry: &Entry<'_>, [left, right, c]: [&Banded; 3], a_grad: Matrix, b_grad: Matrix) {
    let what = entry.name.as_str();
    let (a, b, n) = (a_grad.shape, b_grad.shape, c.shape().rows);
    let ones = Banded::from_fn(device, c.shape().fill(0.0), |_, _, _| 1.0).unwrap();
    let (gb, ga) = banded_matmul_backward(left, right, c, &ones, Semiring::Max).unwrap();
    // A and B are 0 on their bands: the p of C[i,j] is the first that both store.
    let mut first = [vec![0.0; n * n], vec![0.0; n * n]];
    let stored = |shape: BandedShape, i: usize, j: usize| (-shape.band.lower()..=shape.band.upper()).contains(&(j as i64 - i as i64));
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        if let Some(p) = (0..n).find(|p| stored(a, *p, j) && stored(b, *p, i)) {
            first[0][p * n + j] += 1.0;
            first[1][p * n + i] += 1.0;
        }
    }
    for (grad, got, first) in [(a_grad, ga, &first[0]), (b_grad, gb.t(), &first[1])] {
        grad.check(what, &got, |[_, i, j], _| first[i * n + j]);
        for j in 0..n {
            let theirs: f64 = (0..n).filter_map(|i| grad.get(0, i, j)).sum();
            assert_eq!(theirs, (0..n).map(|i| first[i * n + j]).sum::<f64>(), "{what}: column {j}");
        }
    }
}
