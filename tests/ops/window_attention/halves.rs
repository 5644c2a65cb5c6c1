//! Kernels that read halves as they are stored.

use super::*;

const HALVES: [Dtype; 2] = [Dtype::F16, Dtype::Bf16];

/// Rounded to a half, NaN with its payload aside.
fn bits(dtype: Dtype, value: f32) -> u32 {
    let value = if dtype == Dtype::F16 { half::f16::from_f32(value).to_f32() } else { half::bf16::from_f32(value).to_f32() };
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

#[track_caller]
fn compare(what: &str, dtype: Dtype, got: &Dense, want: &Dense) {
    assert_eq!((got.shape().dtype, got.shape().rows, got.shape().cols), (dtype, want.shape().rows, want.shape().cols), "{what}");
    for (at, (got, want)) in got.read().unwrap().into_iter().zip(want.read().unwrap()).enumerate() {
        assert_eq!(bits(dtype, got), bits(dtype, want), "{what}: slot {at}, {got:e} for {want:e}");
    }
}

/// The same bits as the kernels of f32 give for the same values, rounded: odd sizes, so that every second matrix
/// starts within a word, special values, whole and in bindings so small that parts begin within a word too.
#[test]
fn as_the_kernels_of_f32() {
    let options = window(9, 4).heads(2, 1).dilation(2).offset(-3).global([4, 30]).lengths([31, 20, 31]);
    for (tested, dtype) in devices().iter().flat_map(|tested| HALVES.map(|dtype| (tested, dtype))) {
        if tested.variant == Variant::Portable {
            continue;
        }
        let host = |nth, batch, rows, cols| {
            let odd = [f32::NAN, f32::INFINITY, 6e-8, -0.0];
            let host = Host::random(batch, rows, cols, None, nth, 2.0);
            host.with(move |b, i, p| (b == 1 && i % 11 == 5 && p == 2).then(|| odd[(i / 11 + nth as usize) % 4])).rounded(dtype)
        };
        let hosts = [host(1, 6, 33, 7), host(2, 3, 31, 7), host(3, 3, 31, 5), host(4, 6, 33, 5)];
        for max_binding in [None, Some(4096), Some(2048)] {
            // Parts of two matrices, then of one; a new device compiles its kernels anew, which takes software drivers long.
            if max_binding.is_some() && tested.variant == Variant::Checked {
                continue;
            }
            let small = max_binding.map(|_| Device::open(&tested.info.id, Options { max_binding, ..tested.device.options() }).unwrap());
            let device = small.as_ref().unwrap_or(&tested.device);
            let what = format!("{}: {dtype} in {max_binding:?}", tested.label);
            let stored = |dtype| hosts.each_ref().map(|host| host.dense(device, Layout::Rows, dtype, false));
            let [[q, k, v, g], [wide_q, wide_k, wide_v, wide_g]] = [stored(dtype), stored(Dtype::F32)];
            let (out, lse) = window_attention(&q, &k, &v, &options).unwrap();
            let (wide_out, wide_lse) = window_attention(&wide_q, &wide_k, &wide_v, &options).unwrap();
            compare(&format!("{what}: out"), dtype, &out, &wide_out);
            let of = |lse: &Dense| lse.read().unwrap().into_iter().map(|x| if x.is_nan() { 0 } else { x.to_bits() }).collect::<Vec<_>>();
            assert_eq!(of(&lse), of(&wide_lse), "{what}: lse");
            let wide_out = Dense::from_slice(device, wide_out.shape(), &out.read().unwrap()).unwrap();
            let got = window_attention_backward(&q, &k, &v, &out, &lse, &g, &options).unwrap();
            let want = window_attention_backward(&wide_q, &wide_k, &wide_v, &wide_out, &lse, &wide_g, &options).unwrap();
            compare(&format!("{what}: dq"), dtype, &got.0, &want.0);
            compare(&format!("{what}: dk"), dtype, &got.1, &want.1);
            compare(&format!("{what}: dv"), dtype, &got.2, &want.2);
        }
    }
}

/// No f32 copy of operands is made on wgpu.
#[test]
fn operands_are_not_copied() {
    for (tested, dtype) in devices().iter().flat_map(|tested| HALVES.map(|dtype| (tested, dtype))) {
        if ["cpu", "cuda"].contains(&tested.info.backend.as_str()) || tested.variant != Variant::Default {
            continue;
        }
        let device = Device::open(&tested.info.id, Options::default()).unwrap();
        let make = |nth, cols| Host::random(1, 2048, cols, None, nth, 1.0).dense(&device, Layout::Rows, dtype, false);
        let [q, k, v, g] = [make(1, 64), make(2, 64), make(3, 2), make(4, 2)];
        let wide = 2048 * 64 * 4; // bytes of an f32 copy of q or k
        device.sync().unwrap();
        let before = device.allocated_bytes();
        let (out, lse) = window_attention(&q, &k, &v, &window(4, 4)).unwrap();
        device.sync().unwrap();
        let held = device.allocated_bytes() - before;
        assert!(held < wide / 2, "{}: {dtype} {held} bytes", tested.label);
        let before = device.allocated_bytes();
        let gradients = window_attention_backward(&q, &k, &v, &out, &lse, &g, &window(4, 4)).unwrap();
        device.sync().unwrap();
        // dq and dk, which are narrowed.
        let held = device.allocated_bytes() - before;
        assert!(held < 2 * wide + 2 * wide / 2 + wide / 2, "{}: {dtype} {held} bytes", tested.label);
        drop(gradients);
    }
}
