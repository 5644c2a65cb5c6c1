//! The list of steps.

use eframe::egui::{self, RichText, Ui};

use super::Context;
use crate::app::viewer::command::Command;
use crate::app::viewer::operations::{self, Group};
use crate::app::viewer::session::Step;

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        ui.heading("Steps");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.menu_button("Add step", |ui| add_menu(ui, x.out));
        });
    });
    ui.add_space(4.0);
    let list = ui.available_height() * 0.5;
    egui::ScrollArea::vertical().id_salt("list").max_height(list).auto_shrink([false, true]).show(ui, |ui| {
        for (n, step) in x.state.session.steps.iter().enumerate() {
            one(ui, x, n, step);
        }
    });
    ui.add_space(4.0);
    ui.separator();
    egui::ScrollArea::vertical().id_salt("parameters").auto_shrink([false, false]).show(ui, |ui| super::parameters::show(ui, x));
}

/// Every source and operation, by group.
pub fn add_menu(ui: &mut Ui, out: &mut Vec<Command>) {
    for group in Group::ALL {
        ui.menu_button(group.name(), |ui| {
            ui.set_min_width(240.0);
            for operation in operations::all().filter(|operation| operation.group == group) {
                if ui.button(operation.title).on_hover_text(operation.formula).clicked() {
                    out.push(Command::Add(operation.name.into()));
                    ui.close();
                }
            }
        });
    }
}

fn one(ui: &mut Ui, x: &mut Context<'_>, n: usize, step: &Step) {
    let state = x.state;
    let selected = state.session.selected == Some(step.id);
    let Some(operation) = step.operation() else { return };
    let visuals = ui.visuals();
    let stroke = if selected { visuals.selection.stroke } else { visuals.widgets.noninteractive.bg_stroke };
    let fill = if selected { visuals.selection.bg_fill.gamma_multiply(0.25) } else { visuals.faint_bg_color };
    let card = egui::Frame::new().inner_margin(egui::Margin::symmetric(8, 5)).corner_radius(5).stroke(stroke).fill(fill);
    let shown = card.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal(|ui| {
            let title = format!("{} · {}{}", n + 1, operation.title, operands(x, step));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if selected {
                    tools(ui, x.out, step);
                }
                ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                    let button = egui::Button::new(RichText::new(title).strong()).frame(false).truncate();
                    if ui.add(button).clicked() {
                        x.out.push(Command::Select(step.id));
                    }
                });
            });
        });
        match state.results.get(&step.id).map(|shown| &shown.outcome) {
            Some(Ok(result)) => {
                ui.horizontal(|ui| {
                    let time = result.time.as_secs_f64() * 1e3;
                    ui.add(egui::Label::new(RichText::new(result.matrix.describe()).small().weak()).truncate())
                        .on_hover_text(format!("{}, {time:.3} ms", result.matrix.describe()));
                });
            }
            Some(Err(error)) => {
                ui.add(egui::Label::new(RichText::new(error.to_string()).small().color(ui.visuals().error_fg_color)).wrap());
            }
            None => {
                ui.label(RichText::new("computing …").small().weak());
            }
        }
    });
    // A step that has just been selected is scrolled to.
    let scrolled = egui::Id::unique("the step that the list shows");
    if selected && ui.data(|data| data.get_temp(scrolled)) != Some(step.id) {
        ui.data_mut(|data| data.insert_temp(scrolled, step.id));
        shown.response.scroll_to_me(None);
    }
    ui.add_space(3.0);
}

/// "(1.t(), 1)": which results a step takes.
fn operands(x: &Context<'_>, step: &Step) -> String {
    let all = step.inputs.iter().map(|reference| {
        let place = x.state.session.place(reference.step).map_or("?".to_owned(), |place| (place + 1).to_string());
        place + if reference.transposed { ".t()" } else { "" }
    });
    let all: Vec<String> = all.collect();
    if all.is_empty() { String::new() } else { format!("  ({})", all.join(", ")) }
}

fn tools(ui: &mut Ui, out: &mut Vec<Command>, step: &Step) {
    let all: [(&str, &str, Command); 4] = [
        ("↑", "Move up", Command::Move { step: step.id, by: -1 }),
        ("↓", "Move down", Command::Move { step: step.id, by: 1 }),
        ("+", "Duplicate step", Command::Duplicate(step.id)),
        ("×", "Remove step", Command::Remove(step.id)),
    ];
    ui.spacing_mut().item_spacing.x = 2.0;
    // From the right.
    for (sign, name, command) in all.into_iter().rev() {
        let response = ui.add_sized([23.0, 18.0], egui::Button::new(sign).small());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
        if response.on_hover_text(name).clicked() {
            out.push(command);
        }
    }
}
