//! Storage types into each other, for operands and results that are stored as f16 or bf16; and plain
//! copies.

use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, params, ptx};
use crate::{Device, Dtype, Result, cpu};

params! {
    /// What the casts get; `brain` is 1 for bf16.
    Params { words: u32, values: u32, brain: u32 }
}

pub(crate) static WIDEN: Kernel = Kernel {
    name: "cast",
    wgsl: &[include_str!("../../shaders/cast.wgsl"), super::matmul::SHARED[1]],
    ptx: ptx!("cast.sm_80"),
    cpu: cpu::cast::widen,
    params: Params::FIELDS,
    inputs: 1,
    outputs: 1,
};

pub(crate) static NARROW: Kernel = Kernel {
    name: "cast.narrow",
    wgsl: &[include_str!("../../shaders/cast.narrow.wgsl"), super::matmul::SHARED[1]],
    cpu: cpu::cast::narrow,
    ..WIDEN
};

pub(crate) static COPY: Kernel = Kernel {
    name: "cast.copy",
    wgsl: &[include_str!("../../shaders/cast.copy.wgsl"), super::matmul::SHARED[1]],
    cpu: cpu::cast::copy,
    ..WIDEN
};

/// The same words in a new buffer on this device, which they never leave if they are there already.
pub(crate) fn copy(from: &Buffer, device: &Device) -> Result<Buffer> {
    let to = device.alloc(from.bytes)?;
    if from.device != *device {
        device.write(&to, &from.device.read(from)?)?;
        return Ok(to);
    }
    let part = device.max_binding().min(crate::operand::MAX_LEN) / 1024 * 1024;
    for start in (0..from.bytes).step_by(part) {
        let bytes = part.min(from.bytes - start);
        let words = (bytes / 4) as u32;
        device.launch(&Launch {
            kernel: &COPY,
            params: bytemuck::bytes_of(&Params { words, values: words, brain: 0 }),
            inputs: &[&from.view(start, bytes)],
            outputs: &[&to.view(start, bytes)],
            groups: u64::from(words.div_ceil(2048)),
            constants: &[],
            function: None,
        })?;
    }
    Ok(to)
}

/// `values` numbers of one storage type as the other, neither u32; the buffer itself where they agree.
pub(crate) fn cast(buffer: &Buffer, values: usize, from: Dtype, to: Dtype) -> Result<Buffer> {
    match (from.is_half(), to.is_half()) {
        _ if from == to => Ok(buffer.clone()),
        (true, true) => cast(&cast(buffer, values, from, Dtype::F32)?, values, Dtype::F32, to),
        _ => convert(buffer, values, from, to),
    }
}

/// Between f32 and a half.
fn convert(buffer: &Buffer, values: usize, from: Dtype, to: Dtype) -> Result<Buffer> {
    let device = &buffer.device;
    let new = device.alloc(to.buffer_bytes(values))?;
    let kernel = if from.is_half() { &WIDEN } else { &NARROW };
    let brain = u32::from(from == Dtype::Bf16 || to == Dtype::Bf16);
    // Parts start where a binding may, on both sides.
    let part = (device.max_binding() / 4).min(crate::operand::MAX_LEN) / 256 * 256;
    for start in (0..values).step_by(part) {
        let count = part.min(values - start);
        let view = |buffer: &Buffer, dtype: Dtype| buffer.view(start * dtype.bytes(), dtype.buffer_bytes(count));
        let words = count.div_ceil(2);
        device.launch(&Launch {
            kernel,
            params: bytemuck::bytes_of(&Params { words: words as u32, values: count as u32, brain }),
            inputs: &[&view(buffer, from)],
            outputs: &[&view(&new, to)],
            groups: words.div_ceil(128) as u64,
            constants: &[],
            function: None,
        })?;
    }
    Ok(new)
}
