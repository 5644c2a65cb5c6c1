//! Products of dense batches at stored blocks.

use bandsaw::{
    BlockPattern, BlockSparse, Dense, DenseShape, Device, Dtype, Layout, Options, block_matmul_backward, block_sddmm, block_sddmm_backward,
};

use crate::common::Tested;
use crate::{assert_product, dense, devices, devices_and_halves, full, full_dense, patterns, sparse, stacked, with_interpreter};

#[test]
fn products_at_blocks_are_the_dense_ones() {
    for tested in devices() {
        for (n, pattern) in patterns().iter().enumerate() {
            let tokens = [1, 17, 40, 70][n % 4];
            let what = format!("{} {pattern} {tokens} tokens", tested.label);
            let a = dense(&tested.device, 1, DenseShape::new(tokens, pattern.rows()));
            let b = dense(&tested.device, 2, DenseShape::new(tokens, pattern.cols()));
            let c = block_sddmm(&a, &b, pattern).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(c.pattern(), pattern);
            assert_product(&what, &full(&c), &full_dense(&a)[0].t(), &full_dense(&b)[0], Dtype::F32);
        }
    }
}

/// Tiles of each height, over operands that lie along the features or along the tokens.
#[test]
fn layouts_of_both_operands() {
    for (tested, block) in devices().iter().flat_map(|tested| [[16, 16], [32, 32], [64, 32]].map(|block| (tested, block))) {
        let pattern = BlockPattern::new([128, 320], block, &[[0, 0], [0, 4], [0, 5], [0, 9], [1, 2]]).unwrap();
        for (layouts, tokens) in [(0, 72), (1, 72), (2, 72), (3, 72), (0, 70), (3, 70)] {
            let layout = |bit: usize| if layouts & bit > 0 { Layout::Columns } else { Layout::Rows };
            let what = format!("{} {pattern} {tokens} tokens, layouts {layouts}", tested.label);
            let a = dense(&tested.device, 1, DenseShape::new(tokens, 128).layout(layout(1)));
            let b = dense(&tested.device, 2, DenseShape::new(tokens, 320).layout(layout(2)));
            let c = block_sddmm(&a, &b, &pattern).unwrap();
            assert_product(&what, &full(&c), &full_dense(&a)[0].t(), &full_dense(&b)[0], Dtype::F32);
        }
    }
}

/// Whole blocks and pieces of 8 tokens, or just not; rows that end in the first and in the second half of a tile of 128
/// places, and blocks across its edge.
#[test]
fn whole_tiles() {
    let cases = [
        ([64, 160], [32, 32], 9, 24),
        ([64, 160], [32, 32], 9, 28),
        ([64, 160], [32, 32], 9, 70),
        ([128, 192], [64, 64], 5, 72),
        ([96, 216], [96, 36], 6, 72),
        ([128, 180], [128, 20], 9, 40),
        // Places that are no multiple of 4, rows no multiple of 32, and blocks that stick out, on either side.
        ([64, 180], [32, 30], 9, 72),
        ([96, 160], [48, 32], 9, 72),
        ([60, 160], [32, 32], 9, 72),
        ([64, 156], [32, 32], 9, 72),
        // Parts of the tokens: two of 528 and 504, and sixteen, of which the last is shorter too.
        ([64, 160], [32, 32], 9, 1032),
        ([32, 32], [32, 32], 1, 8200),
    ];
    for tested in devices() {
        for (sides, block, blocks, tokens) in cases {
            let pattern = BlockPattern::random(sides, block, blocks, 3).unwrap();
            let what = format!("{} {pattern} {tokens} tokens", tested.label);
            let a = dense(&tested.device, 1, DenseShape::new(tokens, sides[0]));
            let b = dense(&tested.device, 2, DenseShape::new(tokens, sides[1]));
            let c = block_sddmm(&a, &b, &pattern).unwrap();
            assert_product(&what, &full(&c), &full_dense(&a)[0].t(), &full_dense(&b)[0], Dtype::F32);
        }
    }
}

