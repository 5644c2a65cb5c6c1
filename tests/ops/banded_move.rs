//! Resizing, other layouts, shifts, to dense and back, and their gradients.

use bandsaw::{
    Band, Banded, BandedShape, Dense, DenseShape, Device, Dtype, Layout, a, b, banded_from_dense, banded_from_dense_backward,
    banded_matvec, banded_relayout, banded_resize, banded_resize_backward, banded_shift_band, banded_shift_band_backward,
    banded_shift_cols, banded_shift_cols_backward, banded_shift_rows, banded_shift_rows_backward, banded_to_dense,
    banded_to_dense_backward, banded_zip, find_band,
};

use crate::{Full, LAYOUTS, SHAPES, assert_close, band, banded, dense, devices, full, full_dense, shape};

/// C[i,j] = A[i + di, j + dj] where A stores it and C's band has a place for it, else the fill.
fn moved(a: &Banded, onto: Option<Band>, [di, dj]: [i64; 2]) -> Full {
    let fill = f64::from(a.shape().fill);
    let a = full(a);
    Full::new(a.batch, a.rows, a.cols, |b, i, j| {
        let held = onto.is_none_or(|band| band.contains(i, j));
        if held { a.stored_or(b, i as i64 + di, j as i64 + dj, fill) } else { fill }
    })
}

/// The gradient of `moved`: each entry of C sends g to where it came from.
fn moved_back(a: &Banded, g: &Full, onto: Option<Band>, [di, dj]: [i64; 2]) -> Full {
    let a = full(a);
    let mut back = Full::new(a.batch, a.rows, a.cols, |_, _, _| 0.0);
    for b in 0..a.batch {
        for i in 0..a.rows {
            for j in 0..a.cols {
                let (p, q) = (i as i64 + di, j as i64 + dj);
                let held = onto.is_none_or(|band| band.contains(i, j));
                if held && !a.stored_or(b, p, q, f64::NAN).is_nan() {
                    back.values[(b * a.rows + p as usize) * a.cols + q as usize] += g.stored_or(b, i as i64, j as i64, 0.0);
                }
            }
        }
    }
    back
}

/// Entries outside a band don't change when they come to be stored.
#[test]
fn a_fill_is_what_the_storage_type_holds() {
    for device in devices() {
        for (dtype, held) in [(Dtype::F32, 0.1), (Dtype::F16, 0.099_975_586), (Dtype::Bf16, 0.100_097_656)] {
            let diagonal = Band::new(0, 0).unwrap();
            let a = Banded::from_fn(&device, BandedShape::new(4, 4, diagonal).fill(0.1).dtype(dtype), |_, _, _| 1.0).unwrap();
            let d = Dense::from_fn(&device, DenseShape::new(4, 4).dtype(dtype), |_, _, _| 1.0).unwrap();
            for narrow in [a, banded_from_dense(&d, diagonal, Layout::Rows, 0.1).unwrap()] {
                let wide = banded_resize(&narrow, Band::new(2, 2).unwrap()).unwrap();
                for matrix in [&narrow, &wide] {
                    let found = [matrix.shape().fill, matrix.get(0, 0, 1).unwrap(), matrix.get(0, 3, 0).unwrap()];
                    assert_eq!(found, [held; 3], "{device} {dtype} {}", matrix.shape().band);
                    assert_eq!(matrix.to_dense().unwrap().read().unwrap()[1], held, "{device} {dtype}");
                }
            }
        }
    }
}

#[test]
fn resize_keeps_what_fits() {
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for layout in LAYOUTS {
                let a = banded(&device, n, shape(case, layout).fill(0.5));
                let (lower, upper) = (a.shape().band.lower(), a.shape().band.upper());
                for (more, above) in [(0, 0), (2, 3), (-1, 2), (3, -2), (-lower - 1, 1), (-lower - upper - 4, lower + upper + 7)] {
                    let Ok(onto) = Band::new(lower + more, upper + above) else { continue };
                    let c = banded_resize(&a, onto).unwrap();
                    assert_eq!(c.shape(), BandedShape { band: onto, ..a.shape() });
                    let what = format!("{device} {case:?} {layout:?} onto {onto}");
                    assert_close(&what, &full(&c), &moved(&a, Some(onto), [0, 0]), 0.0, 0.0);
                    let g = banded(&device, n + 7, c.shape().layout(layout.t()).fill(9.0));
                    let ga = banded_resize_backward(&a, &g).unwrap();
                    assert_eq!(ga.shape(), a.shape().fill(0.0));
                    assert_close(&what, &full(&ga), &moved_back(&a, &full(&g), Some(onto), [0, 0]), 0.0, 0.0);
                }
            }
        }
    }
}

