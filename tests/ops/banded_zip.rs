//! `banded_zip`, `banded_map` and their gradients.

use bandsaw::{Banded, BandedShape, Device, Dtype, Expr, Layout, a, b, banded_map, banded_map_backward, banded_zip, banded_zip_backward};

use crate::{EPS, Full, LAYOUTS, SHAPES, assert_close, band, banded, devices, full, shape};

fn parse(text: &str) -> Expr {
    text.parse().unwrap()
}

/// f over two written-out batches on the union of what they store, its fill elsewhere.
fn zipped(x: &Banded, y: &Banded, f: &Expr) -> Full {
    let (fx, fy) = (f64::from(x.shape().fill), f64::from(y.shape().fill));
    let (x, y) = (full(x), full(y));
    Full::new(x.batch, x.rows, x.cols, |b, i, j| {
        let (i, j) = (i as i64, j as i64);
        f.eval([x.stored_or(b, i, j, fx), y.stored_or(b, i, j, fy), 0.0])
    })
}

#[test]
fn zip_is_f_of_both_on_the_union() {
    let f = (a() + b() * 2.0) / 4.0;
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for (layout, other) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let x = banded(&device, n, shape(case, LAYOUTS[layout]).fill(0.5));
                let (batch, rows, cols, lower, upper) = case;
                let y = banded(&device, n + 50, shape((batch, rows, cols, upper, lower + 1), LAYOUTS[other]).fill(-1.0));
                let z = banded_zip(&x, &y, &f).unwrap();
                let want = BandedShape { band: x.shape().band.union(y.shape().band), fill: -0.375, ..x.shape() };
                assert_eq!(z.shape(), want);
                assert_close(&format!("{device} {case:?}"), &full(&z), &zipped(&x, &y, &f), 4.0 * EPS, 0.0);
            }
        }
    }
}

#[test]
fn bands_that_do_not_meet_leave_a_gap_of_fills() {
    for device in devices() {
        let x = banded(&device, 1, BandedShape::new(9, 9, band(4, -3)).fill(3.0));
        let y = banded(&device, 2, BandedShape::new(9, 9, band(-2, 5)).layout(Layout::Columns).fill(5.0));
        let z = banded_zip(&x, &y, &(a() * b())).unwrap();
        assert_eq!(z.shape().band, band(4, 5));
        assert_eq!(z.get(0, 4, 4).unwrap(), 15.0);
        assert_close(&device.to_string(), &full(&z), &zipped(&x, &y, &(a() * b())), EPS, 0.0);
    }
}

#[test]
fn every_function_is_the_one_on_the_cpu() {
    let special =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0, 0.37, -2.5, 30.0, -30.0, 88.0, 200.0, -200.0, 1e-30, 3e38];
    let n = special.len();
    let texts = [
        "a + b",
        "a - b",
        "a * b",
        "a / b",
        "min(a, b)",
        "max(a, b)",
        "min(max(a, b), 0.5)",
        "-a",
        "abs(a)",
        "exp(a)",
        "ln(a)",
        "sqrt(a)",
        "tanh(a)",
        "clamp(a, -1, 1)",
        "select_ge(a, b, a, 7)",
        "select_ge(b, 0, nan, inf)",
        "a / 0",
        "1 / 0 + a",
        "0 / 0",
        "a * (1 / a)",
        "a * 0",
        "a - a",
        "a / a",
        "(a + b) - b",
        "b - (b - a)",
        "-(-a)",
        "a * 1 + 0",
        "abs(a) - a",
        "b",
        "3",
        "-inf",
        "1e-40 + b - b",
        "ln(exp(clamp(a, -5, 5)) + 1)",
    ];
    for device in devices() {
        let shape = BandedShape::new(n, n, band(n as i64, n as i64));
        let x = Banded::from_fn(&device, shape, |_, i, _| special[i]).unwrap();
        let y = Banded::from_fn(&device, shape, |_, _, j| special[j]).unwrap();
        for text in texts {
            let f = parse(text);
            let z = banded_zip(&x, &y, &f).unwrap();
            let got = full(&z);
            for i in 0..n {
                for j in 0..n {
                    let exact = f.eval([f64::from(special[i]), f64::from(special[j]), 0.0]);
                    let (got, want) = (got.at(0, i, j), f64::from(exact as f32));
                    // f64 rounds less and does not overflow within an expression: of these, only
                    // what becomes of NaN and infinity.
                    let inexact = ["a * (1 / a)", "(a + b) - b", "b - (b - a)"].contains(&text);
                    let skip = inexact && special[i].is_finite() && (special[j].is_finite() || text == "a * (1 / a)");
                    let close = (got - want).abs() <= 64.0 * EPS * want.abs() + 1e-37;
                    // exp(88) may be infinite already.
                    let large = text == "exp(a)" && want.abs() > 1e37 && got.abs() > 1e37 && got.signum() == want.signum();
                    assert!(
                        skip || close || got == want || (got.is_nan() && want.is_nan()) || large,
                        "{device} {text} of {} and {}: {got}, not {want}",
                        special[i],
                        special[j]
                    );
                }
            }
        }
        // Shader languages promise 2^-11 for these.
        for text in ["sin(a)", "cos(a)"] {
            let f = parse(text);
            let z = full(&banded_map(&x, &f).unwrap());
            for (i, value) in special.iter().enumerate().filter(|(_, value)| value.abs() < 4.0 || !value.is_finite()) {
                let (got, want) = (z.at(0, i, 0), f.eval([f64::from(*value), 0.0, 0.0]));
                assert!((got - want).abs() < 1.0 / 2048.0 || (got.is_nan() && want.is_nan()), "{device} {text} of {value}: {got}");
            }
        }
    }
}

