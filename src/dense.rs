//! Batches of dense matrices.

use crate::device::Buffer;
use crate::operand::{Operand, check_batch, filled};
use crate::{Device, Dtype, Error, Layout, Result};

/// The structure of a batch of dense matrices.
///
/// ```
/// use bandsaw::DenseShape;
/// assert_eq!(DenseShape::new(4, 3).batch(2).len(), 24);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseShape {
    /// Matrices in the batch; 0 is allowed.
    pub batch: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
    /// Row-major (`Rows`) or column-major (`Columns`).
    pub layout: Layout,
    /// How a value is stored.
    pub dtype: Dtype,
}

impl DenseShape {
    /// One row-major f32 matrix.
    pub fn new(rows: usize, cols: usize) -> Self {
        Self { batch: 1, rows, cols, layout: Layout::Rows, dtype: Dtype::F32 }
    }

    /// The same with this many matrices.
    #[must_use]
    pub fn batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    /// The same in this layout.
    #[must_use]
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The same in this storage type.
    #[must_use]
    pub fn dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// The structure of the transposed matrices over the same data.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, layout: self.layout.t(), ..self }
    }

    /// Values in all.
    pub fn len(&self) -> usize {
        self.batch * self.rows * self.cols
    }

    /// Whether there is no value, as with batch 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where entry (i, j) of matrix b is.
    pub fn index(&self, b: usize, i: usize, j: usize) -> usize {
        match self.layout {
            Layout::Rows => (b * self.rows + i) * self.cols + j,
            Layout::Columns => (b * self.cols + j) * self.rows + i,
        }
    }

    pub(crate) fn check(&self, op: &'static str) -> Result<()> {
        check_batch(op, self.batch, self.rows, self.cols, self.rows as u128 * self.cols as u128)
    }
}

/// A batch of dense matrices on a device.
///
/// ```
/// use bandsaw::{Dense, DenseShape, Device, Semiring, semiring_matmul};
/// let device = Device::best();
/// let a = Dense::from_slice(&device, DenseShape::new(2, 2), &[1.0, 2.0, 3.0, 4.0])?;
/// let longest = semiring_matmul(&a, &a.t(), Semiring::Max)?;
/// assert_eq!(longest.read()?, [4.0, 6.0, 6.0, 8.0]);
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Clone)]
pub struct Dense {
    shape: DenseShape,
    buffer: Buffer,
}

impl Dense {
    /// Uploads `data` in storage order.
    ///
    /// # Errors
    /// [`Error::Argument`] if the data's length is not the shape's, [`Error::Limit`] or
    /// [`Error::OutOfMemory`] if the device cannot hold it.
    pub fn from_slice(device: &Device, shape: DenseShape, data: &[f32]) -> Result<Self> {
        const OP: &str = "Dense::from_slice";
        shape.check(OP)?;
        if data.len() != shape.len() {
            let DenseShape { batch, rows, cols, .. } = shape;
            let allowed = format!("{} ({batch} batch × {rows} rows × {cols} columns)", shape.len());
            return Err(Error::argument(OP, "data", format!("{} values", data.len()), allowed));
        }
        let new = Self::alloc(OP, device, shape)?;
        device.write(&new.buffer, &shape.dtype.encode(data)?)?;
        Ok(new)
    }

