//! `banded_matmul_index` and `semiring_matmul_index`.

use bandsaw::{Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout, Semiring, banded_matmul_index, semiring_matmul_index};

use crate::{CASES, Case, PAIRS, band, dense, devices, full, full_dense, operands};

const NONE: u32 = u32::MAX;

/// The first p of the largest term, NaN counting as the largest. The tests' sums and products are
/// exact, or special in f32 as in f64.
fn first_largest(case: &Case, ring: Semiring, b: usize, i: usize, j: usize) -> u32 {
    let mut best: Option<(usize, f64)> = None;
    for (p, x, y) in case.terms(b, i, j) {
        let value = if ring == Semiring::ProdMax { x * y } else { x + y };
        if value.is_nan() {
            return p as u32;
        }
        if best.is_none_or(|(_, largest)| value > largest) {
            best = Some((p, value));
        }
    }
    best.map_or(NONE, |(p, _)| p as u32)
}

/// Every slot of the index holds what `want` says, `u32::MAX` outside the matrix.
#[track_caller]
fn assert_banded(what: &str, index: &Banded, want: impl Fn(usize, usize, usize) -> u32) {
    let shape = index.shape();
    assert_eq!(shape.dtype, Dtype::U32);
    for (slot, got) in index.read_u32().unwrap().into_iter().enumerate() {
        let want = shape.entry(slot).map_or(NONE, |(b, i, j)| want(b, i, j));
        assert_eq!(got, want, "{what}: slot {slot}, entry {:?}", shape.entry(slot));
    }
}

#[track_caller]
fn assert_dense(what: &str, index: &Dense, want: impl Fn(usize, usize, usize) -> u32) {
    let shape = index.shape();
    let got = index.read_u32().unwrap();
    for b in 0..shape.batch {
        for i in 0..shape.rows {
            for j in 0..shape.cols {
                assert_eq!(got[shape.index(b, i, j)], want(b, i, j), "{what}: entry ({b}, {i}, {j})");
            }
        }
    }
}

#[test]
fn index_is_the_first_largest() {
    for device in devices() {
        for (n, sizes) in CASES.into_iter().enumerate() {
            for layouts in PAIRS {
                let (a, b) = operands(&device, n, layouts, Dtype::F32);
                for ring in [Semiring::Max, Semiring::ProdMax] {
                    let case = Case { what: format!("{device} {:?} {layouts:?} {ring:?}", sizes), a: full(&a), b: full(&b) };
                    let index = banded_matmul_index(&a, &b, ring).unwrap();
                    assert_eq!((index.shape().band, index.shape().layout), (a.shape().band * b.shape().band, layouts[0]));
                    assert_banded(&case.what, &index, |b, i, j| first_largest(&case, ring, b, i, j));
                }
            }
        }
    }
}

