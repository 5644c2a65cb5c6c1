//! Block-sparse matrices: a pattern and the values of its blocks.

use crate::device::Buffer;
use crate::operand::reserve;
use crate::{BlockPattern, Device, Dtype, Error, Layout, Result};

/// A block-sparse matrix on a device: a [`BlockPattern`] and r · c values for each of its slots.
///
/// ```text
/// Layout::Rows     data[slot][i][j] = A[I·r + i, J·c + j]     (I, J) is the block in that slot
/// Layout::Columns  data[slot][j][i] = A[I·r + i, J·c + j]     what a transpose makes of it
/// ```
///
/// Every value of a block that sticks out of the matrix is 0 there, always. Values never change after
/// construction; clones, transposes and replaced blocks share them.
///
/// ```
/// use bandsaw::*;
/// let device = Device::best();
/// let pattern = BlockPattern::random([64, 96], [16, 16], 12, 1)?; // half of 4 × 6 blocks
/// let w = BlockSparse::from_fn(&device, &pattern, |i, j| (i as f32 - j as f32) / 96.0)?;
/// let x = Dense::from_fn(&device, DenseShape::new(10, 96), |_, t, j| (t + j) as f32 / 100.0)?;
/// let y = block_matmul(&x, &w.t())?; // X · Wᵀ
/// assert_eq!((y.shape().rows, y.shape().cols), (10, 64));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct BlockSparse {
    pattern: BlockPattern,
    layout: Layout,
    dtype: Dtype,
    buffer: Buffer,
}

impl BlockSparse {
    /// Uploads `data`, slot by slot, each block row-major. What sticks out of the matrix is set to 0,
    /// whatever the data holds there.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not blocks × r × c values, [`Error::Limit`] or
    /// [`Error::OutOfMemory`] if the device cannot hold them.
    pub fn from_slice(device: &Device, pattern: &BlockPattern, data: &[f32]) -> Result<Self> {
        let [r, c] = pattern.block();
        let len = pattern.len() * r * c;
        if data.len() != len {
            let allowed = format!("{len} ({} blocks × {r} × {c})", pattern.len());
            return Err(Error::argument("BlockSparse::from_slice", "data", format!("{} values", data.len()), allowed));
        }
        let mut data = data.to_vec();
        let (rows, cols) = (pattern.rows(), pattern.cols());
        for ([row, col], block) in pattern.blocks().zip(data.chunks_exact_mut(r * c)) {
            if (row + 1) * r > rows || (col + 1) * c > cols {
                for (n, value) in block.iter_mut().enumerate() {
                    if row * r + n / c >= rows || col * c + n % c >= cols {
                        *value = 0.0;
                    }
                }
            }
        }
        let new = Self::alloc(device, pattern, Dtype::F32)?;
        device.write(&new.buffer, bytemuck::cast_slice(&data))?;
        Ok(new)
    }

