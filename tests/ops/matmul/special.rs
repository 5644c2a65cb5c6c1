//! NaN, infinities, masks and wide ranges: in and out where the definition says.

use super::*;

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// The shapes on which each special value is placed: each kernel, with edges inside tiles.
fn shapes() -> [Case; 4] {
    let square = |n, a, b| Case { name: "special", batch: 2, rows: n, inner: n, cols: n, a, b };
    [square(5, (7, 8), (4, 4)), square(20, (1, 2), (2, 1)), square(70, (40, 24), (31, 29)), square(70, (69, 69), (-1, 40))]
}

/// Runs a product of these operands on every device, as bands in two layouts and as dense matrices.
fn run(what: &str, a: &Host, b: &Host, rings: &[Semiring]) {
    for tested in devices() {
        for ring in rings.iter().copied() {
            let what = format!("{}: {what}, {ring:?}, {} × {}", tested.label, a.rows, b.cols);
            // Both contiguous along the terms, and neither.
            for (left, right) in [(Layout::Rows, Layout::Columns), (Layout::Columns, Layout::Rows)] {
                let left = a.banded(&tested.device, left, Dtype::F32, false);
                let right = b.banded(&tested.device, right, Dtype::F32, false);
                check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), a, b, ring, &Rows::All);
            }
            let (a, b) = (dense(a), dense(b));
            let (left, right) =
                (a.dense(&tested.device, Layout::Rows, Dtype::F32, false), b.dense(&tested.device, Layout::Rows, Dtype::F32, false));
            check_dense(&what, &semiring_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
        }
    }
}

/// Puts a value at the ends of some rows' bands and somewhere inside.
fn at_edges(host: &Host, value: f32) -> Host {
    let band = host.band.unwrap();
    host.with(move |b, i, j| {
        let diagonal = j as i64 - i as i64;
        let edge = diagonal == -band.lower() || diagonal == band.upper();
        (b == 0 && (edge && i % 5 == 1 || i == 2 && j == 3)).then_some(value)
    })
}

#[test]
fn not_a_number_and_infinities_at_band_edges() {
    // Padding must not meet them (0 · ∞, ∞ - ∞): what is not stored takes no part.
    for case in shapes() {
        let (a, b) = operands(&case, 5);
        for value in [NAN, INF, -INF] {
            run(&format!("{value} in a"), &at_edges(&a, value), &b, &RINGS[..4]);
            run(&format!("{value} in b"), &a, &at_edges(&b, value), &RINGS[..4]);
        }
    }
}

/// Values that a kernel splits are put together whole: a product with a power of two on the diagonal is exact, with all 24
/// bits, from f32's largest to far below.
#[test]
fn scaling_by_powers_of_two_is_exact() {
    const N: usize = 150;
    let a = Host::random(1, N, N, None, 31, 1.0).with(|_, i, j| (i == 3 && j == 5).then_some(f32::MAX / 4.0));
    for tested in devices() {
        for scale in [1.0, 4.0, 2f32.powi(-90)] {
            let diagonal = Host::new(1, N, N, None, move |_, i, j| if i == j { scale } else { 0.0 });
            let dense = |host: &Host| host.dense(&tested.device, Layout::Rows, Dtype::F32, false);
            for (what, got) in [
                ("from the right", semiring_matmul(&dense(&a), &dense(&diagonal), Semiring::Sum)),
                ("from the left", semiring_matmul(&dense(&diagonal).t(), &dense(&a), Semiring::Sum)),
            ] {
                for (at, value) in got.unwrap().read().unwrap().into_iter().enumerate() {
                    let want = a.entry(0, at / N, at % N).unwrap_or(0.0) as f32 * scale;
                    assert_eq!(
                        value.to_bits(),
                        want.to_bits(),
                        "{}, {what}, scale {scale}: entry {at} is {value}, not {want}",
                        tested.label
                    );
                }
            }
        }
    }
}

/// The sum over nothing is 0, not -0, on every device.
#[test]
fn nothing_sums_to_plus_zero() {
    let band = |lower, upper| Band::new(lower, upper).unwrap();
    // A's last columns are none of B's, so that some of C's band has no terms.
    let (a, b) = (Host::random(2, 12, 4, Some(band(0, 9)), 1, 1.0), Host::random(2, 4, 12, Some(band(9, 0)), 2, 1.0));
    for tested in devices() {
        let (a, b) = (a.banded(&tested.device, Layout::Rows, Dtype::F32, false), b.banded(&tested.device, Layout::Rows, Dtype::F32, false));
        let zeros = |what: &str, values: Vec<f32>, least: usize| {
            let count = values.iter().filter(|value| **value == 0.0).count();
            assert!(count >= least, "{}: {what} has {count} zeros", tested.label);
            assert!(values.iter().all(|value| value.to_bits() != (-0.0f32).to_bits()), "{}: {what} has -0", tested.label);
        };
        let c = banded_matmul(&a, &b, Semiring::Sum).unwrap();
        zeros("C", c.read().unwrap(), 2 * 64);
        let one = Banded::from_fn(&tested.device, BandedShape::new(12, 12, band(-11, 11)).batch(2), |_, _, _| 1.0).unwrap();
        for ring in [Semiring::Sum, Semiring::Max] {
            let onto = banded_matmul_band(&a, &b, ring, band(-11, 11)).unwrap();
            let (ga, gb) = banded_matmul_backward(&a, &b, &onto, &one, ring).unwrap();
            zeros("ga", ga.read().unwrap(), 1);
            zeros("gb", gb.read().unwrap(), 1);
        }
        let x = Dense::from_fn(&tested.device, DenseShape::new(4, 1).batch(2), |_, _, _| 1.0).unwrap();
        zeros("A · x", banded_matvec(&a, &x).unwrap().read().unwrap(), 2 * 8);
        zeros("A · V", banded_matmul_dense(&a, &x, Semiring::Sum).unwrap().read().unwrap(), 2 * 8);
    }
}

