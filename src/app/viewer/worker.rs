//! The thread that computes: the window sends it the steps and goes on drawing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bandsaw::{Banded, Device, Error, Info, Options, Result};

use super::compare::{self, Comparison};
use super::evaluate::{Cache, Evaluated, Outcome};
use super::matrix_view::Gpu;
use super::session::{Step, StepId};
use crate::app::figure::{Figure, Style, View};

/// What the window asks for.
pub enum Task {
    /// The results of these steps on the device of this name; whatever was asked before is given up.
    Evaluate { generation: u64, steps: Vec<Step>, device: String, again: bool },
    /// Times and differences of the steps on every device.
    Compare { steps: Vec<Step> },
    /// A result as a file: .png, .mtx or .npy.
    Export { path: PathBuf, title: String, result: Arc<Evaluated>, index: usize, style: Style },
}

/// What the thread has to tell.
pub enum Report {
    /// Every device there is.
    Devices(Vec<Info>),
    Step {
        id: StepId,
        outcome: Outcome,
        computed: bool,
    },
    /// The steps are done; what they took on the device together.
    Done {
        generation: u64,
        device: String,
        total: Duration,
    },
    /// A device is gone or cannot be had; so is the window's, or not.
    Lost {
        device: String,
        error: Error,
        window: bool,
    },
    /// Bytes a second that the device copies with.
    Copies {
        device: String,
        rate: f64,
    },
    Compared(Vec<Comparison>),
    Exported(Result<PathBuf>),
}

/// The name of the device that the window draws with.
pub const WINDOW: &str = "window";

pub struct Worker {
    /// `None` once the thread shall end.
    tasks: Option<Sender<Task>>,
    pub reports: Receiver<Report>,
    thread: Option<JoinHandle<()>>,
}

/// A driver must not be in use when the program ends, so the thread is waited for: at most one step.
impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None;
        // A panic there has been told by then.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Worker {
    /// Starts the thread; `wake` is called after each report.
    pub fn start(gpu: Option<Arc<Gpu>>, wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (tasks, receive) = channel();
        let (send, reports) = channel();
        let tell = move |report| {
            // The window is gone; so is this thread soon.
            let _ = send.send(report);
            wake();
        };
        let devices = HashMap::new();
        let thread = Thread { gpu, devices, cache: Cache::default(), rates: HashMap::new(), waiting: Vec::new(), receive, tell };
        let thread = std::thread::Builder::new().name("steps".into()).spawn(move || thread.run())?;
        Ok(Self { tasks: Some(tasks), reports, thread: Some(thread) })
    }

    /// Whether the thread is there to do it.
    pub fn ask(&self, task: Task) -> bool {
        self.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok())
    }
}

struct Thread<T: Fn(Report)> {
    gpu: Option<Arc<Gpu>>,
    devices: HashMap<String, Device>,
    cache: Cache,
    rates: HashMap<String, f64>,
    /// Tasks that came in while another one ran.
    waiting: Vec<Task>,
    receive: Receiver<Task>,
    tell: T,
}

impl<T: Fn(Report)> Thread<T> {
    fn run(mut self) {
        (self.tell)(Report::Devices(Device::all()));
        loop {
            let task = if self.waiting.is_empty() {
                let Ok(task) = self.receive.recv() else { return };
                task
            } else {
                self.waiting.remove(0)
            };
            match task {
                Task::Evaluate { generation, steps, device, again } if !self.outdated() => {
                    self.evaluate(generation, &steps, &device, again);
                }
                Task::Evaluate { again: true, .. } => self.cache.clear(),
                Task::Evaluate { .. } => {}
                Task::Compare { steps } => (self.tell)(Report::Compared(compare::all(&steps))),
                Task::Export { path, title, result, index, style } => {
                    (self.tell)(Report::Exported(export(&path, &title, &result, index, style).map(|()| path)));
                }
            }
        }
    }

    /// Whether newer steps have come in.
    fn outdated(&mut self) -> bool {
        loop {
            match self.receive.try_recv() {
                Ok(task) => self.waiting.push(task),
                Err(TryRecvError::Empty) => break,
                // The window is closed.
                Err(TryRecvError::Disconnected) => return true,
            }
        }
        self.waiting.iter().any(|task| matches!(task, Task::Evaluate { .. }))
    }

    fn device(&mut self, name: &str) -> Result<Device> {
        if let (WINDOW, Some(gpu)) = (name, &self.gpu) {
            return Ok(gpu.shared.clone());
        }
        if let Some(device) = self.devices.get(name) {
            return Ok(device.clone());
        }
        let device = Device::open(name, Options::default())?;
        self.devices.insert(name.into(), device.clone());
        Ok(device)
    }

    fn evaluate(&mut self, generation: u64, steps: &[Step], name: &str, again: bool) {
        if again {
            self.cache.clear();
        }
        self.cache.keep(steps);
        let device = match self.device(name) {
            Ok(device) => device,
            Err(error) => return self.lost(name, error),
        };
        let (mut total, start) = (Duration::ZERO, Instant::now());
        for n in 0..steps.len() {
            // Quick steps are finished even while a slider moves, so that their results are seen.
            if start.elapsed() > Duration::from_millis(100) && self.outdated() {
                return;
            }
            let (outcome, computed) = self.cache.evaluate(steps, n, &device, self.gpu.as_deref());
            match &outcome {
                Err(error @ Error::DeviceLost { .. }) => return self.lost(name, error.clone()),
                Err(_) => {}
                Ok(result) => total += result.time,
            }
            (self.tell)(Report::Step { id: steps[n].id, outcome, computed });
        }
        (self.tell)(Report::Done { generation, device: name.into(), total });
        if !self.rates.contains_key(name)
            && !self.outdated()
            && let Ok(rate) = copy_rate(&device)
        {
            self.rates.insert(name.into(), rate);
            (self.tell)(Report::Copies { device: name.into(), rate });
        }
    }

    /// Nothing of a lost device is used again.
    fn lost(&mut self, name: &str, error: Error) {
        self.devices.remove(name);
        self.cache.clear();
        let window = self.gpu.as_ref().is_some_and(|gpu| gpu.shared.sync().is_err());
        if window {
            // Nothing can be drawn with it any more.
            self.gpu = None;
        }
        (self.tell)(Report::Lost { device: name.into(), error, window });
    }
}

/// How fast the device copies a matrix of its own: the best of several runs.
fn copy_rate(device: &Device) -> Result<f64> {
    let small = matches!(device.info().kind.as_str(), "software" | "cpu");
    let n = if small { 1 << 20 } else { 1 << 24 };
    let shape = bandsaw::BandedShape::new(n, n, bandsaw::Band::new(0, 0)?);
    let a = Banded::identity(device, shape)?;
    let mut best = f64::INFINITY;
    for _ in 0..if small { 3 } else { 20 } {
        let (_, time) = device.time(|| a.to_device(device))?;
        best = best.min(time.as_secs_f64());
    }
    Ok(8.0 * n as f64 / best.max(1e-9))
}

fn export(path: &std::path::Path, title: &str, result: &Evaluated, index: usize, style: Style) -> Result<()> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        let values = result.matrix.read()?;
        return Figure::new(title, &result.matrix, &values, index, Style { view: View::Both, ..style }).draw().save(path);
    }
    result.matrix.write(path, &format!("bandsaw view: {title}, {}", result.matrix.describe()))
}
