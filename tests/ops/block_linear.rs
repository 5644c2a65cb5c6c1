//! Layers: product, bias and activation in one, and their gradients.

use bandsaw::{
    Activation, BlockPattern, BlockSparse, Dense, DenseShape, Device, Dtype, Layout, Semiring, block_linear, block_linear_backward,
};

use crate::{
    Bound, Full, assert_product, check_value, dense, devices, devices_and_halves, full, full_dense, sparse, stacked, sum, with_interpreter,
};

const ACTIVATIONS: [Activation; 3] = [Activation::None, Activation::Relu, Activation::Gelu];

fn normal(z: f64) -> f64 {
    0.5 * libm::erfc(-z / 2f64.sqrt())
}

fn activate(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Gelu if z == f64::NEG_INFINITY => 0.0,
        Activation::Gelu => z * normal(z),
        _ => z,
    }
}

fn slope(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Gelu => normal(z) + z * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        _ => 1.0,
    }
}

/// The sums before the activation, with the bounds on their errors.
fn sums(x: &Full, w: &Full, bias: &Full) -> Vec<(f64, Bound)> {
    let one = |n: usize| {
        let (t, o) = (n / w.rows, n % w.rows);
        let terms = (0..x.cols).map(|k| (x.get(t, k), w.get(o, k)));
        sum(terms.chain([(Some(1.0), bias.get(0, o))]))
    };
    (0..x.rows * w.rows).map(one).collect()
}

/// GELU's steepest slope is 1.13; Φ itself is right to 2e-7 (the formula's error, and what f32 rounds).
fn bound_of(activation: Activation, z: f64, bound: Bound, dtype: Dtype) -> f64 {
    let sum = bound.of(Semiring::Sum, z, Dtype::F32);
    let own = if activation == Activation::Gelu { 0.13 * sum + 4e-7 * z.abs() } else { 0.0 };
    let narrowing = if dtype == Dtype::F16 { z.abs() / 2048.0 + 3e-8 } else { 0.0 };
    sum + own + narrowing
}

#[test]
fn the_epilogue_is_bias_and_activation() {
    for tested in devices() {
        for (activation, block, tokens) in ACTIVATIONS.into_iter().flat_map(|a| [(a, [16, 8], 20), (a, [4, 4], 20), (a, [15, 9], 3)]) {
            let what = format!("{} {activation:?} {block:?}", tested.label);
            let pattern = BlockPattern::random([40, 30], block, 5, 2).unwrap();
            let w = sparse(&tested.device, &pattern, 1, Layout::Rows);
            let x = dense(&tested.device, 2, DenseShape::new(tokens, 30).batch(2));
            let bias = dense(&tested.device, 3, DenseShape::new(1, 40));
            let y = block_linear(&x, &w, Some(&bias), activation).unwrap();
            let got = stacked(&full_dense(&y), tokens, 40);
            let x = stacked(&full_dense(&x), tokens, 30);
            for (n, (z, bound)) in sums(&x, &full(&w), &full_dense(&bias)[0]).into_iter().enumerate() {
                check_value(got.values[n] as f32, activate(activation, z), bound_of(activation, z, bound.on(&what), Dtype::F32), || {
                    format!("{what}: {n}")
                });
            }
        }
    }
}

/// The same on matrix units, where a device has them.
#[test]
fn the_epilogue_in_pieces_of_16() {
    for (tested, activation) in with_interpreter().flat_map(|tested| ACTIVATIONS.map(|activation| (tested, activation))) {
        let pattern = BlockPattern::random([64, 96], [32, 32], 4, 2).unwrap();
        let w = sparse(&tested.device, &pattern, 1, Layout::Rows).to_dtype(Dtype::F16).unwrap();
        let x = dense(&tested.device, 2, DenseShape::new(70, 96).dtype(Dtype::F16));
        let bias = dense(&tested.device, 3, DenseShape::new(1, 64).dtype(Dtype::F16));
        let y = block_linear(&x, &w, Some(&bias), activation).unwrap();
        let got = &full_dense(&y)[0];
        for (n, (z, bound)) in sums(&full_dense(&x)[0], &full(&w), &full_dense(&bias)[0]).into_iter().enumerate() {
            let allowed = bound_of(activation, z, bound.on(&tested.label), Dtype::F16);
            check_value(got.values[n] as f32, activate(activation, z), allowed, || format!("{} {activation:?}: {n}", tested.label));
        }
    }
}

