//! `window_attention`: every option and their combinations, forward and gradients.

#[path = "window_attention/halves.rs"]
mod halves;
#[path = "window_attention/units.rs"]
mod units;

use bandsaw::*;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::common::attention::{Case, Operands};
use crate::common::*;

pub fn window(lower: i64, upper: i64) -> WindowAttention {
    WindowAttention::new(Band::new(lower, upper).unwrap())
}

/// Sizes [n, m, d, e] at which kernels go wrong: tiles have 64 rows, 32 keys, 64 columns of the
/// result and 16 of a product's depth.
fn table() -> Vec<Case> {
    vec![
        Case::new("one token", [1, 1, 1, 1], window(0, 0)),
        Case::new("one token, wide window", [1, 1, 3, 2], window(5, 7)),
        Case::new("each itself", [70, 70, 5, 3], window(0, 0)),
        Case::new("symmetric", [150, 150, 16, 16], window(9, 9)).entries(2),
        Case::new("causal", [130, 130, 20, 12], window(40, 0)),
        Case::new("ahead only", [65, 65, 17, 9], window(0, 33)),
        Case::new("asymmetric", [64, 64, 8, 8], window(3, 20)),
        Case::new("beside the diagonal", [40, 40, 4, 4], window(-3, 9)),
        Case::new("below the diagonal", [90, 90, 4, 4], window(70, -40)),
        Case::new("wider than n", [50, 50, 8, 8], window(60, 80)),
        Case::new("everything", [97, 97, 8, 8], window(1 << 28, 1 << 28)),
        Case::new("nothing to attend", [40, 40, 4, 4], window(-50, 60)),
        Case::new("more keys", [33, 95, 8, 8], window(12, 12).offset(31)),
        Case::new("more queries", [95, 33, 8, 8], window(12, 12).offset(-31)),
        Case::new("far beside", [20, 20, 4, 4], window(3, 3).offset(100)),
        Case::new("the last queries", [3, 200, 8, 8], window(64, 0).offset(197)),
        Case::new("deep", [66, 66, 129, 65], window(20, 20)),
        Case::new("deeper", [40, 40, 64, 130], window(8, 8)),
        Case::new("transposed keys", [70, 60, 24, 8], window(9, 4)).transposed(),
        Case::new("scaled", [70, 60, 24, 8], window(9, 4).scale(0.7)),
        Case::new("scaled below 0", [40, 40, 8, 8], window(9, 4).scale(-0.25)),
        Case::new("halves", [80, 80, 16, 24], window(15, 15)).entries(3).dtype(Dtype::F16),
        Case::new("bf16", [80, 80, 16, 24], window(15, 15)).entries(3).dtype(Dtype::Bf16),
        Case::new("halves, odd", [33, 31, 7, 5], window(15, 3)).entries(3).dtype(Dtype::F16),
        Case::new("heads", [66, 66, 8, 8], window(20, 0).heads(4, 4)).entries(2),
        Case::new("groups", [66, 70, 8, 6], window(20, 5).heads(6, 2)).entries(2),
        Case::new("one head of keys", [40, 40, 8, 8], window(7, 7).heads(5, 1)).entries(2),
        Case::new("lengths", [100, 100, 8, 8], window(20, 20).lengths([100, 70, 1, 0])).entries(4),
        Case::new("lengths and groups", [70, 70, 8, 8], window(20, 20).heads(4, 2).lengths([64, 33])).entries(2),
        Case::new("dilation", [150, 150, 8, 8], window(9, 9).dilation(2)),
        Case::new("dilation, causal", [150, 140, 8, 8], window(20, 0).dilation(5).offset(3)),
        Case::new("dilation beyond n", [20, 20, 8, 8], window(3, 3).dilation(33)),
        Case::new("largest dilation", [20, 20, 8, 8], window(1 << 28, 1 << 28).dilation(1 << 28)),
        Case::new("dilation, negative offset", [80, 70, 8, 8], window(3, 6).dilation(3).offset(-7)),
        Case::new("global", [100, 100, 8, 8], window(5, 5).global([0])),
        Case::new("globals", [140, 140, 8, 140], window(12, 3).global([0, 139, 70, 71, 70])),
        Case::new("globals and lengths", [100, 100, 8, 8], window(5, 5).global([3, 80]).lengths([90, 50, 2])).entries(3),
        Case::new("many globals", [60, 60, 8, 8], window(0, 0).global((0..40).collect::<Vec<_>>())),
        Case::new("globals and offset", [60, 90, 8, 8], window(4, 4).offset(20).global([5, 20, 79, 89])),
        Case::new("global, groups", [70, 70, 8, 8], window(4, 4).heads(4, 2).global([9, 33])).entries(2),
        Case::new(
            "all at once",
            [75, 100, 20, 70],
            window(6, 4).heads(4, 2).dilation(3).offset(20).global([0, 33, 99]).lengths([100, 61]).scale(0.5),
        )
        .entries(2)
        .transposed(),
        Case::new("all at once, halves", [75, 100, 20, 30], window(6, 4).heads(2, 1).dilation(2).offset(-9).global([50]).lengths([77]))
            .dtype(Dtype::F16),
        Case::new("no batch", [10, 10, 4, 4], window(2, 2)).entries(0),
    ]
}

