//! Checkpoints in the safetensors format, dense and block-sparse.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::Dtype as Stored;
use safetensors::tensor::{Metadata, SafeTensors, TensorInfo};

use super::write_file;
use crate::{BlockPattern, BlockSparse, Dense, DenseShape, Device, Dtype, Error, Result};

/// What a block-sparse matrix is made of, behind its name.
const PARTS: [&str; 3] = [".block_values", ".block_indices", ".block_shape"];

/// The key of the file's metadata that says how block-sparse matrices are kept, and the value.
const FORMAT: (&str, &str) = ("bandsaw.block_sparse", "1");

/// A safetensors file, mapped into memory: opening it reads its header alone, whatever its size.
///
/// A block-sparse m × n matrix `name` in blocks of r × c is three tensors:
///
/// | tensor | type and shape | holds |
/// |---|---|---|
/// | `name.block_values` | f32, f16 or bf16, blocks × r × c | each block row-major; 0 where one sticks out of the matrix |
/// | `name.block_indices` | i32, blocks × 2 | block row and block column of each |
/// | `name.block_shape` | i32, 4 | m, n, r, c |
///
/// and the file's metadata has `bandsaw.block_sparse` with the value `1`.
///
/// ```
/// use bandsaw::{BlockPattern, Device, io::Checkpoint};
/// # let folder = tempfile::tempdir().map_err(|error| bandsaw::Error::Io { path: String::new(), message: error.to_string() })?;
/// # let (model, sparse) = (folder.path().join("model.safetensors"), folder.path().join("sparse.safetensors"));
/// # let header = format!("{:<56}", r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#);
/// # let values: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
/// # std::fs::write(&model, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values].concat()).ok();
/// let dense = Checkpoint::open(&model)?;
/// let diagonal = BlockPattern::block_diagonal([2, 2], [1, 1])?;
/// dense.write_block_sparse(&sparse, &[("w".into(), diagonal)], |_| ())?;
/// let w = Checkpoint::open(&sparse)?.read_block_sparse(&Device::cpu(), "w")?;
/// assert_eq!(w.read()?, [1.0, 4.0]);
/// # Ok::<(), bandsaw::Error>(())
/// ```
pub struct Checkpoint {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin.
    start: usize,
    header: Metadata,
}

/// What a checkpoint says of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name; a block-sparse matrix has the name of the dense one it stands for.
    pub name: String,
    /// `F32`, `BF16` and so on, as the format calls it.
    pub dtype: String,
    /// Its sizes; rows and columns if it is block-sparse.
    pub shape: Vec<usize>,
    /// Numbers stored, block indices not counted.
    pub stored: usize,
    /// Which blocks are stored, if it is block-sparse.
    pub pattern: Option<BlockPattern>,
}