    /// Computes every stored entry from (i, j) and uploads it.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn from_fn(device: &Device, pattern: &BlockPattern, mut entry: impl FnMut(usize, usize) -> f32) -> Result<Self> {
        let ([r, c], rows, cols) = (pattern.block(), pattern.rows(), pattern.cols());
        let mut data = Vec::new();
        reserve(&mut data, pattern.len() * r * c)?;
        for [row, col] in pattern.blocks() {
            for n in 0..r * c {
                let (i, j) = (row * r + n / c, col * c + n % c);
                data.push(if i < rows && j < cols { entry(i, j) } else { 0.0 });
            }
        }
        Self::from_slice(device, pattern, &data)
    }

    /// A result in rows layout that a kernel is about to write.
    pub(crate) fn alloc(device: &Device, pattern: &BlockPattern, dtype: Dtype) -> Result<Self> {
        let [r, c] = pattern.block();
        // Kernels that read four values at once want at least four.
        let buffer = device.alloc(dtype.buffer_bytes(pattern.len() * r * c).max(16))?;
        Ok(Self { pattern: pattern.clone(), layout: Layout::Rows, dtype, buffer })
    }

    /// Which blocks are stored.
    pub fn pattern(&self) -> &BlockPattern {
        &self.pattern
    }

    /// Whether rows or columns of a block are contiguous.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How a value is stored.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Where the values live.
    pub fn device(&self) -> &Device {
        &self.buffer.device
    }

    /// Stored values: blocks × r × c.
    pub fn len(&self) -> usize {
        let [r, c] = self.pattern.block();
        self.pattern.len() * r * c
    }

    /// Whether no value is stored.
    pub fn is_empty(&self) -> bool {
        self.pattern.is_empty()
    }

    pub(crate) fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// The transposed matrix: a change of labels, no value moves.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let pattern = BlockPattern::full([2, 4], [2, 2])?;
    /// let w = BlockSparse::from_fn(&Device::cpu(), &pattern, |i, j| (10 * i + j) as f32)?;
    /// assert_eq!((w.get(1, 3)?, w.t().get(3, 1)?), (13.0, 13.0));
    /// assert_eq!(w.t().read()?, w.read()?);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn t(&self) -> Self {
        Self { pattern: self.pattern.t(), layout: self.layout.t(), ..self.clone() }
    }

    /// All values in storage order, after everything recorded so far has run.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Backend`].
    pub fn read(&self) -> Result<Vec<f32>> {
        self.dtype.decode(&self.device().read(&self.buffer)?, self.len())
    }

    /// Where entry (i, j) is in storage, if its block is stored.
    pub fn index(&self, i: usize, j: usize) -> Option<usize> {
        let [r, c] = self.pattern.block();
        let slot = self.pattern.slot(i / r, j / c)?;
        let inside = match self.layout {
            Layout::Rows => i % r * c + j % c,
            Layout::Columns => j % c * r + i % r,
        };
        Some(slot * r * c + inside)
    }

    /// One entry; 0 if its block is not stored.
    ///
    /// # Errors
    /// [`Error::Argument`] if (i, j) is outside the matrix.
    pub fn get(&self, i: usize, j: usize) -> Result<f32> {
        let (rows, cols) = (self.pattern.rows(), self.pattern.cols());
        if i >= rows || j >= cols {
            return Err(Error::argument("BlockSparse::get", "index", format!("({i}, {j})"), format!("an entry of {rows} × {cols}")));
        }
        let Some(index) = self.index(i, j) else { return Ok(0.0) };
        let byte = index * self.dtype.bytes();
        let word = self.device().read(&self.buffer.view(byte / 4 * 4, 4))?;
        Ok(self.dtype.decode(&word, 4 / self.dtype.bytes())?[byte % 4 / self.dtype.bytes()])
    }

    /// The same values with some slots moved to other blocks, by [`BlockPattern::replace`]. Where a
    /// slot comes to stick out of the matrix, its values there become 0.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let pattern = BlockPattern::new([4, 4], [2, 2], &[[0, 0], [1, 1]])?;
    /// let w = BlockSparse::from_fn(&Device::cpu(), &pattern, |i, j| (10 * i + j) as f32)?;
    /// let moved = w.replace_blocks(&[[0, 1, 1]])?; // slot 1 goes to block row 0, block column 1
    /// assert_eq!((moved.get(1, 1)?, moved.get(1, 3)?, moved.get(3, 3)?), (11.0, 33.0, 0.0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`BlockPattern::replace`].
    pub fn replace_blocks(&self, moves: &[[usize; 3]]) -> Result<Self> {
        let pattern = self.pattern.replace(moves)?;
        let ([r, c], rows, cols) = (pattern.block(), pattern.rows(), pattern.cols());
        let moved = Self { pattern, ..self.clone() };
        if moves.iter().any(|[row, col, _]| (row + 1) * r > rows || (col + 1) * c > cols) {
            return crate::ops::block_add::select(&moved, &moved.pattern); // clears what sticks out
        }
        Ok(moved)
    }

    /// The same matrix in this storage type, f32, f16 or bf16.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let w = BlockSparse::from_fn(&Device::cpu(), &BlockPattern::full([2, 2], [1, 2])?, |i, j| (i + j) as f32)?;
    /// let half = w.to_dtype(Dtype::F16)?;
    /// assert_eq!((half.dtype(), half.get(1, 1)?), (Dtype::F16, 2.0));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for u32, [`Error::OutOfMemory`].
    pub fn to_dtype(&self, dtype: Dtype) -> Result<Self> {
        if dtype == Dtype::U32 {
            return Err(Error::argument("BlockSparse::to_dtype", "dtype", "u32", "f32, f16 or bf16"));
        }
        let buffer = crate::ops::cast::cast(&self.buffer, self.len(), self.dtype, dtype)?;
        Ok(Self { dtype, buffer, ..self.clone() })
    }

    /// The same matrix on another device, or a copy of it on this one.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { buffer: crate::ops::cast::copy(&self.buffer, device)?, ..self.clone() })
    }

    /// The wgpu buffer that the values lie in, and which of its bytes, for a program that shares the
    /// device ([`Device::from_wgpu`]); `None` on the CPU. What holds for
    /// [`Dense::wgpu_buffer`](crate::Dense::wgpu_buffer) holds for it.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let w = BlockSparse::from_fn(&Device::best(), &BlockPattern::full([2, 4], [2, 2])?, |i, j| (i + j) as f32)?;
    /// if let Some((buffer, bytes)) = w.wgpu_buffer()? {
    ///     assert!(bytes.end - bytes.start >= 32 && bytes.end <= buffer.size());
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Backend`].
    #[cfg(feature = "wgpu")]
    pub fn wgpu_buffer(&self) -> Result<Option<(wgpu::Buffer, std::ops::Range<u64>)>> {
        self.buffer.wgpu()
    }

    /// The same matrix as kernels take it, in f32.
    pub(crate) fn widened(&self) -> Result<Self> {
        self.to_dtype(Dtype::F32)
    }
}

impl std::fmt::Debug for BlockSparse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("BlockSparse");
        text.field("pattern", &self.pattern).field("layout", &self.layout).field("dtype", &self.dtype);
        text.field("device", self.device()).finish()
    }
}