#[test]
fn every_option_is_the_definition() {
    for tested in devices() {
        for case in table() {
            case.check(&tested.device, &tested.label);
        }
    }
}

/// Any sizes and options.
#[test]
fn random_cases() {
    let strategy = (
        ([1..150usize, 1..150usize, 1..40usize, 1..40usize], -20..60i64, 0..90i64),
        (1..7usize, -90..90i64, 1..4usize, 1..4usize, 1..3usize),
        (proptest::collection::vec(any::<proptest::sample::Index>(), 0..4), any::<bool>(), any::<u64>(), 0..4u8),
    );
    // The same cases on every device and in every run.
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let run =
        runner.run(&strategy, |((sizes, lower, width), (dilation, offset, kv_heads, group, entries), (picks, lengths, seed, kind))| {
            let keys = sizes[1];
            let mut options = window(lower, width - lower).dilation(dilation).offset(offset).heads(kv_heads * group, kv_heads);
            options = options.global(picks.iter().map(|pick| pick.index(keys)).collect::<Vec<_>>());
            if lengths {
                options = options.lengths((0..entries).map(|entry| (seed as usize >> (8 * entry)) % (keys + 1)).collect::<Vec<_>>());
            }
            let mut case = Case { seed, ..Case::new("random", sizes, options).entries(entries) };
            case.transposed = kind & 1 == 1;
            case.dtype = if kind == 2 { Dtype::F16 } else { Dtype::F32 };
            for tested in devices() {
                case.check(&tested.device, &format!("{}: {case:?}", tested.label));
            }
            Ok(())
        });
    run.unwrap();
}

/// Scores of ±10⁴ and beyond: sums are taken relative to the largest.
#[test]
fn large_scores() {
    for tested in devices() {
        for size in [100.0, 1000.0] {
            let options = window(10, 10).scale(1.0).global([5]);
            Case::new("large", [70, 70, 4, 8], options).size(size).check(&tested.device, &tested.label);
        }
    }
}

/// Infinities and NaN come out where the definition has them, and nowhere else: beside the window,
/// in padding, and in other heads they are not seen.
#[test]
fn values_that_are_no_numbers() {
    for tested in devices() {
        let options = window(6, 3).global([20]).lengths([70]).scale(0.25);
        let case = Case::new("no numbers", [90, 90, 8, 8], options);
        let plain = case.operands();
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let at = |row: usize, value: f32| move |_: usize, i: usize, p: usize| (i == row && p == 3).then_some(value);
        let mut odd = vec![
            Operands { q: plain.q.with(at(40, nan)), ..plain.clone() },
            Operands { k: plain.k.with(at(40, nan)), ..plain.clone() },
            Operands { k: plain.k.with(at(75, nan)), v: plain.v.with(at(80, inf)), ..plain.clone() },
            Operands { v: plain.v.with(at(10, nan)), ..plain.clone() },
            Operands { v: plain.v.with(at(40, inf)), ..plain.clone() },
            Operands { v: plain.v.with(at(20, nan)), ..plain.clone() },
            Operands { grad: plain.grad.with(at(30, nan)), ..plain.clone() },
        ];
        odd.push(Operands {
            k: plain.k.with(move |_, j, _| (30..50).contains(&j).then_some(-inf)),
            q: plain.q.with(|_, _, _| Some(1.0)),
            ..plain
        });
        for (n, operands) in odd.iter().enumerate() {
            case.check_with(&tested.device, &format!("{} {n}", tested.label), operands);
        }
    }
}

