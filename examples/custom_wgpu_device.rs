//! Runs on a wgpu device that the program already has, such as its renderer's.

use bandsaw::{Band, Banded, BandedShape, Device, Semiring, banded_matmul};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What a program does anyway.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let Ok(adapter) = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) else {
        println!("no adapter here");
        return Ok(());
    };
    // Kernels use what is granted here; wgpu's default limits are enough, larger ones let operands
    // be larger before a batch is split.
    let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;

    let device = Device::from_wgpu(&adapter, device, queue);
    let a = Banded::from_fn(&device, BandedShape::new(100, 100, Band::new(1, 1)?), |_, i, j| (i + j) as f32)?;
    let c = banded_matmul(&a, &a, Semiring::Max)?;
    println!("{device}: {}, C[50,50] = {}", c.shape().band, c.get(0, 50, 50)?);
    Ok(())
}
