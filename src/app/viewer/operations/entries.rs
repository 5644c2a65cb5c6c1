//! Entry by entry.

use bandsaw::{banded_map, banded_softmax, banded_zip};

use super::{Group, Kind, Operation, Origin, banded, real, text};
use crate::app::Matrix;

pub const ALL: &[Operation] = &[
    Operation {
        name: "banded_zip",
        title: "f(A, B)",
        formula: "C[i,j] = f(A[i,j], B[i,j]) on the union of the bands",
        group: Group::Entries,
        inputs: &[banded("A"), banded("B")],
        parameters: &[text("f", "(a + b) / 2")],
        result: Kind::Banded,
        origin: Origin::Same,
        square: false,
        run: |x| Ok(Matrix::Banded(banded_zip(x.banded(0)?, x.banded(1)?, &x.expression()?)?)),
        code: |x| x.own(&[x.expression()]),
    },
    Operation {
        name: "banded_map",
        title: "f(A)",
        formula: "C[i,j] = f(A[i,j])",
        group: Group::Entries,
        inputs: &[banded("A")],
        parameters: &[text("f", "exp(-3 * a) - 0.5")],
        result: Kind::Banded,
        origin: Origin::Same,
        square: false,
        run: |x| Ok(Matrix::Banded(banded_map(x.banded(0)?, &x.expression()?)?)),
        code: |x| x.own(&[x.expression()]),
    },
    Operation {
        name: "banded_softmax",
        title: "Softmax",
        formula: "softmax(scale · A) over the stored entries of each row",
        group: Group::Entries,
        inputs: &[banded("A")],
        parameters: &[real("scale", 1.0, 0.0, 10.0)],
        result: Kind::Banded,
        origin: Origin::Softmax,
        square: false,
        run: |x| Ok(Matrix::Banded(banded_softmax(x.banded(0)?, x.real("scale")?)?)),
        code: |x| x.own(&[x.real("scale")]),
    },
];
