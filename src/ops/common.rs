//! What every operation does around its kernel.

use std::ops::Range;

use crate::device::Buffer;
use crate::operand::{ALIGNED, MAX_LEN, Operand};
use crate::{Banded, BandedShape, Dense, DenseShape, Device, Dtype, Error, Layout, Result};

/// Checks that all operands are on one device.
pub(crate) fn same_device(op: &'static str, first: &Operand, others: &[(&'static str, &Operand)]) -> Result<()> {
    others.iter().try_for_each(|(argument, other)| same_device_as(op, first.device(), &[(*argument, other.device())]))
}

/// The same where not all are [`Operand`]s.
pub(crate) fn same_device_as(op: &'static str, first: &Device, others: &[(&'static str, &Device)]) -> Result<()> {
    for (argument, other) in others {
        if first != *other {
            return Err(Error::WrongDevice { op, argument, got: other.to_string(), allowed: first.to_string() });
        }
    }
    Ok(())
}

/// Checks that a buffer which cannot be split fits one binding.
pub(crate) fn check_binding(op: &'static str, what: &str, buffer: &Buffer) -> Result<()> {
    let limit = buffer.device.max_binding() as u64;
    if buffer.bytes as u64 <= limit {
        return Ok(());
    }
    Err(Error::Limit { op, what: what.into(), got: buffer.bytes as u64, limit, of: buffer.device.to_string() })
}

/// Index arrays for kernels.
pub(crate) fn upload_words(device: &Device, words: &[u32]) -> Result<Buffer> {
    let buffer = device.alloc(4 * words.len())?;
    device.write(&buffer, bytemuck::cast_slice(words))?;
    Ok(buffer)
}

/// Checks that two sizes agree.
pub(crate) fn same(op: &'static str, argument: &'static str, what: &str, got: usize, want: usize, of: &str) -> Result<()> {
    if got == want {
        return Ok(());
    }
    Err(Error::argument(op, argument, format!("{what} {got}"), format!("{what} {want} ({of})")))
}

/// Checks that an operand holds values, not indices.
pub(crate) fn values(op: &'static str, argument: &'static str, operand: &Operand) -> Result<()> {
    if operand.dtype == Dtype::U32 {
        return Err(Error::argument(op, argument, "dtype u32", "dtype f32, f16 or bf16"));
    }
    Ok(())
}

/// Whether the device has matrix units that take operands of these types, which are all one: f16, or on CUDA bf16.
pub(crate) fn on_matrix_units(device: &Device, dtypes: &[Dtype]) -> bool {
    let all = |dtype| dtypes.iter().all(|own| *own == dtype);
    device.has_matrix_units() && (all(Dtype::F16) || device.is_cuda() && all(Dtype::Bf16))
}

/// The storage type of a result: that of the operands if it is the same half for all, else f32.
pub(crate) fn result_dtype(operands: &[&Operand]) -> Dtype {
    Dtype::of_result(operands.iter().map(|operand| operand.dtype))
}

/// Bytes that one operand may have: what a binding takes, and 32-bit indices reach.
fn limit(device: &Device) -> usize {
    device.max_binding().min(MAX_LEN * 4)
}

/// Whether a matrix of so many values, as f32, fits one binding.
pub(crate) fn fits(device: &Device, values: usize) -> bool {
    values <= limit(device) / 4
}

/// Whether single matrices of all operands do.
pub(crate) fn fit(operands: &[&Operand]) -> bool {
    operands.iter().all(|operand| fits(operand.device(), operand.len()))
}

fn too_large(op: &'static str, operand: &Operand) -> Error {
    let device = operand.device();
    let (got, limit) = (operand.len() as u64 * 4, limit(device) as u64);
    Error::Limit { op, what: "one matrix's size in bytes".into(), got, limit, of: device.to_string() }
}

/// The batch cut into parts whose operands each fit one binding and 32-bit indices.
pub(crate) fn parts(op: &'static str, operands: &[&Operand]) -> Result<Vec<Range<usize>>> {
    let first = operands[0];
    let mut part = first.batch;
    for operand in operands {
        if !fit(&[operand]) {
            return Err(too_large(op, operand));
        }
        part = part.min(limit(first.device()) / (operand.len() * 4).max(1));
    }
    if part < first.batch && part >= ALIGNED {
        part -= part % ALIGNED;
    }
    Ok((0..first.batch).step_by(part.max(1)).map(|start| start..(start + part).min(first.batch)).collect())
}

