//! Gradients of products.

use bandsaw::{
    Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout, Semiring, banded_matmul, banded_matmul_backward, banded_matmul_band,
    banded_matmul_dense, banded_matmul_dense_backward, banded_matmul_index, banded_relayout, semiring_matmul, semiring_matmul_backward,
    semiring_matmul_index, window_matmul_backward,
};

use crate::{CASES, Case, EPS, Full, LAYOUTS, PAIRS, band, banded, dense, devices, full, full_dense, operands};

const RINGS: [Semiring; 5] = [Semiring::Sum, Semiring::Log, Semiring::Max, Semiring::ProdMax, Semiring::Sample { seed: 5 }];

/// A gradient and how far from it f32 may end.
pub struct Want {
    pub value: Full,
    pub bound: Full,
}

/// Both gradients from the definition; `index` says which p makes an entry, for the rings that pick.
fn gradients(case: &Case, c: &Full, g: &Full, ring: Semiring, index: Option<&Full>) -> (Want, Want) {
    let (a, b) = (&case.a, &case.b);
    let zero = |like: &Full| Full { stored: like.stored.clone(), ..Full::new(like.batch, like.rows, like.cols, |_, _, _| 0.0) };
    let want = |like| Want { value: zero(like), bound: zero(like) };
    let (mut ga, mut gb) = (want(a), want(b));
    for m in 0..a.batch {
        for i in 0..a.rows {
            for j in (0..b.cols).filter(|j| c.has(m, i, *j)) {
                let (z, slope) = (c.at(m, i, j), g.at(m, i, j));
                for (p, x, y) in case.terms(m, i, j) {
                    let picked = index.is_none_or(|index| index.at(m, i, j) == p as f64);
                    let share = if z == f64::NEG_INFINITY { 0.0 } else { (x + y - z).exp() };
                    let size = if share == 0.0 { 0.0 } else { x.abs() + y.abs() + z.abs() };
                    let (to_a, to_b, rounding) = match ring {
                        Semiring::Sum => (y, x, 0.0),
                        Semiring::Log => (share, share, 32.0 + 8.0 * size),
                        _ if !picked => continue,
                        Semiring::ProdMax => (y, x, 0.0),
                        Semiring::Max | Semiring::Sample { .. } => (1.0, 1.0, 0.0),
                    };
                    let floor = if ring == Semiring::Log { slope.abs() * (-60f64).exp2() } else { 0.0 };
                    let terms = |n: usize| (2.0 * (n as f64 + 2.0) + rounding) * EPS;
                    for (grad, (row, col), slope_to, n) in [(&mut ga, (i, p), to_a, b.cols), (&mut gb, (p, j), to_b, a.rows)] {
                        let at = (m * grad.value.rows + row) * grad.value.cols + col;
                        grad.value.values[at] += slope * slope_to;
                        grad.bound.values[at] += (slope * slope_to).abs() * terms(n) + floor;
                    }
                }
            }
        }
    }
    (ga, gb)
}

/// Every entry within its bound, and what half precision adds.
#[track_caller]
pub fn assert_within(what: &str, got: &Full, want: &Want, dtype: Dtype) {
    assert_eq!((got.batch, got.rows, got.cols), (want.value.batch, want.value.rows, want.value.cols), "{what}");
    let half = crate::common::rounding(dtype);
    for at in 0..got.values.len() {
        let (got, want, bound) = (got.values[at], want.value.values[at], want.bound.values[at]);
        let same = got == want || (got.is_nan() && want.is_nan());
        let allowed = bound + half * want.abs() + half * 1e-4;
        assert!(same || (got - want).abs() <= allowed, "{what}: value {at} is {got}, not {want} ± {allowed}");
    }
}

fn picks(ring: Semiring) -> bool {
    !matches!(ring, Semiring::Sum | Semiring::Log)
}

/// Checks one banded case from forward to gradients.
fn check_banded(what: &str, a: &Banded, b: &Banded, ring: Semiring, g_layout: Layout) {
    let c = banded_matmul(a, b, ring).unwrap();
    let g = banded(a.device(), 77, c.shape().fill(4.0).layout(g_layout));
    let index = picks(ring).then(|| full(&banded_matmul_index(a, b, ring).unwrap()));
    let (ga, gb) = banded_matmul_backward(a, b, &c, &g, ring).unwrap();
    assert_eq!((ga.shape(), gb.shape()), (a.shape().fill(0.0), b.shape().fill(0.0)), "{what}");
    let case = Case { what: what.into(), a: full(a), b: full(b) };
    let (want_a, want_b) = gradients(&case, &full(&c), &full(&g), ring, index.as_ref());
    assert_within(&format!("{what}: ga"), &full(&ga), &want_a, ga.shape().dtype);
    assert_within(&format!("{what}: gb"), &full(&gb), &want_b, gb.shape().dtype);
}

