//! Opening, naming, sharing and losing devices, and the words of their errors.

mod common;

use bandsaw::*;
use common::*;

fn square(device: &Device) -> Banded {
    Banded::from_fn(device, BandedShape::new(8, 8, Band::new(1, 1).unwrap()), |_, i, j| (i + j) as f32).unwrap()
}

#[test]
fn unknown_names_list_what_is_present() {
    let present: Vec<_> = Device::all().iter().map(|info| format!("{} ({})", info.id, info.name)).collect();
    for name in ["abacus", "wgpu:abacus", "wgpu:99", "", "CPU"] {
        let error = Device::open(name, Options::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("no device {name:?}; present: {}", present.join(", ")));
    }
}

#[test]
fn every_id_opens_its_device() {
    for info in Device::all() {
        let device = Device::open(&info.id, Options::default()).unwrap();
        assert_eq!((device.info().id, device.info().name), (info.id, info.name));
    }
}

/// As in `wgpu:4090`.
#[test]
fn a_large_number_is_part_of_a_name() {
    let all = Device::all();
    assert!(Device::open("wgpu:99", Options::default()).is_err());
    let numbers = |name: &str| name.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<usize>().ok()).collect::<Vec<_>>();
    for info in all.iter().filter(|info| info.id.starts_with("wgpu:")) {
        for number in numbers(&info.name).into_iter().filter(|number| *number >= 100) {
            let name = Device::open(&format!("wgpu:{number}"), Options::default()).unwrap().info().name;
            assert!(name.contains(&number.to_string()), "{number}: {name}");
        }
    }
}

#[test]
fn portable_devices_have_no_more_than_webgpu_gives() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Portable && tested.info.backend != "cuda") {
        let info = tested.device.info();
        assert!(info.max_binding <= 128 << 20 && info.workgroup_memory <= 16 << 10 && info.workgroup_size <= 256, "{info:?}");
        assert!(info.features.is_empty(), "{info:?}");
    }
}

#[test]
fn matrices_move_between_devices() {
    let all = devices();
    for (from, to) in all.iter().zip(all.iter().cycle().skip(1)) {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let shape = BandedShape::new(5, 7, Band::new(1, 1).unwrap()).dtype(dtype);
            let a = Banded::from_fn(&from.device, shape, |_, i, j| (i * 7 + j) as f32).unwrap();
            let moved = a.to_device(&to.device).unwrap();
            assert_eq!(moved.read().unwrap(), a.read().unwrap(), "{} to {}", from.label, to.label);
            assert_eq!(moved.get(0, 3, 4).unwrap(), 25.0);
        }
    }
}

/// A copy on the same device is another buffer with every word of the first.
#[test]
fn matrices_are_copied_on_their_device() {
    for tested in devices() {
        for len in [1, 127, 128, 2047, 2048, 2049, 5000] {
            let data: Vec<f32> = (0..len).map(|n| n as f32).collect();
            let a = Dense::from_slice(&tested.device, DenseShape::new(1, len), &data).unwrap();
            assert_eq!(a.to_device(&tested.device).unwrap().read().unwrap(), data, "{} {len}", tested.label);
        }
    }
}

#[test]
fn data_of_the_wrong_size() {
    for Tested { device, .. } in devices() {
        let text = |result: Result<()>| result.unwrap_err().to_string();
        let shape = BandedShape::new(4, 5, Band::new(1, 1).unwrap()).batch(2);
        assert_eq!(
            text(Banded::from_slice(device, shape, &[0.0; 7]).map(drop)),
            "Banded::from_slice: data has 7 values, must have 24 (2 batch × 4 rows × width 3)"
        );
        assert_eq!(
            text(Banded::from_slice(device, shape.layout(Layout::Columns), &[0.0; 24]).map(drop)),
            "Banded::from_slice: data has 24 values, must have 30 (2 batch × 5 columns × width 3)"
        );
        assert_eq!(
            text(Dense::from_slice(device, DenseShape::new(2, 2), &[0.0; 5]).map(drop)),
            "Dense::from_slice: data has 5 values, must have 4 (1 batch × 2 rows × 2 columns)"
        );
        let zero = BandedShape::new(0, 4, Band::new(0, 0).unwrap());
        assert_eq!(text(Banded::from_slice(device, zero, &[]).map(drop)), "Banded::from_slice: rows has 0, must have 1 to 268435456");
        assert_eq!(
            text(Dense::from_slice(device, DenseShape::new(4, 0), &[]).map(drop)),
            "Dense::from_slice: cols has 0, must have 1 to 268435456"
        );
        let long = BandedShape::new(1 << 20, 1 << 20, Band::new(2000, 2000).unwrap());
        assert_eq!(
            text(Banded::from_slice(device, long, &[]).map(drop)),
            "Banded::from_slice: the number of stored values of one matrix is 4195352576, the limit of 32-bit indices is 2147483647"
        );
        let many = "the number of stored values is 18446744073709551615, the limit of memory addresses is 2305843009213693951";
        let narrow = BandedShape::new(4, 4, Band::new(1, 0).unwrap()).batch(1 << 62);
        assert_eq!(text(Banded::from_slice(device, narrow, &[]).map(drop)), format!("Banded::from_slice: {many}"));
        assert_eq!(text(Banded::from_fn(device, narrow, |_, _, _| 0.0).map(drop)), format!("Banded::from_fn: {many}"));
        let dense = DenseShape::new(4, 4).batch(usize::MAX);
        assert_eq!(text(Dense::from_slice(device, dense, &[]).map(drop)), format!("Dense::from_slice: {many}"));
        // So much can be counted, but not had.
        let memory = text(Dense::from_fn(device, DenseShape::new(1 << 15, 1 << 15).batch(1 << 20), |_, _, _| 0.0).map(drop));
        assert_eq!(memory, "cpu: out of memory, 4503599627370496 bytes asked for");
        let a = square(device);
        assert_eq!(text(a.get(0, 8, 0).map(drop)), "Banded::get: index has (0, 8, 0), must have an entry of 1 × 8 × 8");
        assert_eq!(text(a.read_u32().map(drop)), "Banded::read_u32: self has dtype f32, must have dtype u32");
    }
}

