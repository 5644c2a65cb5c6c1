//! Two narrow bands: widths about those that kernels are made for, rows about those of a workgroup.

use super::*;

const WIDTHS: [[i64; 2]; 18] = [
    [17, 17],
    [16, 16],
    [15, 17],
    [18, 18],
    [9, 13],
    [1, 17],
    [17, 1],
    [33, 33],
    [32, 32],
    [33, 31],
    [17, 33],
    [33, 17],
    [34, 34],
    [33, 32],
    [5, 5],
    [3, 10],
    [8, 1],
    [22, 25],
];

/// A band of this width, more or less of it below the main diagonal, or all.
fn band(width: i64, n: usize) -> (i64, i64) {
    let lower = [width / 2, width / 2 + 1, width + 2, -2][n % 4];
    (lower, width - 1 - lower)
}

#[test]
fn widths_and_rows_about_those_of_a_workgroup() {
    for tested in devices().iter().filter(|tested| tested.variant != Variant::Checked) {
        for (n, [a, b]) in WIDTHS.into_iter().enumerate() {
            for (m, rows) in [63, 64, 127, 128, 129, 256, 300, 390].into_iter().enumerate() {
                let (inner, cols) = if m % 3 == 2 { (rows + 9, rows - 7) } else { (rows, rows) };
                let (a, b) = (band(a, m / 2), band(b, m / 3));
                let case = Case { name: "narrow", batch: 1 + m % 2, rows, inner, cols, a, b };
                let (a, b) = operands(&case, (n * 8 + m) as u64);
                // Rows by rows each time, every other mix of layouts in turn.
                for (k, (left, right)) in [(0, 0), [(0, 1), (1, 0), (1, 1)][(n + m) % 3]].into_iter().enumerate() {
                    let ring = RINGS[(n + m + k) % 4];
                    let what = format!("{}: {case:?} {ring:?}, layouts {left} {right}", tested.label);
                    let left = a.banded(&tested.device, LAYOUTS[left], Dtype::F32, false);
                    let right = b.banded(&tested.device, LAYOUTS[right], Dtype::F32, m % 4 == 1);
                    check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::Some(40));
                }
            }
        }
    }
}

#[test]
fn special_values_far_from_the_matrix_ends() {
    // Two of them with rows of B that a workgroup reads from a multiple of 16 bytes on.
    for (n, width) in [(0, 17), (1, 33), (0, 33), (1, 17)] {
        let case = Case { name: "special", batch: 1, rows: 400, inner: 400, cols: 400, a: band(width, n), b: band(width, 0) };
        let (a, b) = operands(&case, 20);
        // At both ends of rows, in rows of two workgroups.
        let put = |host: &Host, value: f32| {
            let band = host.band.unwrap();
            host.with(move |_, i, j| {
                let diagonal = j as i64 - i as i64;
                ((i % 37 == 30) && (diagonal == -band.lower() || diagonal == band.upper())).then_some(value)
            })
        };
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30] {
            for (what, a, b) in
                [("a", put(&a, value), b.clone()), ("b", a.clone(), put(&b, value)), ("both", put(&a, value), put(&b, -value))]
            {
                for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
                    for ring in &RINGS[..4] {
                        let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                        let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                        let got = banded_matmul(&left, &right, *ring).unwrap();
                        let what = format!("{}: width {width}, {value} in {what}, {ring:?}", tested.label);
                        check_banded(&what, &got, &a, &b, *ring, &Rows::All);
                    }
                }
            }
        }
    }
}

/// What CUDA has constant offsets for, and, over `Log`, what reads and writes by fours.
#[test]
fn full_widths_and_whole_vectors() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, width) in [17, 33].into_iter().enumerate() {
            let lowers = [width / 2, 0, width - 1, width + 6, -4, width + 160, 6, -130];
            for (m, [rows, inner, cols]) in [
                [4, 4, 4],
                [32, 32, 32],
                [128, 128, 127],
                [260, 300, 260],
                [512, 400, 513],
                [388, 520, 300],
                [256, 260, 255],
                [640, 640, 640],
                [389, 259, 301],
            ]
            .into_iter()
            .enumerate()
            {
                for (k, lower) in lowers.into_iter().enumerate() {
                    let other = lowers[(m + k) % 8];
                    let (a, b) = ((lower, width - 1 - lower), (other, width - 1 - other));
                    let case = Case { name: "full", batch: 1 + m % 3, rows, inner, cols, a, b };
                    let (a, b) = operands(&case, (n * 64 + m * 8 + k) as u64);
                    let ring = RINGS[(m / 2 + k) % 4];
                    let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let what = format!("{}: {case:?} {ring:?}", tested.label);
                    check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::Some(40));
                }
            }
        }
    }
}

