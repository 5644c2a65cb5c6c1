//! Vulkan devices that can be told not to guard a kernel's access to buffers.
//!
//! wgpu asks for `robustBufferAccess2`, and a driver may then guard each access once more, though the shader is compiled
//! without checks. NVIDIA's puts an addition and a comparison before every load: 26 of 262 instructions in the innermost loop of
//! a wide product. What ends that is `VK_EXT_pipeline_robustness`, said of each pipeline, which wgpu can't: so the function
//! that makes pipelines is replaced in the device that wgpu is given. Features of the device that are off change nothing there.

use std::sync::OnceLock;

use ash::vk;

use super::UNGUARDED;

/// Vulkan's own function. The loader's: it serves every device of every instance.
static CREATE: OnceLock<vk::PFN_vkCreateComputePipelines> = OnceLock::new();

/// The adapter's device, opened as wgpu does, on which pipelines can go without guards. `None` if there is no such thing, or it fails:
/// wgpu itself opens it then, or says why it can't.
#[allow(unsafe_code)]
pub fn open(adapter: &wgpu::Adapter, descriptor: &wgpu::DeviceDescriptor<'_>) -> Option<(wgpu::Device, wgpu::Queue)> {
    let (features, limits) = (descriptor.required_features, &descriptor.required_limits);
    if !adapter.features().contains(features) || !limits.check_limits(&adapter.limits()) {
        return None;
    }
    // SAFETY: nothing of the adapter is destroyed.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let robustness = ash::ext::pipeline_robustness::NAME;
    if !hal.physical_device_capabilities().supports_extension(robustness) {
        return None;
    }
    let (instance, entry) = (hal.shared_instance().raw_instance(), hal.shared_instance().entry());
    // SAFETY: the instance lives as long as the adapter, and the name is that of a function of the type given.
    let create = unsafe {
        let found = entry.get_instance_proc_addr(instance.handle(), c"vkCreateComputePipelines".as_ptr())?;
        std::mem::transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateComputePipelines>(found)
    };
    CREATE.get_or_init(|| create);

    let mut extensions = hal.required_device_extensions(features);
    let mut enabled = hal.physical_device_features(&extensions, features);
    extensions.push(robustness);
    let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
    let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
    let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
    let mut by_pipeline = vk::PhysicalDevicePipelineRobustnessFeaturesEXT::default().pipeline_robustness(true);
    let info = enabled.add_to_device_create(info).push_next(&mut by_pipeline);
    // SAFETY: `info` is what wgpu makes a device with, from family 0 as there, and one extension more, which is there. wgpu owns
    // the device from then on; all of its functions are its own but one, which is called as that would be.
    let opened = unsafe {
        let device = instance.create_device(hal.raw_physical_device(), &info, None).ok()?;
        let mut functions = device.fp_v1_0().clone();
        functions.create_compute_pipelines = create_pipelines;
        let later = (device.fp_v1_1().clone(), device.fp_v1_2().clone(), device.fp_v1_3().clone());
        let device = ash::Device::from_parts_1_3(device.handle(), functions, later.0, later.1, later.2);
        hal.device_from_raw(device, None, &extensions, features, limits, &descriptor.memory_hints, 0, 0).ok()?
    };
    // SAFETY: the device was just made from this adapter, with what the descriptor asks for.
    unsafe { adapter.create_device_from_hal(opened, descriptor) }.ok()
}

/// `vkCreateComputePipelines`, but that access to buffers is not guarded where that is wished.
#[allow(unsafe_code)]
unsafe extern "system" fn create_pipelines(
    device: vk::Device,
    cache: vk::PipelineCache,
    count: u32,
    infos: *const vk::ComputePipelineCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    pipelines: *mut vk::Pipeline,
) -> vk::Result {
    let Some(create) = CREATE.get() else { return vk::Result::ERROR_INITIALIZATION_FAILED };
    if !UNGUARDED.get() {
        // SAFETY: the arguments are the caller's.
        return unsafe { create(device, cache, count, infos, allocator, pipelines) };
    }
    let off = vk::PipelineRobustnessBufferBehaviorEXT::DISABLED;
    // SAFETY: Vulkan's caller gives as many structures as it says.
    let infos = unsafe { std::slice::from_raw_parts(infos, count as usize) };
    let mut behaviors: Vec<_> = infos
        .iter()
        .map(|info| {
            let mut behavior = vk::PipelineRobustnessCreateInfoEXT::default().storage_buffers(off).uniform_buffers(off);
            behavior.p_next = info.p_next;
            behavior
        })
        .collect();
    let mut infos = infos.to_vec();
    for (info, behavior) in infos.iter_mut().zip(&mut behaviors) {
        info.p_next = std::ptr::from_mut(behavior).cast();
    }
    // SAFETY: the arguments are the caller's, and what was put before its structures lives until this returns. The kernel stays
    // within its buffers: it is this crate's, and the tests' interpreter sees every access.
    unsafe { create(device, cache, count, infos.as_ptr(), allocator, pipelines) }
}
