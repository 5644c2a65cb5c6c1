//! `bandsaw info`.

use bandsaw::{Band, Banded, BandedShape, Device, Error, Info, Options, Result, Semiring, banded_matmul_kernel};

#[derive(clap::Args)]
#[command(after_help = "Examples:\n  bandsaw info\n  bandsaw --device wgpu:0 info     one device alone\n\n\
    The name in front of each device is what --device and BANDSAW_DEVICE take; a * marks the one used by default.")]
pub struct Args {}

pub fn run(_: &Args, wanted: Option<&str>) -> Result<()> {
    let default = Device::best().info().id;
    let all = match wanted {
        None | Some("") => Device::all(),
        Some(name) => vec![Device::open(name, Options::default())?.info()],
    };
    for info in &all {
        let variants = products(info).unwrap_or_else(|error| format!("none: {error}"));
        super::print(&describe(info, &variants, info.id == default));
    }
    if all.is_empty() {
        return Err(Error::NoDevice { name: wanted.unwrap_or_default().into(), present: Vec::new() });
    }
    Ok(())
}

/// The kernel of a band product for some widths, as the library picks it on this device.
fn products(info: &Info) -> Result<String> {
    let device = Device::open(&info.id, Options::default())?;
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for side in [1, 8, 16, 32, 64, 128] {
        let a = Banded::identity(&device, BandedShape::new(4, 4, Band::new(side, side)?))?;
        let name = banded_matmul_kernel(&a, &a, Semiring::Sum)?;
        match found.last_mut() {
            Some((last, sides)) if *last == name => sides.push(side.to_string()),
            _ => found.push((name, vec![side.to_string()])),
        }
    }
    let all: Vec<String> = found.iter().map(|(name, sides)| format!("{name} for {}", sides.join(", "))).collect();
    Ok(format!("{} diagonals a side", all.join("; ")))
}

fn describe(info: &Info, products: &str, default: bool) -> String {
    let mark = if default { "*" } else { " " };
    let mut lines = vec![vec![format!("{mark} {}", info.id), info.name.clone()]];
    let mut line = |name: &str, value: String| lines.push(vec![format!("    {name}"), value]);
    line("backend", format!("{}, {}", info.backend, info.kind));
    if !info.driver.is_empty() {
        line("driver", info.driver.clone());
    }
    line("one operand", size(info.max_binding));
    line("one buffer", size(info.max_buffer));
    if info.backend == "cpu" {
        line("kernels", "the definition: plain loops on all cores, f64 accumulation".into());
    } else {
        line("workgroup", format!("{} invocations, {} memory", info.workgroup_size, size(info.workgroup_memory.into())));
        line("features", if info.features.is_empty() { "none beyond core".into() } else { info.features.join(", ") });
        line("kernels", "portable WGSL, f32 accumulation; f16 packed in pairs".into());
        line("products", products.to_owned());
    }
    super::table(&lines) + "\n"
}

fn size(bytes: u64) -> String {
    match bytes {
        0 => "none".into(),
        u64::MAX | 0x7fff_ffff_ffff_ffff => "no limit but memory".into(),
        _ if bytes >= 1 << 40 => "no limit but memory".into(),
        _ if bytes >= 1 << 30 => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
        _ if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
    }
}
