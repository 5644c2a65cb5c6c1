//! Storage types.

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
    /// An index, as the argmax products give it; `u32::MAX` where there is none.
    U32,
}

impl Dtype {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 => 2,
        }
    }

    /// Bytes of `len` values on a device, whole words.
    pub(crate) fn buffer_bytes(self, len: usize) -> usize {
        (len * self.bytes()).next_multiple_of(4)
    }

    /// `values` as they are stored.
    pub(crate) fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => bytemuck::cast_slice(values).to_vec(),
            Self::F16 => {
                let mut halves: Vec<half::f16> = values.iter().map(|value| half::f16::from_f32(*value)).collect();
                if halves.len() % 2 == 1 {
                    halves.push(half::f16::ZERO);
                }
                bytemuck::cast_slice(&halves).to_vec()
            }
            Self::U32 => bytemuck::cast_slice(&values.iter().map(|value| *value as u32).collect::<Vec<_>>()).to_vec(),
        }
    }

    /// The first `len` stored values.
    pub(crate) fn decode(self, bytes: &[u8], len: usize) -> Vec<f32> {
        let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        match self {
            Self::F32 => words.take(len).map(f32::from_bits).collect(),
            Self::F16 => bytes.chunks_exact(2).take(len).map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect(),
            Self::U32 => words.take(len).map(|word| word as f32).collect(),
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U32 => "u32",
        })
    }
}