/// The same bits every time, and as many passes as a small binding forces.
#[test]
fn results_repeat_and_batches_are_cut() {
    for tested in devices() {
        let case = Case::new("cut", [40, 40, 8, 8], window(9, 9).heads(4, 2).lengths([40, 30, 20]).global([7])).entries(3);
        case.check(&tested.device, &tested.label);
        let whole = case.run(&tested.device);
        assert_eq!(whole, case.run(&tested.device), "{}", tested.label);
        let device = tested.opened(Options { max_binding: Some(6000), ..tested.device.options() });
        assert_eq!(whole, case.run(&device), "{}, in parts", tested.label);
    }
}

/// A matrix larger than a binding goes in parts of its rows, with the keys that these meet.
#[test]
fn matrices_are_cut_into_rows() {
    for tested in devices() {
        let device = tested.opened(Options { max_binding: Some(8192), ..tested.device.options() });
        for case in [
            Case::new("rows", [500, 500, 8, 4], window(20, 20)).entries(2),
            Case::new("rows, causal", [700, 300, 4, 8], window(70, -1).offset(-100).heads(2, 2).lengths([290])),
            Case::new("rows, dilated", [300, 600, 8, 8], window(9, 4).offset(170).dilation(5)),
            Case::new("rows, far", [300, 300, 8, 8], window(3, 3).offset(290)).dtype(Dtype::F16),
        ] {
            case.check(&device, &tested.label);
        }
    }
}

/// A million rows and a window of 512 on each side, 1025 probabilities to a row: on a GPU in the memory
/// of its operands and results. Software takes a smaller one.
#[test]
fn a_million_rows() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default && tested.info.id != "cpu") {
        let [n, d, w] = if tested.software() { [1 << 12, 8, 100] } else { [1 << 20, 64, 512] };
        let device = tested.opened(Options::default());
        let before = device.allocated_bytes();
        let x = Dense::from_fn(&device, DenseShape::new(n, d), |_, i, p| noise(1, 0, i, p)).unwrap();
        let ones = Dense::from_fn(&device, DenseShape::new(n, d), |_, _, _| 1.0).unwrap();
        let (out, lse) = window_attention(&x, &x, &ones, &window(w as i64, w as i64)).unwrap();
        device.sync().unwrap();
        // Two operands and the result; pools round up.
        let held = device.allocated_bytes() - before;
        assert!(held < 4 * (n * d * 4) as u64, "{}: {held} bytes", tested.label);
        // Means of ones are ones; a sum over 2w + 1 neighbours has about ln of that as its logarithm.
        assert!(out.read().unwrap().iter().all(|value| (value - 1.0).abs() < 1e-3), "{}", tested.label);
        let (lse, about) = (lse.read().unwrap(), ((2 * w + 1) as f32).ln());
        assert!(lse.iter().skip(w).take(n - 2 * w).all(|value| (value - about).abs() < 6.0), "{}", tested.label);
    }
}

/// Nothing of size n × width is made: what a device holds grows with n · d.
#[test]
fn memory_is_linear() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default && tested.info.id != "cpu") {
        let device = tested.opened(Options::default());
        let cuda = tested.info.backend == "cuda";
        let n = if cuda && !tested.software() { 1 << 16 } else { 2048 };
        let x = Dense::from_fn(&device, DenseShape::new(n, 8), |_, i, d| noise(1, 0, i, d)).unwrap();
        let operand = n as u64 * 8 * 4;
        let options = window(400, 0);
        let (out, lse) = window_attention(&x, &x, &x, &options).unwrap();
        let gradients = window_attention_backward(&x, &x, &x, &out, &lse, &x, &options).unwrap();
        device.sync().unwrap();
        // The operand, the result, three gradients; the logsumexp and the row sums are an eighth each.
        let held = device.allocated_bytes();
        // CUDA's pool grows by pieces of 32 MiB.
        let least = if cuda { 32 << 20 } else { 0 };
        assert!(held <= least.max(6 * operand), "{}: {held} bytes", tested.label);
        drop(gradients);
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, text: &str) {
    assert_eq!(result.unwrap_err().to_string(), format!("window_attention: {text}"));
}

fn zeros(device: &Device, batch: usize, rows: usize, cols: usize) -> Dense {
    Dense::from_fn(device, DenseShape::new(rows, cols).batch(batch), |_, _, _| 0.0).unwrap()
}

