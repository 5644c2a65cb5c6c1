//! Batches of band matrices.

use crate::device::Buffer;
use crate::operand::{Operand, check_batch, filled};
use crate::{Band, Device, Dtype, Error, Layout, Result};

/// The structure of a batch of band matrices: which entries are stored, and how.
///
/// ```
/// use bandsaw::{Band, BandedShape, Dtype, Layout};
/// let shape = BandedShape::new(100, 100, Band::new(1, 2)?)
///     .batch(8)
///     .layout(Layout::Columns)
///     .fill(f32::NEG_INFINITY)
///     .dtype(Dtype::F16);
/// assert_eq!(shape.len(), 8 * 100 * 4);
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandedShape {
    /// Matrices in the batch; 0 is allowed.
    pub batch: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub cols: usize,
    /// The stored diagonals.
    pub band: Band,
    /// Whether rows or columns are contiguous; see [`Layout`] for the drawing.
    pub layout: Layout,
    /// The value of every entry outside the band, and of every slot outside the matrix. A matrix has it as its storage
    /// type holds it.
    pub fill: f32,
    /// How a value is stored.
    pub dtype: Dtype,
}

impl BandedShape {
    /// One matrix in rows layout, f32, fill 0.
    pub fn new(rows: usize, cols: usize, band: Band) -> Self {
        Self { batch: 1, rows, cols, band, layout: Layout::Rows, fill: 0.0, dtype: Dtype::F32 }
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

    /// The same with this value outside the band.
    #[must_use]
    pub fn fill(self, fill: f32) -> Self {
        Self { fill, ..self }
    }

    /// The same in this storage type.
    #[must_use]
    pub fn dtype(self, dtype: Dtype) -> Self {
        Self { dtype, ..self }
    }

    /// The structure of the transposed matrices over the same data.
    #[must_use]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, band: self.band.t(), layout: self.layout.t(), ..self }
    }

    /// Slots per matrix along the main direction of storage: rows or columns.
    pub(crate) fn lines(&self) -> usize {
        match self.layout {
            Layout::Rows => self.rows,
            Layout::Columns => self.cols,
        }
    }

    /// Slots in all: batch × (rows or columns) × width.
    pub fn len(&self) -> usize {
        self.batch.saturating_mul(self.lines()).saturating_mul(self.band.width())
    }

    /// Whether there is no slot, as with batch 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot of entry (i, j) of matrix b, if the band holds it.
    ///
    /// Rows layout: `(b · rows + i) · width + j - i + lower`; columns layout:
    /// `(b · cols + j) · width + i - j + upper`.
    pub fn slot(&self, b: usize, i: usize, j: usize) -> Option<usize> {
        let stored = b < self.batch && i < self.rows && j < self.cols && self.band.contains(i, j);
        let (line, k) = match self.layout {
            Layout::Rows => (b * self.rows + i, j as i64 - i as i64 + self.band.lower()),
            Layout::Columns => (b * self.cols + j, i as i64 - j as i64 + self.band.upper()),
        };
        stored.then(|| line * self.band.width() + k as usize)
    }

    /// The entry (b, i, j) that a slot holds, if it lies inside the matrix.
    pub fn entry(&self, slot: usize) -> Option<(usize, usize, usize)> {
        let width = self.band.width();
        if self.lines() == 0 {
            return None;
        }
        let (line, k) = (slot / width, (slot % width) as i64);
        let (b, line) = (line / self.lines(), line % self.lines());
        let (partner, limit) = match self.layout {
            Layout::Rows => (line as i64 + k - self.band.lower(), self.cols),
            Layout::Columns => (line as i64 + k - self.band.upper(), self.rows),
        };
        let inside = b < self.batch && partner >= 0 && partner < limit as i64;
        inside.then_some(match self.layout {
            Layout::Rows => (b, line, partner as usize),
            Layout::Columns => (b, partner as usize, line),
        })
    }

    /// The same with the fill as the storage type holds it, which is what slots get.
    fn held(self) -> Self {
        if self.dtype != Dtype::F32 && self.fill != 0.0 { self.fill(self.dtype.rounded(self.fill)) } else { self }
    }

