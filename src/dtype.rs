//! Storage types.

use std::borrow::Cow;

use half::{bf16, f16};

use crate::Result;
use crate::operand::reserve;

/// How a value is stored. Arithmetic is f32 on GPUs and f64 on the CPU, whatever the storage.
///
/// ```
/// assert_eq!(bandsaw::Dtype::F16.bytes(), 2);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dtype {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision; kept in pairs, one 32-bit word each.
    F16,
    /// The upper half of an f32: its range, 8 bits of precision; kept in pairs too.
    Bf16,
    /// An index, as the argmax products give it; `u32::MAX` where there is none.
    U32,
}

impl Dtype {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Whether two values share a word: kernels unpack them, or get f32 copies.
    pub(crate) fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16)
    }

    /// What kernels read and write: f32 for halves.
    pub(crate) fn widened(self) -> Self {
        if self.is_half() { Self::F32 } else { self }
    }

    /// The type of a result of operands of these types: theirs if they agree on a half, else f32.
    pub(crate) fn of_result(operands: impl IntoIterator<Item = Self>) -> Self {
        let mut operands = operands.into_iter();
        let first = operands.next().unwrap_or_default();
        if first.is_half() && operands.all(|other| other == first) { first } else { Self::F32 }
    }

    /// The value that is stored for `value`.
    pub(crate) fn rounded(self, value: f32) -> f32 {
        match self {
            Self::F32 => value,
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 => bf16::from_f32(value).to_f32(),
            Self::U32 => value as u32 as f32,
        }
    }

    /// Bytes of `len` values on a device, whole words.
    pub(crate) fn buffer_bytes(self, len: usize) -> usize {
        (len * self.bytes()).next_multiple_of(4)
    }

    /// `values` as they are stored.
    pub(crate) fn encode(self, values: &[f32]) -> Result<Cow<'_, [u8]>> {
        let (mut bytes, len) = (Vec::new(), self.buffer_bytes(values.len()));
        if self != Self::F32 {
            reserve(&mut bytes, len)?;
        }
        match self {
            Self::F32 => return Ok(bytemuck::cast_slice(values).into()),
            Self::F16 => bytes.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes())),
            Self::Bf16 => bytes.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes())),
            Self::U32 => bytes.extend(values.iter().flat_map(|value| (*value as u32).to_le_bytes())),
        }
        bytes.resize(len, 0); // halves fill whole words
        Ok(bytes.into())
    }

    /// The first `len` stored values.
    pub(crate) fn decode(self, bytes: &[u8], len: usize) -> Result<Vec<f32>> {
        let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).take(len);
        let halves = bytes.chunks_exact(2).map(|half| u16::from_le_bytes([half[0], half[1]])).take(len);
        let mut values = Vec::new();
        reserve(&mut values, len)?;
        match self {
            Self::F32 => values.extend(words.map(f32::from_bits)),
            Self::F16 => values.extend(halves.map(|bits| f16::from_bits(bits).to_f32())),
            Self::Bf16 => values.extend(halves.map(|bits| bf16::from_bits(bits).to_f32())),
            Self::U32 => values.extend(words.map(|word| word as f32)),
        }
        Ok(values)
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::U32 => "u32",
        })
    }
}
