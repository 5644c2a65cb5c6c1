//! What is particular to CUDA: no driver, memory shared with cudarc, memory that runs out. That its operations
//! are right is tested with those of all devices.
#![cfg(feature = "cuda")]

mod common;

use std::sync::Arc;

use bandsaw::*;
use cudarc::driver::{CudaContext, CudaStream};

/// Whether the driver shows a GPU, which it must where `BANDSAW_TEST_DEVICES` names CUDA.
fn is_there() -> bool {
    let there = Device::all().iter().any(|info| info.backend == "cuda");
    let named = std::env::var("BANDSAW_TEST_DEVICES").is_ok_and(|names| names.contains("cuda"));
    assert!(there || !named, "BANDSAW_TEST_DEVICES asks for CUDA, and there is none");
    there
}

/// A stream of the program's own.
fn own_stream() -> Option<Arc<CudaStream>> {
    is_there().then(|| CudaContext::new(0).unwrap().new_stream().unwrap())
}

#[test]
fn without_a_gpu_the_error_says_what_is_missing() {
    if is_there() {
        let error = Device::cuda(99).unwrap_err().to_string();
        assert!(error.starts_with("cuda:99: no such GPU, the driver shows "), "{error}");
        return;
    }
    let error = Device::cuda(0).unwrap_err().to_string();
    assert!(error.contains("no NVIDIA driver: looked for the library libcuda.so") || error.contains("CUDA_ERROR_"), "{error}");
    assert_eq!(Device::open("cuda", Options::default()).unwrap_err().to_string(), error);
}

#[test]
fn the_best_device_is_cuda_where_it_is() {
    if is_there() && std::env::var("BANDSAW_DEVICE").is_err() {
        assert_eq!(Device::best().info().id, "cuda:0");
    }
}

#[test]
fn memory_is_shared_with_cudarc() {
    let Some(stream) = own_stream() else { return };
    let device = Device::from_cudarc(Arc::clone(&stream)).unwrap();
    assert_eq!(device.cuda_stream(), Some(&stream));
    let values = stream.clone_htod(&[1.0f32, 2.0, 3.0, 4.0]).unwrap();
    let a = Dense::from_cudarc(&device, DenseShape::new(2, 2), values).unwrap();
    let square = semiring_matmul(&a, &a, Semiring::Sum).unwrap();
    assert_eq!(square.read().unwrap(), [7.0, 10.0, 15.0, 22.0]);
    let bytes = stream.clone_dtoh(&square.cudarc_view().unwrap()).unwrap();
    assert_eq!(bytes[..4], 7.0f32.to_le_bytes());

    let diagonal = BandedShape::new(3, 3, Band::new(0, 0).unwrap());
    let b = Banded::from_cudarc(&device, diagonal, stream.clone_htod(&[1.0f32, 2.0, 3.0]).unwrap()).unwrap();
    assert_eq!(banded_matmul(&b, &b, Semiring::Sum).unwrap().read().unwrap(), [1.0, 4.0, 9.0]);
}

/// Memory of another stream of the same context is used after what that stream has done with it, and freed
/// after what the device does.
#[test]
fn memory_of_another_stream_is_waited_for() {
    let Some(stream) = own_stream() else { return };
    let device = Device::from_cudarc(stream.context().new_stream().unwrap()).unwrap();
    let n = 1 << 20;
    for round in 0..20 {
        let values = stream.clone_htod(&vec![round as f32; n]).unwrap();
        let a = Dense::from_cudarc(&device, DenseShape::new(1, n), values).unwrap();
        let copy = a.to_device(&device).unwrap();
        drop(a);
        let other = stream.clone_htod(&vec![-1.0f32; n]).unwrap();
        assert!(copy.read().unwrap().iter().all(|value| *value == round as f32), "round {round}");
        drop(other);
    }
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let Some(stream) = own_stream() else { return };
    let device = Device::from_cudarc(Arc::clone(&stream)).unwrap();
    let values = || stream.clone_htod(&[1.0f32; 3]).unwrap();
    let error = Dense::from_cudarc(&device, DenseShape::new(2, 2), values()).unwrap_err();
    assert_eq!(error.to_string(), "Dense::from_cudarc: slice has 12 bytes, must have at least 16 bytes");
    let error = Dense::from_cudarc(&Device::cpu(), DenseShape::new(1, 3), values()).unwrap_err();
    assert_eq!(error.to_string(), "Dense::from_cudarc: device has cpu, must have a CUDA device");
    let elsewhere = CudaContext::new_non_primary(0, 0).unwrap().new_stream().unwrap().clone_htod(&[1.0f32; 3]).unwrap();
    let error = Dense::from_cudarc(&device, DenseShape::new(1, 3), elsewhere).unwrap_err();
    assert_eq!(error.to_string(), "Dense::from_cudarc: slice has another CUDA context, must have the context of the device");
    assert_eq!(Dense::from_slice(&Device::cpu(), DenseShape::new(1, 1), &[1.0]).unwrap().cudarc_view().map(|view| view.len()), None);
}

