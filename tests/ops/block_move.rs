//! Dense to blocks and back, on every device.

use bandsaw::{
    BlockPattern, Dense, DenseShape, Device, Dtype, Layout, block_from_dense, block_from_dense_backward, block_to_dense,
    block_to_dense_backward,
};

use crate::{LAYOUTS, dense, devices, full, full_dense, patterns, sparse};

#[test]
fn blocks_of_a_dense_matrix_and_back() {
    for tested in devices() {
        for pattern in patterns() {
            for layout in LAYOUTS {
                let what = format!("{} {pattern} {layout:?}", tested.label);
                let d = dense(&tested.device, 1, DenseShape::new(pattern.rows(), pattern.cols()).layout(layout));
                let w = block_from_dense(&d, &pattern).unwrap();
                let (fd, fw) = (&full_dense(&d)[0], full(&w));
                let w = if layout == Layout::Columns { sparse(&tested.device, &pattern, 1, layout) } else { w };
                let back = &full_dense(&block_to_dense(&w).unwrap())[0];
                for (i, j) in (0..pattern.rows()).flat_map(|i| (0..pattern.cols()).map(move |j| (i, j))) {
                    let [r, c] = pattern.block();
                    let stored = pattern.slot(i / r, j / c).is_some();
                    assert_eq!(fw.get(i, j), if stored { fd.get(i, j) } else { None }, "{what}: [{i}, {j}]");
                    assert_eq!(back.get(i, j), if stored { fd.get(i, j) } else { Some(0.0) }, "{what}: [{i}, {j}] back");
                }
                assert_eq!(block_to_dense_backward(&w, &d).unwrap().pattern(), &pattern);
                assert_eq!(block_from_dense_backward(&w).unwrap().read().unwrap(), block_to_dense(&w).unwrap().read().unwrap());
            }
        }
    }
}

#[test]
fn special_values_and_halves_pass_unchanged() {
    for tested in devices() {
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 65504.0, 6e-8];
        let d = Dense::from_slice(&tested.device, DenseShape::new(2, 3).dtype(Dtype::F16), &values).unwrap();
        let w = block_from_dense(&d, &BlockPattern::full([2, 3], [2, 2]).unwrap()).unwrap();
        assert_eq!(w.dtype(), Dtype::F16);
        let back = block_to_dense(&w).unwrap();
        assert_eq!(back.shape(), d.shape());
        let bits = |d: &Dense| d.read().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&back)[1..], bits(&d)[1..], "{}", tested.label);
        assert!(back.read().unwrap()[0].is_nan());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let pattern = BlockPattern::full([4, 6], [2, 2]).unwrap();
    let batch = dense(&cpu, 1, DenseShape::new(4, 6).batch(2));
    assert_eq!(
        block_from_dense(&batch, &pattern).unwrap_err().to_string(),
        "block_from_dense: dense has shape 2 × 4 × 6, must have shape 1 × 4 × 6 (the pattern's)"
    );
    let index = dense(&cpu, 1, DenseShape::new(4, 6).dtype(Dtype::U32));
    assert_eq!(
        block_from_dense(&index, &pattern).unwrap_err().to_string(),
        "block_from_dense: dense has dtype u32, must have dtype f32, f16 or bf16"
    );
}
