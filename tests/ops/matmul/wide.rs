//! Two wide bands: widths about those for which matrix units have a kernel, rows about those of a block and more.

use super::*;

const WIDTHS: [[i64; 2]; 7] = [[129, 129], [128, 129], [97, 120], [129, 97], [130, 129], [113, 128], [121, 130]];

/// A band of this width, more or less of it below the main diagonal, or all.
fn band(width: i64, n: usize) -> (i64, i64) {
    let lower = [width / 2, width / 2 + 3, width + 5, -4][n % 4];
    (lower, width - 1 - lower)
}

#[test]
fn widths_and_rows_about_those_of_a_block() {
    for tested in devices().iter().filter(|tested| tested.variant != Variant::Checked) {
        for (n, [a, b]) in WIDTHS.into_iter().enumerate() {
            for (m, rows) in [1, 63, 64, 65, 129, 192, 330].into_iter().enumerate() {
                let (inner, cols) = [(rows, rows), (rows + 9, rows.max(8) - 7), (rows.max(30) - 29, rows + 70)][(n + m) % 3];
                let case = Case { name: "wide", batch: 1 + m % 2, rows, inner, cols, a: band(a, m / 2), b: band(b, m / 3) };
                let (a, b) = operands(&case, (n * 8 + m) as u64);
                // Rows by rows each time, every other mix of layouts in turn.
                for (left, right) in [(0, 0), [(0, 1), (1, 0), (1, 1)][m % 3]] {
                    let what = format!("{}: {case:?}, layouts {left} {right}", tested.label);
                    let left = a.banded(&tested.device, LAYOUTS[left], Dtype::F32, false);
                    let right = b.banded(&tested.device, LAYOUTS[right], Dtype::F32, m % 4 == 1);
                    let got = banded_matmul(&left, &right, Semiring::Sum).unwrap();
                    check_banded(&what, &got, &a, &b, Semiring::Sum, &Rows::Some(40));
                }
            }
        }
    }
}

#[test]
fn special_values() {
    for (rows, width) in [(200, 129), (300, 129), (150, 112)] {
        let case = Case { name: "special", batch: 2, rows, inner: rows, cols: rows, a: band(width, 0), b: band(width, 1) };
        let (a, b) = operands(&case, 20);
        let small = Host::random(2, rows, rows, Some(case.b()), 22, 0.003);
        // At both ends of some rows, and once inside.
        let put = |host: &Host, value: f32| {
            let band = host.band.unwrap();
            host.with(move |batch, i, j| {
                let diagonal = j as i64 - i as i64;
                let edge = diagonal == -band.lower() || diagonal == band.upper();
                (batch == 0 && (edge && i % 37 == 30 || i == 70 && j == 90)).then_some(value)
            })
        };
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e30] {
            // A part of the largest value rounds up to infinity.
            let (b, second) = if value == f32::MAX { (&small, 0.5) } else { (&b, -value) };
            for (what, a, b) in
                [("a", put(&a, value), b.clone()), ("b", a.clone(), put(b, second)), ("both", put(&a, value), put(b, second))]
            {
                for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
                    let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let got = banded_matmul(&left, &right, Semiring::Sum).unwrap();
                    let what = format!("{}: width {width}, {value} in {what}", tested.label);
                    check_banded(&what, &got, &a, &b, Semiring::Sum, &Rows::All);
                }
            }
        }
    }
}
