//! f16 ↔ f32, for operands and results that are stored in half precision; and plain copies.

use crate::device::{Buffer, Launch};
use crate::kernel::{Kernel, params, ptx};
use crate::{Device, Result, cpu};

params! {
    /// What the casts get.
    Params { words: u32, values: u32 }
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
            params: bytemuck::bytes_of(&Params { words, values: words }),
            inputs: &[&from.view(start, bytes)],
            outputs: &[&to.view(start, bytes)],
            groups: u64::from(words.div_ceil(2048)),
            constants: &[],
            function: None,
        })?;
    }
    Ok(to)
}

/// `values` halves as f32.
pub(crate) fn widen(halves: &Buffer, values: usize) -> Result<Buffer> {
    cast(&WIDEN, halves, values, 4 * values)
}

/// `values` f32 as halves.
pub(crate) fn narrow(wide: &Buffer, values: usize) -> Result<Buffer> {
    cast(&NARROW, wide, values, (2 * values).next_multiple_of(4))
}

fn cast(kernel: &'static Kernel, from: &Buffer, values: usize, bytes: usize) -> Result<Buffer> {
    let device = &from.device;
    let to = device.alloc(bytes)?;
    // Parts start where a binding may, on both sides.
    let part = (device.max_binding() / 4).min(crate::operand::MAX_LEN) / 256 * 256;
    for start in (0..values).step_by(part) {
        let count = part.min(values - start);
        let (wide, packed) = (count * 4, (count * 2).next_multiple_of(4));
        let widening = std::ptr::eq(kernel, &WIDEN);
        let (input, output) = if widening {
            (from.view(start * 2, packed), to.view(start * 4, wide))
        } else {
            (from.view(start * 4, wide), to.view(start * 2, packed))
        };
        let words = count.div_ceil(2);
        device.launch(&Launch {
            kernel,
            params: bytemuck::bytes_of(&Params { words: words as u32, values: count as u32 }),
            inputs: &[&input],
            outputs: &[&output],
            groups: words.div_ceil(128) as u64,
            constants: &[],
            function: None,
        })?;
    }
    Ok(to)
}
