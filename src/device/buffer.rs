//! Bytes on a device.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use std::sync::Arc;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use super::Backend;
#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "wgpu")]
use super::wgpu;
use super::{Device, cpu};
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::{Error, Result};

/// Bytes on a device; a view when it starts inside a larger allocation.
#[derive(Clone)]
pub(crate) struct Buffer {
    pub device: Device,
    pub memory: Memory,
    /// Where the view starts, in bytes, a multiple of 4.
    pub offset: usize,
    /// Its length in bytes, a multiple of 4.
    pub bytes: usize,
}

#[derive(Clone)]
pub(crate) enum Memory {
    Cpu(cpu::Memory),
    #[cfg(feature = "cuda")]
    Cuda(Arc<cuda::Memory>),
    #[cfg(feature = "wgpu")]
    Wgpu(Arc<wgpu::Memory>),
}

impl Buffer {
    /// The wgpu buffer these bytes lie in, and where, once what is recorded so far has been submitted.
    #[cfg(feature = "wgpu")]
    pub fn wgpu(&self) -> Result<Option<(::wgpu::Buffer, std::ops::Range<u64>)>> {
        let (Backend::Wgpu(gpu), Memory::Wgpu(memory)) = (&self.device.0.backend, &self.memory) else { return Ok(None) };
        gpu.submit()?;
        let start = self.offset as u64;
        Ok(Some((memory.buffer().clone(), start..start + self.bytes as u64)))
    }

    /// Memory of a program that shares the device; `bytes` of it, which the slice must have.
    #[cfg(feature = "cuda")]
    pub fn from_cudarc<T>(op: &'static str, device: &Device, slice: cudarc::driver::CudaSlice<T>, bytes: usize) -> Result<Self> {
        let Backend::Cuda(gpu) = &device.0.backend else {
            return Err(Error::argument(op, "device", device.to_string(), "a CUDA device"));
        };
        if slice.context().cu_ctx() != gpu.stream().context().cu_ctx() {
            return Err(Error::argument(op, "slice", "another CUDA context", "the context of the device"));
        }
        if slice.num_bytes() < bytes {
            return Err(Error::argument(op, "slice", format!("{} bytes", slice.num_bytes()), format!("at least {bytes} bytes")));
        }
        Ok(Self { device: device.clone(), memory: Memory::Cuda(gpu.adopt(slice)?), offset: 0, bytes })
    }

    /// The CUDA memory these bytes lie in.
    #[cfg(feature = "cuda")]
    pub fn cuda(&self) -> Option<cudarc::driver::CudaView<'_, u8>> {
        let Memory::Cuda(memory) = &self.memory else { return None };
        memory.slice().try_slice(self.offset..self.offset + self.bytes)
    }

    /// What a backend says of a buffer that isn't its; the operations check before they come this far.
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    pub fn of_another(&self, device: &str) -> Error {
        Error::Backend { device: device.into(), message: format!("a buffer of another device, {}", self.device) }
    }

    /// Whether its values are known to be graded, of sizes that differ from place to place, which only some kernels are fast with.
    pub fn is_graded(&self) -> bool {
        match &self.memory {
            #[cfg(feature = "wgpu")]
            Memory::Wgpu(memory) => memory.is_graded(),
            _ => false,
        }
    }

    /// The part of this buffer from `offset`, `bytes` long.
    pub fn view(&self, offset: usize, bytes: usize) -> Self {
        debug_assert!(offset + bytes <= self.bytes);
        Self { offset: self.offset + offset, bytes, ..self.clone() }
    }
}
