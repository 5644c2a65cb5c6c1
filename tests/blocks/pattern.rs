//! Patterns: indices, builders, what is refused; and blocks as values.

use bandsaw::{Band, BigBird, BlockPattern, BlockSparse, Bsr, Device, Dtype, Layout};
use proptest::prelude::*;

use crate::{full, patterns, sparse, value};

/// Both indices list every block once, in order, with its slot.
fn check_indices(pattern: &BlockPattern) {
    let blocks: Vec<_> = pattern.blocks().collect();
    let list = |starts: &[u32], entries: &[[u32; 2]], rows: bool| {
        let mut found = Vec::new();
        for line in 0..starts.len() - 1 {
            for [other, slot] in &entries[starts[line] as usize..starts[line + 1] as usize] {
                found.push((if rows { [line, *other as usize] } else { [*other as usize, line] }, *slot as usize));
            }
        }
        found
    };
    let mut wanted: Vec<_> = blocks.iter().copied().zip(0..).collect();
    wanted.sort_unstable();
    assert_eq!(list(pattern.row_starts(), pattern.row_entries(), true), wanted);
    wanted.sort_unstable_by_key(|([row, col], _)| [*col, *row]);
    assert_eq!(list(pattern.col_starts(), pattern.col_entries(), false), wanted);
    for (slot, [row, col]) in blocks.iter().enumerate() {
        assert_eq!(pattern.slot(*row, *col), Some(slot));
    }
    assert_eq!(pattern.slot(pattern.grid()[0], 0), None);
}

#[test]
fn indices_of_patterns_and_their_transposes() {
    for pattern in patterns() {
        check_indices(&pattern);
        check_indices(&pattern.t());
        assert_eq!(pattern.t().t(), pattern);
        let swapped: Vec<_> = pattern.blocks().map(|[row, col]| [col, row]).collect();
        assert_eq!(pattern.t().blocks().collect::<Vec<_>>(), swapped);
    }
}

proptest! {
    #[test]
    fn indices_of_any_pattern(rows in 1usize..60, cols in 1usize..60, r in 1usize..9, c in 1usize..9, seed: u64, part in 0.0..=1.0f64) {
        let all = rows.div_ceil(r) * cols.div_ceil(c);
        let count = (part * all as f64) as usize;
        let pattern = BlockPattern::random([rows, cols], [r, c], count, seed).unwrap();
        prop_assert_eq!(pattern.len(), count);
        check_indices(&pattern);
        let mut blocks: Vec<_> = pattern.blocks().collect();
        prop_assert_eq!(&BlockPattern::new([rows, cols], [r, c], &blocks).unwrap(), &pattern);
        blocks.reverse();
        check_indices(&BlockPattern::from_slots([rows, cols], [r, c], &blocks).unwrap());
    }
}

#[test]
fn random_patterns_depend_on_the_seed_alone() {
    let pattern = |seed| BlockPattern::random([256, 256], [16, 16], 64, seed).unwrap();
    assert_eq!(pattern(1), pattern(1));
    assert_ne!(pattern(1), pattern(2));
    // The same for ever: these were drawn once and written down.
    assert_eq!(pattern(1).blocks().take(4).collect::<Vec<_>>(), [[0, 15], [1, 4], [1, 5], [1, 7]]);
    // Every block is about equally likely.
    let mut counts = [0; 16];
    for seed in 0..2000 {
        BlockPattern::random([4, 4], [1, 1], 4, seed).unwrap().blocks().for_each(|[row, col]| counts[row * 4 + col] += 1);
    }
    assert!(counts.iter().all(|count| (430..570).contains(count)), "{counts:?}");
}