/// What one launch gets of each operand: some matrices of the batch, or a window of one.
pub(crate) struct Piece<const N: usize> {
    pub operands: [Operand; N],
    /// The rows and columns of the window in the matrix.
    pub windows: Windows<N>,
}

/// Rows and columns of each operand.
pub(crate) type Windows<const N: usize> = [[Range<usize>; 2]; N];

/// For [`pieces`] of an operation that works entry by entry or row by row.
pub(crate) fn alike<const N: usize>(result: &Operand) -> impl Fn(Range<usize>) -> Windows<N> + '_ {
    |rows| {
        let cols = result.columns_met(&rows);
        std::array::from_fn(|_| [rows.clone(), cols.clone()])
    }
}

/// The work cut into pieces whose operands, all f32, each fit one binding: the batch, as [`parts`] does, or if a
/// single matrix is too large, the rows of the first operand, which is the result. `meeting` says which rows and
/// columns of each operand some rows of the result need; they hold all that the result has of these rows.
pub(crate) fn pieces<const N: usize>(
    op: &'static str,
    operands: [&Operand; N],
    meeting: impl Fn(Range<usize>) -> Windows<N>,
) -> Result<Vec<Piece<N>>> {
    let Operand { batch, rows, .. } = *operands[0];
    if batch == 0 || fit(&operands) {
        let whole = |range: Range<usize>| Piece {
            operands: operands.map(|operand| operand.slice(range.clone())),
            windows: operands.map(|operand| [0..operand.rows, 0..operand.cols]),
        };
        return Ok(parts(op, &operands)?.into_iter().map(whole).collect());
    }
    let large = || operands.into_iter().find(|operand| !fit(&[operand])).unwrap_or(operands[0]);
    // In columns layout, rows are not lines that could be written apart.
    if operands[0].layout == Layout::Columns {
        return Err(too_large(op, large()));
    }
    let piece = |matrix: usize, windows: Windows<N>| {
        let mut cut = operands.map(Operand::clone);
        for (part, window) in cut.iter_mut().zip(&windows) {
            let lines = part.slice(matrix..matrix + 1).window(window).ok_or_else(|| too_large(op, large()))?;
            *part = if fit(&[&lines]) { lines } else { return Err(too_large(op, part)) };
        }
        Ok(Piece { operands: cut, windows })
    };
    let mut step = rows;
    loop {
        // Rows that start where a binding may, as long as so many fit.
        step = if step > ALIGNED { (step / 2).next_multiple_of(ALIGNED) } else { step.div_ceil(2) };
        let cuts = || (0..rows).step_by(step).map(|start| meeting(start..(start + step).min(rows)));
        match cuts().try_for_each(|windows| piece(0, windows).map(drop)) {
            Ok(()) => {
                return (0..batch).flat_map(|matrix| cuts().map(move |windows| (matrix, windows))).map(|(m, w)| piece(m, w)).collect();
            }
            Err(error) if step == 1 => return Err(error),
            Err(_) => {}
        }
    }
}

/// How many threads share a row on CUDA, where 128 of them take 128 / that many of the `lines`; see
/// `shaders/shared/row.cuh`. At most 9 values each, since bands are often one wider than a power of two; in
/// columns layout, where fewer threads read more at once, as few as fill a GPU.
pub(crate) fn row_lanes(a: &Operand, lines: usize) -> usize {
    let stored = if a.dense { a.cols } else { (a.lower + a.upper) as usize + 1 };
    let most = stored.div_ceil(9).next_power_of_two().clamp(4, 32);
    match a.layout {
        Layout::Rows => most,
        Layout::Columns => [4, 8, 16].into_iter().find(|lanes| lines * lanes >= 1 << 17).unwrap_or(32).min(most),
    }
}

