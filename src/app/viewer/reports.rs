//! What comes back from the thread that computes, and what is left where a device is lost.

use std::sync::PoisonError;

use bandsaw::Error;
use eframe::egui::{self, ViewportCommand};

use super::Viewer;
use super::state::{self, State};
use super::worker::{self, Report};

impl Viewer {
    /// Takes in what the thread has to tell.
    pub(super) fn receive(&mut self, ctx: &egui::Context) {
        while let Ok(report) = self.worker.reports.try_recv() {
            self.quiet = 0;
            match report {
                Report::Devices(devices) => self.on_devices(devices),
                Report::Step { id, outcome, computed } => {
                    if self.state.session.step(id).is_none() {
                        continue;
                    }
                    if let (Some(frame_times), true) = (&mut self.frame_times, computed) {
                        frame_times.result(id);
                    }
                    let before = self.state.results.remove(&id);
                    let (mut times, last) = before.map(|shown| (shown.times, shown.last)).unwrap_or_default();
                    if let (Ok(result), true) = (&outcome, computed) {
                        State::remember(&mut times, result.time);
                    }
                    self.state.results.insert(id, state::Shown { last: outcome.as_ref().ok().cloned().or(last), outcome, times });
                }
                Report::Done { generation, device, total } => {
                    self.state.pending &= generation != self.generation;
                    if device == self.state.device {
                        State::remember(&mut self.state.totals, total);
                    }
                }
                Report::Lost { device, error, window } => self.on_loss(ctx, &device, &error, window),
                Report::Copies { device, rate } => {
                    self.state.copies.insert(device, rate);
                }
                Report::Compared(compared) => {
                    self.state.comparing = false;
                    self.state.compared = Some(compared);
                }
                Report::Exported(done) => {
                    self.exporting = self.exporting.saturating_sub(1);
                    self.exported(done);
                }
            }
        }
    }

    /// A device of the list that is the window's own is used as that.
    fn on_devices(&mut self, devices: Vec<bandsaw::Info>) {
        let own = self.gpu.as_ref().map(|gpu| gpu.shared.info());
        let same = |info: &bandsaw::Info| own.as_ref().is_some_and(|own| (&own.name, &own.backend) == (&info.name, &info.backend));
        if devices.iter().any(|info| info.id == self.state.device && same(info)) {
            self.state.device = worker::WINDOW.into();
            self.evaluate(false);
        }
        self.state.devices = devices;
    }

    /// Goes on with the CPU. If the window's own device is lost, with another window.
    fn on_loss(&mut self, ctx: &egui::Context, device: &str, error: &Error, window: bool) {
        self.state.tell(true, format!("{error}. Going on with the CPU."));
        if window {
            self.leave(Some(error.to_string()));
            ctx.send_viewport_cmd(ViewportCommand::Close);
            (self.gpu, self.labels, self.entries) = (None, None, None);
        }
        if device != "cpu" || window {
            self.state.device = "cpu".into();
            self.evaluate(true);
        } else {
            self.state.pending = false;
        }
    }

    /// Keeps what another window would need.
    pub(super) fn leave(&self, lost: Option<String>) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.session = Some(self.state.session.clone());
        left.commands = self.play.as_slice().to_vec();
        left.lost = lost.or(left.lost.take());
        left.gpu.clone_from(&self.gpu);
    }
}