#[test]
fn builders_pick_what_they_say() {
    let banded = BlockPattern::banded([50, 70], [10, 10], Band::new(1, 2).unwrap()).unwrap();
    for (i, j) in (0..5).flat_map(|i| (0..7).map(move |j| (i, j))) {
        let diagonal = j as i64 - i as i64;
        assert_eq!(banded.slot(i, j).is_some(), (-1..=2).contains(&diagonal), "({i}, {j})");
    }
    let bird = BigBird { window: 1, global: 2, random: 2 };
    let pattern = BlockPattern::big_bird([160, 160], [16, 16], bird, 3).unwrap();
    check_indices(&pattern);
    for i in 0..10usize {
        let inside = |j: usize| i.abs_diff(j) <= 1 || i < 2 || j < 2;
        let in_row: Vec<_> = (0..10).filter(|j| pattern.slot(i, *j).is_some()).collect();
        assert!((0..10).filter(|j| inside(*j)).all(|j| in_row.contains(&j)));
        let outside = (0..10).filter(|j| !inside(*j)).count();
        assert_eq!(in_row.iter().filter(|j| !inside(**j)).count(), outside.min(2), "row {i}");
    }
    assert_eq!(BlockPattern::big_bird([160, 160], [16, 16], bird, 3).unwrap(), pattern);
    assert_eq!(BlockPattern::block_diagonal([40, 60], [16, 16]).unwrap().len(), 3);
    assert_eq!(BlockPattern::block_diagonal([60, 40], [16, 16]).unwrap().len(), 3);
    // Only what is stored is gone through: the grid has 2^40 blocks.
    let n = 1 << 20;
    assert_eq!(BlockPattern::block_diagonal([n, n], [1, 1]).unwrap().len(), n);
    assert_eq!(BlockPattern::banded([n, n], [1, 1], Band::new(1, -1).unwrap()).unwrap().len(), n - 1);
    let text = BlockPattern::random([64, 96], [16, 16], 12, 1).unwrap().to_string();
    assert_eq!(text, "64 × 96, 12 blocks of 16 × 16, density 0.500");
}

#[test]
fn what_cannot_be_is_refused() {
    let pattern = |blocks: &[[usize; 2]]| BlockPattern::new([4, 6], [2, 2], blocks).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        pattern(&[[0, 0], [1, 2], [0, 1], [1, 2]]),
        "BlockPattern::new: blocks has block (1, 2) at positions 1 and 3, must have each block once"
    );
    assert_eq!(pattern(&[[0, 0], [0, 3]]), "BlockPattern::new: blocks has block (0, 3) at position 1, must have blocks of a 2 × 3 grid");
    let cases = [
        (BlockPattern::full([4, 0], [2, 2]).unwrap_err(), "BlockPattern::full: cols has 0, must have 1 to 268435456"),
        (BlockPattern::full([4, 4], [0, 2]).unwrap_err(), "BlockPattern::full: block has shape 0 × 2, must have sides of 1 to 128"),
        (BlockPattern::full([4, 4], [2, 129]).unwrap_err(), "BlockPattern::full: block has shape 2 × 129, must have sides of 1 to 128"),
        (
            BlockPattern::full([1 << 20, 1 << 20], [2, 1]).unwrap_err(),
            "BlockPattern::full: the number of stored values of one matrix is 1099511627776, the limit of 32-bit indices is 2147483647",
        ),
        (
            BlockPattern::from_mask([4, 4], [2, 2], &[true]).unwrap_err(),
            "BlockPattern::from_mask: mask has 1 values, must have 4 (2 × 2 blocks)",
        ),
        (BlockPattern::random([4, 4], [2, 2], 5, 0).unwrap_err(), "BlockPattern::random: count has 5, must have at most 4 (2 × 2 blocks)"),
        (
            BlockPattern::big_bird([60000, 60000], [1, 1], BigBird { window: 60000, global: 0, random: 0 }, 1).unwrap_err(),
            "BlockPattern::big_bird: the number of stored values of one matrix is 3600000000, the limit of 32-bit indices is 2147483647",
        ),
        (
            BlockPattern::big_bird([60000, 60000], [1, 1], BigBird { window: usize::MAX, global: 0, random: 0 }, 1).unwrap_err(),
            "BlockPattern::big_bird: the number of stored values of one matrix is 3600000000, the limit of 32-bit indices is 2147483647",
        ),
        (
            BlockPattern::random([1 << 20, 1 << 20], [1, 1], 5, 0).unwrap_err(),
            "BlockPattern::random: the number of blocks of the grid is 1099511627776, the limit of random patterns is 4294967296",
        ),
        (
            BlockPattern::random([1 << 16, 1 << 16], [1, 1], 1 << 32, 0).unwrap_err(),
            "BlockPattern::random: the number of stored values of one matrix is 4294967296, the limit of 32-bit indices is 2147483647",
        ),
        (
            BlockPattern::big_bird([1 << 20, 1 << 20], [4, 4], BigBird { window: 1, global: 1, random: 1 }, 0).unwrap_err(),
            "BlockPattern::big_bird: the number of blocks of the grid is 68719476736, the limit of random patterns is 4294967296",
        ),
        (
            BlockPattern::from_bsr([4, 4], [2, 2], &[0, 1], &[0]).unwrap_err(),
            "BlockPattern::from_bsr: starts has 2 numbers, must have 3 (block rows + 1)",
        ),
        (
            BlockPattern::from_bsr([4, 4], [2, 2], &[0, 2, 1], &[0]).unwrap_err(),
            "BlockPattern::from_bsr: starts has 0 to 1, not all rising, must have numbers that rise from 0 to 1, the length of columns",
        ),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
    let full = BlockPattern::full([4, 4], [2, 2]).unwrap();
    let replace = |moves: &[[usize; 3]]| full.replace(moves).unwrap_err().to_string();
    assert_eq!(replace(&[[0, 0, 4]]), "BlockPattern::replace: moves has slot 4 at position 0, must have slots below 4");
    assert_eq!(replace(&[[0, 0, 1], [0, 1, 1]]), "BlockPattern::replace: moves has slot 1 at positions 0 and 1, must have each slot once");
    assert_eq!(replace(&[[0, 0, 1]]), "BlockPattern::replace: blocks has block (0, 0) at positions 0 and 1, must have each block once");
    let cpu = Device::cpu();
    assert_eq!(
        BlockSparse::from_slice(&cpu, &full, &[0.0; 3]).unwrap_err().to_string(),
        "BlockSparse::from_slice: data has 3 values, must have 16 (4 blocks × 2 × 2)"
    );
    let w = sparse(&cpu, &full, 1, Layout::Rows);
    assert_eq!(w.get(4, 0).unwrap_err().to_string(), "BlockSparse::get: index has (4, 0), must have an entry of 4 × 4");
    assert_eq!(w.to_dtype(Dtype::U32).unwrap_err().to_string(), "BlockSparse::to_dtype: dtype has u32, must have f32, f16 or bf16");
}

