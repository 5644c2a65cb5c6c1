//! How a device is opened, and what it is.

/// How a device is opened; the default is what programs want, the rest is for tests.
///
/// ```
/// use bandsaw::{Device, Options};
/// let strict = Options { checked: true, ..Options::default() };
/// let device = Device::open("cpu", strict)?;
/// # Ok::<(), bandsaw::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Let the shader compiler inject bounds checks and loop limits. Slower; same results.
    pub checked: bool,
    /// Use nothing beyond WebGPU's default limits and core WGSL, whatever the adapter has; with CUDA, no
    /// matrix units and operands of at most 128 MiB.
    pub portable: bool,
    /// Fill new buffers with NaN before a kernel writes them, so that an entry it forgets is seen.
    pub poison: bool,
    /// Bytes that one operand may have, if that shall be less than the device's own limit (and at
    /// least 1024), so that batches are split that otherwise would not be.
    pub max_binding: Option<u64>,
}

impl Options {
    /// The device's limit or the one asked for, whichever is smaller.
    pub(super) fn max_binding(self, limit: u64) -> u64 {
        self.max_binding.map_or(limit, |asked| limit.min(asked.max(1024)))
    }
}

/// What a device is and can do.
///
/// ```
/// let info = bandsaw::Device::cpu().info();
/// assert_eq!(info.backend, "cpu");
/// assert!(info.max_binding > 1 << 30);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The name that opens it: `cpu`, `cuda:0`, `wgpu:0`, …
    pub id: String,
    /// The hardware's own name.
    pub name: String,
    /// `cpu`, `cuda`, `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// `discrete`, `integrated`, `software`, …
    pub kind: String,
    /// Bytes that one operand may have.
    pub max_binding: u64,
    /// Bytes that one buffer may have.
    pub max_buffer: u64,
    /// Bytes that the invocations of a workgroup share.
    pub workgroup_memory: u32,
    /// Invocations in a workgroup.
    pub workgroup_size: u32,
    /// Optional shader features that this device has.
    pub features: Vec<String>,
}

#[cfg(any(feature = "cuda", feature = "wgpu"))]
impl Info {
    /// The device as errors name it.
    pub(super) fn label(&self) -> String {
        format!("{} ({})", self.id, self.name)
    }

    /// Checks that a buffer of so many bytes can be.
    pub(super) fn check_buffer(&self, bytes: u64) -> crate::Result<()> {
        if bytes <= self.max_buffer {
            return Ok(());
        }
        let what = "the buffer's size in bytes".into();
        Err(crate::Error::Limit { op: "alloc", what, got: bytes, limit: self.max_buffer, of: self.label() })
    }
}