#[test]
fn gradients_are_those_of_the_parts() {
    for tested in devices() {
        for activation in ACTIVATIONS {
            for (batch, tokens, layout) in [(2, 70, Layout::Rows), (1, 20, Layout::Columns), (0, 5, Layout::Rows)] {
                if layout == Layout::Columns && activation != Activation::Gelu {
                    continue; // each is a kernel of its own to compile
                }
                let what = format!("{} {activation:?} {layout:?}", tested.label);
                let pattern = BlockPattern::random([40, 30], [16, 8], 5, 2).unwrap();
                let w = sparse(&tested.device, &pattern, 1, Layout::Rows);
                let x = dense(&tested.device, 2, DenseShape::new(tokens, 30).batch(batch).layout(layout));
                let bias = dense(&tested.device, 3, DenseShape::new(1, 40));
                let g = dense(&tested.device, 4, DenseShape::new(tokens, 40).batch(batch).layout(layout));
                let y = block_linear(&x, &w, Some(&bias), activation).unwrap();
                let gradients = block_linear_backward(&x, &w, Some(&bias), activation, &y, &g).unwrap();
                assert_eq!((gradients.x.shape().rows, gradients.w.pattern()), (tokens, &pattern));

                let (fx, fw, fb, fg) =
                    (stacked(&full_dense(&x), tokens, 30), full(&w), full_dense(&bias).remove(0), stacked(&full_dense(&g), tokens, 40));
                let z = sums(&fx, &fw, &fb);
                // No sum is so near 0 that rounding could turn ReLU's slope.
                assert!(activation != Activation::Relu || z.iter().all(|(z, bound)| z.abs() > bound.of(Semiring::Sum, *z, Dtype::F32)));
                let gz = Full::new(fg.rows, 40, |t, o| Some(fg.get(t, o)? * slope(activation, z[t * 40 + o].0)));
                // Slopes are right to 3e-6 with all roundings of z; every sum's bound grows by that.
                let close = |what: &str, got: &Full, a: &Full, b: &Full| {
                    for (i, j) in (0..got.rows).flat_map(|i| (0..got.cols).map(move |j| (i, j))) {
                        if let Some(value) = got.get(i, j) {
                            let (want, bound) = sum((0..a.cols).map(|k| (a.get(i, k), b.get(k, j))));
                            let slopes: f64 = (0..a.cols).map(|k| (a.get(i, k).unwrap_or(0.0) * b.get(k, j).unwrap_or(0.0)).abs()).sum();
                            let allowed = bound.on(what).of(Semiring::Sum, want, Dtype::F32) + 3e-6 * (slopes + 1.0);
                            check_value(value as f32, want, allowed, || format!("{what}: [{i}, {j}]"));
                        }
                    }
                };
                close(&format!("{what} x"), &stacked(&full_dense(&gradients.x), tokens, 30), &gz, &fw);
                close(&format!("{what} w"), &full(&gradients.w), &gz.t(), &fx);
                let ones = Full::new(1, fg.rows, |_, _| Some(1.0));
                close(&format!("{what} bias"), &full_dense(gradients.bias.as_ref().unwrap())[0], &ones, &gz);
            }
        }
    }
}

