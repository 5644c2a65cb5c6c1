//! The wgpu backend: Vulkan, Metal, DX12 and OpenGL adapters.

mod adapter;
mod fault;
mod graded;
mod groups;
mod hints;
mod pool;
mod record;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adapter::{MATRIX_UNITS, adapters, describe, experimental, has_matrix_units, matrix_units, opening, rank, timestamps, wanted_features};
use fault::Fault;
pub(crate) use pool::Memory;
use pool::Pool;
use record::Recorder;

use super::{Info, Launch, Memory as AnyMemory, Options};
use crate::operand::reserve;
use crate::{Error, Result};

/// One adapter, opened.
///
/// Threads take turns: what talks to the driver, but for the wait, holds the recorder. wgpu guards an
/// OpenGL context by a lock that panics when another thread holds it for some seconds, which work on a
/// software renderer may well do.
pub(crate) struct Wgpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: Info,
    fault: Fault,
    pool: Arc<Pool>,
    recorder: Mutex<Recorder>,
    matrix_units: bool,
}

impl Wgpu {
    /// Every adapter that can compute.
    pub fn all() -> Vec<Info> {
        let _turn = opening();
        adapters().iter().enumerate().map(|(index, adapter)| describe(index, adapter)).collect()
    }

    /// The best adapter that is a GPU; a software renderer is not.
    pub fn best(options: Options) -> Result<Option<Self>> {
        let _turn = opening();
        let adapters = adapters();
        let best = adapters.iter().enumerate().min_by_key(|(_, adapter)| rank(adapter));
        match best {
            Some((index, adapter)) if rank(adapter) < 8 => Self::from_adapter(index, adapter, options).map(Some),
            _ => Ok(None),
        }
    }

    /// The adapter with this number, or whose name contains the text, or with this backend; the best for "".
    pub fn open(name: &str, options: Options) -> Result<Option<Self>> {
        let _turn = opening();
        let adapters = adapters();
        let wanted = name.to_lowercase();
        // "4090" is part of a name; no machine has so many adapters.
        let number = wanted.parse::<usize>().ok().filter(|number| *number < 100);
        let fits = |index: usize, adapter: &wgpu::Adapter| match number {
            Some(number) => number == index,
            None => {
                let info = describe(index, adapter);
                info.name.to_lowercase().contains(&wanted) || info.backend == wanted
            }
        };
        let found = adapters.iter().enumerate().filter(|(index, adapter)| fits(*index, adapter)).min_by_key(|(_, adapter)| rank(adapter));
        found.map(|(index, adapter)| Self::from_adapter(index, adapter, options)).transpose()
    }

