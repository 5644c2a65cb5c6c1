//! Windows over the others: files, and the list of keys.

use std::path::{Path, PathBuf};

use eframe::egui::{self, Id, Key, Ui};

use super::Context;
use crate::app::viewer::command::{Command, Dialog};
use crate::app::viewer::session::Value;
use crate::app::viewer::shortcuts;

/// A file dialog's own text and listing.
#[derive(Default)]
pub struct Files {
    shown: Option<Dialog>,
    path: String,
    folder: PathBuf,
    /// Folders, then files that fit.
    listing: Vec<(String, bool)>,
}

impl Files {
    fn open(&mut self, dialog: &Dialog, folder: &Path, name: &str) {
        self.shown = Some(dialog.clone());
        self.path = name.into();
        self.list(folder, dialog);
    }

    fn list(&mut self, folder: &Path, dialog: &Dialog) {
        self.folder = folder.to_owned();
        self.listing.clear();
        // A folder that cannot be read shows as empty; its path can still be typed.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.path().is_dir();
            if !name.starts_with('.') && (is_folder || fits(dialog, &entry.path())) {
                self.listing.push((name, is_folder));
            }
        }
        self.listing.sort_by_key(|(name, folder)| (!folder, name.to_lowercase()));
    }

    /// What was typed, in the folder shown unless it says another.
    fn chosen(&self) -> PathBuf {
        self.folder.join(self.path.trim())
    }
}

/// The endings that a dialog is about.
fn endings(dialog: &Dialog) -> &'static [&'static str] {
    match dialog {
        Dialog::Open => &["json", "mtx", "npy", "safetensors"],
        Dialog::ChooseFile(_) => &["mtx", "npy", "safetensors"],
        Dialog::Save => &["json"],
        Dialog::ExportPicture => &["png"],
        Dialog::ExportMatrix => &["npy", "mtx"],
        Dialog::ExportCode => &["rs"],
        Dialog::Shortcuts => &[],
    }
}

fn fits(dialog: &Dialog, path: &Path) -> bool {
    path.extension().is_some_and(|ending| endings(dialog).iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

pub fn show(ui: &mut Ui, x: &mut Context<'_>) {
    let Some(dialog) = x.state.dialog.clone() else {
        x.files.shown = None;
        return;
    };
    let shown = egui::Modal::new(Id::unique("dialog")).show(ui.ctx(), |ui| match dialog {
        Dialog::Shortcuts => keys(ui, x),
        _ => file(ui, x, &dialog),
    });
    if shown.should_close() {
        x.out.push(Command::Dialog(None));
    }
}

fn keys(ui: &mut Ui, x: &mut Context<'_>) {
    ui.set_width(560.0);
    ui.heading("Keyboard shortcuts");
    ui.add_space(6.0);
    let room = ui.ctx().content_rect().height() - 140.0;
    egui::ScrollArea::vertical().max_height(room).show(ui, |ui| {
        egui::Grid::new("keys").num_columns(4).striped(true).spacing([20.0, 4.0]).show(ui, |ui| {
            let (left, right): (Vec<_>, Vec<_>) =
                shortcuts::list().enumerate().partition(|(n, _)| *n < shortcuts::list().count().div_ceil(2));
            for (n, (_, (keys, what))) in left.into_iter().enumerate() {
                ui.monospace(keys);
                ui.label(what);
                if let Some((_, (keys, what))) = right.get(n) {
                    ui.monospace(keys);
                    ui.label(*what);
                }
                ui.end_row();
            }
        });
    });
    ui.add_space(6.0);
    if ui.button("Close").clicked() {
        x.out.push(Command::Dialog(None));
    }
}

fn file(ui: &mut Ui, x: &mut Context<'_>, dialog: &Dialog) {
    let (title, action, start) = match dialog {
        Dialog::Save => ("Save session", "Save", "session.json"),
        Dialog::ExportPicture => ("Export picture", "Export", "view.png"),
        Dialog::ExportMatrix => ("Export matrix", "Export", "matrix.npy"),
        Dialog::ExportCode => ("Export steps as Rust", "Export", "steps.rs"),
        _ => ("Open", "Open", ""),
    };
    let new = x.files.shown.as_ref() != Some(dialog);
    if new {
        let before = x.state.path.as_ref().filter(|_| *dialog == Dialog::Save).and_then(|path| path.file_name());
        let name = before.map_or(start.to_owned(), |name| name.to_string_lossy().into_owned());
        x.files.open(dialog, &x.state.settings.folder, &name);
    }
    ui.set_width(440.0);
    ui.heading(title);
    ui.add_space(4.0);
    let folder = x.files.folder.canonicalize().unwrap_or_else(|_| x.files.folder.clone());
    ui.add(egui::Label::new(egui::RichText::new(folder.display().to_string()).small().weak()).truncate());
    let mut enter = None;
    egui::ScrollArea::vertical().max_height(220.0).auto_shrink([false, false]).show(ui, |ui| {
        if ui.selectable_label(false, "↑ parent folder").clicked() {
            enter = folder.parent().map(Path::to_owned);
        }
        for (name, is_folder) in &x.files.listing {
            let text = if *is_folder { format!("{name}/") } else { name.clone() };
            let response = ui.selectable_label(x.files.path == *name, text);
            if response.clicked() && *is_folder {
                enter = Some(folder.join(name));
            } else if response.clicked() {
                x.files.path.clone_from(name);
            }
        }
    });
    if let Some(folder) = enter {
        x.files.list(&folder, dialog);
    }
    ui.add_space(4.0);
    let mut done = false;
    ui.horizontal(|ui| {
        let label = ui.label(format!("File ({})", endings(dialog).join(", ")));
        let edit = ui.add(egui::TextEdit::singleline(&mut x.files.path).desired_width(260.0)).labelled_by(label.id);
        if new {
            edit.request_focus();
        }
        done = edit.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
    });
    if let Some(notice) = x.state.notice.as_ref().filter(|notice| notice.error) {
        ui.add(egui::Label::new(egui::RichText::new(&notice.text).color(ui.visuals().error_fg_color)).wrap());
    }
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        done |= ui.add_enabled(!x.files.path.trim().is_empty(), egui::Button::new(action)).clicked();
        if ui.button("Cancel").clicked() {
            x.out.push(Command::Dialog(None));
        }
    });
    if done && !x.files.path.trim().is_empty() {
        let path = x.files.chosen();
        x.out.push(match dialog {
            Dialog::Save => Command::Save(path),
            Dialog::ExportPicture | Dialog::ExportMatrix | Dialog::ExportCode => Command::Export(path),
            Dialog::ChooseFile(step) => Command::Set { step: *step, name: "path".into(), value: Value::Text(path.display().to_string()) },
            Dialog::Open | Dialog::Shortcuts => Command::Open(path),
        });
    }
}