#[test]
fn entries_and_other_devices() {
    for tested in crate::devices() {
        let pattern = BlockPattern::random([13, 17], [3, 4], 9, 2).unwrap();
        for w in [sparse(&tested.device, &pattern, 1, Layout::Rows), sparse(&tested.device, &pattern, 1, Layout::Columns)] {
            let (half, there) = (w.to_dtype(Dtype::F16).unwrap(), w.to_device(&Device::cpu()).unwrap());
            for (i, j) in [(0, 0), (12, 16), (5, 9), (7, 3), (2, 2), (12, 0)] {
                let want = if pattern.slot(i / 3, j / 4).is_some() { value(1, i, j) } else { 0.0 };
                assert_eq!((w.get(i, j).unwrap(), there.get(i, j).unwrap()), (want, want), "{}", tested.label);
                assert!((half.get(i, j).unwrap() - want).abs() <= want.abs() / 2048.0);
            }
        }
    }
}

/// Every bf16 there is, as f32 and back, on the device.
#[test]
fn bf16_widens_exactly() {
    let values: Vec<f32> = (0..=u16::MAX).map(|bits| f32::from_bits(u32::from(bits) << 16)).collect();
    let same = |got: &[f32]| got.iter().zip(&values).all(|(x, y)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan());
    for tested in crate::devices() {
        let pattern = BlockPattern::full([512, 128], [128, 128]).unwrap();
        let single = BlockSparse::from_slice(&tested.device, &pattern, &values).unwrap();
        let brain = single.to_dtype(Dtype::Bf16).unwrap();
        assert!(same(&brain.read().unwrap()), "{}", tested.label);
        assert!(same(&brain.to_dtype(Dtype::F32).unwrap().read().unwrap()), "{}", tested.label);
    }
}

