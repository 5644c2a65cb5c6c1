//! Matrix files of either kind.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use bandsaw::io::{self, Coordinates};
use bandsaw::{Band, Banded, BandedShape, BlockSparse, Dense, DenseShape, Device, Dtype, Error, Layout, Result};
use bandsaw::{banded_from_dense, banded_to_dense, block_to_dense, find_band};

/// A batch of one or the other kind.
#[derive(Clone)]
pub enum Matrix {
    Banded(Banded),
    Dense(Dense),
    Blocks(BlockSparse),
}

#[derive(Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LayoutName {
    /// Each row contiguous
    #[default]
    Rows,
    /// Each column contiguous (LAPACK, genbmm)
    Columns,
}

impl From<LayoutName> for Layout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Rows => Self::Rows,
            LayoutName::Columns => Self::Columns,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum DtypeName {
    #[default]
    F32,
    F16,
    Bf16,
}

impl From<DtypeName> for Dtype {
    fn from(name: DtypeName) -> Self {
        match name {
            DtypeName::F32 => Self::F32,
            DtypeName::F16 => Self::F16,
            DtypeName::Bf16 => Self::Bf16,
        }
    }
}

/// How matrix files are read.
#[derive(Clone, Default, clap::Args)]
pub struct Files {
    /// Layout of band matrices, those read and the result
    #[arg(long, value_enum, default_value_t)]
    pub layout: LayoutName,
    /// A .npy input is band storage of this band, not a dense matrix; the V of matmul-dense and the x of matvec never are
    #[arg(long, value_name = "LOWER,UPPER", value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    pub stored: Vec<i64>,
    /// The other side of a matrix in band storage: columns where it is read in rows layout, else rows [default: square]
    #[arg(long, value_name = "SIDE", requires = "stored")]
    pub other_side: Option<NonZeroUsize>,
    /// The value outside a band that is read from band storage
    #[arg(long, default_value_t = 0.0, requires = "stored", allow_hyphen_values = true, value_parser = single)]
    pub fill: f32,
    /// Storage type of the operands [default: f16 of a file of halves, else f32]
    #[arg(long, value_enum)]
    pub dtype: Option<DtypeName>,
}

enum Kind {
    MatrixMarket,
    Npy,
}

fn kind(path: &Path) -> Result<Kind> {
    match path.extension().map(|extension| extension.to_ascii_lowercase()) {
        Some(extension) if extension == "mtx" => Ok(Kind::MatrixMarket),
        Some(extension) if extension == "npy" => Ok(Kind::Npy),
        _ => Err(Error::Io { path: path.display().to_string(), message: "unknown kind of file, must end in .mtx or .npy".into() }),
    }
}

impl Files {
    /// The same for files that are not in band storage.
    pub fn plain(&self) -> Self {
        Self { stored: Vec::new(), ..self.clone() }
    }

    /// Band storage, which holds neither its band nor its fill.
    fn read_stored(&self, device: &Device, path: &Path, band: Band) -> Result<Banded> {
        let matrix = io::read_npy_banded(device, path, band, self.layout.into(), self.other_side.map(NonZeroUsize::get))?;
        if self.fill == 0.0 {
            return Ok(matrix);
        }
        Banded::from_slice(device, matrix.shape().fill(self.fill), &matrix.read()?)
    }

    fn stored(&self) -> Result<Option<Band>> {
        match self.stored[..] {
            [] => Ok(None),
            [lower, upper] => Band::new(lower, upper).map(Some),
            _ => Err(Error::Argument {
                op: "op",
                argument: "--stored",
                got: format!("{} numbers", self.stored.len()),
                allowed: "two: LOWER,UPPER".into(),
            }),
        }
    }

    fn read(&self, device: &Device, path: &Path) -> Result<Read> {
        Ok(match (kind(path)?, self.stored()?) {
            (Kind::MatrixMarket, _) => Read::List(io::read_matrix_market(path)?),
            (Kind::Npy, Some(band)) => Read::Banded(self.read_stored(device, path, band)?),
            (Kind::Npy, None) => Read::Dense(io::read_npy_dense(device, path)?),
        })
    }

