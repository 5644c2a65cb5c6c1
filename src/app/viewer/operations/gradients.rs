//! Gradients: by one operand, given the gradient of the result.

use bandsaw::{
    Semiring, banded_from_dense_backward, banded_map_backward, banded_matmul, banded_matmul_backward, banded_matmul_dense,
    banded_matmul_dense_backward, banded_matmul_double_backward, banded_matvec_backward, banded_resize_backward,
    banded_shift_band_backward, banded_shift_cols_backward, banded_shift_rows_backward, banded_softmax_backward, banded_to_dense_backward,
    banded_zip_backward, semiring_matmul, semiring_matmul_backward, semiring_matmul_double_backward, window_attention,
    window_attention_backward, window_matmul_backward,
};

use super::products::{WINDOW, window, window_code};
use super::{Call, Group, Kind, Operation, Origin, Parameter, SHIFT, banded, choice, dense, gradient, real, text};
use crate::app::Matrix;

const RING: Parameter = choice("semiring", &["sum", "log", "max", "prodmax"]);
const ATTENTION: &[Parameter] =
    &[choice("by", &["Q", "K", "V"]), WINDOW[0], WINDOW[1], WINDOW[2], WINDOW[3], WINDOW[4], WINDOW[5], WINDOW[6], WINDOW[7]];
const BY_AB: Parameter = choice("by", &["A", "B"]);

const SECOND: Origin = gradient(&Origin::Gradient { of: &Origin::Product, by: None }, None);

const GRADIENT: Operation = Operation {
    name: "",
    title: "",
    formula: "",
    group: Group::Gradients,
    inputs: &[banded("A"), banded("B"), banded("G")],
    parameters: &[BY_AB, RING],
    result: Kind::Banded,
    origin: gradient(&Origin::Product, None),
    square: false,
    run: |x| {
        let (a, b, g, ring) = (x.banded(0)?, x.banded(1)?, x.banded(2)?, x.ring()?);
        let (ga, gb) = banded_matmul_backward(a, b, &banded_matmul(a, b, ring)?, g, ring)?;
        Ok(Matrix::Banded(if x.text("by")? == "A" { ga } else { gb }))
    },
    code: |x| of_product(x, "banded_matmul"),
};

/// A product's gradient needs the product, which is computed again.
fn of_product(x: &Call<'_>, product: &str) -> String {
    let (a, b, g, ring) = (x.input(0), x.input(1), x.input(2), x.ring());
    format!("{product}_backward(&{a}, &{b}, &{product}(&{a}, &{b}, {ring})?, &{g}, {ring})?{}", part(x))
}