impl Checkpoint {
    /// Maps a file and reads its header. The file must not be changed while it is open.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or is no safetensors file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| super::failed(path, &error))?;
        if !file.metadata().is_ok_and(|there| there.is_file()) {
            return Err(Error::Io { path: path.display().to_string(), message: "is no file".into() });
        }
        let map = crate::device::file::map(&file).map_err(|error| super::failed(path, &error))?;
        let (length, header) = SafeTensors::read_metadata(&map)
            .map_err(|error| Error::Io { path: path.display().to_string(), message: format!("no safetensors file: {error}") })?;
        Ok(Self { path: path.to_owned(), map, start: 8 + length, header })
    }

    /// Every tensor by name; the three parts of a block-sparse matrix are one.
    ///
    /// # Errors
    /// [`Error::Io`] if the parts of a block-sparse matrix do not fit together.
    pub fn tensors(&self) -> Result<Vec<Tensor>> {
        let infos: BTreeMap<String, &TensorInfo> = self.header.tensors().into_iter().collect();
        let is_sparse = |name: &str| PARTS.iter().all(|part| infos.contains_key(&format!("{name}{part}")));
        let mut tensors = Vec::new();
        for (full, info) in &infos {
            let owner = PARTS.iter().find_map(|part| full.strip_suffix(part)).filter(|name| is_sparse(name));
            let (dtype, stored) = (format!("{:?}", info.dtype), info.shape.iter().product());
            match owner {
                None => tensors.push(Tensor { name: full.clone(), dtype, shape: info.shape.clone(), stored, pattern: None }),
                Some(name) if full.ends_with(PARTS[0]) => {
                    let (pattern, _) = self.block_sparse(name)?;
                    let shape = vec![pattern.rows(), pattern.cols()];
                    tensors.push(Tensor { name: name.into(), dtype, shape, stored, pattern: Some(pattern) });
                }
                Some(_) => {}
            }
        }
        Ok(tensors)
    }

    /// A tensor as a dense matrix, in the type it is stored in: 1 dimension is a row, more than 2 are a batch.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such tensor or it holds no f32, f16 or bf16; what
    /// [`Dense::from_slice`] returns.
    pub fn read_dense(&self, device: &Device, name: &str) -> Result<Dense> {
        let info = self.info(name)?;
        let values = self.decode(name, info)?;
        let (cols, leading) = info.shape.split_last().map_or((1, &[][..]), |(cols, leading)| (*cols, leading));
        let (rows, leading) = leading.split_last().map_or((1, &[][..]), |(rows, leading)| (*rows, leading));
        Dense::from_slice(device, DenseShape::new(rows, cols).batch(leading.iter().product()).dtype(kept(info.dtype)), &values)
    }

    /// A block-sparse matrix, in the type it is stored in.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such matrix or its parts do not fit together; what
    /// [`BlockSparse::from_slice`] returns.
    pub fn read_block_sparse(&self, device: &Device, name: &str) -> Result<BlockSparse> {
        let (pattern, info) = self.block_sparse(name)?;
        let values = self.decode(&format!("{name}{}", PARTS[0]), info)?;
        BlockSparse::from_slice(device, &pattern, &values)?.to_dtype(kept(info.dtype))
    }

    /// The sum of squares of each block of a 2-D tensor, row-major over the grid.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such tensor, it is not 2-D, or holds no f32, f16 or bf16;
    /// [`Error::Argument`] for blocks that cannot be.
    pub fn block_energies(&self, name: &str, block: [usize; 2]) -> Result<Vec<f64>> {
        let ([rows, cols], info) = (self.sides(name)?, self.info(name)?);
        BlockPattern::new([rows, cols], block, &[])?; // such blocks can be
        let (bytes, grid_cols, size) = (self.bytes(info), cols.div_ceil(block[1]), info.dtype.bitsize() / 8);
        let of_rows = |rows: &[u8]| {
            let mut energies = vec![0.0; grid_cols];
            for (n, value) in rows.chunks_exact(size).enumerate() {
                energies[n % cols / block[1]] += f64::from(number(info.dtype, value)).powi(2);
            }
            energies
        };
        Ok(bytes.par_chunks((block[0] * cols * size).max(1)).flat_map_iter(of_rows).collect())
    }

    /// Writes the same checkpoint with some of its 2-D tensors replaced by their given blocks, bit for
    /// bit. The file appears whole or not at all; `progress` is told each tensor's name.
    ///
    /// # Errors
    /// [`Error::Io`] if the file exists or cannot be written, a tensor is missing, not 2-D, or holds no
    /// f32, f16 or bf16; [`Error::Argument`] if a pattern has another size.
    pub fn write_block_sparse(&self, path: &Path, replaced: &[(String, BlockPattern)], mut progress: impl FnMut(&str)) -> Result<()> {
        if path.exists() {
            return Err(Error::Io { path: path.display().to_string(), message: "exists already".into() });
        }
        let mut parts = Vec::new();
        for (name, info) in self.header.tensors() {
            let Some((_, pattern)) = replaced.iter().find(|(replaced, _)| *replaced == name) else {
                parts.push(Part { name, dtype: info.dtype, shape: info.shape.clone(), data: Data::Same(info) });
                continue;
            };
            let sides = self.sides(&name)?;
            if sides != [pattern.rows(), pattern.cols()] {
                let got = format!("{} × {} for {name}", pattern.rows(), pattern.cols());
                return Err(Error::argument("Checkpoint::write_block_sparse", "pattern", got, format!("{} × {}", sides[0], sides[1])));
            }
            let [r, c] = pattern.block();
            let part =
                |n: usize, dtype, shape: &[usize], data| Part { name: format!("{name}{}", PARTS[n]), dtype, shape: shape.to_vec(), data };
            parts.push(part(0, info.dtype, &[pattern.len(), r, c], Data::Blocks(info, pattern)));
            parts.push(part(1, Stored::I32, &[pattern.len(), 2], Data::Words(pattern.blocks().flatten().collect())));
            parts.push(part(2, Stored::I32, &[4], Data::Words(vec![sides[0], sides[1], r, c])));
        }
        if let Some((name, _)) = replaced.iter().find(|(name, _)| self.header.info(name).is_none()) {
            return Err(self.bad(name, "is not there".into()));
        }
        // Larger types first, so that every tensor is aligned.
        parts.sort_by(|x, y| y.dtype.cmp(&x.dtype).then_with(|| x.name.cmp(&y.name)));

        let mut at = 0;
        let mut infos = Vec::new();
        for part in &parts {
            let bytes = part.shape.iter().product::<usize>() * part.dtype.bitsize() / 8;
            infos.push((part.name.clone(), TensorInfo { dtype: part.dtype, shape: part.shape.clone(), data_offsets: (at, at + bytes) }));
            at += bytes;
        }
        let mut metadata: HashMap<String, String> = self.header.metadata().clone().unwrap_or_default();
        metadata.insert(FORMAT.0.into(), FORMAT.1.into());
        let failed = |message: String| Error::Io { path: path.display().to_string(), message };
        let header = Metadata::new(Some(metadata), infos).map_err(|error| failed(error.to_string()))?;
        let mut header = serde_json::to_string(&header).map_err(|error| failed(error.to_string()))?;
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        write_file(path, |file| {
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            for part in &parts {
                progress(&part.name);
                file.write_all(&self.data(part))?;
            }
            Ok(())
        })
    }

    fn data<'a>(&'a self, part: &'a Part<'_>) -> Cow<'a, [u8]> {
        match &part.data {
            Data::Same(info) => Cow::Borrowed(self.bytes(info)),
            Data::Words(words) => Cow::Owned(words.iter().flat_map(|word| (*word as i32).to_le_bytes()).collect()),
            Data::Blocks(info, pattern) => {
                let (bytes, size) = (self.bytes(info), info.dtype.bitsize() / 8);
                let ([r, c], rows, cols) = (pattern.block(), pattern.rows(), pattern.cols());
                let mut data = vec![0; pattern.len() * r * c * size];
                for ([row, col], block) in pattern.blocks().zip(data.chunks_exact_mut(r * c * size)) {
                    let wide = c.min(cols - col * c) * size;
                    for (i, line) in block.chunks_exact_mut(c * size).take(rows - row * r).enumerate() {
                        line[..wide].copy_from_slice(&bytes[((row * r + i) * cols + col * c) * size..][..wide]);
                    }
                }
                Cow::Owned(data)
            }
        }
    }

    /// The blocks of a block-sparse matrix, and what its values are.
    fn block_sparse(&self, name: &str) -> Result<(BlockPattern, &TensorInfo)> {
        let pattern = self.pattern(name)?;
        let part = format!("{name}{}", PARTS[0]);
        let info = self.info(&part)?;
        let [r, c] = pattern.block();
        if info.shape != [pattern.len(), r, c] {
            return Err(self.bad(&part, format!("has shape {:?}, must have {:?}", info.shape, [pattern.len(), r, c])));
        }
        Ok((pattern, info))
    }

    /// The blocks of a block-sparse matrix.
    fn pattern(&self, name: &str) -> Result<BlockPattern> {
        let words = |part: &str, shape: &dyn Fn(&[usize]) -> bool, wanted: &str| {
            let part = format!("{name}{part}");
            let info = self.info(&part)?;
            if info.dtype != Stored::I32 || !shape(&info.shape) {
                return Err(self.bad(&part, format!("is {:?} {:?}, must be I32 {wanted}", info.dtype, info.shape)));
            }
            let word = |bytes: &[u8]| i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let numbers: Vec<usize> = self.bytes(info).chunks_exact(4).map_while(|bytes| usize::try_from(word(bytes)).ok()).collect();
            if numbers.len() * 4 == self.bytes(info).len() { Ok(numbers) } else { Err(self.bad(&part, "has negative numbers".into())) }
        };
        let shape = words(PARTS[2], &|shape| shape == [4], "[4]")?;
        let indices = words(PARTS[1], &|shape| shape.len() == 2 && shape[1] == 2, "[blocks, 2]")?;
        let blocks: Vec<_> = indices.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
        BlockPattern::from_slots([shape[0], shape[1]], [shape[2], shape[3]], &blocks).map_err(|error| self.bad(name, error.to_string()))
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.header.info(name).ok_or_else(|| self.bad(name, "is not there".into()))
    }

    /// Rows and columns of a tensor that can be made block-sparse.
    fn sides(&self, name: &str) -> Result<[usize; 2]> {
        let info = self.info(name)?;
        if !matches!(info.dtype, Stored::F32 | Stored::F16 | Stored::BF16) {
            return Err(self.bad(name, format!("holds {:?}, must hold F32, F16 or BF16", info.dtype)));
        }
        info.shape.as_slice().try_into().map_err(|_| self.bad(name, format!("has shape {:?}, must have 2 dimensions", info.shape)))
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        &self.map[self.start + info.data_offsets.0..self.start + info.data_offsets.1]
    }

    fn decode(&self, name: &str, info: &TensorInfo) -> Result<Vec<f32>> {
        if !matches!(info.dtype, Stored::F32 | Stored::F16 | Stored::BF16) {
            return Err(self.bad(name, format!("holds {:?}, must hold F32, F16 or BF16", info.dtype)));
        }
        let size = info.dtype.bitsize() / 8;
        Ok(self.bytes(info).par_chunks_exact(size).map(|bytes| number(info.dtype, bytes)).collect())
    }

    fn bad(&self, tensor: &str, message: String) -> Error {
        Error::Io { path: self.path.display().to_string(), message: format!("tensor {tensor:?} {message}") }
    }
}

/// A tensor about to be written.
struct Part<'a> {
    name: String,
    dtype: Stored,
    shape: Vec<usize>,
    data: Data<'a>,
}

/// Where its bytes come from.
enum Data<'a> {
    Same(&'a TensorInfo),
    Blocks(&'a TensorInfo, &'a BlockPattern),
    Words(Vec<usize>),
}

/// The storage type of the same name.
fn kept(stored: Stored) -> Dtype {
    match stored {
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        _ => Dtype::F32,
    }
}

/// One f32, f16 or bf16.
fn number(stored: Stored, bytes: &[u8]) -> f32 {
    match stored {
        Stored::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        Stored::BF16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
    }
}
