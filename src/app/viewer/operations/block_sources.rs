//! Block-sparse matrices to begin with, and checkpoints.

use std::path::Path;

use bandsaw::io::{Checkpoint, Tensor};
use bandsaw::{Band, BigBird, BlockPattern, BlockSparse, Error, Result};
use eframe::egui;

use super::sources::{holds, uniform};
use super::{Arguments, Call, Control, DTYPE, Group, Kind, Operation, Origin, Parameter, SEED, integer, real, size};
use crate::app::Matrix;
use crate::app::viewer::noise::noise;

const ROWS: Parameter = size("rows", 24);
const COLS: Parameter = size("cols", 26);
const BLOCK_ROWS: Parameter = integer("block rows", 4, 1, 128);
const BLOCK_COLS: Parameter = integer("block cols", 4, 1, 128);
const LOW: Parameter = real("low", -1.0, -10.0, 10.0);
const HIGH: Parameter = real("high", 1.0, -10.0, 10.0);

/// A pattern with values between low and high at its blocks.
const SOURCE: Operation = Operation {
    name: "",
    title: "",
    formula: "",
    group: Group::Sources,
    inputs: &[],
    parameters: &[ROWS, COLS, BLOCK_ROWS, BLOCK_COLS, LOW, HIGH, SEED, DTYPE],
    result: Kind::Blocks,
    origin: Origin::None,
    square: false,
    run: |x| values(x, &BlockPattern::block_diagonal(shape(x)?, x.block()?)?),
    code: |x| values_code(x, &format!("BlockPattern::block_diagonal({}, {})?", shape_code(x), x.block())),
};

const fn tensor_of_file(sparse: bool) -> [Parameter; 2] {
    [Parameter { name: "path", control: Control::File }, Parameter { name: "tensor", control: Control::Tensor { sparse } }]
}

pub const ALL: &[Operation] = &[
    Operation {
        name: "random_blocks",
        title: "Random blocks",
        formula: "density of the blocks, A[i,j] uniform between low and high in them",
        parameters: &[ROWS, COLS, BLOCK_ROWS, BLOCK_COLS, real("density", 0.4, 0.0, 1.0), LOW, HIGH, SEED, DTYPE],
        run: |x| {
            let (shape, block) = (shape(x)?, x.block()?);
            let pattern = BlockPattern::random(shape, block, count(shape, block, x.real("density")?), x.size("seed")? as u64)?;
            values(x, &pattern)
        },
        code: |x| {
            let number = |name| x.integer(name).parse().unwrap_or_default();
            let (shape, block) = ([number("rows"), number("cols")], [number("block rows"), number("block cols")]);
            let count = count(shape, block, x.real("density").parse().unwrap_or_default());
            let pattern = format!("BlockPattern::random({}, {}, {count}, {})?", shape_code(x), x.block(), x.integer("seed"));
            values_code(x, &pattern)
        },
        ..SOURCE
    },
    Operation {
        name: "banded_blocks",
        title: "Band of blocks",
        formula: "the blocks (I, J) with −lower ≤ J − I ≤ upper",
        parameters: &[
            ROWS,
            COLS,
            BLOCK_ROWS,
            BLOCK_COLS,
            integer("lower", 1, -16, 64),
            integer("upper", 1, -16, 64),
            LOW,
            HIGH,
            SEED,
            DTYPE,
        ],
        run: |x| values(x, &BlockPattern::banded(shape(x)?, x.block()?, Band::new(x.integer("lower")?, x.integer("upper")?)?)?),
        code: |x| values_code(x, &format!("BlockPattern::banded({}, {}, {})?", shape_code(x), x.block(), x.band())),
        ..SOURCE
    },
    Operation {
        name: "big_bird",
        title: "BigBird pattern",
        formula: "a window of blocks, whole first rows and columns, random blocks in each row",
        parameters: &[
            ROWS,
            COLS,
            BLOCK_ROWS,
            BLOCK_COLS,
            integer("window", 1, 0, 32),
            integer("global", 1, 0, 32),
            integer("random", 1, 0, 32),
            LOW,
            HIGH,
            SEED,
            DTYPE,
        ],
        run: |x| {
            let parts = BigBird { window: x.size("window")?, global: x.size("global")?, random: x.size("random")? };
            values(x, &BlockPattern::big_bird(shape(x)?, x.block()?, parts, x.size("seed")? as u64)?)
        },
        code: |x| {
            let [window, global, random, seed] = ["window", "global", "random", "seed"].map(|name| x.integer(name));
            let parts = format!("BigBird {{ window: {window}, global: {global}, random: {random} }}");
            values_code(x, &format!("BlockPattern::big_bird({}, {}, {parts}, {seed})?", shape_code(x), x.block()))
        },
        ..SOURCE
    },
    Operation { name: "block_diagonal", title: "Block-diagonal matrix", formula: "the blocks on the diagonal of the grid", ..SOURCE },
    Operation {
        name: "file_tensor",
        title: "Tensor of a checkpoint",
        formula: "A dense tensor of a .safetensors file: a row, a matrix or a batch; the first matrix if none is named",
        parameters: &tensor_of_file(false),
        result: Kind::Dense,
        run: |x| {
            let file = Checkpoint::open(x.path()?)?;
            Ok(Matrix::Dense(file.read_dense(x.device, &tensor(x, &file, false)?)?))
        },
        code: |x| format!("io::Checkpoint::open({})?.read_dense(&device, {})?", x.literal("path"), tensor_code(x, false)),
        ..SOURCE
    },
    Operation {
        name: "file_blocks",
        title: "Block-sparse tensor of a checkpoint",
        formula: "A block-sparse matrix of a .safetensors file, the first if none is named",
        parameters: &tensor_of_file(true),
        run: |x| {
            let file = Checkpoint::open(x.path()?)?;
            Ok(Matrix::Blocks(file.read_block_sparse(x.device, &tensor(x, &file, true)?)?))
        },
        code: |x| format!("io::Checkpoint::open({})?.read_block_sparse(&device, {})?", x.literal("path"), tensor_code(x, true)),
        ..SOURCE
    },
];

