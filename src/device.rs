//! A device: where values live and kernels run. Five verbs, no operation.

mod buffer;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod file;
mod info;
mod launch;
mod open;
#[cfg(feature = "wgpu")]
pub(crate) mod wgpu;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use buffer::{Buffer, Memory};
pub use cpu::{Interpreted, Interpreter};
pub use info::{Info, Options};
pub(crate) use launch::Launch;

use crate::Result;

/// Where values live and kernels run: the CPU, or a GPU through CUDA or wgpu.
///
/// Cheap to clone; clones are the same device. Work is recorded and runs when a result is read,
/// on [`sync`](Self::sync), or when enough is queued.
///
/// ```
/// use bandsaw::Device;
/// let device = Device::best(); // a GPU where there is one, else the CPU
/// println!("{device}");
/// assert_eq!(Device::cpu().to_string(), "cpu");
/// ```
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    backend: Backend,
    options: Options,
}

enum Backend {
    Cpu(cpu::Cpu),
    #[cfg(feature = "cuda")]
    Cuda(Box<cuda::Cuda>),
    #[cfg(feature = "wgpu")]
    Wgpu(Box<wgpu::Wgpu>),
}

impl Device {
    /// The stream that all work of a CUDA device goes to; `None` on other devices.
    #[cfg(feature = "cuda")]
    pub fn cuda_stream(&self) -> Option<&Arc<cudarc::driver::CudaStream>> {
        match &self.0.backend {
            Backend::Cuda(gpu) => Some(gpu.stream()),
            _ => None,
        }
    }

    fn new(backend: Backend, options: Options) -> Self {
        Self(Arc::new(Inner { backend, options }))
    }