/// Launch geometry of the kernels whose rows are shared out in one way everywhere but on CUDA: rows to a
/// workgroup, and the constants.
pub(crate) fn shared_rows(a: &Operand, lines: usize) -> (usize, Vec<(&'static str, f64)>) {
    if a.device().is_cuda() {
        let lanes = row_lanes(a, lines);
        return (128 / lanes, vec![("LANES", lanes as f64)]);
    }
    (if a.layout == Layout::Rows { 4 } else { 32 }, Vec::new())
}

/// Workgroups of the kernels that write each slot of a result once: 256 slots each, but on CUDA a stretch of a
/// line for some threads of 256; see `shaders/shared/stretch.cuh`.
pub(crate) fn slot_groups(out: &Operand) -> u64 {
    if !out.device().is_cuda() {
        return (out.batch * out.len()).div_ceil(256) as u64;
    }
    const SLOTS: usize = 16;
    let lines = out.batch * if out.layout == Layout::Rows { out.rows } else { out.cols };
    let width = if out.dense { out.stride() as usize } else { out.stride() as usize + 1 };
    let lanes = width.div_ceil(SLOTS).next_power_of_two().min(32);
    (lines * width.div_ceil(SLOTS * lanes)).div_ceil(256 / lanes) as u64
}

/// A matrix whose values kernels can work on: itself, or its halves widened to f32.
pub(crate) fn widened(operand: &Operand) -> Result<Operand> {
    let mut new = operand.clone();
    if operand.dtype == operand.dtype.widened() {
        return Ok(new);
    }
    new.dtype = operand.dtype.widened();
    new.buffer = super::cast::cast(&operand.buffer, operand.batch * operand.len(), operand.dtype, new.dtype)?;
    Ok(new)
}

/// A copy of f32 values in rows layout.
pub(crate) fn in_rows(op: &'static str, operand: &Operand) -> Result<Operand> {
    let mut new = operand.clone();
    (new.layout, new.dtype) = (Layout::Rows, operand.dtype.widened());
    new.buffer = operand.device().alloc(new.batch * new.len() * 4).map_err(|error| error.of(op))?;
    super::banded_move::run(op, operand, &new, [0, 0], 0.0)?;
    Ok(new)
}

/// Operands as the kernel for their storage type reads them: as they are stored if that is the same half for all, the
/// device's kernels read halves, and each part of the batch starts at a whole word; else widened.
pub(crate) fn as_read<const N: usize>(operands: [&Operand; N], parts: &[Range<usize>]) -> Result<[Operand; N]> {
    let device = operands[0].device();
    let alike = operands.iter().all(|operand| operand.dtype == operands[0].dtype);
    let in_words = |part: &Range<usize>| operands.iter().all(|operand| operand.slice(part.clone()).is_in_words());
    if alike && !device.is_cpu() && !device.is_cuda() && parts.iter().all(in_words) {
        return Ok(operands.map(Operand::clone));
    }
    let mut wide = operands.map(Operand::clone);
    for operand in &mut wide {
        *operand = widened(operand)?;
    }
    Ok(wide)
}

/// A result being made: f32 while kernels write it, its own storage type at the end.
pub(crate) struct Output {
    pub operand: Operand,
    dtype: Dtype,
}

impl Output {
    pub fn banded(op: &'static str, device: &Device, shape: BandedShape) -> Result<(Self, BandedShape)> {
        let wide = BandedShape { dtype: shape.dtype.widened(), ..shape };
        Ok((Self { operand: Banded::alloc(op, device, wide)?.operand(), dtype: shape.dtype }, shape))
    }

    pub fn dense(op: &'static str, device: &Device, shape: DenseShape) -> Result<(Self, DenseShape)> {
        let wide = DenseShape { dtype: shape.dtype.widened(), ..shape };
        Ok((Self { operand: Dense::alloc(op, device, wide)?.operand(), dtype: shape.dtype }, shape))
    }

    /// A result that kernels write in its own storage type.
    pub fn stored_banded(op: &'static str, device: &Device, shape: BandedShape) -> Result<Self> {
        Ok(Self { operand: Banded::alloc(op, device, shape)?.operand(), dtype: shape.dtype })
    }

    /// A result that kernels write in its own storage type.
    pub fn stored(op: &'static str, device: &Device, shape: DenseShape) -> Result<(Self, DenseShape)> {
        Ok((Self { operand: Dense::alloc(op, device, shape)?.operand(), dtype: shape.dtype }, shape))
    }

    /// The buffer in the result's own storage type.
    pub fn finish(self) -> Result<Buffer> {
        super::cast::cast(&self.operand.buffer, self.operand.batch * self.operand.len(), self.operand.dtype, self.dtype)
    }
}
