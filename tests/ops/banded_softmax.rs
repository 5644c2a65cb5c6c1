//! `banded_softmax` and its gradient.

use bandsaw::*;

use crate::common::full::*;
use crate::common::{Case, Host, cases, check_value, devices, outside_holds_fill};

/// P and GA for a row of scores and upstream gradients, in f64.
fn softmax(scores: &[f64]) -> Vec<f64> {
    let top = scores.iter().fold(f64::NEG_INFINITY, |x, y| if x.is_nan() || x > *y { x } else { *y });
    if top == f64::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
    scores.iter().map(|score| (score - top).exp() / total).collect()
}

/// Holds P against the definition, row by row.
#[track_caller]
fn check(what: &str, a: &Banded, p: &Banded, scale: f32) {
    assert_eq!(p.shape(), a.shape().fill(0.0), "{what}");
    outside_holds_fill(what, &p.shape(), &p.read().unwrap());
    let (a, p, dtype) = (full(a), full(p), a.shape().dtype);
    for (b, i) in (0..a.batch).flat_map(|b| (0..a.rows).map(move |i| (b, i))) {
        let stored: Vec<_> = (0..a.cols).filter(|j| a.has(b, i, *j)).collect();
        let scores: Vec<_> = stored.iter().map(|j| f64::from(scale) * a.at(b, i, *j)).collect();
        let largest = scores.iter().filter(|score| score.is_finite()).fold(0.0f64, |x, y| x.max(y.abs()));
        for (j, want) in stored.iter().zip(softmax(&scores)) {
            // The exponent's rounding and exp's own error grow with its size.
            let relative = EPS * (2.0 * (stored.len() as f64 + 2.0) + 16.0 + 16.0 * largest);
            let half = if dtype == Dtype::F16 { want / 2048.0 + 6e-8 } else { 0.0 };
            check_value(p.at(b, i, *j) as f32, want, relative * want + 1e-37 + half, || format!("{what} [{b}][{i}, {j}]"));
        }
    }
}

/// Holds GA against the definition, from the P that was computed.
#[track_caller]
fn check_gradient(what: &str, p: &Banded, g: &Banded, ga: &Banded, scale: f32) {
    assert_eq!(ga.shape(), p.shape(), "{what}");
    outside_holds_fill(what, &ga.shape(), &ga.read().unwrap());
    let half = if p.shape().dtype == Dtype::F16 { 1.0 / 2048.0 } else { 0.0 };
    let (p, g, ga) = (full(p), full(g), full(ga));
    for (b, i) in (0..p.batch).flat_map(|b| (0..p.rows).map(move |i| (b, i))) {
        let stored: Vec<_> = (0..p.cols).filter(|j| p.has(b, i, *j)).collect();
        let mean: f64 = stored.iter().map(|j| p.at(b, i, *j) * g.at(b, i, *j)).sum();
        let size: f64 = stored.iter().map(|j| (p.at(b, i, *j) * g.at(b, i, *j)).abs()).sum();
        for j in &stored {
            let (p, g) = (p.at(b, i, *j), g.at(b, i, *j));
            let want = f64::from(scale) * p * (g - mean);
            let bound = f64::from(scale).abs() * p * EPS * (2.0 * (stored.len() as f64 + 2.0) * size + 8.0 * (g.abs() + mean.abs()));
            check_value(ga.at(b, i, *j) as f32, want, bound + half * want.abs() + half * 1e-4, || format!("{what} ga [{b}][{i}, {j}]"));
        }
    }
}

fn operand(device: &Device, case: &Case, layout: Layout, dtype: Dtype, seed: u64) -> Banded {
    Host::random(case.batch, case.rows, case.inner, Some(case.a()), seed, 4.0).banded(device, layout, dtype, false)
}

#[test]
fn every_case_and_layout() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            for layout in LAYOUTS {
                let what = format!("{}: {} {layout:?}", tested.label, case.name);
                let (dtype, scale) = (if n % 3 == 2 { Dtype::F16 } else { Dtype::F32 }, [1.0, 0.25, -2.0][n % 3]);
                let a = operand(&tested.device, case, layout, dtype, n as u64);
                let p = banded_softmax(&a, scale).unwrap();
                check(&what, &a, &p, scale);
                let g = operand(&tested.device, case, LAYOUTS[n % 2], dtype, n as u64 + 99);
                check_gradient(&what, &p, &g, &banded_softmax_backward(&p, &g, scale).unwrap(), scale);
            }
        }
    }
}

/// A transposed matrix has rows where it stores columns, and a fill has no mass.
/// Long rows, and so many that few invocations share one.
#[test]
fn long_rows_and_many() {
    for tested in devices() {
        for (batch, n, lower, upper) in [(1, 500, 300, 400), (600, 60, 8, 8), (100, 100, 40, 40)] {
            for layout in LAYOUTS {
                let what = format!("{}: {batch} of {n}, {lower} + {upper} {layout:?}", tested.label);
                let random = |seed| {
                    let band = Band::new(lower, upper).unwrap();
                    Host::random(batch, n, n, Some(band), seed, 4.0).banded(&tested.device, layout, Dtype::F32, false)
                };
                let (a, g) = (random(1), random(2));
                let p = banded_softmax(&a, 0.5).unwrap();
                check(&what, &a, &p, 0.5);
                check_gradient(&what, &p, &g, &banded_softmax_backward(&p, &g, 0.5).unwrap(), 0.5);
            }
        }
    }
}

