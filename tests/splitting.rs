//! Matrices larger than a binding go in windows of their rows: the same results as in one piece.

mod common;

use bandsaw::*;
use common::*;

/// What an operation gave, by name.
type Results = Vec<(String, Vec<f32>)>;

fn band(lower: i64, upper: i64) -> Band {
    Band::new(lower, upper).unwrap()
}

/// Rows and columns, and two bands.
fn shapes() -> [([usize; 2], [Band; 2]); 6] {
    [
        ([333, 333], [band(1, 2), band(2, 1)]),
        ([200, 270], [band(4, 4), band(0, 7)]),
        ([270, 200], [band(-2, 6), band(5, -1)]),
        ([400, 90], [band(3, 5), band(60, -55)]),
        ([90, 500], [band(3, 9), band(-10, 30)]),
        ([257, 257], [band(0, 0), band(-260, 262)]),
    ]
}

/// Every operation that can be split, on operands in these layouts.
fn all(device: &Device, [rows, cols]: [usize; 2], [first, second]: [Band; 2], [x, y]: [Layout; 2], dtype: Dtype) -> Results {
    let host = |rows, cols, band, seed| Host::random(2, rows, cols, band, seed, 2.0).rounded(dtype);
    let banded = |band, layout, seed| host(rows, cols, Some(band), seed).banded(device, layout, dtype, false);
    let dense = |rows, cols, seed| host(rows, cols, None, seed).dense(device, Layout::Rows, dtype, false);
    let mut results = Results::new();
    let mut keep = |name: &str, values: Vec<f32>| results.push((name.to_owned(), values));
    let (a, b) = (banded(first, x, 1), banded(second, y, 2));

    let f = (crate::a() * 0.5 - crate::b()).exp();
    keep("zip", banded_zip(&a, &b, &f).unwrap().read().unwrap());
    let (ga, gb) = banded_zip_backward(&a, &b, &f, &b).unwrap();
    keep("zip's gradient by a", ga.read().unwrap());
    keep("zip's gradient by b", gb.read().unwrap());
    keep("map", banded_map(&a, &(crate::a() + 1.0)).unwrap().read().unwrap());
    keep("resize", banded_resize(&a, second).unwrap().read().unwrap());
    for t in [-3, 5] {
        keep("shift of rows", banded_shift_rows(&a, t).unwrap().read().unwrap());
        keep("shift of columns", banded_shift_cols(&a, t).unwrap().read().unwrap());
        keep("shift of the band", banded_shift_band(&a, t).unwrap().read().unwrap());
        keep("its gradient", banded_shift_band_backward(&a, t, &b).unwrap().read().unwrap());
    }
    keep("relayout", banded_relayout(&a, a.shape().layout.t()).unwrap().read().unwrap());
    keep("from dense", banded_from_dense(&dense(rows, cols, 3), first, Layout::Rows, 7.0).unwrap().read().unwrap());
    keep("to dense", banded_to_dense(&a).unwrap().read().unwrap());

    let p = banded_softmax(&a, 0.7).unwrap();
    let g = banded(first, y, 4);
    keep("softmax", p.read().unwrap());
    keep("softmax's gradient", banded_softmax_backward(&p, &g, 0.7).unwrap().read().unwrap());

    keep("matvec", banded_matvec(&a, &dense(cols, 1, 5)).unwrap().read().unwrap());
    keep("matvec, transposed", banded_matvec(&a.t(), &dense(rows, 1, 6)).unwrap().read().unwrap());
    let (ga, gx) = banded_matvec_backward(&a, &dense(cols, 1, 5), &dense(rows, 1, 6)).unwrap();
    keep("matvec's gradient by A", ga.read().unwrap());
    keep("matvec's gradient by x", gx.read().unwrap());

    for ring in [Semiring::Sum, Semiring::Max, Semiring::ProdMax, Semiring::Log] {
        keep(&format!("{ring:?}: A · Bᵀ"), banded_matmul(&a, &b.t(), ring).unwrap().read().unwrap());
        keep(&format!("{ring:?}: Aᵀ · B"), banded_matmul(&a.t(), &b, ring).unwrap().read().unwrap());
        keep(&format!("{ring:?}: onto a band"), banded_matmul_band(&a, &b.t(), ring, band(2, 0)).unwrap().read().unwrap());
        keep(&format!("{ring:?}: A · V"), banded_matmul_dense(&a, &dense(cols, 5, 7), ring).unwrap().read().unwrap());
        let v = host(cols, 2, None, 11).dense(device, Layout::Columns, dtype, false);
        keep(&format!("{ring:?}: A · V by columns"), banded_matmul_dense(&a, &v, ring).unwrap().read().unwrap());
        let tall = host(rows, 2, None, 12).dense(device, y, dtype, false);
        keep(&format!("{ring:?}: dense"), semiring_matmul(&tall, &dense(2, 7, 13), ring).unwrap().read().unwrap());
        keep(&format!("{ring:?}: Aᵀ · V"), banded_matmul_dense(&a.t(), &dense(rows, 5, 8), ring).unwrap().read().unwrap());
    }
    let (q, k) = (dense(rows, 6, 9), dense(cols, 6, 10));
    keep("window product", window_matmul(&q, &k, first).unwrap().read().unwrap());
    let (gq, gk) = window_matmul_backward(&q, &k, &g).unwrap();
    keep("its gradient by Q", gq.read().unwrap());
    keep("its gradient by K", gk.read().unwrap());
    let c = banded_matmul(&a, &b.t(), Semiring::Sum).unwrap();
    let (ga, gb) = banded_matmul_backward(&a, &b.t(), &c, &c, Semiring::Sum).unwrap();
    keep("the product's gradient by A", ga.read().unwrap());
    keep("the product's gradient by B", gb.read().unwrap());
    results
}

