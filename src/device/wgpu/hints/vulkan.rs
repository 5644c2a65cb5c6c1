//! Vulkan devices that can be told not to guard a kernel's access to buffers, and not to unroll its loops.
//!
//! wgpu asks for `robustBufferAccess2`, and a driver may then guard each access once more, though the shader is compiled
//! without checks. NVIDIA's puts an addition and a comparison before every load: 26 of 262 instructions in the innermost loop of
//! a wide product. What ends that is `VK_EXT_pipeline_robustness`, said of each pipeline, which wgpu can't: so the function
//! that makes pipelines is replaced in the device that wgpu is given. Features of the device that are off change nothing there.
//! SPIR-V has a word for loops, which naga doesn't use; it is put in on the way to the driver.

use std::sync::OnceLock;

use ash::vk;

use super::HINTS;

/// Vulkan's own functions. The loader's: they serve every device of every instance.
static CREATE: OnceLock<vk::PFN_vkCreateComputePipelines> = OnceLock::new();
static MODULE: OnceLock<vk::PFN_vkCreateShaderModule> = OnceLock::new();

/// SPIR-V: the words before the first instruction, a loop's head, and that it is not to be unrolled.
const HEADER: usize = 5;
const LOOP_MERGE: u32 = 246;
const DONT_UNROLL: u32 = 2;

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
    // SAFETY: the instance lives as long as the adapter, and the names are those of functions of the types given.
    let (create, module) = unsafe {
        let create = entry.get_instance_proc_addr(instance.handle(), c"vkCreateComputePipelines".as_ptr())?;
        let module = entry.get_instance_proc_addr(instance.handle(), c"vkCreateShaderModule".as_ptr())?;
        (
            std::mem::transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateComputePipelines>(create),
            std::mem::transmute::<unsafe extern "system" fn(), vk::PFN_vkCreateShaderModule>(module),
        )
    };
    CREATE.get_or_init(|| create);
    MODULE.get_or_init(|| module);

    let mut extensions = hal.required_device_extensions(features);
    let mut enabled = hal.physical_device_features(&extensions, features);
    extensions.push(robustness);
    let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
    let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
    let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
    let mut by_pipeline = vk::PhysicalDevicePipelineRobustnessFeaturesEXT::default().pipeline_robustness(true);
    let info = enabled.add_to_device_create(info).push_next(&mut by_pipeline);
    // SAFETY: `info` is what wgpu makes a device with, from family 0 as there, and one extension more, which is there. wgpu owns
    // the device from then on; all of its functions are its own but two, which are called as those would be.
    let opened = unsafe {
        let device = instance.create_device(hal.raw_physical_device(), &info, None).ok()?;
        let mut functions = device.fp_v1_0().clone();
        functions.create_compute_pipelines = create_pipelines;
        functions.create_shader_module = create_module;
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
    if !HINTS.get().unguarded {
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

/// `vkCreateShaderModule`, but that loops are not unrolled where that is wished.
#[allow(unsafe_code)]
unsafe extern "system" fn create_module(
    device: vk::Device,
    info: *const vk::ShaderModuleCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    module: *mut vk::ShaderModule,
) -> vk::Result {
    let Some(create) = MODULE.get() else { return vk::Result::ERROR_INITIALIZATION_FAILED };
    if !HINTS.get().rolled {
        // SAFETY: the arguments are the caller's.
        return unsafe { create(device, info, allocator, module) };
    }
    // SAFETY: Vulkan's caller gives one structure, with as many bytes of code as it says.
    let (mut info, code) = unsafe { (*info, std::slice::from_raw_parts((*info).p_code, (*info).code_size / 4)) };
    let mut code = code.to_vec();
    keep_loops(&mut code);
    info.p_code = code.as_ptr();
    // SAFETY: the arguments are the caller's, but for the code, of the same length, which lives until this returns.
    unsafe { create(device, &info, allocator, module) }
}

/// Says of every loop of a SPIR-V module that it is not to be unrolled.
fn keep_loops(code: &mut [u32]) {
    let mut at = HEADER;
    while let Some(first) = code.get(at) {
        let (length, operation) = ((first >> 16).max(1) as usize, first & 0xffff);
        if operation == LOOP_MERGE
            && let Some(control) = code.get_mut(at + 3)
        {
            *control |= DONT_UNROLL;
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two loops between other instructions, one of which has a word like a loop's head.
    #[test]
    fn loops_are_kept() {
        let instruction = |length: u32, operation: u32| length << 16 | operation;
        let mut code = vec![0x0723_0203, 0x10300, 0, 99, 0];
        code.extend([instruction(3, 43), 7, instruction(4, LOOP_MERGE)]);
        code.extend([instruction(4, LOOP_MERGE), 8, 9, 0, instruction(2, 249), 10]);
        code.extend([instruction(4, LOOP_MERGE), 11, 12, 0, instruction(1, 253)]);
        let mut kept = code.clone();
        keep_loops(&mut kept);
        for (at, (after, before)) in kept.iter().zip(&code).enumerate() {
            let is_control = [11, 17].contains(&at);
            assert_eq!(*after, if is_control { DONT_UNROLL } else { *before }, "word {at}");
        }
    }
}
