//! Opens the window: its adapter, its size, and again if its device is lost.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bandsaw::{Error, Result};
use eframe::egui;
use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};

use super::command::Command;
use super::{Left, Start, Viewer, offscreen};

#[derive(clap::Args, Default)]
#[command(after_help = "Examples:\n  bandsaw view\n  bandsaw view assets/lund_a.mtx\n  bandsaw view session.json\n  \
    bandsaw view --frame-times\n  bandsaw --device wgpu:0 view --frame-times --offscreen\n\n\
    F1 in the window lists the keys. Settings are remembered; sessions are saved where you say.\n\
    --play takes a JSON list of commands, as in docs/viewer.md; settings are then left alone.")]
pub struct Args {
    /// Matrix files (.mtx, .npy), checkpoints (.safetensors) and a session (.json)
    files: Vec<PathBuf>,
    /// Do what a file of commands says, one after the other
    #[arg(long, value_name = "JSON")]
    play: Option<PathBuf>,
    /// Drag a slider for some seconds, print how long frames took, and end
    #[arg(long)]
    frame_times: bool,
    /// Measure without a screen, in a texture of the adapter that --device says; each frame is waited for
    #[arg(long, requires = "frame_times")]
    offscreen: bool,
    /// Size of the window in points
    #[arg(long, value_name = "WIDTH,HEIGHT", value_parser = size, default_value = "1280,800")]
    size: [f32; 2],
    /// Why another window was closed: its adapter is left out
    #[arg(long, hide = true)]
    lost: Option<String>,
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
    let offscreen = args.offscreen || args.frame_times && display().is_err();
    if !offscreen {
        display().map_err(no_window)?;
    }
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
    let left = Arc::<Mutex<Left>>::default();
    let start = Start {
        files: args.files.clone(),
        device: device.filter(|name| !name.is_empty()).map(str::to_owned),
        commands,
        frame_times: args.frame_times.then_some(started),
        cleared: true,
        said: args.lost.as_ref().map(|why| format!("{why}. Going on with another device.")),
        left: Arc::clone(&left),
    };
    if offscreen {
        return offscreen::run(args.size, start);
    }
    let options = options(args);
    let app =
        move |cc: &eframe::CreationContext<'_>| -> std::result::Result<Box<dyn eframe::App>, _> { Ok(Box::new(Viewer::new(cc, start)?)) };
    let ended = std::panic::catch_unwind(AssertUnwindSafe(|| eframe::run_native("bandsaw", options, Box::new(app))));
    // There is none unless the window was scripted.
    let _ = std::fs::remove_file(scratch());
    let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
    match (left.why(), ended) {
        (Some(why), _) if args.lost.is_none() => again(args, &left, &why),
        (Some(why), _) => Err(no_window(why)),
        (None, Ok(ended)) => ended.map(|()| ExitCode::SUCCESS).map_err(no_window),
        (None, Err(panic)) => std::panic::resume_unwind(panic),
    }
}

/// A new program with what the window left, on the next adapter: the old one holds on to its own.
fn again(args: &Args, left: &Left, why: &str) -> Result<ExitCode> {
    eprintln!("bandsaw: {why}; going on with another device");
    let folder = std::env::temp_dir();
    let place = |name: &str| folder.join(format!("bandsaw-{}-{name}.json", std::process::id()));
    let (session, commands) = (place("session"), place("commands"));
    let program = std::env::current_exe().map_err(no_window)?;
    let mut next = std::process::Command::new(program);
    next.args(["--device", "cpu", "view", "--lost", why]);
    let [width, height] = args.size;
    next.arg("--size").arg(format!("{width},{height}"));
    if !left.commands.is_empty() {
        let text = serde_json::to_string(&left.commands).map_err(no_window)?;
        bandsaw::io::write_file(&commands, |file| file.write_all(text.as_bytes()))?;
        next.arg("--play").arg(&commands);
    }
    if let Some(left) = &left.session {
        left.save(&session)?;
        next.arg(&session);
    }
    let ended = next.status();
    for file in [session, commands] {
        // The second one may not be there.
        let _ = std::fs::remove_file(file);
    }
    let code = ended.map_err(no_window)?.code().unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn size(text: &str) -> std::result::Result<[f32; 2], &'static str> {
    let side = |text: &str| text.trim().parse().ok().filter(|side| (100.0..=16384.0).contains(side));
    let sides = text.split_once(',').and_then(|(width, height)| Some([side(width)?, side(height)?]));
    sides.ok_or("must be two numbers from 100 to 16384, such as 1280,800")
}

fn options(args: &Args) -> eframe::NativeOptions {
    let (scripted, lost) = (args.play.is_some() || args.frame_times, usize::from(args.lost.is_some()));
    let viewport = egui::ViewportBuilder::default()
        .with_title("bandsaw")
        .with_app_id("bandsaw")
        .with_inner_size(args.size)
        .with_min_inner_size(egui::vec2(900.0, 560.0));
    let mut setup = WgpuSetupCreateNew::without_display_handle();
    setup.instance_descriptor.flags = wgpu::InstanceFlags::empty();
    setup.native_adapter_selector = Some(Arc::new(move |adapters, surface| select(adapters, surface, lost)));
    setup.device_descriptor = Arc::new(bandsaw::Device::wgpu_descriptor);
    let mut wgpu_options = WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..WgpuConfiguration::default() };
    if args.frame_times {
        wgpu_options.surface.present_mode = wgpu::PresentMode::AutoNoVsync;
    }
    eframe::NativeOptions {
        viewport,
        renderer: eframe::Renderer::Wgpu,
        wgpu_options,
        persist_window: !scripted,
        persistence_path: scripted.then(scratch),
        // There are no soft gradients to smooth, and software renderers are slow at it.
        dithering: false,
        ..eframe::NativeOptions::default()
    }
}

/// What egui remembers of a scripted window, which is nothing to anyone else.
fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("bandsaw-{}-window.ron", std::process::id()))
}

/// The best adapter that can show the window and compute; `lost` are left out if there are more.
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
