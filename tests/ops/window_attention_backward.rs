//! `window_attention_backward`: beside its agreement with the definition, which is tested with the
//! forward pass, that it is the gradient at all, and what it refuses.

use bandsaw::*;

use super::window_attention::window;
use crate::common::attention::{Case, Values, Want};
use crate::common::full::Full;
use crate::common::{Tested, devices, with_interpreter};

/// What is derived by hand agrees with differences of Σ grad · out.
#[test]
fn gradients_match_differences() {
    let options = window(4, 2).heads(2, 1).dilation(2).global([3]).offset(1).lengths([11]);
    let case = Case::new("differences", [9, 12, 4, 3], options);
    let (cpu, values) = (Device::cpu(), case.operands().values());
    let upload = |full: &Full| {
        let shape = DenseShape::new(full.rows, full.cols).batch(full.batch);
        Dense::from_fn(&cpu, shape, |b, i, j| full.at(b, i, j) as f32).unwrap()
    };
    let [q, k, v, grad] = [&values.q, &values.k, &values.v, &values.grad].map(upload);
    let (out, lse) = window_attention(&q, &k, &v, &case.options).unwrap();
    let (dq, dk, dv) = window_attention_backward(&q, &k, &v, &out, &lse, &grad, &case.options).unwrap();
    let loss = |values: &Values| {
        Want::new(&case, values, false).out.values.iter().zip(&values.grad.values).map(|((out, _), g)| out * g).sum::<f64>()
    };
    let h = 1e-5;
    type Pick = fn(&mut Values) -> &mut Full;
    let operands: [(Pick, Dense); 3] = [(|all| &mut all.q, dq), (|all| &mut all.k, dk), (|all| &mut all.v, dv)];
    for (operand, (pick, got)) in operands.into_iter().enumerate() {
        for (at, got) in got.read().unwrap().into_iter().enumerate() {
            let moved = |by: f64| {
                let mut values = values.clone();
                pick(&mut values).values[at] += by;
                loss(&values)
            };
            let slope = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((f64::from(got) - slope).abs() < 1e-5, "operand {operand} at {at}: {got}, by differences {slope}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for tested in devices() {
        let make = |batch, rows, cols, dtype| {
            Dense::from_fn(&tested.device, DenseShape::new(rows, cols).batch(batch).dtype(dtype), |_, _, _| 1.0).unwrap()
        };
        let (q, k, v) = (make(2, 5, 4, Dtype::F32), make(2, 6, 4, Dtype::F32), make(2, 6, 3, Dtype::F32));
        let options = window(1, 1);
        let (out, lse) = window_attention(&q, &k, &v, &options).unwrap();
        let refused = |out: &Dense, lse: &Dense, grad: &Dense, text: &str| {
            let error = window_attention_backward(&q, &k, &v, out, lse, grad, &options).unwrap_err().to_string();
            assert_eq!(error, format!("window_attention_backward: {text}"));
        };
        refused(&make(2, 6, 3, Dtype::F32), &lse, &out, "out has rows 6, must have rows 5 (the rows of q)");
        refused(&out, &make(1, 5, 1, Dtype::F32), &out, "lse has batch 1, must have batch 2 (the batch of q)");
        refused(&out, &make(2, 5, 2, Dtype::F32), &out, "lse has columns 2, must have columns 1 (one for each row)");
        refused(&out, &make(2, 5, 1, Dtype::F16), &out, "lse has dtype f16, must have dtype f32 (always)");
        refused(&out, &lse, &make(2, 5, 4, Dtype::F32), "grad_out has columns 4, must have columns 3 (the columns of v)");
        refused(&out, &lse, &make(2, 5, 3, Dtype::F16), "grad_out has dtype f16, must have dtype f32 (the dtype of q)");
        let error = window_attention_backward(&q, &k, &v, &out, &lse, &out, &window(1, 1).dilation(0)).unwrap_err().to_string();
        assert_eq!(error, "window_attention_backward: options has dilation 0, must have a dilation of 1 to 2^28");
        if tested.info.id != "cpu" {
            let far = Dense::from_fn(&Device::cpu(), out.shape(), |_, _, _| 0.0).unwrap();
            refused(&out, &lse, &far, &format!("grad_out is on cpu, must be on {} like the first operand", tested.device));
        }
    }
}

/// Keys beyond a matrix's length are met by no query, whatever these hold.
#[test]
fn padding_has_no_gradient() {
    for Tested { device, label, .. } in with_interpreter() {
        let dense = |values: [f32; 4]| Dense::from_slice(device, DenseShape::new(4, 1), &values).unwrap();
        let options = WindowAttention::new(Band::window(1).unwrap()).lengths([2]);
        for spoilt in 0..2 {
            let pick = |n, values: [f32; 4]| if n == spoilt { [values[0], values[1], f32::NAN, values[3]] } else { values };
            let (q, k, v) = (dense(pick(0, [0.0, 1.0, 2.0, 3.0])), dense([0.0, 1.0, 2.0, 3.0]), dense([0.0, 1.0, 2.0, 3.0]));
            let g = dense(pick(1, [0.0, 1.0, 2.0, 3.0]));
            let (out, stats) = window_attention(&q, &k, &v, &options).unwrap();
            let (_, dk, dv) = window_attention_backward(&q, &k, &v, &out, &stats, &g, &options).unwrap();
            for (what, gradient) in [("k", dk), ("v", dv)] {
                let found = gradient.read().unwrap();
                assert_eq!(found[2..], [0.0, 0.0], "{label}: {what}, NaN in {spoilt}: {found:?}");
            }
        }
    }
}
