//! `bandsaw view`: the window.

mod command;
mod compare;
mod evaluate;
mod examples;
mod export;
mod frame_times;
mod matrix_view;
mod noise;
mod offscreen;
mod open;
mod operations;
mod origin;
mod panels;
mod reports;
mod session;
mod shortcuts;
mod state;
mod style;
#[cfg(test)]
mod tests;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bandsaw::{Error, Result};
use eframe::egui::{self, Ui, ViewportCommand};
use eframe::egui_wgpu::RenderState;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::colors;
use super::figure::{Style, View};
use command::{Command, Dialog, Theme};
use frame_times::FrameTimes;
use matrix_view::{Gpu, Reader};
pub use open::{Args, display, run};
use session::Session;
use state::{AUTOMATIC, Effect, Settings, State};
use style::{background, style};
use worker::{Task, Worker};

/// How the window begins.
#[derive(Clone, Default)]
pub struct Start {
    pub files: Vec<PathBuf>,
    /// By `--device`.
    pub device: Option<String>,
    /// By `--play`, one after the other.
    pub commands: Vec<Command>,
    pub frame_times: Option<Instant>,
    /// Whether the window has its background colour before it is drawn.
    pub cleared: bool,
    /// What to say at once: why another window was closed.
    pub said: Option<String>,
    /// What another window would need to go on.
    pub left: Arc<Mutex<Left>>,
}

/// What a window leaves behind.
#[derive(Default)]
pub struct Left {
    pub session: Option<Session>,
    /// What has not been played.
    pub commands: Vec<Command>,
    /// Why its device cannot be used any more.
    pub lost: Option<String>,
    gpu: Option<Arc<Gpu>>,
}

impl Left {
    /// Why the window's device cannot be used any more, if that is so.
    pub fn why(&mut self) -> Option<String> {
        let gpu = self.gpu.take();
        self.lost.take().or_else(|| gpu.and_then(|gpu| gpu.shared.sync().err()).map(|error| error.to_string()))
    }
}

/// The window's contents and the threads behind it.
pub struct Viewer {
    pub state: State,
    gpu: Option<Arc<Gpu>>,
    worker: Worker,
    labels: Option<Reader>,
    entries: Option<Reader>,
    written: panels::Written,
    files: panels::Files,
    generation: u64,
    play: std::vec::IntoIter<Command>,
    /// Frames since something last changed: what is played waits for a quiet window.
    quiet: u32,
    exporting: usize,
    /// Pictures of the window on their way to a file.
    shots: (Sender<Shot>, Receiver<Shot>),
    frame_times: Option<FrameTimes>,
    left: Arc<Mutex<Left>>,
    applied: Option<(Theme, f32)>,
}

type Shot = (PathBuf, Arc<egui::ColorImage>);

const SETTINGS: &str = "settings";

impl Viewer {
    /// In a window of eframe's, with what it remembers.
    pub fn new(cc: &eframe::CreationContext<'_>, start: Start) -> Result<Self> {
        let scripted = !start.commands.is_empty() || start.frame_times.is_some();
        let remembered = cc.storage.filter(|_| !scripted).and_then(|storage| eframe::get_value(storage, SETTINGS));
        Self::over(&cc.egui_ctx, cc.wgpu_render_state.as_ref(), remembered.unwrap_or_default(), start)
    }