/// Rows that neighbours follow a multiple of four values after: what wgpu reads and writes by fours, and, where A begins beside
/// them, what it does not.
#[test]
fn rows_in_fours() {
    let widths = [[17, 17], [33, 33], [17, 33], [33, 17], [5, 9], [9, 5], [13, 21], [29, 13], [21, 29], [1, 17], [33, 5]];
    let sides = [[4, 4, 4], [60, 64, 62], [64, 64, 64], [68, 300, 129], [132, 132, 132], [300, 68, 301], [256, 260, 255]];
    for tested in devices().iter().filter(|tested| tested.variant != Variant::Checked) {
        for (n, [a, b]) in widths.into_iter().enumerate() {
            let shifts = [0, a / 8 * 4, a - 1, a + 7, -4, a + 163, -132, a / 2 + 1];
            for (m, [rows, inner, cols]) in sides.into_iter().enumerate() {
                for (k, ring) in RINGS[..4].iter().enumerate() {
                    let lower = shifts[(m + 3 * k + n) % 8];
                    let other = [b / 2, 0, b - 1, b + 10, -3, 6 - lower][(m + k) % 6];
                    let (a, b) = ((lower, a - 1 - lower), (other, b - 1 - other));
                    let case = Case { name: "fours", batch: 1 + (m + k) % 3, rows, inner, cols, a, b };
                    let (a, b) = operands(&case, (n * 64 + m * 8 + k) as u64);
                    let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let what = format!("{}: {case:?} {ring:?}", tested.label);
                    check_banded(&what, &banded_matmul(&left, &right, *ring).unwrap(), &a, &b, *ring, &Rows::Some(40));
                }
            }
        }
    }
}

/// Over `Log`, where everything lies in fours: a workgroup has more than one row and column of each size, rows end within it, and
/// bands begin and end beside the matrix.
#[test]
fn scales_in_fours() {
    let widths = [[17, 17], [33, 33], [9, 5], [17, 33]];
    let sides = [[132, 136, 131], [260, 256, 264], [20, 40, 33]];
    // Rows of A and columns of B far from each other, so that only their own scales do.
    let apart = |n: usize| [0.0, 300.0, -450.0, 90.0, -1000.0][n * 7 / 3 % 5];
    for (n, [a, b]) in widths.into_iter().enumerate() {
        for (m, [rows, inner, cols]) in sides.into_iter().enumerate() {
            let lower = [a / 8 * 4, a + 3, -4][(n + m) % 3];
            let other = [b / 2, b + 10, -6][(n + m / 2) % 3];
            let (a, b) = ((lower, a - 1 - lower), (other, b - 1 - other));
            let case = Case { name: "scales", batch: 2, rows, inner, cols, a, b };
            let (a, b) = operands(&case, (n * 8 + m) as u64);
            let a500 = Host::random(2, rows, inner, Some(case.a()), 8, 500.0);
            let b500 = Host::random(2, inner, cols, Some(case.b()), 9, 500.0);
            let (of_a, of_b) = (a.clone(), b.clone());
            let rows_apart = a.with(move |n, i, p| of_a.entry(n, i, p).map(|value| value as f32 + apart(i)));
            let cols_apart = b.with(move |n, p, j| of_b.entry(n, p, j).map(|value| value as f32 + apart(j + 2)));
            let no_rows = rows_apart.with(|_, i, _| (i % 5 == 2).then_some(f32::NEG_INFINITY));
            let no_cols = cols_apart.with(|_, _, j| (j % 3 == 1).then_some(f32::NEG_INFINITY));
            let some = |host: &Host, value: f32| host.with(move |_, i, j| (i % 29 == 13 && j % 3 == 0).then_some(value));
            for (what, a, b) in [
                ("±500", a500.clone(), b500.clone()),
                ("±500 by small ones", a500, b.clone()),
                ("small ones by ±500", a, b500),
                ("rows and columns apart", rows_apart.clone(), cols_apart.clone()),
                ("rows and columns of -∞", no_rows, no_cols),
                ("NaN in A", some(&rows_apart, f32::NAN), cols_apart.clone()),
                ("∞ in B", rows_apart.clone(), some(&cols_apart, f32::INFINITY)),
                ("1e30 by -1e30", some(&rows_apart, 1e30), some(&cols_apart, -1e30)),
            ] {
                for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
                    let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let got = banded_matmul(&left, &right, Semiring::Log).unwrap();
                    check_banded(&format!("{}: {what}, {case:?}", tested.label), &got, &a, &b, Semiring::Log, &Rows::All);
                }
            }
        }
    }
}

/// What is stored outside of the matrix takes no part, whatever it is.
#[test]
fn fours_beside_the_matrix() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, width) in [17, 33].into_iter().enumerate() {
            for (m, lower) in [width / 2, 0, width - 1, 132, -132].into_iter().enumerate() {
                let ring = RINGS[(n + m) % 4];
                let product = |device: &Device| {
                    let band = |lower, fill, seed| {
                        let shape = BandedShape::new(200, 200, Band::new(lower, width - 1 - lower).unwrap()).fill(fill);
                        Banded::from_fn(device, shape, move |_, i, j| ((i * 7 + j * 3 + seed) % 11) as f32 - 5.0).unwrap()
                    };
                    let (a, b) = (band(lower, f32::NAN, 0), band(width / 2, f32::INFINITY, 4));
                    banded_matmul(&a, &b, ring).unwrap().read().unwrap()
                };
                for (at, (got, want)) in product(&tested.device).into_iter().zip(product(&Device::cpu())).enumerate() {
                    let near = got == want || (got - want).abs() <= 1e-5 * want.abs().max(1.0);
                    assert!(near, "{}: width {width}, {lower}, {ring:?}, value {at}: got {got}, must be {want}", tested.label);
                }
            }
        }
    }
}