/// Views that no kernel could load from, since they start at any word, give what others do.
#[test]
fn batches_are_split_anywhere() {
    if !is_there() {
        return;
    }
    let device = Device::open("cuda:0", Options { max_binding: Some(1024), poison: true, ..Options::default() }).unwrap();
    let shape = BandedShape::new(7, 7, Band::new(1, 1).unwrap()).batch(50);
    let entry = |b: usize, i: usize, j: usize| ((b * 7 + i) * 7 + j) as f32 / 100.0;
    let (here, there) = (Banded::from_fn(&device, shape, entry).unwrap(), Banded::from_fn(&Device::cpu(), shape, entry).unwrap());
    let product = |a: &Banded| banded_matmul(a, a, Semiring::Max).unwrap().read().unwrap();
    assert_eq!(product(&here), product(&there));
}

/// A result that cannot be held is an error, and what is there stays usable.
#[test]
fn memory_that_runs_out_is_an_error() {
    if !is_there() {
        return;
    }
    let device = Device::cuda(0).unwrap();
    let n = 2000usize;
    let batch = device.info().max_buffer as usize / 5 * 3 / (4 * n * n);
    let a = Banded::identity(&device, BandedShape::new(n, n, Band::new(0, 0).unwrap()).batch(batch)).unwrap();
    let most = banded_to_dense(&a).unwrap();
    let error = banded_to_dense(&a).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { bytes, .. } if bytes == (4 * n * n * batch) as u64), "{error}");
    assert_eq!(banded_matmul(&a, &a, Semiring::Sum).unwrap().get(batch - 1, n - 1, n - 1).unwrap(), 1.0);
    drop(most);
    banded_to_dense(&a).unwrap();
}

#[test]
fn memory_is_used_again() {
    if !is_there() {
        return;
    }
    let device = Device::cuda(0).unwrap();
    let shape = DenseShape::new(1 << 10, 1 << 10);
    let a = Dense::from_slice(&device, shape, &vec![1.0; shape.len()]).unwrap();
    let mut most = 0;
    for round in 0..50 {
        let _ = a.to_device(&device).unwrap();
        device.sync().unwrap();
        if round == 9 {
            most = device.allocated_bytes();
        }
    }
    assert!(most >= 8 << 20, "{most}");
    assert!(device.allocated_bytes() <= most, "{} after {most}", device.allocated_bytes());
}

/// Small memory goes from hand to hand within a chain; what is still in use does not.
#[test]
fn small_memory_is_used_again() {
    if !is_there() {
        return;
    }
    let device = Device::cuda(0).unwrap();
    let shape = BandedShape::new(64, 64, Band::window(2).unwrap());
    let first = Banded::from_fn(&device, shape, |_, i, j| (i * 3 + j) as f32 / 64.0).unwrap();
    let run = || {
        let kept = banded_map(&first, &(a() * 0.5)).unwrap();
        let mut last = first.clone();
        for _ in 0..30 {
            last = banded_zip(&last, &kept, &((a() + b()) * 0.5)).unwrap();
        }
        (kept.read().unwrap(), last.read().unwrap())
    };
    let want = run();
    let before = device.allocated_bytes();
    for _ in 0..20 {
        assert_eq!(run(), want);
    }
    assert_eq!(device.allocated_bytes(), before);
    let halves: Vec<f32> = first.read().unwrap().iter().map(|value| value * 0.5).collect();
    assert_eq!(want.0, halves);
    // It comes to within 2⁻³⁰ of what is added again and again.
    assert!(want.1.iter().zip(&want.0).all(|(last, kept)| (last - kept).abs() <= 1e-6 * kept.abs().max(1.0)));
}

#[test]
fn work_is_timed() {
    if !is_there() {
        return;
    }
    let device = Device::cuda(0).unwrap();
    let shape = DenseShape::new(1 << 9, 1 << 9);
    let a = Dense::from_slice(&device, shape, &vec![1.0; shape.len()]).unwrap();
    let (product, time) = device.time(|| semiring_matmul(&a, &a, Semiring::Sum)).unwrap();
    assert!(time.as_nanos() > 0 && time.as_secs() < 60, "{time:?}");
    assert_eq!(product.read().unwrap()[0], 512.0);
}

/// Several threads on one device, and on devices of their own.
#[test]
fn threads_share_and_have_devices() {
    if !is_there() {
        return;
    }
    let shared = Device::cuda(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let device = if thread % 2 == 0 { shared.clone() } else { Device::cuda(0).unwrap() };
            scope.spawn(move || {
                for round in 0..50 {
                    let value = (thread * 100 + round) as f32;
                    let shape = BandedShape::new(64, 64, Band::new(0, 0).unwrap());
                    let a = Banded::from_fn(&device, shape, |_, _, _| value).unwrap();
                    let c = banded_matmul(&a, &a, Semiring::Sum).unwrap();
                    assert_eq!(c.read().unwrap(), vec![value * value; 64]);
                }
            });
        }
    });
}