fn check(tested: &Tested, dtype: Dtype) {
    // On CUDA narrow bands have a kernel of their own, with another order.
    let cuda = tested.info.backend == "cuda";
    let unit = if dtype == Dtype::F32 { if cuda { 2e-5 } else { 4e-6 } } else { 1.0 / 128.0 };
    for (n, (size, bands)) in shapes().into_iter().enumerate() {
        // Every pair of layouts, but not of every shape.
        let layouts = [Layout::Rows, Layout::Columns].map(|x| [x, if n % 2 == 0 { Layout::Rows } else { Layout::Columns }]);
        for layouts in layouts {
            let whole = all(&tested.device, size, bands, layouts, dtype);
            // So small that some windows start where no binding may.
            for limit in [12000, 4500] {
                let options = Options { max_binding: Some(limit), poison: true, ..tested.device.options() };
                let device = tested.opened(options);
                for ((name, want), (_, got)) in whole.iter().zip(all(&device, size, bands, layouts, dtype)) {
                    let what = format!("{}, bindings of {limit}: {name} of {size:?}, {bands:?}, {layouts:?}", tested.label);
                    assert_eq!(want.len(), got.len(), "{what}");
                    for (at, (want, got)) in want.iter().zip(&got).enumerate() {
                        // The scales of `Log` are those of the window, and a softmax in columns layout goes through rows,
                        // and on CUDA more threads share a row if rows are few; all else is the same sum in the same order.
                        let by_rows = name.starts_with("softmax") && layouts[0] == Layout::Columns;
                        let other_order = name.starts_with("Log") || by_rows || cuda;
                        let near = other_order && (want - got).abs() <= unit * want.abs().max(1.0);
                        assert!(want.to_bits() == got.to_bits() || near, "{what}: {got} at {at}, in one piece {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn large_matrices_are_split_by_rows() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        check(tested, Dtype::F32);
    }
}

#[test]
fn large_matrices_of_halves_are_split_by_rows() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Portable) {
        check(tested, Dtype::Bf16);
    }
}

/// 244 MiB a matrix, where a binding takes 128.
#[test]
fn a_million_rows() {
    let rows = 1 << 20;
    for tested in devices().iter().filter(|tested| tested.info.backend == "vulkan" && tested.variant == Variant::Portable) {
        let device = &tested.device;
        let shape = BandedShape::new(rows, rows, band(30, 30));
        let a = Banded::from_fn(device, shape, |_, i, j| (i % 7) as f32 - (j % 5) as f32).unwrap();
        assert!((a.shape().len() * 4) as u64 > device.info().max_binding, "{device}: nothing to split");
        let c = banded_map(&a, &(crate::a() * 0.5 + 1.0)).unwrap();
        let x = Dense::from_fn(device, DenseShape::new(rows, 1), |_, i, _| (i % 3) as f32).unwrap();
        let y = banded_matvec(&c, &x).unwrap().read().unwrap();
        let two = Banded::from_fn(device, BandedShape::new(rows, rows, band(0, 1)), |_, _, _| 1.0).unwrap();
        let product = banded_matmul(&c, &two, Semiring::Sum).unwrap();
        for i in [0, 1, 33, 1 << 19, 524_287, 777_777, rows - 40, rows - 1] {
            let entry = |j: usize| ((i % 7) as f32 - (j % 5) as f32) * 0.5 + 1.0;
            let stored = i.saturating_sub(30)..(i + 31).min(rows);
            let want: f32 = stored.clone().map(|j| entry(j) * (j % 3) as f32).sum();
            assert_eq!(y[i], want, "{device}: row {i}");
            for j in [i.saturating_sub(30), i, (i + 30).min(rows - 1)] {
                let before = if j > 0 && stored.contains(&(j - 1)) { entry(j - 1) } else { 0.0 };
                assert_eq!(product.get(0, i, j).unwrap(), before + entry(j), "{device}: ({i}, {j})");
            }
        }
    }
}