#[test]
fn operands_that_do_not_fit() {
    for Tested { device, .. } in devices() {
        let (q, x, options) = (zeros(device, 2, 5, 4), zeros(device, 2, 6, 4), window(1, 1));
        let run = |q: &Dense, k: &Dense, v: &Dense| window_attention(q, k, v, &options);
        refused(run(&q, &zeros(device, 2, 6, 3), &x), "k has columns 3, must have columns 4 (the columns of q)");
        refused(run(&q, &x, &zeros(device, 2, 5, 4)), "v has rows 5, must have rows 6 (the rows of k)");
        refused(run(&q, &x, &zeros(device, 3, 6, 4)), "v has batch 3, must have batch 2 (the batch of k)");
        let y = zeros(device, 1, 6, 4);
        refused(run(&q, &y, &y), "k has batch 1, must have batch 2 (2 batch entries × 1 kv_heads)");
        let half = |dtype| Dense::from_fn(device, DenseShape::new(6, 4).batch(2).dtype(dtype), |_, _, _| 0.0).unwrap();
        refused(run(&q, &half(Dtype::F16), &x), "k has dtype f16, must have dtype f32 (the dtype of q)");
        refused(run(&q, &x, &half(Dtype::F16)), "v has dtype f16, must have dtype f32 (the dtype of q)");
        refused(run(&q, &x, &half(Dtype::U32)), "v has dtype u32, must have dtype f32, f16 or bf16");
    }
}

#[test]
fn options_that_cannot_be() {
    let cpu = Device::cpu();
    let x = zeros(&cpu, 6, 5, 4);
    let run = |options: WindowAttention| window_attention(&x, &x, &x, &options);
    let heads = "must have heads a multiple of kv_heads, both at least 1";
    refused(run(window(1, 1).heads(3, 2)), &format!("options has heads 3, kv_heads 2, {heads}"));
    refused(run(window(1, 1).heads(0, 1)), &format!("options has heads 0, kv_heads 1, {heads}"));
    refused(run(window(1, 1).heads(2, 0)), &format!("options has heads 2, kv_heads 0, {heads}"));
    refused(run(window(1, 1).heads(4, 4)), "q has batch 6, must have a multiple of its 4 heads as batch");
    refused(run(window(1, 1).heads(6, 3)), "k has batch 6, must have batch 3 (1 batch entries × 3 kv_heads)");
    refused(run(window(1, 1).heads(3, 3).lengths([5])), "options has 1 lengths, must have 2 lengths (one for each batch entry)");
    refused(
        run(window(1, 1).heads(3, 3).lengths([5, 6])),
        "options has length 6 for batch entry 1, must have a length of at most 5 (the rows of k)",
    );
    refused(run(window(1, 1).global([0, 5])), "options has global position 5, must have positions below 5 (the rows of k)");
    refused(run(window(1, 1).dilation(0)), "options has dilation 0, must have a dilation of 1 to 2^28");
    refused(run(window(1, 1).dilation(1 << 29)), "options has dilation 536870912, must have a dilation of 1 to 2^28");
    refused(run(window(1, 1).offset(i64::MIN)), "options has offset -9223372036854775808, must have an offset within ±2^28");
    refused(run(window(1, 1).scale(f32::NAN)), "options has scale NaN, must have a finite scale");
}

#[test]
fn operands_on_two_devices() {
    let near = zeros(&Device::cpu(), 1, 4, 4);
    for Tested { device, .. } in &devices()[1..] {
        let far = zeros(device, 1, 4, 4);
        let text = format!("is on {device}, must be on cpu like the first operand");
        refused(window_attention(&near, &far, &near, &window(1, 1)), &format!("k {text}"));
        refused(window_attention(&near, &near, &far, &window(1, 1)), &format!("v {text}"));
    }
}

#[test]
fn a_matrix_beyond_a_binding_is_refused() {
    for tested in devices() {
        let device = tested.opened(Options { max_binding: Some(1024), ..tested.device.options() });
        let x = zeros(&device, 1, 65, 4);
        let text = format!("one matrix's size in bytes is 1040, the limit of {device} is 1024");
        // Its rows meet all keys.
        refused(window_attention(&x, &x, &x, &window(1, 1).global([0])), &text);
        refused(window_attention(&x, &x, &x, &window(64, 64)), &text);
    }
}
