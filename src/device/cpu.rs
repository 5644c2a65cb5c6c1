//! The CPU backend: buffers are vectors, a launch calls the kernel's definition.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Info, Launch, Memory as AnyMemory};
use crate::expr::Expr;
use crate::{Error, Result};

/// The CPU and all its cores.
pub(crate) struct Cpu;

/// Words that kernels see as `f32` or `u32`.
#[derive(Clone)]
pub(crate) struct Memory(Arc<Words>);

struct Words(RwLock<Vec<u32>>);

/// What all CPU buffers of the process hold; they share one memory.
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

impl Drop for Words {
    fn drop(&mut self) {
        let words = self.0.get_mut().map(|words| words.capacity()).unwrap_or(0);
        ALLOCATED.fetch_sub(words as u64 * 4, Ordering::Relaxed);
    }
}

/// What a kernel's definition reads: its `Params` and inputs.
pub struct Args<'a> {
    params: &'a [u8],
    inputs: Vec<(RwLockReadGuard<'a, Vec<u32>>, std::ops::Range<usize>)>,
    function: Option<&'a Expr>,
}

impl Args<'_> {
    /// The kernel's `Params`.
    pub fn params<P: bytemuck::Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(&self.params[..size_of::<P>()])
    }

    /// Input `n` as values.
    pub fn f32(&self, n: usize) -> &[f32] {
        bytemuck::cast_slice(self.u32(n))
    }

    /// Input `n` as words.
    pub fn u32(&self, n: usize) -> &[u32] {
        let (guard, range) = &self.inputs[n];
        &guard[range.clone()]
    }

    /// The expression that is the kernel's `f`.
    pub fn function(&self) -> &Expr {
        self.function.expect("launched with the expression it needs")
    }
}

/// What a kernel's definition writes: the words of each output.
pub type Outputs<'a, 'b> = &'a mut [&'b mut [u32]];

impl Cpu {
    pub fn info(&self) -> Info {
        let threads = rayon::current_num_threads();
        Info {
            id: "cpu".into(),
            name: format!("CPU, {threads} threads"),
            backend: "cpu".into(),
            driver: format!("bandsaw {}", env!("CARGO_PKG_VERSION")),
            kind: "cpu".into(),
            max_binding: isize::MAX as u64,
            max_buffer: isize::MAX as u64,
            workgroup_memory: 0,
            workgroup_size: 1,
            features: Vec::new(),
        }
    }

    pub fn allocated_bytes(&self) -> u64 {
        ALLOCATED.load(Ordering::Relaxed)
    }

    pub fn alloc(&self, bytes: usize) -> Result<Memory> {
        if bytes > 1 << 30 && bytes as u64 > memory_limit() {
            return Err(Error::OutOfMemory { device: "cpu".into(), bytes: bytes as u64 });
        }
        let mut words = Vec::new();
        words.try_reserve_exact(bytes / 4).map_err(|_| Error::OutOfMemory { device: "cpu".into(), bytes: bytes as u64 })?;
        words.resize(bytes / 4, 0);
        ALLOCATED.fetch_add(words.capacity() as u64 * 4, Ordering::Relaxed);
        Ok(Memory(Arc::new(Words(RwLock::new(words)))))
    }

    pub fn write(&self, memory: &Memory, offset: usize, data: &[u8]) -> Result<()> {
        let mut words = write(memory);
        bytemuck::cast_slice_mut(&mut words[offset / 4..][..data.len() / 4]).copy_from_slice(data);
        Ok(())
    }

    pub fn read(&self, memory: &Memory, offset: usize, bytes: usize) -> Result<Vec<u8>> {
        Ok(bytemuck::cast_slice(&read(memory)[offset / 4..][..bytes / 4]).to_vec())
    }

    pub fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        let memory = |buffer: &'_ super::Buffer| match &buffer.memory {
            AnyMemory::Cpu(memory) => Ok((memory.clone(), buffer.offset / 4..(buffer.offset + buffer.bytes) / 4)),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => Err(buffer.of_another("cpu")),
        };
        let inputs = launch.inputs.iter().map(|buffer| memory(buffer)).collect::<Result<Vec<_>>>()?;
        let outputs = launch.outputs.iter().map(|buffer| memory(buffer)).collect::<Result<Vec<_>>>()?;
        let args = Args {
            params: launch.params,
            inputs: inputs.iter().map(|(memory, range)| (read(memory), range.clone())).collect(),
            function: launch.function,
        };
        let mut guards: Vec<_> = outputs.iter().map(|(memory, range)| (write(memory), range.clone())).collect();
        let mut outputs: Vec<_> = guards.iter_mut().map(|(guard, range)| &mut guard[range.clone()]).collect();
        (launch.kernel.cpu)(&args, &mut outputs);
        Ok(())
    }
}

/// What no allocation can be backed by. A system that overcommits would grant it and end the process
/// once it is written. Twice what Linux tells, since a virtual
/// machine's memory may grow.
fn memory_limit() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    kilobytes("MemTotal:").map_or(u64::MAX, |memory| 2 * 1024 * (memory + kilobytes("SwapTotal:").unwrap_or(0)))
}

fn read(memory: &Memory) -> RwLockReadGuard<'_, Vec<u32>> {
    memory.0.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn write(memory: &Memory) -> RwLockWriteGuard<'_, Vec<u32>> {
    memory.0.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}
