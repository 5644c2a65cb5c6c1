//! Block-sparse times block-sparse.

use bandsaw::{BlockPattern, BlockSparse, Device, Dtype, Layout, block_sparse_matmul, block_sparse_matmul_backward};

use crate::{LAYOUTS, assert_product, devices, full, sparse};

/// n, k, m, blocks r, s, c, and how many of A and B are stored.
const CASES: [([usize; 3], [usize; 3], [usize; 2]); 8] = [
    ([1, 1, 1], [1, 1, 1], [1, 1]),
    ([40, 30, 50], [8, 8, 8], [0, 5]),
    ([13, 17, 11], [1, 1, 1], [40, 50]),
    ([20, 33, 27], [3, 5, 4], [20, 25]),
    ([96, 64, 128], [32, 32, 32], [4, 5]),
    ([66, 40, 70], [33, 8, 35], [6, 7]),
    ([130, 100, 40], [128, 10, 16], [12, 20]),
    ([64, 130, 66], [64, 64, 64], [3, 5]),
];

fn operands(device: &Device, n: usize, layouts: [Layout; 2]) -> (BlockSparse, BlockSparse) {
    let ([rows, inner, cols], [r, s, c], [of_a, of_b]) = CASES[n];
    let a = BlockPattern::random([rows, inner], [r, s], of_a, 1).unwrap();
    let b = BlockPattern::random([inner, cols], [s, c], of_b, 2).unwrap();
    (sparse(device, &a, 1, layouts[0]), sparse(device, &b, 2, layouts[1]))
}

#[test]
fn products_hold_all_that_is_not_zero() {
    for tested in devices() {
        for (n, case) in CASES.into_iter().enumerate() {
            for layouts in [LAYOUTS, [Layout::Columns, Layout::Rows], [Layout::Rows; 2]] {
                let what = format!("{} {case:?} {layouts:?}", tested.label);
                let (a, b) = operands(&tested.device, n, layouts);
                let (fa, fb, fc) = (full(&a), full(&b), full(&block_sparse_matmul(&a, &b).unwrap()));
                assert_product(&what, &fc, &fa, &fb, Dtype::F32);
                let meet = |i: usize, j: usize| (0..fa.cols).any(|k| fa.get(i, k).is_some() && fb.get(k, j).is_some());
                assert!((0..fc.rows).all(|i| (0..fc.cols).all(|j| meet(i, j) == fc.get(i, j).is_some())), "{what}: the pattern");
            }
        }
    }
}

#[test]
fn gradients_are_products_at_the_operands_blocks() {
    for tested in devices() {
        for (n, case) in CASES.into_iter().enumerate() {
            let what = format!("{} {case:?}", tested.label);
            let (a, b) = operands(&tested.device, n, LAYOUTS);
            let g = sparse(&tested.device, block_sparse_matmul(&a, &b).unwrap().pattern(), 3, Layout::Rows);
            let (ga, gb) = block_sparse_matmul_backward(&a, &b, &g).unwrap();
            assert_eq!((ga.pattern(), gb.pattern()), (a.pattern(), b.pattern()));
            assert_product(&what, &full(&ga), &full(&g), &full(&b).t(), Dtype::F32);
            assert_product(&what, &full(&gb), &full(&a).t(), &full(&g), Dtype::F32);
        }
    }
}

#[test]
fn halves_nan_and_infinity() {
    for tested in devices() {
        let pattern = BlockPattern::full([4, 4], [2, 2]).unwrap();
        let a = BlockSparse::from_fn(&tested.device, &pattern, |i, j| match (i, j) {
            (0, 0) => f32::NAN,
            (1, 3) => f32::INFINITY,
            _ => (i + j) as f32,
        })
        .unwrap();
        let c = block_sparse_matmul(&a, &a).unwrap();
        assert_product(&tested.label, &full(&c), &full(&a), &full(&a), Dtype::F32);
        let h = sparse(&tested.device, &pattern, 1, Layout::Rows).to_dtype(Dtype::F16).unwrap();
        let c = block_sparse_matmul(&h, &h.t()).unwrap();
        assert_eq!(c.dtype(), Dtype::F16);
        assert_product(&tested.label, &full(&c), &full(&h), &full(&h).t(), Dtype::F16);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let w = |shape, block| sparse(&cpu, &BlockPattern::full(shape, block).unwrap(), 1, Layout::Rows);
    let a = w([4, 6], [2, 2]);
    let cases = [
        (w([4, 6], [2, 2]), "block_sparse_matmul: b has rows 4, must have rows 6 (the columns of a)"),
        (w([6, 6], [3, 2]), "block_sparse_matmul: b has rows of a block 3, must have rows of a block 2 (the columns of a block of a)"),
    ];
    for (b, message) in cases {
        assert_eq!(block_sparse_matmul(&a, &b).unwrap_err().to_string(), message);
    }
    assert_eq!(
        block_sparse_matmul_backward(&a, &a.t(), &a).unwrap_err().to_string(),
        "block_sparse_matmul_backward: g has 4 × 6 in blocks of 2 × 2, must have 4 × 4 in blocks of 2 × 2 (as the product)"
    );
}
