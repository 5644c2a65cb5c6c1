//! Sums, selections, and replaced blocks.

use bandsaw::{BlockPattern, BlockSparse, Device, Dtype, Layout, block_add, block_add_backward, block_select};

use crate::{Full, LAYOUTS, devices, full, patterns, sparse};

/// Entry by entry on the given pattern.
#[track_caller]
fn assert_same(what: &str, got: &Full, want: impl Fn(usize, usize) -> f64) {
    for (i, j) in (0..got.rows).flat_map(|i| (0..got.cols).map(move |j| (i, j))) {
        if let Some(value) = got.get(i, j) {
            let want = want(i, j);
            assert!(value == want || (value.is_nan() && want.is_nan()), "{what}: [{i}, {j}] is {value}, not {want}");
        }
    }
}

#[test]
fn sums_are_on_the_union() {
    for tested in devices() {
        for p in patterns() {
            let q = BlockPattern::block_diagonal([p.rows(), p.cols()], p.block()).unwrap();
            for layout in LAYOUTS {
                let what = format!("{} {p} {layout:?}", tested.label);
                let (a, b) = (sparse(&tested.device, &p, 1, layout), sparse(&tested.device, &q, 2, Layout::Rows));
                let c = block_add(&a, &b).unwrap();
                let (fa, fb, fc) = (full(&a), full(&b), full(&c));
                let union = |i, j| fa.get(i, j).is_some() || fb.get(i, j).is_some();
                assert!((0..p.rows()).all(|i| (0..p.cols()).all(|j| fc.get(i, j).is_some() == union(i, j))), "{what}");
                assert_same(&what, &fc, |i, j| f64::from((fa.get(i, j).unwrap_or(0.0) + fb.get(i, j).unwrap_or(0.0)) as f32));
                let (ga, gb) = block_add_backward(&a, &b, &c).unwrap();
                assert_eq!((ga.pattern(), gb.pattern()), (&p, &q));
                assert_same(&what, &full(&ga), |i, j| fc.get(i, j).unwrap());
                assert_same(&what, &full(&gb), |i, j| fc.get(i, j).unwrap());
            }
        }
    }
}

#[test]
fn selections_keep_what_both_have() {
    for tested in devices() {
        for p in patterns() {
            let a = sparse(&tested.device, &p, 1, Layout::Columns);
            let q = BlockPattern::block_diagonal([p.rows(), p.cols()], p.block()).unwrap();
            let (fa, selected) = (full(&a), block_select(&a, &q).unwrap());
            assert_eq!(selected.pattern(), &q);
            assert_same(&format!("{} {p}", tested.label), &full(&selected), |i, j| fa.get(i, j).unwrap_or(0.0));
        }
    }
}

#[test]
fn replaced_blocks_keep_their_values() {
    for tested in devices() {
        let p = BlockPattern::new([7, 7], [3, 3], &[[0, 0], [0, 1], [1, 1]]).unwrap();
        let a = sparse(&tested.device, &p, 1, Layout::Rows);
        let moved = a.replace_blocks(&[[1, 0, 1], [2, 2, 0]]).unwrap();
        let (before, after) = (full(&a), full(&moved));
        assert_eq!(after.get(4, 1), before.get(1, 4), "{}: slot 1 went down", tested.label);
        assert_eq!(after.get(6, 6), before.get(0, 0), "{}: slot 0 sticks out now, and full() found 0 there", tested.label);
        assert_eq!(after.get(4, 4), before.get(4, 4));
        assert_eq!(a.replace_blocks(&[[1, 0, 1]]).unwrap().read().unwrap(), a.read().unwrap());
    }
}

#[test]
fn nan_infinity_and_halves() {
    for tested in devices() {
        let p = BlockPattern::full([2, 2], [1, 2]).unwrap();
        let a = BlockSparse::from_slice(&tested.device, &p, &[f32::NAN, f32::INFINITY, f32::INFINITY, 1.5]).unwrap();
        let b = BlockSparse::from_slice(&tested.device, &p, &[1.0, f32::NEG_INFINITY, 1.0, 2.5]).unwrap().to_dtype(Dtype::F16).unwrap();
        let c = block_add(&a, &b).unwrap().read().unwrap();
        assert!(c[0].is_nan() && c[1].is_nan(), "{}", tested.label);
        assert_eq!(c[2..], [f32::INFINITY, 4.0]);
        let half = block_add(&b, &b).unwrap();
        assert_eq!((half.dtype(), half.get(1, 1).unwrap()), (Dtype::F16, 5.0));
        assert_eq!(block_select(&b, &p).unwrap().dtype(), Dtype::F16);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let a = sparse(&cpu, &BlockPattern::full([4, 6], [2, 2]).unwrap(), 1, Layout::Rows);
    let b = sparse(&cpu, &BlockPattern::full([4, 6], [2, 3]).unwrap(), 1, Layout::Rows);
    assert_eq!(
        block_add(&a, &b).unwrap_err().to_string(),
        "block_add: b has 4 × 6 in blocks of 2 × 3, must have 4 × 6 in blocks of 2 × 2 (as a)"
    );
    assert_eq!(
        block_select(&a, b.pattern()).unwrap_err().to_string(),
        "block_select: pattern has 4 × 6 in blocks of 2 × 3, must have 4 × 6 in blocks of 2 × 2 (as a)"
    );
}