#[test]
fn banded_gradients_are_the_definition() {
    for device in devices() {
        for (n, sizes) in CASES.iter().enumerate() {
            for (k, layouts) in PAIRS.into_iter().enumerate() {
                let (a, b) = operands(&device, n, layouts, Dtype::F32);
                for ring in RINGS {
                    check_banded(&format!("{device} {:?} {layouts:?} {ring:?}", sizes), &a, &b, ring, LAYOUTS[(n + k) % 2]);
                }
            }
        }
    }
}

#[test]
fn halves_give_halves() {
    for device in devices() {
        for (ring, dtype) in RINGS.into_iter().flat_map(|ring| [(ring, Dtype::F16), (ring, Dtype::Bf16)]) {
            let (a, b) = operands(&device, 9, PAIRS[1], dtype);
            check_banded(&format!("{device} {ring:?} {dtype}"), &a, &b, ring, Layout::Rows);
            let (_, wide) = operands(&device, 9, PAIRS[1], Dtype::F32);
            check_banded(&format!("{device} {ring:?} {dtype} and f32"), &a, &wide, ring, Layout::Columns);
        }
    }
}

#[test]
fn gradients_of_a_cropped_product() {
    for device in devices() {
        for layout in LAYOUTS {
            let a = banded(&device, 1, BandedShape::new(40, 50, band(5, 9)).batch(2).layout(layout));
            let b = banded(&device, 2, BandedShape::new(50, 45, band(8, 3)).batch(2));
            for cropped in [band(2, 1), band(-3, 6), band(30, 35)] {
                for ring in [Semiring::Sum, Semiring::Log, Semiring::Max] {
                    let c = banded_matmul_band(&a, &b, ring, cropped).unwrap();
                    let g = banded(&device, 3, c.shape().fill(1.0));
                    let (ga, gb) = banded_matmul_backward(&a, &b, &c, &g, ring).unwrap();
                    let case = Case { what: format!("{device} {layout:?} {cropped} {ring:?}"), a: full(&a), b: full(&b) };
                    let index = picks(ring).then(|| full(&banded_matmul_index(&a, &b, ring).unwrap()));
                    let (want_a, want_b) = gradients(&case, &full(&c), &full(&g), ring, index.as_ref());
                    assert_within(&case.what, &full(&ga), &want_a, Dtype::F32);
                    assert_within(&case.what, &full(&gb), &want_b, Dtype::F32);
                }
            }
        }
    }
}

#[test]
fn dense_gradients_are_the_definition() {
    for device in devices() {
        for (n, (batch, rows, inner, cols)) in [(1, 1, 1, 1), (2, 5, 140, 33), (1, 66, 9, 140), (0, 3, 3, 3)].into_iter().enumerate() {
            for (k, layouts) in PAIRS.into_iter().enumerate() {
                let a = dense(&device, n, DenseShape::new(rows, inner).batch(batch).layout(layouts[0]));
                let b = dense(&device, n + 9, DenseShape::new(inner, cols).batch(batch).layout(layouts[1]));
                let g = dense(&device, n + 20, DenseShape::new(rows, cols).batch(batch).layout(LAYOUTS[k % 2]));
                for ring in RINGS {
                    let c = semiring_matmul(&a, &b, ring).unwrap();
                    let index = picks(ring).then(|| full_dense(&semiring_matmul_index(&a, &b, ring).unwrap()));
                    let (ga, gb) = semiring_matmul_backward(&a, &b, &c, &g, ring).unwrap();
                    assert_eq!((ga.shape(), gb.shape()), (a.shape(), b.shape()));
                    let case = Case { what: format!("{device} {n} {layouts:?} {ring:?}"), a: full_dense(&a), b: full_dense(&b) };
                    let (want_a, want_b) = gradients(&case, &full_dense(&c), &full_dense(&g), ring, index.as_ref());
                    assert_within(&case.what, &full_dense(&ga), &want_a, Dtype::F32);
                    assert_within(&case.what, &full_dense(&gb), &want_b, Dtype::F32);
                }
            }
        }
    }
}