    /// Checks what no kernel could work on.
    pub(crate) fn check(&self, op: &'static str) -> Result<()> {
        let sides = i128::from(self.band.lower().abs().max(self.band.upper().abs()));
        if sides > 1 << 28 {
            return Err(Error::argument(op, "band", self.band.to_string(), "both sides within ±2^28"));
        }
        check_batch(op, self.batch, self.rows, self.cols, self.lines() as u128 * self.band.width() as u128)
    }
}

/// A batch of band matrices on a device.
///
/// Values never change after construction; clones and transposes share them.
///
/// ```
/// use bandsaw::{Band, Banded, BandedShape, Device, Semiring, banded_matmul};
/// let device = Device::best();
/// let a = Banded::from_fn(&device, BandedShape::new(5, 5, Band::new(1, 0)?), |_, i, j| (i + j) as f32)?;
/// let square = banded_matmul(&a, &a.t(), Semiring::Sum)?;
/// assert_eq!(square.shape().band, Band::new(1, 1)?);
/// assert_eq!(square.get(0, 1, 1)?, 1.0 + 4.0);
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Clone)]
pub struct Banded {
    shape: BandedShape,
    buffer: Buffer,
}

impl Banded {
    /// Uploads `data` in storage order. Slots outside the matrix are set to the fill, whatever the
    /// data holds there.
    ///
    /// # Errors
    /// [`Error::Argument`] if the data's length is not the shape's, [`Error::Limit`] or
    /// [`Error::OutOfMemory`] if the device cannot hold it.
    pub fn from_slice(device: &Device, shape: BandedShape, data: &[f32]) -> Result<Self> {
        const OP: &str = "Banded::from_slice";
        shape.check(OP)?;
        if data.len() != shape.len() {
            let BandedShape { batch, layout, .. } = shape;
            let lines = if layout == Layout::Rows { "rows" } else { "columns" };
            let allowed = format!("{} ({batch} batch × {} {lines} × width {})", shape.len(), shape.lines(), shape.band.width());
            return Err(Error::argument(OP, "data", format!("{} values", data.len()), allowed));
        }
        let mut data = data.to_vec();
        for (slot, value) in data.iter_mut().enumerate() {
            if shape.entry(slot).is_none() {
                *value = shape.fill;
            }
        }
        Self::upload(OP, device, shape, &data)
    }

    /// Computes every stored entry from (b, i, j) and uploads it.
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn from_fn(device: &Device, shape: BandedShape, mut entry: impl FnMut(usize, usize, usize) -> f32) -> Result<Self> {
        const OP: &str = "Banded::from_fn";
        shape.check(OP)?;
        let mut data = filled(shape.len(), shape.fill)?;
        for (slot, value) in data.iter_mut().enumerate() {
            if let Some((b, i, j)) = shape.entry(slot) {
                *value = entry(b, i, j);
            }
        }
        Self::upload(OP, device, shape, &data)
    }

    /// The identity, or rather ones on the main diagonal of the shape's band and its fill elsewhere.
    ///
    /// ```
    /// # use bandsaw::*;
    /// let eye = Banded::identity(&Device::cpu(), BandedShape::new(3, 3, Band::new(0, 0)?))?;
    /// assert_eq!(eye.read()?, [1.0; 3]);
    /// let shape = BandedShape::new(2, 2, Band::new(1, 0)?).fill(f32::NEG_INFINITY);
    /// assert_eq!(Banded::identity(&Device::cpu(), shape)?.get(0, 1, 0)?, f32::NEG_INFINITY);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_slice`](Self::from_slice).
    pub fn identity(device: &Device, shape: BandedShape) -> Result<Self> {
        Self::from_fn(device, shape, |_, i, j| if i == j { 1.0 } else { shape.fill })
    }

    fn upload(op: &'static str, device: &Device, shape: BandedShape, data: &[f32]) -> Result<Self> {
        let buffer = device.alloc(shape.dtype.buffer_bytes(shape.len())).map_err(|error| error.of(op))?;
        device.write(&buffer, &shape.dtype.encode(data)?)?;
        Ok(Self::from_buffer(shape, buffer))
    }

