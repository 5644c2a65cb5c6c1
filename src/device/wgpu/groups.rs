//! Bind groups, kept for launches over the same buffers. Making one costs more than all else that a
//! launch does, and since buffers come from a pool, programs that do a thing again meet the same ones.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::record::{Layout, View};

/// The bind groups made so far, or since they were too many.
#[derive(Default)]
pub(super) struct Groups {
    made: HashMap<Key, (wgpu::BindGroup, Arc<Layout>)>,
    /// What the pool had given up when these were begun.
    given_up: u64,
}

/// Where the layout is, which is kept with the group, then buffer, offset and length of each view.
#[derive(PartialEq, Eq)]
struct Key(usize, [[u64; 3]; VIEWS]);

impl Hash for Key {
    /// One word for all, since a hasher that takes them one by one costs as much as the rest of a launch.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mixed = |hash: u64, word: &u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hasher.write_u64(self.1.as_flattened().iter().fold(self.0 as u64, mixed));
    }
}

/// As many storage buffers as WebGPU promises to a shader.
const VIEWS: usize = 8;
/// Groups kept at once. They are small; those of buffers that no one uses any more are not told from others.
const KEPT: usize = 1024;

impl Groups {
    /// A group keeps its buffers: where buffers have been given up since the last call, none is kept.
    pub fn forget(&mut self, given_up: u64) {
        if self.given_up != given_up {
            self.made.clear();
            self.given_up = given_up;
        }
    }

    /// The group that binds `params`, to be shifted, and the views.
    pub fn get(&mut self, device: &wgpu::Device, layout: &Arc<Layout>, params: (&wgpu::Buffer, u64), views: &[View]) -> wgpu::BindGroup {
        let key = key(layout, views);
        if let Some((group, _)) = key.as_ref().and_then(|key| self.made.get(key)) {
            return group.clone();
        }
        let views = views.iter().map(|view| (view.memory.buffer(), view.offset, view.bytes));
        let bindings = std::iter::once((params.0, 0, params.1)).chain(views);
        let entry = |(binding, (buffer, offset, bytes)): (usize, (_, _, _))| wgpu::BindGroupEntry {
            binding: binding as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(bytes) }),
        };
        let entries: Vec<_> = bindings.enumerate().map(entry).collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout.groups, entries: &entries });
        if self.made.len() >= KEPT {
            self.made.clear();
        }
        if let Some(key) = key {
            self.made.insert(key, (group.clone(), Arc::clone(layout)));
        }
        group
    }

    /// Lets go of all, as after a fault that may have made one of them unusable.
    pub fn clear(&mut self) {
        self.made.clear();
    }
}

fn key(layout: &Arc<Layout>, views: &[View]) -> Option<Key> {
    let mut all = [[0; 3]; VIEWS];
    // Layouts say how many views there are.
    for (n, view) in views.iter().enumerate() {
        *all.get_mut(n)? = [view.memory.number(), view.offset, view.bytes];
    }
    Some(Key(Arc::as_ptr(layout).addr(), all))
}