#[test]
fn banded_times_dense_and_window() {
    for device in devices() {
        for layouts in PAIRS {
            let a = banded(&device, 1, BandedShape::new(70, 60, band(9, 4)).batch(2).layout(layouts[0]));
            let v = dense(&device, 2, DenseShape::new(60, 37).batch(2).layout(layouts[1]));
            let g = dense(&device, 3, DenseShape::new(70, 37).batch(2).layout(layouts[0]));
            // Sample's index over a dense result is not public; Max goes the same way.
            for ring in [Semiring::Sum, Semiring::Log] {
                let o = banded_matmul_dense(&a, &v, ring).unwrap();
                let (ga, gv) = banded_matmul_dense_backward(&a, &v, &o, &g, ring).unwrap();
                assert_eq!((ga.shape(), gv.shape()), (a.shape(), v.shape()));
                let case = Case { what: format!("{device} {layouts:?} {ring:?}"), a: full(&a), b: full_dense(&v) };
                let (want_a, want_v) = gradients(&case, &full_dense(&o), &full_dense(&g), ring, None);
                assert_within(&case.what, &full(&ga), &want_a, Dtype::F32);
                assert_within(&case.what, &full_dense(&gv), &want_v, Dtype::F32);
            }
            for ring in [Semiring::Max, Semiring::ProdMax] {
                let o = banded_matmul_dense(&a, &v, ring).unwrap();
                let (ga, gv) = banded_matmul_dense_backward(&a, &v, &o, &g, ring).unwrap();
                let case = Case { what: format!("{device} {layouts:?} {ring:?}"), a: full(&a), b: full_dense(&v) };
                let of = full_dense(&o);
                let index = Full::new(2, 70, 37, |b, i, j| {
                    let value = |x: f64, y: f64| if ring == Semiring::Max { x + y } else { x * y };
                    case.terms(b, i, j).find(|(_, x, y)| value(*x, *y) == of.at(b, i, j)).map_or(-1.0, |(p, _, _)| p as f64)
                });
                let (want_a, want_v) = gradients(&case, &of, &full_dense(&g), ring, Some(&index));
                assert_within(&case.what, &full(&ga), &want_a, Dtype::F32);
                assert_within(&case.what, &full_dense(&gv), &want_v, Dtype::F32);
            }

            let q = dense(&device, 4, DenseShape::new(70, 11).batch(2).layout(layouts[0]));
            let k = dense(&device, 5, DenseShape::new(60, 11).batch(2).layout(layouts[1]));
            let (gq, gk) = window_matmul_backward(&q, &k, &a).unwrap();
            assert_eq!((gq.shape(), gk.shape()), (q.shape(), k.shape()));
            let case = Case { what: format!("{device} {layouts:?} window"), a: full_dense(&q), b: full_dense(&k.t()) };
            let (want_q, want_k) = gradients(&case, &full(&a), &full(&a), Semiring::Sum, None);
            assert_within(&case.what, &full_dense(&gq), &want_q, Dtype::F32);
            assert_within(&case.what, &full_dense(&gk.t()), &want_k, Dtype::F32);
        }
    }
}

/// Where scaling by rows and columns loses everything, and where values are no numbers.
#[test]
fn log_gradients_hold_over_the_whole_range() {
    for device in devices() {
        for layouts in PAIRS {
            let far = |seed: usize| {
                move |b: usize, i: usize, j: usize| {
                    let base = [500.0, -500.0, 0.0, -90.0, 3.0][(i * 3 + j * 7 + seed * (i + 1)) % 5];
                    match b {
                        0 => base + (i % 4) as f32 / 8.0,
                        1 if !(i + 2 * j + seed).is_multiple_of(3) => f32::NEG_INFINITY,
                        1 => (i as f32 - j as f32) / 4.0,
                        2 if (i, j) == (12, 14) => f32::NAN,
                        2 if (i, j) == (30, 28) && seed == 1 => f32::INFINITY,
                        2 if i == 30 => 88.0,
                        3 => f32::NEG_INFINITY,
                        _ => (i * j % 7) as f32,
                    }
                }
            };
            let a = Banded::from_fn(&device, BandedShape::new(45, 41, band(6, 9)).batch(4).layout(layouts[0]), far(1)).unwrap();
            let b = Banded::from_fn(&device, BandedShape::new(41, 47, band(7, 5)).batch(4).layout(layouts[1]), far(2)).unwrap();
            check_banded(&format!("{device} {layouts:?}"), &a, &b, Semiring::Log, layouts[1]);
        }
    }
}

#[test]
fn gradients_repeat_bit_for_bit_in_any_layout_of_g() {
    for device in devices() {
        let (a, b) = operands(&device, 11, PAIRS[0], Dtype::F32);
        for ring in RINGS {
            let c = banded_matmul(&a, &b, ring).unwrap();
            let g = Banded::from_fn(&device, c.shape(), |_, i, j| ((i * 31 + j) as f32).sin()).unwrap();
            let other = banded_relayout(&g, Layout::Columns).unwrap();
            let run = |g: &Banded| {
                let (ga, gb) = banded_matmul_backward(&a, &b, &c, g, ring).unwrap();
                let bits = |x: &Banded| x.read().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
                (bits(&ga), bits(&gb))
            };
            assert_eq!(run(&g), run(&g), "{device} {ring:?}");
            if ring != Semiring::Sum {
                assert_eq!(run(&g), run(&other), "{device} {ring:?}");
            }
        }
    }
}

