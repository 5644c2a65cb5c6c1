//! A context with its stream and its memory pool, and what the driver says of GPUs and errors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUmemPool_attribute as PoolAttribute};
use cudarc::driver::{CudaSlice, CudaStream, DriverError, result, sys};

use super::super::Info;
use crate::{Error, Result};

/// The oldest compute capability that the PTX is for.
const OLDEST: (i32, i32) = (8, 0);

/// How many GPUs the driver shows.
///
/// # Errors
/// [`Error::Backend`] where there is no driver, or it refuses.
pub(crate) fn count() -> Result<usize> {
    // SAFETY: looks for the library, nothing more.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Backend {
            device: "cuda".into(),
            message: "no NVIDIA driver: looked for the library libcuda.so (nvcuda.dll on Windows), which comes with it".into(),
        });
    }
    let count = result::init().and_then(|()| result::device::get_count()).map_err(|error| translate("cuda", 0, error))?;
    Ok(count as usize)
}

/// Whether the driver has what describes arrays to kernels.
pub(crate) fn has_tensor_maps() -> bool {
    // SAFETY: the library is there, since a device was described; looks for a name in it.
    unsafe { sys::culib().get::<*const std::ffi::c_void>(b"cuTensorMapEncodeTiled").is_ok() }
}

/// What the driver says of a GPU.
pub(crate) struct Described {
    ordinal: usize,
    name: String,
    capability: (i32, i32),
    memory: u64,
    shared: u32,
    processors: u32,
    integrated: bool,
    driver: i32,
}

pub(crate) fn describe(ordinal: usize) -> Result<Described> {
    let describe = || -> std::result::Result<_, DriverError> {
        let device = result::device::get(ordinal as i32)?;
        // SAFETY: `device` is one that the driver gave.
        let attribute = |attribute| unsafe { result::device::get_attribute(device, attribute) };
        let mut driver = 0;
        // SAFETY: writes one integer.
        unsafe { sys::cuDriverGetVersion(&mut driver) }.result()?;
        Ok(Described {
            ordinal,
            name: result::device::get_name(device)?,
            capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: as above.
            memory: unsafe { result::device::total_mem(device)? } as u64,
            shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as u32,
            processors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
            integrated: attribute(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)? != 0,
            driver,
        })
    };
    describe().map_err(|error| translate(&format!("cuda:{ordinal}"), 0, error))
}

impl Described {
    pub fn processors(&self) -> u32 {
        self.processors
    }

    pub fn runs_ptx(&self) -> bool {
        self.capability >= OLDEST
    }

    /// Whether kernels for Hopper run: their PTX is for exactly this chip.
    pub fn is_hopper(&self) -> bool {
        self.capability == (9, 0)
    }

    /// Whether a kernel may start before the one before has ended, and wait for it itself.
    pub fn starts_early(&self) -> bool {
        self.capability >= (9, 0)
    }

    pub fn too_old(&self) -> Error {
        let ((major, minor), (least, _)) = (self.capability, OLDEST);
        Error::Backend {
            device: format!("cuda:{} ({})", self.ordinal, self.name),
            message: format!("compute capability {major}.{minor}, must be at least {least}.0; wgpu runs on it"),
        }
    }

    pub fn info(&self) -> Info {
        let (major, minor) = self.capability;
        let target = if self.is_hopper() { "PTX sm_90a" } else { "PTX sm_80" };
        Info {
            id: format!("cuda:{}", self.ordinal),
            name: self.name.clone(),
            backend: "cuda".into(),
            driver: format!("CUDA {}.{}", self.driver / 1000, self.driver % 1000 / 10),
            kind: if self.integrated { "integrated" } else { "discrete" }.into(),
            max_binding: self.memory,
            max_buffer: self.memory,
            workgroup_memory: self.shared,
            workgroup_size: 1024,
            features: vec![format!("compute capability {major}.{minor}"), target.into(), "matrix units".into()],
        }
    }
}

/// The driver's error in this library's terms.
pub(crate) fn translate(device: &str, bytes: u64, error: DriverError) -> Error {
    use sys::cudaError_enum as Code;
    let device = device.to_owned();
    let name = error.error_name().map_or_else(|_| format!("error {}", error.0 as i32), |name| name.to_string_lossy().into_owned());
    let text = error.error_string().map_or_else(|_| String::new(), |text| format!(": {}", text.to_string_lossy()));
    match error.0 {
        Code::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { device, bytes },
        // After these the context does nothing any more.
        Code::CUDA_ERROR_ILLEGAL_ADDRESS
        | Code::CUDA_ERROR_LAUNCH_TIMEOUT
        | Code::CUDA_ERROR_LAUNCH_FAILED
        | Code::CUDA_ERROR_ASSERT
        | Code::CUDA_ERROR_HARDWARE_STACK_ERROR
        | Code::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | Code::CUDA_ERROR_MISALIGNED_ADDRESS
        | Code::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | Code::CUDA_ERROR_INVALID_PC
        | Code::CUDA_ERROR_ECC_UNCORRECTABLE
        | Code::CUDA_ERROR_NVLINK_UNCORRECTABLE
        | Code::CUDA_ERROR_CONTEXT_IS_DESTROYED
        | Code::CUDA_ERROR_INVALID_CONTEXT
        | Code::CUDA_ERROR_DEINITIALIZED
        | Code::CUDA_ERROR_DEVICE_UNAVAILABLE
        | Code::CUDA_ERROR_UNKNOWN => Error::DeviceLost { device, reason: format!("{name}{text}") },
        _ => Error::Backend { device, message: format!("{name}{text}") },
    }
}

