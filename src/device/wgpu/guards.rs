//! Whether drivers guard a kernel's access to buffers, on top of the kernel itself.

use std::cell::Cell;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(true) };
}

/// Makes a pipeline, and tells the driver not to guard its accesses, if so wished and the device was opened for it.
pub fn making<T>(unguarded: bool, make: impl FnOnce() -> T) -> T {
    GUARDED.set(!unguarded);
    let made = make();
    GUARDED.set(true);
    made
}

/// Whether the pipeline that this thread makes is guarded.
#[cfg_attr(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")), expect(dead_code))]
pub fn wanted() -> bool {
    GUARDED.get()
}
