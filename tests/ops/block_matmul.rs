//! Dense times block-sparse, from both sides, and the gradients.

use bandsaw::{
    BlockPattern, BlockSparse, Dense, DenseShape, Device, Dtype, Layout, Options, block_matmul, block_matmul_backward, block_matmul_left,
    block_matmul_left_backward,
};

use crate::{LAYOUTS, assert_product, dense, devices, devices_and_halves, full, full_dense, patterns, sparse, stacked};

/// Around the edges of tiles and of the choice between kernels.
fn tokens(n: usize) -> [usize; 2] {
    [[1, 130], [17, 64], [65, 3], [16, 40]][n % 4]
}

#[test]
fn products_from_the_right_are_the_dense_ones() {
    for tested in devices() {
        for (n, pattern) in patterns().iter().enumerate() {
            let w = sparse(&tested.device, pattern, 1, Layout::Rows);
            // X · Wᵀ, as layers do it, and X · W.
            for (tokens, w) in tokens(n).into_iter().zip([w.t(), w]) {
                let what = format!("{} {pattern} {tokens} tokens {:?}", tested.label, w.layout());
                let x = dense(&tested.device, 2, DenseShape::new(tokens, w.pattern().rows()));
                let y = block_matmul(&x, &w).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_product(&what, &full_dense(&y)[0], &full_dense(&x)[0], &full(&w), Dtype::F32);
            }
        }
    }
}

#[test]
fn products_from_the_left_are_the_dense_ones() {
    for tested in devices() {
        for (n, pattern) in patterns().iter().enumerate() {
            let (tokens, layout) = (tokens(n + 1)[n % 2], LAYOUTS[n / 4 % 2]);
            let what = format!("{} {pattern} {tokens} tokens {layout:?}", tested.label);
            let w = sparse(&tested.device, pattern, 1, layout);
            let x = dense(&tested.device, 2, DenseShape::new(pattern.cols(), tokens));
            let y = block_matmul_left(&w, &x).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(y.shape(), DenseShape::new(pattern.rows(), tokens));
            assert_product(&what, &full_dense(&y)[0], &full(&w), &full_dense(&x)[0], Dtype::F32);
        }
    }
}