/// Operands beyond a binding, in pieces that add up: all of whole tiles, or the last one not.
#[test]
fn pieces_of_whole_tiles() {
    for tested in devices() {
        let small = tested.opened(Options { max_binding: Some(8192), ..tested.device.options() });
        let pattern = BlockPattern::full([32, 32], [32, 32]).unwrap();
        for tokens in [160, 150] {
            let (a, b) = (dense(&small, 1, DenseShape::new(tokens, 32)), dense(&small, 2, DenseShape::new(tokens, 32)));
            let c = block_sddmm(&a, &b, &pattern).unwrap();
            assert_product(&format!("{} {tokens} tokens", tested.label), &full(&c), &full_dense(&a)[0].t(), &full_dense(&b)[0], Dtype::F32);
        }
    }
}

/// Few blocks and many tokens: parts of the tokens side by side, then their sum.
#[test]
fn long_sums_are_cut_into_parts() {
    for tested in devices() {
        let pattern = BlockPattern::new([32, 64], [32, 32], &[[0, 1]]).unwrap();
        let a = dense(&tested.device, 1, DenseShape::new(700, 32).batch(2));
        let b = dense(&tested.device, 2, DenseShape::new(700, 64).batch(2));
        let c = block_sddmm(&a, &b, &pattern).unwrap();
        assert_product(&tested.label, &full(&c), &stacked(&full_dense(&a), 700, 32).t(), &stacked(&full_dense(&b), 700, 64), Dtype::F32);
    }
}

/// Halves in blocks of whole pieces of 16, which kernels on matrix units take where a device has them: around the edges
/// of their tiles (16, 32, 64 or 128 rows, 128 or 256 places, 16 or 32 tokens at a time) and of the choice
/// between kernels, and sizes whose blocks stick out or whose features are no pieces of 8.
#[test]
fn halves_in_pieces_of_16() {
    let cases: [([usize; 2], [usize; 2], usize); 16] = [
        ([32, 32], [16, 16], 63),
        ([32, 320], [16, 16], 64),
        ([64, 288], [16, 32], 65),
        ([56, 72], [16, 16], 80),
        ([52, 72], [16, 16], 80),
        ([56, 70], [16, 16], 80),
        ([64, 320], [32, 32], 95),
        ([88, 104], [32, 32], 96),
        ([96, 48], [48, 16], 97),
        ([64, 160], [64, 32], 127),
        ([120, 296], [64, 32], 128),
        ([160, 48], [80, 48], 129),
        ([112, 32], [112, 16], 66),
        ([128, 256], [128, 128], 64),
        ([136, 264], [128, 128], 70),
        ([192, 32], [96, 32], 72),
    ];
    for (tested, dtype) in devices_and_halves() {
        for (sides, block, tokens) in cases {
            let blocks = sides[0].div_ceil(block[0]) * sides[1].div_ceil(block[1]);
            // All, so that rows are longer than a tile, or some.
            for count in [blocks, blocks.div_ceil(2)] {
                let pattern = BlockPattern::random(sides, block, count, 3).unwrap();
                let what = format!("{} {pattern} {tokens} tokens {dtype}", tested.label);
                let half = |seed, features| dense(&tested.device, seed, DenseShape::new(tokens, features).dtype(dtype));
                let (a, b) = (half(1, sides[0]), half(2, sides[1]));
                let c = block_sddmm(&a, &b, &pattern).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!((c.dtype(), c.pattern()), (dtype, &pattern));
                assert_product(&what, &full(&c), &full_dense(&a)[0].t(), &full_dense(&b)[0], dtype);
            }
        }
    }
}

