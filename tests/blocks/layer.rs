//! Layers and pattern learning.

use bandsaw::{
    Activation, BlockPattern, BlockSparse, BlockSparseLinear, DenseShape, Device, DropBy, Dtype, GrowBy, Layout, PatternUpdate,
    block_norms, block_sddmm,
};

use crate::{dense, devices, full, sparse};

#[test]
fn fresh_weights_keep_the_size_of_their_inputs() {
    for tested in devices() {
        for (density, activation) in [(1.0, Activation::None), (0.25, Activation::Relu)] {
            let count = (density * 64.0) as usize;
            let pattern = BlockPattern::random([256, 256], [32, 32], count, 1).unwrap();
            let layer = BlockSparseLinear::new(&tested.device, &pattern, activation, 3).unwrap();
            let x = dense(&tested.device, 1, DenseShape::new(64, 256));
            let square = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / values.len() as f64;
            let z = BlockSparseLinear { activation: Activation::None, ..layer.clone() }.forward(&x).unwrap();
            let reached = pattern.row_starts().windows(2).filter(|pair| pair[0] < pair[1]).count() as f64 / 8.0;
            let gain = square(&z.read().unwrap()) / square(&x.read().unwrap()) / reached;
            let want = if activation == Activation::None { 1.0 } else { 2.0 };
            assert!((gain / want - 1.0).abs() < 0.1, "{}: {gain}", tested.label);
            let again = BlockSparseLinear::new(&Device::cpu(), &pattern, activation, 3).unwrap();
            assert_eq!(layer.weight.read().unwrap(), again.weight.read().unwrap());
        }
    }
}

/// A gradient at every block, large where `large` says.
fn gradient(device: &Device, pattern: &BlockPattern, large: impl Fn(usize, usize) -> bool) -> BlockSparse {
    let [r, c] = pattern.block();
    let all = BlockPattern::full([pattern.rows(), pattern.cols()], [r, c]).unwrap();
    BlockSparse::from_fn(device, &all, |i, j| if large(i / r, j / c) { 9.0 } else { 0.5 + 1e-3 * (i + j) as f32 }).unwrap()
}

#[test]
fn updates_drop_the_smallest_and_grow_elsewhere() {
    for tested in devices() {
        let pattern = BlockPattern::random([37, 50], [5, 6], 40, 1).unwrap();
        let w = sparse(&tested.device, &pattern, 1, Layout::Rows);
        let g = gradient(&tested.device, &pattern, |row, _| row == 2);
        for (drop, grow, fraction) in [
            (DropBy::Weight, GrowBy::Random, 0.3),
            (DropBy::Weight, GrowBy::Gradient, 0.2),
            (DropBy::Gradient, GrowBy::Random, 0.5),
            (DropBy::Gradient, GrowBy::Gradient, 1.0),
            (DropBy::Weight, GrowBy::Random, 0.0),
        ] {
            let what = format!("{} {drop:?} {grow:?} {fraction}", tested.label);
            let update = PatternUpdate { fraction, drop, grow, seed: 5 };
            let change = update.apply(&w, Some(&g)).unwrap();
            let count = ((fraction * 40.0) as usize).min(72 - 40);
            assert_eq!((change.slots.len(), change.weight.pattern().len()), (count, 40), "{what}");
            assert!(change.slots.is_sorted());

            let (before, after): (Vec<_>, Vec<_>) = (pattern.blocks().collect(), change.weight.pattern().blocks().collect());
            let norms = match drop {
                DropBy::Weight => block_norms(&w, 2.0).unwrap(),
                DropBy::Gradient => {
                    pattern.blocks().map(|[row, col]| block_norms(&g, 2.0).unwrap()[g.pattern().slot(row, col).unwrap()]).collect()
                }
            };
            let kept = (0..40).filter(|slot| !change.slots.contains(slot)).map(|slot| norms[slot]).fold(f32::INFINITY, f32::min);
            for slot in 0..40 {
                let moved = change.slots.contains(&slot);
                assert_eq!(moved, before[slot] != after[slot], "{what}: slot {slot}");
                assert!(!moved || (norms[slot] <= kept && !before.contains(&after[slot])), "{what}: slot {slot}");
            }
            if grow == GrowBy::Gradient {
                let free_in_row = 9 - before.iter().filter(|[row, _]| *row == 2).count();
                let grown_in_row = change.slots.iter().filter(|slot| after[**slot][0] == 2).count();
                assert_eq!(grown_in_row, free_in_row.min(count), "{what}: the largest gradients come first");
            }
            let (old, new) = (full(&w), full(&change.weight));
            for (i, j) in (0..37).flat_map(|i| (0..50).map(move |j| (i, j))) {
                let stayed = pattern.slot(i / 5, j / 6).is_some_and(|slot| !change.slots.contains(&slot));
                assert_eq!(new.get(i, j).unwrap_or(0.0), if stayed { old.get(i, j).unwrap() } else { 0.0 }, "{what}: [{i}, {j}]");
            }
            let again = update.apply(&w.to_device(&Device::cpu()).unwrap(), Some(&g.to_device(&Device::cpu()).unwrap())).unwrap();
            assert_eq!((again.weight.pattern(), &again.slots), (change.weight.pattern(), &change.slots), "{what}: the same everywhere");
        }
    }
}

#[test]
fn a_gradient_at_all_blocks_comes_from_the_product() {
    let cpu = Device::cpu();
    let pattern = BlockPattern::random([16, 24], [4, 4], 6, 1).unwrap();
    let w = sparse(&cpu, &pattern, 1, Layout::Rows).to_dtype(Dtype::F16).unwrap();
    let (x, g) = (dense(&cpu, 1, DenseShape::new(5, 24)), dense(&cpu, 2, DenseShape::new(5, 16)));
    let all = block_sddmm(&g, &x, &BlockPattern::full([16, 24], [4, 4]).unwrap()).unwrap();
    let update = PatternUpdate { fraction: 0.5, grow: GrowBy::Gradient, ..PatternUpdate::default() };
    let change = update.apply(&w, Some(&all)).unwrap();
    assert_eq!((change.slots.len(), change.weight.dtype()), (3, Dtype::F16));
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let w = sparse(&cpu, &BlockPattern::block_diagonal([4, 4], [2, 2]).unwrap(), 1, Layout::Rows);
    let update = |fraction, grow| PatternUpdate { fraction, grow, ..PatternUpdate::default() };
    let cases = [
        (update(1.5, GrowBy::Random).apply(&w, None), "PatternUpdate::apply: fraction has 1.5, must have 0 to 1"),
        (
            update(0.5, GrowBy::Gradient).apply(&w, None),
            "PatternUpdate::apply: gradient has nothing, must have the gradient that blocks go or come by",
        ),
        (
            update(0.5, GrowBy::Gradient).apply(&w, Some(&w)),
            "PatternUpdate::apply: gradient has no block (0, 1), must have every block that may go or come",
        ),
    ];
    for (result, message) in cases {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
}
