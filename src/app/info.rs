//! `bandsaw info`.

use std::path::{Path, PathBuf};

use bandsaw::io::Checkpoint;
use bandsaw::{Device, Error, Info, Options, Result};

use super::progress::Progress;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  bandsaw info\n  bandsaw --device wgpu:0 info     one device alone\n  bandsaw info out.safetensors     what a checkpoint holds\n  bandsaw info assets/lund_a.mtx   size and band of a matrix\n\n\
    The name in front of each device is what --device and BANDSAW_DEVICE take; a * marks the one used by default."
)]
pub struct Args {
    /// A checkpoint (.safetensors) or a matrix file (.mtx, .npy) to describe instead
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub fn run(args: &Args, wanted: Option<&str>) -> Result<()> {
    if let Some(path) = &args.file {
        let progress = Progress::new(1);
        progress.step("reading");
        let line = super::matrix::describe_file(path)?;
        drop(progress);
        return match line {
            Some(line) => super::print(&line),
            None => checkpoint(path),
        };
    }
    let all = match wanted {
        None | Some("") => Device::all(),
        Some(name) => vec![Device::open(name, Options::default())?.info()],
    };
    let default = Device::from_env().map(|device| device.info().id);
    for info in &all {
        super::print(&describe(info, default.as_ref() == Ok(&info.id)))?;
    }
    if all.is_empty() {
        return Err(Error::NoDevice { name: wanted.unwrap_or_default().into(), present: Vec::new() });
    }
    Ok(())
}

/// A line for each tensor.
fn checkpoint(path: &Path) -> Result<()> {
    let tensors = Checkpoint::open(path)?.tensors()?;
    let mut lines = vec![["tensor", "type", "shape", "stored", "blocks"].map(str::to_owned).to_vec()];
    for tensor in &tensors {
        let shape: Vec<_> = tensor.shape.iter().map(usize::to_string).collect();
        let blocks = tensor.pattern.as_ref().map_or(String::new(), |pattern| {
            let ([r, c], [rows, cols]) = (pattern.block(), pattern.grid());
            format!("block-sparse: {} of {} blocks of {r} × {c}, density {:.3}", pattern.len(), rows * cols, pattern.density())
        });
        let shape = if shape.is_empty() { "scalar".into() } else { shape.join(" × ") };
        lines.push(vec![tensor.name.clone(), tensor.dtype.clone(), shape, tensor.stored.to_string(), blocks]);
    }
    super::print(&super::table(&lines))?;
    let sparse = tensors.iter().filter(|tensor| tensor.pattern.is_some()).count();
    let parameters: usize = tensors.iter().map(|tensor| tensor.stored).sum();
    super::print(&format!("\n{} tensors, {sparse} of them block-sparse; {parameters} parameters stored\n", tensors.len()))?;
    Ok(())
}

fn describe(info: &Info, default: bool) -> String {
    let mark = if default { "*" } else { " " };
    let mut lines = vec![vec![format!("{mark} {}", info.id), info.name.clone()]];
    let mut line = |name: &str, value: String| lines.push(vec![format!("    {name}"), value]);
    line("backend", if info.backend == info.kind { info.kind.clone() } else { format!("{}, {}", info.backend, info.kind) });
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
        let has = |name: &str| info.features.iter().any(|feature| feature == name);
        let cuda = info.backend == "cuda";
        let kernels = if cuda { "PTX, compiled by the driver when first used" } else { "portable WGSL that needs no optional feature" };
        line("kernels", format!("{kernels}; f32 accumulation, f16 and bf16 packed in pairs"));
        let units = if has("matrix units") {
            "window and block products and attention of f16 matrices (16 × 16 × 16, f16 to f32)"
        } else {
            "none that a kernel is written for; everything runs on the portable kernels"
        };
        line("matrix units", units.into());
        let timestamps = cuda || has("timestamps");
        line("timing", if timestamps { "by the GPU's timestamps" } else { "by the wall clock around a wait" }.into());
        line("batches", format!("split where an operand is over {}", size(info.max_binding)));
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