/// The same of halves, on matrix units where a device has them: with slopes of 0 and 1 each gradient is rounded once.
#[test]
fn gradients_of_halves_in_pieces_of_16() {
    for (tested, dtype) in devices_and_halves() {
        for (activation, biased) in [Activation::None, Activation::Relu].into_iter().flat_map(|a| [(a, false), (a, true)]) {
            let what = format!("{} {dtype} {activation:?}", tested.label);
            let pattern = BlockPattern::random([64, 96], [32, 32], 4, 2).unwrap();
            let w = sparse(&tested.device, &pattern, 1, Layout::Rows).to_dtype(dtype).unwrap();
            let half = |seed, rows, cols, batch| dense(&tested.device, seed, DenseShape::new(rows, cols).batch(batch).dtype(dtype));
            let (x, g, bias) = (half(2, 70, 96, 2), half(4, 70, 64, 2), half(3, 1, 64, 1));
            let bias = biased.then_some(&bias);
            let y = block_linear(&x, &w, bias, activation).unwrap();
            let gradients = block_linear_backward(&x, &w, bias, activation, &y, &g).unwrap();
            let (fx, fw, fg) = (stacked(&full_dense(&x), 70, 96), full(&w), stacked(&full_dense(&g), 70, 64));
            let fy = stacked(&full_dense(&y), 70, 64);
            let gz = Full::new(140, 64, |t, o| Some(fg.get(t, o)? * slope(activation, fy.get(t, o)?)));
            assert_eq!((gradients.x.shape(), gradients.w.dtype()), (x.shape(), dtype));
            assert_product(&format!("{what} x"), &stacked(&full_dense(&gradients.x), 70, 96), &gz, &fw, dtype);
            assert_product(&format!("{what} w"), &full(&gradients.w), &gz.t(), &fx, dtype);
            assert_eq!(gradients.bias.is_some(), biased);
            if let Some(gradient) = gradients.bias {
                let ones = Full::new(1, 140, |_, _| Some(1.0));
                assert_product(&format!("{what} bias"), &full_dense(&gradient)[0], &ones, &gz, dtype);
            }
        }
    }
}

/// L = Σ g · act(X · Wᵀ + b) in f64 against the gradients of the CPU backend.
#[test]
fn gradients_match_differences() {
    let cpu = Device::cpu();
    for activation in ACTIVATIONS {
        let pattern = BlockPattern::new([5, 6], [2, 3], &[[0, 0], [1, 1], [2, 0]]).unwrap();
        let w = sparse(&cpu, &pattern, 1, Layout::Rows);
        let (x, bias, g) =
            (dense(&cpu, 2, DenseShape::new(3, 6)), dense(&cpu, 3, DenseShape::new(1, 5)), dense(&cpu, 4, DenseShape::new(3, 5)));
        let y = block_linear(&x, &w, Some(&bias), activation).unwrap();
        let gradients = block_linear_backward(&x, &w, Some(&bias), activation, &y, &g).unwrap();
        let operands = [full_dense(&x).remove(0), full(&w), full_dense(&bias).remove(0)];
        let found = [full_dense(&gradients.x).remove(0), full(&gradients.w), full_dense(&gradients.bias.unwrap()).remove(0)];
        let fg = full_dense(&g).remove(0);
        let loss = |[x, w, bias]: &[Full; 3]| {
            sums(x, w, bias).into_iter().zip(&fg.values).map(|((z, _), g)| g * activate(activation, z)).sum::<f64>()
        };
        let h = 1e-5;
        for (which, found) in found.iter().enumerate() {
            for at in (0..found.values.len()).filter(|at| found.stored[*at]) {
                let (mut up, mut down) = (operands.clone(), operands.clone());
                up[which].values[at] += h;
                down[which].values[at] -= h;
                let slope = (loss(&up) - loss(&down)) / (2.0 * h);
                assert!(
                    (found.values[at] - slope).abs() < 1e-5,
                    "{activation:?}, operand {which} at {at}: {} for {slope}",
                    found.values[at]
                );
            }
        }
    }
}

