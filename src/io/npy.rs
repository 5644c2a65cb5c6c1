//! NumPy `.npy` arrays, C order.

use std::path::Path;

use ndarray_npy::npy::header::{Header, Layout as Order};

use super::{failed, write_file};
use crate::operand::filled;
use crate::{Band, Banded, BandedShape, Dense, DenseShape, Device, Dtype, Error, Layout, Result};

/// Reads a dense matrix (2-D) or a batch of them (3-D: batch, rows, columns).
///
/// `<f4` comes back as f32, `<f2` as f16; `<f8`, integers and booleans as the nearest f32. NumPy has no bf16: such
/// matrices are written as `<f4`, which holds every value. The indices of
/// [`banded_matmul_index`](crate::banded_matmul_index) are written as `<u4`; those for no term come back as NaN.
///
/// ```
/// use bandsaw::{Dense, DenseShape, Device, io};
/// # let folder = tempfile::tempdir().map_err(|error| bandsaw::Error::Io { path: String::new(), message: error.to_string() })?;
/// # let path = folder.path().join("a.npy");
/// let device = Device::cpu();
/// let a = Dense::from_slice(&device, DenseShape::new(1, 3), &[1.0, 2.0, 3.0])?;
/// io::write_npy_dense(&path, &a)?;
/// assert_eq!(io::read_npy_dense(&device, &path)?.read()?, [1.0, 2.0, 3.0]);
/// # Ok::<(), bandsaw::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] with the file and what is wrong with it: no `.npy`, another type, Fortran order,
/// truncated, neither 2-D nor 3-D, a number beyond f32.
pub fn read_npy_dense(device: &Device, path: impl AsRef<Path>) -> Result<Dense> {
    let path = path.as_ref();
    let Array { batch, sides: [rows, cols], dtype, values } = read(path, "rows, columns")?;
    Dense::from_slice(device, DenseShape::new(rows, cols).batch(batch).dtype(dtype), &values).map_err(|error| error.in_file(path))
}

/// Reads band storage: lines × width (2-D) or batch × lines × width (3-D).
///
/// The file holds no band, so it is told: the band, whose width must be the array's last side; the
/// layout, whether a line is a row or a column of the matrix (see [`Layout`]); and the matrix's
/// other side (columns of `Rows`, rows of `Columns`), `None` for square. Slots outside the matrix
/// are set to 0 whatever the file holds there, as LAPACK leaves them undefined.
///
/// ```
/// use bandsaw::{Band, Banded, BandedShape, Device, Layout, io};
/// # let folder = tempfile::tempdir().map_err(|error| bandsaw::Error::Io { path: String::new(), message: error.to_string() })?;
/// # let path = folder.path().join("a.npy");
/// let device = Device::cpu();
/// let a = Banded::from_fn(&device, BandedShape::new(9, 9, Band::new(1, 2)?), |_, i, j| (i * 9 + j) as f32)?;
/// io::write_npy_banded(&path, &a)?;
/// let same = io::read_npy_banded(&device, &path, Band::new(1, 2)?, Layout::Rows, None)?;
/// assert_eq!(same.read()?, a.read()?);
/// # Ok::<(), bandsaw::Error>(())
/// ```
///
/// # Errors
/// As [`read_npy_dense`], and if the width is not the band's.
pub fn read_npy_banded(device: &Device, path: impl AsRef<Path>, band: Band, layout: Layout, other: Option<usize>) -> Result<Banded> {
    let path = path.as_ref();
    let Array { batch, sides: [lines, width], dtype, values } = read(path, "lines, width")?;
    if width != band.width() {
        return Err(problem(path, format!("band storage of width {width}, must be {} for {band}", band.width())));
    }
    let other = other.unwrap_or(lines);
    let (rows, cols) = if layout == Layout::Rows { (lines, other) } else { (other, lines) };
    Banded::from_slice(device, BandedShape::new(rows, cols, band).batch(batch).layout(layout).dtype(dtype), &values)
        .map_err(|error| error.in_file(path))
}

