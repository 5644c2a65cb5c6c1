//! The window without a screen: the same contents, drawn by egui into a texture of any adapter, each frame
//! waited for.

use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bandsaw::{Device, Error, Info, Options, Result};
use eframe::egui::{self, ViewportCommand, ViewportId};
use eframe::egui_wgpu::{RenderState, RendererOptions, ScreenDescriptor, WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};

use super::state::Settings;
use super::style::background;
use super::worker::WINDOW;
use super::{Start, Viewer};

/// A texture in the place of a window.
struct Screen {
    state: RenderState,
    view: wgpu::TextureView,
    pixels: [u32; 2],
}

/// Draws until the window would close.
pub fn run(size: [f32; 2], mut start: Start) -> Result<ExitCode> {
    let screen = Screen::new(start.device.as_deref(), size.map(|side| side.max(1.0) as u32))?;
    if start.device.as_deref().is_some_and(is_adapter) {
        start.device = Some(WINDOW.into());
    }
    let (left, started, ctx) = (Arc::clone(&start.left), Instant::now(), egui::Context::default());
    let mut viewer = Viewer::over(&ctx, Some(&screen.state), Settings::default(), start)?;
    let mut work = None;
    loop {
        let begun = Instant::now();
        let output = ctx.run_ui(screen.input(started), |ui| viewer.frame(ui, work));
        let closes = output.viewport_output.values().any(|window| window.commands.contains(&ViewportCommand::Close));
        screen.draw(&ctx, output);
        work = Some(begun.elapsed().as_secs_f32());
        if closes {
            break;
        }
        viewer.drawn()?;
    }
    let why = left.lock().unwrap_or_else(PoisonError::into_inner).why();
    why.map_or(Ok(ExitCode::SUCCESS), |why| Err(failed(why)))
}

fn failed(message: impl ToString) -> Error {
    Error::Backend { device: "off-screen".into(), message: message.to_string() }
}

/// Whether a device's name means one that can draw.
fn is_adapter(name: &str) -> bool {
    name == "wgpu" || name.starts_with("wgpu:")
}

/// The adapter that draws: the one asked for, or the best one if steps run elsewhere.
fn adapter(device: Option<&str>) -> Result<Info> {
    let name = device.filter(|name| is_adapter(name)).unwrap_or("wgpu");
    Ok(Device::open(name, Options::default())?.info())
}

impl Screen {
    fn new(device: Option<&str>, pixels: [u32; 2]) -> Result<Self> {
        let info = adapter(device)?;
        let same = |other: &Info| (&other.name, &other.backend) == (&info.name, &info.backend);
        let before = Device::all().iter().take_while(|other| other.id != info.id).filter(|other| same(other)).count();
        let mut setup = WgpuSetupCreateNew::without_display_handle();
        setup.instance_descriptor.flags = wgpu::InstanceFlags::empty();
        // An OpenGL that is not asked for is left alone.
        setup.instance_descriptor.backends = if info.backend == "gl" { wgpu::Backends::GL } else { wgpu::Backends::PRIMARY };
        setup.native_adapter_selector = Some(Arc::new(move |adapters, _| {
            let of = |adapter: &wgpu::Adapter| (adapter.get_info().name, format!("{:?}", adapter.get_info().backend).to_lowercase());
            let mut same = adapters.iter().filter(|adapter| of(adapter) == (info.name.clone(), info.backend.clone()));
            same.nth(before).cloned().ok_or_else(|| format!("{} is not there any more", info.name))
        }));
        setup.device_descriptor = Arc::new(Device::wgpu_descriptor);
        let config = WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..WgpuConfiguration::default() };
        let options = RendererOptions { dithering: false, ..RendererOptions::default() };
        let state = pollster::block_on(async {
            let instance = config.wgpu_setup.new_instance().await;
            RenderState::create(&config, &instance, None, options).await
        })
        .map_err(failed)?;
        let [width, height] = pixels;
        let limit = state.device.limits().max_texture_dimension_2d;
        if width.max(height) > limit {
            let (got, of) = (u64::from(width.max(height)), state.adapter.get_info().name);
            return Err(Error::Limit { op: "view", what: "the window's side in pixels".into(), got, limit: limit.into(), of });
        }
        let texture = state.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("off-screen"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: state.target_format,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        Ok(Self { view: texture.create_view(&wgpu::TextureViewDescriptor::default()), state, pixels })
    }

    fn input(&self, started: Instant) -> egui::RawInput {
        let size = egui::vec2(self.pixels[0] as f32, self.pixels[1] as f32);
        let mut input = egui::RawInput {
            screen_rect: Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size)),
            max_texture_side: Some(self.state.device.limits().max_texture_dimension_2d as usize),
            time: Some(started.elapsed().as_secs_f64()),
            focused: true,
            ..egui::RawInput::default()
        };
        input.viewports.entry(ViewportId::ROOT).or_default().native_pixels_per_point = Some(1.0);
        input
    }

    /// What a window does with egui's output, but for showing it.
    fn draw(&self, ctx: &egui::Context, mut output: egui::FullOutput) {
        let RenderState { device, queue, renderer, .. } = &self.state;
        let shapes = ctx.tessellate(std::mem::take(&mut output.shapes), output.pixels_per_point);
        let screen = ScreenDescriptor { size_in_pixels: self.pixels, pixels_per_point: output.pixels_per_point };
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("off-screen") });
        let [r, g, b, a] = background(ctx.theme() == egui::Theme::Dark).to_normalized_gamma_f32().map(f64::from);
        let mut renderer = renderer.write();
        for (id, images) in output.textures_delta.set.drain() {
            for image in images {
                renderer.update_texture(device, queue, id, &image);
            }
        }
        let first = renderer.update_buffers(device, queue, &mut encoder, &shapes, &screen);
        let pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("off-screen"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.view,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color { r, g, b, a }), store: wgpu::StoreOp::Store },
                depth_slice: None,
            })],
            ..wgpu::RenderPassDescriptor::default()
        });
        renderer.render(&mut pass.forget_lifetime(), &shapes, &screen);
        queue.submit(first.into_iter().chain([encoder.finish()]));
        for id in output.textures_delta.free.drain() {
            renderer.free_texture(&id);
        }
    }
}
