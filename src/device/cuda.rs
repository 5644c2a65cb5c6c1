//! The CUDA backend: NVIDIA GPUs through their driver alone, by PTX that is part of this crate.
//!
//! Devices of one GPU share the driver's primary context, as other libraries do. Everything of one device
//! runs on one stream, in the order of the calls; memory comes from a pool of its own and is freed in that
//! order too, so nothing here waits but [`Cuda::sync`], reads, writes and the end.
#![allow(unsafe_code)]

mod context;
mod maps;
mod modules;

use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

pub(crate) use context::Context;
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DriverError, result, sys};
use maps::MAPS;
use modules::Modules;

use super::{Info, Launch, Memory as AnyMemory, Options};
use crate::{Error, Result};

/// One GPU, on a stream of its own or one that the program has.
pub(crate) struct Cuda {
    context: Arc<Context>,
    info: Info,
    modules: Mutex<Modules>,
    matrix_units: bool,
    /// Whether matrix units are Hopper's.
    warpgroups: bool,
    /// Whether the driver describes arrays to kernels that copy boxes of them.
    tensor_maps: bool,
    processors: u32,
    submissions: AtomicU64,
}

/// Bytes on the GPU, freed in the order of the stream.
pub(crate) struct Memory {
    context: Arc<Context>,
    /// `Some` until dropped.
    slice: Option<CudaSlice<u8>>,
    address: sys::CUdeviceptr,
    /// Whether the context gave it, not the program.
    own: bool,
}

impl Memory {
    fn new(context: &Arc<Context>, slice: CudaSlice<u8>, own: bool) -> Arc<Self> {
        let address = slice.device_ptr(context.stream()).0;
        Arc::new(Self { context: Arc::clone(context), slice: Some(slice), address, own })
    }

    pub fn slice(&self) -> &CudaSlice<u8> {
        self.slice.as_ref().expect("present until dropped")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Some(slice) = self.slice.take() else { return };
        if self.own {
            self.context.give_back(slice);
        } else if slice.stream() != self.context.stream() {
            // A program's memory is freed on the program's stream, which must not be before this one is done
            // with it. If the driver refuses, the context is lost and so is the memory.
            let _ = slice.stream().join(self.context.stream());
        }
    }
}

/// What kernels need to be aligned to: their widest load.
const ALIGNMENT: u64 = 16;

/// Bytes of an operand in WebGPU's default limits, which portable devices keep to.
const PORTABLE_BINDING: u64 = 128 << 20;

impl Drop for Cuda {
    fn drop(&mut self) {
        // If the driver refuses, the context is lost and its modules with it.
        if self.context.bind().is_ok() && self.sync().is_ok() {
            self.modules.get_mut().unwrap_or_else(PoisonError::into_inner).unload();
        }
    }
}

impl Cuda {
    /// Every NVIDIA GPU that the driver shows and the PTX is for; none where there is no driver.
    pub fn all() -> Vec<Info> {
        let found = (0..context::count().unwrap_or(0)).filter_map(|ordinal| context::describe(ordinal).ok());
        found.filter(|found| found.runs_ptx()).map(|found| found.info()).collect()
    }

    /// The GPU with this number.
    ///
    /// # Errors
    /// [`Error::Backend`] that says what is missing: the driver, the GPU, or its compute capability.
    pub fn open(ordinal: usize, options: Options) -> Result<Self> {
        let count = context::count()?;
        let device = || format!("cuda:{ordinal}");
        if ordinal >= count {
            return Err(Error::Backend { device: device(), message: format!("no such GPU, the driver shows {count}") });
        }
        let fail = |error| context::translate(&device(), 0, error);
        let context = CudaContext::new(ordinal).map_err(fail)?;
        // SAFETY: all slices of this handle to the context are used on its one stream, so there is nothing to
        // track; other handles to the same context track their own.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(fail)?;
        Self::on(stream, options)
    }

    /// On a context and stream that the program has.
    pub fn on(stream: Arc<CudaStream>, options: Options) -> Result<Self> {
        let described = context::describe(stream.context().ordinal())?;
        if !described.runs_ptx() {
            return Err(described.too_old());
        }
        let mut info = described.info();
        info.max_binding = options.max_binding(info.max_binding);
        if options.portable {
            info.max_binding = info.max_binding.min(PORTABLE_BINDING);
            info.features.clear();
        }
        let context = Arc::new(Context::new(stream, info.label())?);
        let modules = Mutex::new(Modules::new(described.is_hopper(), described.starts_early()));
        let (matrix_units, processors) = (!options.portable, described.processors());
        let warpgroups = matrix_units && described.is_hopper();
        let tensor_maps = warpgroups && context::has_tensor_maps();
        Ok(Self { context, info, modules, matrix_units, warpgroups, tensor_maps, processors, submissions: AtomicU64::new(0) })
    }

    pub fn stream(&self) -> &Arc<CudaStream> {
        self.context.stream()
    }

    pub fn info(&self) -> Info {
        self.info.clone()
    }

    pub fn max_binding(&self) -> u64 {
        self.info.max_binding
    }

    pub fn has_matrix_units(&self) -> bool {
        self.matrix_units
    }

    pub fn has_warpgroups(&self) -> bool {
        self.warpgroups
    }

    pub fn has_tensor_maps(&self) -> bool {
        self.tensor_maps
    }

    pub fn processors(&self) -> u32 {
        self.processors
    }