#[test]
fn map_maps_the_fill_too() {
    let f = a().abs() * 0.5 + 1.0;
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for layout in LAYOUTS {
                let x = banded(&device, n, shape(case, layout).fill(-4.0));
                let y = banded_map(&x, &f).unwrap();
                assert_eq!(y.shape(), x.shape().fill(3.0));
                assert_close(&format!("{device} {case:?}"), &full(&y), &zipped(&x, &x, &f), 4.0 * EPS, 0.0);
            }
        }
    }
}

#[test]
fn halves_stay_halves() {
    for (device, dtype) in devices().into_iter().flat_map(|device| [(device.clone(), Dtype::F16), (device, Dtype::Bf16)]) {
        let shape = BandedShape::new(13, 9, band(2, 1)).batch(3).fill(0.1).dtype(dtype);
        let (x, y) = (banded(&device, 1, shape), banded(&device, 2, shape.layout(Layout::Columns)));
        let f = (a() + b()) * 0.3;
        let z = banded_zip(&x, &y, &f).unwrap();
        assert_eq!(z.shape().dtype, dtype);
        assert_close(&device.to_string(), &full(&z), &zipped(&x, &y, &f), 2.0 * crate::common::rounding(dtype), 1e-7);
        let wide = banded(&device, 2, shape.dtype(Dtype::F32));
        assert_eq!(banded_zip(&x, &wide, &f).unwrap().shape().dtype, Dtype::F32);
        let (gx, gy) = banded_zip_backward(&x, &wide, &f, &z).unwrap();
        assert_eq!((gx.shape(), gy.shape()), (shape.fill(0.0), shape.fill(0.0).dtype(Dtype::F32)));
    }
}