#[test]
fn relayout_changes_the_layout_alone() {
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for (layout, other) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let a = banded(&device, n, shape(case, LAYOUTS[layout]).fill(0.5));
                let c = banded_relayout(&a, LAYOUTS[other]).unwrap();
                assert_eq!(c.shape(), a.shape().layout(LAYOUTS[other]));
                assert_close(&format!("{device} {case:?}"), &full(&c), &moved(&a, None, [0, 0]), 0.0, 0.0);
            }
        }
    }
}

#[test]
fn shifts_are_their_definitions() {
    type Forward = fn(&Banded, i64) -> bandsaw::Result<Banded>;
    type Backward = fn(&Banded, i64, &Banded) -> bandsaw::Result<Banded>;
    let shifts: [(Forward, Backward, i64); 3] = [
        (banded_shift_rows, banded_shift_rows_backward, 1),
        (banded_shift_cols, banded_shift_cols_backward, -1),
        (banded_shift_band, banded_shift_band_backward, 1),
    ];
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            for layout in LAYOUTS {
                let a = banded(&device, n, shape(case, layout).fill(0.5));
                for (which, (forward, backward, sign)) in shifts.into_iter().enumerate() {
                    for t in [0, 1, -1, 3, -5, 40, -1000] {
                        let offset = match (which, layout) {
                            (0, _) => [t, 0],
                            (1, _) => [0, t],
                            (_, Layout::Columns) => [2 * t, 0],
                            (_, Layout::Rows) => [0, -2 * t],
                        };
                        let c = forward(&a, t).unwrap();
                        let onto = band(a.shape().band.lower() - sign * t, a.shape().band.upper() + sign * t);
                        assert_eq!(c.shape(), BandedShape { band: onto, ..a.shape() });
                        let what = format!("{device} {case:?} {layout:?} shift {which} by {t}");
                        assert_close(&what, &full(&c), &moved(&a, Some(onto), offset), 0.0, 0.0);
                        // The gradient may be stored wider than the result, and otherwise.
                        for more in [0, 2] {
                            let wide = BandedShape { band: band(onto.lower() + more, onto.upper() + more), ..c.shape() };
                            let g = banded(&device, n + 7, wide.layout(layout.t()).fill(9.0));
                            let ga = backward(&a, t, &g).unwrap();
                            assert_eq!(ga.shape(), a.shape().fill(0.0));
                            assert_close(&what, &full(&ga), &moved_back(&a, &full(&g), Some(onto), offset), 0.0, 0.0);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn shift_band_moves_slots() {
    for device in devices() {
        let shape = BandedShape::new(9, 9, band(2, 2));
        let a = banded(&device, 4, shape.layout(Layout::Columns));
        let (data, new) = (a.read().unwrap(), banded_shift_band(&a, 1).unwrap());
        let moved = new.read().unwrap();
        // Column 4 is stored whole in both.
        assert_eq!(moved[4 * 5..][..4], data[4 * 5 + 1..][..4]);
        let a = banded(&device, 4, shape);
        let (data, moved) = (a.read().unwrap(), banded_shift_band(&a, 1).unwrap().read().unwrap());
        assert_eq!(moved[4 * 5 + 1..][..4], data[4 * 5..][..4]);
    }
}

#[test]
fn dense_and_back() {
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            let (batch, rows, cols, _, _) = case;
            for (layout, other) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let what = format!("{device} {case:?} {layout} {other}");
                let a = banded(&device, n, shape(case, LAYOUTS[layout]).fill(-3.5));
                let d = banded_to_dense(&a).unwrap();
                assert_eq!(d.shape(), DenseShape::new(rows, cols).batch(batch));
                assert_close(&what, &full_dense(&d), &moved(&a, None, [0, 0]), 0.0, 0.0);
                let again = banded_from_dense(&d, a.shape().band, LAYOUTS[other], -3.5).unwrap();
                assert_eq!(again.shape(), a.shape().layout(LAYOUTS[other]));
                assert_close(&what, &full(&again), &full(&a), 0.0, 0.0);

                let g = dense(&device, n + 3, DenseShape::new(rows, cols).batch(batch).layout(LAYOUTS[other]));
                let (ga, fg) = (banded_to_dense_backward(&a, &g).unwrap(), full_dense(&g));
                assert_eq!(ga.shape(), a.shape().fill(0.0));
                assert_close(&what, &full(&ga), &moved_back(&a, &fg, None, [0, 0]), 0.0, 0.0);
                let gd = banded_from_dense_backward(&g, &a).unwrap();
                assert_eq!(gd.shape(), g.shape());
                let fa = full(&a);
                let want = Full::new(batch, rows, cols, |b, i, j| fa.stored_or(b, i as i64, j as i64, 0.0));
                assert_close(&what, &full_dense(&gd), &want, 0.0, 0.0);
            }
        }
        let a = banded(&device, 1, BandedShape::new(5, 4, band(1, 1)).batch(2));
        assert_eq!(a.to_dense().unwrap().read().unwrap(), banded_to_dense(&a).unwrap().read().unwrap());
        let back = Banded::from_dense(&a.to_dense().unwrap(), band(1, 1)).unwrap();
        assert_eq!((back.shape(), back.read().unwrap()), (a.shape(), a.read().unwrap()));
    }
}

#[test]
fn every_bit_moves() {
    let values = [0x7fc0_0001, 0x7f80_0000, 0xff80_0000, 0x8000_0000, 0x0000_0001, 0x807f_ffff, 0x3f80_0000, 0].map(f32::from_bits);
    for device in devices() {
        let shape = BandedShape::new(8, 8, band(0, 0)).fill(f32::NEG_INFINITY);
        let a = Banded::from_slice(&device, shape, &values).unwrap();
        for c in [banded_relayout(&a, Layout::Columns).unwrap(), banded_shift_rows(&banded_shift_rows(&a, -1).unwrap(), 1).unwrap()] {
            let got: Vec<u32> = c.read().unwrap().iter().map(|value| value.to_bits()).collect();
            let mut want = values.map(f32::to_bits);
            if c.shape().layout == Layout::Rows {
                want[7] = f32::NEG_INFINITY.to_bits(); // moved out of the matrix and lost
            }
            assert_eq!(got, want, "{device}");
        }
        assert_eq!(banded_to_dense(&a).unwrap().read().unwrap()[1], f32::NEG_INFINITY);
    }
}

#[test]
fn halves_move_exactly() {
    for (device, dtype) in devices().into_iter().flat_map(|device| [(device.clone(), Dtype::F16), (device, Dtype::Bf16)]) {
        let a = banded(&device, 1, BandedShape::new(9, 7, band(2, 1)).batch(3).fill(0.5).dtype(dtype));
        let c = banded_shift_cols(&a, 2).unwrap();
        assert_eq!(c.shape().dtype, dtype);
        assert_close(&device.to_string(), &full(&c), &moved(&a, Some(c.shape().band), [0, 2]), 0.0, 0.0);
        let d = a.to_dense().unwrap();
        assert_eq!(d.shape().dtype, dtype);
        assert_close(&device.to_string(), &full_dense(&d), &moved(&a, None, [0, 0]), 0.0, 0.0);
        let g = banded(&device, 2, BandedShape::new(9, 7, band(4, -1)).batch(3));
        assert_eq!(banded_shift_cols_backward(&a, 2, &g).unwrap().shape(), a.shape().fill(0.0));
    }
}

#[test]
fn the_smallest_band_is_found() {
    for device in devices() {
        for (n, case) in SHAPES.into_iter().enumerate() {
            let (batch, rows, cols, _, _) = case;
            let a = banded(&device, n, shape(case, Layout::Rows));
            let fa = full(&a);
            let mut want: Option<(i64, i64)> = None;
            for at in (0..batch * rows * cols).filter(|at| fa.values[*at] != 0.0) {
                let diagonal = (at % cols) as i64 - (at / cols % rows) as i64;
                let (low, high) = want.unwrap_or((diagonal, diagonal));
                want = Some((low.min(diagonal), high.max(diagonal)));
            }
            let want = want.map(|(low, high)| band(-low, high));
            let d = a.to_dense().unwrap();
            assert_eq!(find_band(&d).unwrap(), want, "{device} {case:?}");
            assert_eq!(find_band(&d.t()).unwrap(), want.map(Band::t), "{device} {case:?}");
        }
    }
    let cpu = Device::cpu();
    let nan = Dense::from_slice(&cpu, DenseShape::new(2, 2), &[0.0, f32::NAN, -0.0, 0.0]).unwrap();
    assert_eq!(find_band(&nan).unwrap(), Some(band(-1, 1)));
}

/// Several matrices that no single binding of a portable device holds, through all the kernels.
#[test]
fn large_batches_are_split() {
    let large = BandedShape::new(3 << 18, 3 << 18, band(7, 8)).batch(3);
    let f = a() * 0.5 + b();
    let of = |device: &Device| {
        let x = Dense::from_fn(device, DenseShape::new(3 << 18, 1).batch(3), |b, j, _| (b + j % 3) as f32).unwrap();
        let a = Banded::from_fn(device, large, |b, i, j| (b * 3 + i % 1021 + j % 127) as f32).unwrap();
        let c = banded_relayout(&a, Layout::Columns).unwrap();
        let y = banded_matvec(&c, &x).unwrap().read().unwrap();
        (banded_zip(&c, &a, &f).unwrap().read().unwrap(), y)
    };
    let want = of(&Device::cpu());
    for device in devices().iter().filter(|device| device.options().portable) {
        assert!(device.info().max_binding < (large.len() * 4) as u64, "{device}: nothing to split");
        // Small whole numbers and halves: every device computes them exactly.
        assert!(of(device) == want, "{device}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let a = banded(&cpu, 1, BandedShape::new(4, 5, band(1, 2)).batch(2));
    for t in [i64::MIN, i64::MAX, 1 << 40, -(1 << 29)] {
        let allowed = "must have a shift that leaves both sides of the band (lower 1, upper 2) within ±2^28";
        for (op, error) in [
            ("banded_shift_rows", banded_shift_rows(&a, t)),
            ("banded_shift_cols", banded_shift_cols(&a, t)),
            ("banded_shift_band", banded_shift_band(&a, t)),
            ("banded_shift_rows_backward", banded_shift_rows_backward(&a, t, &a)),
            ("banded_shift_cols_backward", banded_shift_cols_backward(&a, t, &a)),
            ("banded_shift_band_backward", banded_shift_band_backward(&a, t, &a)),
        ] {
            assert_eq!(error.unwrap_err().to_string(), format!("{op}: t has {t}, {allowed}"));
        }
    }
    assert!(banded_shift_rows(&a, (1 << 28) - 2).unwrap().read().unwrap().iter().all(|value| *value == 0.0));

    let other = |batch, rows, cols| banded(&cpu, 1, BandedShape::new(rows, cols, band(1, 1)).batch(batch));
    let message = |g: &Banded| banded_resize_backward(&a, g).unwrap_err().to_string();
    assert_eq!(message(&other(3, 4, 5)), "banded_resize_backward: g has batch 3, must have batch 2 (the batch of a)");
    assert_eq!(message(&other(2, 3, 5)), "banded_resize_backward: g has rows 3, must have rows 4 (the rows of a)");
    assert_eq!(message(&other(2, 4, 6)), "banded_resize_backward: g has columns 6, must have columns 5 (the columns of a)");
    let d = dense(&cpu, 1, DenseShape::new(4, 4).batch(2));
    assert_eq!(
        banded_to_dense_backward(&a, &d).unwrap_err().to_string(),
        "banded_to_dense_backward: g has columns 4, must have columns 5 (the columns of a)"
    );
    assert_eq!(
        banded_from_dense_backward(&d, &a).unwrap_err().to_string(),
        "banded_from_dense_backward: g has columns 5, must have columns 4 (the columns of d)"
    );

    let index = banded(&cpu, 1, BandedShape::new(4, 5, band(1, 2)).dtype(Dtype::U32));
    assert_eq!(
        banded_resize(&index, band(0, 0)).unwrap_err().to_string(),
        "banded_resize: a has dtype u32, must have dtype f32, f16 or bf16"
    );
    let index = dense(&cpu, 1, DenseShape::new(4, 5).dtype(Dtype::U32));
    let from = banded_from_dense(&index, band(0, 0), Layout::Rows, 0.0).unwrap_err().to_string();
    assert_eq!(from, "banded_from_dense: d has dtype u32, must have dtype f32, f16 or bf16");
    assert_eq!(find_band(&index).unwrap_err().to_string(), "find_band: d has dtype u32, must have dtype f32, f16 or bf16");
    assert_eq!(
        banded_resize(&a, band(1 << 28, 1 << 28)).unwrap_err().to_string(),
        "banded_resize: the number of stored values of one matrix is 2147483652, the limit of 32-bit indices is 2147483647"
    );

    for device in devices().iter().skip(1) {
        let far = banded(device, 1, a.shape());
        assert_eq!(
            banded_resize_backward(&a, &far).unwrap_err().to_string(),
            format!("banded_resize_backward: g is on {device}, must be on cpu like the first operand")
        );
    }
}
