//! The window's GPU: its pipelines, and matrices that lie where it can draw them.

use std::ops::Range;

use bandsaw::{Device, Dtype, Error, Result};
use bytemuck::{Pod, Zeroable};
use eframe::egui_wgpu::RenderState;

use super::place::Storage;
use crate::app::Matrix;

/// The device that egui draws with, shared with the library.
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// The library over the same device.
    pub shared: Device,
    pub software: bool,
    srgb: bool,
    /// Without blocks, and with.
    draw: [wgpu::RenderPipeline; 2],
    draw_layout: wgpu::BindGroupLayout,
    range: [wgpu::ComputePipeline; 2],
    range_layout: wgpu::BindGroupLayout,
    alignment: u64,
    max_binding: u64,
}

/// The shader's `View`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct View {
    pub rows: i32,
    pub cols: i32,
    pub lower: i32,
    pub upper: i32,
    pub width: i32,
    pub flags: u32,
    pub dtype: u32,
    pub first: u32,
    pub left: i32,
    pub top: i32,
    pub left_part: f32,
    pub top_part: f32,
    pub cells_x: f32,
    pub cells_y: f32,
    pub pixels_x: f32,
    pub pixels_y: f32,
    pub low: f32,
    pub high: f32,
    pub knee: f32,
    pub samples: i32,
    pub count: u32,
    pub block_rows: i32,
    pub block_cols: i32,
    pub blocks: u32,
    pub unstored: [f32; 4],
    pub outside: [f32; 4],
    pub hatch: [f32; 4],
    pub gap: [f32; 4],
}

/// The values of a batch, for the colour scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values {
    /// The least and the greatest finite one; both 0 if there is none.
    pub low: f32,
    pub high: f32,
    pub nan: bool,
    pub infinite: bool,
    pub minus_infinite: bool,
}

/// A matrix in a buffer of the window's GPU.
pub struct Drawn {
    pub storage: Storage,
    pub values: Values,
    buffer: wgpu::Buffer,
    bytes: Range<u64>,
    /// Which blocks are stored, where there are blocks.
    index: wgpu::Buffer,
    /// Keeps the buffer from being used again.
    _matrix: Matrix,
}

/// Workgroups that look for the range of values.
const GROUPS: u64 = 128;