/// Batches, layouts, parts of the tokens, pieces of operands beyond a binding, and results of another type: each
/// rounds once.
#[test]
fn halves_in_batches_and_parts() {
    for (tested, half) in devices_and_halves() {
        let options = Options { max_binding: Some(8192), ..tested.device.options() };
        let small = tested.opened(options);
        let pattern = BlockPattern::random([32, 64], [16, 32], 3, 3).unwrap();
        for (device, batch, tokens, layout) in [
            (&tested.device, 3, 30, Layout::Rows),
            (&tested.device, 2, 700, Layout::Rows),
            (&tested.device, 1, 2100, Layout::Rows),
            (&tested.device, 2, 70, Layout::Columns),
            (&small, 1, 150, Layout::Rows),
        ] {
            let what = format!("{} batch {batch} {tokens} tokens {layout:?} {half}", tested.label);
            let a = dense(device, 1, DenseShape::new(tokens, 32).batch(batch).dtype(half).layout(layout));
            let b = dense(device, 2, DenseShape::new(tokens, 64).batch(batch).dtype(half));
            let c = block_sddmm(&a, &b, &pattern).unwrap();
            let (fa, fb) = (stacked(&full_dense(&a), tokens, 32).t(), stacked(&full_dense(&b), tokens, 64));
            assert_eq!(c.dtype(), half);
            assert_product(&what, &full(&c), &fa, &fb, half);
            for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
                let w = sparse(device, &pattern, 3, Layout::Rows).to_dtype(dtype).unwrap();
                let (_, gw) = block_matmul_backward(&a, &w, &b).unwrap();
                assert_eq!(gw.dtype(), dtype);
                assert_product(&what, &full(&gw), &fa, &fb, dtype);
            }
        }
    }
}

/// An infinity or NaN of one feature is in that feature's entries only, however tiles are padded; a sum beyond f16 is
/// infinite, one that comes back is not.
#[test]
fn nan_and_infinity_stay_in_their_entries() {
    for tested in with_interpreter() {
        for (block, tokens) in [([16, 16], 20), ([16, 16], 65), ([32, 32], 70), ([64, 32], 97), ([128, 128], 64), ([32, 32], 1100)] {
            let [r, c] = block;
            let pattern = BlockPattern::new([2 * r + 8, 2 * c + 8], block, &[[0, 1], [1, 0], [1, 1], [2, 0], [2, 2]]).unwrap();
            let what = format!("{} {pattern} {tokens} tokens", tested.label);
            let last = tokens - 1;
            let half = |features, entry: &dyn Fn(usize, usize) -> f32| {
                Dense::from_fn(&tested.device, DenseShape::new(tokens, features).dtype(Dtype::F16), |_, t, i| entry(t, i)).unwrap()
            };
            let a = half(2 * r + 8, &|t, i| match (t, i) {
                (0, 0) => f32::NAN,
                (t, 1) if t == last => f32::INFINITY,
                (t, i) if t == last && i == 2 * r + 7 => f32::NEG_INFINITY,
                (3, 3) => 60000.0,
                (5, 4) => 60000.0,
                (6, 4) => -60000.0,
                _ => 1.0,
            });
            let b = half(2 * c + 8, &|t, j| match (t, j) {
                (t, j) if t == last && j == c + 1 => 0.0,
                (t, 2) if t == last => f32::INFINITY,
                (2, j) if j == 2 * c + 7 => f32::NAN,
                (3 | 5 | 6, _) => 2.0,
                _ => 1.0,
            });
            let mut got = full(&block_sddmm(&a, &b, &pattern).unwrap());
            let (fa, fb) = (full_dense(&a)[0].t(), &full_dense(&b)[0]);
            // Sums of 120000 are beyond f16, which the exact ones don't know.
            for j in (0..fb.cols).filter(|j| got.get(3, *j).is_some()) {
                assert_eq!(got.get(3, j), Some(f64::INFINITY), "{what}: (3, {j})");
            }
            got.stored[3 * fb.cols..4 * fb.cols].fill(false);
            assert_product(&what, &got, &fa, fb, Dtype::F16);
            assert!(got.get(1, c + 1).unwrap().is_nan() && got.get(1, c).unwrap().is_infinite(), "{what}: ∞ · 0, and ∞");
            assert_eq!(got.get(4, c), Some(tokens as f64 - 1.0), "{what}: 120000 comes and goes");
        }
    }
}

