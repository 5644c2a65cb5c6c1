//! Recording: launches go into one open compute pass until something must run.

use std::sync::Arc;

use super::groups::Groups;
use super::pool::Memory;
use super::{Launch, Options, hints, translate};
use crate::Result;
use crate::device::launch::Compiled;
use crate::expr::Expr;
use crate::kernel::Kernel;

/// The open encoder and pass, the parameters of the launches in it, and the compiled kernels.
pub(super) struct Recorder {
    device: wgpu::Device,
    queue: wgpu::Queue,
    options: Options,
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    /// `Params` of the recorded launches, one slot each, uploaded at submission.
    params: Vec<u8>,
    params_buffer: wgpu::Buffer,
    slot: usize,
    /// Where a storage binding may start, and workgroups along one dimension of a grid.
    alignment: u64,
    max_groups: u32,
    pipelines: Compiled<Arc<Pipeline>>,
    layouts: Vec<(Bindings, Arc<Layout>)>,
    groups: Groups,
    pub submissions: u64,
}

struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: Arc<Layout>,
}

/// What kernels with the same bindings share, so that one's bind groups are the other's.
pub(super) struct Layout {
    pub groups: wgpu::BindGroupLayout,
    pipelines: wgpu::PipelineLayout,
}

/// Bytes of `Params`, inputs and outputs.
type Bindings = [usize; 3];

/// A buffer as a launch sees it.
pub(super) struct View {
    pub memory: Arc<Memory>,
    pub offset: u64,
    pub bytes: u64,
}

/// Launches in one submission: enough that its cost is spread, few enough that the GPU starts soon.
const LAUNCHES: usize = 256;

