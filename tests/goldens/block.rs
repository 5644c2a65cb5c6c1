//! pytorch_block_sparse: index arrays with and without replaced blocks, and products. Its slots hold
//! blocks transposed, which is our columns layout.

use bandsaw::{
    BlockPattern, BlockSparse, Dense, DenseShape, block_from_dense, block_matmul, block_matmul_backward, block_norms, block_to_dense,
};
use serde_json::Value;

use crate::common::{check_value, devices};
use crate::entry::{Entry, load, numbers};

/// Whole numbers nested to any depth, in order.
fn integers(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|number| number as usize).collect()
}

fn tuples<const N: usize>(value: &Value) -> Vec<[usize; N]> {
    integers(value).chunks_exact(N).map(|chunk| chunk.try_into().unwrap()).collect()
}

fn sides(value: &Value) -> [usize; 2] {
    integers(value).try_into().unwrap()
}

/// The five arrays of the file.
fn check_index(what: &str, pattern: &BlockPattern, index: &Value) {
    let index = Entry::new(what.into(), index);
    let words = |words: &[u32]| words.iter().map(|word| *word as usize).collect::<Vec<_>>();
    assert_eq!(words(pattern.row_starts()), integers(index.field("row_start_ends_a")), "{what}");
    assert_eq!(words(pattern.row_entries().as_flattened()), integers(index.field("cols_a")), "{what}");
    assert_eq!(words(pattern.col_starts()), integers(index.field("col_start_ends_b")), "{what}");
    assert_eq!(words(pattern.col_entries().as_flattened()), integers(index.field("rows_b")), "{what}");
    let blocks: Vec<_> = pattern.blocks().flat_map(|[row, col]| [col, row]).collect();
    assert_eq!(blocks, integers(index.field("blocks")), "{what}");
    index.finish();
}

#[test]
fn index_arrays_are_equal() {
    let file = load("block.json");
    for (n, value) in file["patterns"].as_array().unwrap().iter().enumerate() {
        let what = format!("pattern {n}");
        let entry = Entry::new(what.clone(), value);
        let pattern =
            BlockPattern::new(sides(entry.field("shape")), sides(entry.field("block_shape")), &tuples(entry.field("blocks"))).unwrap();
        check_index(&what, &pattern, entry.field("index"));
        assert_eq!(pattern.blocks().collect::<Vec<_>>(), tuples(entry.field("block_of_slot")), "{what}");
        let after = pattern.replace(&tuples(entry.field("replace"))).unwrap();
        check_index(&format!("{what}, replaced"), &after, entry.field("index_after_replace"));
        assert_eq!(after.blocks().collect::<Vec<_>>(), tuples(entry.field("block_of_slot_after")), "{what}");
        entry.finish();
    }
}

#[test]
fn products_are_equal() {
    let file = load("block.json");
    for value in file["numeric"].as_array().unwrap() {
        for tested in devices() {
            let entry = Entry::new(tested.label.clone(), value);
            let what = &tested.label;
            let [rows, cols] = sides(entry.field("shape"));
            let pattern = BlockPattern::new([rows, cols], sides(entry.field("block_shape")), &tuples(entry.field("blocks"))).unwrap();
            let matrix = |name, cols: usize| {
                let data: Vec<_> = numbers(entry.field(name)).into_iter().map(|value| value as f32).collect();
                Dense::from_slice(&tested.device, DenseShape::new(data.len() / cols, cols), &data).unwrap()
            };
            let close = |got: &[f32], name| {
                let want = numbers(entry.field(name));
                assert_eq!(got.len(), want.len(), "{what} {name}");
                got.iter()
                    .zip(want)
                    .enumerate()
                    .for_each(|(n, (got, want))| check_value(*got, want, 1e-5, || format!("{what} {name} {n}")));
            };
            let w = block_from_dense(&matrix("source_dense", cols), &pattern).unwrap();
            close(&block_to_dense(&w).unwrap().read().unwrap(), "dense");
            // The same from the peer's own storage: a transposed pattern's rows layout.
            let stored: Vec<_> = numbers(entry.field("data_storage")).into_iter().map(|value| value as f32).collect();
            let theirs = BlockSparse::from_slice(&tested.device, &pattern.t(), &stored).unwrap().t();
            for w in [&w, &theirs] {
                let (x, g) = (matrix("x", cols), matrix("g", rows));
                close(&block_matmul(&x, &w.t()).unwrap().read().unwrap(), "y_x_WT");
                let (gx, gw) = block_matmul_backward(&x, &w.t(), &g).unwrap();
                close(&gx.read().unwrap(), "dgrad_g_W");
                close(&block_to_dense(&gw.t()).unwrap().read().unwrap(), "wgrad_gT_x_on_support");
                close(&block_norms(w, 2.0).unwrap(), "block_norm");
            }
            entry.finish();
        }
    }
}
