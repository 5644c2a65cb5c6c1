//! How the block kernels see a dense batch: tokens × features, contiguous along one of the two.

use super::common::parts;
use crate::device::Buffer;
use crate::operand::{MAX_LEN, Operand};
use crate::{Error, Layout, Result};

/// A part of a dense batch.
pub(crate) struct Tokens {
    pub buffer: Buffer,
    pub batch: u32,
    pub tokens: u32,
    pub features: u32,
    /// Values of one matrix.
    pub batch_stride: u32,
    /// From token to token, or from feature to feature if tokens are contiguous.
    pub stride: u32,
    /// Whether features are contiguous.
    pub along: bool,
    /// Bytes of a value.
    bytes: usize,
}

impl Tokens {
    pub fn new(operand: &Operand) -> Self {
        Self {
            buffer: operand.buffer.clone(),
            batch: operand.batch as u32,
            tokens: operand.rows as u32,
            features: operand.cols as u32,
            batch_stride: operand.len() as u32,
            stride: operand.stride() as u32,
            along: operand.layout == Layout::Rows,
            bytes: operand.dtype.bytes(),
        }
    }

    /// Matrix `n` alone.
    pub fn matrix(&self, n: u32) -> Self {
        let bytes = self.batch_stride as usize * self.bytes;
        Self { buffer: self.buffer.view(n as usize * bytes, bytes), batch: 1, ..*self }
    }

    /// The length of its contiguous side.
    pub fn contiguous(&self) -> usize {
        if self.along { self.features as usize } else { self.tokens as usize }
    }
}

/// Batches with the same batch and tokens, cut so that each part fits a binding and 32-bit indices.
/// Where all are contiguous along features, a batch is one matrix with more tokens, cut anywhere; else
/// it is cut between matrices.
pub(crate) fn pieces(op: &'static str, operands: &[&Operand]) -> Result<Vec<Vec<Tokens>>> {
    let slices = |range: std::ops::Range<usize>| operands.iter().map(|operand| Tokens::new(&operand.slice(range.clone()))).collect();
    if operands.iter().any(|operand| operand.layout == Layout::Columns) {
        return Ok(parts(op, operands)?.into_iter().map(slices).collect());
    }
    let device = operands[0].device();
    let limit = (device.max_binding() / 4).min(MAX_LEN);
    let widest = operands.iter().map(|operand| operand.cols).max().unwrap_or(1);
    let tokens = operands[0].batch * operands[0].rows;
    let mut part = (limit / widest).min(tokens);
    if part < tokens && part >= 64 {
        part -= part % 64; // parts then start where a binding may
    }
    if part == 0 && tokens > 0 {
        let (what, got) = ("one row's size in bytes".into(), widest as u64 * 4);
        return Err(Error::Limit { op, what, got, limit: limit as u64 * 4, of: device.to_string() });
    }
    let cut = |start: usize| {
        let count = part.min(tokens - start);
        let cut = |operand: &&Operand| {
            let bytes = operand.cols * operand.dtype.bytes();
            let (mut new, buffer) = ((*operand).clone(), operand.buffer.view(start * bytes, count * bytes));
            (new.batch, new.rows, new.buffer) = (1, count, buffer);
            Tokens::new(&new)
        };
        operands.iter().map(cut).collect()
    };
    Ok((0..tokens).step_by(part.max(1)).map(cut).collect())
}