#[test]
fn bands_without_width() {
    let text = |lower, upper| Band::new(lower, upper).unwrap_err().to_string();
    assert_eq!(text(-1, 0), "Band::new: band has lower -1, upper 0 (width 0), must have width lower + upper + 1 of at least 1");
    assert_eq!(text(2, -9), "Band::new: band has lower 2, upper -9 (width -6), must have width lower + upper + 1 of at least 1");
    assert_eq!(text(1 << 30, 0), "Band::new: band has lower 1073741824, upper 0, must have both sides within ±2^28");
    assert_eq!(
        text(i64::MAX, i64::MIN),
        format!("Band::new: band has lower {}, upper {}, must have both sides within ±2^28", i64::MAX, i64::MIN)
    );
    // What i64 cannot negate, and sums that come round to 0.
    assert!(text(i64::MIN, i64::MIN).ends_with("must have both sides within ±2^28"));
    assert!(text(i64::MIN, 0).ends_with("must have both sides within ±2^28"));
    for w in [usize::MAX, 1 << 63, (1 << 28) + 1] {
        assert!(Band::window(w).is_err_and(|error| error.to_string().ends_with("must have both sides within ±2^28")), "{w}");
    }
}

#[test]
fn the_words_of_the_other_errors() {
    let device = || "wgpu:0 (some GPU)".to_owned();
    let cases = [
        (Error::OutOfMemory { device: device(), bytes: 12 }, "wgpu:0 (some GPU): out of memory, 12 bytes asked for"),
        (Error::DeviceLost { device: device(), reason: "gone".into() }, "wgpu:0 (some GPU): device lost: gone"),
        (Error::Backend { device: device(), message: "no".into() }, "wgpu:0 (some GPU): no"),
        (Error::Parse { source_name: "a.mtx".into(), line: 3, message: "no number".into() }, "a.mtx:3: no number"),
        (Error::Io { path: "a.mtx".into(), message: "no such file".into() }, "a.mtx: no such file"),
    ];
    for (error, text) in cases {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn threads_share_a_device() {
    for tested in devices() {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for round in 0..20 {
                        let value = (thread * 100 + round) as f32;
                        let shape = BandedShape::new(3, 3, Band::new(0, 0).unwrap());
                        let a = Banded::from_fn(&tested.device, shape, |_, _, _| value).unwrap();
                        let c = banded_matmul(&a, &a, Semiring::Max).unwrap();
                        assert_eq!(c.read().unwrap(), [2.0 * value; 3], "{}", tested.label);
                    }
                });
            }
        });
    }
}

/// Threads that do everything a device offers at once, over and over: none is refused, hangs or gets another's values.
#[test]
fn threads_use_every_verb_at_once() {
    for tested in devices().iter().filter(|tested| tested.variant == Variant::Default) {
        let device = &tested.device;
        let until = std::time::Instant::now() + std::time::Duration::from_millis(500);
        std::thread::scope(|scope| {
            for thread in 0..6usize {
                scope.spawn(move || {
                    let mut round = 0;
                    while round == 0 || std::time::Instant::now() < until {
                        // Now and then a size of its own, so that buffers are made while others run.
                        let n = 40 + thread + round % 5 * 300;
                        let value = (thread * 8 + round % 8) as f32;
                        let shape = BandedShape::new(n, n, Band::new(2, 2).unwrap());
                        let a = Banded::from_fn(device, shape, |_, _, _| value).unwrap();
                        let square = || banded_matmul(&a, &a, Semiring::Sum);
                        let c = match (thread + round) % 3 {
                            0 => device.time(square).unwrap().0,
                            1 => {
                                let c = square().unwrap();
                                device.sync().unwrap();
                                c
                            }
                            _ => square().unwrap(),
                        };
                        assert_eq!(c.get(0, n / 2, n / 2).unwrap(), 5.0 * value * value, "{}", tested.label);
                        round += 1;
                    }
                });
            }
        });
    }
}