fn shape(x: &Arguments<'_>) -> Result<[usize; 2]> {
    Ok([x.size("rows")?, x.size("cols")?])
}

fn shape_code(x: &Call<'_>) -> String {
    format!("[{}, {}]", x.integer("rows"), x.integer("cols"))
}

/// How many blocks a density makes; a block that cannot be is refused by the pattern.
fn count([rows, cols]: [usize; 2], [r, c]: [usize; 2], density: f32) -> usize {
    let grid = rows.div_ceil(r.max(1)) as f64 * cols.div_ceil(c.max(1)) as f64;
    (grid * f64::from(density)).round() as usize
}

fn values(x: &Arguments<'_>, pattern: &BlockPattern) -> Result<Matrix> {
    let [r, c] = pattern.block();
    holds(x.device, pattern.len() as u128 * (r * c) as u128)?;
    let (low, high, seed) = (x.real("low")?, x.real("high")?, x.size("seed")? as u64);
    let blocks = BlockSparse::from_fn(x.device, pattern, |i, j| low + (high - low) * noise(seed, 0, i, j))?;
    Ok(Matrix::Blocks(blocks.to_dtype(x.dtype()?)?))
}

fn values_code(x: &Call<'_>, pattern: &str) -> String {
    let half = x.half().map_or(String::new(), |dtype| format!(".to_dtype({dtype})?"));
    let entry = uniform(x).replace("|b, i, j|", "|i, j|").replace(", b, i, j)", ", 0, i, j)");
    format!("BlockSparse::from_fn(&device, &{pattern}, {entry})?{half}")
}

/// The names of a checkpoint's tensors of one kind, matrices first: they are what is shown if none is named.
fn tensors(file: &Checkpoint, sparse: bool) -> Result<Vec<String>> {
    let numbers = |tensor: &Tensor| ["F32", "F16", "BF16"].contains(&tensor.dtype.as_str());
    let mut tensors: Vec<_> = file.tensors()?.into_iter().filter(|tensor| tensor.pattern.is_some() == sparse && numbers(tensor)).collect();
    tensors.sort_by_key(|tensor| tensor.shape.len() != 2);
    Ok(tensors.into_iter().map(|tensor| tensor.name).collect())
}

/// The same by path, to choose from: looked up when a list opens.
#[derive(Default)]
pub struct Tensors;

impl egui::cache::ComputerMut<(&str, bool), Vec<String>> for Tensors {
    fn compute(&mut self, (path, sparse): (&str, bool)) -> Vec<String> {
        Checkpoint::open(path).and_then(|file| tensors(&file, sparse)).unwrap_or_default()
    }
}

/// The source that shows a checkpoint: its block-sparse matrices if it has any.
pub fn of_checkpoint(path: &Path) -> Result<&'static str> {
    Ok(if tensors(&Checkpoint::open(path)?, true)?.is_empty() { "file_tensor" } else { "file_blocks" })
}

/// The tensor that is named, or the first that fits.
fn tensor(x: &Arguments<'_>, file: &Checkpoint, sparse: bool) -> Result<String> {
    let (name, known) = (x.text("tensor")?, tensors(file, sparse)?);
    let op = if sparse { "file_blocks" } else { "file_tensor" };
    let wrong = |allowed: String| Error::Argument { op, argument: "tensor", got: format!("{name:?}"), allowed };
    match (name, known.first()) {
        (_, None) => {
            Err(wrong(format!("in a file that has {} tensors of f32, f16 or bf16", if sparse { "block-sparse" } else { "dense" })))
        }
        ("", Some(first)) => Ok(first.clone()),
        (name, _) if known.iter().any(|other| other == name) => Ok(name.into()),
        _ => {
            let more = if known.len() > 8 { format!(" and {} more", known.len() - 8) } else { String::new() };
            Err(wrong(format!("one of {}{more}", known[..known.len().min(8)].join(", "))))
        }
    }
}

/// The same name as a literal; the file is looked into if none is given.
fn tensor_code(x: &Call<'_>, sparse: bool) -> String {
    if !x.text("tensor").is_empty() {
        return x.literal("tensor");
    }
    let first = Checkpoint::open(x.text("path")).and_then(|file| tensors(&file, sparse));
    format!("{:?}", first.unwrap_or_default().first().cloned().unwrap_or_default())
}