    /// The file as a band matrix; of a dense one, the band is found.
    pub fn banded(&self, device: &Device, path: &Path) -> Result<Banded> {
        self.in_band(device, self.read(device, path)?).map_err(|error| error.in_file(path))
    }

    /// The file as a dense matrix.
    pub fn dense(&self, device: &Device, path: &Path) -> Result<Dense> {
        self.in_full(device, self.read(device, path)?).map_err(|error| error.in_file(path))
    }

    /// The file as a band matrix, or as a dense one where its band takes several times as many values, as that of a
    /// tall matrix does.
    pub fn either(&self, device: &Device, path: &Path) -> Result<Matrix> {
        self.in_either(device, self.read(device, path)?).map_err(|error| error.in_file(path))
    }

    fn in_either(&self, device: &Device, read: Read) -> Result<Matrix> {
        let (rows, cols, band) = match &read {
            Read::List(list) => (list.rows, list.cols, list.band()?),
            Read::Dense(dense) => (dense.shape().rows, dense.shape().cols, band_of(dense)?),
            Read::Banded(_) => return self.in_band(device, read).map(Matrix::Banded),
        };
        let lines = if self.layout == LayoutName::Rows { rows } else { cols };
        if lines as u128 * band.width() as u128 > 4 * rows as u128 * cols as u128 {
            return self.in_full(device, read).map(Matrix::Dense);
        }
        self.in_band(device, read).map(Matrix::Banded)
    }

    fn in_band(&self, device: &Device, read: Read) -> Result<Banded> {
        let layout = self.layout.into();
        let matrix = match read {
            Read::List(list) => list.to_banded(device, layout)?,
            Read::Banded(banded) => banded,
            Read::Dense(dense) => banded_from_dense(&dense, band_of(&dense)?, layout, 0.0)?,
        };
        match self.dtype.map(Dtype::from) {
            Some(dtype) if dtype != matrix.shape().dtype => Banded::from_slice(device, matrix.shape().dtype(dtype), &matrix.read()?),
            _ => Ok(matrix),
        }
    }

    fn in_full(&self, device: &Device, read: Read) -> Result<Dense> {
        let matrix = match read {
            Read::List(list) => list.to_dense(device)?,
            Read::Banded(banded) => banded_to_dense(&banded)?,
            Read::Dense(dense) => dense,
        };
        match self.dtype.map(Dtype::from) {
            Some(dtype) if dtype != matrix.shape().dtype => Dense::from_slice(device, matrix.shape().dtype(dtype), &matrix.read()?),
            _ => Ok(matrix),
        }
    }
}

/// What a file holds, as it is read.
enum Read {
    List(Coordinates),
    Banded(Banded),
    Dense(Dense),
}

/// The smallest band of what is not 0, or the main diagonal.
fn band_of(dense: &Dense) -> Result<Band> {
    find_band(dense)?.map_or_else(|| Band::new(0, 0), Ok)
}

impl Matrix {
    pub fn batch(&self) -> usize {
        match self {
            Self::Banded(banded) => banded.shape().batch,
            Self::Dense(dense) => dense.shape().batch,
            Self::Blocks(_) => 1,
        }
    }

    pub fn read(&self) -> Result<Vec<f32>> {
        match self {
            Self::Banded(banded) => banded.read(),
            Self::Dense(dense) => dense.read(),
            Self::Blocks(blocks) => blocks.read(),
        }
    }