/// Writes a dense batch: 2-D for one matrix, else 3-D; rows are contiguous whatever the layout.
///
/// See [`read_npy_dense`] for an example.
///
/// # Errors
/// [`Error::Io`], or the device's own.
pub fn write_npy_dense(path: impl AsRef<Path>, matrix: &Dense) -> Result<()> {
    let DenseShape { batch, rows, cols, layout, dtype } = matrix.shape();
    let stored = Stored::of(dtype, || matrix.read(), || matrix.read_u32())?;
    let order: Option<Vec<usize>> = (layout == Layout::Columns).then(|| {
        let all = (0..batch).flat_map(|b| (0..rows).flat_map(move |i| (0..cols).map(move |j| (b, i, j))));
        all.map(|(b, i, j)| matrix.shape().index(b, i, j)).collect()
    });
    write(path.as_ref(), dtype, batch, [rows, cols], &stored, order.as_deref())
}

/// Writes band storage as it is: lines × width for one matrix, else batch × lines × width. The
/// band, layout and fill are not part of the file; keep them with it.
///
/// See [`read_npy_banded`] for an example.
///
/// # Errors
/// [`Error::Io`], or the device's own.
pub fn write_npy_banded(path: impl AsRef<Path>, matrix: &Banded) -> Result<()> {
    let shape = matrix.shape();
    let stored = Stored::of(shape.dtype, || matrix.read(), || matrix.read_u32())?;
    write(path.as_ref(), shape.dtype, shape.batch, [shape.lines(), shape.band.width()], &stored, None)
}

struct Array {
    batch: usize,
    sides: [usize; 2],
    dtype: Dtype,
    values: Vec<f32>,
}

fn problem(path: &Path, message: impl Into<String>) -> Error {
    Error::Io { path: path.display().to_string(), message: message.into() }
}

/// Brackets that may open in a header, where two do. Its parser recurses, and takes several times as long for each level.
const BRACKETS: usize = 8;