/// The same in f32, with the largest numbers, whatever way a kernel splits its factors.
#[test]
fn infinities_and_the_largest_numbers() {
    for (tested, block) in devices().iter().flat_map(|tested| [[16, 16], [32, 32], [64, 32], [30, 20]].map(|block| (tested, block))) {
        let [r, c] = block;
        let pattern = BlockPattern::new([2 * r, 3 * c], block, &[[0, 0], [0, 2], [1, 1], [1, 2]]).unwrap();
        for tokens in [20, 97, 104, 1100] {
            let last = tokens - 1;
            let a = Dense::from_fn(&tested.device, DenseShape::new(tokens, 2 * r), |_, t, i| match (t, i) {
                (0, 0) => f32::NAN,
                (1, 1) => f32::INFINITY,
                (t, 2) if t == last => f32::NEG_INFINITY,
                (3, 3) => f32::MAX,
                (4, i) if i == r => f32::MIN,
                (5, i) if i == r + 1 => 3.4e38,
                (6, 4) => f32::INFINITY,
                (7, 4) => f32::NEG_INFINITY,
                _ => 1.0,
            });
            let b = Dense::from_fn(&tested.device, DenseShape::new(tokens, 3 * c), |_, t, j| match (t, j) {
                (1, 1) => 0.0,
                (3 | 5, j) if j == 2 * c => 0.0,
                (3..=5, _) => 0.5,
                (8, j) if j == 2 * c => f32::MAX,
                (9, j) if j == 2 * c + 1 => f32::NEG_INFINITY,
                (10, j) if j == c => f32::NAN,
                _ => 1.0,
            });
            let (a, b) = (a.unwrap(), b.unwrap());
            let what = format!("{} {pattern} {tokens} tokens", tested.label);
            let got = full(&block_sddmm(&a, &b, &pattern).unwrap());
            let (fa, fb) = (full_dense(&a)[0].t(), &full_dense(&b)[0]);
            assert_product(&what, &got, &fa, fb, Dtype::F32);
            assert_eq!([got.get(1, 0), got.get(2, 0)], [Some(f64::INFINITY), Some(f64::NEG_INFINITY)], "{what}");
            assert!(got.get(1, 1).unwrap().is_nan() && got.get(4, 0).unwrap().is_nan(), "{what}: ∞ · 0 and ∞ − ∞");
        }
    }
}

#[test]
fn runs_repeat_bit_for_bit() {
    for tested in with_interpreter() {
        for (block, tokens, dtype) in
            [([32, 32], 70, Dtype::F16), ([16, 32], 1700, Dtype::F16), ([16, 16], 1100, Dtype::F32), ([32, 32], 1104, Dtype::F32)]
        {
            let pattern = BlockPattern::random([64, 64], block, 3, 3).unwrap();
            let (a, b) = (
                dense(&tested.device, 1, DenseShape::new(tokens, 64).dtype(dtype)),
                dense(&tested.device, 2, DenseShape::new(tokens, 64).dtype(dtype)),
            );
            let run = || -> Vec<u32> { block_sddmm(&a, &b, &pattern).unwrap().read().unwrap().into_iter().map(f32::to_bits).collect() };
            assert_eq!(run(), run(), "{} {block:?}", tested.label);
        }
    }
}

