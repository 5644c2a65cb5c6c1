//! Norms of blocks, and pruning by them.

use bandsaw::{BlockPattern, BlockSparse, DenseShape, Device, Dtype, Layout, block_from_dense_by_magnitude, block_norms, block_prune};

use crate::{dense, devices, full, full_dense, patterns, sparse};

#[test]
fn norms_are_those_of_the_blocks() {
    for tested in devices() {
        for pattern in patterns() {
            for (p, layout) in [(1.0, Layout::Rows), (2.0, Layout::Columns), (3.5, Layout::Rows), (f32::INFINITY, Layout::Rows)] {
                let w = sparse(&tested.device, &pattern, 1, layout);
                let (norms, f) = (block_norms(&w, p).unwrap(), full(&w));
                let [r, c] = pattern.block();
                assert_eq!(norms.len(), pattern.len());
                for ([row, col], norm) in pattern.blocks().zip(norms) {
                    let entries = (row * r..pattern.rows().min(row * r + r))
                        .flat_map(|i| (col * c..pattern.cols().min(col * c + c)).map(move |j| (i, j)));
                    let sizes: Vec<f64> = entries.map(|(i, j)| f.get(i, j).unwrap().abs()).collect();
                    let power = f64::from(p);
                    let want = if p.is_infinite() {
                        sizes.iter().copied().fold(0.0, f64::max)
                    } else {
                        sizes.iter().map(|x| x.powf(power)).sum::<f64>().powf(1.0 / power)
                    };
                    // Sums of r · c terms; for other p the device's `pow` twice, which WGSL lets be off by some ulp.
                    let bound = if p <= 2.0 || p.is_infinite() { 2e-6 } else { 5e-5 };
                    assert!((f64::from(norm) - want).abs() <= bound * want, "{} {pattern} p {p}: {norm}, not {want}", tested.label);
                }
            }
        }
    }
}

#[test]
fn special_values() {
    for tested in devices() {
        let pattern = BlockPattern::full([1, 10], [1, 2]).unwrap();
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0, 3e30, 4e30, 3e-30, 4e-30, 0.0, -0.0];
        let w = BlockSparse::from_slice(&tested.device, &pattern, &values).unwrap();
        for p in [1.0, 2.0, f32::INFINITY] {
            let norms = block_norms(&w, p).unwrap();
            assert!(norms[0].is_nan(), "{} p {p}: {norms:?}", tested.label);
            assert_eq!((norms[1], norms[4]), (f32::INFINITY, 0.0));
        }
        let norms = block_norms(&w, 2.0).unwrap();
        assert!((norms[2] / 5e30 - 1.0).abs() < 1e-6 && (norms[3] / 5e-30 - 1.0).abs() < 1e-6, "{}: {norms:?}", tested.label);
    }
}

#[test]
fn pruning_keeps_the_largest() {
    for tested in devices() {
        for (density, block) in [(0.5, [8, 8]), (0.1, [5, 7]), (0.0, [8, 8]), (1.0, [3, 1])] {
            let d = dense(&tested.device, 1, DenseShape::new(40, 33));
            let w = block_from_dense_by_magnitude(&d, block, density).unwrap();
            let [rows, cols] = w.pattern().grid();
            assert_eq!(w.pattern().len(), (density * (rows * cols) as f64).round() as usize, "{}", tested.label);
            let fd = &full_dense(&d)[0];
            let energy = |row: usize, col: usize| {
                let all = (row * block[0]..40.min((row + 1) * block[0]))
                    .flat_map(|i| (col * block[1]..33.min((col + 1) * block[1])).map(move |j| (i, j)));
                all.map(|(i, j)| fd.get(i, j).unwrap().powi(2)).sum::<f64>()
            };
            let kept = w.pattern().blocks().map(|[row, col]| energy(row, col)).fold(f64::INFINITY, f64::min);
            let left =
                (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))).filter(|(row, col)| w.pattern().slot(*row, *col).is_none());
            assert!(left.map(|(row, col)| energy(row, col)).all(|energy| energy <= kept * (1.0 + 1e-6)), "{} {block:?}", tested.label);
            let f = full(&w);
            assert!((0..40).all(|i| (0..33).all(|j| f.get(i, j).is_none_or(|value| Some(value) == fd.get(i, j)))));
        }
        let halves = dense(&tested.device, 1, DenseShape::new(16, 16).dtype(Dtype::F16));
        let w = block_from_dense_by_magnitude(&halves, [4, 4], 0.5).unwrap();
        let again = block_prune(&w, 0.25).unwrap();
        assert_eq!((w.dtype(), again.pattern().len(), block_prune(&w, 0.9).unwrap().pattern().len()), (Dtype::F16, 4, 8));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let w = sparse(&Device::cpu(), &BlockPattern::full([4, 6], [2, 2]).unwrap(), 1, Layout::Rows);
    for p in [0.0, -1.0, f32::NAN] {
        assert_eq!(block_norms(&w, p).unwrap_err().to_string(), format!("block_norms: p has {p}, must have more than 0"));
    }
    assert_eq!(block_prune(&w, 1.5).unwrap_err().to_string(), "block_prune: density has 1.5, must have 0 to 1");
    assert!(block_prune(&w, f64::NAN).is_err());
}
