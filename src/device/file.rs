//! Files mapped into memory, so that a large one costs what is read of it.

use std::fs::File;

use memmap2::Mmap;

/// The whole file, read-only. It must not be changed while the map is there.
#[allow(unsafe_code)]
pub(crate) fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only, and the documentation of `io::Checkpoint::open` forbids changing the
    // file while it is open, which no program can rule out; nothing is read as anything but numbers, and
    // every offset is checked against the length of the map.
    unsafe { Mmap::map(file) }
}
