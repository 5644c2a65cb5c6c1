//! Products, dense and banded.

use bandsaw::{
    Result, WindowAttention, banded_matmul, banded_matmul_band, banded_matmul_dense, banded_matmul_index, banded_matvec, semiring_matmul,
    semiring_matmul_index, window_attention, window_matmul,
};

use super::{Arguments, Call, Group, Kind, LOWER, Operation, Origin, Parameter, RING, SEED, UPPER, banded, choice, dense, integer, text};
use crate::app::Matrix;

const PRODUCT: Operation = Operation {
    name: "",
    title: "",
    formula: "",
    group: Group::Products,
    inputs: &[banded("A"), banded("B")],
    parameters: &[RING, SEED],
    result: Kind::Banded,
    origin: Origin::Product,
    square: true,
    run: |x| Ok(Matrix::Banded(banded_matmul(x.banded(0)?, x.banded(1)?, x.ring()?)?)),
    code: |x| x.own(&[x.ring()]),
};

pub const WINDOW: [Parameter; 8] = [
    LOWER,
    UPPER,
    integer("dilation", 1, 1, 16),
    integer("offset", 0, -64, 64),
    text("global", ""),
    integer("heads", 1, 1, 16),
    integer("kv heads", 1, 1, 16),
    text("lengths", ""),
];

/// Who attends to whom in a step of windowed attention.
pub fn window(x: &Arguments<'_>) -> Result<WindowAttention> {
    let [global, lengths] = [x.places("global")?, x.places("lengths")?];
    let window = WindowAttention::new(x.band()?).dilation(x.size("dilation")?).offset(x.integer("offset")?).global(global);
    let window = window.heads(x.size("heads")?, x.size("kv heads")?);
    Ok(if lengths.is_empty() { window } else { window.lengths(lengths) })
}

pub fn window_code(x: &Call<'_>) -> String {
    let [global, lengths] = ["global", "lengths"].map(|name| {
        let words: Vec<&str> = x.text(name).split([',', ' ']).filter(|word| !word.is_empty()).collect();
        if words.is_empty() { String::new() } else { format!(".{name}([{}])", words.join(", ")) }
    });
    let heads = [x.integer("heads"), x.integer("kv heads")];
    let heads = if heads == ["1", "1"] { String::new() } else { format!(".heads({}, {})", heads[0], heads[1]) };
    let more = [("dilation", "1"), ("offset", "0")].map(|(name, usual)| match x.integer(name) {
        value if value == usual => String::new(),
        value => format!(".{name}({value})"),
    });
    format!("&WindowAttention::new({}){}{heads}{lengths}{global}", x.band(), more.concat())
}

const INDEX: super::Parameter = choice("semiring", &["max", "prodmax", "sample"]);

pub const ALL: &[Operation] = &[
    Operation { name: "banded_matmul", title: "A · B", formula: "C[i,j] = ⊕ A[i,p] ⊗ B[p,j] over p", ..PRODUCT },
    Operation {
        name: "banded_matmul_band",
        title: "A · B in a band",
        formula: "C[i,j] = ⊕ A[i,p] ⊗ B[p,j] over p, only in the band given",
        parameters: &[LOWER, UPPER, RING, SEED],
        run: |x| Ok(Matrix::Banded(banded_matmul_band(x.banded(0)?, x.banded(1)?, x.ring()?, x.band()?)?)),
        code: |x| x.own(&[x.ring(), x.band()]),
        ..PRODUCT
    },
    Operation {
        name: "banded_matmul_index",
        title: "Index of A · B",
        formula: "the p that makes C[i,j]",
        parameters: &[INDEX, SEED],
        origin: Origin::Index,
        run: |x| Ok(Matrix::Banded(banded_matmul_index(x.banded(0)?, x.banded(1)?, x.ring()?)?)),
        code: |x| x.own(&[x.ring()]),
        ..PRODUCT
    },
    Operation {
        name: "banded_matmul_dense",
        title: "A · V, V dense",
        formula: "O[i,d] = ⊕ A[i,j] ⊗ V[j,d] over j",
        inputs: &[banded("A"), dense("V")],
        result: Kind::Dense,
        square: false,
        run: |x| Ok(Matrix::Dense(banded_matmul_dense(x.banded(0)?, x.dense(1)?, x.ring()?)?)),
        ..PRODUCT
    },
    Operation {
        name: "banded_matvec",
        title: "A · x",
        formula: "y[i] = Σ A[i,j] · x[j] over j; x has one column",
        inputs: &[banded("A"), dense("x")],
        parameters: &[],
        result: Kind::Dense,
        square: false,
        run: |x| Ok(Matrix::Dense(banded_matvec(x.banded(0)?, x.dense(1)?)?)),
        code: |x| x.own(&[]),
        ..PRODUCT
    },
    Operation {
        name: "window_matmul",
        title: "Q · K.t() in a window",
        formula: "A[i,j] = Σ Q[i,d] · K[j,d] over d, in the band given",
        inputs: &[dense("Q"), dense("K")],
        parameters: &[LOWER, UPPER],
        origin: Origin::Rows,
        square: false,
        run: |x| Ok(Matrix::Banded(window_matmul(x.dense(0)?, x.dense(1)?, x.band()?)?)),
        code: |x| x.own(&[x.band()]),
        ..PRODUCT
    },
    Operation {
        name: "window_attention",
        title: "Window attention",
        formula: "O = softmax(Q · K.t() / √d) · V over the keys in the window",
        inputs: &[dense("Q"), dense("K"), dense("V")],
        parameters: &WINDOW,
        result: Kind::Dense,
        origin: Origin::Attention,
        square: false,
        run: |x| Ok(Matrix::Dense(window_attention(x.dense(0)?, x.dense(1)?, x.dense(2)?, &window(x)?)?.0)),
        code: |x| format!("{}.0", x.own(&[window_code(x)])),
        ..PRODUCT
    },
    Operation {
        name: "semiring_matmul",
        title: "A · B, both dense",
        formula: "C[i,j] = ⊕ A[i,p] ⊗ B[p,j] over p",
        inputs: &[dense("A"), dense("B")],
        result: Kind::Dense,
        run: |x| Ok(Matrix::Dense(semiring_matmul(x.dense(0)?, x.dense(1)?, x.ring()?)?)),
        ..PRODUCT
    },
    Operation {
        name: "semiring_matmul_index",
        title: "Index of A · B, both dense",
        formula: "the p that makes C[i,j]",
        inputs: &[dense("A"), dense("B")],
        parameters: &[INDEX, SEED],
        result: Kind::Dense,
        origin: Origin::Index,
        run: |x| Ok(Matrix::Dense(semiring_matmul_index(x.dense(0)?, x.dense(1)?, x.ring()?)?)),
        code: |x| x.own(&[x.ring()]),
        ..PRODUCT
    },
];
