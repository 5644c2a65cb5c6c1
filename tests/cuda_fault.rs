//! A kernel that faults, in a process of its own: the driver then gives up every CUDA context of the process.
#![cfg(feature = "cuda")]

use std::sync::Arc;

use bandsaw::*;
use cudarc::driver::{CudaContext, result};

/// Writes where nothing is.
const FAULT: &std::ffi::CStr = c"
.version 8.0
.target sm_80
.address_size 64
.visible .entry fault() { .reg .b64 %a; mov.b64 %a, 16; st.global.u32 [%a], 1; ret; }
";

fn matrix(device: &Device) -> Result<Banded> {
    Banded::from_fn(device, BandedShape::new(8, 8, Band::new(1, 1)?), |_, i, j| (i + j) as f32)
}

/// Every verb after the fault says so, and devices that are not CUDA's go on.
#[test]
fn a_fault_is_an_error_and_other_devices_go_on() {
    let all = Device::all();
    if !all.iter().any(|info| info.backend == "cuda" && info.name != "CUDA emulation") {
        return; // an emulation runs no PTX of others
    }
    let others: Vec<Device> =
        all.iter().filter(|info| info.backend != "cuda").map(|info| Device::open(&info.id, Options::default()).unwrap()).collect();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let device = Device::from_cudarc(Arc::clone(&stream)).unwrap();
    let a = matrix(&device).unwrap();
    device.sync().unwrap();

    #[allow(unsafe_code)]
    // SAFETY: PTX that ends with a zero, and an entry of it; the fault is what is tested.
    unsafe {
        let module = result::module::load_data(FAULT.as_ptr().cast()).unwrap();
        let function = result::module::get_function(module, c"fault".into()).unwrap();
        result::launch_kernel(function, (1, 1, 1), (1, 1, 1), 0, stream.cu_stream(), &mut []).unwrap();
    }
    let lost = |error: Error| assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    lost(device.sync().unwrap_err());
    lost(a.read().unwrap_err());
    lost(banded_matmul(&a, &a, Semiring::Sum).unwrap_err());
    lost(matrix(&device).unwrap_err());
    lost(device.time(|| Ok(())).unwrap_err());
    // A new device of the same GPU works or says what is wrong.
    if let Err(error) = Device::cuda(0).and_then(|device| matrix(&device)?.read()) {
        lost(error);
    }
    for other in others {
        let b = matrix(&other).unwrap();
        assert_eq!(banded_matmul(&b, &b, Semiring::Sum).unwrap().get(0, 0, 0).unwrap(), 1.0, "{other}");
    }
}