#[test]
fn gradients_are_the_slopes() {
    let f = (a() * b()).tanh() + a().max(b()) * 0.5 - b() / (a() * a() + 1.0);
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for layout in LAYOUTS {
                let (batch, rows, cols, lower, upper) = case;
                let x = banded(&device, n, shape(case, layout).fill(0.25));
                let y = banded(&device, n + 9, shape((batch, rows, cols, upper + 1, lower), layout.t()).fill(-0.75));
                let g = banded(&device, n + 99, shape((batch, rows, cols, lower + 1, upper), layout.t()).fill(9.0));
                let (gx, gy) = banded_zip_backward(&x, &y, &f, &g).unwrap();
                assert_eq!((gx.shape(), gy.shape()), (x.shape().fill(0.0), y.shape().fill(0.0)));
                let (fx, fy, fg, h) = (full(&x), full(&y), full(&g), 1e-6);
                for (which, got, operand) in [(0, gx, &fx), (1, gy, &fy)] {
                    let want = Full::new(batch, rows, cols, |b, i, j| {
                        let (i, j) = (i as i64, j as i64);
                        if operand.stored_or(b, i, j, f64::NAN).is_nan() {
                            return 0.0;
                        }
                        let (x, y) = (fx.stored_or(b, i, j, 0.25), fy.stored_or(b, i, j, -0.75));
                        if x == y {
                            // At the kink: the side that is taken.
                            return fg.stored_or(b, i, j, 0.0) * f.derivative(which).eval([x, y, 0.0]);
                        }
                        let step = if which == 0 { [h, 0.0] } else { [0.0, h] };
                        let slope = f.eval([x + step[0], y + step[1], 0.0]) - f.eval([x - step[0], y - step[1], 0.0]);
                        fg.stored_or(b, i, j, 0.0) * slope / (2.0 * h)
                    });
                    assert_close(&format!("{device} {case:?} by {which}"), &full(&got), &want, 1e-5, 1e-5);
                }
                let square = banded_map_backward(&x, &(a() * a()), &g).unwrap();
                assert_eq!(square.shape(), x.shape().fill(0.0));
                let want = Full::new(batch, rows, cols, |b, i, j| {
                    let (i, j) = (i as i64, j as i64);
                    2.0 * fx.stored_or(b, i, j, 0.0) * fg.stored_or(b, i, j, 0.0)
                });
                assert_close(&format!("{device} {case:?}"), &full(&square), &want, 4.0 * EPS, 0.0);
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let x = banded(&cpu, 1, BandedShape::new(4, 5, band(1, 1)).batch(2));
    let error = |shape: BandedShape| banded_zip(&x, &banded(&cpu, 1, shape), &a()).unwrap_err().to_string();
    let at = |batch, rows, cols| BandedShape::new(rows, cols, band(1, 1)).batch(batch);
    assert_eq!(error(at(3, 4, 5)), "banded_zip: b has batch 3, must have batch 2 (the batch of a)");
    assert_eq!(error(at(2, 3, 5)), "banded_zip: b has rows 3, must have rows 4 (the rows of a)");
    assert_eq!(error(at(2, 4, 6)), "banded_zip: b has columns 6, must have columns 5 (the columns of a)");
    assert_eq!(error(at(2, 4, 5).dtype(Dtype::U32)), "banded_zip: b has dtype u32, must have dtype f32, f16 or bf16");
    let g = banded(&cpu, 1, at(2, 4, 6));
    assert_eq!(
        banded_map_backward(&x, &a(), &g).unwrap_err().to_string(),
        "banded_map_backward: g has columns 6, must have columns 5 (the columns of a)"
    );
    assert_eq!(
        banded_zip_backward(&x, &x, &a(), &g).unwrap_err().to_string(),
        "banded_zip_backward: g has columns 6, must have columns 5 (the columns of a)"
    );
    assert_eq!(
        banded_map(&x, &(a() + b())).unwrap_err().to_string(),
        "banded_map: f has (a + b), which uses b, must have an expression over a alone"
    );
    assert_eq!(
        banded_map_backward(&x, &b(), &x).unwrap_err().to_string(),
        "banded_map_backward: f has b, which uses b, must have an expression over a alone"
    );
    let long = (0..600).fold(a(), |sum, n| sum * 0.5 + n as f32);
    assert_eq!(banded_map(&x, &long).unwrap_err().to_string(), "banded_map: f has 1802 operations, must have at most 1024");
    for device in devices().iter().skip(1) {
        let far = banded(device, 1, at(2, 4, 5));
        assert_eq!(
            banded_zip(&x, &far, &a()).unwrap_err().to_string(),
            format!("banded_zip: b is on {device}, must be on cpu like the first operand")
        );
    }
}

#[test]
fn the_longest_expression_runs_everywhere() {
    let f = (0..340).fold(a(), |sum, n| sum * 0.5 + n as f32);
    for device in devices() {
        let x = banded(&device, 3, BandedShape::new(8, 8, band(1, 1)));
        let y = banded_map(&x, &f).unwrap();
        assert_close(&device.to_string(), &full(&y), &zipped(&x, &x, &f), 1e-5, 0.0);
        assert!(banded_map_backward(&x, &f, &x).is_ok());
    }
}
