//! Kernels that read halves as they are stored.

use super::*;

const HALVES: [Dtype; 2] = [Dtype::F16, Dtype::Bf16];

/// Each half on every device opened in one of these ways: a new kernel takes software drivers long to compile.
fn each(variants: &[Variant]) -> Vec<(&'static Tested, Dtype)> {
    let tested = devices().iter().filter(|tested| variants.contains(&tested.variant));
    tested.flat_map(|tested| HALVES.map(|dtype| (tested, dtype))).collect()
}

/// The value of a half by its bits.
fn half_of(dtype: Dtype, bits: u16) -> f32 {
    if dtype == Dtype::F16 { half::f16::from_bits(bits).to_f32() } else { half::bf16::from_bits(bits).to_f32() }
}

/// What a half stores of it.
fn rounded(dtype: Dtype, value: f32) -> f32 {
    if dtype == Dtype::F16 { half::f16::from_f32(value).to_f32() } else { half::bf16::from_f32(value).to_f32() }
}

/// NaN with its payload aside.
fn bits(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

/// Every half there is times 1, by the larger of one term: subnormals, infinities, NaN, both zeros.
#[test]
fn every_half_comes_back() {
    for (tested, dtype) in each(&[Variant::Default, Variant::Portable, Variant::Checked]) {
        let all: Vec<f32> = (0..=u16::MAX).map(|bits| half_of(dtype, bits)).collect();
        let one = Dense::from_slice(&tested.device, DenseShape::new(1, 1).dtype(dtype), &[1.0]).unwrap();
        let halves = Dense::from_slice(&tested.device, DenseShape::new(1, all.len()).dtype(dtype), &all).unwrap();
        let got = semiring_matmul(&one, &halves, Semiring::ProdMax).unwrap().read().unwrap();
        for (got, want) in got.into_iter().zip(all) {
            // A driver may take subnormal f32 as 0, which of these bf16 alone are.
            let flushed = want.is_subnormal() && got == 0.0;
            assert!(bits(got) == bits(want) || flushed, "{}: {dtype} {want:e} became {got:e}", tested.label);
        }
    }
}

/// The same bits as the kernel of f32 gives for the same values, rounded: odd sizes, so that every second
/// matrix starts within a word, both layouts, special values, every semiring and the gradients.
#[test]
fn as_the_kernel_of_f32() {
    let special = |host: &Host| {
        host.with(|b, i, j| (b == 2 && i % 7 == 3).then(|| [f32::NAN, f32::INFINITY, -f32::INFINITY, 6e-8, -0.0][(i + j) % 5]))
    };
    for (tested, dtype) in each(&[Variant::Default, Variant::Checked]) {
        for (n, (rows, inner, cols, a, b)) in
            [(21, 33, 27, (2, 4), (3, 3)), (1, 1, 1, (0, 0), (0, 0)), (67, 65, 131, (9, 1), (-2, 70))].into_iter().enumerate()
        {
            let a = Host::random(5, rows, inner, Some(Band::new(a.0, a.1).unwrap()), 1, 3.0).rounded(dtype);
            let b = Host::random(5, inner, cols, Some(Band::new(b.0, b.1).unwrap()), 2, 3.0).rounded(dtype);
            let (a, b) = if n == 0 { (special(&a).rounded(dtype), special(&b).rounded(dtype)) } else { (a, b) };
            for (mix, ring) in RINGS.into_iter().enumerate() {
                let layouts = [LAYOUTS[mix & 1], LAYOUTS[(mix >> 1 & 1) ^ (n & 1)]];
                let what = format!("{}: {dtype} {n} {ring:?}", tested.label);
                let compare = |got: Vec<f32>, want: Vec<f32>| {
                    assert_eq!(got.len(), want.len(), "{what}");
                    for (at, (got, want)) in got.into_iter().zip(want).enumerate() {
                        assert_eq!(bits(got), bits(rounded(dtype, want)), "{what}: slot {at}, {got:e} for {want:e}");
                    }
                };
                let banded =
                    |dtype| (a.banded(&tested.device, layouts[0], dtype, false), b.banded(&tested.device, layouts[1], dtype, true));
                let [(a16, b16), (a32, b32)] = [banded(dtype), banded(Dtype::F32)];
                let (got, want) = (banded_matmul(&a16, &b16, ring).unwrap(), banded_matmul(&a32, &b32, ring).unwrap());
                compare(got.read().unwrap(), want.read().unwrap());
                if ring == Semiring::Sum {
                    let values = got.read().unwrap();
                    let g = |like: &Banded| Banded::from_slice(&tested.device, like.shape(), &values).unwrap();
                    let (g16, g32) = (g(&got), g(&want));
                    let got = banded_matmul_backward(&a16, &b16, &got, &g16, ring).unwrap();
                    let want = banded_matmul_backward(&a32, &b32, &want, &g32, ring).unwrap();
                    compare(got.0.read().unwrap(), want.0.read().unwrap());
                    compare(got.1.read().unwrap(), want.1.read().unwrap());
                }
                let whole = |dtype| {
                    (dense(&a).dense(&tested.device, layouts[0], dtype, true), dense(&b).dense(&tested.device, layouts[1], dtype, false))
                };
                let [(a16, b16), (a32, b32)] = [whole(dtype), whole(Dtype::F32)];
                let (got, want) = (semiring_matmul(&a16, &b16, ring).unwrap(), semiring_matmul(&a32, &b32, ring).unwrap());
                compare(got.read().unwrap(), want.read().unwrap());
            }
        }
    }
}

/// Parts of a batch that begin within a word, and such that do not, in bindings of these sizes.
#[test]
fn parts_of_a_batch() {
    for (tested, dtype) in each(&[Variant::Default]) {
        for limit in [1024, 2048] {
            let device = Device::open(&tested.info.id, Options { max_binding: Some(limit), ..tested.device.options() }).unwrap();
            for (ring, cols) in RINGS.into_iter().take(2).flat_map(|ring| [(ring, 9), (ring, 10)]) {
                let a = Host::random(7, 9, 11, None, 1, 3.0).rounded(dtype);
                let b = Host::random(7, 11, cols, None, 2, 3.0).rounded(dtype);
                let (left, right) = (a.dense(&device, Layout::Rows, dtype, false), b.dense(&device, Layout::Columns, dtype, false));
                let what = format!("{} with bindings of {limit}: {dtype} {ring:?} {cols}", tested.label);
                check_dense(&what, &semiring_matmul(&left, &right, ring).unwrap(), &a, &b, ring, &Rows::All);
            }
        }
    }
}

/// No f32 copy of operands is made on wgpu.
#[test]
fn operands_are_not_copied() {
    for (tested, dtype) in each(&[Variant::Default]) {
        if ["cpu", "cuda"].contains(&tested.info.backend.as_str()) {
            continue;
        }
        let device = Device::open(&tested.info.id, tested.device.options()).unwrap();
        let long = Host::random(1, 3, 40_001, None, 1, 1.0);
        let (a, b) = (long.dense(&device, Layout::Rows, dtype, false), long.dense(&device, Layout::Rows, dtype, false).t());
        let x = Host::random(1, 9001, 9001, Some(Band::window(4).unwrap()), 1, 1.0).banded(&device, Layout::Rows, dtype, false);
        let (v, g) = (Host::random(1, 9001, 1, None, 1, 1.0), Host::random(1, 9001, 1, None, 2, 1.0));
        let (v, g) = (v.dense(&device, Layout::Rows, dtype, false), g.dense(&device, Layout::Rows, dtype, false));
        device.sync().unwrap();
        let before = device.allocated_bytes();
        for ring in &RINGS[..2] {
            semiring_matmul(&a, &b, *ring).unwrap().read().unwrap();
        }
        device.sync().unwrap();
        let held = device.allocated_bytes() - before;
        assert!(held < 3 * 40_001, "{}: {dtype} {held} bytes", tested.label); // half of one operand
        // Results, their f32 copies; of those of the band 9 · 9001 values.
        let before = device.allocated_bytes();
        let o = banded_matmul_dense(&x, &v, Semiring::Sum).unwrap();
        let gradients = banded_matmul_dense_backward(&x, &v, &o, &g, Semiring::Sum).unwrap();
        device.sync().unwrap();
        let held = device.allocated_bytes() - before;
        assert!(held < 9001 * (9 * 6 + 2 * 6 + 6 + 8), "{}: {dtype} {held} bytes", tested.label);
        drop(gradients);
    }
}