/// f32 beside, on and between ties, of every size: the nearest of the two bf16 around it, the even one of a tie.
#[test]
fn bf16_is_the_nearest_ties_to_even() {
    // Every exponent, with mantissas at both ends and between; what lies between two bf16 in the low bits.
    let uppers = (0..0x7f80u32).filter(|upper| [0, 1, 2, 0x3f, 0x40, 0x7e, 0x7f].contains(&(upper & 0x7f)));
    let lows = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let signed = uppers.flat_map(|upper| [upper << 16, 0x8000_0000 | upper << 16]);
    let mut values: Vec<f32> = signed.flat_map(|upper| lows.map(|low| f32::from_bits(upper | low))).collect();
    values.resize(values.len().next_multiple_of(128 * 128) + 128, 0.5);
    let want = |value: f32| {
        let (below, sign) = (f32::from_bits(value.abs().to_bits() >> 16 << 16), value.signum());
        let above = f32::from_bits(below.to_bits() + (1 << 16));
        // Past the largest comes what would be 2¹²⁸.
        let upper = if above.is_infinite() { 2f64.powi(128) } else { f64::from(above) };
        let size = f64::from(value.abs());
        let (down, up) = (size - f64::from(below), upper - size);
        let even = below.to_bits() >> 16 & 1 == 0;
        sign * if down < up || down == up && even { below } else { above }
    };
    for tested in crate::devices() {
        let pattern = BlockPattern::full([values.len() / 128, 128], [1, 128]).unwrap();
        let single = BlockSparse::from_slice(&tested.device, &pattern, &values).unwrap();
        for (value, got) in values.iter().zip(single.to_dtype(Dtype::Bf16).unwrap().read().unwrap()) {
            let want = want(*value);
            assert_eq!(got.to_bits(), want.to_bits(), "{}: {value:e} is {got:e}, not {want:e}", tested.label);
        }
    }
}

/// From one half to the other, on the device, by way of f32.
#[test]
fn halves_into_each_other() {
    for tested in crate::devices() {
        let pattern = BlockPattern::full([2, 2], [1, 2]).unwrap();
        let values = [1.0, 65536.0, 1.0 + 1.0 / 128.0, 2f32.powi(-24)];
        let brain = BlockSparse::from_slice(&tested.device, &pattern, &values).unwrap().to_dtype(Dtype::Bf16).unwrap();
        assert_eq!(brain.read().unwrap(), values, "{}", tested.label);
        let half = brain.to_dtype(Dtype::F16).unwrap();
        assert_eq!((half.dtype(), half.read().unwrap()), (Dtype::F16, vec![1.0, f32::INFINITY, values[2], values[3]]), "{}", tested.label);
        assert_eq!(half.to_dtype(Dtype::Bf16).unwrap().read().unwrap()[2..], values[2..], "{}", tested.label);
    }
}

#[test]
fn compressed_rows_in_and_out() {
    let cpu = Device::cpu();
    for pattern in patterns() {
        let w = sparse(&cpu, &pattern, 1, Layout::Columns);
        let bsr = w.to_bsr().unwrap();
        let back = BlockSparse::from_bsr(&cpu, [pattern.rows(), pattern.cols()], pattern.block(), &bsr).unwrap();
        assert_eq!((back.pattern(), full(&back).values), (&pattern, full(&w).values));
        assert_eq!(back.to_bsr().unwrap(), bsr);
    }
    let unsorted = Bsr { starts: vec![0, 2], columns: vec![1, 0], values: vec![1.0, 2.0] };
    let w = BlockSparse::from_bsr(&cpu, [1, 2], [1, 1], &unsorted).unwrap();
    assert_eq!((w.get(0, 0).unwrap(), w.get(0, 1).unwrap()), (2.0, 1.0));
}

#[cfg(feature = "sprs")]
#[test]
fn sprs_in_and_out() {
    let cpu = Device::cpu();
    for pattern in patterns() {
        let w = sparse(&cpu, &pattern, 1, Layout::Columns);
        let csr = w.to_sprs().unwrap();
        for matrix in [&csr, &csr.to_other_storage()] {
            let back = BlockSparse::from_sprs(&cpu, matrix, pattern.block()).unwrap();
            assert_eq!((back.pattern(), full(&back).values), (&pattern, full(&w).values));
        }
    }
}