    /// What this device is and can do.
    pub fn info(&self) -> Info {
        match &self.0.backend {
            Backend::Cpu(cpu) => {
                let mut info = cpu.info();
                info.max_binding = self.0.options.max_binding(info.max_binding);
                info.features.retain(|_| !self.0.options.portable);
                info
            }
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.info(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.info(),
        }
    }

    /// How this device was opened.
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// Waits until everything recorded so far has run.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn sync(&self) -> Result<()> {
        match &self.0.backend {
            Backend::Cpu(_) => Ok(()),
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.sync(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.sync(),
        }
    }

    /// Runs `work` and says how long the device took for what it recorded: by the GPU's own
    /// timestamps where it has them, else by the wall clock around a [`sync`](Self::sync).
    ///
    /// ```
    /// use bandsaw::*;
    /// let device = Device::cpu();
    /// let a = Banded::from_fn(&device, BandedShape::new(64, 64, Band::new(1, 1)?), |_, i, j| (i + j) as f32)?;
    /// let (product, time) = device.time(|| banded_matmul(&a, &a, Semiring::Sum))?;
    /// println!("{time:?}");
    /// # Ok::<(), bandsaw::Error>(())
    /// ```
    ///
    /// # Errors
    /// What `work` returns, or [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn time<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        match &self.0.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.time(work),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.time(work),
            Backend::Cpu(_) => {
                let start = std::time::Instant::now();
                Ok((work()?, start.elapsed()))
            }
        }
    }

    /// How many times work was handed to the GPU so far: wgpu's are submissions of many kernels, CUDA's
    /// are single kernels and copies. 0 on the CPU.
    pub fn submissions(&self) -> u64 {
        match &self.0.backend {
            Backend::Cpu(_) => 0,
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.submissions(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.submissions(),
        }
    }

    /// Bytes of this device's memory that buffers hold now, those kept for reuse included.
    pub fn allocated_bytes(&self) -> u64 {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.allocated_bytes(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.allocated_bytes(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.allocated_bytes(),
        }
    }

    /// Whether kernels on matrix units run here: f16 × f16 → f32 in pieces of 16 × 16, by subgroups
    /// of 32.
    pub(crate) fn has_matrix_units(&self) -> bool {
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.is_interpreted() && !self.0.options.portable,
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.has_matrix_units(),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.has_matrix_units(),
        }
    }

    /// Whether kernels run as PTX, for operations that cut their work otherwise there.
    pub(crate) fn is_cuda(&self) -> bool {
        match &self.0.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(_) => true,
            _ => false,
        }
    }

    /// Whether kernels run that are made for Hopper's matrix units.
    pub(crate) fn has_warpgroups(&self) -> bool {
        match &self.0.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.has_warpgroups(),
            _ => false,
        }
    }

    /// Whether kernels run that bring boxes of arrays into the memory of neighbouring multiprocessors.
    pub(crate) fn has_tensor_maps(&self) -> bool {
        match &self.0.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.has_tensor_maps(),
            _ => false,
        }
    }

    /// The multiprocessors of a GPU whose kernels are PTX, for those that keep each of them busy with a block.
    pub(crate) fn processors(&self) -> Option<u32> {
        match &self.0.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => Some(gpu.processors()),
            _ => None,
        }
    }

    /// A new buffer of at least `bytes`, contents undefined.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Buffer> {
        let bytes = bytes.next_multiple_of(4);
        let memory = match &self.0.backend {
            Backend::Cpu(cpu) => Memory::Cpu(cpu.alloc(bytes)?),
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => Memory::Cuda(gpu.alloc(bytes)?),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => Memory::Wgpu(gpu.alloc(bytes)?),
        };
        let buffer = Buffer { device: self.clone(), memory, offset: 0, bytes };
        if self.0.options.poison {
            self.write(&buffer, &vec![0xff; bytes])?;
        }
        Ok(buffer)
    }

    /// Copies `data` to the start of the buffer.
    pub(crate) fn write(&self, buffer: &Buffer, data: &[u8]) -> Result<()> {
        debug_assert!(data.len() <= buffer.bytes && data.len().is_multiple_of(4));
        if data.is_empty() {
            return Ok(());
        }
        match (&self.0.backend, &buffer.memory) {
            (Backend::Cpu(cpu), Memory::Cpu(memory)) => cpu.write(memory, buffer.offset, data),
            #[cfg(feature = "cuda")]
            (Backend::Cuda(gpu), Memory::Cuda(memory)) => gpu.write(memory, buffer.offset, data),
            #[cfg(feature = "wgpu")]
            (Backend::Wgpu(gpu), Memory::Wgpu(memory)) => gpu.write(memory, buffer.offset, data),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => Err(buffer.of_another(&self.to_string())),
        }
    }

    /// The buffer's bytes, after everything recorded so far has run.
    pub(crate) fn read(&self, buffer: &Buffer) -> Result<Vec<u8>> {
        if buffer.bytes == 0 {
            return Ok(Vec::new());
        }
        match (&self.0.backend, &buffer.memory) {
            (Backend::Cpu(cpu), Memory::Cpu(memory)) => cpu.read(memory, buffer.offset, buffer.bytes),
            #[cfg(feature = "cuda")]
            (Backend::Cuda(gpu), Memory::Cuda(memory)) => gpu.read(memory, buffer.offset, buffer.bytes),
            #[cfg(feature = "wgpu")]
            (Backend::Wgpu(gpu), Memory::Wgpu(memory)) => gpu.read(memory, buffer.offset, buffer.bytes),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => Err(buffer.of_another(&self.to_string())),
        }
    }

    /// Records one run of a kernel.
    pub(crate) fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        debug_assert_eq!(launch.inputs.len(), launch.kernel.inputs, "{}", launch.kernel.name);
        debug_assert_eq!(launch.outputs.len(), launch.kernel.outputs, "{}", launch.kernel.name);
        debug_assert!(crate::kernel::ALL.iter().any(|kernel| std::ptr::eq(*kernel, launch.kernel)), "{}", launch.kernel.name);
        let runs = !launch.kernel.needs_matrix_units() || self.has_matrix_units() || self.is_cpu();
        debug_assert!(runs, "{} on {self}, which has no matrix units", launch.kernel.name);
        if launch.groups == 0 {
            return Ok(());
        }
        match &self.0.backend {
            Backend::Cpu(cpu) => cpu.launch(launch),
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => gpu.launch(launch),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.launch(launch),
        }
    }

    /// Bytes that one operand may have.
    pub(crate) fn max_binding(&self) -> usize {
        match &self.0.backend {
            Backend::Cpu(_) => usize::try_from(self.0.options.max_binding(isize::MAX as u64)).unwrap_or(usize::MAX),
            #[cfg(feature = "cuda")]
            Backend::Cuda(gpu) => usize::try_from(gpu.max_binding()).unwrap_or(usize::MAX),
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => usize::try_from(gpu.max_binding()).unwrap_or(usize::MAX),
        }
    }

    /// Bytes that a workgroup's shared variables may have, as far as a shader has such a limit.
    pub(crate) fn workgroup_memory(&self) -> usize {
        match &self.0.backend {
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.workgroup_memory() as usize,
            _ => usize::MAX,
        }
    }

    /// Invocations that a workgroup may have, as far as a shader has such a limit.
    pub(crate) fn workgroup_size(&self) -> usize {
        match &self.0.backend {
            #[cfg(feature = "wgpu")]
            Backend::Wgpu(gpu) => gpu.workgroup_size() as usize,
            _ => usize::MAX,
        }
    }

    /// Whether this is the CPU backend, whose kernels are their definitions.
    pub(crate) fn is_cpu(&self) -> bool {
        matches!(&self.0.backend, Backend::Cpu(cpu) if !cpu.is_interpreted())
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.is_cpu() && other.is_cpu())
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let info = self.info();
        if info.id == "cpu" { f.write_str("cpu") } else { write!(f, "{} ({}, {})", info.id, info.name, info.backend) }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({self})")
    }
}