#[test]
fn gradients_are_products_with_the_transpose() {
    for tested in devices() {
        for (n, pattern) in patterns().iter().enumerate().filter(|(n, _)| n % 3 == 1) {
            let (tokens, layout) = (tokens(n)[n % 2], LAYOUTS[n % 2]);
            let what = format!("{} {pattern} {tokens} tokens {layout:?}", tested.label);
            let w = sparse(&tested.device, pattern, 1, layout);
            let x = dense(&tested.device, 2, DenseShape::new(tokens, pattern.rows()));
            let g = dense(&tested.device, 3, DenseShape::new(tokens, pattern.cols()));
            let (gx, gw) = block_matmul_backward(&x, &w, &g).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (fx, fg) = (&full_dense(&x)[0], &full_dense(&g)[0]);
            assert_eq!((gx.shape(), gw.pattern()), (x.shape(), pattern));
            assert_product(&format!("{what} gx"), &full_dense(&gx)[0], fg, &full(&w).t(), Dtype::F32);
            assert_product(&format!("{what} gw"), &full(&gw), &fx.t(), fg, Dtype::F32);

            let (gw, gz) = block_matmul_left_backward(&w.t(), &x.t(), &g.t()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_product(&format!("{what} left, gx"), &full_dense(&gz)[0], &full(&w), &fg.t(), Dtype::F32);
            assert_product(&format!("{what} left, gw"), &full(&gw), &fg.t(), fx, Dtype::F32);
        }
    }
}

#[test]
fn leading_dimensions_and_layouts_of_x() {
    for tested in devices() {
        let pattern = BlockPattern::random([40, 24], [8, 8], 8, 3).unwrap();
        let w = sparse(&tested.device, &pattern, 1, Layout::Rows);
        for (batch, layout) in [(0, Layout::Rows), (3, Layout::Rows), (3, Layout::Columns), (0, Layout::Columns)] {
            let what = format!("{} batch {batch} {layout:?}", tested.label);
            let x = dense(&tested.device, 2, DenseShape::new(20, 40).batch(batch).layout(layout));
            let g = dense(&tested.device, 3, DenseShape::new(20, 24).batch(batch));
            let y = block_matmul(&x, &w).unwrap();
            let (gx, gw) = block_matmul_backward(&x, &w, &g).unwrap();
            let (fx, fg) = (full_dense(&x), full_dense(&g));
            for (b, y) in full_dense(&y).iter().enumerate() {
                assert_product(&what, y, &fx[b], &full(&w), Dtype::F32);
                assert_product(&what, &full_dense(&gx)[b], &fg[b], &full(&w).t(), Dtype::F32);
            }
            assert_product(&what, &full(&gw), &stacked(&fx, 20, 40).t(), &stacked(&fg, 20, 24), Dtype::F32);
            let z = dense(&tested.device, 2, DenseShape::new(24, 20).batch(batch).layout(layout));
            let y = block_matmul_left(&w, &z).unwrap();
            for (y, z) in full_dense(&y).iter().zip(full_dense(&z)) {
                assert_product(&what, y, &full(&w), &z, Dtype::F32);
            }
        }
    }
}

#[test]
fn an_operand_beyond_a_binding_is_cut_along_its_tokens() {
    for tested in devices() {
        let options = Options { max_binding: Some(8192), ..tested.device.options() };
        let small = tested.opened(options);
        let pattern = BlockPattern::random([32, 32], [8, 8], 5, 3).unwrap();
        let w = sparse(&small, &pattern, 1, Layout::Rows);
        let (x, g) = (dense(&small, 2, DenseShape::new(150, 32)), dense(&small, 3, DenseShape::new(150, 32)));
        assert_product(&tested.label, &full_dense(&block_matmul(&x, &w).unwrap())[0], &full_dense(&x)[0], &full(&w), Dtype::F32);
        let (gx, gw) = block_matmul_backward(&x, &w, &g).unwrap();
        assert_product(&tested.label, &full_dense(&gx)[0], &full_dense(&g)[0], &full(&w).t(), Dtype::F32);
        assert_product(&tested.label, &full(&gw), &full_dense(&x)[0].t(), &full_dense(&g)[0], Dtype::F32);
        let wide = BlockSparse::from_fn(&small, &BlockPattern::full([64, 64], [32, 32]).unwrap(), |_, _| 1.0).unwrap();
        let x = dense(&small, 2, DenseShape::new(2, 64));
        assert_eq!(
            block_matmul(&x, &wide).unwrap_err().to_string(),
            format!("block_matmul: the block values' size in bytes is 16384, the limit of {small} is 8192")
        );
    }
}

/// As many tokens as a long batch has; the rows at both ends and between.
#[test]
fn many_tokens() {
    for tested in devices() {
        let pattern = BlockPattern::random([32, 32], [16, 16], 3, 3).unwrap();
        let w = sparse(&tested.device, &pattern, 1, Layout::Rows);
        let x = dense(&tested.device, 2, DenseShape::new(8192, 32).batch(8));
        let y = block_matmul(&x, &w).unwrap();
        let some = |d: &Dense| {
            let values = d.read().unwrap();
            let rows = (0..65_536).step_by(4681).chain([65_535]);
            crate::Full::new(15, 32, |i, j| rows.clone().nth(i).map(|row| f64::from(values[row * 32 + j])))
        };
        assert_product(&tested.label, &some(&y), &some(&x), &full(&w), Dtype::F32);
    }
}

/// Whole blocks, and tokens for a tile of 64 or just not. The last tile of tokens shares some with the one before.
#[test]
fn whole_tiles() {
    let cases = [
        ([128, 96], [32, 32], 7, [1, 64]),
        ([128, 96], [32, 32], 7, [1, 60]),
        ([128, 96], [32, 32], 7, [2, 63]),
        ([128, 96], [32, 32], 7, [2, 68]),
        ([128, 96], [32, 32], 7, [2, 300]),
        ([64, 288], [32, 96], 4, [3, 136]),
        // Stages of 8 terms: one to a block, three, and not whole.
        ([72, 64], [8, 32], 11, [2, 72]),
        ([72, 64], [24, 32], 4, [2, 72]),
        ([60, 64], [12, 32], 7, [2, 72]),
        // Blocks that stick out, on either side.
        ([128, 84], [32, 32], 9, [2, 72]),
        ([116, 96], [32, 32], 9, [2, 72]),
        ([114, 96], [32, 32], 9, [2, 72]),
        // Blocks of 64 are for other tiles.
        ([192, 128], [64, 64], 4, [2, 256]),
        ([96, 128], [16, 64], 6, [2, 392]),
    ];
    for tested in devices() {
        for (sides, block, blocks, [batch, tokens]) in cases {
            let pattern = BlockPattern::random(sides, block, blocks, 3).unwrap();
            for layout in LAYOUTS {
                let what = format!("{} {pattern} {batch} × {tokens} tokens {layout:?}", tested.label);
                let w = sparse(&tested.device, &pattern, 1, layout);
                let x = dense(&tested.device, 2, DenseShape::new(tokens, sides[0]).batch(batch));
                let g = dense(&tested.device, 3, DenseShape::new(tokens, sides[1]).batch(batch));
                let y = block_matmul(&x, &w).unwrap();
                let (gx, gw) = block_matmul_backward(&x, &w, &g).unwrap();
                let (fx, fg) = (full_dense(&x), full_dense(&g));
                for (b, y) in full_dense(&y).iter().enumerate() {
                    assert_product(&what, y, &fx[b], &full(&w), Dtype::F32);
                    assert_product(&what, &full_dense(&gx)[b], &fg[b], &full(&w).t(), Dtype::F32);
                }
                assert_product(&what, &full(&gw), &stacked(&fx, tokens, sides[0]).t(), &stacked(&fg, tokens, sides[1]), Dtype::F32);
                let z = dense(&tested.device, 2, DenseShape::new(sides[1], tokens).batch(batch));
                let y = block_matmul_left(&w, &z).unwrap();
                for (y, z) in full_dense(&y).iter().zip(full_dense(&z)) {
                    assert_product(&what, y, &full(&w), &z, Dtype::F32);
                }
            }
        }
    }
}

/// Enough tokens for the largest tiles, which end inside the last one, in both layouts; some of the tokens.
#[test]
fn large_tiles() {
    for tested in devices() {
        for (block, layout, tokens) in [
            ([24, 32], Layout::Rows, 8300),
            ([24, 32], Layout::Columns, 8300),
            ([24, 32], Layout::Rows, 8299),
            ([24, 16], Layout::Rows, 8300),
            ([24, 16], Layout::Columns, 8300),
            ([24, 64], Layout::Rows, 8300),
            ([24, 64], Layout::Columns, 8300),
        ] {
            let pattern = BlockPattern::random([72, 136], block, if block[1] == 64 { 6 } else { 11 }, 3).unwrap();
            let w = sparse(&tested.device, &pattern, 1, layout);
            let some = |d: &Dense, features: usize, step: [usize; 2]| {
                let values = d.read().unwrap();
                let token = |i: usize| (i * 700).min(tokens - 1);
                crate::Full::new(13, features, |i, j| Some(f64::from(values[token(i) * step[0] + j * step[1]])))
            };
            let x = dense(&tested.device, 2, DenseShape::new(tokens, 72));
            let y = block_matmul(&x, &w).unwrap();
            assert_product(&tested.label, &some(&y, 136, [136, 1]), &some(&x, 72, [72, 1]), &full(&w), Dtype::F32);
            let x = dense(&tested.device, 2, DenseShape::new(72, tokens));
            let y = block_matmul_left(&w.t(), &x).unwrap();
            assert_product(&tested.label, &some(&y, 136, [1, tokens]), &some(&x, 72, [1, tokens]), &full(&w), Dtype::F32);
        }
    }
}

/// So many tokens that blocks are turned round first, on a GPU from a million values on; some of the tokens. The tiles that are
/// turned round are 32 × 32: blocks have fewer terms, more, or more outputs.
#[test]
fn blocks_are_turned_round_for_many_tokens() {
    for (tested, dtype) in devices_and_halves().flat_map(|(tested, half)| [(tested, Dtype::F32), (tested, half)]) {
        let grid = if tested.software() { [2, 1] } else { [64, 24] };
        for block in [[32, 32], [16, 96], [48, 96]] {
            let pattern = BlockPattern::full([grid[0] * block[0], grid[1] * block[1]], block).unwrap();
            let (features, outputs, tokens) = (pattern.rows(), pattern.cols(), if dtype == Dtype::F32 { 2060 } else { 4100 });
            let what = format!("{} {pattern} {dtype}", tested.label);
            let w = sparse(&tested.device, &pattern, 1, Layout::Columns).to_dtype(dtype).unwrap();
            let x = dense(&tested.device, 2, DenseShape::new(tokens, features).dtype(dtype));
            let y = block_matmul(&x, &w).unwrap();
            let some = |d: &Dense, width: usize| {
                let values = d.read().unwrap();
                crate::Full::new(5, width, |i, j| Some(f64::from(values[(i * 1030).min(tokens - 1) * width + j])))
            };
            assert_product(&what, &some(&y, outputs), &some(&x, features), &full(&w), dtype);
        }
    }
}

#[test]
fn halves_give_halves() {
    for (tested, dtype) in devices().iter().flat_map(|tested| [(tested, Dtype::F16), (tested, Dtype::Bf16)]) {
        let pattern = BlockPattern::random([40, 48], [8, 16], 7, 3).unwrap();
        let w = sparse(&tested.device, &pattern, 1, Layout::Rows).to_dtype(dtype).unwrap();
        let x = dense(&tested.device, 2, DenseShape::new(30, 40).dtype(dtype));
        let y = block_matmul(&x, &w).unwrap();
        assert_eq!(y.shape().dtype, dtype);
        assert_product(&tested.label, &full_dense(&y)[0], &full_dense(&x)[0], &full(&w), dtype);
        let g = dense(&tested.device, 3, DenseShape::new(30, 48));
        let (gx, gw) = block_matmul_backward(&x, &w, &g).unwrap();
        assert_eq!((gx.shape().dtype, gw.dtype()), (dtype, dtype));
        assert_product(&tested.label, &full(&gw), &full_dense(&x)[0].t(), &full_dense(&g)[0], dtype);
        let wide = dense(&tested.device, 2, DenseShape::new(30, 40));
        assert_eq!(block_matmul(&wide, &w).unwrap().shape().dtype, Dtype::F32);
    }
}

/// Halves in blocks of whole pieces of 16: what kernels on matrix units take, where a device has them.
/// The last tokens do not fill a tile.
#[test]
fn halves_in_pieces_of_16() {
    let cases = [
        ([64, 96], [32, 32], 70),
        ([128, 192], [64, 64], 130),
        ([64, 48], [32, 16], 65),
        ([128, 128], [128, 128], 64),
        ([96, 64], [32, 64], 300),
        ([160, 224], [32, 32], 150),
        ([128, 320], [64, 64], 260),
        ([64, 192], [32, 96], 130),
        ([32, 256], [16, 64], 128),
    ];
    for (tested, dtype) in devices_and_halves() {
        for (sides, block, tokens) in cases {
            let [rows, columns]: [usize; 2] = sides;
            let count = (rows / block[0] * (columns / block[1])).div_ceil(2);
            let pattern = BlockPattern::random(sides, block, count, 3).unwrap();
            let w = sparse(&tested.device, &pattern, 1, Layout::Rows).to_dtype(dtype).unwrap();
            for w in [w.t(), w] {
                let what = format!("{} {} {tokens} tokens {dtype}", tested.label, w.pattern());
                let x = dense(&tested.device, 2, DenseShape::new(tokens, w.pattern().rows()).batch(2).dtype(dtype));
                let y = block_matmul(&x, &w).unwrap();
                assert_eq!(y.shape().dtype, dtype);
                for (y, x) in full_dense(&y).iter().zip(full_dense(&x)) {
                    assert_product(&what, y, &x, &full(&w), dtype);
                }
            }
        }
    }
}

/// Halves in so many tiles that kernels with a workgroup for each multiprocessor go from one to the next, and in so many
/// block rows that CUDA's list them in two goes; some of the tokens.
#[test]
fn halves_in_many_tiles() {
    for (tested, dtype) in devices_and_halves() {
        let cases = if tested.software() {
            [([2, 3], [128, 128], 4, 300), ([9, 2], [64, 64], 9, 200), ([4, 2], [64, 128], 4, 140)]
        } else {
            [([2, 16], [128, 128], 20, 2100), ([140, 2], [64, 64], 90, 400), ([16, 12], [64, 128], 90, 3900)]
        };
        for (grid, block, blocks, tokens) in cases {
            let pattern = BlockPattern::random([grid[0] * block[0], grid[1] * block[1]], block, blocks, 3).unwrap();
            let w = sparse(&tested.device, &pattern, 1, Layout::Rows).to_dtype(dtype).unwrap();
            for w in [w.t(), w] {
                let what = format!("{} {} {tokens} tokens {dtype}", tested.label, w.pattern());
                let x = dense(&tested.device, 2, DenseShape::new(tokens, w.pattern().rows()).dtype(dtype));
                let y = block_matmul(&x, &w).unwrap();
                let rows = [0, 63, 64, 127, 128, tokens / 2, tokens - 2, tokens - 1];
                let some = |d: &Dense, width: usize| {
                    let values = d.read().unwrap();
                    crate::Full::new(rows.len(), width, |i, j| Some(f64::from(values[rows[i] * width + j])))
                };
                assert_product(&what, &some(&y, w.pattern().cols()), &some(&x, w.pattern().rows()), &full(&w), dtype);
            }
        }
    }
}

/// What is not stored takes no part: an infinity of X meets stored blocks only.
#[test]
fn nan_and_infinity_stay_in_their_blocks() {
    for tested in devices() {
        for (block, tokens) in [([8, 8], 20), ([2, 2], 20), ([10, 12], 3), ([32, 32], 40)] {
            let [r, c] = block;
            let pattern = BlockPattern::new([2 * r + 1, 2 * c + 1], block, &[[0, 1], [2, 0], [2, 2]]).unwrap();
            let w = BlockSparse::from_fn(&tested.device, &pattern, |i, j| if (i, j) == (1, c + 1) { f32::INFINITY } else { 1.0 }).unwrap();
            let x = Dense::from_fn(&tested.device, DenseShape::new(tokens, 2 * r + 1), |_, t, k| match (t, k) {
                (0, 0) => f32::NAN,
                (1, 1) => 0.0,
                (2, k) if k == r => f32::INFINITY,
                (2, k) if k == 2 * r => f32::NEG_INFINITY,
                _ => 1.0,
            })
            .unwrap();
            let y = block_matmul(&x, &w).unwrap();
            let what = format!("{} {r} × {c}", tested.label);
            assert_product(&what, &full_dense(&y)[0], &full_dense(&x)[0], &full(&w), Dtype::F32);
            let values = &full_dense(&y)[0];
            assert!(values.get(0, c).unwrap().is_nan() && values.get(1, c + 1).unwrap().is_nan(), "{what}: NaN, and ∞ · 0");
            assert_eq!((values.get(2, 0), values.get(2, c)), (Some(f64::NEG_INFINITY), Some(r as f64)), "{what}");
            let (_, gw) = block_matmul_backward(&x, &w, &y).unwrap();
            full(&gw); // what sticks out is 0, NaN or not
        }
    }
}

/// Infinities, NaN and the largest numbers are in the sums they belong to, whatever way a kernel splits its factors.
#[test]
fn infinities_and_the_largest_numbers() {
    for (tested, block) in devices().iter().flat_map(|tested| [[8, 8], [32, 32], [30, 20], [48, 16]].map(|block| (tested, block))) {
        let [r, c] = block;
        let pattern = BlockPattern::new([2 * r, 3 * c], block, &[[0, 0], [1, 0], [0, 1], [1, 2]]).unwrap();
        let w = BlockSparse::from_fn(&tested.device, &pattern, |i, j| match (i, j) {
            (1 | 2, j) if j == c => 0.0,
            (5, 3) => f32::MAX,
            (5, 4) => -3.4e38,
            (6, 5) => f32::NEG_INFINITY,
            (6, 6) => f32::NAN,
            _ => 1.0,
        })
        .unwrap();
        for tokens in [20, 70] {
            let last = tokens - 1;
            let x = Dense::from_fn(&tested.device, DenseShape::new(tokens, 2 * r), |_, t, k| match (t, k) {
                (0, 0) => f32::NAN,
                (1, 1) | (4, 2) => f32::INFINITY,
                (2, 2) | (4, 1) => f32::NEG_INFINITY,
                (3, 3) => f32::MAX,
                (6, 3) => f32::MIN,
                (7, k) if k == r + 1 => 3.4e38,
                (t, k) if t == last && k == 2 * r - 1 => f32::INFINITY,
                (3 | 6 | 7 | 8, 5) => 0.0,
                (_, 5) => 0.5,
                _ => 1.0,
            })
            .unwrap();
            let what = format!("{} {pattern} {tokens} tokens", tested.label);
            let (fx, fw) = (full_dense(&x).remove(0), full(&w));
            let got = full_dense(&block_matmul(&x, &w).unwrap()).remove(0);
            assert_product(&what, &got, &fx, &fw, Dtype::F32);
            assert_eq!([got.get(1, 0), got.get(2, 0)], [Some(f64::INFINITY), Some(f64::NEG_INFINITY)], "{what}");
            assert!(got.get(1, c).unwrap().is_nan() && got.get(4, 0).unwrap().is_nan(), "{what}: ∞ · 0 and ∞ − ∞");
            let left = block_matmul_left(&w.t(), &x.t()).unwrap();
            assert_product(&what, &full_dense(&left)[0].t(), &fx, &fw, Dtype::F32);
        }
    }
}

#[test]
fn runs_repeat_bit_for_bit() {
    for tested in devices() {
        for (block, tokens) in [([16, 16], 100), ([1, 1], 100), ([16, 16], 1)] {
            let pattern = BlockPattern::random([80, 80], block, 12, 3).unwrap();
            let (w, x) = (sparse(&tested.device, &pattern, 1, Layout::Rows), dense(&tested.device, 2, DenseShape::new(tokens, 80)));
            let run = || {
                let y = block_matmul(&x, &w).unwrap();
                let (gx, gw) = block_matmul_backward(&x, &w, &y).unwrap();
                [y.read(), gx.read(), gw.read()].map(|values| values.unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>())
            };
            assert_eq!(run(), run(), "{}", tested.label);
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let w = sparse(&cpu, &BlockPattern::full([4, 6], [2, 2]).unwrap(), 1, Layout::Rows);
    let x = |rows, cols| dense(&cpu, 1, DenseShape::new(rows, cols));
    let cases = [
        (block_matmul(&x(3, 5), &w).unwrap_err(), "block_matmul: x has columns 5, must have columns 4 (the rows of w)"),
        (block_matmul_left(&w, &x(5, 3)).unwrap_err(), "block_matmul_left: x has rows 5, must have rows 6 (the columns of w)"),
        (
            block_matmul_left_backward(&w, &x(5, 3), &x(4, 3)).unwrap_err(),
            "block_matmul_left_backward: x has rows 5, must have rows 6 (the columns of w)",
        ),
        (
            block_matmul_left_backward(&w, &x(6, 3), &x(4, 2)).unwrap_err(),
            "block_matmul_left_backward: g has shape 1 × 4 × 2, must have shape 1 × 4 × 3 (that of the product)",
        ),
        (
            block_matmul_backward(&x(3, 4), &w, &x(3, 5)).unwrap_err(),
            "block_matmul_backward: g has shape 1 × 3 × 5, must have shape 1 × 3 × 6 (that of the product)",
        ),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
    let index = dense(&cpu, 1, DenseShape::new(3, 4).dtype(Dtype::U32));
    assert_eq!(block_matmul(&index, &w).unwrap_err().to_string(), "block_matmul: x has dtype u32, must have dtype f32, f16 or bf16");
    for tested in devices().iter().filter(|tested| tested.info.id != "cpu") {
        let far = dense(&tested.device, 1, DenseShape::new(3, 4));
        assert_eq!(
            block_matmul(&far, &w).unwrap_err().to_string(),
            format!("block_matmul: w is on cpu, must be on {} like the first operand", tested.device)
        );
    }
}