impl Gpu {
    pub fn new(state: &RenderState) -> Self {
        let device = state.device.clone();
        let limits = device.limits();
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("matrix view"),
            source: wgpu::ShaderSource::Wgsl(include_str!("draw.wgsl").into()),
        });
        let entry = |binding, visibility, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let layout = |label, entries: &[wgpu::BindGroupLayoutEntry]| {
            let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(label), entries });
            let descriptor = wgpu::PipelineLayoutDescriptor { label: Some(label), bind_group_layouts: &[Some(&group)], immediate_size: 0 };
            (device.create_pipeline_layout(&descriptor), group)
        };
        let (both, fragment, compute) = (wgpu::ShaderStages::VERTEX_FRAGMENT, wgpu::ShaderStages::FRAGMENT, wgpu::ShaderStages::COMPUTE);
        let (uniform, read) = (wgpu::BufferBindingType::Uniform, wgpu::BufferBindingType::Storage { read_only: true });
        let (draw_pipeline, draw_layout) =
            layout("draw", &[entry(0, both, uniform), entry(1, fragment, read), entry(2, fragment, uniform), entry(4, fragment, read)]);
        let write = wgpu::BufferBindingType::Storage { read_only: false };
        let (range_pipeline, range_layout) =
            layout("range", &[entry(0, compute, uniform), entry(1, compute, read), entry(3, compute, write), entry(4, compute, read)]);
        let options = |constants| wgpu::PipelineCompilationOptions { constants, ..wgpu::PipelineCompilationOptions::default() };
        let constants = [[("BLOCKS", 0.0)], [("BLOCKS", 1.0)]];
        let targets = [Some(state.target_format.into())];
        let draw = |constants| wgpu::RenderPipelineDescriptor {
            label: Some("draw"),
            layout: Some(&draw_pipeline),
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: Some("vertex"),
                compilation_options: options(constants),
                buffers: &[],
            },
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: Some("fragment"),
                compilation_options: options(constants),
                targets: &targets,
            }),
            primitive: wgpu::PrimitiveState::default(),
            depth_stencil: None,
            multisample: wgpu::MultisampleState::default(),
            multiview_mask: None,
            cache: None,
        };
        let range = |constants| wgpu::ComputePipelineDescriptor {
            label: Some("range"),
            layout: Some(&range_pipeline),
            module: &module,
            entry_point: Some("range"),
            compilation_options: options(constants),
            cache: None,
        };
        Self {
            shared: Device::from_wgpu(&state.adapter, device.clone(), state.queue.clone()),
            queue: state.queue.clone(),
            software: state.adapter.get_info().device_type == wgpu::DeviceType::Cpu,
            srgb: state.target_format.is_srgb(),
            draw: constants.each_ref().map(|constants| device.create_render_pipeline(&draw(constants))),
            draw_layout,
            range: constants.each_ref().map(|constants| device.create_compute_pipeline(&range(constants))),
            range_layout,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_binding: limits.max_storage_buffer_binding_size,
            device,
        }
    }

    /// Why a matrix cannot be drawn, if that is so.
    pub fn why_not(&self, storage: &Storage) -> Option<String> {
        let bytes = (storage.len() * storage.dtype.bytes()) as u64;
        // A binding begins where it may, at or before the values.
        let limit = self.max_binding - self.alignment;
        match storage.batch {
            0 => Some("The batch is empty.".into()),
            _ if bytes > limit => Some(format!("Too large to be drawn: {bytes} bytes, this adapter takes {limit}.")),
            _ => None,
        }
    }

    /// The matrix where it can be drawn: as it is, or copied from another device. `None` if it cannot.
    pub fn take(&self, matrix: &Matrix) -> Result<Option<Drawn>> {
        let storage = Storage::of(matrix);
        if self.why_not(&storage).is_some() {
            return Ok(None);
        }
        let here = match matrix {
            Matrix::Banded(banded) if *banded.device() != self.shared => Matrix::Banded(banded.to_device(&self.shared)?),
            Matrix::Dense(dense) if *dense.device() != self.shared => Matrix::Dense(dense.to_device(&self.shared)?),
            Matrix::Blocks(blocks) if *blocks.device() != self.shared => Matrix::Blocks(blocks.to_device(&self.shared)?),
            same => same.clone(),
        };
        let placed = match &here {
            Matrix::Banded(banded) => banded.wgpu_buffer()?,
            Matrix::Dense(dense) => dense.wgpu_buffer()?,
            Matrix::Blocks(blocks) => blocks.wgpu_buffer()?,
        };
        let Some((buffer, bytes)) = placed else { return Ok(None) };
        let values = Values { low: 0.0, high: 0.0, nan: false, infinite: false, minus_infinite: false };
        let index = self.index(&storage)?;
        let mut drawn = Drawn { storage, values, buffer, bytes, index, _matrix: here };
        drawn.values = self.values(&drawn)?;
        Ok(Some(drawn))
    }

    /// Which blocks are stored, as the shader reads it.
    fn index(&self, storage: &Storage) -> Result<wgpu::Buffer> {
        let words = storage.index_words();
        let (got, limit) = (words.len() as u64 * 4, self.max_binding);
        if got > limit {
            return Err(Error::Limit { op: "view", what: "the pattern's size in bytes".into(), got, limit, of: self.shared.to_string() });
        }
        Ok(self.filled(bytemuck::cast_slice(&words), wgpu::BufferUsages::STORAGE))
    }

    fn view(&self, storage: &Storage) -> View {
        let mut view = View::zeroed();
        (view.rows, view.cols) = (storage.rows as i32, storage.cols as i32);
        (view.lower, view.upper, view.width) = (storage.lower as i32, storage.upper as i32, storage.width() as i32);
        view.flags = u32::from(storage.columns) | u32::from(storage.dense) << 1 | u32::from(self.srgb) << 3;
        if let Some(pattern) = &storage.blocks {
            [view.block_rows, view.block_cols] = pattern.block().map(|side| side as i32);
            view.blocks = pattern.len() as u32;
        }
        view.dtype = match storage.dtype {
            Dtype::F32 => 0,
            Dtype::F16 => 1,
            Dtype::U32 => 2,
            Dtype::Bf16 => 3,
        };
        // Few enough that a software renderer keeps up; what stands out between is found on a GPU.
        view.samples = if self.software { 6 } else { 32 };
        view
    }

    /// The binding that holds matrix `index`, and the place of its first value in it.
    fn binding<'a>(&self, drawn: &'a Drawn, index: usize, matrices: usize) -> (wgpu::BufferBinding<'a>, u32) {
        let bytes = drawn.storage.dtype.bytes() as u64;
        let start = drawn.bytes.start + (index * drawn.storage.len()) as u64 * bytes;
        let offset = start / self.alignment * self.alignment;
        let end = (start + (matrices * drawn.storage.len()) as u64 * bytes).next_multiple_of(4).min(drawn.buffer.size());
        let binding = wgpu::BufferBinding { buffer: &drawn.buffer, offset, size: wgpu::BufferSize::new(end - offset) };
        (binding, ((start - offset) / bytes) as u32)
    }

    /// Not `create_buffer_init`, which ends the program if the device is lost.
    fn filled(&self, contents: &[u8], usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: contents.len() as u64,
            usage: usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, contents);
        buffer
    }

    fn uniform(&self, contents: &[u8]) -> wgpu::Buffer {
        self.filled(contents, wgpu::BufferUsages::UNIFORM)
    }

    /// What draws a part of matrix `index`; `place` fills in where and how.
    pub fn draw(&self, drawn: &Drawn, index: usize, colors: &[[f32; 4]; 256], place: impl FnOnce(&mut View)) -> Draw {
        let mut view = self.view(&drawn.storage);
        place(&mut view);
        let (binding, first) = self.binding(drawn, index, 1);
        view.first = first;
        let (view, colors) = (self.uniform(bytemuck::bytes_of(&view)), self.uniform(bytemuck::cast_slice(colors)));
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.draw_layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: view.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::Buffer(binding) },
                wgpu::BindGroupEntry { binding: 2, resource: colors.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 4, resource: drawn.index.as_entire_binding() },
            ],
        });
        Draw { pipeline: self.draw[usize::from(drawn.storage.blocks.is_some())].clone(), group }
    }

    /// The range of values of as much of the batch as a binding takes.
    fn values(&self, drawn: &Drawn) -> Result<Values> {
        let per_matrix = (drawn.storage.len() * drawn.storage.dtype.bytes()) as u64;
        let matrices = ((self.max_binding - self.alignment) / per_matrix.max(1)).min(drawn.storage.batch as u64) as usize;
        let mut view = self.view(&drawn.storage);
        let (binding, first) = self.binding(drawn, 0, matrices);
        view.first = first;
        view.count = (matrices * drawn.storage.len()) as u32;
        let view = self.uniform(bytemuck::bytes_of(&view));
        let found = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("range"),
            size: GROUPS * 16,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.range_layout,
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: view.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::Buffer(binding) },
                wgpu::BindGroupEntry { binding: 3, resource: found.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 4, resource: drawn.index.as_entire_binding() },
            ],
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&self.range[usize::from(drawn.storage.blocks.is_some())]);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(GROUPS as u32, 1, 1);
        drop(pass);
        let words = self.read(encoder, &[(&found, 0, GROUPS * 16)])?;
        let mut values = Values { low: f32::INFINITY, high: f32::NEG_INFINITY, nan: false, infinite: false, minus_infinite: false };
        for part in words.chunks_exact(4) {
            values.nan |= part[2] & 2 != 0;
            values.infinite |= part[2] & 4 != 0;
            values.minus_infinite |= part[2] & 8 != 0;
            if part[2] & 1 != 0 {
                values.low = values.low.min(f32::from_bits(part[0]));
                values.high = values.high.max(f32::from_bits(part[1]));
            }
        }
        if values.low > values.high {
            (values.low, values.high) = (0.0, 0.0);
        }
        Ok(values)
    }

    /// Single values of matrices, in the order asked for: of each, the slot counted over the batch.
    pub fn gather(&self, wanted: &[(&Drawn, usize)]) -> Result<Vec<f32>> {
        let encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
        let word = |(drawn, slot): &(&Drawn, usize)| drawn.bytes.start + (slot * drawn.storage.dtype.bytes()) as u64 / 4 * 4;
        // Neighbours in one buffer come in one copy.
        let mut copies: Vec<(&wgpu::Buffer, u64, u64)> = Vec::new();
        let mut places = Vec::with_capacity(wanted.len());
        let mut total = 0;
        for one in wanted {
            let at = word(one);
            match copies.last_mut() {
                Some((buffer, start, bytes)) if *buffer == &one.0.buffer && at + 4 == *start + *bytes => {}
                Some((buffer, start, bytes)) if *buffer == &one.0.buffer && at == *start + *bytes => {
                    *bytes += 4;
                    total += 1;
                }
                _ => {
                    copies.push((&one.0.buffer, at, 4));
                    total += 1;
                }
            }
            places.push(total - 1);
        }
        let words = self.read(encoder, &copies)?;
        Ok(wanted
            .iter()
            .zip(places)
            .map(|((drawn, slot), place)| {
                let word = words.get(place).copied().unwrap_or_default();
                let half = (word >> (slot % 2 * 16)) as u16;
                match drawn.storage.dtype {
                    Dtype::F32 => f32::from_bits(word),
                    Dtype::F16 => half::f16::from_bits(half).to_f32(),
                    Dtype::Bf16 => half::bf16::from_bits(half).to_f32(),
                    Dtype::U32 => word as f32,
                }
            })
            .collect())
    }

    /// Submits, with copies of these parts at the end, and waits for what they hold.
    fn read(&self, mut encoder: wgpu::CommandEncoder, parts: &[(&wgpu::Buffer, u64, u64)]) -> Result<Vec<u32>> {
        let total: u64 = parts.iter().map(|part| part.2).sum();
        if total == 0 {
            return Ok(Vec::new());
        }
        let failed = |message: String| Error::Backend { device: self.shared.to_string(), message };
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("values"),
            size: total,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut at = 0;
        for (buffer, start, bytes) in parts {
            encoder.copy_buffer_to_buffer(buffer, *start, &staging, at, *bytes);
            at += bytes;
        }
        self.queue.submit([encoder.finish()]);
        let (send, receive) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // Whoever waited has given up, and said so.
            let _ = send.send(result);
        });
        let result = loop {
            self.shared.sync()?;
            match receive.recv_timeout(std::time::Duration::from_millis(100)) {
                Ok(result) => break result,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(failed(error.to_string())),
            }
        };
        result.map_err(|error| failed(error.to_string()))?;
        let view = staging.get_mapped_range(..).map_err(|error| failed(error.to_string()))?;
        Ok(bytemuck::pod_collect_to_vec(&view))
    }
}

/// One view's drawing, ready for egui's render pass.
pub struct Draw {
    pipeline: wgpu::RenderPipeline,
    group: wgpu::BindGroup,
}

impl eframe::egui_wgpu::CallbackTrait for Draw {
    fn paint(
        &self,
        _info: eframe::egui::PaintCallbackInfo,
        pass: &mut wgpu::RenderPass<'static>,
        _resources: &eframe::egui_wgpu::CallbackResources,
    ) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.draw(0..3, 0..1);
    }
}