    /// Writes a .mtx or .npy file.
    pub fn write(&self, path: &Path, comment: &str) -> Result<()> {
        holds(path, self.batch())?;
        match (kind(path)?, self) {
            // Neither format knows blocks.
            (_, Self::Blocks(blocks)) => Self::Dense(block_to_dense(blocks)?).write(path, comment),
            (Kind::Npy, Self::Banded(banded)) => io::write_npy_banded(path, banded),
            (Kind::Npy, Self::Dense(dense)) => io::write_npy_dense(path, dense),
            (Kind::MatrixMarket, Self::Banded(banded)) => io::write_matrix_market(path, &Coordinates::from_banded(banded, 0)?, comment),
            (Kind::MatrixMarket, Self::Dense(dense)) => io::write_matrix_market(path, &Coordinates::from_dense(dense, 0)?, comment),
        }
    }

    /// Size, band and layout in words.
    pub fn describe(&self) -> String {
        let batch = |batch: usize| if batch == 1 { String::new() } else { format!("{batch} × ") };
        match self {
            Self::Banded(banded) => {
                let BandedShape { batch: count, rows, cols, band, layout, dtype, fill } = banded.shape();
                let layout = if layout == Layout::Rows { "rows" } else { "columns" };
                let fill = match fill {
                    0.0 => String::new(),
                    _ if dtype == Dtype::U32 => ", none outside".into(),
                    _ => format!(", fill {fill}"),
                };
                format!("{}{rows} × {cols}, {band}, {layout} layout, {dtype}{fill}", batch(count))
            }
            Self::Dense(dense) => {
                let DenseShape { batch: count, rows, cols, dtype, .. } = dense.shape();
                format!("{}{rows} × {cols}, dense, {dtype}", batch(count))
            }
            Self::Blocks(blocks) => format!("{}, {}", blocks.pattern(), blocks.dtype()),
        }
    }
}

/// Whether the path exists, said before work begins.
pub fn readable(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        std::fs::File::open(path).map_err(|error| Error::Io { path: path.display().to_string(), message: error.to_string() })?;
        kind(path)?;
    }
    Ok(())
}

/// What a matrix file holds, in one line; nothing for files of other kinds.
pub fn describe_file(path: &Path) -> Result<Option<String>> {
    let band = |band: Option<Band>| band.map_or_else(|| "all entries 0".into(), |band| format!("entries in {band}"));
    let line = match kind(path) {
        Ok(Kind::MatrixMarket) => {
            let matrix = io::read_matrix_market(path)?;
            let found = matrix.band().map_err(|error| error.in_file(path))?;
            format!("{} × {}, {} stored, {}", matrix.rows, matrix.cols, matrix.entries.len(), band(Some(found)))
        }
        Ok(Kind::Npy) => {
            let matrix = io::read_npy_dense(&Device::cpu(), path)?;
            format!("{}, {}", Matrix::Dense(matrix.clone()).describe(), band(find_band(&matrix)?))
        }
        Err(_) => return Ok(None),
    };
    Ok(Some(format!("{}: {line}\n", path.display())))
}

/// Whether a file of its kind holds so many matrices.
pub fn holds(path: &Path, batch: usize) -> Result<()> {
    match kind(path)? {
        Kind::MatrixMarket if batch != 1 => Err(Error::Io {
            path: path.display().to_string(),
            message: format!("a .mtx file holds one matrix, the result has {batch}; write .npy"),
        }),
        _ => Ok(()),
    }
}

/// Whether a file can be written there, said before work begins.
pub fn writable(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::Io { path: path.display().to_string(), message: error.to_string() };
    // A link is followed.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    if path.exists() && !path.is_file() {
        return Ok(()); // a pipe or a device
    }
    // Folders that are missing are made when it is written.
    let folder = path.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let probe = folder.join(format!(".bandsaw.{}.part", std::process::id()));
    std::fs::File::create(&probe).and_then(|_| std::fs::remove_file(&probe)).map_err(failed)
}

/// A number that an f32 holds.
pub fn single(text: &str) -> std::result::Result<f32, String> {
    let value: f64 = text.parse().map_err(|error: std::num::ParseFloatError| error.to_string())?;
    let single = value as f32;
    if single.is_infinite() && value.is_finite() { Err(format!("beyond f32, whose largest is {:e}", f32::MAX)) } else { Ok(single) }
}
