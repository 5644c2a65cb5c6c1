//! The rest of the window: devices, looks, keys, and a device that is lost.

use super::super::command::{Command, Dialog, Theme};
use super::super::worker::WINDOW;
use super::super::{shortcuts, state};
use super::*;

#[test]
fn the_first_picture_is_the_notebook_s_matrix() {
    let Some(mut window) = open(Start::default()) else { return };
    assert_eq!(window.described(), "20 × 20, lower 1, upper 2, columns layout, f32");
    for label in ["Dense view, 20 × 20", "Storage view, 20 × 20", "Times of the last runs"] {
        assert!(window.0.query_by_label(label).is_some(), "{label}");
    }
    assert!(window.0.query_by_label_contains("Colour scale from").is_some());
    window.picture();
}

#[test]
fn looks_are_set_from_the_menu() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["View", "Dark"]);
    assert_eq!(window.viewer().state.settings.theme, Theme::Dark);
    assert!(window.0.ctx.theme() == egui::Theme::Dark);
    window.menu(&["View", "Light"]);
    assert!(window.0.ctx.theme() == egui::Theme::Light);
    window.menu(&["View", "Colours", "magma"]);
    assert_eq!(window.viewer().state.settings.colors, "magma");
    window.menu(&["View", "Logarithmic colours"]);
    assert!(window.viewer().state.settings.logarithmic);
    window.menu(&["View", "Dense view"]);
    assert!(window.0.query_by_label("Dense view, 20 × 20").is_none());
    // One of the two is always there.
    window.keys(Modifiers::NONE, Key::Num2);
    assert!(window.0.query_by_label("Dense view, 20 × 20").is_some());
    window.keys(Modifiers::NONE, Key::Num1);
    window.keys(Modifiers::NONE, Key::V);
    window.keys(Modifiers::NONE, Key::L);
    assert!(!window.viewer().state.settings.logarithmic && !window.viewer().state.settings.labels);
    window.keys(Modifiers::COMMAND, Key::Plus);
    assert_eq!(window.viewer().state.settings.text_scale, 1.1);
    window.keys(Modifiers::COMMAND, Key::Num0);
    window.keys(Modifiers::COMMAND, Key::Minus);
    assert_eq!(window.viewer().state.settings.text_scale, 0.9);
    window.command(Command::TextScale(100.0));
    assert_eq!(window.viewer().state.settings.text_scale, *state::TEXT_SCALES.end());
    window.picture();
}

#[test]
fn shortcuts_are_listed() {
    let Some(mut window) = open(Start::default()) else { return };
    window.keys(Modifiers::NONE, Key::F1);
    assert_eq!(window.viewer().state.dialog, Some(Dialog::Shortcuts));
    for (keys, what) in shortcuts::list() {
        assert!(window.0.query_all_by_label(&keys).count() > 0, "{keys}");
        assert!(window.0.query_all_by_label(what).count() > 0, "{what}");
    }
    // No key means two things.
    let mut keys: Vec<String> = shortcuts::list().map(|(keys, _)| keys).collect();
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
    window.click("Close");
    window.menu(&["Help", "Keyboard shortcuts"]);
    window.keys(Modifiers::NONE, Key::Escape);
    assert_eq!(window.viewer().state.dialog, None);
}

#[test]
fn devices_are_chosen_and_compared() {
    let Some(mut window) = open(Start::default()) else { return };
    window.menu(&["Examples", "Multiply: A.t() · A"]);
    window.command(Command::Device(WINDOW.into()));
    assert_eq!(window.described(), "20 × 20, lower 3, upper 3, rows layout, f32");
    assert_eq!(window.viewer().state.totals.len().min(3), 3);
    window.click("CPU");
    assert_eq!(window.viewer().state.device, "cpu");
    window.keys(Modifiers::NONE, Key::F5);
    window.0.get_all_by_label("Run again").last().expect("a button").click();
    window.settle();
    window.menu(&["Device", "Compare devices"]);
    let compared = window.viewer().state.compared.as_ref().expect("a comparison");
    assert!(compared.len() >= 2);
    for one in compared {
        assert_eq!(one.error, None, "{}", one.name);
        assert_eq!(one.times.len(), 2);
        assert!(one.device == "cpu" || one.difference.is_some_and(|difference| difference < 1e-6), "{}: {:?}", one.name, one.difference);
    }
    assert!(window.0.query_by_label("reference").is_some());
}

#[test]
fn a_device_that_cannot_be_had_is_told_and_the_cpu_goes_on() {
    let Some(mut window) = open(Start { device: Some("wgpu:no such card".into()), ..Start::default() }) else { return };
    assert!(window.notice().contains("no device") && window.notice().contains("Going on with the CPU"), "{}", window.notice());
    assert_eq!(window.viewer().state.device, "cpu");
    assert_eq!(window.described(), "20 × 20, lower 1, upper 2, columns layout, f32");
    window.picture();
}

#[test]
fn a_lost_device_leaves_the_session_to_another_window() {
    let start = Start { device: Some(WINDOW.into()), ..Start::default() };
    let left = std::sync::Arc::clone(&start.left);
    let Some(mut window) = open(start) else { return };
    window.command(Command::LoseDevice);
    assert!(window.notice().contains("device lost"), "{}", window.notice());
    assert_eq!(window.viewer().state.device, "cpu");
    let mut left = left.lock().expect("no panic");
    assert_eq!(left.session.as_ref(), Some(&window.viewer().state.session));
    assert!(left.why().is_some_and(|why| why.contains("device lost")));
    drop(left);
    // Results go on coming.
    assert_eq!(window.described(), "20 × 20, lower 1, upper 2, columns layout, f32");
}

#[test]
fn commands_are_json() -> Result<()> {
    let text = r#"[{"add": "banded_matmul"}, "undo", {"set": {"step": 1, "name": "n", "value": 40}}, {"select": 1},
        {"pin": {"entry": [1, 2]}}, {"look": {"zoom": 2.0, "middle": [3.0, 4.0]}}, {"theme": "dark"}, {"dialog": "open"}, "quit"]"#;
    let commands: Vec<Command> = serde_json::from_str(text).expect("commands");
    assert_eq!(commands.len(), 9);
    let again: Vec<Command> = serde_json::from_str(&serde_json::to_string(&commands).expect("text")).expect("commands");
    assert_eq!(again, commands);
    Ok(())
}

#[test]
fn the_window_keeps_its_looks() {
    let Some(mut window) = open(Start::default()) else { return };
    let mut results = egui_kittest::SnapshotResults::new();
    let options = egui_kittest::SnapshotOptions::new().output_path("tests/snapshots").threshold(2.0).max_failed_pixels(200);
    // Times differ from run to run.
    window.command(Command::ShowDevices(false));
    for (name, commands) in [
        ("viewer_light", vec![Command::Theme(Theme::Light), Command::Example("Multiply: A.t() · A".into())]),
        ("viewer_dark", vec![Command::Theme(Theme::Dark), Command::Example("Laplacian of a grid, squared".into())]),
    ] {
        for command in commands {
            window.command(command);
        }
        window.settle();
        results.add(window.0.try_snapshot_options(name, &options));
    }
}
