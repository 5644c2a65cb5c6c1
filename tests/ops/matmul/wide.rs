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

/// A block goes along several strips, each of three warpgroups more than once.
#[test]
fn strips_one_after_the_other() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, ([a, b], batch, rows)) in
            [([129, 129], 24, 1540), ([113, 128], 17, 1280), ([97, 129], 70, 321), ([129, 100], 3, 6000)].into_iter().enumerate()
        {
            let (inner, cols) = [(rows, rows), (rows - 70, rows + 30)][n % 2];
            let case = Case { name: "strips", batch, rows, inner, cols, a: band(a, n), b: band(b, n + 1) };
            let (a, b) = operands(&case, n as u64);
            let left = a.banded(&tested.device, LAYOUTS[n / 2], Dtype::F32, false);
            let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
            let got = banded_matmul(&left, &right, Semiring::Sum).unwrap();
            check_banded(&format!("{}: {case:?}", tested.label), &got, &a, &b, Semiring::Sum, &Rows::Some(300));
        }
    }
}

/// Onto bands too wide for a window that slides: what CUDA reads four at a time, and what it doesn't; whole, cropped and
/// widened bands of C, about the matrix's ends and in its middle.
#[test]
fn windows_that_stand_still() {
    let cases = [
        ((1, 148, 148, 148), (160, 128), (76, 76), [0, 0]),
        ((2, 192, 192, 192), (72, 80), (100, 60), [0, 0]),
        ((1, 700, 660, 720), (128, 128), (128, 128), [0, 0]),
        ((2, 388, 400, 352), (-8, 160), (200, -40), [0, 0]),
        ((1, 580, 580, 580), (256, 256), (72, 72), [-100, -30]),
        ((1, 400, 400, 400), (88, 64), (76, 76), [8, 16]),
        ((1, 400, 400, 400), (88, 64), (76, 76), [3, 5]),
        ((1, 333, 333, 333), (83, 65), (76, 77), [0, 0]),
        // As many windows side by side as have an order.
        ((1, 468, 468, 468), (256, 250), (210, 200), [0, 0]),
    ];
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, ((batch, rows, inner, cols), a, b, [lower, upper])) in cases.into_iter().enumerate() {
            let case = Case { name: "still", batch, rows, inner, cols, a, b };
            let (a, b) = operands(&case, n as u64);
            let whole = case.a() * case.b();
            let band = Band::new(whole.lower() + lower, whole.upper() + upper).unwrap();
            for (left, right) in [(0, 0), (0, 1), (1, 0)] {
                let what = format!("{}: {case:?} onto {band}, layouts {left} {right}", tested.label);
                let left = a.banded(&tested.device, LAYOUTS[left], Dtype::F32, n % 2 == 1);
                let right = b.banded(&tested.device, LAYOUTS[right], Dtype::F32, false);
                let got = banded_matmul_band(&left, &right, Semiring::Sum, band).unwrap();
                check_banded(&what, &got, &a, &b, Semiring::Sum, &Rows::Some(150));
            }
        }
    }
}

#[test]
fn special_values() {
    // Two that slide, aligned and not, and two that stand still, which take rows that are a multiple of four.
    for (rows, width) in [(200, 129), (150, 112), (252, 161), (260, 257)] {
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

/// Rows that neighbours follow a multiple of four values after, in ever more lanes: what wgpu reads and writes by fours.
#[test]
fn rows_in_fours() {
    let cases = [
        ([65, 65], [136, 140, 120]),
        ([97, 97], [128, 128, 128]),
        ([129, 129], [264, 300, 200]),
        ([129, 65], [132, 68, 260]),
        ([193, 193], [200, 204, 264]),
        ([257, 257], [300, 280, 301]),
        ([257, 385], [264, 292, 280]),
        ([513, 513], [292, 580, 400]),
    ];
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, ([a, b], [rows, inner, cols])) in cases.into_iter().enumerate() {
            for (k, ring) in [Semiring::Sum, Semiring::Max, Semiring::ProdMax].into_iter().enumerate() {
                let (lower, other) = ([a / 8 * 4, -4, a + 3][(n + k) % 3], [b / 2, b + 6, -3][(n + k / 2) % 3]);
                let (a, b) = ((lower, a - 1 - lower), (other, b - 1 - other));
                let case = Case { name: "fours", batch: 1 + n % 2, rows, inner, cols, a, b };
                let (a, b) = operands(&case, n as u64);
                let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                let what = format!("{}: {case:?} {ring:?}", tested.label);
                check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::Some(80));
            }
        }
    }
}

