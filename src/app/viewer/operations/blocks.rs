//! What can be done with block-sparse matrices.

use bandsaw::{
    Dense, DenseShape, Result, block_add, block_add_backward, block_from_dense, block_from_dense_by_magnitude, block_linear,
    block_linear_backward, block_matmul, block_matmul_backward, block_matmul_left, block_matmul_left_backward, block_norms, block_prune,
    block_sddmm, block_sddmm_backward, block_select, block_sparse_matmul, block_sparse_matmul_backward, block_to_dense,
};

use super::{Arguments, Call, Group, Kind, Operation, Origin, Parameter, blocks, choice, dense, gradient, integer, real};
use crate::app::Matrix;

const ACTIVATION: Parameter = choice("activation", &["none", "relu", "gelu"]);
const DENSITY: Parameter = real("density", 0.3, 0.0, 1.0);

const OPERATION: Operation = Operation {
    name: "",
    title: "",
    formula: "",
    group: Group::Blocks,
    inputs: &[blocks("A")],
    parameters: &[],
    result: Kind::Blocks,
    origin: Origin::Same,
    square: false,
    run: |x| Ok(Matrix::Blocks(x.blocks(0)?.t())),
    code: |x| x.own(&[]),
};

pub const ALL: &[Operation] = &[
    Operation {
        name: "block_matmul",
        title: "X · W, W block-sparse",
        formula: "Y[t,j] = Σ X[t,k] · W[k,j] over k",
        inputs: &[dense("X"), blocks("W")],
        result: Kind::Dense,
        origin: Origin::Product,
        run: |x| Ok(Matrix::Dense(block_matmul(x.dense(0)?, x.blocks(1)?)?)),
        ..OPERATION
    },
    Operation {
        name: "block_matmul_left",
        title: "W · X, W block-sparse",
        formula: "Y[i,t] = Σ W[i,k] · X[k,t] over k",
        inputs: &[blocks("W"), dense("X")],
        result: Kind::Dense,
        origin: Origin::Product,
        run: |x| Ok(Matrix::Dense(block_matmul_left(x.blocks(0)?, x.dense(1)?)?)),
        ..OPERATION
    },
    Operation {
        name: "block_linear",
        title: "Layer: act(X · W.t())",
        formula: "Y = act(X · W.t()), act none, ReLU or GELU",
        inputs: &[dense("X"), blocks("W")],
        parameters: &[ACTIVATION],
        result: Kind::Dense,
        origin: Origin::Layer,
        run: |x| Ok(Matrix::Dense(block_linear(x.dense(0)?, x.blocks(1)?, None, x.activation()?)?)),
        code: |x| x.own(&["None".into(), x.activation()]),
        ..OPERATION
    },
    Operation {
        name: "block_linear_bias",
        title: "Layer with bias: act(X · W.t() + b)",
        formula: "Y = act(X · W.t() + b), b one row, act none, ReLU or GELU",
        inputs: &[dense("X"), blocks("W"), dense("b")],
        parameters: &[ACTIVATION],
        result: Kind::Dense,
        origin: Origin::Layer,
        run: |x| Ok(Matrix::Dense(block_linear(x.dense(0)?, x.blocks(1)?, Some(x.dense(2)?), x.activation()?)?)),
        code: |x| format!("block_linear(&{}, &{}, Some(&{}), {})?", x.input(0), x.input(1), x.input(2), x.activation()),
        ..OPERATION
    },
    Operation {
        name: "block_sparse_matmul",
        title: "A · B, both block-sparse",
        formula: "C[i,j] = Σ A[i,p] · B[p,j] over p, at every block that is reached",
        inputs: &[blocks("A"), blocks("B")],
        origin: Origin::Product,
        square: true,
        run: |x| Ok(Matrix::Blocks(block_sparse_matmul(x.blocks(0)?, x.blocks(1)?)?)),
        ..OPERATION
    },
    Operation {
        name: "block_sddmm",
        title: "A.t() · B at blocks",
        formula: "C[i,j] = Σ A[t,i] · B[t,j] over t, at the blocks of P",
        inputs: &[dense("A"), dense("B"), blocks("P")],
        origin: Origin::Columns,
        run: |x| Ok(Matrix::Blocks(block_sddmm(x.dense(0)?, x.dense(1)?, x.blocks(2)?.pattern())?)),
        code: |x| of_pattern(x, "block_sddmm", 2),
        ..OPERATION
    },
    Operation {
        name: "block_add",
        title: "A + B, both block-sparse",
        formula: "C[i,j] = A[i,j] + B[i,j] on the union of the blocks",
        inputs: &[blocks("A"), blocks("B")],
        run: |x| Ok(Matrix::Blocks(block_add(x.blocks(0)?, x.blocks(1)?)?)),
        ..OPERATION
    },
    Operation {
        name: "block_transpose",
        title: "Transpose of blocks",
        formula: "C[i,j] = A[j,i], a change of labels",
        origin: Origin::Transposed,
        code: |x| format!("{}.t()", x.input(0)),
        ..OPERATION
    },
    Operation {
        name: "block_select",
        title: "On other blocks",
        formula: "A at the blocks of P, 0 where A has none",
        inputs: &[blocks("A"), blocks("P")],
        origin: Origin::First,
        run: |x| Ok(Matrix::Blocks(block_select(x.blocks(0)?, x.blocks(1)?.pattern())?)),
        code: |x| of_pattern(x, "block_select", 1),
        ..OPERATION
    },
    Operation {
        name: "block_prune",
        title: "Prune",
        formula: "the blocks of largest norm, density of all that the grid has",
        parameters: &[DENSITY],
        run: |x| Ok(Matrix::Blocks(block_prune(x.blocks(0)?, f64::from(x.real("density")?))?)),
        code: |x| x.own(&[x.real("density")]),
        ..OPERATION
    },
    Operation {
        name: "block_norms",
        title: "Norms of the blocks",
        formula: "N[I,J] = the p-norm of block (I, J), 0 where none is stored",
        parameters: &[choice("p", &["2", "1", "inf"])],
        result: Kind::Dense,
        origin: Origin::Norm,
        run: |x| norms(x).map(Matrix::Dense),
        code: |x| {
            let (w, p) = (x.input(0), x.text("p"));
            let p = if p == "inf" { "f32::INFINITY".into() } else { format!("{p}.0") };
            format!(
                "{{ let (norms, pattern) = (block_norms(&{w}, {p})?, {w}.pattern().clone()); let [rows, cols] = pattern.grid(); \
                 Dense::from_fn(&device, DenseShape::new(rows, cols), |_, i, j| pattern.slot(i, j).map_or(0.0, |slot| norms[slot]))? }}"
            )
        },
        ..OPERATION
    },
    Operation {
        name: "block_to_dense",
        title: "Blocks to dense",
        formula: "all entries",
        result: Kind::Dense,
        run: |x| Ok(Matrix::Dense(block_to_dense(x.blocks(0)?)?)),
        ..OPERATION
    },
    Operation {
        name: "block_from_dense",
        title: "Dense at blocks",
        formula: "the entries of D at the blocks of P",
        inputs: &[dense("D"), blocks("P")],
        origin: Origin::First,
        run: |x| Ok(Matrix::Blocks(block_from_dense(x.dense(0)?, x.blocks(1)?.pattern())?)),
        code: |x| of_pattern(x, "block_from_dense", 1),
        ..OPERATION
    },
    Operation {
        name: "block_from_dense_by_magnitude",
        title: "Dense to blocks, by magnitude",
        formula: "the blocks of D of largest norm, density of all",
        inputs: &[dense("D")],
        parameters: &[integer("block rows", 4, 1, 128), integer("block cols", 4, 1, 128), DENSITY],
        run: |x| Ok(Matrix::Blocks(block_from_dense_by_magnitude(x.dense(0)?, x.block()?, f64::from(x.real("density")?))?)),
        code: |x| x.own(&[x.block(), x.real("density")]),
        ..OPERATION
    },
];