#[test]
fn transposes_and_fills() {
    for tested in devices() {
        let shape = BandedShape::new(40, 33, band(5, 9)).batch(2).fill(50.0);
        let a = banded(&tested.device, 3, shape).t();
        check(&tested.label, &a, &banded_softmax(&a, 1.0).unwrap(), 1.0);
    }
}

#[test]
fn values_beyond_the_usual() {
    for tested in devices() {
        for layout in LAYOUTS {
            let shape = BandedShape::new(12, 12, band(2, 2)).layout(layout);
            let value = |_: usize, i: usize, j: usize| match i {
                0 => f32::NEG_INFINITY,
                1 => [f32::NEG_INFINITY, 3.0][j % 2],
                2 if j == 3 => f32::NAN,
                3 if j == 2 => f32::INFINITY,
                4 => 1e4 * (j as f32 - 5.0),
                5 => -1e38 * (j as f32),
                6 => 1e-40,
                _ => j as f32,
            };
            let a = Banded::from_fn(&tested.device, shape, value).unwrap();
            let p = banded_softmax(&a, 1.0).unwrap();
            check(&format!("{} {layout:?}", tested.label), &a, &p, 1.0);
        }
    }
}

#[test]
fn gradients_match_differences() {
    let cpu = Device::cpu();
    let shape = BandedShape::new(6, 7, band(2, 1)).layout(Layout::Columns);
    let (a, g) = (banded(&cpu, 1, shape), banded(&cpu, 2, shape));
    let scale = 0.75f32;
    let ga = full(&banded_softmax_backward(&banded_softmax(&a, scale).unwrap(), &g, scale).unwrap());
    let (a, g) = (full(&a), full(&g));
    let value = |a: &Full| {
        (0..a.rows)
            .map(|i| {
                let stored: Vec<_> = (0..a.cols).filter(|j| a.has(0, i, *j)).collect();
                let p = softmax(&stored.iter().map(|j| f64::from(scale) * a.at(0, i, *j)).collect::<Vec<_>>());
                stored.iter().zip(p).map(|(j, p)| p * g.at(0, i, *j)).sum::<f64>()
            })
            .sum::<f64>()
    };
    let h = 1e-4;
    for at in (0..a.values.len()).filter(|at| a.stored[*at]) {
        let moved = |by: f64| {
            let mut moved = a.clone();
            moved.values[at] += by;
            value(&moved)
        };
        assert!((ga.values[at] - (moved(h) - moved(-h)) / (2.0 * h)).abs() < 1e-6, "{at}");
    }
}

#[test]
fn batches_beyond_a_binding_are_cut() {
    for tested in devices() {
        let options = Options { max_binding: Some(4096), ..tested.device.options() };
        let device = tested.opened(options);
        let a = banded(&device, 1, BandedShape::new(30, 30, band(7, 7)).batch(5));
        let p = banded_softmax(&a, 1.0).unwrap();
        check(&tested.label, &a, &p, 1.0);
        check_gradient(&tested.label, &p, &a, &banded_softmax_backward(&p, &a, 1.0).unwrap(), 1.0);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let shape = BandedShape::new(4, 5, band(1, 1)).batch(2);
    let a = banded(&cpu, 1, shape);
    let refused = |result: Result<Banded>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
    refused(banded_softmax(&a, f32::NAN), "banded_softmax: scale has NaN, must have a finite value");
    refused(banded_softmax_backward(&a, &a, f32::INFINITY), "banded_softmax_backward: scale has inf, must have a finite value");
    let index = banded(&cpu, 1, shape.dtype(Dtype::U32));
    refused(banded_softmax(&index, 1.0), "banded_softmax: a has dtype u32, must have dtype f32, f16 or bf16");
    refused(banded_softmax_backward(&a, &index, 1.0), "banded_softmax_backward: g has dtype u32, must have dtype f32, f16 or bf16");
    let other = banded(&cpu, 1, shape.batch(3));
    refused(banded_softmax_backward(&a, &other, 1.0), "banded_softmax_backward: g has batch 3, must have batch 2 (the batch of p)");
    let other = banded(&cpu, 1, BandedShape { band: band(2, 1), ..shape });
    let text = "banded_softmax_backward: g has band lower 2, upper 1, must have band lower 1, upper 1 (the band of p)";
    refused(banded_softmax_backward(&a, &other, 1.0), text);
    for tested in devices().iter().skip(1) {
        let far = banded(&tested.device, 1, shape);
        let text = format!("banded_softmax_backward: g is on {}, must be on cpu like the first operand", tested.device);
        refused(banded_softmax_backward(&a, &far, 1.0), &text);
    }
}
