//! `banded_matvec` and its gradients.

use bandsaw::{Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout, banded_matvec, banded_matvec_backward};

use crate::{EPS, Full, LAYOUTS, SHAPES, assert_close, band, banded, dense, devices, full, full_dense, shape};

/// Σ_j A[i,j] · x[j] over what A stores, and the same with absolute values.
fn product(a: &Full, x: &Full) -> (Full, Full) {
    let terms = |b: usize, i: usize, of: fn(f64) -> f64| {
        let stored = (0..a.cols).filter(|j| a.stored[(b * a.rows + i) * a.cols + j]);
        stored.map(|j| of(a.at(b, i, j) * x.at(b, j, 0))).sum()
    };
    let sums = Full::new(a.batch, a.rows, 1, |b, i, _| terms(b, i, |term| term));
    (sums, Full::new(a.batch, a.rows, 1, |b, i, _| terms(b, i, f64::abs)))
}

/// Fails unless y is the product within 2(k + 2)ε of the sum of absolute terms.
#[track_caller]
fn assert_product(what: &str, y: &Dense, a: &Full, x: &Full, terms: usize) {
    let (want, size) = product(a, x);
    let got = full_dense(y);
    assert_eq!((got.batch, got.rows, got.cols), (a.batch, a.rows, 1));
    let rounding = crate::common::rounding(y.shape().dtype);
    for at in 0..got.values.len() {
        let (got, want, size) = (got.values[at], want.values[at], size.values[at]);
        let bound = 2.0 * (terms as f64 + 2.0) * EPS * size + rounding * want.abs() + rounding * 1e-4;
        let same = got == want || (got.is_nan() && want.is_nan());
        assert!(same || (got - want).abs() <= bound, "{what}: value {at} is {got}, not {want}");
    }
}

#[test]
fn matvec_is_the_dense_product() {
    let wide = [(1, 500, 400, 100, 70), (2, 70, 300, 2, 290)];
    for device in devices() {
        for (n, case) in SHAPES.into_iter().chain(wide).enumerate() {
            for layout in LAYOUTS {
                let (batch, rows, cols, _, _) = case;
                let a = banded(&device, n, shape(case, layout).fill(9.0));
                let what = format!("{device} {case:?} {layout:?}");
                for x_layout in LAYOUTS {
                    let x = dense(&device, n + 1, DenseShape::new(cols, 1).batch(batch).layout(x_layout));
                    assert_product(&what, &banded_matvec(&a, &x).unwrap(), &full(&a), &full_dense(&x), a.shape().band.width());
                }
                let z = dense(&device, n + 2, DenseShape::new(rows, 1).batch(batch));
                let at = a.t();
                assert_product(&what, &banded_matvec(&at, &z).unwrap(), &full(&at), &full_dense(&z), a.shape().band.width());
            }
        }
    }
}

#[test]
fn nan_and_infinity_stay_in_their_band() {
    for device in devices() {
        for layout in LAYOUTS {
            let shape = BandedShape::new(50, 50, band(3, 2)).layout(layout).fill(f32::INFINITY);
            let a = Banded::from_fn(&device, shape, |_, i, j| if (i, j) == (40, 41) { f32::INFINITY } else { (i + j) as f32 }).unwrap();
            let x = Dense::from_fn(&device, DenseShape::new(50, 1), |_, j, _| match j {
                10 => f32::NAN,
                20 => f32::INFINITY,
                41 => 0.0,
                _ => 1.0,
            })
            .unwrap();
            let y = banded_matvec(&a, &x).unwrap();
            assert_product(&format!("{device} {layout:?}"), &y, &full(&a), &full_dense(&x), 6);
            let values = y.read().unwrap();
            assert_eq!(values.iter().filter(|value| value.is_nan()).count(), 7, "{device}: the six rows of NaN and ∞ · 0");
        }
    }
}

#[test]
fn runs_repeat_bit_for_bit() {
    for device in devices() {
        let a = Banded::from_fn(&device, BandedShape::new(200, 200, band(90, 80)), |_, i, j| (1.0 + (i * j) as f32).sin()).unwrap();
        let x = Dense::from_fn(&device, DenseShape::new(200, 1), |_, j, _| (j as f32).cos()).unwrap();
        let first = banded_matvec(&a, &x).unwrap().read().unwrap();
        assert_eq!(banded_matvec(&a, &x).unwrap().read().unwrap(), first, "{device}");
    }
}

