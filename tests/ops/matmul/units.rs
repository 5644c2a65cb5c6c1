//! Products of halves whose dense rows are whole pieces of 16 columns: what kernels on matrix units take,
//! where a device has them, f16 or on CUDA bf16. Everywhere else these are sizes like any other.

use super::*;

/// [rows, columns of the band's matrix, depth] and the band's lower and upper.
const SIZES: [([usize; 3], [i64; 2]); 11] = [
    ([16, 16, 16], [2, 2]),
    ([17, 19, 16], [4, 0]),
    ([70, 70, 64], [20, 20]),
    ([150, 133, 32], [0, 33]),
    ([65, 200, 48], [-3, 70]),
    ([130, 40, 16], [90, -2]),
    ([64, 64, 128], [100, 100]),
    ([33, 33, 80], [7, 9]),
    ([20, 20, 144], [3, 3]),
    ([84, 92, 32], [12, 20]),
    ([68, 76, 16], [-4, 24]),
];

fn halves(batch: usize, rows: usize, cols: usize, band: Option<[i64; 2]>, seed: u64, dtype: Dtype) -> Host {
    let band = band.map(|[lower, upper]| Band::new(lower, upper).unwrap());
    Host::random(batch, rows, cols, band, seed, 3.0).rounded(dtype)
}

#[test]
fn window_products_in_pieces_of_16() {
    for (tested, dtype) in devices_and_halves() {
        for (n, ([rows, cols, depth], [lower, upper])) in SIZES.into_iter().enumerate() {
            let (q, k) = (halves(2, rows, depth, None, n as u64, dtype), halves(2, cols, depth, None, 50 + n as u64, dtype));
            let left = q.dense(&tested.device, Layout::Rows, dtype, false);
            let right = k.dense(&tested.device, Layout::Rows, dtype, false);
            let got = window_matmul(&left, &right, Band::new(lower, upper).unwrap()).unwrap();
            assert_eq!(got.shape().dtype, dtype);
            let what = format!("{}, {dtype}: {rows} × {cols}, depth {depth}, band {lower}, {upper}", tested.label);
            let rows = k.clone();
            let transposed = Host::new(k.batch, k.cols, k.rows, None, move |b, i, j| rows.entry(b, j, i).unwrap_or(0.0) as f32);
            check_banded(&what, &got, &q, &transposed, Semiring::Sum, &Rows::All);
        }
    }
}

#[test]
fn band_times_dense_in_pieces_of_16() {
    for (tested, dtype) in devices_and_halves() {
        for (n, ([rows, cols, depth], band)) in SIZES.into_iter().enumerate() {
            let (a, v) = (halves(2, rows, cols, Some(band), n as u64, dtype), halves(2, cols, depth, None, 50 + n as u64, dtype));
            let what = format!("{}, {dtype}: {rows} × {cols}, depth {depth}, band {band:?}", tested.label);
            // An infinite and a NaN value meet the padding of rows that don't reach them.
            for (odd, layout) in [false, true].into_iter().flat_map(|odd| LAYOUTS.map(|layout| (odd, layout))) {
                let v = v.with(move |_, i, j| (odd && j == 5 && i % 16 == 9).then_some(if i == 9 { f32::INFINITY } else { f32::NAN }));
                let left = a.banded(&tested.device, layout, dtype, false);
                let right = v.dense(&tested.device, Layout::Rows, dtype, false);
                let got = banded_matmul_dense(&left, &right, Semiring::Sum).unwrap();
                assert_eq!(got.shape().dtype, dtype);
                check_dense(&format!("{what}, {layout:?}"), &got, &a, &v, Semiring::Sum, &Rows::All);
            }
        }
    }
}

/// The same products with other operands: g·K, gᵀ·Q, g·Vᵀ onto the band, and Aᵀ·g.
#[test]
fn gradients_in_pieces_of_16() {
    let transposed = |of: &Host| {
        let (inner, band) = (of.clone(), of.band.map(|band| Band::new(band.upper(), band.lower()).unwrap()));
        Host::new(of.batch, of.cols, of.rows, band, move |b, i, j| inner.entry(b, j, i).unwrap_or(0.0) as f32)
    };
    for (tested, dtype) in devices_and_halves() {
        let dense = |host: &Host| host.dense(&tested.device, Layout::Rows, dtype, false);
        for (n, ([rows, cols, depth], band)) in SIZES.into_iter().enumerate() {
            let seed = n as u64;
            let (q, k) = (halves(2, rows, depth, None, seed, dtype), halves(2, cols, depth, None, 50 + seed, dtype));
            let g = halves(2, rows, cols, Some(band), 90 + seed, dtype);
            let on_device = g.banded(&tested.device, Layout::Rows, dtype, false);
            let what = format!("{}, {dtype}: {rows} × {cols}, depth {depth}, band {band:?}", tested.label);
            let (gq, gk) = window_matmul_backward(&dense(&q), &dense(&k), &on_device).unwrap();
            assert_eq!((gq.shape().dtype, gk.shape().dtype), (dtype, dtype));
            check_dense(&format!("{what}, gradient of Q"), &gq, &g, &k, Semiring::Sum, &Rows::All);
            check_dense(&format!("{what}, gradient of K"), &gk, &transposed(&g), &q, Semiring::Sum, &Rows::All);
            // The band as an operand, k as the values, q as the gradient of the result.
            let (v, upstream) = (dense(&k), dense(&q));
            let out = banded_matmul_dense(&on_device, &v, Semiring::Sum).unwrap();
            let (ga, gv) = banded_matmul_dense_backward(&on_device, &v, &out, &upstream, Semiring::Sum).unwrap();
            assert_eq!((ga.shape().dtype, gv.shape().dtype), (dtype, dtype));
            check_banded(&format!("{what}, gradient of A"), &ga, &q, &transposed(&k), Semiring::Sum, &Rows::All);
            check_dense(&format!("{what}, gradient of V"), &gv, &transposed(&g), &q, Semiring::Sum, &Rows::All);
        }
    }
}
