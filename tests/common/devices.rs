//! The devices that tests run on: the CPU, and every wgpu adapter in each way of opening it.
//!
//! Two variables steer them:
//!
//! - `BANDSAW_TEST_DEVICES=vulkan,gl` names what must be there, by backend or part of the
//!   hardware's name; the absence of one is a failure. Others that are present run too, unless
//!   `BANDSAW_TEST_ONLY=1`.
//! - `BANDSAW_TEST_NO_GPU=1` allows that there is no wgpu adapter at all; without it that is a
//!   failure, so that a machine without drivers does not pass by testing nothing.

use std::io::Write;
use std::sync::OnceLock;

use bandsaw::{Device, Dtype, Info, Options};

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
            Variant::Default => Options { poison: ["cpu", "cuda"].contains(&info.backend.as_str()), ..Options::default() },
            Variant::Portable => Options { portable: true, poison: true, ..Options::default() },
            Variant::Checked => Options { checked: true, poison: true, ..Options::default() },
        };
        let device = Device::open(&info.id, options).unwrap_or_else(|error| panic!("{} {variant:?}: {error}", info.id));
        let label = format!("{} {} {variant:?}", info.id, info.backend);
        Self { device, info: info.clone(), variant, label }
    }

    /// Whether the work runs on CPU cores, so that large cases must be smaller.
    pub fn software(&self) -> bool {
        self.info.kind == "software" || self.info.id == "cpu" || self.info.name == "CUDA emulation"
    }
}

/// Every device, opened once.
pub fn devices() -> &'static [Tested] {
    static DEVICES: OnceLock<Vec<Tested>> = OnceLock::new();
    DEVICES.get_or_init(open_all)
}

/// Every device with each of the storage types that matrix units of its kind may take.
pub fn devices_and_halves() -> impl Iterator<Item = (&'static Tested, Dtype)> {
    let types = |tested: &Tested| if tested.info.backend == "cuda" { &[Dtype::F16, Dtype::Bf16][..] } else { &[Dtype::F16] };
    devices().iter().flat_map(move |tested| types(tested).iter().map(move |dtype| (tested, *dtype)))
}

fn open_all() -> Vec<Tested> {
    let mut present = Device::all();
    let names = std::env::var("BANDSAW_TEST_DEVICES").unwrap_or_default();
    require(&present, &names);
    let set = |name| std::env::var(name).is_ok_and(|value| value == "1");
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
            "cuda" => &[Variant::Default, Variant::Portable],
            _ => &[Variant::Default, Variant::Portable, Variant::Checked],
        };
        // The handle, not eprintln: that this ran must be seen for passing tests too.
        let _ = writeln!(std::io::stderr(), "testing on {} ({}, {}, {}) as {variants:?}", info.id, info.name, info.backend, info.driver);
        all.extend(variants.iter().map(|variant| Tested::open(info, *variant)));
    }
    all
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