#[test]
fn gradients_are_outer_product_and_transpose() {
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for layout in LAYOUTS {
                let (batch, rows, cols, _, _) = case;
                let what = format!("{device} {case:?} {layout:?}");
                let a = banded(&device, n, shape(case, layout).fill(9.0));
                let x = dense(&device, n + 1, DenseShape::new(cols, 1).batch(batch));
                let g = dense(&device, n + 2, DenseShape::new(rows, 1).batch(batch));
                let (ga, gx) = banded_matvec_backward(&a, &x, &g).unwrap();
                assert_eq!((ga.shape(), gx.shape()), (a.shape().fill(0.0), x.shape()));
                let (fa, fx, fg) = (full(&a), full_dense(&x), full_dense(&g));
                let want = Full::new(batch, rows, cols, |b, i, j| {
                    let stored = fa.stored[(b * rows + i) * cols + j];
                    if stored { fg.at(b, i, 0) * fx.at(b, j, 0) } else { 0.0 }
                });
                assert_close(&what, &full(&ga), &want, 2.0 * EPS, 0.0);
                assert_product(&what, &gx, &full(&a.t()), &fg, a.shape().band.width());
            }
        }
    }
}

/// The value Σ g·y is linear in A and x, so differences are its slopes.
#[test]
fn gradients_match_differences() {
    let cpu = Device::cpu();
    let shape = BandedShape::new(4, 5, band(1, 2)).layout(Layout::Columns);
    let (a, x, g) = (banded(&cpu, 1, shape), dense(&cpu, 2, DenseShape::new(5, 1)), dense(&cpu, 3, DenseShape::new(4, 1)));
    let (ga, gx) = banded_matvec_backward(&a, &x, &g).unwrap();
    let g = full_dense(&g);
    let value = |a: &Full, x: &Full| product(a, x).0.values.iter().zip(&g.values).map(|(y, g)| y * g).sum::<f64>();
    let (fa, fx, fga, fgx) = (full(&a), full_dense(&x), full(&ga), full_dense(&gx));
    let h = 1e-4;
    for at in 0..fa.values.len() {
        let (mut up, mut down) = (fa.clone(), fa.clone());
        up.values[at] += h;
        down.values[at] -= h;
        let slope = (value(&up, &fx) - value(&down, &fx)) / (2.0 * h);
        assert!((fga.values[at] - slope).abs() < 1e-6, "a at {at}");
    }
    for at in 0..fx.values.len() {
        let (mut up, mut down) = (fx.clone(), fx.clone());
        up.values[at] += h;
        down.values[at] -= h;
        let slope = (value(&fa, &up) - value(&fa, &down)) / (2.0 * h);
        assert!((fgx.values[at] - slope).abs() < 1e-6, "x at {at}");
    }
}

#[test]
fn halves_give_halves() {
    for (device, dtype) in devices().into_iter().flat_map(|device| [(device.clone(), Dtype::F16), (device, Dtype::Bf16)]) {
        let a = banded(&device, 1, BandedShape::new(21, 13, band(4, 2)).batch(3).dtype(dtype));
        let x = dense(&device, 2, DenseShape::new(13, 1).batch(3).dtype(dtype));
        let y = banded_matvec(&a, &x).unwrap();
        assert_eq!(y.shape().dtype, dtype);
        assert_product(&device.to_string(), &y, &full(&a), &full_dense(&x), 7);
        let wide = dense(&device, 2, DenseShape::new(13, 1).batch(3));
        assert_eq!(banded_matvec(&a, &wide).unwrap().shape().dtype, Dtype::F32);
        let g = dense(&device, 3, DenseShape::new(21, 1).batch(3));
        let (ga, gx) = banded_matvec_backward(&a, &wide, &g).unwrap();
        assert_eq!((ga.shape().dtype, gx.shape().dtype), (dtype, Dtype::F32));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let a = banded(&cpu, 1, BandedShape::new(4, 5, band(1, 1)).batch(2));
    let vector = |batch, rows, cols| dense(&cpu, 1, DenseShape::new(rows, cols).batch(batch));
    for (x, got) in [(vector(2, 5, 3), "2 × 5 × 3"), (vector(2, 4, 1), "2 × 4 × 1"), (vector(3, 5, 1), "3 × 5 × 1")] {
        assert_eq!(
            banded_matvec(&a, &x).unwrap_err().to_string(),
            format!("banded_matvec: x has shape {got}, must have shape 2 × 5 × 1 (the batch of a × its columns × 1)")
        );
    }
    let x = vector(2, 5, 1);
    assert_eq!(
        banded_matvec_backward(&a, &x, &x).unwrap_err().to_string(),
        "banded_matvec_backward: g has shape 2 × 5 × 1, must have shape 2 × 4 × 1 (the batch of a × its rows × 1)"
    );
    let index = dense(&cpu, 1, DenseShape::new(5, 1).batch(2).dtype(Dtype::U32));
    assert_eq!(banded_matvec(&a, &index).unwrap_err().to_string(), "banded_matvec: x has dtype u32, must have dtype f32, f16 or bf16");
    let index = banded(&cpu, 1, a.shape().dtype(Dtype::U32));
    assert_eq!(banded_matvec(&index, &x).unwrap_err().to_string(), "banded_matvec: a has dtype u32, must have dtype f32, f16 or bf16");
    for device in devices().iter().skip(1) {
        let far = dense(device, 1, x.shape());
        assert_eq!(
            banded_matvec(&a, &far).unwrap_err().to_string(),
            format!("banded_matvec: x is on {device}, must be on cpu like the first operand")
        );
    }
}
