//! Whole products of narrow bands, which have a kernel of their own through wgpu: several tiles of rows, all widths of its
//! classes, and what its fast path leaves to the slow one.

use super::*;

/// Rows that fill tiles and rows that don't, widths at and between the ends of the classes, odd and even.
fn shapes() -> Vec<Case> {
    let case = |n: usize, a, b| Case { name: "narrow", batch: 2, rows: n, inner: n, cols: n, a, b };
    let mut shapes = vec![
        case(320, (8, 8), (8, 8)),
        case(320, (16, 16), (16, 16)),
        case(388, (0, 0), (2, 2)),
        case(256, (3, 1), (0, 0)),
        case(324, (5, 6), (4, 3)),
        case(256, (12, 20), (30, 2)),
        case(260, (18, 0), (1, 9)),
        case(300, (-3, 9), (12, -2)),
    ];
    shapes.push(Case { rows: 280, inner: 300, cols: 260, ..case(0, (4, 4), (10, 6)) });
    shapes
}

#[test]
fn narrow_bands() {
    for tested in devices() {
        for (n, case) in shapes().iter().enumerate() {
            let (a, b) = operands(case, n as u64);
            for (mix, ring) in RINGS.into_iter().enumerate() {
                for layouts in [(Layout::Rows, Layout::Rows), (LAYOUTS[mix & 1], LAYOUTS[(mix + n) >> 1 & 1])] {
                    let what = format!("{}: {} rows, {:?} {:?} {ring:?} {layouts:?}", tested.label, case.rows, case.a, case.b);
                    let left = a.banded(&tested.device, layouts.0, Dtype::F32, false);
                    let right = b.banded(&tested.device, layouts.1, Dtype::F32, false);
                    check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
                }
            }
        }
    }
}

#[test]
fn narrow_bands_with_values_apart() {
    // A value far from the others in the middle of the matrix, and what is not finite: only entries that it meets change.
    let case = &shapes()[0];
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 500.0, -500.0] {
        let (a, b) = operands(case, 3);
        let here = move |b: usize, i: usize, j: usize| (b == 0 && (i == 130 && j == 135 || i == 200 && j == 192)).then_some(value);
        for (a, b) in [(a.with(here), b.clone()), (a, b.with(here))] {
            for tested in devices() {
                for ring in RINGS.into_iter().take(4) {
                    let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                    let what = format!("{}: {value} in the middle, {ring:?}", tested.label);
                    check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
                }
            }
        }
    }
}