    fn from_adapter(index: usize, adapter: &wgpu::Adapter, options: Options) -> Result<Self> {
        let mut info = describe(index, adapter);
        let descriptor = Self::descriptor(adapter, options);
        let opened = if options.checked { None } else { hints::open(adapter, &descriptor) };
        let (device, queue) = opened
            .map_or_else(|| pollster::block_on(adapter.request_device(&descriptor)), Ok)
            .map_err(|error| Error::Backend { device: info.label(), message: error.to_string() })?;
        limit(&mut info, &device, options);
        let new = Self::with(info, device, queue, options, has_matrix_units(adapter));
        let (fault, name) = (new.fault.clone(), new.name());
        new.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| fault.set(translate(&name, 0, error))));
        Ok(new)
    }

    /// What the adapter is opened with.
    pub fn descriptor(adapter: &wgpu::Adapter, options: Options) -> wgpu::DeviceDescriptor<'static> {
        let limits = if options.portable { wgpu::Limits::default().or_worse_values_from(&adapter.limits()) } else { adapter.limits() };
        let features = if options.portable { wgpu::Features::empty() } else { wanted_features(adapter) };
        wgpu::DeviceDescriptor {
            label: Some("bandsaw"),
            required_features: features,
            required_limits: limits,
            experimental_features: experimental(features),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        }
    }

    /// Over a device that the program already has; its error handler stays its own.
    pub fn from_parts(adapter: &wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue, options: Options) -> Self {
        let mut info = describe(0, adapter);
        info.id = "wgpu".into();
        limit(&mut info, &device, options);
        Self::with(info, device, queue, options, has_matrix_units(adapter))
    }

    fn with(mut info: Info, device: wgpu::Device, queue: wgpu::Queue, options: Options, matrix_units: bool) -> Self {
        let fault = Fault::default();
        let (told, name) = (fault.clone(), info.label());
        device.set_device_lost_callback(move |reason, message| {
            told.set(Error::DeviceLost { device: name.clone(), reason: format!("{reason:?} {message}").trim().to_owned() });
        });
        let recorder = Mutex::new(Recorder::new(&device, &queue, options));
        let matrix_units = matrix_units && device.features().contains(self::matrix_units());
        info.features.retain(|name| matrix_units || name != MATRIX_UNITS);
        Self { device, queue, info, fault, pool: Arc::default(), recorder, matrix_units }
    }

    pub fn has_matrix_units(&self) -> bool {
        self.matrix_units
    }

    fn name(&self) -> String {
        self.info.label()
    }

    fn recorder(&self) -> Result<MutexGuard<'_, Recorder>> {
        self.fault.check()?;
        Ok(lock(&self.recorder))
    }

    /// Lets wgpu see what has finished, without waiting.
    fn poll(&self) {
        let _turn = lock(&self.recorder);
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// Runs calls to wgpu and returns what they report: to a program's own device by its error
    /// handler, which may panic, otherwise. If the device is lost, that is the reason returned.
    fn guarded<T>(&self, calls: impl FnOnce() -> Result<T>) -> Result<T> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let result = calls();
        let result = match pollster::block_on(scope.pop()) {
            Some(error) => Err(translate(&self.name(), 0, error)),
            None => result,
        };
        if result.is_err() {
            lock(&self.recorder).recover();
            // wgpu tells of a loss when it is polled.
            self.poll();
            self.fault.check()?;
        }
        result
    }

    pub fn info(&self) -> Info {
        self.info.clone()
    }

    pub fn max_binding(&self) -> u64 {
        self.info.max_binding
    }

    pub fn workgroup_memory(&self) -> u32 {
        self.info.workgroup_memory
    }

    pub fn workgroup_size(&self) -> u32 {
        self.info.workgroup_size
    }

    pub fn submissions(&self) -> u64 {
        lock(&self.recorder).submissions
    }

    pub fn allocated_bytes(&self) -> u64 {
        self.pool.allocated()
    }

    pub fn alloc(&self, bytes: usize) -> Result<Arc<Memory>> {
        self.fault.check()?;
        let size = (bytes as u64).max(4);
        self.info.check_buffer(size)?;
        let take = || {
            let mut recorder = lock(&self.recorder);
            recorder.forget(self.pool.given_up());
            self.pool.take(&self.device, size, self.info.max_buffer)
        };
        take().or_else(|_| {
            // What the pool keeps for reuse may be what is missing; so may work not yet run.
            self.sync()?;
            self.pool.clear();
            lock(&self.recorder).forget(self.pool.given_up());
            self.poll();
            take().map_err(|error| translate(&self.name(), size, error))
        })
    }

    pub fn write(&self, memory: &Memory, offset: usize, data: &[u8]) -> Result<()> {
        memory.note_graded(self.matrix_units && graded::is_graded(data));
        // The queue writes before the next submission: what is recorded must not come after it.
        self.guarded(|| {
            let mut recorder = self.recorder()?;
            recorder.submit();
            self.queue.write_buffer(memory.buffer(), offset as u64, data);
            drop(recorder);
            self.fault.check()
        })
    }

    pub fn read(&self, memory: &Memory, offset: usize, bytes: usize) -> Result<Vec<u8>> {
        self.guarded(|| self.read_staged(memory, offset, bytes))
    }

    fn read_staged(&self, memory: &Memory, offset: usize, bytes: usize) -> Result<Vec<u8>> {
        /// How much is staged at once, so that reading a large buffer needs no second one.
        const CHUNK: usize = 64 << 20;
        let mut out = Vec::new();
        reserve(&mut out, bytes)?;
        let staging = {
            let _turn = self.recorder()?;
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size: bytes.min(CHUNK) as u64,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        for start in (0..bytes).step_by(CHUNK) {
            let len = (bytes - start).min(CHUNK);
            let mut recorder = self.recorder()?;
            recorder.encoder().copy_buffer_to_buffer(memory.buffer(), (offset + start) as u64, &staging, 0, len as u64);
            recorder.submit();
            drop(recorder);
            self.map(&staging, len as u64, |data| out.extend_from_slice(data))?;
        }
        let _turn = lock(&self.recorder);
        drop(staging);
        Ok(out)
    }

    /// Waits for `staging` and shows its bytes.
    fn map(&self, staging: &wgpu::Buffer, len: u64, show: impl FnOnce(&[u8])) -> Result<()> {
        let (send, receive) = channel();
        staging.map_async(wgpu::MapMode::Read, 0..len, move |result| {
            // The receiver is gone only if the wait below failed, which is returned there.
            let _ = send.send(result);
        });
        let fail = |message: String| Error::Backend { device: self.name(), message };
        self.wait(&receive)?.map_err(|error| fail(error.to_string()))?;
        let view = staging.get_mapped_range(0..len).map_err(|error| fail(error.to_string()))?;
        show(&view);
        let _turn = lock(&self.recorder);
        drop(view);
        staging.unmap();
        Ok(())
    }

    /// Hands what is recorded to the GPU, without waiting for it.
    pub fn submit(&self) -> Result<()> {
        self.guarded(|| {
            self.recorder()?.submit();
            Ok(())
        })
    }

    pub fn sync(&self) -> Result<()> {
        self.guarded(|| {
            let (send, receive) = channel();
            let mut recorder = self.recorder()?;
            recorder.submit();
            self.queue.on_submitted_work_done(move || {
                let _ = send.send(());
            });
            drop(recorder);
            self.wait(&receive)
        })
    }

    /// Waits for what a callback of wgpu sends. No thread blocks inside wgpu: a wait there that times out
    /// may panic when another thread polls or submits at that moment, one without end keeps others from
    /// the device, and on OpenGL from its context.
    ///
    /// Short work is asked for without a pause: the shortest that a system makes is often longer than the work.
    fn wait<T>(&self, receive: &Receiver<T>) -> Result<T> {
        const BUSY: Duration = Duration::from_micros(200);
        let start = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            self.poll();
            self.fault.check()?;
            // Work still runs, or another thread has taken the callback and is about to call it.
            match receive.recv_timeout(pause) {
                Ok(sent) => return Ok(sent),
                Err(RecvTimeoutError::Timeout) if start.elapsed() < BUSY => std::thread::yield_now(),
                Err(RecvTimeoutError::Timeout) => pause = (pause * 5 / 4).clamp(Duration::from_micros(10), Duration::from_millis(1)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Backend { device: self.name(), message: "the driver gave up the work".into() });
                }
            }
        }
    }

    pub fn launch(&self, launch: &Launch<'_>) -> Result<()> {
        let views = launch.inputs.iter().chain(launch.outputs);
        let mut bound = Vec::with_capacity(launch.inputs.len() + launch.outputs.len());
        for buffer in views {
            let AnyMemory::Wgpu(memory) = &buffer.memory else {
                return Err(buffer.of_another(&self.name()));
            };
            if buffer.bytes as u64 > self.info.max_binding {
                return Err(Error::Limit {
                    op: launch.kernel.name,
                    what: "one matrix's size in bytes".into(),
                    got: buffer.bytes as u64,
                    limit: self.info.max_binding,
                    of: self.name(),
                });
            }
            bound.push(record::View { memory: Arc::clone(memory), offset: buffer.offset as u64, bytes: buffer.bytes.max(4) as u64 });
        }
        graded::inherit(launch, &bound);
        let temporary =
            |bytes| self.pool.take(&self.device, bytes, self.info.max_buffer).map_err(|error| translate(&self.name(), bytes, error));
        self.guarded(|| {
            self.recorder()?.launch(launch, bound, temporary, || self.name())?;
            self.fault.check()
        })
    }

    pub fn time<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        self.guarded(|| self.timed(work))
    }

    fn timed<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
        if !self.device.features().contains(timestamps()) {
            self.sync()?;
            let start = Instant::now();
            let result = work()?;
            self.sync()?;
            return Ok((result, start.elapsed()));
        }
        let mut recorder = self.recorder()?;
        let queries =
            self.device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("time"), ty: wgpu::QueryType::Timestamp, count: 2 });
        let buffer =
            |usage| self.device.create_buffer(&wgpu::BufferDescriptor { label: Some("time"), size: 16, usage, mapped_at_creation: false });
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        recorder.submit();
        recorder.encoder().write_timestamp(&queries, 0);
        drop(recorder);
        let result = work()?;
        let mut recorder = self.recorder()?;
        recorder.encoder().write_timestamp(&queries, 1);
        recorder.encoder().resolve_query_set(&queries, 0..2, &resolved, 0);
        recorder.encoder().copy_buffer_to_buffer(&resolved, 0, &staging, 0, 16);
        recorder.submit();
        drop(recorder);
        let mut ticks = 0;
        self.map(&staging, 16, |data| {
            let at = |n: usize| data[n * 8..][..8].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            ticks = at(1).saturating_sub(at(0));
        })?;
        let _turn = lock(&self.recorder);
        drop((queries, resolved, staging));
        let nanoseconds = ticks as f64 * f64::from(self.queue.get_timestamp_period());
        Ok((result, Duration::from_nanos(nanoseconds as u64)))
    }
}

/// Narrows what the adapter could do to what the device was opened with.
fn limit(info: &mut Info, device: &wgpu::Device, options: Options) {
    let limits = device.limits();
    info.max_binding = options.max_binding(limits.max_storage_buffer_binding_size);
    info.max_buffer = limits.max_buffer_size;
    info.workgroup_memory = limits.max_compute_workgroup_storage_size;
    info.workgroup_size = limits.max_compute_invocations_per_workgroup;
    if options.portable {
        info.features.clear();
    }
}

/// wgpu's error in this library's terms.
fn translate(device: &str, bytes: u64, error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { device: device.into(), bytes },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Backend { device: device.into(), message: description }
        }
    }
}

/// A lock that a panic elsewhere does not take away: every state here is valid between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
