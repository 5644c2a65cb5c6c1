//! Buffers, kept for reuse when their last owner lets go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::lock;

/// Free buffers by size, and how much there is in all.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<Free>,
    /// Buffers made so far, each of which has its number as its name.
    made: AtomicU64,
    /// Buffers given up so far.
    given_up: AtomicU64,
}

#[derive(Default)]
struct Free {
    /// In the order in which they came back.
    buffers: BTreeMap<u64, Vec<Named>>,
    returned: u64,
    idle: u64,
    allocated: u64,
}

impl Free {
    /// Frees the buffer that has waited longest.
    fn give_up(&mut self) {
        let longest = self.buffers.iter().filter_map(|(size, waiting)| Some((waiting.first()?.returned, *size))).min();
        let Some((_, size)) = longest else { return };
        if let Some(waiting) = self.buffers.get_mut(&size) {
            waiting.remove(0);
        }
        self.idle -= size;
        self.allocated -= size;
    }
}

/// A buffer and the number that no other of its pool has, before or after.
struct Named {
    buffer: wgpu::Buffer,
    number: u64,
    /// How many had come back before it did, the last time.
    returned: u64,
}

/// Bytes kept for reuse, beyond which those are freed that have waited longest.
const MAX_IDLE: u64 = 4 << 30;

/// A buffer that goes back to its pool.
pub(crate) struct Memory {
    /// `Some` until dropped.
    buffer: Option<Named>,
    pool: Weak<Pool>,
    /// See [`Memory::is_graded`].
    graded: AtomicBool,
}

impl Memory {
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.named().buffer
    }

    /// What tells this buffer from all others of the device.
    pub fn number(&self) -> u64 {
        self.named().number
    }

    /// Whether what was written here is graded, or was computed from what is: see `graded.rs`.
    pub fn is_graded(&self) -> bool {
        self.graded.load(Ordering::Relaxed)
    }

    /// It stays so as long as the memory is in use.
    pub fn note_graded(&self, graded: bool) {
        self.graded.fetch_or(graded, Ordering::Relaxed);
    }

    fn named(&self) -> &Named {
        self.buffer.as_ref().expect("present until dropped")
    }
}

/// Sizes are rounded up to an eighth of their power of two, so that near sizes share buffers.
fn class(size: u64, limit: u64) -> u64 {
    let step = (size.next_power_of_two() / 8).max(256);
    let rounded = size.next_multiple_of(step);
    if rounded <= limit { rounded } else { size.next_multiple_of(4).min(limit) }
}

impl Pool {
    /// A free buffer of this size, or a new one; its contents are undefined.
    ///
    /// Work runs in the order it is recorded, so a buffer may be handed out again while earlier
    /// work still uses it.
    pub fn take(self: &Arc<Self>, device: &wgpu::Device, size: u64, limit: u64) -> Result<Arc<Memory>, wgpu::Error> {
        let size = class(size, limit);
        let mut free = lock(&self.free);
        let reused = free.buffers.get_mut(&size).and_then(Vec::pop);
        let buffer = match reused {
            Some(buffer) => {
                free.idle -= size;
                buffer
            }
            None => {
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                let invalid = device.push_error_scope(wgpu::ErrorFilter::Validation);
                let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
                let buffer = device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
                let (memory, invalid) = (pollster::block_on(memory.pop()), pollster::block_on(invalid.pop()));
                if let Some(error) = memory.or(invalid) {
                    return Err(error);
                }
                free.allocated += size;
                Named { buffer, number: self.made.fetch_add(1, Ordering::Relaxed), returned: 0 }
            }
        };
        Ok(Arc::new(Memory { buffer: Some(buffer), pool: Arc::downgrade(self), graded: AtomicBool::new(false) }))
    }

    /// Frees everything that waits for reuse.
    pub fn clear(&self) {
        let mut free = lock(&self.free);
        free.allocated -= free.idle;
        free.idle = 0;
        free.buffers.clear();
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// Grows whenever buffers are given up: who holds others by their number looks whether it has.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Bytes held, in use or waiting.
    pub fn allocated(&self) -> u64 {
        lock(&self.free).allocated
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (Some(mut named), Some(pool)) = (self.buffer.take(), self.pool.upgrade()) else { return };
        let mut free = lock(&pool.free);
        let size = named.buffer.size();
        free.returned += 1;
        named.returned = free.returned;
        free.idle += size;
        free.buffers.entry(size).or_default().push(named);
        while free.idle > MAX_IDLE {
            free.give_up();
            pool.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}