    /// A result that a kernel is about to write.
    pub(crate) fn alloc(op: &'static str, device: &Device, shape: BandedShape) -> Result<Self> {
        shape.check(op)?;
        let buffer = device.alloc(shape.dtype.buffer_bytes(shape.len())).map_err(|error| error.of(op))?;
        Ok(Self::from_buffer(shape, buffer))
    }

    /// Over a buffer that a kernel has written.
    pub(crate) fn from_buffer(shape: BandedShape, buffer: Buffer) -> Self {
        Self { shape: shape.held(), buffer }
    }

    /// The structure.
    pub fn shape(&self) -> BandedShape {
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

    /// All slots in storage order, after everything recorded so far has run.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Backend`].
    pub fn read(&self) -> Result<Vec<f32>> {
        self.shape.dtype.decode(&self.device().read(&self.buffer)?, self.shape.len())
    }

    /// All slots of an index matrix ([`Dtype::U32`]) in storage order.
    ///
    /// # Errors
    /// [`Error::Argument`] if the values are no indices.
    pub fn read_u32(&self) -> Result<Vec<u32>> {
        if self.shape.dtype != Dtype::U32 {
            return Err(Error::argument("Banded::read_u32", "self", format!("dtype {}", self.shape.dtype), "dtype u32"));
        }
        Ok(bytemuck::pod_collect_to_vec(&self.device().read(&self.buffer)?))
    }

    /// One entry; the fill if the band does not hold it.
    ///
    /// # Errors
    /// [`Error::Argument`] if (b, i, j) is outside the matrices.
    pub fn get(&self, b: usize, i: usize, j: usize) -> Result<f32> {
        let BandedShape { batch, rows, cols, fill, dtype, .. } = self.shape;
        if b >= batch || i >= rows || j >= cols {
            let allowed = format!("an entry of {batch} × {rows} × {cols}");
            return Err(Error::argument("Banded::get", "index", format!("({b}, {i}, {j})"), allowed));
        }
        let Some(slot) = self.shape.slot(b, i, j) else { return Ok(fill) };
        let byte = slot * dtype.bytes();
        let word = self.device().read(&self.buffer.view(byte / 4 * 4, 4))?;
        let values = dtype.decode(&word, 4 / dtype.bytes())?;
        Ok(values[byte % 4 / dtype.bytes()])
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
    /// let a = Banded::identity(&Device::best(), BandedShape::new(3, 3, Band::new(0, 0)?))?;
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
    /// let a = Banded::from_cudarc(&device, BandedShape::new(3, 3, Band::new(0, 0)?), values)?;
    /// let same = a.cudarc_view(); // and back: the bytes, where they lie
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] if this is no CUDA device, the slice is of another context, or has too few bytes.
    #[cfg(feature = "cuda")]
    pub fn from_cudarc<T>(device: &Device, shape: BandedShape, slice: cudarc::driver::CudaSlice<T>) -> Result<Self> {
        const OP: &str = "Banded::from_cudarc";
        shape.check(OP)?;
        let bytes = shape.dtype.buffer_bytes(shape.len());
        Ok(Self::from_buffer(shape, Buffer::from_cudarc(OP, device, slice, bytes)?))
    }

    /// The bytes of the values on a CUDA device, which work on [`Device::cuda_stream`] sees as they then are;
    /// `None` on other devices.
    #[cfg(feature = "cuda")]
    pub fn cudarc_view(&self) -> Option<cudarc::driver::CudaView<'_, u8>> {
        self.buffer.cuda()
    }

    /// What kernels see.
    pub(crate) fn operand(&self) -> Operand {
        let BandedShape { batch, rows, cols, band, layout, fill, dtype } = self.shape;
        let (lower, upper) = (band.lower() as i32, band.upper() as i32);
        Operand { buffer: self.buffer.clone(), dtype, batch, rows, cols, lower, upper, layout, dense: false, fill }
    }
}

impl std::fmt::Debug for Banded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Banded").field("shape", &self.shape).field("device", self.device()).finish()
    }
}