    /// Kernels and copies handed to the driver so far.
    pub fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }

    pub fn allocated_bytes(&self) -> u64 {
        self.context.reserved_bytes()
    }

    fn check<T>(&self, result: std::result::Result<T, DriverError>) -> Result<T> {
        result.map_err(|error| self.context.translate(0, error))
    }

    pub fn alloc(&self, bytes: usize) -> Result<Arc<Memory>> {
        // Whole loads: a kernel may read up to the next multiple of the widest one.
        let size = bytes.max(1).next_multiple_of(ALIGNMENT as usize);
        self.info.check_buffer(size as u64)?;
        let slice = self.context.alloc(size).or_else(|_| {
            // What the pool keeps for reuse may be what is missing; so may work not yet run.
            self.context.forget();
            self.sync()?;
            self.context.trim();
            self.context.alloc(size).map_err(|error| self.context.translate(size as u64, error))
        })?;
        Ok(Memory::new(&self.context, slice, true))
    }

    /// Memory that the program has, to be freed on its own stream at the end.
    pub fn adopt<T>(&self, slice: CudaSlice<T>) -> Result<Arc<Memory>> {
        self.check(self.stream().join(slice.stream()))?;
        let (stream, bytes) = (Arc::clone(slice.stream()), slice.num_bytes());
        // SAFETY: the pointer was just given up by a slice of this many bytes, and plain numbers are valid
        // as bytes.
        let slice = unsafe { stream.upgrade_device_ptr(slice.leak(), bytes) };
        Ok(Memory::new(&self.context, slice, false))
    }

    pub fn write(&self, memory: &Memory, offset: usize, data: &[u8]) -> Result<()> {
        self.check(self.context.bind())?;
        self.submissions.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the view lies in the allocation, as `Device::write` checks; the driver has taken `data`
        // when this returns, since it is pageable memory.
        self.check(unsafe { result::memcpy_htod_async(memory.address + offset as u64, data, self.stream().cu_stream()) })
    }

    pub fn read(&self, memory: &Memory, offset: usize, bytes: usize) -> Result<Vec<u8>> {
        self.check(self.context.bind())?;
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let mut out = crate::operand::filled(bytes, 0)?;
        // SAFETY: the view lies in the allocation, as `Buffer::view` checks, and `out` lives past the wait.
        self.check(unsafe { result::memcpy_dtoh_async(&mut out, memory.address + offset as u64, self.stream().cu_stream()) })?;
        self.sync()?;
        Ok(out)
    }

    pub fn sync(&self) -> Result<()> {
        self.check(self.stream().synchronize())
    }

    /// Runs `work` between two events on the stream.
    pub fn time<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        let event = || self.check(self.stream().record_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT)));
        let start = event()?;
        let done = work()?;
        let end = event()?;
        let milliseconds = self.check(start.elapsed_ms(&end))?;
        Ok((done, Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3)))
    }

    pub fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        self.check(self.context.bind())?;
        let entry = {
            let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
            modules.entry(&self.context, launch)?
        };
        let groups = u32::try_from(launch.groups).ok().filter(|groups| *groups < 1 << 31).ok_or_else(|| Error::Limit {
            op: launch.kernel.name,
            what: "the number of blocks".into(),
            got: launch.groups,
            limit: (1 << 31) - 1,
            of: self.context.name().into(),
        })?;

        // Views that the kernel could not load from are replaced by copies.
        let stream = self.stream().cu_stream();
        let (mut addresses, mut back, mut kept) = ([0u64; 16], Vec::new(), Vec::new());
        for (n, buffer) in launch.inputs.iter().chain(launch.outputs).enumerate() {
            let AnyMemory::Cuda(memory) = &buffer.memory else {
                return Err(buffer.of_another(self.context.name()));
            };
            addresses[n] = memory.address + buffer.offset as u64;
            if !addresses[n].is_multiple_of(ALIGNMENT) {
                let copy = self.alloc(buffer.bytes)?;
                // Outputs too: a kernel may write some lines and leave the others as they are.
                // SAFETY: both have this many bytes.
                self.check(unsafe { result::memcpy_dtod_async(copy.address, addresses[n], buffer.bytes, stream) })?;
                if n >= launch.kernel.inputs {
                    back.push((addresses[n], copy.address, buffer.bytes));
                }
                addresses[n] = copy.address;
                kept.push(copy);
            }
        }
        let count = launch.inputs.len() + launch.outputs.len();
        let mut arguments = [std::ptr::null_mut::<c_void>(); 17 + MAPS];
        // Copied, since the driver reads it by the alignment of its members.
        let mut params = [0u32; 16];
        bytemuck::bytes_of_mut(&mut params)[..launch.params.len()].copy_from_slice(launch.params);
        arguments[0] = params.as_mut_ptr().cast();
        for (argument, address) in arguments[1..].iter_mut().zip(&mut addresses[..count]) {
            *argument = std::ptr::from_mut(address).cast();
        }
        let mut maps = [sys::CUtensorMap { opaque: [0; 16] }; MAPS];
        for (n, described) in entry.maps.iter().flatten().enumerate() {
            let input = described.input as usize;
            let map = described.encode(addresses[input], launch.inputs[input].bytes, params[described.length as usize]);
            maps[n] = self.check(map)?;
            arguments[count + 1 + n] = std::ptr::from_mut(&mut maps[n]).cast();
        }
        self.submissions.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the entry takes `Params` and as many pointers as the kernel has inputs and outputs, which
        // `Device::launch` checks, then the maps that it describes; each kernel checks its own indices against its
        // `Params`, which the operations derive from the buffers' sizes; buffers are freed in the order of this stream.
        self.check(unsafe { entry.launch(groups, stream, &mut arguments) })?;
        for (to, from, bytes) in back {
            // SAFETY: as above.
            self.check(unsafe { result::memcpy_dtod_async(to, from, bytes, stream) })?;
        }
        Ok(())
    }
}
