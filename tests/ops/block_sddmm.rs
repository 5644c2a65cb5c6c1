//! Products of dense batches at stored blocks.

use bandsaw::{BlockPattern, DenseShape, Device, Dtype, Layout, block_sddmm, block_sddmm_backward};

use crate::{assert_product, dense, devices, full, full_dense, patterns, sparse, stacked};

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
