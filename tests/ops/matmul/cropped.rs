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

/// Both gradients of a product, which reach the kernels with every mix of layouts.
pub fn check_gradients(what: &str, tested: &Tested, [a, b, g]: [&Host; 3], layouts: [usize; 3]) {
    let what = format!("{}: {what}, layouts {layouts:?}", tested.label);
    let on_device = |host: &Host, layout: usize| host.banded(&tested.device, LAYOUTS[layout], Dtype::F32, false);
    let (left, right, slope) = (on_device(a, layouts[0]), on_device(b, layouts[1]), on_device(g, layouts[2]));
    // Over `Sum` the product's own values aren't looked at.
    let (ga, gb) = banded_matmul_backward(&left, &right, &slope, &slope, Semiring::Sum).unwrap();
    check_banded(&format!("{what}: ga"), &ga, g, &b.t(), Semiring::Sum, &Rows::Some(40));
    check_banded(&format!("{what}: gb"), &gb, &a.t(), g, Semiring::Sum, &Rows::Some(40));
}

/// Random operands of a case, and a gradient of their product.
pub fn with_slope(case: &Case, seed: u64) -> [Host; 3] {
    let (a, b) = operands(case, seed);
    [a, b, Host::random(case.batch, case.rows, case.cols, Some(case.a() * case.b()), seed + 2, 3.0)]
}

#[test]
fn gradients_of_narrow_bands() {
    const WIDTHS: [[i64; 2]; 10] = [[17, 17], [16, 17], [9, 17], [1, 5], [18, 17], [33, 33], [33, 32], [12, 33], [34, 30], [1, 1]];
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, [a, b]) in WIDTHS.into_iter().enumerate() {
            for (m, rows) in [3, 128, 131, 272].into_iter().enumerate() {
                let (inner, cols) = [(rows, rows), (rows + 9, rows + 1), (rows - 2, rows + 150)][(m + n / 2) % 3];
                let [_, narrow, own] = bands([1, a, b], n + m);
                let case = Case { name: "gradient", batch: 1 + m % 3, rows, inner, cols, a: narrow, b: own };
                let hosts = with_slope(&case, (n * 4 + m) as u64);
                for mix in 0..8 {
                    check_gradients(&format!("{case:?}"), tested, hosts.each_ref(), [mix & 1, mix >> 1 & 1, mix >> 2]);
                }
            }
        }
    }
}

/// What CUDA has constant widths for, and what only seems to be that.
#[test]
fn gradients_of_constant_widths() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, width) in [17, 33].into_iter().enumerate() {
            let lowers = [width / 2, 0, width - 1, width + 7, -4, width + 163, 6, -132];
            let sizes = [[4, 4, 4], [128, 128, 128], [132, 124, 300], [384, 392, 256], [256, 300, 388], [260, 259, 260], [520, 520, 520]];
            for (m, [rows, inner, cols]) in sizes.into_iter().enumerate() {
                for (k, lower) in lowers.into_iter().enumerate() {
                    let other = lowers[(m + k) % 8];
                    let (a, b) = ((lower, width - 1 - lower), (other, width - 1 - other));
                    let case = Case { name: "constant widths", batch: 1 + m % 3, rows, inner, cols, a, b };
                    // All in rows, or in columns, and one that is neither.
                    let layouts = [[0, 0, 0], [1, 1, 1], [0, 1, 1]][(m + k) % 3];
                    check_gradients(&format!("{case:?}"), tested, with_slope(&case, (n * 64 + m * 8 + k) as u64).each_ref(), layouts);
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
        let case = Case { name: "special", batch: 1, rows, inner: rows, cols: rows, a: (lower, lower), b: (lower, lower) };
        let [a, b, g] = with_slope(&case, 20);
        // At both ends of rows.
        let put = |host: &Host, value: f32| {
            let band = host.band.unwrap();
            host.with(move |_, i, j| {
                let diagonal = j as i64 - i as i64;
                ((i % 37 == 30) && (diagonal == -band.lower() || diagonal == band.upper())).then_some(value)
            })
        };
        for (k, value) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e15].into_iter().enumerate() {
            for (what, hosts) in [
                ("g", [a.clone(), b.clone(), put(&g, value)]),
                ("a and b", [put(&a, value), put(&b, value), g.clone()]),
                ("all", [put(&a, -value), put(&b, value), put(&g, value)]),
            ] {
                for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
                    let what = format!("width {width}, {value} in {what}");
                    check_gradients(&what, tested, hosts.each_ref(), [0, 0, 0]);
                    check_gradients(&what, tested, hosts.each_ref(), [k & 1, (k / 2 + n) % 2, n]);
                }
            }
        }
    }
}

/// What is stored outside of the matrix takes no part, whatever it is.
#[test]
fn fills_that_are_not_finite() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (mix, n) in (0..4).flat_map(|mix| [(mix, 140), (mix, 141), (mix, 300)]) {
            let ones = |reach: i64, layout: usize| {
                let shape = BandedShape::new(n, n, Band::window(reach as usize).unwrap()).layout(LAYOUTS[layout]);
                Banded::from_fn(&tested.device, shape.fill(f32::NEG_INFINITY), |_, _, _| 1.0).unwrap()
            };
            let (a, b, g) = (ones(8, mix % 2), ones(8, mix / 2), ones(16, mix % 2));
            let (ga, gb) = banded_matmul_backward(&a, &b, &g, &g, Semiring::Sum).unwrap();
            let onto = banded_matmul_band(&g, &b, Semiring::Sum, Band::window(8).unwrap()).unwrap();
            for got in [ga, gb.t(), onto] {
                for (i, j) in [(0, 0), (3, 9), (70, 70), (70, 62), (n - 1, n - 1), (n - 5, n - 10)] {
                    let want = (0..n).filter(|k| k.abs_diff(i) <= 16 && k.abs_diff(j) <= 8).count();
                    let want = if i.abs_diff(j) <= 8 { want as f32 } else { 0.0 };
                    assert_eq!(got.get(0, i, j).unwrap(), want, "{}: {mix} {n} {i} {j}", tested.label);
                }
            }
        }
    }
}

/// Bands so far off that offsets of their lines exceed 32 bits, and come back to where something is.
#[test]
fn bands_far_off() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for upper in [252_645_132, -252_645_132, 252_645_124, -252_645_116, 130_150_524] {
            for n in [256, 257] {
                let shape = |lower, upper| BandedShape::new(n, n, Band::new(lower, upper).unwrap()).fill(f32::NEG_INFINITY);
                let ones = |shape| Banded::from_fn(&tested.device, shape, |_, _, _| 1.0).unwrap();
                let (a, b) = (ones(shape(16 - upper, upper)), ones(shape(8, 8)));
                let g = ones(shape(24 - upper, upper + 8));
                let (ga, gb) = banded_matmul_backward(&a, &b, &g, &g, Semiring::Sum).unwrap();
                for got in [ga, gb] {
                    assert!(got.read().unwrap().iter().all(|value| *value == 0.0), "{}: {upper}, {n}", tested.label);
                }
            }
        }
    }
}