/// Rows that fall off from the diagonal, large enough to be known for it where that matters; products stay above f32's subnormals,
/// which devices may take for 0.
#[test]
fn kernels_that_fall_off() {
    let case = Case { name: "graded", batch: 1, rows: 2100, inner: 2100, cols: 2100, a: (64, 64), b: (64, 64) };
    let (a, b) = operands(&case, 77);
    let fall_off = |host: &Host, sigma: f64| {
        let old = host.clone();
        host.with(move |batch, i, j| old.entry(batch, i, j).map(|x| (x * (-((i as f64 - j as f64) / sigma).powi(2)).exp()) as f32))
    };
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for sigma in [12.0, 16.0, 40.0] {
            let graded = fall_off(&a, sigma);
            let left = graded.banded(&tested.device, Layout::Rows, Dtype::F32, false);
            let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
            let what = format!("{}: {sigma}", tested.label);
            check_banded(&what, &banded_matmul(&left, &right, Semiring::Sum).unwrap(), &graded, &b, Semiring::Sum, &Rows::Some(60));
            check_banded(&what, &banded_matmul(&right, &left, Semiring::Sum).unwrap(), &b, &graded, Semiring::Sum, &Rows::Some(60));
            check_banded(&what, &banded_matmul(&left, &left, Semiring::Sum).unwrap(), &graded, &graded, Semiring::Sum, &Rows::Some(60));
        }
    }
}

/// One value that spoils sums, wherever it is in A or B: in rows of all workgroups, at both ends of the matrix and beside.
#[test]
fn one_value_anywhere_in_fours() {
    let cases = [
        ([129, 129], [132, 120, 140]),
        ([129, 65], [100, 132, 80]),
        ([65, 129], [80, 64, 132]),
        ([257, 257], [64, 96, 68]),
        ([129, 17], [64, 60, 72]),
        ([17, 33], [72, 64, 80]),
    ];
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, ([a, b], [rows, inner, cols])) in cases.into_iter().enumerate() {
            for (k, ring) in [Semiring::Sum, Semiring::Max, Semiring::ProdMax].into_iter().enumerate() {
                let case = Case { name: "one value", batch: 1, rows, inner, cols, a: band(a, 0), b: band(b, 0) };
                let (a, b) = operands(&case, n as u64);
                for m in 0..8 {
                    // Spread over the matrix, on and off the diagonal.
                    let value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][(m + k) % 3];
                    let put = |host: &Host| {
                        let (height, width) = (host.rows, host.cols);
                        let i = (m * height / 8 + 5 * m + k) % height;
                        let j = (i * width / height + 7 * m).min(width - 1);
                        host.with(move |_, row, column| (row == i && column == j).then_some(value))
                    };
                    for (what, a, b) in [("A", put(&a), b.clone()), ("B", a.clone(), put(&b))] {
                        let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                        let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                        let what = format!("{}: {case:?} {ring:?}, {value} in {what}", tested.label);
                        check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
                    }
                }
            }
        }
    }
}

/// A NaN in each matrix of a batch, in another row and at another place of it each time: whoever looks at operands as it multiplies
/// them leaves none out.
#[test]
fn every_part_of_rows_in_fours() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        for (n, (a_width, b_width)) in [(129, 129), (65, 97), (97, 65), (257, 257), (513, 513)].into_iter().enumerate() {
            let case = Case { name: "a place each", batch: 64, rows: 192, inner: 192, cols: 192, a: band(a_width, 0), b: band(b_width, 0) };
            let (a, b) = operands(&case, 40 + n as u64);
            let put = |host: &Host, width: i64| {
                let width = width as usize;
                host.with(move |batch, row, column| {
                    let i = 3 * batch + batch % 3;
                    let place = (37 * batch % width + i).saturating_sub(width / 2).min(191);
                    (row == i && column == place).then_some(f32::NAN)
                })
            };
            for (what, a, b) in [("A", put(&a, a_width), b.clone()), ("B", a.clone(), put(&b, b_width))] {
                let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                let what = format!("{}: {a_width} and {b_width} diagonals, NaN in {what}", tested.label);
                check_banded(&what, &banded_matmul(&left, &right, Semiring::Max).unwrap(), &a, &b, Semiring::Max, &Rows::All);
            }
        }
    }
}

/// Tiles of C that stand still, on matrix units where there are some: at the matrix's ends and in its middle, with rows that begin and
/// end everywhere in a step.
#[test]
fn tiles_in_halves() {
    let cases = [
        ((1, [320, 320, 320]), (64, 68), (64, 68)),
        ((2, [196, 260, 130]), (96, 96), (131, 5)),
        ((1, [400, 640, 515]), (-60, 300), (256, 256)),
        ((2, [132, 72, 460]), (20, 100), (-10, 242)),
        ((1, [256, 200, 60]), (256, 260), (200, 60)),
        ((3, [16, 20, 33]), (128, 128), (90, 130)),
        ((1, [700, 28, 40]), (512, 512), (80, 80)),
        ((2, [64, 172, 190]), (44, 64), (73, 91)),
        // Not in fours.
        ((1, [320, 320, 320]), (66, 66), (66, 66)),
        ((3, [197, 263, 131]), (97, 94), (131, 6)),
        ((2, [133, 71, 462]), (21, 102), (-11, 242)),
        ((1, [430, 601, 515]), (-61, 300), (255, 256)),
        ((2, [17, 19, 33]), (120, 129), (91, 132)),
    ];
    for tested in with_interpreter().filter(|tested| tested.variant == Variant::Default) {
        for (n, ((batch, [rows, inner, cols]), a, b)) in cases.into_iter().enumerate() {
            let case = Case { name: "tiles", batch, rows, inner, cols, a, b };
            let (a, b) = operands(&case, 60 + n as u64);
            // With values beside the matrix, too.
            let stored = |host: &Host, layout: usize| {
                let shape = BandedShape::new(host.rows, host.cols, host.band.unwrap()).batch(batch).fill([0.0, 3.0][n % 2]);
                Banded::from_fn(&tested.device, shape.layout(LAYOUTS[layout]), |b, i, j| host.entry(b, i, j).unwrap() as f32).unwrap()
            };
            let whole = case.a() * case.b();
            for (m, layouts) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
                let (left, right) = (stored(&a, layouts.0), stored(&b, layouts.1));
                // The whole product, a part that begins at a multiple of four columns or not, and more.
                for [less, more] in [[0, 0], [[-8, -41], [-15, -40], [7, 9], [-60, 30]][(n + m) % 4]] {
                    let onto = Band::new(whole.lower() + less, whole.upper() + more).unwrap();
                    let what = format!("{}: {case:?} onto {onto}, layouts {layouts:?}", tested.label);
                    let got = banded_matmul_band(&left, &right, Semiring::Sum, onto).unwrap();
                    check_banded(&what, &got, &a, &b, Semiring::Sum, &Rows::Some(50));
                }
            }
        }
    }
}

