//! The menu bar.

use eframe::egui::{self, Button, Ui};

use super::{Context, steps};
use crate::app::colors;
use crate::app::viewer::command::{Command, Dialog, Theme};
use crate::app::viewer::shortcuts;
use crate::app::viewer::state::AUTOMATIC;
use crate::app::viewer::{examples, worker};

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    egui::MenuBar::new().ui(ui, |ui| {
        ui.menu_button("File", |ui| file(ui, x));
        ui.menu_button("Edit", |ui| edit(ui, x));
        ui.menu_button("Add", |ui| steps::add_menu(ui, x.out));
        ui.menu_button("Examples", |ui| example(ui, x));
        ui.menu_button("View", |ui| view(ui, x));
        ui.menu_button("Device", |ui| device(ui, x));
        ui.menu_button("Help", |ui| item(ui, x, "Keyboard shortcuts", Command::Dialog(Some(Dialog::Shortcuts))));
    });
}

/// A menu entry with its shortcut.
fn item(ui: &mut Ui, x: &mut Context<'_>, text: &str, command: Command) {
    enabled(ui, x, true, text, command);
}

fn enabled(ui: &mut Ui, x: &mut Context<'_>, enabled: bool, text: &str, command: Command) {
    let mut button = Button::new(text);
    if let Some(keys) = shortcuts::keys_of(&command) {
        button = button.shortcut_text(keys);
    }
    if ui.add_enabled(enabled, button).clicked() {
        x.out.push(command);
        ui.close();
    }
}

fn file(ui: &mut Ui, x: &mut Context<'_>) {
    ui.set_min_width(220.0);
    item(ui, x, "Open…", Command::Dialog(Some(Dialog::Open)));
    item(ui, x, "Save session…", Command::Dialog(Some(Dialog::Save)));
    ui.separator();
    let result = x.state.shown().is_some();
    enabled(ui, x, result, "Export picture…", Command::Dialog(Some(Dialog::ExportPicture)));
    enabled(ui, x, result, "Export matrix…", Command::Dialog(Some(Dialog::ExportMatrix)));
    item(ui, x, "Export steps as Rust…", Command::Dialog(Some(Dialog::ExportCode)));
    ui.separator();
    item(ui, x, "Quit", Command::Quit);
}

fn edit(ui: &mut Ui, x: &mut Context<'_>) {
    ui.set_min_width(220.0);
    let state = x.state;
    enabled(ui, x, state.can_undo(), "Undo", Command::Undo);
    enabled(ui, x, state.can_redo(), "Redo", Command::Redo);
    ui.separator();
    if let Some(id) = state.session.selected {
        item(ui, x, "Duplicate step", Command::Duplicate(id));
        item(ui, x, "Remove step", Command::Remove(id));
        item(ui, x, "Move step up", Command::Move { step: id, by: -1 });
        item(ui, x, "Move step down", Command::Move { step: id, by: 1 });
        ui.separator();
    }
    item(ui, x, "Reset", Command::Reset);
}

fn example(ui: &mut Ui, x: &mut Context<'_>) {
    ui.set_min_width(280.0);
    for (n, example) in examples::all().iter().enumerate() {
        if n > 0 && example.cell != examples::all()[n - 1].cell {
            ui.separator();
        }
        item(ui, x, &example.title, Command::Example(example.title.clone()));
    }
}

fn view(ui: &mut Ui, x: &mut Context<'_>) {
    ui.set_min_width(220.0);
    let settings = &x.state.settings;
    let flags = [
        ("Dense view", settings.dense, Command::ShowDense(!settings.dense)),
        ("Storage view", settings.stored, Command::ShowStored(!settings.stored)),
        ("Values in cells", settings.labels, Command::Labels(!settings.labels)),
        ("All terms of formulas", settings.all_terms, Command::AllTerms(!settings.all_terms)),
        ("Logarithmic colours", settings.logarithmic, Command::Logarithmic(!settings.logarithmic)),
        ("Devices and times", settings.devices, Command::ShowDevices(!settings.devices)),
    ];
    for (text, mut on, command) in flags {
        if ui.checkbox(&mut on, text).changed() {
            x.out.push(command);
        }
    }
    ui.separator();
    ui.menu_button("Colours", |ui| {
        egui::ScrollArea::vertical().max_height(360.0).show(ui, |ui| {
            for name in std::iter::once(AUTOMATIC).chain(colors::names()) {
                if ui.radio(x.state.settings.colors == name, name).clicked() {
                    x.out.push(Command::Colors(name.into()));
                }
            }
        });
    });
    ui.separator();
    item(ui, x, "Fit", Command::Fit);
    item(ui, x, "Zoom in", Command::Zoom(shortcuts::ZOOM));
    item(ui, x, "Zoom out", Command::Zoom(1.0 / shortcuts::ZOOM));
    ui.separator();
    for (text, theme) in [("System theme", Theme::System), ("Light", Theme::Light), ("Dark", Theme::Dark)] {
        if ui.radio(x.state.settings.theme == theme, text).clicked() {
            x.out.push(Command::Theme(theme));
        }
    }
    ui.separator();
    let scale = x.state.settings.text_scale;
    item(ui, x, "Larger text", Command::TextScale(shortcuts::larger(scale)));
    item(ui, x, "Smaller text", Command::TextScale(shortcuts::smaller(scale)));
    item(ui, x, "Usual text", Command::TextScale(1.0));
}

fn device(ui: &mut Ui, x: &mut Context<'_>) {
    ui.set_min_width(280.0);
    picker(ui, x);
    ui.separator();
    item(ui, x, "Run again", Command::RunAgain);
    enabled(ui, x, !x.state.comparing, "Compare devices", Command::Compare);
}

/// Every device, the chosen one marked.
pub fn picker(ui: &mut Ui, x: &mut Context<'_>) {
    let state = x.state;
    let window = x.gpu.map(|gpu| (worker::WINDOW.to_owned(), format!("{}, the window's", short(&gpu.shared.info().name))));
    let own = x.gpu.map(|gpu| gpu.shared.info());
    // The window's adapter is there already.
    let other = |info: &&bandsaw::Info| own.as_ref().is_none_or(|own| (&own.name, &own.backend) != (&info.name, &info.backend));
    let others = state.devices.iter().filter(other).map(|info| {
        let name = if info.id == "cpu" { "CPU".into() } else { format!("{}, {}", short(&info.name), info.backend) };
        (info.id.clone(), name)
    });
    for (id, name) in window.into_iter().chain(others) {
        if ui.radio(state.device == id, name).clicked() {
            x.out.push(Command::Device(id));
        }
    }
}

/// A device's name without what is in brackets.
pub fn short(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name)
}