#[test]
fn dense_index_is_the_first_largest() {
    for device in devices() {
        for (n, (batch, rows, inner, cols)) in [(1, 1, 1, 1), (2, 5, 400, 70), (1, 66, 9, 130), (0, 3, 3, 3)].into_iter().enumerate() {
            for layouts in PAIRS {
                let a = dense(&device, n, DenseShape::new(rows, inner).batch(batch).layout(layouts[0]));
                let b = dense(&device, n + 9, DenseShape::new(inner, cols).batch(batch).layout(layouts[1]));
                for ring in [Semiring::Max, Semiring::ProdMax] {
                    let case = Case { what: format!("{device} {n} {layouts:?} {ring:?}"), a: full_dense(&a), b: full_dense(&b) };
                    let index = semiring_matmul_index(&a, &b, ring).unwrap();
                    assert_dense(&case.what, &index, |b, i, j| first_largest(&case, ring, b, i, j));
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_have_their_place() {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 1.0, -2.0];
    for device in devices() {
        for (rows, cols) in [(9, 80), (80, 9)] {
            let shape = BandedShape::new(rows, cols, band(30, 40)).batch(3);
            // Matrix 0 has everything, 1 only −∞, 2 an infinity here and there.
            let entry = |seed: usize| {
                move |b: usize, i: usize, j: usize| match b {
                    0 => special[(i * 7 + j * 11 + i * j + seed) % 6],
                    1 => f32::NEG_INFINITY,
                    _ => special[if (i + j + seed).is_multiple_of(13) { 2 } else { 3 + (i + j) % 3 }],
                }
            };
            let a = Banded::from_fn(&device, shape, entry(0)).unwrap();
            let b = Banded::from_fn(&device, shape.t(), entry(3)).unwrap();
            for ring in [Semiring::Max, Semiring::ProdMax] {
                let case = Case { what: format!("{device} {rows} {ring:?}"), a: full(&a), b: full(&b) };
                assert_banded(&case.what, &banded_matmul_index(&a, &b, ring).unwrap(), |b, i, j| first_largest(&case, ring, b, i, j));
            }
            let draw = banded_matmul_index(&a, &b, Semiring::Sample { seed: 3 }).unwrap();
            let case = Case { what: format!("{device} {rows} sample"), a: full(&a), b: full(&b) };
            let got = draw.read_u32().unwrap();
            for (slot, got) in got.into_iter().enumerate() {
                let Some((b, i, j)) = draw.shape().entry(slot) else { continue };
                let values: Vec<_> = case.terms(b, i, j).map(|(p, x, y)| (p as u32, x + y)).collect();
                let first = |test: fn(f64) -> bool| values.iter().find(|(_, value)| test(*value)).map(|(p, _)| *p);
                let want = first(f64::is_nan).or(first(|value| value == f64::INFINITY));
                match want {
                    Some(want) => assert_eq!(got, want, "{} ({b}, {i}, {j})", case.what),
                    None if first(f64::is_finite).is_none() => assert_eq!(got, NONE, "{} ({b}, {i}, {j})", case.what),
                    None => assert!(values.iter().any(|(p, value)| *p == got && value.is_finite()), "{} ({b}, {i}, {j})", case.what),
                }
            }
        }
    }
}

/// The generator as documented: pcg3d of (i, j, seed's hash + matrix · 0x9e3779b9), 23 bits and a half.
fn uniform(seed: u32, b: usize, i: usize, j: usize) -> f64 {
    let random = |counter: [u32; 3]| {
        let [mut x, mut y, mut z] = counter.map(|x| x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        for round in 0..2 {
            x = x.wrapping_add(y.wrapping_mul(z));
            y = y.wrapping_add(z.wrapping_mul(x));
            z = z.wrapping_add(x.wrapping_mul(y));
            if round == 0 {
                [x, y, z] = [x, y, z].map(|x| x ^ x >> 16);
            }
        }
        x
    };
    let matrix = random([seed, 0, 0]).wrapping_add((b as u32).wrapping_mul(0x9e37_79b9));
    (f64::from(random([i as u32, j as u32, matrix]) >> 9) + 0.5) / f64::from(1 << 23)
}

/// Whether the uniform number falls on p's stretch of the sum of softmax, but for rounding.
#[track_caller]
fn assert_drawn(case: &Case, got: u32, (b, i, j): (usize, usize, usize), u: f64) {
    let values: Vec<_> = case.terms(b, i, j).map(|(p, x, y)| (p as u32, x + y)).collect();
    if values.is_empty() {
        assert_eq!(got, NONE);
        return;
    }
    let largest = values.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|(_, value)| (value - largest).exp()).sum();
    let below: f64 = values.iter().filter(|(p, _)| *p < got).map(|(_, value)| (value - largest).exp() / sum).sum();
    let own = values.iter().find(|(p, _)| *p == got).map(|(_, value)| (value - largest).exp() / sum);
    let own = own.unwrap_or_else(|| panic!("{}: ({b}, {i}, {j}) drew {got}", case.what));
    assert!(below - 1e-5 <= u && u <= below + own + 1e-5, "{}: ({b}, {i}, {j}) drew {got}, {u} is not in {below} + {own}", case.what);
}

#[test]
fn draws_follow_the_uniform_number() {
    for device in devices() {
        for (n, sizes) in CASES.into_iter().enumerate() {
            for layouts in PAIRS {
                let (a, b) = operands(&device, n, layouts, Dtype::F32);
                let case = Case { what: format!("{device} {:?} {layouts:?}", sizes), a: full(&a), b: full(&b) };
                let index = banded_matmul_index(&a, &b, Semiring::Sample { seed: n as u32 }).unwrap();
                for (slot, got) in index.read_u32().unwrap().into_iter().enumerate() {
                    match index.shape().entry(slot) {
                        Some(at) => assert_drawn(&case, got, at, uniform(n as u32, at.0, at.1, at.2)),
                        None => assert_eq!(got, NONE),
                    }
                }
            }
        }
    }
}

#[test]
fn draws_have_the_right_frequencies() {
    let cpu = Device::cpu();
    let weights = [0.1f32, 0.2, 0.0, 0.7];
    let a = Dense::from_fn(&cpu, DenseShape::new(200, 4), |_, _, p| weights[p].ln()).unwrap();
    let b = Dense::from_fn(&cpu, DenseShape::new(4, 300), |_, _, _| 0.0).unwrap();
    let mut counts = [0usize; 4];
    for p in semiring_matmul_index(&a, &b, Semiring::Sample { seed: 7 }).unwrap().read_u32().unwrap() {
        counts[p as usize] += 1;
    }
    for (count, weight) in counts.into_iter().zip(weights) {
        let (want, spread) = (60_000.0 * f64::from(weight), (60_000.0 * f64::from(weight) * (1.0 - f64::from(weight))).sqrt());
        assert!((count as f64 - want).abs() <= 4.0 * spread, "{counts:?}");
    }
}

#[test]
fn halves_and_refusals() {
    for device in devices() {
        let (a, b) = operands(&device, 9, PAIRS[1], Dtype::F16);
        let case = Case { what: device.to_string(), a: full(&a), b: full(&b) };
        let index = banded_matmul_index(&a, &b, Semiring::Max).unwrap();
        assert_banded(&case.what, &index, |b, i, j| first_largest(&case, Semiring::Max, b, i, j));
    }
    let cpu = Device::cpu();
    let a = dense(&cpu, 1, DenseShape::new(4, 4));
    assert_eq!(
        semiring_matmul_index(&a, &a, Semiring::Log).unwrap_err().to_string(),
        "semiring_matmul_index: ring has Log, must have Max, ProdMax or Sample, whose entries one p makes"
    );
    let b = dense(&cpu, 1, DenseShape::new(5, 4).layout(Layout::Columns));
    assert_eq!(
        semiring_matmul_index(&a, &b, Semiring::Max).unwrap_err().to_string(),
        "semiring_matmul_index: b has rows 5, must have rows 4 (the columns of a)"
    );
}

/// A batch beyond one binding is split; the draws must not show where.
#[test]
fn draws_do_not_depend_on_splitting() {
    let shape = |rows, cols| DenseShape::new(rows, cols).batch(9);
    let device = devices().into_iter().find(|device| device.options().portable).unwrap();
    let sides = (1940, 1930); // 9 matrices are more than 128 MiB
    let run = |device: &Device| {
        let a = Dense::from_fn(device, shape(sides.0, 2), |_, i, p| (i % 3 * p) as f32 / 4.0).unwrap();
        let b = Dense::from_fn(device, shape(2, sides.1), |_, _, _| 0.0).unwrap();
        semiring_matmul_index(&a, &b, Semiring::Sample { seed: 11 }).unwrap().read_u32().unwrap()
    };
    let (got, want) = (run(&device), run(&Device::cpu()));
    let differ = got.iter().zip(&want).filter(|(got, want)| got != want).count();
    assert!(differ <= want.len() / 100_000, "{device}: {differ} of {} draws differ", want.len());
}
