//! Matrices to begin with.

use bandsaw::{Banded, BandedShape, Dense, DenseShape, Device, Error, Result};

use super::{
    Arguments, BATCH, Call, Control, DTYPE, FILL, Group, Kind, LAYOUT, LOWER, Operation, Origin, Parameter, SEED, UPPER, choice, integer,
    real, size, text,
};
use crate::app::viewer::noise::noise;
use crate::app::{Files, LayoutName, Matrix};

const SOURCE: Operation = Operation {
    name: "",
    title: "",
    formula: "",
    group: Group::Sources,
    inputs: &[],
    parameters: &[],
    result: Kind::Banded,
    origin: Origin::None,
    square: false,
    run: |x| Ok(Matrix::Banded(Banded::identity(x.device, BandedShape::new(1, 1, x.band()?))?)),
    code: |_| String::new(),
};

pub const ALL: &[Operation] = &[
    Operation {
        name: "notebook",
        title: "Notebook matrix",
        formula: "A[i,j] = (j + 1) / (n + 1)",
        parameters: &[size("n", 20), LOWER, UPPER, BATCH, choice("layout", &["columns", "rows"]), DTYPE],
        run: |x| {
            let n = x.size("n")?;
            from_fn(x, n, n, |_, _, j| (j + 1) as f32 / (n + 1) as f32)
        },
        code: |x| {
            // Columns layout comes first here.
            let layout = if x.text("layout") == "rows" { "Layout::Rows" } else { "Layout::Columns" };
            let shape = x.shape().replace(".layout(Layout::Columns)", "");
            let n = x.integer("n");
            format!(
                "Banded::from_fn(&device, BandedShape::new({n}, {n}, {}).layout({layout}){shape}, |_, _, j| (j + 1) as f32 / {n}1 as f32)?",
                x.band()
            )
            .replace(&format!("{n}1 as f32"), &format!("{:?}", n.parse::<f32>().unwrap_or_default() + 1.0))
        },
        ..SOURCE
    },
    Operation {
        name: "random",
        title: "Random band matrix",
        formula: "A[i,j] uniform between low and high",
        parameters: &[
            size("rows", 24),
            size("cols", 24),
            LOWER,
            UPPER,
            real("low", -1.0, -10.0, 10.0),
            real("high", 1.0, -10.0, 10.0),
            SEED,
            BATCH,
            LAYOUT,
            FILL,
            DTYPE,
        ],
        run: |x| {
            let (low, high, seed) = (x.real("low")?, x.real("high")?, x.size("seed")? as u64);
            from_fn(x, x.size("rows")?, x.size("cols")?, |b, i, j| low + (high - low) * noise(seed, b, i, j))
        },
        code: |x| {
            format!(
                "Banded::from_fn(&device, BandedShape::new({}, {}, {}){}, {})?",
                x.integer("rows"),
                x.integer("cols"),
                x.band(),
                x.shape(),
                uniform(x)
            )
        },
        ..SOURCE
    },
    Operation {
        name: "random_dense",
        title: "Random dense matrix",
        formula: "A[i,j] uniform between low and high",
        parameters: &[
            size("rows", 24),
            size("cols", 8),
            real("low", -1.0, -10.0, 10.0),
            real("high", 1.0, -10.0, 10.0),
            SEED,
            BATCH,
            LAYOUT,
            DTYPE,
        ],
        result: Kind::Dense,
        run: |x| {
            let (low, high, seed) = (x.real("low")?, x.real("high")?, x.size("seed")? as u64);
            let shape = DenseShape::new(x.size("rows")?, x.size("cols")?).batch(x.size("batch")?).layout(x.layout()?).dtype(x.dtype()?);
            holds(x.device, shape.rows as u128 * shape.cols as u128 * shape.batch as u128)?;
            Ok(Matrix::Dense(Dense::from_fn(x.device, shape, |b, i, j| low + (high - low) * noise(seed, b, i, j))?))
        },
        code: |x| {
            format!("Dense::from_fn(&device, DenseShape::new({}, {}){}, {})?", x.integer("rows"), x.integer("cols"), x.shape(), uniform(x))
        },
        ..SOURCE
    },
    Operation {
        name: "identity",
        title: "Identity",
        formula: "A[i,i] = 1",
        parameters: &[size("n", 20), integer("lower", 0, -64, 256), integer("upper", 0, -64, 256), BATCH, LAYOUT, FILL, DTYPE],
        run: |x| {
            let n = x.size("n")?;
            from_fn(x, n, n, |_, i, j| if i == j { 1.0 } else { 0.0 })
        },
        code: |x| format!("Banded::identity(&device, BandedShape::new({0}, {0}, {1}){2})?", x.integer("n"), x.band(), x.shape()),
        ..SOURCE
    },
    Operation {
        name: "toeplitz",
        title: "Toeplitz matrix",
        formula: "A[i,j] = c[j − i + lower]: the diagonals from the lowest on",
        parameters: &[size("n", 24), integer("lower", 2, -64, 256), text("diagonals", "-0.5, 1, 4, 1, -0.5"), BATCH, LAYOUT, FILL, DTYPE],
        run: |x| {
            let (n, lower, diagonals) = (x.size("n")?, x.integer("lower")?, x.numbers("diagonals")?);
            let band = bandsaw::Band::new(lower, diagonals.len() as i64 - 1 - lower)?;
            let shape = BandedShape::new(n, n, band).batch(x.size("batch")?).layout(x.layout()?).fill(x.fill()?).dtype(x.dtype()?);
            holds(x.device, n as u128 * band.width() as u128 * shape.batch as u128)?;
            let entry = |_, i: usize, j: usize| diagonals[(j as i64 - i as i64 + lower) as usize];
            Ok(Matrix::Banded(Banded::from_fn(x.device, shape, entry)?))
        },
        code: |x| {
            let numbers: Vec<String> = x.text("diagonals").split([',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
            let (n, lower) = (x.integer("n"), x.integer("lower"));
            let upper = numbers.len() as i64 - 1 - lower.parse::<i64>().unwrap_or_default();
            format!(
                "Banded::from_fn(&device, BandedShape::new({n}, {n}, Band::new({lower}, {upper})?){}, |_, i, j| [{}f32][(j as i64 - i as i64 + {lower}) as usize])?",
                x.shape(),
                numbers.join("f32, ")
            )
        },
        ..SOURCE
    },
    Operation {
        name: "laplacian",
        title: "Laplacian of a grid",
        formula: "4 on the diagonal, −1 for each neighbour on a k × m grid",
        parameters: &[integer("k", 5, 1, 64), integer("m", 6, 1, 256), LAYOUT],
        run: |x| {
            let laplacian = crate::app::demo::laplacian(x.device, x.size("k")?, x.size("m")?)?;
            let layout = x.layout()?;
            Ok(Matrix::Banded(if layout == bandsaw::Layout::Rows { laplacian } else { bandsaw::banded_relayout(&laplacian, layout)? }))
        },
        code: |x| {
            let (k, m) = (x.integer("k"), x.integer("m"));
            format!(
                "Banded::from_fn(&device, BandedShape::new({k} * {m}, {k} * {m}, Band::window({k})?){}, |_, i, j| match i.abs_diff(j) {{ \
                 0 => 4.0, distance if distance == {k} || (distance == 1 && i / {k} == j / {k}) => -1.0, _ => 0.0 }})?",
                x.shape()
            )
        },
        ..SOURCE
    },
    Operation {
        name: "file",
        title: "File as band matrix",
        formula: "A .mtx or .npy file; the band is found",
        parameters: &[Parameter { name: "path", control: Control::File }, LAYOUT],
        run: |x| {
            let layout = if x.text("layout")? == "columns" { LayoutName::Columns } else { LayoutName::Rows };
            let files = Files { layout, ..Files::default() };
            Ok(Matrix::Banded(files.banded(x.device, &x.path()?)?))
        },
        code: |x| match x.text("path").ends_with(".npy") {
            true => format!(
                "{{ let d = io::read_npy_dense(&device, {})?; banded_from_dense(&d, find_band(&d)?.unwrap_or(Band::new(0, 0)?), {}, 0.0)? }}",
                x.literal("path"),
                x.layout()
            ),
            false => format!("io::read_matrix_market({})?.to_banded(&device, {})?", x.literal("path"), x.layout()),
        },
        ..SOURCE
    },
    Operation {
        name: "file_dense",
        title: "File as dense matrix",
        formula: "A .mtx or .npy file",
        parameters: &[Parameter { name: "path", control: Control::File }],
        result: Kind::Dense,
        run: |x| Ok(Matrix::Dense(Files::default().dense(x.device, &x.path()?)?)),
        code: |x| match x.text("path").ends_with(".npy") {
            true => format!("io::read_npy_dense(&device, {})?", x.literal("path")),
            false => format!("io::read_matrix_market({})?.to_dense(&device)?", x.literal("path")),
        },
        ..SOURCE
    },
];

/// A random source's entries as a Rust closure.
pub fn uniform(x: &Call<'_>) -> String {
    format!("|b, i, j| {0} + ({1} - {0}) * noise({2}, b, i, j)", x.real("low"), x.real("high"), x.integer("seed"))
}

fn from_fn(x: &Arguments<'_>, rows: usize, cols: usize, entry: impl FnMut(usize, usize, usize) -> f32) -> Result<Matrix> {
    let mut shape = BandedShape::new(rows, cols, x.band()?).batch(x.size("batch")?).dtype(x.dtype()?);
    shape.layout = x.layout()?;
    shape.fill = x.fill().unwrap_or(0.0);
    let lines = if shape.layout == bandsaw::Layout::Rows { rows } else { cols };
    holds(x.device, lines as u128 * shape.band.width() as u128 * shape.batch as u128)?;
    Ok(Matrix::Banded(Banded::from_fn(x.device, shape, entry)?))
}

/// Whether the device has room for so many values, said before they are made in memory.
pub fn holds(device: &Device, values: u128) -> Result<()> {
    let limit = device.info().max_binding.min(8 << 30);
    let got = u64::try_from(values * 4).unwrap_or(u64::MAX);
    if got <= limit {
        return Ok(());
    }
    Err(Error::Limit { op: "view", what: "the matrix's size in bytes".into(), got, limit, of: device.to_string() })
}
