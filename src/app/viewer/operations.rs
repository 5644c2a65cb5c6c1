//! Every source and operation that a step can be: one entry each.

mod arguments;
mod block_sources;
mod blocks;
mod entries;
mod gradients;
mod products;
mod shapes;
mod sources;

pub use arguments::{Arguments, Call};
pub use block_sources::{Tensors, of_checkpoint};
pub use products::window;

use bandsaw::Result;

use crate::app::Matrix;

/// What kind of matrix an operand or a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Banded,
    Dense,
    Blocks,
}

impl Kind {
    /// In words: "no band matrix", "a band matrix".
    pub fn name(self) -> &'static str {
        match self {
            Self::Banded => "band matrix",
            Self::Dense => "dense matrix",
            Self::Blocks => "block-sparse matrix",
        }
    }

    /// The library's type.
    pub fn rust(self) -> &'static str {
        match self {
            Self::Banded => "Banded",
            Self::Dense => "Dense",
            Self::Blocks => "BlockSparse",
        }
    }
}

/// Where an operation stands in the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Sources,
    Products,
    Entries,
    Shapes,
    Blocks,
    Gradients,
}

impl Group {
    pub const ALL: [Self; 6] = [Self::Sources, Self::Products, Self::Entries, Self::Shapes, Self::Blocks, Self::Gradients];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sources => "Sources",
            Self::Products => "Products",
            Self::Entries => "Entry by entry",
            Self::Shapes => "Bands and layouts",
            Self::Blocks => "Block-sparse",
            Self::Gradients => "Gradients",
        }
    }
}

/// How a parameter is set; the first number or text is what it starts with.
#[derive(Debug, Clone, Copy)]
pub enum Control {
    /// From low to high; `large` sliders are logarithmic.
    Integer {
        start: i64,
        low: i64,
        high: i64,
        large: bool,
    },
    Real {
        start: f64,
        low: f64,
        high: f64,
    },
    Choice(&'static [&'static str]),
    Text(&'static str),
    /// The path of a matrix file.
    File,
    /// One of the tensors of the checkpoint whose path the step has: the block-sparse ones or the others.
    Tensor {
        sparse: bool,
    },
}

#[derive(Clone, Copy)]
pub struct Parameter {
    pub name: &'static str,
    pub control: Control,
}

pub struct Input {
    pub name: &'static str,
    pub kind: Kind,
}

/// Which entries of the operands an entry of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Of a source: it has no operands.
    None,
    /// The same place.
    Same,
    /// The same place of the first operand; the others say what is stored.
    First,
    /// A row of the first operand and a column of the second.
    Product,
    /// The same; the result is which p makes the entry.
    Index,
    /// A row of the first and a row of the second.
    Rows,
    /// A column of the first and a column of the second.
    Columns,
    /// A row of the first and a row of the second, and the third's entry of that column if there is a third.
    Layer,
    /// What is stored of the row.
    Softmax,
    /// The block of that row and column of blocks.
    Norm,
    /// A row of queries, the keys in its window, and a column of their values.
    Attention,
    /// The place with row and column swapped.
    Transposed,
    /// The place (i + t, j).
    ShiftRows,
    /// The place (i, j + t).
    ShiftCols,
    /// The place that a slot t further holds: (i + 2t, j) or (i, j − 2t).
    ShiftBand,
    /// Of the gradient of such an operation by one operand; `None` is the one that the parameter "by" names. G is
    /// the gradient of the result.
    Gradient { of: &'static Origin, by: Option<usize> },
}

const fn gradient(of: &'static Origin, by: Option<usize>) -> Origin {
    Origin::Gradient { of, by }
}

/// One source or operation.
pub struct Operation {
    /// The library's function; how session files call it.
    pub name: &'static str,
    pub title: &'static str,
    /// What it computes, in one line.
    pub formula: &'static str,
    pub group: Group,
    pub inputs: &'static [Input],
    pub parameters: &'static [Parameter],
    pub result: Kind,
    pub origin: Origin,
    /// Both operands are the same one when the step is new.
    pub square: bool,
    pub run: fn(&Arguments<'_>) -> Result<Matrix>,
    /// The same as a Rust expression.
    pub code: fn(&Call<'_>) -> String,
}

impl Operation {
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
}

/// In menu order.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    [sources::ALL, block_sources::ALL, products::ALL, entries::ALL, shapes::ALL, blocks::ALL, gradients::ALL, blocks::GRADIENTS]
        .into_iter()
        .flatten()
}

pub fn find(name: &str) -> Option<&'static Operation> {
    all().find(|operation| operation.name == name)
}

const fn banded(name: &'static str) -> Input {
    Input { name, kind: Kind::Banded }
}

const fn dense(name: &'static str) -> Input {
    Input { name, kind: Kind::Dense }
}

const fn blocks(name: &'static str) -> Input {
    Input { name, kind: Kind::Blocks }
}

const fn integer(name: &'static str, start: i64, low: i64, high: i64) -> Parameter {
    Parameter { name, control: Control::Integer { start, low, high, large: false } }
}

const fn size(name: &'static str, start: i64) -> Parameter {
    Parameter { name, control: Control::Integer { start, low: 1, high: 100_000, large: true } }
}

const fn real(name: &'static str, start: f64, low: f64, high: f64) -> Parameter {
    Parameter { name, control: Control::Real { start, low, high } }
}

const fn choice(name: &'static str, of: &'static [&'static str]) -> Parameter {
    Parameter { name, control: Control::Choice(of) }
}

const fn text(name: &'static str, start: &'static str) -> Parameter {
    Parameter { name, control: Control::Text(start) }
}

const LOWER: Parameter = integer("lower", 1, -64, 256);
const UPPER: Parameter = integer("upper", 2, -64, 256);
const SHIFT: Parameter = integer("t", 1, -32, 32);
const LAYOUT: Parameter = choice("layout", &["rows", "columns"]);
const RING: Parameter = choice("semiring", &["sum", "log", "max", "prodmax", "sample"]);
const SEED: Parameter = integer("seed", 0, 0, 1000);
const DTYPE: Parameter = choice("dtype", &["f32", "f16", "bf16"]);
const BATCH: Parameter = integer("batch", 1, 0, 64);
const FILL: Parameter = choice("fill", &["0", "-inf"]);
