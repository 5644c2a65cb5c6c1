//! Which devices there are, and how each comes to be.

#[cfg(feature = "cuda")]
use std::sync::Arc;

#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "wgpu")]
use super::wgpu;
use super::{Backend, Device, Info, Interpreter, Options, cpu};
use crate::{Error, Result};

impl Device {
    /// The CPU, on all its cores. Always there; its kernels are the specification.
    pub fn cpu() -> Self {
        Self::new(Backend::Cpu(cpu::Cpu::default()), Options::default())
    }

    /// What `BANDSAW_DEVICE` names, else the best device present: an NVIDIA GPU through CUDA (with the
    /// `cuda` feature), a discrete GPU, an integrated one, else the CPU. A software renderer is never the best.
    ///
    /// A name in `BANDSAW_DEVICE` that no device answers to falls back too, with a line on stderr;
    /// use [`Device::from_env`] where that must be an error.
    pub fn best() -> Self {
        Self::from_env().unwrap_or_else(|error| {
            eprintln!("bandsaw: {error}; using the cpu");
            Self::cpu()
        })
    }

    /// [`Device::best`], but a wrong name in `BANDSAW_DEVICE` is an error.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the list of those present.
    pub fn from_env() -> Result<Self> {
        match std::env::var("BANDSAW_DEVICE") {
            Ok(name) if !name.is_empty() => Self::open(&name, Options::default()),
            _ => {
                #[cfg(feature = "cuda")]
                if let Ok(gpu) = Self::cuda(0) {
                    return Ok(gpu);
                }
                #[cfg(feature = "wgpu")]
                if let Some(gpu) = wgpu::Wgpu::best(Options::default())? {
                    return Ok(Self::new(Backend::Wgpu(Box::new(gpu)), Options::default()));
                }
                Ok(Self::cpu())
            }
        }
    }

    /// The device that `name` means: `cpu`, `cuda` (the first NVIDIA GPU), `cuda:1`, `wgpu` (the best
    /// adapter, software ones too), `wgpu:1` (by number) or `wgpu:part of its name`.
    ///
    /// # Errors
    /// [`Error::NoDevice`] with the list of those present; [`Error::Backend`] if the driver refuses, or the
    /// program was built without the `cuda` feature that the name asks for.
    pub fn open(name: &str, options: Options) -> Result<Self> {
        if name == "cpu" {
            return Ok(Self::new(Backend::Cpu(cpu::Cpu::default()), options));
        }
        #[cfg(feature = "cuda")]
        if let Some(Ok(ordinal)) = if name == "cuda" { Some(Ok(0)) } else { name.strip_prefix("cuda:").map(str::parse) } {
            return Ok(Self::new(Backend::Cuda(Box::new(cuda::Cuda::open(ordinal, options)?)), options));
        }
        #[cfg(not(feature = "cuda"))]
        if name == "cuda" || name.starts_with("cuda:") {
            return Err(Error::Backend { device: name.into(), message: "this program was built without the feature cuda".into() });
        }
        #[cfg(feature = "wgpu")]
        if let Some(part) = if name == "wgpu" { Some("") } else { name.strip_prefix("wgpu:") }
            && let Some(gpu) = wgpu::Wgpu::open(part, options)?
        {
            return Ok(Self::new(Backend::Wgpu(Box::new(gpu)), options));
        }
        let present = Self::all().into_iter().map(|info| format!("{} ({})", info.id, info.name)).collect();
        Err(Error::NoDevice { name: name.into(), present })
    }

    /// Every device present, the CPU first.
    pub fn all() -> Vec<Info> {
        #[allow(unused_mut)]
        let mut all = vec![Self::cpu().info()];
        #[cfg(feature = "cuda")]
        all.extend(cuda::Cuda::all());
        #[cfg(feature = "wgpu")]
        all.extend(wgpu::Wgpu::all());
        all
    }

    /// A device over a wgpu device and queue that the program already has, so that buffers and
    /// time on the GPU are shared (with a renderer, say).
    ///
    /// ```no_run
    /// # fn f(adapter: wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue) {
    /// let bandsaw = bandsaw::Device::from_wgpu(&adapter, device, queue);
    /// # }
    /// ```
    #[cfg(feature = "wgpu")]
    pub fn from_wgpu(adapter: &::wgpu::Adapter, device: ::wgpu::Device, queue: ::wgpu::Queue) -> Self {
        let gpu = wgpu::Wgpu::from_parts(adapter, device, queue, Options::default());
        Self::new(Backend::Wgpu(Box::new(gpu)), Options::default())
    }

    /// What to open an adapter with for [`from_wgpu`](Self::from_wgpu), so that operands may be as large
    /// as it takes and kernels use all that it has: `adapter.request_device(&descriptor)`.
    ///
    /// ```no_run
    /// # async fn f(adapter: wgpu::Adapter) -> Result<bandsaw::Device, wgpu::RequestDeviceError> {
    /// let (device, queue) = adapter.request_device(&bandsaw::Device::wgpu_descriptor(&adapter)).await?;
    /// # Ok(bandsaw::Device::from_wgpu(&adapter, device, queue))
    /// # }
    /// ```
    #[cfg(feature = "wgpu")]
    pub fn wgpu_descriptor(adapter: &::wgpu::Adapter) -> ::wgpu::DeviceDescriptor<'static> {
        wgpu::Wgpu::descriptor(adapter, Options::default())
    }

    /// The NVIDIA GPU with this number, through CUDA. It has a context and a stream of its own; work of
    /// one `Device` runs in the order of the calls.
    ///
    /// ```
    /// match bandsaw::Device::cuda(0) {
    ///     Ok(device) => println!("{device}"),
    ///     Err(error) => println!("{error}"), // cuda: no NVIDIA driver: looked for the library …
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Backend`] that says what is missing: NVIDIA's driver, the GPU, or compute capability 8.0.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize) -> Result<Self> {
        let options = Options::default();
        Ok(Self::new(Backend::Cuda(Box::new(cuda::Cuda::open(ordinal, options)?)), options))
    }

    /// A device over a CUDA context and stream that the program already has, so that buffers are shared
    /// with it (with candle or another user of cudarc, say). All work goes to that stream.
    ///
    /// ```no_run
    /// let context = cudarc::driver::CudaContext::new(0)?;
    /// let device = bandsaw::Device::from_cudarc(context.default_stream())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Backend`] if the GPU has not compute capability 8.0, or the driver refuses.
    #[cfg(feature = "cuda")]
    pub fn from_cudarc(stream: Arc<cudarc::driver::CudaStream>) -> Result<Self> {
        let options = Options::default();
        Ok(Self::new(Backend::Cuda(Box::new(cuda::Cuda::on(stream, options)?)), options))
    }

    /// A device with the CPU's memory, whose kernels are run from their WGSL by `run`; for the tests.
    #[doc(hidden)]
    pub fn interpreted(run: Interpreter, options: Options) -> Self {
        Self::new(Backend::Cpu(cpu::Cpu::interpreted(run)), options)
    }
}
