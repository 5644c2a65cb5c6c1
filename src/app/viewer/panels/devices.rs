//! Where the steps run, and how fast.

use eframe::egui::{self, RichText, Ui};
use egui_plot::{Line, Plot, PlotPoints, Points};

use super::{Context, menu};
use crate::app::viewer::command::Command;
use crate::app::viewer::compare::Comparison;

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    ui.heading("Device and time");
    ui.add_space(4.0);
    menu::picker(ui, x);
    ui.add_space(6.0);
    times(ui, x);
    plot(ui, x);
    ui.horizontal(|ui| {
        if ui.button("Run again").clicked() {
            x.out.push(Command::RunAgain);
        }
        if ui.add_enabled(!x.state.comparing, egui::Button::new("Compare devices")).clicked() {
            x.out.push(Command::Compare);
        }
        if x.state.comparing {
            ui.add(egui::Spinner::new().size(14.0));
        }
    });
    if let Some(compared) = &x.state.compared {
        ui.add_space(4.0);
        comparison(ui, compared);
    }
}

/// Of each step: device time, bytes a second, and what share of a copy's that is.
fn times(ui: &mut Ui, x: &Context<'_>) {
    let state = x.state;
    let copy = state.copies.get(&state.device);
    egui::Grid::new("times").num_columns(4).striped(true).spacing([12.0, 3.0]).show(ui, |ui| {
        for title in ["step", "ms", "GB/s", "of copy"] {
            ui.label(RichText::new(title).small().weak());
        }
        ui.end_row();
        for (n, step) in state.session.steps.iter().enumerate() {
            let Some(Ok(result)) = state.results.get(&step.id).map(|shown| &shown.outcome) else { continue };
            let seconds = result.time.as_secs_f64();
            let rate = result.bytes as f64 / seconds.max(1e-9);
            // A change of labels takes no time, and a source is made on the CPU.
            let counts = seconds > 0.0 && step.operation().is_some_and(|operation| !operation.inputs.is_empty());
            let title = step.operation().map_or("", |operation| operation.title);
            let cells = [
                format!("{} · {title}", n + 1),
                format!("{:.3}", seconds * 1e3),
                if counts { format!("{:.2}", rate / 1e9) } else { "–".into() },
                copy.filter(|_| counts).map_or("–".into(), |copy| format!("{:.0} %", rate / copy * 100.0)),
            ];
            for cell in cells {
                let short: String = if cell.chars().count() > 22 { cell.chars().take(21).chain(['…']).collect() } else { cell };
                ui.label(RichText::new(short).small());
            }
            ui.end_row();
        }
    });
    if let Some(copy) = copy {
        ui.label(RichText::new(format!("This device copies at {:.1} GB/s.", copy / 1e9)).small().weak());
    }
}

fn plot(ui: &mut Ui, x: &Context<'_>) {
    let state = x.state;
    let points = |times: &[std::time::Duration]| -> PlotPoints<'static> {
        times.iter().enumerate().map(|(n, time)| [n as f64, time.as_secs_f64() * 1e3]).collect()
    };
    ui.add_space(4.0);
    let [all, own] = [ui.visuals().weak_text_color(), ui.visuals().hyperlink_color];
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        for (text, color) in [("Last runs, ms:", all), ("— all steps", all), ("— the selected", own)] {
            ui.label(RichText::new(text).small().color(color));
        }
    });
    let selected = state.session.selected.and_then(|id| state.results.get(&id)).map(|shown| &shown.times);
    let response = Plot::new("last runs")
        .height(84.0)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .show_x(false)
        .show_axes([false, true])
        .show_grid([false, true])
        .include_y(0.0)
        .show(ui, |plot| {
            for (name, times, color) in [("all steps", Some(&state.totals), all), ("selected step", selected, own)] {
                if let Some(times) = times {
                    plot.line(Line::new(name, points(times)).color(color));
                    plot.points(Points::new(name, points(times)).color(color).radius(1.5));
                }
            }
        });
    response.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, "Times of the last runs"));
}

fn comparison(ui: &mut Ui, compared: &[Comparison]) {
    egui::Grid::new("compared").num_columns(3).striped(true).spacing([12.0, 3.0]).show(ui, |ui| {
        for title in ["device", "ms, all steps", "difference"] {
            ui.label(RichText::new(title).small().weak());
        }
        ui.end_row();
        for one in compared {
            let total: f64 = one.times.iter().map(|(_, time)| time.as_secs_f64() * 1e3).sum();
            let name = format!("{} {}", menu::short(&one.name), one.device);
            ui.label(RichText::new(if one.device == "cpu" { "CPU".into() } else { name }).small()).on_hover_text(&one.name);
            ui.label(RichText::new(format!("{total:.3}")).small());
            let difference = match (one.difference, one.device.as_str()) {
                (Some(difference), _) => format!("{difference:.1e}"),
                (None, "cpu") => "reference".into(),
                (None, _) => "–".into(),
            };
            ui.label(RichText::new(difference).small());
            ui.end_row();
        }
    });
    for one in compared {
        if let Some(error) = &one.error {
            ui.label(RichText::new(format!("{}: {error}", one.device)).small().color(ui.visuals().error_fg_color));
        }
    }
    ui.label(RichText::new("Difference: the largest from the CPU's values, over the largest of those.").small().weak());
}