impl Recorder {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue, options: Options) -> Self {
        let limits = device.limits();
        let slot = limits.min_uniform_buffer_offset_alignment.max(64) as usize;
        let params_buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: (slot * LAUNCHES) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            device: device.clone(),
            queue: queue.clone(),
            options,
            pass: None,
            encoder: None,
            params: Vec::new(),
            params_buffer,
            slot,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_groups: limits.max_compute_workgroups_per_dimension,
            pipelines: Compiled::new(),
            layouts: Vec::new(),
            groups: Groups::default(),
            submissions: 0,
        }
    }

    /// The open encoder, outside any pass.
    pub fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.encoder.get_or_insert_with(|| self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None }))
    }

    /// Lets go of buffers that the pool has given up, if it has since this was asked last.
    pub fn forget(&mut self, given_up: u64) {
        self.groups.forget(given_up);
    }

    /// Makes no more use of what a fault may have spoilt.
    pub fn recover(&mut self) {
        self.layouts.clear();
        self.groups.clear();
    }

    /// Hands everything recorded to the GPU.
    pub fn submit(&mut self) {
        self.pass = None;
        let Some(encoder) = self.encoder.take() else { return };
        if !self.params.is_empty() {
            self.queue.write_buffer(&self.params_buffer, 0, &self.params);
            self.params.clear();
        }
        self.queue.submit([encoder.finish()]);
        self.submissions += 1;
    }

    /// Records one run of a kernel.
    pub fn launch(
        &mut self,
        launch: &Launch<'_>,
        mut views: Vec<View>,
        temporary: impl Fn(u64) -> Result<Arc<Memory>>,
        device: impl Fn() -> String,
    ) -> Result<()> {
        if self.params.len() + self.slot > self.slot * LAUNCHES {
            self.submit();
        }
        let pipeline = match self.pipelines.get(launch) {
            Some(pipeline) => pipeline,
            None => {
                let pipeline = Arc::new(self.compile(launch, &device())?);
                self.pipelines.make_room(launch);
                self.pipelines.insert(launch, Arc::clone(&pipeline));
                pipeline
            }
        };

        let copies = self.make_bindable(launch.kernel, &mut views, temporary)?;

        let offset = self.params.len() as u32;
        self.params.extend_from_slice(launch.params);
        self.params.resize(offset as usize + self.slot, 0);
        let size = launch.params.len() as u64;
        let group = self.groups.get(&self.device, &pipeline.layout, (&self.params_buffer, size), &views);
        if self.pass.is_none() {
            let encoder =
                self.encoder.get_or_insert_with(|| self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None }));
            self.pass = Some(encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime());
        }
        if let Some(pass) = &mut self.pass {
            pass.set_pipeline(&pipeline.pipeline);
            pass.set_bind_group(0, &group, &[offset]);
            let [x, y] = fold(launch.groups, self.max_groups);
            pass.dispatch_workgroups(x, y, 1);
        }
        for (from, to) in copies {
            self.encoder().copy_buffer_to_buffer(from.memory.buffer(), from.offset, to.memory.buffer(), to.offset, from.bytes);
        }
        Ok(())
    }

    /// wgpu binds a view only where its offset is aligned, and refuses one buffer both read and
    /// written in a launch: such views are replaced by copies. Returns the outputs to copy back.
    fn make_bindable(
        &mut self,
        kernel: &Kernel,
        views: &mut [View],
        temporary: impl Fn(u64) -> Result<Arc<Memory>>,
    ) -> Result<Vec<(View, View)>> {
        let mut back = Vec::new();
        for n in 0..views.len() {
            let input = n < kernel.inputs;
            let shared = input && views[kernel.inputs..].iter().any(|output| Arc::ptr_eq(&output.memory, &views[n].memory));
            let view = &mut views[n];
            if view.offset.is_multiple_of(self.alignment) && !shared {
                continue;
            }
            let copy = View { memory: temporary(view.bytes)?, offset: 0, bytes: view.bytes };
            let original = std::mem::replace(view, View { memory: Arc::clone(&copy.memory), ..copy });
            // Outputs too: a kernel of single lines, as attention's global ones, leaves the others as they are.
            self.encoder().copy_buffer_to_buffer(original.memory.buffer(), original.offset, copy.memory.buffer(), 0, copy.bytes);
            if !input {
                back.push((copy, original));
            }
        }
        Ok(back)
    }

    fn compile(&mut self, launch: &Launch<'_>, device: &str) -> Result<Pipeline> {
        let kernel = launch.kernel;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let layout = self.layout([launch.params.len(), kernel.inputs, kernel.outputs]);
        let module = self.module(kernel, &kernel.source(launch.function.map(Expr::to_wgsl).as_deref()));
        let descriptor = wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&layout.pipelines),
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions { constants: launch.constants, zero_initialize_workgroup_memory: false },
            cache: None,
        };
        let pipeline = hints::making(kernel, || self.device.create_compute_pipeline(&descriptor));
        match pollster::block_on(scope.pop()) {
            Some(error) => {
                self.recover();
                Err(translate(device, 0, error))
            }
            None => Ok(Pipeline { pipeline, layout }),
        }
    }

    /// The layout for kernels with these bindings, made if it is the first of its kind.
    fn layout(&mut self, bindings: Bindings) -> Arc<Layout> {
        if let Some((_, layout)) = self.layouts.iter().find(|(known, _)| *known == bindings) {
            return Arc::clone(layout);
        }
        let [params, inputs, outputs] = bindings;
        let entry = |n: usize, ty: wgpu::BufferBindingType, size: Option<wgpu::BufferSize>| wgpu::BindGroupLayoutEntry {
            binding: n as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: n == 0, min_binding_size: size },
            count: None,
        };
        let storage = |n: usize| entry(n + 1, wgpu::BufferBindingType::Storage { read_only: n < inputs }, None);
        let uniform = entry(0, wgpu::BufferBindingType::Uniform, wgpu::BufferSize::new(params as u64));
        let entries: Vec<_> = std::iter::once(uniform).chain((0..inputs + outputs).map(storage)).collect();
        let label = Some("kernel");
        let groups = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let pipelines = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&groups)],
            immediate_size: 0,
        });
        let layout = Arc::new(Layout { groups, pipelines });
        self.layouts.push((bindings, Arc::clone(&layout)));
        layout
    }

    #[allow(unsafe_code)]
    fn module(&self, kernel: &Kernel, source: &str) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source: wgpu::ShaderSource::Wgsl(source.into()) };
        if self.options.checked {
            return self.device.create_shader_module(descriptor);
        }
        // SAFETY: every kernel of this crate checks its own indices against its Params, which the
        // operations derive from the buffers' sizes; the tests run each kernel with injected checks
        // too and compare bit for bit. An expression adds arithmetic only, no access and no loop.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}

/// A line of workgroups as a grid, since one dimension holds 65,535; kernels count them as one line
/// again and leave the surplus alone.
fn fold(groups: u64, limit: u32) -> [u32; 2] {
    let limit = u64::from(limit);
    let y = groups.div_ceil(limit);
    [groups.div_ceil(y) as u32, y as u32]
}
