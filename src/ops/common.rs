//! What every operation does around its kernel.

use std::ops::Range;

use crate::device::Buffer;
use crate::operand::{MAX_LEN, Operand};
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

/// The storage type of a result: that of the operands if it is the same half for all, else f32.
pub(crate) fn result_dtype(operands: &[&Operand]) -> Dtype {
    Dtype::of_result(operands.iter().map(|operand| operand.dtype))
}

/// The batch cut into parts whose operands each fit one binding and 32-bit indices.
pub(crate) fn parts(op: &'static str, operands: &[&Operand]) -> Result<Vec<Range<usize>>> {
    let first = operands[0];
    let limit = first.device().max_binding().min(MAX_LEN * 4);
    let mut part = first.batch;
    for operand in operands {
        let bytes = operand.len() * 4;
        if bytes > limit {
            return Err(Error::Limit {
                op,
                what: "one matrix's size in bytes".into(),
                got: bytes as u64,
                limit: limit as u64,
                of: first.device().to_string(),
            });
        }
        part = part.min(limit / bytes.max(1));
    }
    if part < first.batch && part >= 64 {
        part -= part % 64; // parts then start where a binding may
    }
    Ok((0..first.batch).step_by(part.max(1)).map(|start| start..(start + part).min(first.batch)).collect())
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
    new.dtype = operand.dtype.widened();
    new.buffer = super::cast::cast(&operand.buffer, operand.batch * operand.len(), operand.dtype, new.dtype)?;
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
