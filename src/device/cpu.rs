//! The CPU backend: buffers are vectors, a launch calls the kernel's definition. Tests may put an interpreter of
//! the kernels' WGSL in its place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Buffer, Info, Launch, Memory as AnyMemory};
use crate::expr::Expr;
use crate::kernel::Kernel;
use crate::operand::reserve;
use crate::{Error, Result};

/// The CPU and all its cores.
#[derive(Default)]
pub(crate) struct Cpu {
    /// What runs the kernels' WGSL here instead of their definitions.
    interpreter: Option<Interpreter>,
}

/// Runs a kernel's WGSL text; the tests have one.
pub type Interpreter = fn(Interpreted<'_>);

/// One run of a kernel, for an interpreter of its text.
#[allow(missing_docs)]
pub struct Interpreted<'a> {
    pub kernel: &'static Kernel,
    /// The text, with the expression's function.
    pub source: String,
    /// Values of its `override` constants.
    pub constants: &'a [(&'static str, f64)],
    pub params: &'a [u8],
    /// The words of each input, and of each output, before the launch and after it.
    pub inputs: &'a [Vec<u32>],
    pub outputs: &'a mut [Vec<u32>],
    /// Workgroups, counted along one line.
    pub groups: u64,
}

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
    pub fn interpreted(run: Interpreter) -> Self {
        Self { interpreter: Some(run) }
    }

    /// Whether an interpreter runs the kernels.
    pub fn is_interpreted(&self) -> bool {
        self.interpreter.is_some()
    }

    pub fn info(&self) -> Info {
        let threads = rayon::current_num_threads();
        let (id, name, kind) = match self.interpreter {
            None => ("cpu", format!("CPU, {threads} threads"), "cpu"),
            Some(_) => ("interpreter", "interpreter of WGSL".into(), "software"),
        };
        Info {
            id: id.into(),
            name,
            backend: id.into(),
            driver: format!("bandsaw {}", env!("CARGO_PKG_VERSION")),
            kind: kind.into(),
            max_binding: isize::MAX as u64,
            max_buffer: isize::MAX as u64,
            workgroup_memory: 0,
            workgroup_size: 1,
            features: self.interpreter.map(|_| "matrix units".into()).into_iter().collect(),
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
        let mut out = Vec::new();
        reserve(&mut out, bytes)?;
        out.extend_from_slice(bytemuck::cast_slice(&read(memory)[offset / 4..][..bytes / 4]));
        Ok(out)
    }

    pub fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        if let Some(run) = self.interpreter {
            return self.interpret(run, launch);
        }
        let memory = |buffer: &'_ Buffer| match &buffer.memory {
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

    /// Buffers are copied, so that an input and an output may be views of one.
    fn interpret(&self, run: Interpreter, launch: &Launch<'_>) -> Result<()> {
        let copy = |buffer: &&Buffer| match &buffer.memory {
            AnyMemory::Cpu(memory) => Ok(read(memory)[buffer.offset / 4..][..buffer.bytes / 4].to_vec()),
            #[cfg(any(feature = "cuda", feature = "wgpu"))]
            _ => Err(buffer.of_another("interpreter")),
        };
        let inputs = launch.inputs.iter().map(copy).collect::<Result<Vec<_>>>()?;
        let mut outputs = launch.outputs.iter().map(copy).collect::<Result<Vec<_>>>()?;
        run(Interpreted {
            kernel: launch.kernel,
            source: launch.kernel.source(launch.function.map(Expr::to_wgsl).as_deref()),
            constants: launch.constants,
            params: launch.params,
            inputs: &inputs,
            outputs: &mut outputs,
            groups: launch.groups,
        });
        for (buffer, words) in launch.outputs.iter().zip(&outputs) {
            #[allow(irrefutable_let_patterns)] // other backends may be left out
            if let AnyMemory::Cpu(memory) = &buffer.memory {
                self.write(memory, buffer.offset, bytemuck::cast_slice(words))?;
            }
        }
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