/// The header and the values; `sides` names the last two for messages.
fn read(path: &Path, sides: &str) -> Result<Array> {
    let bytes = std::fs::read(path).map_err(|error| failed(path, &error))?;
    let mut rest = &bytes[..];
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(problem(path, "no .npy file: it does not start with \\x93NUMPY"));
    }
    // A header may claim any length: what the file does not have is not allocated.
    let (start, len) = match bytes[6..] {
        [0..=1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [version, ..] if version > 3 => return Err(problem(path, format!("version {version} of the format, must be 1 to 3"))),
        [_, _, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => return Err(problem(path, "truncated in the header")),
    };
    let text = bytes[start..].get(..len).ok_or_else(|| problem(path, "truncated in the header"))?;
    if text.iter().filter(|byte| b"([{".contains(byte)).count() > BRACKETS {
        return Err(problem(path, "bad .npy header: more brackets than that of an array of numbers has"));
    }
    // What does not parse is shown below the first line.
    let first = |text: String| text.lines().next().unwrap_or_default().trim_end().to_owned();
    let bad = |error: String| problem(path, format!("bad .npy header: {}", first(error)));
    let header = Header::from_reader(&mut rest).map_err(|error| bad(error.to_string()))?;
    if header.layout == Order::Fortran {
        return Err(problem(path, "Fortran order, must be C order (numpy.ascontiguousarray)"));
    }
    let (batch, sides) = match header.shape[..] {
        [rows, cols] => (1, [rows, cols]),
        [batch, rows, cols] => (batch, [rows, cols]),
        _ => return Err(problem(path, format!("shape {:?}, must be 2-D ({sides}) or 3-D (batch, {sides})", header.shape))),
    };
    let kind = header.type_descriptor.as_string().cloned().unwrap_or_else(|| header.type_descriptor.to_string());
    let Some((size, number)) = numbers(&kind) else {
        return Err(problem(path, format!("type {kind}, must be little-endian numbers such as <f4, <f2, <f8, <i8")));
    };
    let want = [sides[0], sides[1], size].iter().try_fold(batch, |product, side| product.checked_mul(*side));
    if want != Some(rest.len()) {
        let want = want.map_or("more than can be addressed".into(), |want| want.to_string());
        let what = if want.parse().is_ok_and(|want: usize| want < rest.len()) { "too long" } else { "truncated" };
        return Err(problem(path, format!("{what}: {} bytes of values, shape {:?} of {kind} needs {want}", rest.len(), header.shape)));
    }
    let mut values = filled(rest.len() / size, 0.0f32)?;
    for (n, (value, bytes)) in values.iter_mut().zip(rest.chunks_exact(size)).enumerate() {
        *value = number(bytes);
        if value.is_infinite() && !is_infinite(&kind, bytes) {
            return Err(problem(path, format!("value {n} is beyond f32, whose largest is {:e}", f32::MAX)));
        }
    }
    let dtype = if kind == "<f2" { Dtype::F16 } else { Dtype::F32 };
    Ok(Array { batch, sides, dtype, values })
}

/// Whether these bytes of that type are infinite themselves; whole numbers never are, nor beyond f32.
fn is_infinite(kind: &str, bytes: &[u8]) -> bool {
    kind != "<f8" || bytes.try_into().is_ok_and(|bytes| f64::from_le_bytes(bytes).is_infinite())
}

/// What the bytes of a number are as f32.
type Number = fn(&[u8]) -> f32;

/// How many bytes a number of this type has, and how it is read.
fn numbers(kind: &str) -> Option<(usize, Number)> {
    macro_rules! of {
        ($type:ty) => {
            of!($type, |number| number as f32)
        };
        ($type:ty, $value:expr) => {
            (size_of::<$type>(), |bytes| bytes.try_into().map_or(f32::NAN, |bytes| $value(<$type>::from_le_bytes(bytes))))
        };
    }
    Some(match kind {
        "<f2" => of!(half::f16, half::f16::to_f32),
        "<f4" => of!(f32),
        "<f8" => of!(f64),
        "|b1" | "|u1" => of!(u8),
        "|i1" => of!(i8),
        "<u2" => of!(u16),
        "<i2" => of!(i16),
        "<u4" => of!(u32, |number| if number == u32::MAX { f32::NAN } else { number as f32 }),
        "<i4" => of!(i32),
        "<u8" => of!(u64),
        "<i8" => of!(i64),
        _ => return None,
    })
}

/// Values or indices, read back.
enum Stored {
    Values(Vec<f32>),
    Indices(Vec<u32>),
}

impl Stored {
    fn of(dtype: Dtype, values: impl FnOnce() -> Result<Vec<f32>>, indices: impl FnOnce() -> Result<Vec<u32>>) -> Result<Self> {
        if dtype == Dtype::U32 { indices().map(Self::Indices) } else { values().map(Self::Values) }
    }
}

/// `order` says which value comes n-th, where that is not the n-th.
fn write(path: &Path, dtype: Dtype, batch: usize, sides: [usize; 2], stored: &Stored, order: Option<&[usize]>) -> Result<()> {
    let kind = match dtype {
        Dtype::F16 => "'<f2'",
        Dtype::F32 | Dtype::Bf16 => "'<f4'",
        Dtype::U32 => "'<u4'",
    };
    let type_descriptor = kind.parse().map_err(|_| problem(path, format!("type {kind}")))?;
    let shape = if batch == 1 { sides.to_vec() } else { vec![batch, sides[0], sides[1]] };
    let header = Header { type_descriptor, layout: Order::Standard, shape };
    let header = header.to_bytes().map_err(|error| problem(path, error.to_string()))?;
    write_file(path, |file| {
        file.write_all(&header)?;
        for n in 0..batch * sides[0] * sides[1] {
            let n = order.map_or(n, |order| order[n]);
            match stored {
                Stored::Values(values) if dtype == Dtype::F16 => file.write_all(&half::f16::from_f32(values[n]).to_le_bytes())?,
                Stored::Values(values) => file.write_all(&values[n].to_le_bytes())?,
                Stored::Indices(indices) => file.write_all(&indices[n].to_le_bytes())?,
            }
        }
        Ok(())
    })
}
