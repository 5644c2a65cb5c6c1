//! The second derivative of (logsumexp, +).

use bandsaw::{
    Banded, BandedShape, DenseShape, Device, Dtype, Semiring, banded_matmul, banded_matmul_double_backward, semiring_matmul,
    semiring_matmul_double_backward,
};

use crate::matmul_backward::{Want, assert_within};
use crate::{CASES, Case, EPS, Full, LAYOUTS, PAIRS, band, banded, dense, devices, full, full_dense, operands};

/// (ha, hb, hg) from the definition, with bounds.
fn second(case: &Case, c: &Full, g: &Full, va: &Full, vb: &Full) -> [Want; 3] {
    let zero = |like: &Full| Full::new(like.batch, like.rows, like.cols, |_, _, _| 0.0);
    let mut all = [&case.a, &case.b, c].map(|like| Want { value: zero(like), bound: zero(like) });
    for m in 0..c.batch {
        for i in 0..c.rows {
            for j in (0..c.cols).filter(|j| c.has(m, i, *j)) {
                let (z, slope) = (c.at(m, i, j), g.at(m, i, j));
                let share = |x: f64, y: f64| if z == f64::NEG_INFINITY { 0.0 } else { (x + y - z).exp() };
                let v = |p| va.at(m, i, p) + vb.at(m, p, j);
                let relative = |x: f64, y: f64| {
                    (2.0 * (c.cols.max(c.rows).max(case.a.cols) + 2) as f64 + 32.0 + 8.0 * (x.abs() + y.abs() + z.abs())) * EPS
                };
                let s: f64 = case.terms(m, i, j).map(|(p, x, y)| share(x, y) * v(p)).sum();
                let size = |p| va.at(m, i, p).abs() + vb.at(m, p, j).abs();
                let apart: f64 = case.terms(m, i, j).map(|(p, x, y)| relative(x, y) * share(x, y) * size(p)).sum();
                let put = |want: &mut Want, (row, col): (usize, usize), value: f64, bound: f64| {
                    let at = (m * want.value.rows + row) * want.value.cols + col;
                    want.value.values[at] += value;
                    want.bound.values[at] += bound;
                };
                put(&mut all[2], (i, j), s, apart);
                for (p, x, y) in case.terms(m, i, j) {
                    let weight = slope * share(x, y);
                    let bound = weight.abs() * (relative(x, y) * (size(p) + s.abs()) + apart);
                    put(&mut all[0], (i, p), weight * (v(p) - s), bound);
                    put(&mut all[1], (p, j), weight * (v(p) - s), bound);
                }
            }
        }
    }
    all
}

#[test]
fn banded_second_derivative_is_the_definition() {
    for device in devices() {
        for (n, sizes) in CASES.iter().enumerate() {
            for (k, layouts) in PAIRS.into_iter().enumerate() {
                let (a, b) = operands(&device, n, layouts, Dtype::F32);
                let c = banded_matmul(&a, &b, Semiring::Log).unwrap();
                let g = banded(&device, 7, c.shape().layout(LAYOUTS[k % 2]));
                let va = banded(&device, 8, a.shape().layout(LAYOUTS[(k + n) % 2]));
                let vb = banded(&device, 9, b.shape().layout(LAYOUTS[n % 2]));
                let (ha, hb, hg) = banded_matmul_double_backward(&a, &b, &c, &g, &va, &vb).unwrap();
                assert_eq!([ha.shape(), hb.shape(), hg.shape()], [a.shape(), b.shape(), c.shape()].map(|shape| shape.fill(0.0)));
                let case = Case { what: format!("{device} {:?} {layouts:?}", sizes), a: full(&a), b: full(&b) };
                let want = second(&case, &full(&c), &full(&g), &full(&va), &full(&vb));
                for (name, got, want) in [("ha", &ha, &want[0]), ("hb", &hb, &want[1]), ("hg", &hg, &want[2])] {
                    assert_within(&format!("{}: {name}", case.what), &full(got), want, Dtype::F32);
                }
            }
        }
    }
}

#[test]
fn dense_second_derivative_is_the_definition() {
    for device in devices() {
        for (k, layouts) in PAIRS.into_iter().enumerate() {
            for dtype in [Dtype::F32, Dtype::F16] {
                let shape = |rows, cols, layout| DenseShape::new(rows, cols).batch(2).layout(layout).dtype(dtype);
                let (a, b) = (dense(&device, 1, shape(13, 40, layouts[0])), dense(&device, 2, shape(40, 21, layouts[1])));
                let c = semiring_matmul(&a, &b, Semiring::Log).unwrap();
                let g = dense(&device, 3, shape(13, 21, LAYOUTS[k % 2]));
                let (va, vb) = (dense(&device, 4, shape(13, 40, layouts[1])), dense(&device, 5, shape(40, 21, layouts[1])));
                let (ha, hb, hg) = semiring_matmul_double_backward(&a, &b, &c, &g, &va, &vb).unwrap();
                assert_eq!([ha.shape(), hb.shape(), hg.shape()], [a.shape(), b.shape(), c.shape()]);
                let case = Case { what: format!("{device} {layouts:?} {dtype}"), a: full_dense(&a), b: full_dense(&b) };
                let want = second(&case, &full_dense(&c), &full_dense(&g), &full_dense(&va), &full_dense(&vb));
                for (name, got, want) in [("ha", &ha, &want[0]), ("hb", &hb, &want[1]), ("hg", &hg, &want[2])] {
                    assert_within(&format!("{}: {name}", case.what), &full_dense(got), want, dtype);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let a = banded(&cpu, 1, BandedShape::new(4, 4, band(1, 1)));
    let c = banded_matmul(&a, &a, Semiring::Log).unwrap();
    let error = |va: &Banded, vb: &Banded| banded_matmul_double_backward(&a, &a, &c, &c, va, vb).unwrap_err().to_string();
    assert_eq!(
        error(&c, &a),
        "banded_matmul_double_backward: va has band lower 2, upper 2, must have band lower 1, upper 1 (the band of a)"
    );
    let short = banded(&cpu, 1, BandedShape::new(3, 4, band(1, 1)));
    assert_eq!(error(&a, &short), "banded_matmul_double_backward: vb has rows 3, must have rows 4 (the rows of b)");
}
