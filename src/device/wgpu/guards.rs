//! Whether drivers guard a kernel's access to buffers, on top of the kernel itself.

#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
mod vulkan;

#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub use vulkan::open;

use std::cell::Cell;

/// Elsewhere wgpu has no Vulkan, whose drivers alone can be told.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn open(_: &wgpu::Adapter, _: &wgpu::DeviceDescriptor<'_>) -> Option<(wgpu::Device, wgpu::Queue)> {
    None
}

thread_local! {
    /// Whether the pipeline that this thread makes goes without.
    static UNGUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Makes a pipeline, and tells the driver not to guard its accesses, if so wished and the device was opened for it.
pub fn making<T>(unguarded: bool, make: impl FnOnce() -> T) -> T {
    UNGUARDED.set(unguarded);
    let made = make();
    UNGUARDED.set(false);
    made
}
