//! The parts of the window. Each reads the state and answers with commands.

mod devices;
mod dialogs;
mod inspector;
mod menu;
mod parameters;
mod status;
mod steps;

use eframe::egui::{self, Ui};

use super::command::Command;
use super::matrix_view::{Gpu, Reader, Tone, legend, matrix_view, scale};
use super::state::State;

/// What panels get.
pub struct Context<'a> {
    pub state: &'a State,
    pub gpu: Option<&'a Gpu>,
    /// Values for the cells, and for the inspector.
    pub labels: Option<&'a mut Reader>,
    pub entries: Option<&'a mut Reader>,
    pub written: &'a mut inspector::Written,
    pub files: &'a mut dialogs::Files,
    pub out: &'a mut Vec<Command>,
}

pub use dialogs::Files;
pub use inspector::Written;

/// All of the window.
pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    egui::Panel::top("menu").show(ui, |ui| menu::show(ui, x));
    egui::Panel::bottom("status").show(ui, |ui| status::show(ui, x));
    egui::Panel::left("steps").resizable(true).default_size(292.0).size_range(240.0..=480.0).show(ui, |ui| steps::show(ui, x));
    egui::Panel::right("inspector").resizable(true).default_size(276.0).size_range(220.0..=480.0).show(ui, |ui| {
        egui::ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            inspector::show(ui, x);
            if x.state.settings.devices {
                ui.add_space(8.0);
                ui.separator();
                devices::show(ui, x);
            }
        });
    });
    egui::CentralPanel::default().show(ui, |ui| views(ui, x));
    dialogs::show(ui, x);
}

/// The selected result: what it is, both views, the colour scale.
fn views(ui: &mut Ui, x: &mut Context<'_>) {
    let state = x.state;
    let Some(step) = state.session.selected() else {
        ui.centered_and_justified(|ui| ui.label("No step yet: choose a source or an example from the menu."));
        return;
    };
    let result = state.shown();
    ui.horizontal(|ui| {
        ui.heading(state.session.title(step.id));
        if let Some(batch) = result.map(|result| result.matrix.batch()).filter(|batch| *batch > 1) {
            ui.separator();
            let mut index = state.batch.min(batch - 1);
            let label = ui.label("Matrix of the batch");
            if ui.add(egui::Slider::new(&mut index, 0..=batch - 1)).labelled_by(label.id).changed() {
                x.out.push(Command::Batch(index));
            }
        }
    });
    let failed = state.results.get(&step.id).is_some_and(|shown| shown.outcome.is_err());
    match result {
        Some(_) if failed => ui.colored_label(ui.visuals().error_fg_color, "This is the last result; the step says what is wrong now."),
        Some(result) => ui.weak(result.matrix.describe()),
        None if state.pending => ui.weak("computing …"),
        None => ui.colored_label(ui.visuals().error_fg_color, "No result: the step says why."),
    };
    ui.add_space(4.0);
    let Some(result) = result else { return };
    let (Some(gpu), Some(labels)) = (x.gpu, x.labels.as_deref_mut()) else {
        ui.label("There is no GPU to draw with.");
        return;
    };
    let below = 40.0;
    let area = ui.available_rect_before_wrap();
    let area = egui::Rect::from_min_max(area.min, area.max - egui::vec2(4.0, below));
    let bottom = matrix_view(ui, area, state, gpu, result, labels, x.out);
    ui.advance_cursor_after_rect(area.with_max_y(bottom + 4.0));
    if let Some(drawn) = &result.drawn {
        ui.add_space(4.0);
        let tone = Tone::of(ui.visuals().dark_mode);
        legend(ui, &scale(&state.settings, &drawn.values), &drawn.values, &drawn.storage, &tone);
    }
}
