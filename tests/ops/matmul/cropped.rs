//! Products of narrow bands onto a band that does not hold all of them, as gradients are.

use super::*;

/// One operand's diagonals, the other's, and those of the result: about the limits of CUDA's kernel for these.
const WIDTHS: [[i64; 3]; 24] = [
    [33, 17, 17],
    [32, 17, 16],
    [33, 16, 18],
    [25, 9, 17],
    [34, 17, 17],
    [33, 18, 17],
    [33, 17, 1],
    [1, 1, 1],
    [3, 1, 3],
    [17, 17, 17],
    [17, 17, 5],
    [17, 5, 13],
    [8, 6, 4],
    [65, 33, 33],
    [64, 33, 32],
    [63, 31, 33],
    [49, 33, 17],
    [49, 17, 33],
    [66, 33, 33],
    [65, 34, 33],
    [65, 33, 34],
    [40, 20, 21],
    [41, 33, 9],
    [12, 30, 2],
];

/// Bands of these widths; the wide one holds the product of the others, or lies elsewhere.
fn bands([wide, narrow, own]: [i64; 3], n: usize) -> [(i64, i64); 3] {
    let lower = |width: i64, n: usize| [width / 2, 0, width - 1, width + 2, -3, width / 2 - 1][n % 6];
    let (narrow_lower, own_lower) = (lower(narrow, n), lower(own, n / 2));
    // Where wide = own · narrowᵀ.
    let wide_lower = own_lower + narrow - 1 - narrow_lower + [0, 0, 0, -1, 3, wide / 2][n % 6];
    [(wide_lower, wide), (narrow_lower, narrow), (own_lower, own)].map(|(lower, width)| (lower, width - 1 - lower))
}

fn swapped(band: (i64, i64)) -> (i64, i64) {
    (band.1, band.0)
}

/// Both ways round, as the gradient of a left operand and of a right one.
fn check(tested: &Tested, case: &Case, onto: (i64, i64), layouts: (usize, usize), seed: u64) {
    let Case { batch, rows, inner, cols, a, b, .. } = *case;
    let mirrored = Case { rows: cols, inner, cols: rows, a: swapped(b), b: swapped(a), ..*case };
    for (case, onto) in [(*case, onto), (mirrored, swapped(onto))] {
        let (a, b) = operands(&case, seed);
        let left = a.banded(&tested.device, LAYOUTS[layouts.0], Dtype::F32, seed % 2 == 1);
        let right = b.banded(&tested.device, LAYOUTS[layouts.1], Dtype::F32, seed / 2 % 2 == 1);
        let what = format!("{}: {batch} {case:?} onto {onto:?}, layouts {layouts:?} {seed}", tested.label);
        let got = banded_matmul_band(&left, &right, Semiring::Sum, Band::new(onto.0, onto.1).unwrap()).unwrap();
        check_banded(&what, &got, &a, &b, Semiring::Sum, &Rows::Some(40));
    }
}

#[test]
fn widths_and_rows_about_those_of_a_workgroup() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, widths) in WIDTHS.into_iter().enumerate() {
            for (m, rows) in [5, 127, 128, 129, 256, 300].into_iter().enumerate() {
                let (inner, cols) = [(rows, rows), (rows + 9, rows - 4), (rows - 3, rows + 150)][(m + n / 4) % 3];
                let [a, b, onto] = bands(widths, n + m);
                let case = Case { name: "cropped", batch: 1 + m % 3, rows, inner, cols, a, b };
                for layouts in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    check(tested, &case, onto, layouts, (n * 6 + m) as u64);
                }
            }
        }
    }
}

/// Where the operands lie so in memory that they can be brought by 16 bytes, and where they don't.
#[test]
fn whole_vectors() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, lower) in [8, 0, 16, 9, 3, 12].into_iter().enumerate() {
            for (m, rows) in [256, 384, 514].into_iter().enumerate() {
                for (k, other) in [8, 0, 16, 6].into_iter().enumerate() {
                    let (a, b) = ((lower + 16 - other, 16 - lower + other), (16 - other, other));
                    let case = Case { name: "vectors", batch: 1 + m, rows, inner: rows + k * 4, cols: rows, a, b };
                    check(tested, &case, (lower, 16 - lower), (n / 2 % 2, k % 2), (n + k) as u64);
                }
            }
        }
    }
}

#[test]
fn special_values() {
    for (n, width) in [17, 33].into_iter().enumerate() {
        let (lower, rows) = (width / 2, 300);
        let wide = (2 * lower, 2 * lower);
        let case = Case { name: "special", batch: 1, rows, inner: rows, cols: rows, a: wide, b: (lower, lower) };
        let (a, b) = operands(&case, 20);
        // At both ends of rows.
        let put = |host: &Host, value: f32| {
            let band = host.band.unwrap();
            host.with(move |_, i, j| {
                let diagonal = j as i64 - i as i64;
                ((i % 37 == 30) && (diagonal == -band.lower() || diagonal == band.upper())).then_some(value)
            })
        };
        for (k, value) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30].into_iter().enumerate() {
            for (what, a, b) in
                [("a", put(&a, value), b.clone()), ("b", a.clone(), put(&b, value)), ("both", put(&a, value), put(&b, -value))]
            {
                for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
                    let left = a.banded(&tested.device, LAYOUTS[k % 2], Dtype::F32, false);
                    let right = b.banded(&tested.device, LAYOUTS[(k / 2 + n) % 2], Dtype::F32, false);
                    let band = Band::new(lower, lower).unwrap();
                    let got = banded_matmul_band(&left, &right, Semiring::Sum, band).unwrap();
                    check_banded(&format!("{}: width {width}, {value} in {what}", tested.label), &got, &a, &b, Semiring::Sum, &Rows::All);
                }
            }
        }
    }
}

/// What is stored outside of the matrix takes no part, whatever it is.
#[test]
fn fills_that_are_not_finite() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for mix in 0..4 {
            let shape = |band: (i64, i64), layout: usize| {
                BandedShape::new(140, 140, Band::new(band.0, band.1).unwrap()).layout(LAYOUTS[layout]).fill(f32::NEG_INFINITY)
            };
            let ones = |band, layout| Banded::from_fn(&tested.device, shape(band, layout), |_, _, _| 1.0).unwrap();
            let (g, b) = (ones((16, 16), mix % 2), ones((8, 8), mix / 2));
            let got = banded_matmul_band(&g, &b, Semiring::Sum, Band::new(8, 8).unwrap()).unwrap();
            for (i, j) in [(0, 0), (3, 9), (70, 70), (70, 62), (139, 139), (135, 130)] {
                let want = (0..140usize).filter(|k| k.abs_diff(i) <= 16 && k.abs_diff(j) <= 8).count();
                assert_eq!(got.get(0, i, j).unwrap(), want as f32, "{}: {mix} {i} {j}", tested.label);
            }
        }
    }
}