const GRADIENT: Operation = Operation { group: Group::Gradients, ..OPERATION };

pub const GRADIENTS: &[Operation] = &[
    Operation {
        name: "block_matmul_backward_x",
        title: "Gradient of X · W by X",
        formula: "G · W.t(), G the gradient of X · W",
        inputs: &[dense("X"), blocks("W"), dense("G")],
        result: Kind::Dense,
        origin: gradient(&Origin::Product, Some(0)),
        run: |x| Ok(Matrix::Dense(block_matmul_backward(x.dense(0)?, x.blocks(1)?, x.dense(2)?)?.0)),
        code: |x| x.function("block_matmul_backward", &[]) + ".0",
        ..GRADIENT
    },
    Operation {
        name: "block_matmul_backward_w",
        title: "Gradient of X · W by W",
        formula: "X.t() · G at the blocks of W, G the gradient of X · W",
        inputs: &[dense("X"), blocks("W"), dense("G")],
        origin: gradient(&Origin::Product, Some(1)),
        run: |x| Ok(Matrix::Blocks(block_matmul_backward(x.dense(0)?, x.blocks(1)?, x.dense(2)?)?.1)),
        code: |x| x.function("block_matmul_backward", &[]) + ".1",
        ..GRADIENT
    },
    Operation {
        name: "block_matmul_left_backward_w",
        title: "Gradient of W · X by W",
        formula: "G · X.t() at the blocks of W, G the gradient of W · X",
        inputs: &[blocks("W"), dense("X"), dense("G")],
        origin: gradient(&Origin::Product, Some(0)),
        run: |x| Ok(Matrix::Blocks(block_matmul_left_backward(x.blocks(0)?, x.dense(1)?, x.dense(2)?)?.0)),
        code: |x| x.function("block_matmul_left_backward", &[]) + ".0",
        ..GRADIENT
    },
    Operation {
        name: "block_matmul_left_backward_x",
        title: "Gradient of W · X by X",
        formula: "W.t() · G, G the gradient of W · X",
        inputs: &[blocks("W"), dense("X"), dense("G")],
        result: Kind::Dense,
        origin: gradient(&Origin::Product, Some(1)),
        run: |x| Ok(Matrix::Dense(block_matmul_left_backward(x.blocks(0)?, x.dense(1)?, x.dense(2)?)?.1)),
        code: |x| x.function("block_matmul_left_backward", &[]) + ".1",
        ..GRADIENT
    },
    Operation {
        name: "block_linear_backward_x",
        title: "Gradient of the layer by X",
        formula: "(G ∘ act′) · W, G the gradient of the layer",
        inputs: &[dense("X"), blocks("W"), dense("G")],
        parameters: &[ACTIVATION],
        result: Kind::Dense,
        origin: gradient(&Origin::Layer, Some(0)),
        run: |x| Ok(Matrix::Dense(layer(x, None, x.dense(2)?)?.x)),
        code: |x| layer_code(x, "None", x.input(2)) + ".x",
        ..GRADIENT
    },
    Operation {
        name: "block_linear_backward_w",
        title: "Gradient of the layer by W",
        formula: "(G ∘ act′).t() · X at the blocks of W, G the gradient of the layer",
        inputs: &[dense("X"), blocks("W"), dense("G")],
        parameters: &[ACTIVATION],
        origin: gradient(&Origin::Layer, Some(1)),
        run: |x| Ok(Matrix::Blocks(layer(x, None, x.dense(2)?)?.w)),
        code: |x| layer_code(x, "None", x.input(2)) + ".w",
        ..GRADIENT
    },
    Operation {
        name: "block_linear_bias_backward",
        title: "Gradient of the layer with bias by X or b",
        formula: "(G ∘ act′) · W, or G ∘ act′ summed over rows",
        inputs: &[dense("X"), blocks("W"), dense("b"), dense("G")],
        parameters: &[choice("by", &["X", "b"]), ACTIVATION],
        result: Kind::Dense,
        origin: gradient(&Origin::Layer, None),
        run: |x| {
            let gradients = layer(x, Some(x.dense(2)?), x.dense(3)?)?;
            Ok(Matrix::Dense(if x.text("by")? == "b" { gradients.bias.unwrap_or(gradients.x) } else { gradients.x }))
        },
        code: |x| {
            let part = if x.text("by") == "b" { ".bias.expect(\"a bias\")" } else { ".x" };
            layer_code(x, &format!("Some(&{})", x.input(2)), x.input(3)) + part
        },
        ..GRADIENT
    },
    Operation {
        name: "block_linear_bias_backward_w",
        title: "Gradient of the layer with bias by W",
        formula: "(G ∘ act′).t() · X at the blocks of W",
        inputs: &[dense("X"), blocks("W"), dense("b"), dense("G")],
        parameters: &[ACTIVATION],
        origin: gradient(&Origin::Layer, Some(1)),
        run: |x| Ok(Matrix::Blocks(layer(x, Some(x.dense(2)?), x.dense(3)?)?.w)),
        code: |x| layer_code(x, &format!("Some(&{})", x.input(2)), x.input(3)) + ".w",
        ..GRADIENT
    },
    Operation {
        name: "block_sparse_matmul_backward",
        title: "Gradient of A · B, both block-sparse",
        formula: "by A or B, at its blocks; G the gradient of A · B",
        inputs: &[blocks("A"), blocks("B"), blocks("G")],
        parameters: &[choice("by", &["A", "B"])],
        origin: gradient(&Origin::Product, None),
        run: |x| {
            let (ga, gb) = block_sparse_matmul_backward(x.blocks(0)?, x.blocks(1)?, x.blocks(2)?)?;
            Ok(Matrix::Blocks(if x.text("by")? == "B" { gb } else { ga }))
        },
        code: |x| x.own(&[]) + part(x),
        ..GRADIENT
    },
    Operation {
        name: "block_sddmm_backward",
        title: "Gradient of A.t() · B at blocks",
        formula: "by A or B, G the gradient at the blocks",
        inputs: &[dense("A"), dense("B"), blocks("G")],
        parameters: &[choice("by", &["A", "B"])],
        result: Kind::Dense,
        origin: gradient(&Origin::Columns, None),
        run: |x| {
            let (ga, gb) = block_sddmm_backward(x.dense(0)?, x.dense(1)?, x.blocks(2)?)?;
            Ok(Matrix::Dense(if x.text("by")? == "B" { gb } else { ga }))
        },
        code: |x| x.own(&[]) + part(x),
        ..GRADIENT
    },
    Operation {
        name: "block_add_backward",
        title: "Gradient of A + B",
        formula: "G at the blocks of A or B, G the gradient of A + B",
        inputs: &[blocks("A"), blocks("B"), blocks("G")],
        parameters: &[choice("by", &["A", "B"])],
        origin: gradient(&Origin::Same, None),
        run: |x| {
            let (ga, gb) = block_add_backward(x.blocks(0)?, x.blocks(1)?, x.blocks(2)?)?;
            Ok(Matrix::Blocks(if x.text("by")? == "B" { gb } else { ga }))
        },
        code: |x| x.own(&[]) + part(x),
        ..GRADIENT
    },
];

