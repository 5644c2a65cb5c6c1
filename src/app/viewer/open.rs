//! Opens the window: its adapter, its size, and again if its device is lost.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bandsaw::{Error, Result};
use eframe::egui;
use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};

use super::command::Command;
use super::{Start, Viewer};

#[derive(clap::Args, Default)]
#[command(after_help = "Examples:\n  bandsaw view\n  bandsaw view assets/lund_a.mtx\n  bandsaw view session.json\n  \
    bandsaw view --frame-times\n\n\
    F1 in the window lists the keys. Settings are remembered; sessions are saved where you say.\n\
    --play takes a JSON list of commands, as in docs/viewer.md; settings are then left alone.")]
pub struct Args {
    /// Matrix files (.mtx, .npy) and a session (.json)
    files: Vec<PathBuf>,
    /// Do what a file of commands says, one after the other
    #[arg(long, value_name = "JSON")]
    play: Option<PathBuf>,
    /// Drag a slider for some seconds, print how long frames took, and end
    #[arg(long)]
    frame_times: bool,
    /// Size of the window in points
    #[arg(long, value_name = "WIDTH,HEIGHT", value_delimiter = ',', num_args = 1)]
    size: Vec<f32>,
}

/// Whether a window can be shown; why not, if it cannot.
pub fn display() -> std::result::Result<(), &'static str> {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let needed = cfg!(all(unix, not(target_os = "macos")));
    if !needed || set("DISPLAY") || set("WAYLAND_DISPLAY") || set("WAYLAND_SOCKET") {
        return Ok(());
    }
    Err("no display: neither WAYLAND_DISPLAY nor DISPLAY is set")
}

fn no_window(message: impl ToString) -> Error {
    Error::Backend { device: "window".into(), message: message.to_string() }
}

/// Shows the window until it is closed.
pub fn run(args: &Args, device: Option<&str>, started: Instant) -> Result<ExitCode> {
    display().map_err(no_window)?;
    let commands = match &args.play {
        None => Vec::new(),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| Error::Io { path: name.clone(), message: error.to_string() })?;
            serde_json::from_str::<Vec<Command>>(&text).map_err(|error| Error::Parse {
                source_name: name,
                line: error.line(),
                message: error.to_string(),
            })?
        }
    };
    let mut start = Start {
        files: args.files.clone(),
        device: device.filter(|name| !name.is_empty()).map(str::to_owned),
        commands,
        frame_times: args.frame_times.then_some(started),
        ..Start::default()
    };
    let scripted = args.play.is_some() || args.frame_times;
    let mut lost = 0;
    loop {
        let first = start.clone();
        let options = options(args, scripted, lost);
        let app = move |cc: &eframe::CreationContext<'_>| -> std::result::Result<Box<dyn eframe::App>, _> {
            Ok(Box::new(Viewer::new(cc, first)?))
        };
        eframe::run_native("bandsaw", options, Box::new(app)).map_err(no_window)?;
        let left = start.lost.lock().unwrap_or_else(PoisonError::into_inner).take();
        match left {
            Some((session, said)) if lost < 3 => {
                eprintln!("bandsaw: {said}");
                lost += 1;
                start = Start { session: Some(session), said: Some(said), device: Some("cpu".into()), ..Start::default() };
            }
            Some((_, said)) => return Err(no_window(said)),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// `lost` adapters are left out, the best first.
fn options(args: &Args, scripted: bool, lost: usize) -> eframe::NativeOptions {
    let size = match args.size[..] {
        [width, height] => egui::vec2(width, height),
        _ => egui::vec2(1280.0, 800.0),
    };
    let viewport = egui::ViewportBuilder::default()
        .with_title("bandsaw")
        .with_app_id("bandsaw")
        .with_inner_size(size)
        .with_min_inner_size(egui::vec2(900.0, 560.0));
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    setup.instance_descriptor.flags = wgpu::InstanceFlags::empty();
    setup.native_adapter_selector = Some(Arc::new(move |adapters, surface| select(adapters, surface, lost)));
    setup.device_descriptor = Arc::new(|adapter| wgpu::DeviceDescriptor {
        label: Some("bandsaw view"),
        // What the library times with, and operands as large as the adapter takes.
        required_features: adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
        required_limits: adapter.limits(),
        memory_hints: wgpu::MemoryHints::Performance,
        ..Default::default()
    });
    let mut wgpu_options = WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..WgpuConfiguration::default() };
    if args.frame_times {
        wgpu_options.surface.present_mode = wgpu::PresentMode::AutoNoVsync;
    }
    eframe::NativeOptions {
        viewport,
        renderer: eframe::Renderer::Wgpu,
        wgpu_options,
        persist_window: !scripted,
        ..eframe::NativeOptions::default()
    }
}

/// The best adapter that can show the window and compute.
fn select(adapters: &[wgpu::Adapter], surface: Option<&wgpu::Surface<'_>>, lost: usize) -> std::result::Result<wgpu::Adapter, String> {
    let rank = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 2,
            wgpu::DeviceType::VirtualGpu => 4,
            wgpu::DeviceType::Other => 6,
            wgpu::DeviceType::Cpu => 8,
        };
        kind + u8::from(info.backend == wgpu::Backend::Gl)
    };
    let mut fitting: Vec<&wgpu::Adapter> = adapters
        .iter()
        .filter(|adapter| surface.is_none_or(|surface| adapter.is_surface_supported(surface)))
        .filter(|adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS))
        .filter(|adapter| adapter.limits().max_storage_buffers_per_shader_stage >= 4)
        .collect();
    fitting.sort_by_key(|adapter| rank(adapter));
    let last = fitting.len().checked_sub(1).ok_or("no graphics adapter can show a window and compute")?;
    Ok(fitting[lost.min(last)].clone())
}