    /// Over whatever egui draws with.
    pub fn over(ctx: &egui::Context, state: Option<&RenderState>, settings: Settings, start: Start) -> Result<Self> {
        let gpu = state.map(|state| {
            // Without this, wgpu ends the program at any error.
            state.device.on_uncaptured_error(Arc::new(|error: wgpu::Error| tracing::error!("{error}")));
            Arc::new(Gpu::new(state))
        });
        let software = gpu.as_ref().is_none_or(|gpu| gpu.software);
        let usual = if software { "cpu" } else { worker::WINDOW };
        let device = start.device.or(settings.device.clone()).unwrap_or_else(|| usual.into());
        let mut state = State::new(settings, device);
        let place = || {
            let drawn = gpu.as_ref().map_or("nothing".into(), |gpu| gpu.shared.to_string());
            format!("drawn by {drawn}, steps on {}", state.device)
        };
        let frame_times = start.frame_times.map(|started| FrameTimes::new(started, software, place()));
        if let Some(frame_times) = &frame_times {
            state.session = frame_times.session();
        }
        if let Some(said) = start.said {
            state.tell(true, said);
        }
        let wake = |ctx: &egui::Context| {
            let ctx = ctx.clone();
            move || ctx.request_repaint()
        };
        let failed = |error: std::io::Error| Error::Backend { device: "cpu".into(), message: format!("no thread: {error}") };
        let worker = Worker::start(gpu.clone(), wake(ctx)).map_err(failed)?;
        let reader = || gpu.clone().map(|gpu| Reader::start(gpu, wake(ctx))).transpose().map_err(failed);
        style(ctx, start.cleared);
        let (labels, entries) = (reader()?, reader()?);
        let mut new = Self {
            state,
            gpu,
            worker,
            labels,
            entries,
            written: panels::Written::default(),
            files: panels::Files::default(),
            generation: 0,
            play: start.commands.into_iter(),
            quiet: 0,
            exporting: 0,
            shots: channel(),
            frame_times,
            left: start.left,
            applied: None,
        };
        new.evaluate(false);
        for file in start.files {
            new.apply(ctx, Command::Open(file));
        }
        Ok(new)
    }

    /// Sends the steps to be computed; results come in by themselves.
    fn evaluate(&mut self, again: bool) {
        self.generation += 1;
        self.state.pending = true;
        let known = &self.state.session;
        self.state.results.retain(|id, _| known.step(*id).is_some());
        let (steps, device) = (known.steps.clone(), self.state.device.clone());
        self.ask(Task::Evaluate { generation: self.generation, steps, device, again });
    }

    fn ask(&mut self, task: Task) {
        if !self.worker.ask(task) {
            self.state.pending = false;
            self.state.tell(true, "The thread that computes has ended; save the session and start again.");
        }
    }

    /// Does one command; an error is told and leaves everything as it was.
    pub fn apply(&mut self, ctx: &egui::Context, command: Command) {
        self.quiet = 0;
        let from_dialog = matches!(command, Command::Open(_) | Command::Save(_) | Command::Export(_))
            || matches!((&command, &self.state.dialog), (Command::Set { .. }, Some(Dialog::ChooseFile(_))));
        match self.state.apply(command) {
            Err(error) => self.state.tell(true, error.to_string()),
            Ok(effect) => {
                if from_dialog {
                    self.state.dialog = None;
                }
                if let Some(effect) = effect {
                    self.effect(ctx, effect);
                }
            }
        }
        ctx.request_repaint();
    }

    fn effect(&mut self, ctx: &egui::Context, effect: Effect) {
        match effect {
            Effect::Evaluate { again } => self.evaluate(again),
            Effect::Compare => {
                let steps = self.state.session.steps.clone();
                self.ask(Task::Compare { steps });
            }
            Effect::Export(path) => self.export(path),
            Effect::Screenshot(path) => {
                self.exporting += 1;
                let (shots, ctx_then) = (self.shots.0.clone(), ctx.clone());
                ctx.send_viewport_cmd(ViewportCommand::Screenshot(egui::ScreenshotCallback::new(move |image| {
                    // The window is gone if nobody receives it.
                    let _ = shots.send((path, image));
                    ctx_then.request_repaint();
                })));
            }
            Effect::LoseDevice => {
                if let Some(gpu) = &self.gpu {
                    gpu.device.destroy();
                }
                self.evaluate(true);
            }
            Effect::Quit => ctx.send_viewport_cmd(ViewportCommand::Close),
        }
    }

