//! Which adapters there are, what they are called, and what the kernels can use of each.

use std::sync::mpsc::channel;
use std::sync::{LazyLock, Mutex, MutexGuard};

use super::lock;
use crate::device::Info;

/// What measures time on the device.
pub fn timestamps() -> wgpu::Features {
    wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS
}

/// What kernels on matrix units are written in.
pub fn matrix_units() -> wgpu::Features {
    let subgroups = wgpu::Features::SUBGROUP | wgpu::Features::SUBGROUP_BARRIER;
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16 | subgroups
}

/// How a device's features call matrix units that kernels are written for.
pub const MATRIX_UNITS: &str = "matrix units";

/// Whether the adapter has the matrix units that kernels are written for: 16 × 16 × 16, f16 × f16 → f32,
/// subgroups of 32 and no other.
pub fn has_matrix_units(adapter: &wgpu::Adapter) -> bool {
    let info = adapter.get_info();
    let fits = |p: &wgpu::CooperativeMatrixProperties| {
        let types = (p.ab_type, p.cr_type) == (wgpu::CooperativeScalarType::F16, wgpu::CooperativeScalarType::F32);
        types && [p.m_size, p.n_size, p.k_size] == [16; 3]
    };
    adapter.features().contains(matrix_units())
        && [info.subgroup_min_size, info.subgroup_max_size] == [32; 2]
        && adapter.cooperative_matrix_properties().iter().any(fits)
}

/// What the kernels can use of what the adapter has.
pub fn wanted_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let units = if has_matrix_units(adapter) { matrix_units() } else { wgpu::Features::empty() };
    timestamps() & adapter.features() | units
}

/// Held by a thread while it looks for adapters, opens one, and drops those it does not need.
static OPENING: Mutex<()> = Mutex::new(());

/// A thread's turn to open a device.
pub fn opening() -> MutexGuard<'static, ()> {
    lock(&OPENING)
}

/// Every adapter that can compute; to be called with [`opening`] held.
///
/// Whatever is opened keeps its instance, which would go with the last buffer, in any thread, at any time. So
/// there is one instance for the whole program, never destroyed; but one each for OpenGL, where an
/// instance is a context, which is for one device.
pub fn adapters() -> Vec<wgpu::Adapter> {
    static PRIMARY: LazyLock<wgpu::Instance> = LazyLock::new(|| instance(wgpu::Backends::PRIMARY));
    let mut all = listed(&PRIMARY);
    if has_gl() {
        all.extend(listed(&instance(wgpu::Backends::GL)));
    }
    all
}

/// Whether OpenGL has an adapter that can compute. Asked once, by a thread that never ends.
///
/// OpenGL drivers clean up after an instance, and after every thread that called them when it ends. NVIDIA's, whose
/// adapters can't compute for wgpu anyway, takes a lock for that which a Vulkan device waits for while it is
/// destroyed, holding another: the two stopped each other for ever in a quarter of the runs of the device tests.
fn has_gl() -> bool {
    static HAS_GL: LazyLock<bool> = LazyLock::new(|| {
        let (send, receive) = channel();
        let ask = move || {
            let instance = instance(wgpu::Backends::GL);
            // The receiver waits just below.
            let _ = send.send(!listed(&instance).is_empty());
            loop {
                std::thread::park();
            }
        };
        std::thread::Builder::new().name("bandsaw OpenGL".into()).spawn(ask).is_ok() && receive.recv().unwrap_or(false)
    });
    *HAS_GL
}

/// The adapters of an instance that can compute.
fn listed(instance: &wgpu::Instance) -> Vec<wgpu::Adapter> {
    let mut all = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    all.retain(|adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) && !is_old_gl(adapter));
    all
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
    })
}

/// Desktop OpenGL before 4.3: a driver may bring compute shaders as an extension, but no shader can
/// be written for it.
fn is_old_gl(adapter: &wgpu::Adapter) -> bool {
    let info = adapter.get_info();
    let mut numbers = info.driver_info.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    info.backend == wgpu::Backend::Gl && matches!(version, (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (4, 3))
}

/// 0 for the adapter that a program wants most.
pub fn rank(adapter: &wgpu::Adapter) -> u8 {
    let info = adapter.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 2,
        wgpu::DeviceType::VirtualGpu => 4,
        wgpu::DeviceType::Other => 6,
        wgpu::DeviceType::Cpu => 8,
    };
    kind + u8::from(info.backend == wgpu::Backend::Gl)
}

#[allow(unsafe_code)]
pub fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: matrix units are the one experimental feature used, by kernels of this crate alone, which
    // load and store within bounds that they check themselves; the tests compare what they compute with
    // the definition.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

pub fn describe(index: usize, adapter: &wgpu::Adapter) -> Info {
    let (info, limits, has) = (adapter.get_info(), adapter.limits(), adapter.features());
    let named = [
        (wgpu::Features::SUBGROUP, "subgroups"),
        (wgpu::Features::SHADER_F16, "f16"),
        (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrix"),
        (timestamps(), "timestamps"),
    ];
    let units = has_matrix_units(adapter).then_some(MATRIX_UNITS);
    Info {
        id: format!("wgpu:{index}"),
        name: info.name,
        backend: format!("{:?}", info.backend).to_lowercase(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        }
        .into(),
        max_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        workgroup_size: limits.max_compute_invocations_per_workgroup,
        features: named.iter().filter(|(flag, _)| has.contains(*flag)).map(|(_, name)| *name).chain(units).map(str::to_owned).collect(),
    }
}