/// A function whose operand n is taken for its pattern alone.
fn of_pattern(x: &Call<'_>, name: &str, n: usize) -> String {
    let mut operands: Vec<String> = (0..n).map(|k| format!("&{}", x.input(k))).collect();
    operands.push(format!("{}.pattern()", x.input(n)));
    format!("{name}({})?", operands.join(", "))
}

fn part(x: &Call<'_>) -> &'static str {
    if x.text("by") == "B" { ".1" } else { ".0" }
}

fn norms(x: &Arguments<'_>) -> Result<Dense> {
    let (w, p) = (x.blocks(0)?, x.text("p")?);
    let norms = block_norms(
        w,
        if p == "1" {
            1.0
        } else if p == "inf" {
            f32::INFINITY
        } else {
            2.0
        },
    )?;
    let [rows, cols] = w.pattern().grid();
    Dense::from_fn(x.device, DenseShape::new(rows, cols), |_, i, j| w.pattern().slot(i, j).map_or(0.0, |slot| norms[slot]))
}

fn layer(x: &Arguments<'_>, bias: Option<&Dense>, g: &Dense) -> Result<bandsaw::LinearGradients> {
    let (tokens, w, activation) = (x.dense(0)?, x.blocks(1)?, x.activation()?);
    let y = block_linear(tokens, w, bias, activation)?;
    block_linear_backward(tokens, w, bias, activation, &y, g)
}

/// The layer's result is computed again.
fn layer_code(x: &Call<'_>, bias: &str, g: &str) -> String {
    let (tokens, w, act) = (x.input(0), x.input(1), x.activation());
    format!("block_linear_backward(&{tokens}, &{w}, {bias}, {act}, &block_linear(&{tokens}, &{w}, {bias}, {act})?, &{g})?")
}