    fn export(&mut self, path: PathBuf) {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        match (ending.as_str(), self.state.shown()) {
            ("rs", _) => {
                let done = export::write(&self.state.session, &path).map(|()| path);
                self.exported(done);
            }
            ("png" | "mtx" | "npy", Some(result)) => {
                let settings = &self.state.settings;
                let colors = (settings.colors != AUTOMATIC).then(|| colors::gradient(&settings.colors).ok()).flatten();
                let style = Style { view: View::Both, pixels: 640, colors, wide: settings.logarithmic };
                let title = self.state.session.selected.map_or_else(String::new, |id| self.state.session.title(id));
                let (result, index) = (Arc::clone(result), self.state.batch);
                self.exporting += 1;
                self.ask(Task::Export { path, title, result, index, style });
            }
            ("png" | "mtx" | "npy", None) => self.state.tell(true, "There is no result to export."),
            _ => self.state.tell(true, format!("{}: unknown kind of file, must end in .png, .mtx, .npy or .rs", path.display())),
        }
    }

    fn exported(&mut self, done: Result<PathBuf>) {
        match done {
            Ok(path) => self.state.tell(false, format!("Written to {}", path.display())),
            Err(error) => self.state.tell(true, error.to_string()),
        }
    }

    fn input(&mut self, ctx: &egui::Context) -> Vec<Command> {
        let mut out = Vec::new();
        let dropped = ctx.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect::<Vec<_>>());
        out.extend(dropped.into_iter().map(Command::Open));
        while let Ok((path, image)) = self.shots.1.try_recv() {
            self.exporting = self.exporting.saturating_sub(1);
            let done = save_screenshot(&path, &image).map(|()| path);
            self.exported(done);
        }
        shortcuts::pressed(ctx, &self.state, &mut out);
        out
    }

    /// The next command of a script, once the window is quiet.
    fn play(&mut self, ctx: &egui::Context) {
        if self.play.len() == 0 {
            return;
        }
        ctx.request_repaint();
        let busy = self.state.pending || self.state.comparing || self.exporting > 0;
        self.quiet = if busy { 0 } else { self.quiet + 1 };
        if self.quiet > 8
            && let Some(command) = self.play.next()
        {
            self.state.notice = self.state.notice.take().filter(|notice| notice.error);
            self.apply(ctx, command);
        }
    }

    /// All of one frame; the last one took `work` seconds of this thread.
    fn frame(&mut self, ui: &mut Ui, work: Option<f32>) {
        let ctx = ui.ctx().clone();
        self.looks(&ctx);
        self.receive(&ctx);
        let mut out = self.input(&ctx);
        let mut context = panels::Context {
            state: &self.state,
            gpu: self.gpu.as_deref(),
            labels: self.labels.as_mut(),
            entries: self.entries.as_mut(),
            written: &mut self.written,
            files: &mut self.files,
            out: &mut out,
        };
        panels::show(ui, &mut context);
        if let Some(frame_times) = &mut self.frame_times {
            out.push(frame_times.frame(work));
            ctx.request_repaint();
        }
        for command in out {
            self.apply(&ctx, command);
        }
        self.play(&ctx);
        // egui ends with a panic if it draws with a lost device; the next window begins with this.
        if self.gpu.is_some() {
            self.leave(None);
        }
    }

    /// Waits for what has been drawn.
    fn drawn(&self) -> Result<()> {
        self.gpu.as_ref().map_or(Ok(()), |gpu| gpu.shared.sync())
    }
}

impl eframe::App for Viewer {
    fn ui(&mut self, ui: &mut Ui, frame: &mut eframe::Frame) {
        self.frame(ui, frame.info().cpu_usage);
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        background(visuals.dark_mode).to_normalized_gamma_f32()
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, SETTINGS, &self.state.settings);
    }
}

fn save_screenshot(path: &Path, shot: &egui::ColorImage) -> Result<()> {
    let [width, height] = shot.size.map(|side| side as u32);
    let bytes: Vec<u8> = shot.pixels.iter().flat_map(|pixel| [pixel.r(), pixel.g(), pixel.b()]).collect();
    let failed = |message: String| Error::Io { path: path.display().to_string(), message };
    let mut file = std::io::Cursor::new(Vec::new());
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(&bytes, width, height, image::ExtendedColorType::Rgb8).map_err(|error| failed(error.to_string()))?;
    bandsaw::io::write_file(path, |out| out.write_all(file.get_ref()))
}
