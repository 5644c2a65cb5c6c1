//! Sizes that fill many tiles and workgroups; their widths choose different kernels.

use super::*;

#[test]
fn wide_bands() {
    for tested in devices().iter().filter(|tested| tested.variant != Variant::Checked) {
        for (width, ring) in [33, 129, 257, 513].into_iter().flat_map(|width| RINGS.into_iter().take(4).map(move |ring| (width, ring))) {
            // Work grows with n · width²; a software renderer gets fewer rows and semirings.
            if tested.software() && width > 129 && ring != Semiring::Sum {
                continue;
            }
            let n = if tested.software() { 640 } else { 4096 };
            let band = Some(Band::window(width / 2).unwrap());
            let a = Host::random(1, n, n, band, 1, 3.0);
            let b = Host::random(1, n, n, band, 2, 3.0);
            let left = a.banded(&tested.device, Layout::Columns, Dtype::F32, false);
            let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
            let got = banded_matmul(&left, &right, ring).unwrap();
            check_banded(&format!("{}: n {n}, width {width}, {ring:?}", tested.label), &got, &a, &b, ring, &Rows::Some(12));
        }
    }
}

#[test]
fn long_batches_of_small_matrices() {
    // More workgroups than one dimension of the grid holds. A software OpenGL driver takes so long for
    // them that other tests can't get at its context.
    let quick = |tested: &&Tested| tested.variant == Variant::Default && !(tested.software() && tested.info.backend == "gl");
    for tested in devices().iter().filter(quick) {
        let a = Host::random(70_000, 1, 2, Some(Band::new(0, 1).unwrap()), 1, 3.0);
        let b = Host::random(70_000, 2, 1, Some(Band::new(1, 0).unwrap()), 2, 3.0);
        let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
        let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
        let what = format!("{}: 70000 products", tested.label);
        check_banded(&what, &banded_matmul(&left, &right, Semiring::Max).unwrap(), &a, &b, Semiring::Max, &Rows::All);
    }
}

#[test]
fn a_band_of_millions_on_one_row() {
    // Widths so large that sizes in bytes leave 32 bits.
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        let wide = Band::new(5_000_000, 5_000_000).unwrap();
        let a = Host::random(1, 1, 1, Some(Band::new(0, 0).unwrap()), 1, 3.0);
        let b = Host::random(1, 1, 1, Some(wide), 2, 3.0);
        let left = a.banded(&tested.device, Layout::Rows, Dtype::F32, false);
        let right = b.banded(&tested.device, Layout::Rows, Dtype::F32, false);
        let got = banded_matmul_band(&left, &right, Semiring::Sum, Band::new(1, 1).unwrap()).unwrap();
        check_banded(&format!("{}: width 10,000,001", tested.label), &got, &a, &b, Semiring::Sum, &Rows::All);
    }
}

/// A batch larger than a binding is split; the parts meet without a seam.
#[test]
fn batches_beyond_one_binding() {
    for info in Device::all() {
        for limit in [1024, 8192, 100_000] {
            let device = Device::open(&info.id, Options { max_binding: Some(limit), poison: true, ..Options::default() }).unwrap();
            for (batch, rows, inner, cols) in [(7, 9, 8, 11), (150, 5, 6, 5), (300, 3, 3, 2)] {
                for (ring, dtype) in [(Semiring::Sum, Dtype::F32), (Semiring::Log, Dtype::F32), (Semiring::Max, Dtype::F16)] {
                    let a = Host::random(batch, rows, inner, Some(Band::new(2, 3).unwrap()), 1, 3.0).rounded(dtype);
                    let b = Host::random(batch, inner, cols, Some(Band::new(1, 2).unwrap()), 2, 3.0).rounded(dtype);
                    let what = format!("{} with bindings of {limit}: {batch} × {rows} {ring:?} {dtype}", info.id);
                    let (left, right) = (a.banded(&device, Layout::Rows, dtype, false), b.banded(&device, Layout::Columns, dtype, false));
                    check_banded(&what, &banded_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
                    let v = dense(&b);
                    let right = v.dense(&device, Layout::Columns, dtype, false);
                    check_dense(&what, &banded_matmul_dense(&left, &right, ring).unwrap(), &a, &v, ring, &Rows::All);
                }
            }
        }
    }
}