#[test]
fn infinities_of_both_signs_meet() {
    for case in shapes() {
        let (a, b) = operands(&case, 6);
        run("+∞ against -∞", &at_edges(&a, INF), &at_edges(&b, -INF), &RINGS[..4]);
        run("+∞ against +∞", &at_edges(&a, INF), &at_edges(&b, INF), &RINGS[..4]);
        let zeros = at_edges(&b, 0.0);
        run("∞ against zeros", &at_edges(&a, INF), &zeros, &RINGS[..4]);
    }
}

#[test]
fn rows_and_columns_of_nothing() {
    for case in shapes() {
        let (a, b) = operands(&case, 7);
        let empty_rows = a.with(|_, i, _| (i % 3 == 0).then_some(-INF));
        let empty_cols = b.with(|_, _, j| (j % 4 == 1).then_some(-INF));
        run("rows of -∞", &empty_rows, &b, &RINGS[1..3]);
        run("rows and columns of -∞", &empty_rows, &empty_cols, &RINGS[1..3]);
        let all = a.with(|_, _, _| Some(-INF));
        run("nothing but -∞", &all, &b, &RINGS[1..3]);
        let most = a.with(|_, i, j| (i != j).then_some(-INF));
        run("-∞ beside the diagonal", &most, &b, &RINGS[1..3]);
    }
}

#[test]
fn five_hundred_either_way() {
    for case in shapes() {
        let a = Host::random(2, case.rows, case.inner, Some(case.a()), 8, 500.0);
        let b = Host::random(2, case.inner, case.cols, Some(case.b()), 9, 500.0);
        run("±500", &a, &b, &[Semiring::Log]);
        // The largest of the row meets the smallest of the column, so that both scales mislead.
        let a = a.with(|_, i, p| (p % 2 == 0).then_some(500.0 - (i % 3) as f32));
        let b = b.with(|_, p, j| Some(if p % 2 == 0 { -500.0 } else { 499.0 - (j % 7) as f32 }));
        run("opposed scales", &a, &b, &[Semiring::Log]);
        let a = a.with(|_, _, p| Some(if p % 2 == 0 { 80.0 } else { -20.0 }));
        run("sums of 2^-144 after scaling", &a, &b, &[Semiring::Log]);
    }
}

#[test]
fn masks_leave_the_rest_exact() {
    for case in shapes() {
        let (a, b) = operands(&case, 10);
        let masked = a.with(|_, i, p| ((i + p) % 3 == 0).then_some(-1e9));
        run("-1e9 as a mask", &masked, &b, &[Semiring::Log, Semiring::Max]);
        // The bound grows with the largest entry, mask included; what the mask hides must not.
        for tested in devices() {
            let left = masked.banded(&tested.device, Layout::Rows, Dtype::F32, false);
            let hidden = a.with(|_, i, p| ((i + p) % 3 == 0).then_some(-INF));
            let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
            let got = banded_matmul(&left, &right, Semiring::Log).unwrap();
            let shape = got.shape();
            let same = Banded::from_slice(&Device::cpu(), shape, &got.read().unwrap()).unwrap();
            for (i, j) in (0..case.rows).flat_map(|i| (0..case.cols).map(move |j| (i, j))) {
                let terms = (0..case.inner).filter_map(|p| Some(hidden.entry(0, i, p)? + b.entry(0, p, j)?));
                let want = terms.map(f64::exp).sum::<f64>().ln();
                if want.is_finite() && shape.band.contains(i, j) {
                    let place = || format!("{}: masked [{i}, {j}]", tested.label);
                    check_value(same.get(0, i, j).unwrap(), want, 300.0 * EPSILON, place);
                }
            }
        }
    }
}

#[test]
fn ties_and_signs() {
    for case in shapes() {
        let (a, b) = operands(&case, 11);
        let equal = |host: &Host| host.with(|_, _, _| Some(1.0));
        run("ties", &equal(&a), &equal(&b), &RINGS[1..4]);
        let negative = |host: &Host| host.with(|_, i, j| Some(-1.0 - ((i * 7 + j) % 5) as f32));
        run("negative against positive", &negative(&a), &equal(&b), &RINGS[..4]);
        run("negative against negative", &negative(&a), &negative(&b), &RINGS[..4]);
        run("zeros", &a.with(|_, _, _| Some(0.0)), &b, &RINGS[..4]);
    }
}

#[test]
fn halves_keep_special_values() {
    let case = shapes()[1];
    let (a, b) = operands(&case, 12);
    let values = [NAN, INF, -INF, 1e-7, 65504.0].map(|value| (value, Dtype::F16));
    let values = values.into_iter().chain([NAN, INF, -INF, 1e-30, 3e38].map(|value| (value, Dtype::Bf16)));
    for ((value, dtype), tested) in values.flat_map(|value| devices().iter().map(move |t| (value, t))) {
        let (a, b) = (at_edges(&a, value).rounded(dtype), b.with(|_, _, _| Some(1.0)));
        for ring in &RINGS[1..3] {
            let left = a.banded(&tested.device, Layout::Rows, dtype, false);
            let right = b.banded(&tested.device, Layout::Rows, dtype, false);
            let what = format!("{}: {dtype} {value} {ring:?}", tested.label);
            check_banded(&what, &banded_matmul(&left, &right, *ring).unwrap(), &a, &b, *ring, &Rows::All);
        }
    }
}
