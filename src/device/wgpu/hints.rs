//! What a driver is told of a kernel's pipeline that WGSL can't say.

#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod vulkan;

#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub use vulkan::open;

use std::cell::Cell;

use crate::kernel::Kernel;

/// Elsewhere wgpu has no Vulkan, whose drivers alone can be told.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn open(_: &wgpu::Adapter, _: &wgpu::DeviceDescriptor<'_>) -> Option<(wgpu::Device, wgpu::Queue)> {
    None
}

#[derive(Clone, Copy)]
struct Hints {
    /// The driver need not guard access to buffers, on top of the kernel itself.
    unguarded: bool,
    /// Nor unroll loops.
    rolled: bool,
}

const NONE: Hints = Hints { unguarded: false, rolled: false };

thread_local! {
    /// What is said of the pipeline that this thread makes.
    static HINTS: Cell<Hints> = const { Cell::new(NONE) };
}

/// Makes a kernel's pipeline, and tells the driver what is to be said of it, if the device was opened for that.
pub fn making<T>(kernel: &Kernel, make: impl FnOnce() -> T) -> T {
    HINTS.set(Hints { unguarded: kernel.is_unguarded(), rolled: kernel.keeps_loops() });
    let made = make();
    HINTS.set(NONE);
    made
}
