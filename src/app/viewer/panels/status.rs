//! One line at the bottom: what the pointer is at, and what there is to tell.

use eframe::egui::{self, RichText, Ui};

use super::Context;
use crate::app::viewer::command::Command;
use crate::app::viewer::worker;

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    let state = x.state;
    ui.horizontal(|ui| {
        ui.set_min_height(20.0);
        match &state.notice {
            Some(notice) => {
                let color = if notice.error { ui.visuals().error_fg_color } else { ui.visuals().text_color() };
                let close = ui.small_button("×");
                close.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Dismiss message"));
                if close.clicked() {
                    x.out.push(Command::DismissNotice);
                }
                ui.add(egui::Label::new(RichText::new(&notice.text).color(color)).truncate());
            }
            None => {
                let hint = "Scroll to zoom, drag to move, click to mark an entry, double-click for all of it. F1 lists the keys.";
                ui.add(egui::Label::new(RichText::new(hint).weak()).truncate());
            }
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if state.pending {
                ui.add(egui::Spinner::new().size(14.0));
            }
            let name = match (state.device.as_str(), x.gpu) {
                (worker::WINDOW, Some(gpu)) => gpu.shared.info().name,
                (id, _) => state.devices.iter().find(|info| info.id == id).map_or(id.to_owned(), |info| info.name.clone()),
            };
            if state.notice.is_none() {
                ui.add(egui::Label::new(RichText::new(name).weak()).truncate());
            }
        });
    });
}