    /// Computes every entry from (b, i, j) and uploads it.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn from_fn(device: &Device, shape: DenseShape, mut entry: impl FnMut(usize, usize, usize) -> f32) -> Result<Self> {
        shape.check("Dense::from_fn")?;
        let mut data = filled(shape.len(), 0.0)?;
        for b in 0..shape.batch {
            for i in 0..shape.rows {
                for j in 0..shape.cols {
                    data[shape.index(b, i, j)] = entry(b, i, j);
                }
            }
        }
        Self::from_slice(device, shape, &data)
    }

    /// A result that a kernel is about to write.
    pub(crate) fn alloc(op: &'static str, device: &Device, shape: DenseShape) -> Result<Self> {
        shape.check(op)?;
        let buffer = device.alloc(shape.dtype.buffer_bytes(shape.len())).map_err(|error| error.of(op))?;
        Ok(Self { shape, buffer })
    }

    /// Over a buffer that a kernel has written.
    pub(crate) fn from_buffer(shape: DenseShape, buffer: Buffer) -> Self {
        Self { shape, buffer }
    }

    /// The structure.
    pub fn shape(&self) -> DenseShape {
        self.shape
    }

    /// Where the values live.
    pub fn device(&self) -> &Device {
        &self.buffer.device
    }

    /// The transposed matrices: a change of labels, no value moves.
    #[must_use]
    pub fn t(&self) -> Self {
        Self { shape: self.shape.t(), buffer: self.buffer.clone() }
    }

    /// All values in storage order, after everything recorded so far has run.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Backend`].
    pub fn read(&self) -> Result<Vec<f32>> {
        self.shape.dtype.decode(&self.device().read(&self.buffer)?, self.shape.len())
    }

    /// All values of an index matrix ([`Dtype::U32`]) in storage order.
    ///
    /// # Errors
    /// [`Error::Argument`] if the values are no indices.
    pub fn read_u32(&self) -> Result<Vec<u32>> {
        if self.shape.dtype != Dtype::U32 {
            return Err(Error::argument("Dense::read_u32", "self", format!("dtype {}", self.shape.dtype), "dtype u32"));
        }
        Ok(bytemuck::pod_collect_to_vec(&self.device().read(&self.buffer)?))
    }

    /// The same matrices on another device, or a copy of them on this one.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { shape: self.shape, buffer: crate::ops::cast::copy(&self.buffer, device)? })
    }

    /// The wgpu buffer that the values lie in, and which of its bytes, for a program that shares the
    /// device ([`Device::from_wgpu`]) and draws or computes with them itself; `None` on the CPU.
    ///
    /// What was recorded so far is submitted first, so work submitted after this call sees the values.
    /// Only read from the buffer, and keep the matrix for as long: its memory is reused afterwards.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let a = Dense::from_slice(&Device::best(), DenseShape::new(1, 3), &[1.0, 2.0, 3.0])?;
    /// if let Some((buffer, bytes)) = a.wgpu_buffer()? {
    ///     assert!(bytes.end - bytes.start >= 12 && bytes.end <= buffer.size());
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

    /// Over memory that the program has, without a copy: the values in storage order, of the shape's type
    /// (f16 padded to whole words). It is freed with the last matrix that uses it, on the stream it came from.
    ///
    /// ```no_run
    /// # use bandsaw::*;
    /// let context = cudarc::driver::CudaContext::new(0)?;
    /// let device = Device::from_cudarc(context.default_stream())?;
    /// let values = context.default_stream().clone_htod(&[1.0f32, 2.0, 3.0])?;
    /// let a = Dense::from_cudarc(&device, DenseShape::new(1, 3), values)?;
    /// let same = a.cudarc_view(); // and back: the bytes, where they lie
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if this is no CUDA device, the slice is of another context, or has too few bytes.
    #[cfg(feature = "cuda")]
    pub fn from_cudarc<T>(device: &Device, shape: DenseShape, slice: cudarc::driver::CudaSlice<T>) -> Result<Self> {
        const OP: &str = "Dense::from_cudarc";
        shape.check(OP)?;
        let bytes = shape.dtype.buffer_bytes(shape.len());
        Ok(Self { shape, buffer: Buffer::from_cudarc(OP, device, slice, bytes)? })
    }

    /// The bytes of the values on a CUDA device, which work on [`Device::cuda_stream`] sees as they then are;
    /// `None` on other devices.
    #[cfg(feature = "cuda")]
    pub fn cudarc_view(&self) -> Option<cudarc::driver::CudaView<'_, u8>> {
        self.buffer.cuda()
    }

    /// What kernels see: a band that covers everything.
    pub(crate) fn operand(&self) -> Operand {
        let DenseShape { batch, rows, cols, layout, dtype } = self.shape;
        let (lower, upper) = (rows as i32, cols as i32);
        Operand { buffer: self.buffer.clone(), dtype, batch, rows, cols, lower, upper, layout, dense: true, fill: 0.0 }
    }
}

impl std::fmt::Debug for Dense {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dense").field("shape", &self.shape).field("device", self.device()).finish()
    }
}