/// The gradients of wide bands over `Sum`, which are products onto a part of the whole one.
#[test]
fn gradients_in_tiles() {
    let cases = [
        ((1, [260, 260, 260]), (64, 64), (64, 64)),
        ((2, [200, 140, 170]), (20, 88), (100, 60)),
        ((1, [331, 402, 255]), (160, 97), (-20, 177)),
    ];
    for tested in with_interpreter().filter(|tested| tested.variant == Variant::Default) {
        for (n, ((batch, [rows, inner, cols]), a, b)) in cases.into_iter().enumerate() {
            let case = Case { name: "gradient", batch, rows, inner, cols, a, b };
            let hosts = cropped::with_slope(&case, 80 + n as u64);
            for mix in 0..8 {
                cropped::check_gradients(&format!("{case:?}"), tested, hosts.each_ref(), [mix & 1, mix >> 1 & 1, mix >> 2]);
            }
        }
    }
}

/// Values of every size, side by side or not. Where matrix units take f32 in halves, these hold what is near the largest value.
#[test]
fn values_of_every_size() {
    type Change = fn(usize, usize, f32) -> f32;
    let changes: [(&str, Change, Change); 9] = [
        ("rows ever smaller", |i, _, x| x * 2f32.powi(-(i as i32) / 2), |_, _, x| x),
        ("columns ever larger", |_, _, x| x, |_, j, x| x * 2f32.powi(j as i32 / 3)),
        (
            "everywhere else",
            |i, j, x| x * 2f32.powi((i * 37 + j * 11) as i32 % 61 - 30),
            |p, j, x| x * 2f32.powi((p * 7 + j) as i32 % 50 - 40),
        ),
        ("one far larger", |i, j, x| if (i, j) == (70, 75) { x * 1e12 } else { x }, |p, j, x| if (p, j) == (9, 30) { x * 1e6 } else { x }),
        ("large by small", |_, _, x| x * 1e30, |_, _, x| x * 1e-30),
        ("almost as small as f32 has", |_, _, x| x * 1e-33, |_, _, x| x * 3.0),
        ("few but 0", |i, j, x| if (i + j) % 9 == 0 { x } else { 0.0 }, |p, j, x| if p.abs_diff(j) < 2 { x } else { 0.0 }),
        ("all 0", |_, _, _| 0.0, |_, _, x| x),
        (
            "not finite",
            |i, j, x| if (i, j) == (20, 21) { f32::INFINITY } else { x },
            |p, j, x| if (p, j) == (90, 80) { f32::NAN } else { x },
        ),
    ];
    let cases = [([129, 129], [204, 196, 200]), ([101, 97], [76, 96, 80]), ([257, 113], [132, 140, 100]), ([133, 197], [140, 156, 150])];
    for (n, ([a, b], [rows, inner, cols])) in cases.into_iter().enumerate() {
        let case = Case { name: "sizes", batch: 1 + n, rows, inner, cols, a: (a / 8 * 4, a - 1 - a / 8 * 4), b: band(b, n) };
        let (a, b) = operands(&case, 40 + n as u64);
        for tested in with_interpreter().filter(|tested| tested.variant == Variant::Default) {
            for (name, of_a, of_b) in changes {
                // On CUDA the least of a value's three parts is subnormal there, and lost.
                if tested.info.backend == "cuda" && name.starts_with("almost") {
                    continue;
                }
                let change = |host: &Host, change: Change| {
                    let old = host.clone();
                    host.with(move |batch, i, j| old.entry(batch, i, j).map(|x| change(i, j, x as f32)))
                };
                let (a, b) = (change(&a, of_a), change(&b, of_b));
                let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
                let what = format!("{}: {name}, {case:?}", tested.label);
                check_banded(&what, &banded_matmul(&left, &right, Semiring::Sum).unwrap(), &a, &b, Semiring::Sum, &Rows::All);
            }
        }
    }
}
