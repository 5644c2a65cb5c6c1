//! Files in and out, through the dialogs.

use super::super::command::{Command, Dialog};
use super::*;

type Test = std::result::Result<(), Box<dyn std::error::Error>>;

/// Types a path into the dialog that is open and presses its button.
fn choose(window: &mut Window, path: &std::path::Path, action: &str) {
    let field = window.0.get_by_role(egui::accesskit::Role::TextInput);
    field.focus();
    let text = path.display().to_string();
    field.set_text_value_accesskit(&text);
    window.settle();
    // The dialog's, not the menu's.
    let button = window.0.get_all_by_role_and_label(egui::accesskit::Role::Button, action).last();
    button.expect(action).click();
    window.settle();
}

/// Everything but the dialog's own field out of the way.
fn without_parameters(window: &mut Window) {
    window.0.state_mut().state.session =
        session(r#"{"version": 1, "steps": [{"id": 1, "operation": "transpose", "inputs": [{"step": 9}]}]}"#).expect("a session");
    window.command(Command::RunAgain);
}

#[test]
fn a_session_is_saved_and_opened() -> Test {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("mine.json");
    window.menu(&["Examples", "Band shift by 1"]);
    let before = window.viewer().state.session.clone();
    window.keys(Modifiers::COMMAND, Key::S);
    assert_eq!(window.viewer().state.dialog, Some(Dialog::Save));
    choose(&mut window, &path, "Save");
    assert_eq!(window.viewer().state.dialog, None, "{}", window.notice());
    window.command(Command::Reset);
    window.menu(&["File", "Open…"]);
    choose(&mut window, &path, "Open");
    assert_eq!(window.viewer().state.session, before);
    Ok(())
}

#[test]
fn a_file_that_is_wrong_is_told_and_nothing_changes() -> Test {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let before = window.viewer().state.session.clone();
    let files = [
        ("a.json", "{", "a.json:1"),
        ("b.json", r#"{"version": 9, "steps": [], "selected": null}"#, "version 9, must be 1"),
        ("c.json", r#"{"version": 1, "steps": [{"id": 1, "operation": "saw"}], "selected": 1}"#, "unknown operation \"saw\""),
        ("d.json", r#"{"version": 1, "steps": [{"id": 1, "operation": "transpose"}], "selected": 1}"#, "takes 1 operands, has 0"),
        ("e.txt", "", "must end in .mtx or .npy"),
    ];
    for (name, text, message) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        window.keys(Modifiers::COMMAND, Key::O);
        choose(&mut window, &path, "Open");
        assert!(window.notice().contains(message), "{name}: {}", window.notice());
        assert!(window.0.query_all_by_label_contains(message).count() > 0);
        assert_eq!(window.viewer().state.dialog, Some(Dialog::Open));
        assert_eq!(window.viewer().state.session, before);
        window.click("Cancel");
    }
    // A matrix file that is malformed is a step that says so.
    let path = folder.path().join("bad.mtx");
    std::fs::write(&path, "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 3 5\n")?;
    window.command(Command::Open(path));
    assert!(window.error(1).contains("bad.mtx:3: column \"3\", must be 1 to 2"), "{}", window.error(1));
    Ok(())
}

#[test]
fn a_matrix_is_opened_and_exported() -> Test {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let lund = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("assets/lund_a.mtx");
    window.command(Command::Open(lund.clone()));
    assert_eq!(window.described(), "147 × 147, lower 23, upper 23, rows layout, f32");
    for (keys, key, name) in [
        (Modifiers::COMMAND, Key::E, "a.png"),
        (Modifiers::COMMAND | Modifiers::SHIFT, Key::E, "a.npy"),
        (Modifiers::COMMAND, Key::R, "a.rs"),
    ] {
        window.keys(keys, key);
        assert!(window.viewer().state.dialog.is_some());
        // By command from here: a file step's own path is a text field too.
        window.command(Command::Export(folder.path().join(name)));
        assert_eq!(window.viewer().state.dialog, None);
        assert!(folder.path().join(name).exists(), "{}", window.notice());
    }
    window.command(Command::Export(folder.path().join("a.mtx")));
    let (got, want) = (bandsaw::io::read_matrix_market(folder.path().join("a.mtx"))?, bandsaw::io::read_matrix_market(&lund)?);
    // Explicit zeros of the band are entries of the export.
    let entries = |file: &bandsaw::io::Coordinates| {
        let mut all: Vec<_> = file.entries.iter().filter(|entry| entry.2 != 0.0).map(|entry| (entry.0, entry.1, entry.2 as f32)).collect();
        all.sort_by_key(|entry| (entry.0, entry.1));
        all
    };
    assert_eq!(entries(&got), entries(&want));
    assert!(image::open(folder.path().join("a.png"))?.width() > 600);
    window.command(Command::Export(folder.path().join("a.xyz")));
    assert!(window.notice().contains("unknown kind of file"), "{}", window.notice());
    window.command(Command::Export("/proc/no/such/a.npy".into()));
    assert!(window.notice().contains("/proc/no/such/a.npy"), "{}", window.notice());
    Ok(())
}

#[test]
fn dialogs_list_folders_and_files() -> Test {
    let Some(mut window) = open(Start::default()) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("inner"))?;
    std::fs::write(folder.path().join("inner/small.mtx"), "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 5\n")?;
    std::fs::write(folder.path().join("other.txt"), "")?;
    window.0.state_mut().state.settings.folder = folder.path().into();
    without_parameters(&mut window);
    window.menu(&["File", "Open…"]);
    assert!(window.0.query_by_label("other.txt").is_none());
    window.click("inner/");
    window.click("small.mtx");
    window.0.get_all_by_role_and_label(egui::accesskit::Role::Button, "Open").last().expect("a button").click();
    window.settle();
    assert_eq!(window.described(), "2 × 2, lower 0, upper 0, rows layout, f32");
    window.click("Choose…");
    assert!(matches!(window.viewer().state.dialog, Some(Dialog::ChooseFile(_))));
    window.keys(Modifiers::NONE, Key::Escape);
    assert_eq!(window.viewer().state.dialog, None);
    Ok(())
}
