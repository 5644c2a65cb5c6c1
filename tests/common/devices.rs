//! The devices that tests run on: the CPU, every wgpu adapter in each way of opening it, and an interpreter of
//! the shaders.
//!
//! Two variables steer them:
//!
//! - `BANDSAW_TEST_DEVICES=vulkan,gl` names what must be there, by backend or part of the
//!   hardware's name; the absence of one is a failure. Others that are present run too, unless
//!   `BANDSAW_TEST_ONLY=1`.
//! - `BANDSAW_TEST_NO_GPU=1` allows that there is no wgpu adapter at all; without it that is a
//!   failure, so that a machine without drivers does not pass by testing nothing.
//!
//! `interpreter` among the names runs everything on the interpreter too; otherwise it runs the tests of what no
//! driver in software has, [`with_interpreter`].

use std::io::Write;
use std::sync::OnceLock;

use bandsaw::{Device, Dtype, Info, Options};

use super::interpreter;

/// How a device was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As programs open it; the CPU and CUDA with outputs poisoned.
    Default,
    /// WebGPU's default limits and core WGSL; outputs poisoned.
    Portable,
    /// With injected bounds checks, the same limits as `Default`; outputs poisoned.
    Checked,
}

/// A device under test.
pub struct Tested {
    pub device: Device,
    pub info: Info,
    pub variant: Variant,
    /// For messages.
    pub label: String,
}

impl Tested {
    fn open(info: &Info, variant: Variant) -> Self {
        let options = match variant {
            Variant::Default => Options { poison: ["cpu", "cuda", "interpreter"].contains(&info.backend.as_str()), ..Options::default() },
            Variant::Portable => Options { portable: true, poison: true, ..Options::default() },
            Variant::Checked => Options { checked: true, poison: true, ..Options::default() },
        };
        let device = again(info, options);
        let label = format!("{} {} {variant:?}", info.id, info.backend);
        Self { device, info: info.clone(), variant, label }
    }

    /// Whether the work runs on CPU cores, so that large cases must be smaller.
    pub fn software(&self) -> bool {
        self.info.kind == "software" || self.info.id == "cpu" || self.info.name == "CUDA emulation"
    }
}

/// The device, opened with these options.
pub fn again(info: &Info, options: Options) -> Device {
    match info.backend.as_str() {
        "interpreter" => interpreter::device(options),
        _ => Device::open(&info.id, options).unwrap_or_else(|error| panic!("{} {options:?}: {error}", info.id)),
    }
}

/// Every device and the interpreter, for tests of kernels that may run nowhere else.
pub fn with_interpreter() -> impl Iterator<Item = &'static Tested> {
    static INTERPRETER: OnceLock<Tested> = OnceLock::new();
    let all = devices();
    let there = all.iter().any(|tested| tested.info.backend == "interpreter");
    // Who names devices and wants no others gets no other.
    let wanted = !there && !set("BANDSAW_TEST_ONLY");
    let open = || Tested::open(&interpreter::device(Options::default()).info(), Variant::Default);
    all.iter().chain(wanted.then(|| INTERPRETER.get_or_init(open)))
}

/// Every device, opened once.
pub fn devices() -> &'static [Tested] {
    static DEVICES: OnceLock<Vec<Tested>> = OnceLock::new();
    DEVICES.get_or_init(open_all)
}

/// Every device and the interpreter, with each of the storage types that matrix units of its kind may take.
pub fn devices_and_halves() -> impl Iterator<Item = (&'static Tested, Dtype)> {
    let types = |tested: &Tested| if tested.info.backend == "cuda" { &[Dtype::F16, Dtype::Bf16][..] } else { &[Dtype::F16] };
    with_interpreter().flat_map(move |tested| types(tested).iter().map(move |dtype| (tested, *dtype)))
}

fn open_all() -> Vec<Tested> {
    let mut present = Device::all();
    let names = std::env::var("BANDSAW_TEST_DEVICES").unwrap_or_default();
    if split(&names).any(|name| name == "interpreter") {
        present.push(interpreter::device(Options::default()).info());
    }
    require(&present, &names);
    let only = set("BANDSAW_TEST_ONLY");
    if only {
        present.retain(|info| split(&names).any(|name| fits(info, &name)));
    }
    let allowed = set("BANDSAW_TEST_NO_GPU") || only;
    assert!(
        present.len() > 1 || allowed || cfg!(not(feature = "wgpu")),
        "no wgpu adapter is present; install a driver (mesa-vulkan-drivers is one in software) or set BANDSAW_TEST_NO_GPU=1"
    );
    let mut all = Vec::new();
    for info in &present {
        let variants: &[_] = match info.backend.as_str() {
            "cpu" => &[Variant::Default],
            // Without matrix units; there is no compiler that could inject checks.
            "cuda" | "interpreter" => &[Variant::Default, Variant::Portable],
            _ => &[Variant::Default, Variant::Portable, Variant::Checked],
        };
        // The handle, not eprintln: that this ran must be seen for passing tests too.
        let _ = writeln!(std::io::stderr(), "testing on {} ({}, {}, {}) as {variants:?}", info.id, info.name, info.backend, info.driver);
        all.extend(variants.iter().map(|variant| Tested::open(info, *variant)));
    }
    all
}

fn set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

fn split(names: &str) -> impl Iterator<Item = String> {
    names.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty())
}

fn fits(info: &Info, name: &str) -> bool {
    info.backend == name || info.id == name || info.name.to_lowercase().contains(name)
}

/// Fails if a name in the comma-separated list fits no device.
fn require(present: &[Info], names: &str) {
    for name in split(names) {
        let list: Vec<_> = present.iter().map(|info| format!("{} ({}, {})", info.id, info.name, info.backend)).collect();
        let found = present.iter().any(|info| fits(info, &name));
        assert!(found, "BANDSAW_TEST_DEVICES asks for {name:?}; present: {}", list.join(", "));
    }
}