#[test]
fn gradients_are_products_with_the_blocks() {
    for tested in devices() {
        let pattern = BlockPattern::random([30, 40], [8, 12], 7, 3).unwrap();
        let a = dense(&tested.device, 1, DenseShape::new(20, 30).dtype(Dtype::F16));
        let b = dense(&tested.device, 2, DenseShape::new(20, 40));
        let g = sparse(&tested.device, &pattern, 3, Layout::Rows);
        let (ga, gb) = block_sddmm_backward(&a, &b, &g).unwrap();
        assert_eq!((ga.shape(), gb.shape()), (a.shape(), b.shape()));
        assert_product(&tested.label, &full_dense(&ga)[0], &full_dense(&b)[0], &full(&g).t(), Dtype::F16);
        assert_product(&tested.label, &full_dense(&gb)[0], &full_dense(&a)[0], &full(&g), Dtype::F32);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let pattern = BlockPattern::full([4, 6], [2, 2]).unwrap();
    let x = |batch, rows, cols| dense(&cpu, 1, DenseShape::new(rows, cols).batch(batch));
    let cases = [
        (x(1, 3, 5), x(1, 3, 6), "block_sddmm: a has columns 5, must have columns 4 (the rows of the pattern)"),
        (x(1, 3, 4), x(1, 3, 5), "block_sddmm: b has columns 5, must have columns 6 (the columns of the pattern)"),
        (x(1, 3, 4), x(1, 2, 6), "block_sddmm: b has rows 2, must have rows 3 (the rows of a)"),
        (x(1, 3, 4), x(2, 3, 6), "block_sddmm: b has batch 2, must have batch 1 (the batch of a)"),
    ];
    for (a, b, message) in cases {
        assert_eq!(block_sddmm(&a, &b, &pattern).unwrap_err().to_string(), message);
    }
}

/// The gradients refuse what the product refuses, in their own name.
#[test]
fn gradients_refuse_what_does_not_fit() {
    for Tested { device, .. } in devices() {
        let dense = |batch, rows, cols| Dense::from_fn(device, DenseShape::new(rows, cols).batch(batch), |_, _, _| 1.0).unwrap();
        let g = BlockSparse::from_fn(device, &BlockPattern::full([2, 3], [1, 1]).unwrap(), |_, _| 1.0).unwrap();
        let told = |a: Dense, b: Dense| block_sddmm_backward(&a, &b, &g).unwrap_err().to_string();
        assert_eq!(told(dense(2, 4, 2), dense(3, 4, 3)), "block_sddmm_backward: b has batch 3, must have batch 2 (the batch of a)");
        assert_eq!(told(dense(2, 4, 2), dense(2, 5, 3)), "block_sddmm_backward: b has rows 5, must have rows 4 (the rows of a)");
        assert_eq!(
            told(dense(2, 4, 7), dense(2, 4, 3)),
            "block_sddmm_backward: a has columns 7, must have columns 2 (the rows of the pattern)"
        );
    }
}

/// Each operand of a gradient has to be on the device of the first.
#[test]
fn gradients_refuse_other_devices() {
    use bandsaw::Error::WrongDevice;
    for Tested { device, .. } in devices().iter().filter(|tested| tested.info.backend != "cpu") {
        let blocks = |device: &Device| BlockSparse::from_fn(device, &BlockPattern::full([2, 2], [1, 1]).unwrap(), |_, _| 1.0).unwrap();
        let dense = |device: &Device| Dense::from_fn(device, DenseShape::new(2, 2), |_, _, _| 1.0).unwrap();
        let (here, there) = (Device::cpu(), device);
        let (a, x) = (blocks(&here), dense(&here));
        assert!(matches!(
            bandsaw::block_add_backward(&a, &a, &blocks(there)),
            Err(WrongDevice { op: "block_add_backward", argument: "g", .. })
        ));
        assert!(matches!(bandsaw::block_to_dense_backward(&a, &dense(there)), Err(WrongDevice { op: "block_to_dense_backward", .. })));
        assert!(matches!(block_sddmm_backward(&x, &x, &blocks(there)), Err(WrongDevice { op: "block_sddmm_backward", argument: "g", .. })));
    }
}
