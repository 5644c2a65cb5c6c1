//! Products: banded, dense and mixed, over every semiring.

#[path = "matmul/cropped.rs"]
mod cropped;
#[path = "matmul/errors.rs"]
mod errors;
#[path = "matmul/halves.rs"]
mod halves;
#[path = "matmul/large.rs"]
mod large;
#[path = "matmul/narrow.rs"]
mod narrow;
#[path = "matmul/special.rs"]
mod special;
#[path = "matmul/units.rs"]
mod units;
#[path = "matmul/wide.rs"]
mod wide;

use bandsaw::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::common::*;

const RINGS: [Semiring; 5] = [Semiring::Sum, Semiring::Log, Semiring::Max, Semiring::ProdMax, Semiring::Sample { seed: 7 }];
const LAYOUTS: [Layout; 2] = [Layout::Rows, Layout::Columns];

/// Random operands of a case.
fn operands(case: &Case, seed: u64) -> (Host, Host) {
    let a = Host::random(case.batch, case.rows, case.inner, Some(case.a()), seed, 3.0);
    let b = Host::random(case.batch, case.inner, case.cols, Some(case.b()), seed + 1, 3.0);
    (a, b)
}

/// The same function of the indices with every entry stored.
fn dense(host: &Host) -> Host {
    host.whole()
}

#[test]
fn every_case_layout_and_transpose() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            let (a, b) = operands(case, n as u64);
            for (mix, ring) in (0..4).flat_map(|mix| RINGS.map(|ring| (mix, ring))) {
                let layouts = (LAYOUTS[mix & 1], LAYOUTS[mix >> 1]);
                // Over the table every transpose meets every mix of layouts.
                for transposes in [0, 1 + (n + mix) % 3] {
                    let (ta, tb) = (transposes & 1 != 0, transposes & 2 != 0);
                    let what = format!("{}: {} {ring:?} {layouts:?}, transposed {ta} {tb}", tested.label, case.name);
                    let left = a.banded(&tested.device, layouts.0, Dtype::F32, ta);
                    let right = b.banded(&tested.device, layouts.1, Dtype::F32, tb);
                    let got = banded_matmul(&left, &right, ring).unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(got.shape().band, case.a() * case.b(), "{what}");
                    assert_eq!(got.shape().layout, left.shape().layout, "{what}");
                    check_banded(&what, &got, &a, &b, ring, &Rows::All);
                }
            }
        }
    }
}

#[test]
fn cropped_and_widened_bands() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            let (a, b) = operands(case, n as u64);
            let full = case.a() * case.b();
            let (lower, upper) = (full.lower(), full.upper());
            // Cropped on both sides, on one, moved off, and widened.
            let bands = [(lower - 1, upper - 1), (lower, -lower), (lower + 2, upper - 1), (lower + 9, upper + 5), (-upper - 1, upper + 1)];
            for (k, (lower, upper)) in bands.into_iter().enumerate() {
                let Ok(band) = Band::new(lower, upper) else { continue };
                let ring = RINGS[(n + k) % 4];
                let what = format!("{}: {} {ring:?} onto {band}", tested.label, case.name);
                let left = a.banded(&tested.device, LAYOUTS[k % 2], Dtype::F32, n % 2 == 0);
                let right = b.banded(&tested.device, LAYOUTS[n % 2], Dtype::F32, false);
                let got = banded_matmul_band(&left, &right, ring, band).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(got.shape().band, band, "{what}");
                check_banded(&what, &got, &a, &b, ring, &Rows::All);
            }
        }
    }
}

#[test]
fn banded_times_dense() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            let (a, v) = operands(case, n as u64);
            let v = dense(&v);
            for (mix, ring) in RINGS.into_iter().enumerate() {
                let what = format!("{}: {} {ring:?} times dense", tested.label, case.name);
                let left = a.banded(&tested.device, LAYOUTS[mix & 1], Dtype::F32, n % 2 == 0);
                let right = v.dense(&tested.device, LAYOUTS[mix >> 1 & 1], Dtype::F32, n % 3 == 0);
                check_dense(&what, &banded_matmul_dense(&left, &right, ring).unwrap(), &a, &v, ring, &Rows::All);
            }
        }
    }
}

#[test]
fn windows() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            let (q, k) = operands(case, n as u64);
            let (q, k) = (dense(&q), dense(&k));
            for (band, layouts) in [(case.a(), 0), (case.b(), 1), (case.a() * case.b(), 2)] {
                let what = format!("{}: {} window {band}", tested.label, case.name);
                let left = q.dense(&tested.device, LAYOUTS[layouts & 1], Dtype::F32, n % 2 == 0);
                // window_matmul takes K as cols × depth.
                let right = k.dense(&tested.device, LAYOUTS[layouts >> 1], Dtype::F32, n % 2 == 1).t();
                let got = window_matmul(&left, &right, band).unwrap();
                assert_eq!((got.shape().band, got.shape().layout), (band, Layout::Rows), "{what}");
                check_banded(&what, &got, &q, &k, Semiring::Sum, &Rows::All);
            }
        }
    }
}

