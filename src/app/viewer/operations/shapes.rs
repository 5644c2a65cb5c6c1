//! Other bands and layouts of the same entries.

use bandsaw::{
    Band, banded_from_dense, banded_relayout, banded_resize, banded_shift_band, banded_shift_cols, banded_shift_rows, banded_to_dense,
    find_band,
};

use super::{FILL, Group, Kind, LAYOUT, LOWER, Operation, Origin, SHIFT, UPPER, banded, choice, dense};
use crate::app::Matrix;

const SHAPE: Operation = Operation {
    name: "",
    title: "",
    formula: "",
    group: Group::Shapes,
    inputs: &[banded("A")],
    parameters: &[],
    result: Kind::Banded,
    origin: Origin::Same,
    square: false,
    run: |x| Ok(Matrix::Banded(x.banded(0)?.t())),
    code: |x| x.own(&[]),
};

pub const ALL: &[Operation] = &[
    Operation {
        name: "transpose",
        title: "Transpose",
        formula: "C[i,j] = A[j,i], a change of labels",
        origin: Origin::Transposed,
        code: |x| format!("{}.t()", x.input(0)),
        ..SHAPE
    },
    Operation {
        name: "banded_resize",
        title: "Resize the band",
        formula: "the same matrix in another band",
        parameters: &[LOWER, UPPER],
        run: |x| Ok(Matrix::Banded(banded_resize(x.banded(0)?, x.band()?)?)),
        code: |x| x.own(&[x.band()]),
        ..SHAPE
    },
    Operation {
        name: "banded_shift_rows",
        title: "Shift rows",
        formula: "C[i,j] = A[i + t, j]",
        parameters: &[SHIFT],
        origin: Origin::ShiftRows,
        run: |x| Ok(Matrix::Banded(banded_shift_rows(x.banded(0)?, x.integer("t")?)?)),
        code: |x| x.own(&[x.integer("t")]),
        ..SHAPE
    },
    Operation {
        name: "banded_shift_cols",
        title: "Shift columns",
        formula: "C[i,j] = A[i, j + t]",
        parameters: &[SHIFT],
        origin: Origin::ShiftCols,
        run: |x| Ok(Matrix::Banded(banded_shift_cols(x.banded(0)?, x.integer("t")?)?)),
        code: |x| x.own(&[x.integer("t")]),
        ..SHAPE
    },
    Operation {
        name: "banded_shift_band",
        title: "Shift the band",
        formula: "slots of the storage move by t",
        parameters: &[SHIFT],
        origin: Origin::ShiftBand,
        run: |x| Ok(Matrix::Banded(banded_shift_band(x.banded(0)?, x.integer("t")?)?)),
        code: |x| x.own(&[x.integer("t")]),
        ..SHAPE
    },
    Operation {
        name: "banded_relayout",
        title: "Other layout",
        formula: "the same matrix, rows or columns contiguous",
        parameters: &[LAYOUT],
        run: |x| Ok(Matrix::Banded(banded_relayout(x.banded(0)?, x.layout()?)?)),
        code: |x| x.own(&[x.layout()]),
        ..SHAPE
    },
    Operation {
        name: "banded_to_dense",
        title: "To dense",
        formula: "all entries",
        result: Kind::Dense,
        run: |x| Ok(Matrix::Dense(banded_to_dense(x.banded(0)?)?)),
        ..SHAPE
    },
    Operation {
        name: "banded_from_dense",
        title: "From dense",
        formula: "the entries of a band",
        inputs: &[dense("D")],
        parameters: &[LOWER, UPPER, LAYOUT, FILL],
        run: |x| Ok(Matrix::Banded(banded_from_dense(x.dense(0)?, x.band()?, x.layout()?, x.fill()?)?)),
        code: |x| x.own(&[x.band(), x.layout(), x.fill()]),
        ..SHAPE
    },
    Operation {
        name: "find_band",
        title: "From dense, band found",
        formula: "the smallest band with all non-zero entries",
        inputs: &[dense("D")],
        parameters: &[choice("layout", &["rows", "columns"])],
        run: |x| {
            let band = find_band(x.dense(0)?)?.map_or_else(|| Band::new(0, 0), Ok)?;
            Ok(Matrix::Banded(banded_from_dense(x.dense(0)?, band, x.layout()?, 0.0)?))
        },
        code: |x| {
            let band = format!("find_band(&{})?.unwrap_or(Band::new(0, 0)?)", x.input(0));
            x.function("banded_from_dense", &[band, x.layout(), "0.0".into()])
        },
        ..SHAPE
    },
];