/// ln Σ exp and Σ products have slopes that differences show.
#[test]
fn gradients_match_differences() {
    let cpu = Device::cpu();
    let (a, b) = operands(&cpu, 5, PAIRS[2], Dtype::F32);
    for ring in [Semiring::Sum, Semiring::Log] {
        let c = banded_matmul(&a, &b, ring).unwrap();
        let g = banded(&cpu, 9, c.shape());
        let (ga, gb) = banded_matmul_backward(&a, &b, &c, &g, ring).unwrap();
        let (stored, g) = (full(&c), full(&g));
        let value = |case: &Case| {
            let mut sum = 0.0;
            for i in 0..stored.rows {
                for j in (0..stored.cols).filter(|j| stored.has(0, i, *j) && case.terms(0, i, *j).count() > 0) {
                    let terms = case.terms(0, i, j);
                    let entry: f64 = if ring == Semiring::Sum {
                        terms.map(|(_, x, y)| x * y).sum()
                    } else {
                        terms.map(|(_, x, y)| (x + y).exp()).sum::<f64>().ln()
                    };
                    sum += g.at(0, i, j) * entry;
                }
            }
            sum
        };
        let h = 1e-4;
        for (second, grad) in [(false, full(&ga)), (true, full(&gb))] {
            for at in (0..grad.values.len()).filter(|at| grad.stored[*at]) {
                let moved = |by: f64| {
                    let mut case = Case { what: String::new(), a: full(&a), b: full(&b) };
                    let side = if second { &mut case.b } else { &mut case.a };
                    side.values[at] += by;
                    value(&case)
                };
                let slope = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((grad.values[at] - slope).abs() < 1e-5, "{ring:?} {second} {at}: {} {slope}", grad.values[at]);
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let shape = BandedShape::new(4, 5, band(1, 1)).batch(2);
    let (a, b) = (banded(&cpu, 1, shape), banded(&cpu, 2, shape.t()));
    let c = banded_matmul(&a, &b, Semiring::Sum).unwrap();
    let error = |c: &Banded, g: &Banded| banded_matmul_backward(&a, &b, c, g, Semiring::Log).unwrap_err().to_string();
    let like = |shape| banded(&cpu, 3, shape);
    let good = c.shape();
    assert_eq!(error(&like(BandedShape { rows: 5, ..good }), &c), "banded_matmul_backward: c has rows 5, must have rows 4 (the rows of a)");
    assert_eq!(error(&like(good.batch(1)), &c), "banded_matmul_backward: c has batch 1, must have batch 2 (the batch of a)");
    assert_eq!(
        error(&c, &like(BandedShape { cols: 5, ..good })),
        "banded_matmul_backward: g has columns 5, must have columns 4 (the columns of c)"
    );
    assert_eq!(
        error(&c, &like(BandedShape { band: band(1, 2), ..good })),
        "banded_matmul_backward: g has band lower 1, upper 2, must have band lower 2, upper 2 (the band of c)"
    );
    assert_eq!(error(&c, &like(good.dtype(Dtype::U32))), "banded_matmul_backward: g has dtype u32, must have dtype f32, f16 or bf16");
    let q = dense(&cpu, 1, DenseShape::new(4, 3).batch(2));
    assert_eq!(
        window_matmul_backward(&q, &q, &a).unwrap_err().to_string(),
        "window_matmul_backward: g has columns 5, must have columns 4 (the rows of k)"
    );
    let k = dense(&cpu, 1, DenseShape::new(5, 2).batch(2));
    assert_eq!(
        window_matmul_backward(&q, &k, &a).unwrap_err().to_string(),
        "window_matmul_backward: k has columns 2, must have columns 3 (the columns of q)"
    );
    for device in devices().skip(1) {
        let far = Dense::from_fn(&device, DenseShape::new(4, 3).batch(2), |_, _, _| 0.0).unwrap();
        let near = semiring_matmul(&q, &q.t(), Semiring::Log).unwrap();
        let error = semiring_matmul_backward(&q, &q.t(), &near, &far, Semiring::Log).unwrap_err().to_string();
        assert_eq!(error, format!("semiring_matmul_backward: g is on {device}, must be on cpu like the first operand"));
    }
}