#[test]
fn dense_times_dense() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            let (a, b) = operands(case, n as u64);
            let (a, b) = (dense(&a), dense(&b));
            for (mix, ring) in RINGS.into_iter().enumerate() {
                let what = format!("{}: {} {ring:?} dense", tested.label, case.name);
                let left = a.dense(&tested.device, LAYOUTS[mix & 1], Dtype::F32, n % 3 == 0);
                let right = b.dense(&tested.device, LAYOUTS[mix >> 1 & 1], Dtype::F32, n % 2 == 0);
                check_dense(&what, &semiring_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
            }
        }
    }
}

#[test]
fn half_precision() {
    for tested in devices() {
        for (n, case) in cases().iter().enumerate() {
            let (a, b) = operands(case, n as u64);
            for (mix, ring) in RINGS.into_iter().take(4).enumerate() {
                // Both in the same halves gives these; mixed gives f32.
                let (dtypes, result) = match n % 4 {
                    0 => ((Dtype::F16, Dtype::F16), Dtype::F16),
                    1 => ((Dtype::F16, Dtype::F32), Dtype::F32),
                    2 => ((Dtype::Bf16, Dtype::Bf16), Dtype::Bf16),
                    _ => ((Dtype::Bf16, Dtype::F16), Dtype::F32),
                };
                let (a, b) = (a.rounded(dtypes.0), b.rounded(dtypes.1));
                let what = format!("{}: {} {ring:?} {dtypes:?}", tested.label, case.name);
                let left = a.banded(&tested.device, LAYOUTS[mix & 1], dtypes.0, false);
                let right = b.banded(&tested.device, LAYOUTS[mix >> 1], dtypes.1, true);
                let got = banded_matmul(&left, &right, ring).unwrap();
                assert_eq!(got.shape().dtype, result, "{what}");
                check_banded(&what, &got, &a, &b, ring, &Rows::All);

                let (a, b) = (dense(&a), dense(&b));
                let left = a.dense(&tested.device, LAYOUTS[mix >> 1], dtypes.0, false);
                let right = b.dense(&tested.device, LAYOUTS[mix & 1], dtypes.1, true);
                let got = semiring_matmul(&left, &right, ring).unwrap();
                assert_eq!(got.shape().dtype, result, "{what}");
                check_dense(&what, &got, &a, &b, ring, &Rows::All);
            }
        }
    }
}

#[test]
fn checked_and_unchecked_agree_bit_for_bit() {
    let all = devices();
    for checked in all.iter().filter(|tested| tested.variant == Variant::Checked) {
        let plain = all.iter().find(|other| other.info.id == checked.info.id && other.variant == Variant::Default).unwrap();
        for (n, case) in cases().iter().enumerate() {
            let (a, b) = operands(case, n as u64);
            for ring in RINGS {
                let [plain_bits, checked_bits] = [plain, checked].map(|tested| {
                    let left = a.banded(&tested.device, LAYOUTS[n % 2], Dtype::F32, false);
                    let right = b.banded(&tested.device, LAYOUTS[n / 2 % 2], Dtype::F32, false);
                    let band = banded_matmul(&left, &right, ring).unwrap().read().unwrap();
                    let left = dense(&a).dense(&tested.device, LAYOUTS[n % 2], Dtype::F32, false);
                    let whole = semiring_matmul(&left, &dense(&b).dense(&tested.device, Layout::Rows, Dtype::F32, false), ring).unwrap();
                    let bits = band.into_iter().chain(whole.read().unwrap()).map(f32::to_bits);
                    bits.collect::<Vec<_>>()
                });
                assert!(plain_bits == checked_bits, "{} and {}: {} {ring:?}", plain.label, checked.label, case.name);
            }
        }
    }
}

#[test]
fn random_shapes() {
    let shape = (0..4usize, 1..90usize, 1..90usize, 1..90usize);
    let bands = (-4..40i64, 0..40i64, -4..40i64, 0..40i64);
    let choice = (0..4usize, any::<[bool; 5]>(), any::<u64>());
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let run = |((batch, rows, inner, cols), (a_lower, a_width, b_lower, b_width), (ring, flags, seed))| {
        let [a_columns, b_columns, ta, tb, halves] = flags;
        let (a, b) = ((a_lower, a_width - a_lower), (b_lower, b_width - b_lower));
        let case = Case { name: "random", batch, rows, inner, cols, a, b };
        let dtype = if halves { Dtype::F16 } else { Dtype::F32 };
        let ring = RINGS[ring];
        let (a, b) = operands(&case, seed);
        let (a, b) = (a.rounded(dtype), b.rounded(dtype));
        for tested in devices() {
            let left = a.banded(&tested.device, LAYOUTS[usize::from(a_columns)], dtype, ta);
            let right = b.banded(&tested.device, LAYOUTS[usize::from(b_columns)], dtype, tb);
            let got = banded_matmul(&left, &right, ring).unwrap();
            check_banded(&format!("{}: {case:?} {ring:?} {dtype}", tested.label), &got, &a, &b, ring, &Rows::All);
        }
        Ok(())
    };
    runner.run(&(shape, bands, choice), run).unwrap_or_else(|error| panic!("{error}"));
}