/// Which of the two gradients.
fn part(x: &Call<'_>) -> &'static str {
    if matches!(x.text("by"), "B" | "V" | "x" | "K") { ".1" } else { ".0" }
}

/// The second derivative over log: inputs A, B, G and the cotangents of both gradients.
fn double(x: &Call<'_>, product: &str) -> String {
    let [a, b, g, va, vb] = [0, 1, 2, 3, 4].map(|n| x.input(n));
    let all = format!("{product}_double_backward(&{a}, &{b}, &{product}(&{a}, &{b}, Semiring::Log)?, &{g}, &{va}, &{vb})?");
    match x.text("by") {
        "B" => format!("{all}.1"),
        "G" => format!("{all}.2"),
        _ => format!("{all}.0"),
    }
}

pub const ALL: &[Operation] = &[
    Operation { name: "banded_matmul_backward", title: "Gradient of A · B", formula: "by A or B, G the gradient of A · B", ..GRADIENT },
    Operation {
        name: "banded_matmul_double_backward",
        title: "Second derivative of A · B over log",
        formula: "by A, B or G, with cotangents VA and VB of the gradients",
        inputs: &[banded("A"), banded("B"), banded("G"), banded("VA"), banded("VB")],
        parameters: &[choice("by", &["A", "B", "G"])],
        origin: SECOND,
        run: |x| {
            let (a, b, g) = (x.banded(0)?, x.banded(1)?, x.banded(2)?);
            let c = banded_matmul(a, b, Semiring::Log)?;
            let (by_a, by_b, by_g) = banded_matmul_double_backward(a, b, &c, g, x.banded(3)?, x.banded(4)?)?;
            Ok(Matrix::Banded(match x.text("by")? {
                "B" => by_b,
                "G" => by_g,
                _ => by_a,
            }))
        },
        code: |x| double(x, "banded_matmul"),
        ..GRADIENT
    },
    Operation {
        name: "banded_matmul_dense_backward_a",
        title: "Gradient of A · V by A",
        formula: "G the gradient of A · V",
        inputs: &[banded("A"), dense("V"), dense("G")],
        parameters: &[RING],
        origin: gradient(&Origin::Product, Some(0)),
        run: |x| {
            let (a, v, g, ring) = (x.banded(0)?, x.dense(1)?, x.dense(2)?, x.ring()?);
            Ok(Matrix::Banded(banded_matmul_dense_backward(a, v, &banded_matmul_dense(a, v, ring)?, g, ring)?.0))
        },
        code: |x| of_product(x, "banded_matmul_dense"),
        ..GRADIENT
    },
    Operation {
        name: "banded_matmul_dense_backward_v",
        title: "Gradient of A · V by V",
        formula: "G the gradient of A · V",
        inputs: &[banded("A"), dense("V"), dense("G")],
        parameters: &[RING],
        result: Kind::Dense,
        origin: gradient(&Origin::Product, Some(1)),
        run: |x| {
            let (a, v, g, ring) = (x.banded(0)?, x.dense(1)?, x.dense(2)?, x.ring()?);
            Ok(Matrix::Dense(banded_matmul_dense_backward(a, v, &banded_matmul_dense(a, v, ring)?, g, ring)?.1))
        },
        code: |x| of_product(x, "banded_matmul_dense").trim_end_matches('0').to_owned() + "1",
        ..GRADIENT
    },
    Operation {
        name: "banded_matvec_backward_a",
        title: "Gradient of A · x by A",
        formula: "G the gradient of A · x, one column",
        inputs: &[banded("A"), dense("x"), dense("G")],
        parameters: &[],
        origin: gradient(&Origin::Product, Some(0)),
        run: |x| Ok(Matrix::Banded(banded_matvec_backward(x.banded(0)?, x.dense(1)?, x.dense(2)?)?.0)),
        code: |x| x.function("banded_matvec_backward", &[]) + ".0",
        ..GRADIENT
    },
    Operation {
        name: "banded_matvec_backward_x",
        title: "Gradient of A · x by x",
        formula: "G the gradient of A · x, one column",
        inputs: &[banded("A"), dense("x"), dense("G")],
        parameters: &[],
        result: Kind::Dense,
        origin: gradient(&Origin::Product, Some(1)),
        run: |x| Ok(Matrix::Dense(banded_matvec_backward(x.banded(0)?, x.dense(1)?, x.dense(2)?)?.1)),
        code: |x| x.function("banded_matvec_backward", &[]) + ".1",
        ..GRADIENT
    },
    Operation {
        name: "window_matmul_backward",
        title: "Gradient of Q · K.t()",
        formula: "by Q or K, G the gradient of the window",
        inputs: &[dense("Q"), dense("K"), banded("G")],
        parameters: &[choice("by", &["Q", "K"])],
        result: Kind::Dense,
        origin: gradient(&Origin::Rows, None),
        run: |x| {
            let (gq, gk) = window_matmul_backward(x.dense(0)?, x.dense(1)?, x.banded(2)?)?;
            Ok(Matrix::Dense(if x.text("by")? == "K" { gk } else { gq }))
        },
        code: |x| x.own(&[]) + part(x),
        ..GRADIENT
    },
    Operation {
        name: "window_attention_backward",
        title: "Gradient of window attention",
        formula: "by Q, K or V, G the gradient of the result",
        inputs: &[dense("Q"), dense("K"), dense("V"), dense("G")],
        parameters: ATTENTION,
        result: Kind::Dense,
        origin: gradient(&Origin::Attention, None),
        run: |x| {
            let (q, k, v, options) = (x.dense(0)?, x.dense(1)?, x.dense(2)?, window(x)?);
            let (out, lse) = window_attention(q, k, v, &options)?;
            let (by_q, by_k, by_v) = window_attention_backward(q, k, v, &out, &lse, x.dense(3)?, &options)?;
            Ok(Matrix::Dense(match x.text("by")? {
                "K" => by_k,
                "V" => by_v,
                _ => by_q,
            }))
        },
        code: |x| {
            let ([q, k, v, g], options) = ([0, 1, 2, 3].map(|n| x.input(n)), window_code(x));
            let part = ["Q", "K", "V"].iter().position(|name| *name == x.text("by")).unwrap_or(0);
            format!(
                "{{ let (out, lse) = window_attention(&{q}, &{k}, &{v}, {options})?; \
                 window_attention_backward(&{q}, &{k}, &{v}, &out, &lse, &{g}, {options})?.{part} }}"
            )
        },
        ..GRADIENT
    },
    Operation {
        name: "semiring_matmul_backward",
        title: "Gradient of A · B, both dense",
        formula: "by A or B, G the gradient of A · B",
        inputs: &[dense("A"), dense("B"), dense("G")],
        result: Kind::Dense,
        run: |x| {
            let (a, b, g, ring) = (x.dense(0)?, x.dense(1)?, x.dense(2)?, x.ring()?);
            let (ga, gb) = semiring_matmul_backward(a, b, &semiring_matmul(a, b, ring)?, g, ring)?;
            Ok(Matrix::Dense(if x.text("by")? == "A" { ga } else { gb }))
        },
        code: |x| of_product(x, "semiring_matmul"),
        ..GRADIENT
    },
    Operation {
        name: "semiring_matmul_double_backward",
        title: "Second derivative of A · B over log, both dense",
        formula: "by A, B or G, with cotangents VA and VB of the gradients",
        inputs: &[dense("A"), dense("B"), dense("G"), dense("VA"), dense("VB")],
        parameters: &[choice("by", &["A", "B", "G"])],
        result: Kind::Dense,
        origin: SECOND,
        run: |x| {
            let (a, b, g) = (x.dense(0)?, x.dense(1)?, x.dense(2)?);
            let c = semiring_matmul(a, b, Semiring::Log)?;
            let (by_a, by_b, by_g) = semiring_matmul_double_backward(a, b, &c, g, x.dense(3)?, x.dense(4)?)?;
            Ok(Matrix::Dense(match x.text("by")? {
                "B" => by_b,
                "G" => by_g,
                _ => by_a,
            }))
        },
        code: |x| double(x, "semiring_matmul"),
        ..GRADIENT
    },
    Operation {
        name: "banded_zip_backward",
        title: "Gradient of f(A, B)",
        formula: "by A or B, G the gradient of f(A, B)",
        parameters: &[BY_AB, text("f", "a * b")],
        origin: Origin::Same,
        run: |x| {
            let (ga, gb) = banded_zip_backward(x.banded(0)?, x.banded(1)?, &x.expression()?, x.banded(2)?)?;
            Ok(Matrix::Banded(if x.text("by")? == "A" { ga } else { gb }))
        },
        code: |x| format!("banded_zip_backward(&{}, &{}, {}, &{})?{}", x.input(0), x.input(1), x.expression(), x.input(2), part(x)),
        ..GRADIENT
    },
    Operation {
        name: "banded_map_backward",
        title: "Gradient of f(A)",
        formula: "G the gradient of f(A)",
        inputs: &[banded("A"), banded("G")],
        parameters: &[text("f", "exp(a)")],
        origin: Origin::Same,
        run: |x| Ok(Matrix::Banded(banded_map_backward(x.banded(0)?, &x.expression()?, x.banded(1)?)?)),
        code: |x| format!("banded_map_backward(&{}, {}, &{})?", x.input(0), x.expression(), x.input(1)),
        ..GRADIENT
    },
    Operation {
        name: "banded_softmax_backward",
        title: "Gradient of the softmax",
        formula: "P the softmax, G its gradient",
        inputs: &[banded("P"), banded("G")],
        parameters: &[real("scale", 1.0, 0.0, 10.0)],
        origin: gradient(&Origin::Softmax, None),
        run: |x| Ok(Matrix::Banded(banded_softmax_backward(x.banded(0)?, x.banded(1)?, x.real("scale")?)?)),
        code: |x| x.own(&[x.real("scale")]),
        ..GRADIENT
    },
    Operation {
        name: "banded_resize_backward",
        title: "Gradient of the resize",
        formula: "G the gradient of the resized matrix",
        inputs: &[banded("A"), banded("G")],
        parameters: &[],
        origin: Origin::Same,
        run: |x| Ok(Matrix::Banded(banded_resize_backward(x.banded(0)?, x.banded(1)?)?)),
        code: |x| x.own(&[]),
        ..GRADIENT
    },
    Operation {
        name: "banded_shift_rows_backward",
        title: "Gradient of the row shift",
        formula: "G the gradient of the shifted matrix",
        inputs: &[banded("A"), banded("G")],
        parameters: &[SHIFT],
        origin: gradient(&Origin::ShiftRows, None),
        run: |x| Ok(Matrix::Banded(banded_shift_rows_backward(x.banded(0)?, x.integer("t")?, x.banded(1)?)?)),
        code: |x| format!("banded_shift_rows_backward(&{}, {}, &{})?", x.input(0), x.integer("t"), x.input(1)),
        ..GRADIENT
    },
    Operation {
        name: "banded_shift_cols_backward",
        title: "Gradient of the column shift",
        formula: "G the gradient of the shifted matrix",
        inputs: &[banded("A"), banded("G")],
        parameters: &[SHIFT],
        origin: gradient(&Origin::ShiftCols, None),
        run: |x| Ok(Matrix::Banded(banded_shift_cols_backward(x.banded(0)?, x.integer("t")?, x.banded(1)?)?)),
        code: |x| format!("banded_shift_cols_backward(&{}, {}, &{})?", x.input(0), x.integer("t"), x.input(1)),
        ..GRADIENT
    },
    Operation {
        name: "banded_shift_band_backward",
        title: "Gradient of the band shift",
        formula: "G the gradient of the shifted matrix",
        inputs: &[banded("A"), banded("G")],
        parameters: &[SHIFT],
        origin: gradient(&Origin::ShiftBand, None),
        run: |x| Ok(Matrix::Banded(banded_shift_band_backward(x.banded(0)?, x.integer("t")?, x.banded(1)?)?)),
        code: |x| format!("banded_shift_band_backward(&{}, {}, &{})?", x.input(0), x.integer("t"), x.input(1)),
        ..GRADIENT
    },
    Operation {
        name: "banded_to_dense_backward",
        title: "Gradient of to dense",
        formula: "G the gradient of the dense matrix",
        inputs: &[banded("A"), dense("G")],
        parameters: &[],
        origin: Origin::Same,
        run: |x| Ok(Matrix::Banded(banded_to_dense_backward(x.banded(0)?, x.dense(1)?)?)),
        code: |x| x.own(&[]),
        ..GRADIENT
    },
    Operation {
        name: "banded_from_dense_backward",
        title: "Gradient of from dense",
        formula: "G the gradient of the band matrix",
        inputs: &[dense("D"), banded("G")],
        parameters: &[],
        result: Kind::Dense,
        origin: Origin::Same,
        run: |x| Ok(Matrix::Dense(banded_from_dense_backward(x.dense(0)?, x.banded(1)?)?)),
        code: |x| x.own(&[]),
        ..GRADIENT
    },
];