#[test]
fn special_values_and_halves() {
    for tested in devices() {
        let w =
            BlockSparse::from_fn(&tested.device, &BlockPattern::full([8, 8], [8, 8]).unwrap(), |i, j| f32::from(u8::from(i == j))).unwrap();
        let values = [f32::NAN, f32::INFINITY, -30.0, 30.0, 0.0, -0.5, 4.0, 1e30];
        for activation in ACTIVATIONS {
            // The bias alone, so that no 0 · ∞ of the identity is in the way.
            let x = Dense::from_fn(&tested.device, DenseShape::new(40, 8), |_, _, _| 0.0).unwrap();
            let bias = Dense::from_slice(&tested.device, DenseShape::new(1, 8), &values).unwrap();
            let y = block_linear(&x, &w, Some(&bias), activation).unwrap().read().unwrap();
            for (got, z) in y.into_iter().zip(values.into_iter().cycle()) {
                let want = activate(activation, f64::from(z));
                check_value(got, want, 4e-7 * f64::from(z.abs()), || format!("{} {activation:?} at {z}", tested.label));
            }
        }
        // Infinite sums are so before the activation, too.
        let ones = BlockSparse::from_fn(&tested.device, w.pattern(), |_, _| 1.0).unwrap();
        let x = Dense::from_fn(&tested.device, DenseShape::new(40, 8), |_, t, k| match (t, k) {
            (0, 3) => f32::INFINITY,
            (1, 3) => f32::NEG_INFINITY,
            _ => 1.0,
        });
        let bias = Dense::from_fn(&tested.device, DenseShape::new(1, 8), |_, _, _| 2.0).unwrap();
        let y = block_linear(&x.unwrap(), &ones, Some(&bias), Activation::Relu).unwrap().read().unwrap();
        let want = (0..40 * 8).map(|n| [f32::INFINITY, 0.0].get(n / 8).copied().unwrap_or(10.0));
        assert!(y.iter().copied().eq(want), "{}: {y:?}", tested.label);
        let half = w.to_dtype(Dtype::F16).unwrap();
        let x = dense(&tested.device, 2, DenseShape::new(30, 8).dtype(Dtype::F16));
        let bias = dense(&tested.device, 3, DenseShape::new(1, 8).dtype(Dtype::F16));
        let y = block_linear(&x, &half, Some(&bias), Activation::Gelu).unwrap();
        let z = sums(&full_dense(&x)[0], &full(&half), &full_dense(&bias)[0]);
        for (got, (z, bound)) in full_dense(&y)[0].values.iter().zip(z) {
            let allowed = bound_of(Activation::Gelu, z, bound.on(&tested.label), Dtype::F16);
            check_value(*got as f32, activate(Activation::Gelu, z), allowed, || tested.label.clone());
        }
        let gradients = block_linear_backward(&x, &half, Some(&bias), Activation::Gelu, &y, &y).unwrap();
        let found = (y.shape().dtype, gradients.x.shape().dtype, gradients.w.dtype(), gradients.bias.unwrap().shape().dtype);
        assert_eq!(found, (Dtype::F16, Dtype::F16, Dtype::F16, Dtype::F16));
        assert_product(
            &tested.label,
            &full_dense(&block_linear(&x, &w, None, Activation::None).unwrap())[0],
            &full_dense(&x)[0],
            &full(&w).t(),
            Dtype::F32,
        );
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let cpu = Device::cpu();
    let w = sparse(&cpu, &BlockPattern::full([4, 6], [2, 2]).unwrap(), 1, Layout::Rows);
    let x = |rows, cols| dense(&cpu, 1, DenseShape::new(rows, cols));
    assert_eq!(
        block_linear(&x(3, 4), &w, None, Activation::None).unwrap_err().to_string(),
        "block_linear: x has columns 4, must have columns 6 (the columns of w)"
    );
    assert_eq!(
        block_linear(&x(3, 6), &w, Some(&x(4, 1)), Activation::None).unwrap_err().to_string(),
        "block_linear: bias has shape 1 × 4 × 1, must have shape 1 × 1 × 4 (the rows of w)"
    );
    assert_eq!(
        block_linear_backward(&x(3, 6), &w, None, Activation::Relu, &x(3, 5), &x(3, 4)).unwrap_err().to_string(),
        "block_linear_backward: y has shape 1 × 3 × 5, must have shape 1 × 3 × 4 (that of the product)"
    );
}
