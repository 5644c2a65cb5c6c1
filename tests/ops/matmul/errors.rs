//! What products refuse, and in which words.

use super::*;

fn banded(device: &Device, batch: usize, rows: usize, cols: usize) -> Banded {
    let shape = BandedShape::new(rows, cols, Band::new(1, 1).unwrap()).batch(batch);
    Banded::from_fn(device, shape, |_, i, j| (i + j) as f32).unwrap()
}

fn whole(device: &Device, batch: usize, rows: usize, cols: usize) -> Dense {
    Dense::from_fn(device, DenseShape::new(rows, cols).batch(batch), |_, i, j| (i + j) as f32).unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, text: &str) {
    assert_eq!(result.unwrap_err().to_string(), text);
}

#[test]
fn batches_that_differ() {
    for Tested { device, .. } in devices() {
        let (a, b) = (banded(device, 2, 4, 4), banded(device, 3, 4, 4));
        refused(banded_matmul(&a, &b, Semiring::Sum), "banded_matmul: b has batch 3, must have batch 2 (the batch of a)");
        let (q, k) = (whole(device, 2, 4, 3), whole(device, 1, 4, 3));
        refused(window_matmul(&q, &k, Band::window(1).unwrap()), "window_matmul: k has batch 1, must have batch 2 (the batch of q)");
        let k = whole(device, 2, 4, 2);
        refused(window_matmul(&q, &k, Band::window(1).unwrap()), "window_matmul: k has columns 2, must have columns 3 (the columns of q)");
        let onto = banded_matmul_band(&a, &b, Semiring::Sum, Band::window(0).unwrap());
        refused(onto, "banded_matmul_band: b has batch 3, must have batch 2 (the batch of a)");
    }
}

#[test]
fn inner_sizes_that_differ() {
    for Tested { device, .. } in devices() {
        let (a, b) = (banded(device, 1, 4, 5), banded(device, 1, 4, 4));
        refused(banded_matmul(&a, &b, Semiring::Log), "banded_matmul: b has rows 4, must have rows 5 (the columns of a)");
        let (v, w) = (whole(device, 1, 4, 4), whole(device, 1, 3, 4));
        refused(banded_matmul_dense(&a, &v, Semiring::Sum), "banded_matmul_dense: v has rows 4, must have rows 5 (the columns of a)");
        refused(semiring_matmul(&v, &w, Semiring::Max), "semiring_matmul: b has rows 3, must have rows 4 (the columns of a)");
    }
}

#[test]
fn operands_on_two_devices() {
    let all = devices();
    for other in &all[1..] {
        let (a, b) = (banded(&all[0].device, 1, 4, 4), banded(&other.device, 1, 4, 4));
        let text = format!("banded_matmul: b is on {}, must be on {} like the first operand", other.device, all[0].device);
        refused(banded_matmul(&a, &b, Semiring::Sum), &text);
        assert!(matches!(banded_matmul(&b, &a, Semiring::Sum), Err(Error::WrongDevice { op: "banded_matmul", argument: "b", .. })));
    }
}

#[test]
fn indices_for_values() {
    for Tested { device, .. } in devices() {
        let shape = BandedShape::new(4, 4, Band::new(1, 1).unwrap()).dtype(Dtype::U32);
        let (a, b) = (banded(device, 1, 4, 4), Banded::from_fn(device, shape, |_, _, _| 1.0).unwrap());
        refused(banded_matmul(&a, &b, Semiring::Sum), "banded_matmul: b has dtype u32, must have dtype f32, f16 or bf16");
        refused(banded_matmul(&b, &a, Semiring::Sum), "banded_matmul: a has dtype u32, must have dtype f32, f16 or bf16");
    }
}

#[test]
fn results_beyond_32_bit_indices() {
    for Tested { device, .. } in devices() {
        let column = Dense::from_slice(device, DenseShape::new(50_000, 1), &vec![1.0; 50_000]).unwrap();
        refused(
            semiring_matmul(&column, &column.t(), Semiring::Sum),
            "semiring_matmul: the number of stored values of one matrix is 2500000000, the limit of 32-bit indices is 2147483647",
        );
        let band = Band::new(1 << 28, 1 << 28).unwrap();
        let thin = banded(device, 1, 5, 5);
        refused(
            banded_matmul_band(&thin, &thin, Semiring::Sum, band),
            "banded_matmul_band: the number of stored values of one matrix is 2684354565, the limit of 32-bit indices is 2147483647",
        );
    }
}

#[test]
fn bands_that_add_up_too_far() {
    let shape = BandedShape::new(1, 1, Band::new(1 << 28, -(1 << 28)).unwrap());
    let far = Banded::from_slice(&Device::cpu(), shape, &[1.0]).unwrap();
    refused(
        banded_matmul(&far, &far, Semiring::Sum),
        "banded_matmul: band has lower 536870912, upper -536870912, must have both sides within ±2^28",
    );
}

/// A result that cannot be held is an error, and the operands go on working.
#[test]
fn results_that_do_not_fit() {
    for Tested { device, label, .. } in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        // Half a terabyte, while each operand is 12 MB.
        let (batch, n) = (64, 46_000);
        let column = Dense::from_slice(device, DenseShape::new(n, 1).batch(batch), &vec![2.0; n * batch]).unwrap();
        let bytes = batch as u64 * (n * n) as u64 * 4;
        let info = device.info();
        let error = semiring_matmul(&column, &column.t(), Semiring::Sum).unwrap_err();
        let text = if ["cpu", "interpreter"].contains(&info.id.as_str()) {
            format!("cpu: out of memory, {bytes} bytes asked for")
        } else {
            let name = format!("{} ({})", info.id, info.name);
            format!("semiring_matmul: the buffer's size in bytes is {bytes}, the limit of {name} is {}", info.max_buffer)
        };
        assert_eq!(error.to_string(), text, "{label}");
        let sums = semiring_matmul(&column.t(), &column, Semiring::Sum).unwrap();
        assert_eq!(sums.read().unwrap(), vec![4.0 * n as f32; batch], "{label}: the operands are still usable");
    }
}

/// Rows of a dense matrix that all rows of the other one meet cannot be split; the error says the limit.
#[test]
fn matrices_beyond_one_binding() {
    for info in Device::all() {
        let device = Device::open(&info.id, Options { max_binding: Some(4096), ..Options::default() }).unwrap();
        let a = whole(&device, 3, 10, 2);
        let b = whole(&device, 3, 2, 600);
        let text = format!("semiring_matmul: one matrix's size in bytes is 4800, the limit of {device} is 4096");
        refused(semiring_matmul(&a, &b, Semiring::Sum), &text);
        assert_eq!(semiring_matmul(&a, &a.t(), Semiring::Sum).unwrap().read().unwrap().len(), 300, "the operands are still usable");
    }
}