/// A chain of small products is one submission, not one each.
#[test]
fn chains_are_submitted_together() {
    for tested in devices().iter().filter(|tested| tested.info.id != "cpu" && !tested.device.options().poison) {
        let device = tested.opened(Options::default());
        let shape = BandedShape::new(8, 8, Band::new(0, 0).unwrap());
        let mut a = Banded::from_fn(&device, shape, |_, _, _| 1.0).unwrap();
        let eye = Banded::identity(&device, shape).unwrap();
        let before = device.submissions();
        for _ in 0..20 {
            a = banded_matmul(&a, &eye, Semiring::Sum).unwrap();
        }
        assert_eq!(a.read().unwrap(), [1.0; 8], "{}", tested.label);
        assert_eq!(device.submissions() - before, 1, "{}", tested.label);
    }
}

/// More pairs of buffers than a device keeps bind groups for, in two kernels with the same bindings, each pair twice.
#[test]
fn launches_over_many_buffers() {
    const COUNT: usize = 24;
    for tested in devices().iter().filter(|tested| !tested.device.options().poison) {
        let shape = BandedShape::new(1, 1, Band::new(0, 0).unwrap());
        let number = |n: usize| Banded::from_slice(&tested.device, shape, &[n as f32]).unwrap();
        let numbers: Vec<_> = (0..COUNT).map(number).collect();
        let functions = [a() + b() * 100.0, a() * 100.0 - b()];
        let pairs = || (0..COUNT * COUNT).map(|n| (n / COUNT, n % COUNT));
        for _ in 0..2 {
            // Results stay, so that each launch has another buffer to write.
            let zip = |(i, j): (usize, usize)| functions.each_ref().map(|f| banded_zip(&numbers[i], &numbers[j], f).unwrap());
            let got: Vec<_> = pairs().map(zip).collect();
            for ((i, j), [sum, difference]) in pairs().zip(got) {
                let (i, j) = (i as f32, j as f32);
                assert_eq!(sum.read().unwrap(), [i + j * 100.0], "{}: {i}, {j}", tested.label);
                assert_eq!(difference.read().unwrap(), [i * 100.0 - j], "{}: {i}, {j}", tested.label);
            }
        }
    }
}

#[cfg(feature = "wgpu")]
mod sharing {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// A test's turn to make instances of its own and drop them.
    fn turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each adapter opened by the program itself.
    fn own_devices() -> Vec<(wgpu::Device, Device, String)> {
        // An OpenGL that can't compute is left alone, as the library does: see its `has_gl`.
        let gl = Device::all().iter().any(|info| info.backend == "gl");
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: if gl { wgpu::Backends::all() } else { wgpu::Backends::PRIMARY },
            ..wgpu::InstanceDescriptor::new_without_display_handle_from_env()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let open = |adapter: wgpu::Adapter| {
            let descriptor = wgpu::DeviceDescriptor { required_limits: adapter.limits(), ..Default::default() };
            // A driver may list what it cannot open (OpenGL before 4.3, say).
            let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).ok()?;
            let label = format!("{:?}", adapter.get_info().backend);
            Some((device.clone(), Device::from_wgpu(&adapter, device, queue), label))
        };
        let computes = |adapter: &wgpu::Adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
        let opened: Vec<_> = adapters.into_iter().filter(computes).filter_map(open).collect();
        let listed = Device::all().iter().any(|info| info.id.starts_with("wgpu"));
        assert_eq!(listed, !opened.is_empty(), "the library lists an adapter that the program cannot open");
        opened
    }

    #[test]
    fn a_device_of_the_program_works() {
        let _turn = turn();
        for (_, device, label) in own_devices() {
            let a = square(&device);
            assert_eq!(banded_matmul(&a, &a, Semiring::Sum).unwrap().get(0, 0, 0).unwrap(), 1.0, "{label}");
        }
    }

    /// Every verb after the loss says so, none hangs, and it stays lost.
    #[test]
    fn a_lost_device_is_an_error_on_the_next_call() {
        let _turn = turn();
        for (wgpu, device, label) in own_devices() {
            let a = square(&device);
            let pending = banded_matmul(&a, &a, Semiring::Sum).unwrap();
            wgpu.destroy();
            let lost = |error: Error| assert!(matches!(error, Error::DeviceLost { .. }), "{label}: {error}");
            lost(pending.read().unwrap_err());
            lost(a.read().unwrap_err());
            lost(banded_matmul(&a, &a, Semiring::Sum).unwrap_err());
            lost(Banded::from_slice(&device, a.shape(), &[0.0; 24]).unwrap_err());
            lost(device.sync().unwrap_err());
            assert!(device.time(|| Ok(())).is_err(), "{label}");
        }
    }

    #[test]
    fn losing_one_device_leaves_the_others() {
        let _turn = turn();
        for (wgpu, device, label) in own_devices() {
            let a = square(&device);
            wgpu.destroy();
            assert!(a.read().is_err(), "{label}");
        }
        for (_, device, label) in own_devices() {
            assert_eq!(square(&device).get(0, 1, 1).unwrap(), 2.0, "{label}");
        }
    }
}