/// A context, the stream that all work goes to, and the pool that its memory comes from.
pub(crate) struct Context {
    stream: Arc<CudaStream>,
    name: String,
    /// None where the driver has no pools; memory then comes and goes at once.
    pool: Option<sys::CUmemoryPool>,
    small: Mutex<Small>,
}

/// Small memory that came back, by its size. Everything happens in the order of one stream, so it can be handed out again
/// at once, without the two calls that the driver's pool takes.
#[derive(Default)]
struct Small {
    waiting: HashMap<usize, Vec<CudaSlice<u8>>>,
    bytes: usize,
}

/// Bytes of the largest that is kept here, and of all.
const SMALL: usize = 64 << 10;
const ALL_SMALL: usize = 16 << 20;

// SAFETY: a pool is a handle that the driver guards by its own locks.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        self.forget();
        if let Some(pool) = self.pool {
            // SAFETY: made in `new`; every memory that came from it held this context and is freed. An error
            // means that the driver has given up the context, and the pool with it.
            let _ = self.bind().and_then(|()| unsafe { result::mem_pool::destroy(pool) });
        }
    }
}

impl Context {
    pub fn new(stream: Arc<CudaStream>, name: String) -> Result<Self> {
        let mut new = Self { stream, name, pool: None, small: Mutex::default() };
        new.pool = new.new_pool().map_err(|error| new.translate(0, error))?;
        Ok(new)
    }

    /// A pool that keeps what is freed until it is trimmed.
    fn new_pool(&self) -> std::result::Result<Option<sys::CUmemoryPool>, DriverError> {
        self.bind()?;
        if !self.stream.context().has_async_alloc() {
            return Ok(None);
        }
        let location =
            sys::CUmemLocation { type_: sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, id: self.stream.context().cu_device() };
        // SAFETY: zero is what the driver asks for in the members not set here.
        let mut properties: sys::CUmemPoolProps = unsafe { std::mem::zeroed() };
        properties.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        properties.handleTypes = sys::CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE;
        properties.location = location;
        let mut everything = u64::MAX;
        // SAFETY: the properties are whole, the attribute is a u64.
        unsafe {
            let pool = result::mem_pool::create(&properties)?;
            let attribute = PoolAttribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
            result::mem_pool::set_attribute(pool, attribute, std::ptr::from_mut(&mut everything).cast())?;
            Ok(Some(pool))
        }
    }

    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes this the context of the calling thread.
    pub fn bind(&self) -> std::result::Result<(), DriverError> {
        self.stream.context().bind_to_thread()
    }

    pub fn translate(&self, bytes: u64, error: DriverError) -> Error {
        translate(&self.name, bytes, error)
    }

    pub fn alloc(&self, bytes: usize) -> std::result::Result<CudaSlice<u8>, DriverError> {
        if let Some(slice) = self.small().take(bytes) {
            return Ok(slice);
        }
        self.bind()?;
        // SAFETY: the contents are undefined, as `Device::alloc` says; the slice frees what was allocated, on
        // the stream it was allocated on.
        unsafe {
            let Some(pool) = self.pool else { return self.stream.alloc(bytes) };
            let pointer = result::mem_pool::alloc_async(pool, bytes, self.stream.cu_stream())?;
            Ok(self.stream.upgrade_device_ptr(pointer, bytes))
        }
    }

    /// Takes what `alloc` gave, to be used again after what the stream does until then. Where slices know of uses on other
    /// streams, as a program's do, the driver frees it after those.
    pub fn give_back(&self, slice: CudaSlice<u8>) {
        if !self.stream.context().is_event_tracking() {
            self.small().keep(slice);
        }
    }

    /// Frees what is kept here.
    pub fn forget(&self) {
        *self.small() = Small::default();
    }

    fn small(&self) -> MutexGuard<'_, Small> {
        self.small.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back to the driver what the pool keeps.
    pub fn trim(&self) {
        if let Some(pool) = self.pool {
            // SAFETY: made in `new`. If the driver refuses, the memory stays where it is.
            let _ = unsafe { result::mem_pool::trim_to(pool, 0) };
        }
    }

    /// What the pool holds, in use or not.
    pub fn reserved_bytes(&self) -> u64 {
        let mut bytes = 0u64;
        if let Some(pool) = self.pool {
            let attribute = PoolAttribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT;
            // SAFETY: the attribute is a u64. It stays 0 if the driver refuses.
            let _ = unsafe { result::mem_pool::get_attribute(pool, attribute, std::ptr::from_mut(&mut bytes).cast()) };
        }
        bytes
    }
}

impl Small {
    fn take(&mut self, bytes: usize) -> Option<CudaSlice<u8>> {
        let slice = self.waiting.get_mut(&bytes)?.pop()?;
        self.bytes -= bytes;
        Some(slice)
    }

    fn keep(&mut self, slice: CudaSlice<u8>) {
        let bytes = slice.num_bytes();
        if bytes <= SMALL && self.bytes + bytes <= ALL_SMALL {
            self.bytes += bytes;
            self.waiting.entry(bytes).or_default().push(slice);
        }
    }
}
